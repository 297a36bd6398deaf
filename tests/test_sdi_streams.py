"""The SD interface with accesses served from its ports: nothing tells it from one that is always asked."""

from __future__ import annotations

from random import Random

import pytest

from dbgemu.target.block import MemoryMedium
from dbgemu.target.chips.sd_card import SdCard
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.sdi import Sdi
from dbgemu.target.stream import STREAM_CURSOR, STREAM_READ_END, STREAM_STEP, Port, StreamPort
from tests.virtual_time import advance

CON, PRE, CMDARG, CMDCON, CMDSTAT = 0x00, 0x04, 0x08, 0x0C, 0x10
TIMER, BSIZE, DCON, DCNT, DSTA, FSTA, IMSK, DATA = 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38, 0x3C, 0x40
#: 512 bytes a block, start, receive, after the command
RECEIVE = 1 << 19 | 1 << 14 | 2 << 12
RESPONSE = 0x200


class Bench:
    """An interface with an identified card; with ``ports`` reads go where the engine would let them go."""

    def __init__(self, *, ports: bool) -> None:
        self.clock, self.line = VirtualClock(), Line("INT_SDI")
        self.sdi = Sdi("sdi", clock=self.clock, clocks=FixedClocks(), interrupt=self.line)
        medium = MemoryMedium(1 << 20)
        medium.write(0, Random(1).randbytes(8 * 512))
        self.card = SdCard("card", medium, clock=self.clock)
        self.sdi.insert(self.card)
        self.ports: dict[int, Port] = dict(self.sdi.ports()) if ports else {}
        self.asked = 0
        self.write(CON, 1)
        for index, argument in ((0, 0), (8, 0x1AA), (55, 0), (41, 0x40FF8000), (2, 0), (3, 0)):
            self.command(index, argument)
        self.command(7, self.card.rca << 16)
        self.write(BSIZE, 512)
        self.write(TIMER, 0x7FFFFF)

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.sdi.write(offset, size, value)

    def command(self, index: int, argument: int) -> None:
        self.write(CMDARG, argument)
        self.write(CMDCON, index | 0x140 | (RESPONSE if index else 0) | (0x400 if index == 2 else 0))
        advance(self.clock, 1_000_000)

    def read(self, offset: int, size: int = 4) -> int:
        port = self.ports.get(offset)
        if port is not None:
            words = port.words
            cursor = words[STREAM_CURSOR]
            if cursor + size <= words[STREAM_READ_END]:
                words[STREAM_CURSOR] = cursor + (size & words[STREAM_STEP])
                data = port.buffer if isinstance(port, StreamPort) else port._value.tobytes()
                return int.from_bytes(data[cursor - port._base :][:size], "little")
        self.asked += 1
        return self.sdi.read(offset, size)


@pytest.mark.parametrize("seed", range(6))
def test_served_accesses_and_asked_ones_are_the_same(seed: int) -> None:
    random_ = Random(seed)
    benches = Bench(ports=False), Bench(ports=True)
    for _ in range(6):
        blocks = random_.randrange(1, 4)
        mask = random_.choice((0, 0x1F, 0x7, 0x10, 0x3CFDF))
        operations = [("write", DCON, RECEIVE | blocks, 4), ("command", 18, 0, 0), ("write", IMSK, mask, 4)]
        for _ in range(250):
            kind = random_.randrange(12)
            offset = random_.choice((FSTA, FSTA, IMSK, DCNT, DSTA))
            if kind < 2:
                operations.append(("pass", random_.choice((100, 20_000, 400_000)), 0, 0))
            elif kind < 4:
                operations += [("read", DATA, 0, 4)] * random_.choice((8, 16, 100)) + [("read", FSTA, 0, 4)]
            elif kind < 8:
                operations.append(("read", DATA, 0, random_.choice((1, 2, 4, 4, 4))))
            elif kind < 11:
                operations.append(("read", offset, 0, 4))
            else:
                value = random_.choice((0x10000, 0xC000, 0x200, 0))
                operations.append(("write", *random_.choice(((FSTA, value), (IMSK, 0x1F))), 4))
        operations.append(("command", 12, 0, 0))
        for step, (what, offset, value, size) in enumerate(operations):
            results: list[object] = []
            for bench in benches:
                if what == "read":
                    results.append(bench.read(offset, size))
                elif what == "write":
                    results.append(bench.write(offset, value, size))
                elif what == "command":
                    results.append(bench.command(offset, value))
                else:
                    results.append(advance(bench.clock, offset))
            assert results[0] == results[1], (step, what, hex(offset), size)
            assert benches[0].line.level == benches[1].line.level, step
            if random_.random() < 0.02:
                state = benches[0].sdi.save()
                assert state == benches[1].sdi.save(), step
                benches[1].sdi.load(state)
    assert benches[1].asked < benches[0].asked - 500


def test_of_a_block_few_accesses_come_to_the_interface() -> None:
    bench = Bench(ports=True)
    bench.write(DCON, RECEIVE | 1)
    bench.command(17, 0)
    advance(bench.clock, 10_000_000)
    bench.asked = 0
    data = b""
    while count := bench.read(FSTA) & 0x7F:
        data += b"".join(bench.read(DATA).to_bytes(4, "little") for _ in range(count // 4))
    assert data == Random(1).randbytes(8 * 512)[:512]
    # the words that begin the block and bring the FIFO below full, to a half and to nothing; the level then
    assert bench.asked <= 6
