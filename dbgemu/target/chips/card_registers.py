"""What SD and MMC cards tell of themselves: CID, CSD, SCR, SD status, extended CSD, and the checksum.

SD Specifications, Physical Layer Simplified Specification 2.00, chapter 5; JESD84-A44, chapter 8.
"""

from __future__ import annotations

from collections.abc import Iterable

from dbgemu.target.block import SECTOR

#: the largest card whose bytes are addressed; larger ones count sectors
BYTE_ADDRESSED = 2 << 30
#: sizes of large cards are counted in this unit (C_SIZE of CSD version 2)
_LARGE_UNIT = 512 << 10
#: 25 MHz and 26 MHz (1.0 * 10 MHz * 2.5 or 2.6), access times of 1 ms
_SD_SPEED, _MMC_SPEED, _ACCESS_TIME = 0x32, 0x32, 0x0E
#: command classes: basic, block read, block write, erase, application specific, switch
_SD_CLASSES, _MMC_CLASSES = 0x535, 0x035
#: sectors that are erased together, less 1 (only a hint: single sectors can be erased)
_ERASE_SECTOR = 0x7F

#: TMP_WRITE_PROTECT in the last 14 bits of a CSD
_PROTECTED = 0x10

_MANUFACTURER, _SERIAL, _REVISION = 0x64, 0x2440_9200, 0x10
_MONTH, _YEAR = 1, 2008


def crc7(data: bytes) -> int:
    """The checksum of commands and responses (polynomial x^7 + x^3 + 1), in bits 6 to 0."""
    crc = 0
    for byte in data:
        for bit in range(7, -1, -1):
            crc <<= 1
            if (crc >> 7 ^ byte >> bit) & 1:
                crc ^= 0x09
            crc &= 0x7F
    return crc


def _finish(first: bytes) -> bytes:
    """15 bytes with their checksum and the stop bit."""
    return first + bytes([crc7(first) << 1 | 1])


