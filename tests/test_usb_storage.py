"""A USB stick by itself: the bulk-only transport and the SCSI commands, right and wrong ones."""

from __future__ import annotations

import struct
from random import Random

import pytest

from dbgemu.target.block import MemoryMedium
from dbgemu.target.usb.device import NAK, STALL, Handshake
from dbgemu.target.usb.mass_storage import UsbStorage

SECTORS = 1000
IN_ENDPOINT, OUT_ENDPOINT = 1, 2


class Host:
    """What a driver does, without a host controller between."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.medium = MemoryMedium(SECTORS * 512, read_only=read_only)
        self.stick = UsbStorage("stick", self.medium)
        self.control(0x00, 9, 1)

    def control(
        self, kind: int, request: int, value: int = 0, index: int = 0, length: int = 0
    ) -> bytes | Handshake:
        self.stick.setup(struct.pack("<BBHHH", kind, request, value, index, length))
        return self.stick.give(0, max(64, length))

    def wrap(self, command: bytes, length: int, *, to_host: bool = True, tag: int = 7) -> None:
        wrapper = struct.pack("<IIIBBB", 0x43425355, tag, length, to_host << 7, 0, len(command))
        packet = wrapper + command.ljust(16, b"\0")
        assert self.stick.take(OUT_ENDPOINT, packet) == 31

    def status(self) -> tuple[int, int]:
        """Status and residue of the command."""
        answer = self.stick.give(IN_ENDPOINT, 64)
        assert isinstance(answer, bytes)
        signature, tag, residue, status = struct.unpack("<IIIB", answer)
        assert (signature, tag) == (0x53425355, 7)
        return status, residue

    def read(self, command: bytes, length: int) -> bytes:
        """A command that sends data, which has to go well."""
        self.wrap(command, length)
        data = b""
        while len(data) < length:
            part = self.stick.give(IN_ENDPOINT, 512)
            if part is STALL:
                self.clear(0x81)
                break
            assert isinstance(part, bytes)
            data += part
            if len(part) % 64:
                break
        assert self.status() == (0, length - len(data))
        return data

    def clear(self, endpoint: int) -> None:
        assert self.control(0x02, 1, 0, endpoint) == b""

    def sense(self) -> tuple[int, int]:
        """Sense key, and code with qualifier."""
        data = self.read(bytes((0x03, 0, 0, 0, 18, 0)), 18)
        return data[2], data[12] << 8 | data[13]


def read_10(start: int, count: int, code: int = 0x28) -> bytes:
    return struct.pack(">BBIBHB", code, 0, start, 0, count, 0)


@pytest.fixture
def host() -> Host:
    return Host()


def test_it_tells_what_it_is_and_how_large(host: Host) -> None:
    inquiry = host.read(bytes((0x12, 0, 0, 0, 36, 0)), 36)
    assert inquiry[:2] == b"\x00\x80"
    assert inquiry[8:32] == b"dbgemu  USB disk        "
    assert host.read(bytes((0x25,)), 8) == struct.pack(">II", SECTORS - 1, 512)
    assert host.read(bytes((0x9E, 0x10, *bytes(8), 0, 0, 0, 32)), 32)[:12] == struct.pack(
        ">QI", SECTORS - 1, 512
    )
    assert host.read(bytes((0x23, 0, 0, 0, 0, 0, 0, 0, 252)), 252)[4:8] == struct.pack(">I", SECTORS)
    assert host.read(bytes((0x12, 1, 0, 0, 255, 0)), 255) == bytes((0, 0, 0, 3, 0, 0x80, 0x83))
    assert host.read(bytes((0xA0, *bytes(8), 16)), 16) == struct.pack(">II", 8, 0) + bytes(8)


def test_what_is_written_is_read_back(host: Host) -> None:
    data = Random(3).randbytes(40 * 512)
    host.wrap(read_10(17, 40, 0x2A), len(data), to_host=False)
    for at in range(0, len(data), 1216):
        assert host.stick.take(OUT_ENDPOINT, data[at : at + 1216]) == len(data[at : at + 1216])
    assert host.stick.give(IN_ENDPOINT, 64) is not NAK
    assert bytes(host.medium.data[17 * 512 : 57 * 512]) == data
    host.stick.started()
    assert host.read(read_10(17, 40), len(data)) == data
    assert host.read(bytes((0x08, 0, 0, 17, 2, 0)), 1024) == data[:1024]
    assert host.read(struct.pack(">BBIIBB", 0xA8, 0, 18, 1, 0, 0), 512) == data[512:1024]


@pytest.mark.parametrize(
    ("command", "sense"),
    [
        (read_10(SECTORS, 1), (5, 0x2100)),
        (read_10(SECTORS - 1, 2), (5, 0x2100)),
        (read_10(0xFFFFFFFF, 1), (5, 0x2100)),
        (bytes((0xFF,)), (5, 0x2000)),
        (bytes((0x12, 0, 5, 0, 36, 0)), (5, 0x2400)),
        (bytes((0x1A, 0, 0xC8, 0, 192, 0)), (5, 0x3900)),
    ],
)
def test_a_command_that_cannot_be_done_stalls_and_has_a_sense(
    host: Host, command: bytes, sense: tuple[int, int]
) -> None:
    host.wrap(command, 512)
    assert host.stick.give(IN_ENDPOINT, 64) is STALL
    host.clear(0x81)
    assert host.status() == (1, 512)
    assert host.sense() == sense
    assert host.sense() == (0, 0), "told once"


def test_a_read_only_medium_is_not_written(host: Host) -> None:
    host = Host(read_only=True)
    assert host.read(bytes((0x1A, 0, 0x3F, 0, 192, 0)), 192)[2] == 0x80
    host.wrap(read_10(0, 1, 0x2A), 512, to_host=False)
    assert host.stick.take(OUT_ENDPOINT, bytes(512)) is STALL
    host.clear(0x02)
    assert host.status() == (1, 512)
    assert host.sense() == (7, 0x2700)


def test_less_data_than_the_host_expects_end_with_a_stall_or_a_short_packet(host: Host) -> None:
    host.wrap(bytes((0x12, 0, 0, 0, 36, 0)), 100)
    assert len(host.stick.give(IN_ENDPOINT, 128)) == 36  # type: ignore[arg-type]
    assert host.status() == (0, 64)
    host.wrap(read_10(0, 1), 1024)
    assert host.stick.give(IN_ENDPOINT, 1024) == bytes(512)
    assert host.stick.give(IN_ENDPOINT, 512) is STALL
    host.clear(0x81)
    assert host.status() == (0, 512)


def test_a_wrapper_that_contradicts_the_command_is_a_phase_error(host: Host) -> None:
    host.wrap(read_10(0, 1, 0x2A), 512, to_host=True)
    assert host.stick.give(IN_ENDPOINT, 64) is STALL
    host.clear(0x81)
    assert host.status()[0] == 2
    assert bytes(host.medium.data) == bytes(SECTORS * 512)


@pytest.mark.parametrize("packet", [b"", b"x" * 31, b"USBC" + bytes(40), b"USBC" + bytes(27)])
def test_after_what_is_no_wrapper_all_stalls_until_the_transport_is_reset(host: Host, packet: bytes) -> None:
    host.stick.take(OUT_ENDPOINT, packet)
    for _ in range(2):
        assert host.stick.give(IN_ENDPOINT, 64) is STALL
        assert host.stick.take(OUT_ENDPOINT, bytes(31)) is STALL
        host.clear(0x81)
        host.clear(0x02)
    assert host.control(0x21, 0xFF) == b""
    host.clear(0x81)
    host.clear(0x02)
    assert host.read(bytes((0x25,)), 8)


def test_a_stopped_disk_is_not_ready_until_it_is_started(host: Host) -> None:
    host.read(bytes((0x1B, 0, 0, 0, 0)), 0)
    host.wrap(read_10(0, 1), 512)
    assert host.stick.give(IN_ENDPOINT, 64) is STALL
    host.clear(0x81)
    assert host.status() == (1, 512)
    assert host.sense()[0] == 2
    host.read(bytes((0x1B, 0, 0, 0, 1)), 0)
    assert host.read(read_10(0, 1), 512) == bytes(512)


def test_a_transfer_goes_on_in_a_copy_of_its_state(host: Host) -> None:
    host.medium.write(0, Random(9).randbytes(SECTORS * 512))
    host.wrap(read_10(3, 100), 51200)
    host.stick.give(IN_ENDPOINT, 1216)
    other = Host()
    other.medium.data[:] = host.medium.data
    other.stick.load(host.stick.save())
    assert other.stick.give(IN_ENDPOINT, 4096) == host.stick.give(IN_ENDPOINT, 4096)
    assert other.stick.save() == host.stick.save()


@pytest.mark.parametrize("seed", range(30))
def test_whatever_a_host_sends_is_survived(seed: int) -> None:
    random = Random(seed)
    host = Host()
    codes = (
        0,
        3,
        8,
        0x0A,
        0x12,
        0x15,
        0x1A,
        0x1B,
        0x1E,
        0x23,
        0x25,
        0x28,
        0x2A,
        0x2F,
        0x35,
        0x5A,
        0x9E,
        0xA0,
        0xA8,
    )
    for _ in range(300):
        match random.randrange(5):
            case 0:
                command = bytes((random.choice(codes),)) + random.randbytes(random.randrange(15))
                wrapper = struct.pack(
                    "<IIIBBB",
                    0x43425355,
                    1,
                    random.choice((0, 36, 512, 4096)),
                    random.choice((0, 0x80)),
                    0,
                    len(command),
                )
                host.stick.take(OUT_ENDPOINT, wrapper + command.ljust(16, b"\0"))
            case 1:
                host.stick.take(OUT_ENDPOINT, random.randbytes(random.choice((0, 31, 64, 512))))
            case 2:
                host.stick.give(IN_ENDPOINT, random.choice((64, 128, 1216)))
            case 3:
                host.stick.setup(random.randbytes(8))
                host.stick.give(0, 64)
                host.stick.take(0, random.randbytes(random.randrange(9)))
                host.control(0x00, 9, 1)
            case 4:
                host.clear(random.choice((0x81, 0x02)))
                host.control(0x21, 0xFF)


def test_a_disk_of_half_a_sector_is_refused() -> None:
    medium = MemoryMedium(0)
    with pytest.raises(ValueError, match="a disk of 0 bytes: it needs whole sectors of 512"):
        UsbStorage("stick", medium)
