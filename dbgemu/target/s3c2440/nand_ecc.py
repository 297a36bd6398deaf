"""The S3C2440A's NAND error correction code: parities of a data stream, taken in bulk.

S3C2440A UM 6-7. Of the bits of a byte and of the bytes of a block the parity is taken twice for each
address bit: over those where that bit is 1 (P) and over those where it is 0 (P'). They are kept
inverted, so that erased flash, all FF, has the erased code, all FF.
"""

from __future__ import annotations

from array import array

from dbgemu.target.stream import CODE_COLUMNS, CODE_HIGH_LINES, CODE_LOW_LINES, CODE_TABLES_END

#: bits of a byte with bit 0, 1, 2 of their number set
_COLUMN_MASKS = (0xAA, 0xCC, 0xF0)

#: what is looked at together has numbers of so many bits at most
_LINE_BITS = 16
#: for each line bit: how far the upper half is to be shifted, and which bits belong to the lower one
_LINES = [(8 << line, (1 << (8 << line)) - 1) for line in range(_LINE_BITS)]
#: for each number of line bits, from the highest line on
_HALVES = tuple(tuple(reversed(_LINES[:bits])) for bits in range(_LINE_BITS + 1))

#: line bits that are looked up together
_LOW_LINES = 6

#: bytes that are looked at together; with a block's before them these are numbers of 16 bits
_AT_ONCE = 32768


def fold(word: int, count: int) -> tuple[int, int]:
    """Of ``count`` bytes (up to 65536), as one number: the XOR of the numbers of the odd ones, and of all.

    The upper half holds the bytes whose number has the highest bit set: that half's parity is that
    line's parity; then the half is folded down.
    """
    lines = 0
    for shift, lower in _HALVES[(count - 1).bit_length()]:
        upper = word >> shift
        word = word & lower ^ upper
        lines = lines << 1 | upper.bit_count() & 1
    return lines, word


class EccEngine:
    """Line and column parities of up to ``2 ** line_bits`` bytes (main: 2048, spare: 16).

    ``lines`` is the XOR of the numbers of the bytes of odd parity, ``column`` the XOR of all bytes.
    What passes is only collected: drivers start over far more often than they ask for a code.
    """

    def __init__(self, line_bits: int) -> None:
        self.line_bits = line_bits
        self._counted = (1 << line_bits) - 1
        self.clear()

    def clear(self) -> None:
        """Start over at byte 0."""
        self.position = self.lines = self.column = 0
        self._passed: list[bytes | bytearray] = []
        self._waiting = 0

    def restart(self, data: bytes | bytearray) -> None:
        """Start over, then let ``data`` pass: see :meth:`feed`."""
        self.position = self.lines = self.column = 0
        self._passed = [data]
        self._waiting = len(data)

    def feed(self, data: bytes | bytearray) -> None:
        """Let ``data`` pass, which must not change afterwards; behind a block counting goes round."""
        self._passed.append(data)
        self._waiting += len(data)
        if self._waiting > _AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        if not self._passed:
            return
        passed = self._passed
        data = passed[0] if len(passed) == 1 else b"".join(passed)
        self._passed = []
        self._waiting = 0
        for start in range(0, len(data), _AT_ONCE):
            self._take(data[start : start + _AT_ONCE] if start or len(data) > _AT_ONCE else data)

    def _take(self, data: bytes | bytearray) -> None:
        # zeros stand for those before them
        end = self.position + len(data)
        lines, column = fold(int.from_bytes(data, "little") << 8 * self.position, end)
        self.lines ^= lines & self._counted
        self.column ^= column
        self.position = end & self._counted

    def parities(self) -> tuple[int, int]:
        """``lines`` and ``column``: not inverted."""
        self._settle()
        return self.lines, self.column

    def save(self) -> list[int]:
        """State as plain data."""
        self._settle()
        return [self.position, self.lines, self.column]

    def load(self, state: list[int]) -> None:
        """Put back what :meth:`save` gave."""
        self.clear()
        self.position, self.lines, self.column = state


#: the lowest bit of each pair's place in the code: lines from the lowest, then the columns P1, P2, P4
MAIN_LINES = (0, 2, 4, 6, 8, 10, 12, 14, 16, 28, 30)
MAIN_COLUMNS = (18, 20, 22)
SPARE_LINES = (4, 6, 10, 12)
SPARE_COLUMNS = (14, 0, 2)


class EccLayout:
    """How one engine's parities are put into a code word, and what two code words' difference means."""

    def __init__(self, lines: tuple[int, ...], columns: tuple[int, ...], width: int) -> None:
        self.lines = lines
        self.columns = columns
        #: bits of the code, unused ones included; those read as 1
        self.full = (1 << width) - 1
        self.used = sum(3 << place for place in lines + columns)
        # by six parities at a time: their pairs with P and P' alike
        self._low_lines, self._high_lines = _pairs(lines[:_LOW_LINES]), _pairs(lines[_LOW_LINES:])
        # for the XOR of all bytes: P and P' of the columns; those of all pairs differ if it is odd
        pairs, complements = _pairs(columns), sum(1 << place for place in lines + columns)
        parities = [[(byte & mask).bit_count() & 1 for mask in (*_COLUMN_MASKS, 0xFF)] for byte in range(256)]
        self._columns = [
            pairs[p1 | p2 << 1 | p4 << 2] ^ odd * complements ^ self.full for p1, p2, p4, odd in parities
        ]

    def code(self, lines: int, column: int) -> int:
        """The code as the registers show it, from the parities of the lines and the XOR of all bytes."""
        return self._low_lines[lines & 63] ^ self._high_lines[lines >> _LOW_LINES] ^ self._columns[column]

    def tables(self) -> array[int]:
        """What :meth:`code` is made from, as a :class:`CodeRegister` wants it."""
        tables = array("I", bytes(4 * CODE_TABLES_END))
        for first, words in (
            (CODE_LOW_LINES, self._low_lines),
            (CODE_HIGH_LINES, self._high_lines),
            (CODE_COLUMNS, self._columns),
        ):
            tables[first : first + len(words)] = array("I", words)
        return tables

    def check(self, stored: int, computed: int) -> tuple[int, int, int]:
        """What is wrong with the data: an error code (UM 6-18), and the bad byte's and bit's numbers.

        0: nothing; 1: one bit, correctable: in each pair one parity differs; 2: several bits;
        3: one bit of the code itself.
        """
        difference = (stored ^ computed) & self.used
        if not difference:
            return 0, 0, 0
        if not difference & (difference - 1):
            return 3, 0, 0
        places = self.lines + self.columns
        if any(difference >> place & 3 not in (1, 2) for place in places):
            return 2, 0, 0
        byte = sum((difference >> place + 1 & 1) << number for number, place in enumerate(self.lines))
        bit = sum((difference >> place + 1 & 1) << number for number, place in enumerate(self.columns))
        return 1, byte, bit


def _pairs(places: tuple[int, ...]) -> list[int]:
    """For each number: the word with both bits set at the places of its bits that are set."""
    return [
        sum(3 << place for bit, place in enumerate(places) if number >> bit & 1)
        for number in range(1 << len(places))
    ]


MAIN_LAYOUT = EccLayout(MAIN_LINES, MAIN_COLUMNS, 32)
SPARE_LAYOUT = EccLayout(SPARE_LINES, SPARE_COLUMNS, 16)
