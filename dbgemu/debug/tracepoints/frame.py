"""One trace frame: its bytes, and what can be read from them.

The layout is that of GDB's trace files (GDB manual, "Trace File Format"), all little-endian: the
tracepoint's number (16 bits), the number of bytes that follow (32), then blocks, each a letter and

* ``R``: the core registers, r0 to r15 and CPSR;
* ``M``: address (64 bits), length (16 bits) and memory;
* ``V``: number (32 bits) and value (64 bits, signed) of a trace state variable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from struct import Struct

HEADER = Struct("<HI")
REGISTERS = Struct("<17I")
MEMORY_HEADER = Struct("<cQH")
VARIABLE = Struct("<ciq")

#: bytes of memory in one block at most
MAX_BLOCK = 0xFFFF


@dataclass(frozen=True)
class Blocks:
    """A frame's contents. Memory is (address, data), in the order of collection."""

    registers: bytes | None = None
    memory: tuple[tuple[int, bytes], ...] = ()
    variables: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TraceFrame:
    """Frame ``index`` of a buffer: what tracepoint ``number`` recorded at ``address``."""

    index: int
    number: int
    address: int
    #: the blocks, without the header
    data: bytes

    @cached_property
    def blocks(self) -> Blocks:
        """The contents, taken apart."""
        registers, memory, variables = None, [], {}
        data, place = self.data, 0
        while place < len(data):
            match data[place : place + 1]:
                case b"R":
                    registers = data[place + 1 : place + 1 + REGISTERS.size]
                    place += 1 + REGISTERS.size
                case b"M":
                    _, address, length = MEMORY_HEADER.unpack_from(data, place)
                    place += MEMORY_HEADER.size
                    memory.append((address, data[place : place + length]))
                    place += length
                case _:
                    _, number, value = VARIABLE.unpack_from(data, place)
                    variables[number] = value
                    place += VARIABLE.size
        return Blocks(registers, tuple(memory), variables)

    def read_memory(self, address: int, length: int) -> bytes:
        """What was recorded of ``length`` bytes from ``address``: up to the first that was not."""
        found = bytearray()
        while len(found) < length:
            here = address + len(found)
            for start, data in self.blocks.memory:
                if start <= here < start + len(data):
                    found += data[here - start : here - start + length - len(found)]
                    break
            else:
                break
        return bytes(found)

    def next_memory(self, address: int, end: int) -> int:
        """The lowest recorded address from ``address`` on, or ``end`` when none is below it."""
        return min((start for start, _ in self.blocks.memory if address <= start < end), default=end)
