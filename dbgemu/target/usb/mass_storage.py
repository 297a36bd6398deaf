"""A USB stick: SCSI commands over the bulk-only transport (USB Mass Storage Class, BOT 1.0)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, ClassVar

from dbgemu.target.block import SECTOR, BlockMedium
from dbgemu.target.facts import Fact, size
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.usb.descriptors import IN, Descriptors, Endpoint, Interface
from dbgemu.target.usb.device import NAK, STALL, Handshake, Setup, UsbDevice, request
from dbgemu.target.usb.scsi_disk import Failed, ScsiDisk

PACKET = 64
_DATA_IN, _DATA_OUT = 1 | IN, 2

#: the wrappers around commands and their status (BOT 5.1, 5.2)
_COMMAND_SIGNATURE, _STATUS_SIGNATURE = 0x43425355, 0x53425355
_COMMAND_LENGTH = 31
_PASSED, _FAILED, _PHASE_ERROR = 0, 1, 2


class Phase(IntEnum):
    """What comes next on the bulk endpoints."""

    COMMAND = 0
    SENDING = 1
    RECEIVING = 2
    STATUS = 3
    #: a wrapper was not valid: all stalls until the host resets the transport (BOT 6.6.1)
    LOST = 4


class UsbStorage(UsbDevice):
    """A stick with one disk, ``medium``. ValueError, one sentence, for a size that no disk has."""

    title = "USB mass storage"
    kind = "usb-storage"
    STATE: ClassVar[tuple[str, ...]] = (
        *UsbDevice.STATE,
        "_phase",
        "_tag",
        "_residue",
        "_transfer",
        "_status",
    )

    def __init__(
        self, name: str, medium: BlockMedium, *, serial: str = "1", log: GuestLog | None = None
    ) -> None:
        if medium.size < SECTOR or medium.size % SECTOR:
            raise ValueError(f"a disk of {medium.size} bytes: it needs whole sectors of {SECTOR}")
        self.disk = ScsiDisk(f"{name}.disk", medium, serial=serial, log=log)
        self.medium = medium
        description = Descriptors(
            vendor=0x46F4,
            product=0x0001,
            manufacturer_name="dbgemu",
            product_name="USB disk",
            serial_number=serial,
            interfaces=(
                Interface(
                    0,
                    (8, 6, 0x50),  # mass storage, SCSI, bulk-only
                    (Endpoint(_DATA_IN, "bulk", PACKET), Endpoint(_DATA_OUT, "bulk", PACKET)),
                ),
            ),
            packet=PACKET,
            current=200,
        )
        super().__init__(name, description, log)

    def _clear(self) -> None:
        super()._clear()
        self._begin()

    def _begin(self) -> None:
        self._phase = int(Phase.COMMAND)
        self._tag = 0
        #: bytes of the host's count that were not moved so far
        self._residue = 0
        #: bytes that the command still moves
        self._transfer = 0
        self._status = _PASSED

    def reset(self) -> None:
        """See UsbDevice."""
        super().reset()
        self.disk.reset()

    def started(self) -> None:
        """See UsbDevice."""
        self.disk.abandon()
        self._begin()

    # -- class requests (BOT 3) -------------------------------------------------------------

    @request(0xA1, 0xFE)
    def _get_max_lun(self, setup: Setup, data: bytes) -> bytes:
        return b"\0"

    @request(0x21, 0xFF)
    def _reset_transport(self, setup: Setup, data: bytes) -> None:
        self.disk.abandon()
        self._begin()  # what is halted stays so: BOT 3.1

    def halt_cleared(self, endpoint: int) -> None:
        """BOT 6.6.1: without a reset of the transport both endpoints stay halted."""
        if self._phase == Phase.LOST:
            self.halt(endpoint)

    # -- the bulk endpoints -----------------------------------------------------------------

    def take_data(self, endpoint: int, data: bytes) -> int | Handshake:
        """See UsbDevice."""
        if self._phase == Phase.COMMAND:
            first = data[:PACKET]
            self._command(first)
            return len(first)
        if self._phase != Phase.RECEIVING:
            # the host sends what the command does not want, or something else than it said
            if self._phase == Phase.STATUS:
                return NAK
            self.halt(endpoint)
            return STALL
        data = data[: -(-self._transfer // PACKET) * PACKET]
        count = min(len(data), self._transfer)
        try:
            self.disk.receive(data[:count])
            self._residue -= count
        except Failed:
            self._status = _FAILED
        self._transfer -= count
        if not self._transfer or len(data) % PACKET or self._status != _PASSED:
            if self._residue > 0 and not len(data) % PACKET:
                self.halt(endpoint)  # it wants no more: BOT 6.7.3
            self._end_of_data()
        return len(data)

    def give_data(self, endpoint: int, length: int) -> bytes | Handshake:
        """See UsbDevice."""
        if self._phase == Phase.SENDING:
            return self._send(endpoint, length)
        if self._phase == Phase.STATUS:
            if length < 13:
                return STALL
            self._phase = int(Phase.COMMAND)
            return struct.pack("<IIIB", _STATUS_SIGNATURE, self._tag, max(0, self._residue), self._status)
        return NAK

    def _send(self, endpoint: int, length: int) -> bytes | Handshake:
        try:
            data = self.disk.send(min(length, self._transfer))
        except Failed:
            self._status = _FAILED
            self._end_of_data()
            self.halt(endpoint)
            return STALL
        self._transfer -= len(data)
        self._residue -= len(data)
        if not self._transfer:
            self._end_of_data()
            if self._residue > 0 and not len(data) % PACKET:
                self.halt(endpoint)  # the host expects more: BOT 6.7.2
        return data

    def _end_of_data(self) -> None:
        self.disk.abandon()
        self._phase = int(Phase.STATUS)

    def _command(self, packet: bytes) -> None:
        if len(packet) != _COMMAND_LENGTH:
            self._lose()
            return
        signature, self._tag, wanted, flags, unit, length = struct.unpack_from("<IIIBBB", packet)
        if signature != _COMMAND_SIGNATURE or unit & 15 or not 1 <= length & 31 <= 16:
            self._lose()
            return
        self._residue, self._status, self._transfer = wanted, _PASSED, 0
        host_sends = not flags & 0x80
        try:
            moves, disk_takes = self.disk.execute(packet[15:31])
        except Failed:
            self._status = _FAILED
            self._refuse_data(host_sends)
            return
        if moves and (moves > wanted or disk_takes != host_sends):
            # BOT 6.7: the command and the wrapper do not agree
            if not wanted or disk_takes != host_sends or disk_takes:
                self._status = _PHASE_ERROR
                self.disk.abandon()
                self._refuse_data(host_sends)
                return
            # the disk has more than the host wants: what it wants is sent
            self._status = _PHASE_ERROR
        self._transfer = min(moves, wanted)
        if not moves:
            self._refuse_data(host_sends)
        else:
            self._phase = int(Phase.RECEIVING if disk_takes else Phase.SENDING)

    def _refuse_data(self, host_sends: bool) -> None:
        self._phase = int(Phase.STATUS)
        if self._residue:
            self.halt(_DATA_OUT if host_sends else _DATA_IN)

    def _lose(self) -> None:
        self.guest_error("what should be a command block wrapper is none")
        self._phase = int(Phase.LOST)
        self.halt(_DATA_IN)
        self.halt(_DATA_OUT)

    @property
    def identity(self) -> str:
        """See UsbDevice."""
        return f"{self.medium.size} bytes"

    # -- for people, and snapshots ----------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """See Device."""
        yield from super().facts()
        yield Fact("size", size(self.medium.size))
        yield Fact("read-only", self.medium.read_only)
        yield Fact("transport", Phase(self._phase).name.lower())

    def save(self) -> dict[str, Any]:
        """The state of the transport and the disk; its blocks are in its image."""
        return {**super().save(), "disk": self.disk.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave."""
        self.disk.load(state["disk"])
        super().load({name: value for name, value in state.items() if name != "disk"})
