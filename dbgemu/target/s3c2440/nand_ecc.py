"""The S3C2440A's NAND error correction code: parities of a data stream, taken in bulk.

S3C2440A UM 6-7. Of the bits of a byte and of the bytes of a block the parity is taken twice for each
address bit: over those where that bit is 1 (P) and over those where it is 0 (P'). They are kept
inverted, so that erased flash, all FF, has the erased code, all FF.
"""

from __future__ import annotations

#: bits of a byte with bit 0, 1, 2 of their number set
_COLUMN_MASKS = (0xAA, 0xCC, 0xF0)

#: pieces of data that wait to be looked at
_MOST_COLLECTED = 1024


class EccEngine:
    """Line and column parities of up to ``2 ** line_bits`` bytes (main: 2048, spare: 16).

    ``lines`` is the XOR of the numbers of the bytes of odd parity, ``column`` the XOR of all bytes.
    What passes is only collected: drivers start over far more often than they ask for a code.
    """

    def __init__(self, line_bits: int) -> None:
        self.line_bits = line_bits
        self.clear()

    def clear(self) -> None:
        """Start over at byte 0."""
        self.position = 0
        self.lines = 0
        self.column = 0
        self._passed: list[bytes | bytearray] = []

    def feed(self, data: bytes | bytearray) -> None:
        """Let ``data`` pass, which must not change afterwards; behind a block counting goes round."""
        self._passed.append(data)
        if len(self._passed) > _MOST_COLLECTED:
            self._settle()

    def _settle(self) -> None:
        if not self._passed:
            return
        data = b"".join(self._passed)
        self._passed.clear()
        # All bytes as one number, zeros before them. Its upper half holds the bytes whose number has
        # the highest bit set: that half's parity is that line's parity; then fold the half down.
        end = self.position + len(data)
        word = int.from_bytes(data, "little") << 8 * self.position
        for line in range((end - 1).bit_length() - 1, -1, -1):
            width = 8 << line
            upper = word >> width
            word = (word & ((1 << width) - 1)) ^ upper
            if line < self.line_bits:
                self.lines ^= (upper.bit_count() & 1) << line
        self.column ^= word
        self.position = end & ((1 << self.line_bits) - 1)

    def parities(self) -> tuple[list[int], list[int]]:
        """Pairs P' | P << 1, not inverted: for the line bits, and for the three column bits."""
        self._settle()
        total = self.column.bit_count() & 1
        lines = []
        for line in range(self.line_bits):
            parity = self.lines >> line & 1
            lines.append(parity << 1 | parity ^ total)
        columns = []
        for mask in _COLUMN_MASKS:
            parity = (self.column & mask).bit_count() & 1
            columns.append(parity << 1 | parity ^ total)
        return lines, columns

    def save(self) -> list[int]:
        """State as plain data."""
        self._settle()
        return [self.position, self.lines, self.column]

    def load(self, state: list[int]) -> None:
        """Put back what :meth:`save` gave."""
        self._passed.clear()
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

    def code(self, engine: EccEngine) -> int:
        """The code as the registers show it."""
        lines, columns = engine.parities()
        word = 0
        for place, pair in zip(self.lines + self.columns, lines + columns, strict=True):
            word |= pair << place
        return word ^ self.full

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


MAIN_LAYOUT = EccLayout(MAIN_LINES, MAIN_COLUMNS, 32)
SPARE_LAYOUT = EccLayout(SPARE_LINES, SPARE_COLUMNS, 16)