def _pack(fields: Iterable[tuple[int, int]]) -> bytes:
    """``(value, bits)`` one behind the other, the highest first; the bits make whole bytes."""
    number = total = 0
    for value, bits in fields:
        if value >> bits:
            raise ValueError(f"{value} does not fit in {bits} bits")
        number, total = number << bits | value, total + bits
    return number.to_bytes(total // 8, "big")


def sd_cid() -> bytes:
    """The card identification of SD cards: 16 bytes."""
    date = (_YEAR - 2000) << 4 | _MONTH
    return _finish(
        _pack(
            (
                (_MANUFACTURER, 8),
                (int.from_bytes(b"DB", "big"), 16),
                (int.from_bytes(b"GEMU ", "big"), 40),
                (_REVISION, 8),
                (_SERIAL, 32),
                (0, 4),
                (date, 12),
            )
        )
    )


def mmc_cid() -> bytes:
    """The card identification of MMC cards: 16 bytes."""
    return _finish(
        _pack(
            (
                (_MANUFACTURER, 8),
                (int.from_bytes(b"DB", "big"), 16),
                (int.from_bytes(b"DBGEMU", "big"), 48),
                (_REVISION, 8),
                (_SERIAL, 32),
                (_MONTH << 4 | _YEAR - 1997, 8),
            )
        )
    )


def geometry(size: int) -> tuple[int, int, int]:
    """READ_BL_LEN, C_SIZE and C_SIZE_MULT of a card of ``size`` bytes that are addressed one by one.

    ValueError, one sentence, when no card has that size.
    """
    for block_length in (9, 10):
        for multiplier in range(8):
            unit = 1 << block_length + multiplier + 2
            if size % unit == 0 and size // unit <= 4096:
                return block_length, size // unit - 1, multiplier
    raise ValueError(f"no card has {size} bytes: {_next_size(size)} is the next size that one can have")


def _next_size(size: int) -> int:
    unit = next(1 << bits for bits in range(11, 20) if size <= 4096 << bits)
    return -(-size // unit) * unit


def sd_csd(size: int, *, protected: bool = False) -> bytes:
    """The card specific data of an SD card of ``size`` bytes. ValueError for a size that no card has."""
    large = size > BYTE_ADDRESSED
    if large:
        if size % _LARGE_UNIT:
            raise ValueError(
                f"no card has {size} bytes: {-(-size // _LARGE_UNIT) * _LARGE_UNIT} is the next size"
                " that one can have"
            )
        block_length = 9
        capacity: tuple[tuple[int, int], ...] = ((0, 6), (size // _LARGE_UNIT - 1, 22), (0, 1))
    else:
        block_length, count, multiplier = geometry(size)
        # between them: currents at the lowest and highest voltage, 35 mA at least and 80 mA at most
        capacity = ((0, 2), (count, 12), (5, 3), (6, 3), (5, 3), (6, 3), (multiplier, 3))
    return _finish(
        _pack(
            (
                (int(large), 2),
                (0, 6),
                (_ACCESS_TIME, 8),
                (0, 8),
                (_SD_SPEED, 8),
                (_SD_CLASSES, 12),
                (block_length, 4),
                (int(not large), 1),  # parts of a block can be read
                (0, 3),  # misaligned access, DSR
                *capacity,
                (1, 1),  # single sectors can be erased
                (_ERASE_SECTOR, 7),
                (0, 10),  # write protection groups: none
                (2, 3),  # writing takes four times as long
                (block_length, 4),
                (_PROTECTED if protected else 0, 14),  # partial writes, file format, copy, protection
            )
        )
    )


def mmc_csd(size: int, *, protected: bool = False) -> bytes:
    """The card specific data of an MMC card. ValueError for a size that no card has."""
    block_length, count, multiplier = (9, 4095, 7) if size > BYTE_ADDRESSED else geometry(size)
    return _finish(
        _pack(
            (
                (2, 2),  # structure 1.2
                (4, 4),  # specification 4
                (0, 2),
                (_ACCESS_TIME, 8),
                (0, 8),
                (_MMC_SPEED, 8),
                (_MMC_CLASSES, 12),
                (block_length, 4),
                (1, 1),
                (0, 3),
                (0, 2),
                (count, 12),
                (5, 3),
                (6, 3),
                (5, 3),
                (6, 3),
                (multiplier, 3),
                (31, 5),  # erase group: 32 * 1 blocks
                (0, 5),
                (0, 6),  # write protection groups: none
                (0, 2),
                (2, 3),
                (block_length, 4),
                (_PROTECTED if protected else 0, 14),
            )
        )
    )


def scr() -> bytes:
    """The SD configuration register, 8 bytes: version 2.00, one or four data lines."""
    return bytes((0x02, 0x05, 0, 0, 0, 0, 0, 0))


def sd_status(wide: bool) -> bytes:
    """The SD status, 64 bytes: class 4, allocation units of 4 MiB, single units erased in a second."""
    status = bytearray(64)
    status[0] = 0x80 if wide else 0
    status[8], status[9] = 2, 4
    status[10] = 0x9 << 4
    status[11:13] = (1).to_bytes(2, "big")
    status[13] = 1 << 2
    return bytes(status)


def switch_status(functions: tuple[int, ...]) -> bytes:
    """What CMD6 of SD cards answers, 64 bytes. ``functions`` are those chosen, of groups 1 to 6.

    15 stands for a function that there is not.
    """
    status = bytearray(64)
    status[0:2] = (80).to_bytes(2, "big")  # mA at most
    for group in range(6):
        supported = 0x8003 if group == 0 else 0x8001  # high speed in group 1, else the default
        place = 2 + 2 * (5 - group)
        status[place : place + 2] = supported.to_bytes(2, "big")
    for group in range(0, 6, 2):
        status[16 - group // 2] = functions[group + 1] << 4 | functions[group]
    return bytes(status)


def ext_csd(size: int, bus_width: int, timing: int) -> bytes:
    """The extended CSD of MMC cards, 512 bytes."""
    data = bytearray(512)
    data[183] = bus_width
    data[185] = timing
    data[192] = 3  # revision 1.3: version 4.3 of the standard
    data[194] = 2
    data[196] = 1  # 26 MHz
    data[212:216] = (size // SECTOR if size > BYTE_ADDRESSED else 0).to_bytes(4, "little")
    data[221] = 1
    data[504] = 1
    return bytes(data)
