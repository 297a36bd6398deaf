"""A disk that understands SCSI commands (SPC-3, SBC-2), as USB sticks do.

A command either sends data, wants some, or has none; blocks are read and written as the transport
goes on, so that a long transfer needs no memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

from dbgemu.target.block import SECTOR, BlockMedium
from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestLog

# Sense keys (SPC-3 table 27), and codes with qualifiers (table 28)
NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, DATA_PROTECT = 2, 3, 5, 7
NO_MEDIUM, WRITE_FAULT, READ_FAULT = 0x3A00, 0x0300, 0x1100
NO_SUCH_COMMAND, OUT_OF_RANGE, BAD_FIELD, WRITE_PROTECTED = 0x2000, 0x2100, 0x2400, 0x2700

_VENDOR, _PRODUCT, _REVISION = "dbgemu", "USB disk", "1.0"
#: bytes that are read at once
_PIECE = 1 << 16


class Failed(Exception):
    """A command ends with CHECK CONDITION."""

    def __init__(self, key: int, code: int) -> None:
        super().__init__(f"sense key {key}, code {code:#x}")
        self.sense = (key, code)


class Plan(NamedTuple):
    """What a command will do: send these bytes, or move ``length`` bytes of the medium from ``start``."""

    data: bytes = b""
    start: int = 0
    length: int = 0
    write: bool = False
    #: what the host sends is not kept
    discard: bool = False


Handler = Callable[[Any, bytes], Plan]
H = TypeVar("H", bound=Handler)


def command(*codes: int) -> Callable[[H], H]:
    """Decorator: the handler of commands, by operation code."""

    def decorate(handler: H) -> H:
        handler.commands = codes  # type: ignore[attr-defined]
        return handler

    return decorate


class ScsiDisk(Device):
    """``medium`` is what it holds; ``serial`` its serial number."""

    title = "SCSI disk"
    STATE: ClassVar[tuple[str, ...]] = (
        "_sense",
        "_stopped",
        "_data",
        "_start",
        "_left",
        "_writing",
        "_discarding",
    )

    def __init__(self, name: str, medium: BlockMedium, *, serial: str, log: GuestLog | None = None) -> None:
        self.medium = medium
        self.serial = serial
        self.blocks = medium.size // SECTOR
        self._clear()
        super().__init__(name, log)

    def _clear(self) -> None:
        self._sense = [0, 0]
        self._stopped = False
        #: what is still to be sent
        self._data = b""
        #: of the medium: where the transfer goes on (bytes), and how much is left
        self._start = self._left = 0
        self._writing = self._discarding = False

    def reset(self) -> None:
        """Power was cut."""
        super().reset()
        self._clear()

    # -- what the transport calls -----------------------------------------------------------

    def execute(self, block: bytes) -> tuple[int, bool]:
        """Begin the command in a command block; bytes that it moves, and whether the host sends them.

        Raises Failed.
        """
        code = block[0]
        name = _COMMANDS.get(code)
        self._data, self._left, self._writing, self._discarding = b"", 0, False, False
        try:
            if name is None:
                raise Failed(ILLEGAL_REQUEST, NO_SUCH_COMMAND)
            plan: Plan = getattr(self, name)(block)
        except Failed as failure:
            self._sense = list(failure.sense)
            raise
        if code != 0x03:
            self._sense = [0, 0]
        self._data, self._start, self._left = plan.data, plan.start, plan.length
        self._writing, self._discarding = plan.write, plan.discard
        return (plan.length or len(plan.data)), plan.write

    def send(self, length: int) -> bytes:
        """The next bytes of what the command sends. Raises Failed."""
        if len(self._data) < length and self._left:
            count = min(max(_PIECE, length), self._left)
            try:
                self._data += self.medium.read(self._start, count)
            except OSError:
                raise self._fail(MEDIUM_ERROR, READ_FAULT) from None
            self._start += count
            self._left -= count
        part, self._data = self._data[:length], self._data[length:]
        return part

    def receive(self, data: bytes) -> None:
        """The next bytes of what the command wants. Whole sectors are written at once. Raises Failed."""
        if self._discarding:
            self._left -= len(data)
            return
        self._data += data
        self._left -= len(data)
        whole = len(self._data) if not self._left else len(self._data) // SECTOR * SECTOR
        if whole and (whole >= _PIECE or not self._left):
            try:
                self.medium.write(self._start, self._data[:whole])
            except OSError:
                raise self._fail(MEDIUM_ERROR, WRITE_FAULT) from None
            self._start += whole
            self._data = self._data[whole:]

    def _fail(self, key: int, code: int) -> Failed:
        self._sense = [key, code]
        return Failed(key, code)

    def abandon(self) -> None:
        """The transfer ends here."""
        if self._writing and not self._discarding:
            whole = len(self._data) // SECTOR * SECTOR
            if whole:
                try:
                    self.medium.write(self._start, self._data[:whole])
                except OSError:
                    self._sense = [MEDIUM_ERROR, WRITE_FAULT]
        self._data, self._left, self._writing = b"", 0, False

    # -- commands ---------------------------------------------------------------------------

    def _ready(self) -> None:
        if self._stopped:
            raise Failed(NOT_READY, 0x0402)  # initialising command required

    @command(0x00)
    def _test_unit_ready(self, block: bytes) -> Plan:
        self._ready()
        return Plan()

    @command(0x03)
    def _request_sense(self, block: bytes) -> Plan:
        key, code = self._sense
        self._sense = [0, 0]
        data = struct.pack(">BBBIBIBB", 0x70, 0, key, 0, 10, 0, code >> 8, code & 0xFF) + bytes(4)
        return Plan(data[: block[4]])

    @command(0x12)
    def _inquiry(self, block: bytes) -> Plan:
        length = int.from_bytes(block[3:5], "big")
        if not block[1] & 1:
            if block[2]:
                raise Failed(ILLEGAL_REQUEST, BAD_FIELD)
            text = f"{_VENDOR:8}{_PRODUCT:16}{_REVISION:4}".encode()
            # a removable direct-access device, SPC-3, response format 2
            return Plan((bytes((0, 0x80, 5, 2, 31, 0, 0, 0)) + text)[:length])
        serial = self.serial.encode()
        pages = {0x00: bytes((0x00, 0x80, 0x83)), 0x80: serial}
        identity = f"{_VENDOR:8}".encode() + serial
        pages[0x83] = bytes((2, 1, 0, len(identity))) + identity
        page = pages.get(block[2])
        if page is None:
            raise Failed(ILLEGAL_REQUEST, BAD_FIELD)
        return Plan((bytes((0, block[2])) + len(page).to_bytes(2, "big") + page)[:length])

    @command(0x1A)
    def _mode_sense_6(self, block: bytes) -> Plan:
        pages = self._mode_pages(block[2])
        head = bytes((3 + len(pages), 0, self._device_specific, 0))
        return Plan((head + pages)[: block[4]])

    @command(0x5A)
    def _mode_sense_10(self, block: bytes) -> Plan:
        pages = self._mode_pages(block[2])
        head = struct.pack(">HBBHH", 6 + len(pages), 0, self._device_specific, 0, 0)
        return Plan((head + pages)[: int.from_bytes(block[7:9], "big")])

    @property
    def _device_specific(self) -> int:
        return 0x80 if self.medium.read_only else 0

    def _mode_pages(self, selector: int) -> bytes:
        """SBC-2 6.3: the caching page, as far as it holds; nothing of it can be changed."""
        control, code = selector >> 6, selector & 0x3F
        if control == 3:
            raise Failed(ILLEGAL_REQUEST, 0x3900)  # there are no saved values
        if code not in (0x08, 0x3F):
            if code == 0x00 or code > 0x1F:
                return b""
            raise Failed(ILLEGAL_REQUEST, BAD_FIELD)
        # no write cache: what is written is with the host at once
        return bytes((0x08, 18)) + bytes(18)

    @command(0x1B)
    def _start_stop(self, block: bytes) -> Plan:
        self._stopped = not block[4] & 1
        if self._stopped:
            self.medium.flush()
        return Plan()

    @command(0x1E, 0x1D)
    def _nothing_to_do(self, block: bytes) -> Plan:
        return Plan()

    @command(0x23)
    def _read_format_capacities(self, block: bytes) -> Plan:
        capacity = struct.pack(">II", min(self.blocks, 0xFFFFFFFF), 2 << 24 | SECTOR)
        return Plan((struct.pack(">I", len(capacity)) + capacity)[: int.from_bytes(block[7:9], "big")])

    @command(0x25)
    def _read_capacity_10(self, block: bytes) -> Plan:
        self._ready()
        return Plan(struct.pack(">II", min(self.blocks - 1, 0xFFFFFFFF), SECTOR))

    @command(0x9E)
    def _read_capacity_16(self, block: bytes) -> Plan:
        self._ready()
        if block[1] & 0x1F != 0x10:
            raise Failed(ILLEGAL_REQUEST, BAD_FIELD)
        data = struct.pack(">QI", self.blocks - 1, SECTOR) + bytes(20)
        return Plan(data[: int.from_bytes(block[10:14], "big")])

    @command(0xA0)
    def _report_units(self, block: bytes) -> Plan:
        return Plan((struct.pack(">II", 8, 0) + bytes(8))[: int.from_bytes(block[6:10], "big")])

    @command(0x08, 0x0A, 0x28, 0x2A, 0xA8, 0xAA, 0x88, 0x8A)
    def _read_write(self, block: bytes) -> Plan:
        self._ready()
        write = bool(block[0] & 2)
        if write and self.medium.read_only:
            raise Failed(DATA_PROTECT, WRITE_PROTECTED)
        start, count = _extent(block)
        self._check_extent(start, count)
        return Plan(start=start * SECTOR, length=count * SECTOR, write=write)

    @command(0x2F)
    def _verify(self, block: bytes) -> Plan:
        self._ready()
        start, count = _extent(block)
        self._check_extent(start, count)
        if block[1] & 2:  # the host sends what it is to be compared with
            return Plan(start=start * SECTOR, length=count * SECTOR, write=True, discard=True)
        return Plan()

    @command(0x2B)
    def _seek(self, block: bytes) -> Plan:
        self._ready()
        self._check_extent(int.from_bytes(block[2:6], "big"), 1)
        return Plan()

    @command(0x35, 0x91)
    def _synchronize_cache(self, block: bytes) -> Plan:
        self._ready()
        self.medium.flush()
        return Plan()

    def _check_extent(self, start: int, count: int) -> None:
        if start + count > self.blocks:
            raise Failed(ILLEGAL_REQUEST, OUT_OF_RANGE)


def _extent(block: bytes) -> tuple[int, int]:
    """First block and count of a command of 6, 10, 12 or 16 bytes (SPC-3 4.3)."""
    match block[0] >> 5:
        case 0:
            return int.from_bytes(block[1:4], "big") & 0x1F_FFFF, block[4] or 256
        case 1:
            return int.from_bytes(block[2:6], "big"), int.from_bytes(block[7:9], "big")
        case 4:
            return int.from_bytes(block[2:10], "big"), int.from_bytes(block[10:14], "big")
    return int.from_bytes(block[2:6], "big"), int.from_bytes(block[6:10], "big")


_COMMANDS: dict[int, str] = {
    code: name for name, item in vars(ScsiDisk).items() for code in getattr(item, "commands", ())
}
