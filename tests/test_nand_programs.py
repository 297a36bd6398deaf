"""Programs that read pages and their codes as drivers do: what the engine serves by itself, in both tiers."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import PARTS
from dbgemu.target.clock import VirtualClock
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.nand import NandController
from tests.arm_programs import DATA, Guest
from tests.test_nand_controller import code_by_the_book

BASE = 0x4E000000
PAGES = 6

#: r4: the controller, r5: where data and codes go, r6: page, r7: pages, r9: words of a step, r10: its steps
READ_PAGES = """
page:   mov r0, #0
        strb r0, [r4, #8]
        strb r0, [r4, #12]
        {column}
        strb r6, [r4, #12]
        strb r0, [r4, #12]
        {row}
        {confirm}
busy:   ldrb r1, [r4, #0x20]
        tst r1, #1
        beq busy
        mov r2, r10
step:   ldr r1, [r4, #4]
        orr r1, r1, #0x10
        str r1, [r4, #4]
        mov r3, r9
word:   ldr r1, [r4, #0x10]
        str r1, [r5], #4
        subs r3, r3, #1
        bne word
        ldr r1, [r4, #0x2c]
        str r1, [r5], #4
        subs r2, r2, #1
        bne step
        ldrb r1, [r4, #8]
        ldrb r3, [r4, #12]
        orr r1, r1, r3, lsl #8
        str r1, [r5], #4
        add r6, r6, #1
        cmp r6, r7
        bne page
"""


def outcome(part: str, step: int, *, served: bool, translated: bool) -> tuple[Any, Counter[int]]:
    """What is left behind, and how often each register came to its handler."""
    made, random_, clock = PARTS[part], Random(step), VirtualClock()
    chip = NandFlash(clock=clock, part=made)
    for page in range(PAGES):
        chip.cells.write(page, random_.randbytes(made.raw_page))
    nand = NandController(chip=chip, irq=Line("INT_NFCON"))
    guest = Guest((BASE, nand))
    clock.attach(_Count(guest))
    if served:
        for offset, port in nand.ports():
            guest.bus.register_stream(BASE + offset, port)
    asked: Counter[int] = Counter()
    read, write = guest.bus.read, guest.bus.write

    def counted_read(address: int, size: int) -> int:
        asked[address - BASE] += 1
        return read(address, size)

    def counted_write(address: int, size: int, value: int) -> None:
        asked[address - BASE] += 1
        write(address, size, value)

    guest.bus.read, guest.bus.write = counted_read, counted_write  # type: ignore[method-assign]
    translator = Translator(guest.cpu, AtOnce(0), threshold=2, patience=1, batch=1) if translated else None
    source = READ_PAGES.format(
        column="strb r0, [r4, #12]" if made.column_cycles == 2 else "",
        row="strb r0, [r4, #12]" if made.row_cycles == 3 else "",
        confirm="mov r0, #0x30; strb r0, [r4, #8]" if made.large_page else "",
    )
    nand.set_bootloader_defaults()
    guest.bus.poke(BASE + 4, bytes([1, 0, 0, 0]))
    guest.start(source, r4=BASE, r5=DATA, r6=0, r7=PAGES, r9=step // 4, r10=made.page_size // step)
    guest.run(200_000)
    if translator is not None:
        assert translator.statistics["installed"]
        translator.close()
    kept = bytes(guest.ram.data)
    return (guest.cpu.save(), nand.save(), chip.save(), kept), asked


class _Count:
    def __init__(self, guest: Guest) -> None:
        self.instruction_count = guest.cpu.counter()

    def deadline_changed(self) -> None:
        pass


@pytest.mark.parametrize(("part", "step"), [("K9F1208", 512), ("K9F1208", 64), ("K9F1G08", 256)])
def test_pages_and_codes_are_read_alike_with_and_without_ports_in_both_tiers(part: str, step: int) -> None:
    expected, asked = outcome(part, step, served=False, translated=False)
    made = PARTS[part]
    random_, steps = Random(step), made.page_size // step
    for page in range(PAGES):
        data = random_.randbytes(made.raw_page)
        place = expected[3].index(data[:step])
        for number in range(steps):
            piece = expected[3][place + number * (step + 4) :][: step + 4]
            assert piece[:step] == data[number * step : (number + 1) * step]
            assert int.from_bytes(piece[step:], "little") == code_by_the_book(piece[:step])
        end = place + steps * (step + 4)
        assert expected[3][end : end + 2] == bytes([0x30 if made.large_page else 0x00, 0]), page
    assert asked[0x2C] == PAGES * steps
    for translated in (False, True):
        found, asked = outcome(part, step, served=True, translated=translated)
        assert found == expected
        assert (asked[0x04], asked[0x10], asked[0x2C]) == (0, 0, 0)
        # read once a page; of the first commands only the very first, before which nothing was read
        assert asked[0x08] == 1 + PAGES * (1 + made.large_page)
