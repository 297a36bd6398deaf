"""The NAND controller with accesses served from its ports: nothing tells it from one that is always asked."""

from __future__ import annotations

import ctypes
from collections import Counter
from random import Random

import pytest

from dbgemu.target.bus import Bus
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import PARTS
from dbgemu.target.clock import VirtualClock
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.nand import NandController
from dbgemu.target.stream import (
    CODE_READS,
    POST_COPIES,
    POST_VALUE,
    POSTS_WRITES,
    STREAM_ACCESS,
    STREAM_CURSOR,
    STREAM_READ_END,
    STREAM_SIZES_SHIFT,
    STREAM_STEP,
    STREAM_WRITE_END,
    CodeRegister,
    Port,
    PostingRegister,
    StreamPort,
)
from tests.test_nand_controller import code_by_the_book

BASE = 0x4E000000
NFCONT, NFCMMD, NFADDR, NFDATA, NFSTAT, NFMECC0, NFSECC = 0x04, 0x08, 0x0C, 0x10, 0x20, 0x2C, 0x34


def _words(address: int, count: int) -> ctypes.Array[ctypes.c_uint64]:
    return (ctypes.c_uint64 * count).from_address(address)


class Bench:
    """Chip and controller; with ``ports`` accesses go where the engine would let them go."""

    def __init__(self, part: str, *, ports: bool) -> None:
        self.clock, self.log, self.irq = VirtualClock(), GuestLog(), Line("INT_NFCON")
        self.chip = NandFlash(clock=self.clock, part=PARTS[part], log=self.log)
        self.nand = NandController(chip=self.chip, irq=self.irq, log=self.log)
        self.bus = Bus(self.log)
        self.bus.map(BASE, self.nand)
        self.ports: dict[int, Port] = dict(self.nand.ports()) if ports else {}
        self.served = self.codes = self.asked = 0
        self.posts: Counter[int] = Counter()

    def _serves(self, offset: int, size: int, end: int) -> int | None:
        """The index in the port's buffer that the access is served at."""
        port = self.ports.get(offset)
        if port is None:
            return None
        words = port.words
        cursor = words[STREAM_CURSOR]
        if cursor + size > words[end] or not words[STREAM_ACCESS] >> STREAM_SIZES_SHIFT & size:
            return None
        words[STREAM_CURSOR] = cursor + (size & words[STREAM_STEP])
        self.served += 1
        return cursor - port._base

    def _code(self, offset: int) -> int | None:
        """What a register gives that shows a code, by the book."""
        port = self.ports.get(offset)
        if not isinstance(port, CodeRegister) or not port.words[STREAM_ACCESS] >> 32 & CODE_READS:
            return None
        origin, end = port.origin, self.chip.stream.position
        if origin is None or not 0 <= end - origin <= 2048 or (end - origin) % 8:
            return None
        self.codes += 1
        return code_by_the_book(self.chip.buffer[origin:end])

    def _posts(self, offset: int, size: int, value: int) -> bool:
        port = self.ports.get(offset)
        if not isinstance(port, PostingRegister) or not port.words[STREAM_ACCESS] >> 32 & POSTS_WRITES:
            return False
        if value != port.words[POST_VALUE]:
            return False
        pairs = iter(_words(port.words[POST_COPIES], 64))
        for source, target in zip(iter(lambda: next(pairs), 0), pairs, strict=False):
            _words(target, 1)[0] = _words(source, 1)[0]
        self.posts[offset] += 1
        return True

    def read(self, offset: int, size: int) -> int:
        if (code := self._code(offset)) is not None:
            return code & (1 << 8 * size) - 1
        place = self._serves(offset, size, STREAM_READ_END)
        if place is None:
            self.asked += 1
            return self.bus.read(BASE + offset, size) & ((1 << 8 * size) - 1)
        port = self.ports[offset]
        data = port.buffer if isinstance(port, StreamPort) else port._value.tobytes()
        return int.from_bytes(data[place : place + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        if self._posts(offset, size, value):
            return
        place = self._serves(offset, size, STREAM_WRITE_END)
        if place is None:
            self.asked += 1
            self.bus.write(BASE + offset, size, value)
            return
        port = self.ports[offset]
        assert isinstance(port, StreamPort)
        port.buffer[place : place + size] = value.to_bytes(size, "little")

    def pass_time(self, duration: int) -> None:
        self.clock.skip(duration)
        self.clock.run_due()


COMMANDS = (0x00, 0x01, 0x50, 0x30, 0x05, 0xE0, 0x80, 0x85, 0x10, 0x15, 0x60, 0xD0, 0x70, 0x90, 0xFF)


def _operations(random_: Random, part: str) -> list[tuple[str, int, int, int]]:
    """Mostly what drivers do, and now and then anything."""
    made = PARTS[part]
    cycles = made.column_cycles + made.row_cycles
    operations: list[tuple[str, int, int, int]] = [("write", NFCONT, 4, 1)]
    for _ in range(60):
        page = [random_.choice((0, 3, 200)) for _ in range(made.column_cycles)] + [random_.randrange(3)]
        page += [0] * (cycles - len(page))
        kind = random_.randrange(11)
        if kind < 3:  # read
            operations += [("write", NFCMMD, 1, random_.choice((0, 0, 1, 0x50)))]
            operations += [("write", NFADDR, 1, byte) for byte in page[: random_.choice((cycles, cycles, 2))]]
            operations += [("write", NFCMMD, 1, 0x30)] if made.large_page else []
        elif kind < 5:  # program
            operations += [("write", NFCMMD, 1, 0x80), *(("write", NFADDR, 1, byte) for byte in page)]
            size = random_.choice((1, 2, 4))
            operations += [
                ("write", NFDATA, size, random_.getrandbits(8 * size)) for _ in range(random_.randrange(90))
            ]
            operations += [("write", NFCMMD, 1, random_.choice((0x10, 0x10, 0x85, 0x15)))]
        elif kind == 5:
            operations += [("write", NFCMMD, 1, 0x60)]
            operations += [("write", NFADDR, 1, random_.randrange(3)) for _ in range(made.row_cycles)]
            operations += [("write", NFCMMD, 1, 0xD0)]
        elif kind == 6:
            operations += [("write", NFCMMD, 1, random_.choice(COMMANDS))]
            operations += [("write", NFADDR, 1, random_.randrange(4)) for _ in range(random_.randrange(4))]
        elif kind > 7:  # a page in parts with their codes
            control = random_.choice((1, 1, 0x21, 0x41))
            operations += [("write", NFCONT, 4, control)]
            for page[-2] in range(random_.randrange(1, 4)):
                operations += [("write", NFCMMD, 1, 0)] * random_.choice((1, 1, 1, 2))
                operations += [("read", random_.choice((NFCMMD, NFADDR, NFDATA)), 1, 0)] * random_.randrange(
                    2
                )
                operations += [("write", NFADDR, 1, byte) for byte in page[: random_.choice((9, 9, 9, 2))]]
                operations += [("write", NFCMMD, 1, 0x30)] if made.large_page else []
                operations += [("pass", 0, 0, 300), ("read", NFSTAT, 1, 0)]
                for _ in range(random_.randrange(5)):
                    operations += [("write", NFCONT, 4, random_.choice((control, control, 1)) | 0x10)]
                    operations += [("read", NFDATA, 4, 0)] * random_.choice((64, 63, 20, 0))
                    operations += [("read", NFMECC0, random_.choice((1, 4, 4)), 0)]
        else:
            operations += [("write", NFCONT, 4, random_.choice((1, 1, 0x11, 0x21, 0x201, 0x101, 3, 0x71)))]
        if random_.random() < 0.8:
            operations += [("pass", 0, 0, random_.choice((50, 300, 3000)))]
        operations += [("read", NFSTAT, 1, 0)] * random_.randrange(3)
        size = random_.choice((1, 2, 4))
        operations += [("read", NFDATA, size, 0)] * random_.choice((0, 5, 140, 600))
        operations += [("read", random_.choice((NFMECC0, NFSECC, NFCONT, NFADDR, NFSTAT)), 4, 0)]
    return operations


@pytest.mark.parametrize("part", ["K9F1208", "K9F1G08"])
@pytest.mark.parametrize("seed", range(8))
def test_served_accesses_and_asked_ones_are_the_same(part: str, seed: int) -> None:
    random_ = Random(seed)
    asked, served = Bench(part, ports=False), Bench(part, ports=True)
    for step, (kind, offset, size, value) in enumerate(_operations(random_, part)):
        results = []
        for bench in (asked, served):
            if kind == "pass":
                results.append(bench.pass_time(value))
            elif kind == "write":
                results.append(bench.write(offset, size, value))
            else:
                results.append(bench.read(offset, size))
        assert results[0] == results[1], f"step {step}: {kind} {offset:#x} {size}"
        assert asked.irq.level == served.irq.level
        if random_.random() < 0.02:
            assert asked.nand.peek(NFDATA, 4) == served.nand.peek(NFDATA, 4)
            state = [(bench.chip.save(), bench.nand.save()) for bench in (asked, served)]
            assert state[0] == state[1], f"step {step}"
            # what was saved goes on the same way
            served.chip.load(state[0][0])
            served.nand.load(state[0][1])
    assert served.served > 200


@pytest.mark.parametrize(("part", "step"), [("K9F1208", 512), ("K9F1G08", 256)])
def test_of_a_page_and_its_codes_a_drivers_next_one_costs_few_accesses(part: str, step: int) -> None:
    made = PARTS[part]
    bench = Bench(part, ports=True)
    random_ = Random(step)
    pages = [random_.randbytes(made.raw_page) for _ in range(3)]
    for number, data in enumerate(pages):
        bench.chip.cells.write(number, data)
    bench.write(NFCONT, 4, 1)
    steps = made.page_size // step
    for number, data in enumerate(pages):
        posts, codes, asked = bench.posts.copy(), bench.codes, bench.asked
        bench.write(NFCMMD, 1, 0)
        cycles = [0] * made.column_cycles + [number] + [0] * (made.row_cycles - 1)
        for byte in cycles:
            bench.write(NFADDR, 1, byte)
        if made.large_page:
            bench.write(NFCMMD, 1, 0x30)
        bench.pass_time(300)
        assert bench.read(NFSTAT, 1) & 1
        for place in range(0, made.page_size, step):
            bench.write(NFCONT, 4, 0x11)
            piece = b"".join(bench.read(NFDATA, 4).to_bytes(4, "little") for _ in range(step // 4))
            assert piece == data[place : place + step]
            assert bench.read(NFMECC0, 4) == code_by_the_book(piece)
        spare = bytes(bench.read(NFDATA, 1) for _ in range(made.spare_size))
        assert spare == data[made.page_size :]
        assert bench.posts[NFCONT] - posts[NFCONT] == bench.codes - codes == steps
        # the last address cycle, the status, and the second command of large pages
        first_command = number == 0
        assert bench.posts[NFCMMD] - posts[NFCMMD] == (not first_command)
        assert bench.asked - asked == 2 + made.large_page + first_command
