"""Programs without an operating system for what the Linux guest does not use: buttons' pins, the watchdog."""

from __future__ import annotations

from pathlib import Path

import pytest
from bare_metal import BareMetal

from dbgemu.host.flash_image import open_nand_image, open_nor_image
from dbgemu.machine import Machine, StopReason
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.chips.nand_parts import DEFAULT_PART
from dbgemu.target.chips.nor_flash import NorFlash
from dbgemu.target.clock import NS_PER_SECOND
from dbgemu.target.mini2440 import BootSwitch, Mini2440

# K1 to K6 are EINT8, 11, 13, 14, 15 and 19, on GPG0, 3, 5, 6, 7 and 11: both edges, polled for in
# SRCPND, and a word for each: which, and whether the pin is at 1
_KEYS = """
    ldr r0, =0x56000000
    ldr r1, =0x0080a882
    str r1, [r0, #0x60]         @ GPGCON
    ldr r1, =0x66666666
    str r1, [r0, #0x8c]         @ EXTINT1: both edges
    str r1, [r0, #0x90]         @ EXTINT2
    ldr r2, =0x0008e900
    mvn r1, r2
    str r1, [r0, #0xa4]         @ EINTMASK
    str r2, [r0, #0xa8]         @ EINTPEND: clear
    ldr r4, =0x4a000000
    mov r5, #0x20               @ EINT8_23
    str r5, [r4]
    ldr r6, =0x30100000
    mov r7, #12
wait:
    ldr r1, [r4]                @ SRCPND
    tst r1, r5
    beq wait
    ldr r1, [r0, #0xa8]         @ EINTPEND
    and r1, r1, r2
    str r1, [r0, #0xa8]
    str r5, [r4]
    ldr r3, [r0, #0x64]         @ GPGDAT
    tst r3, r1, lsr #8
    orrne r1, r1, #1
    str r1, [r6], #4
    subs r7, r7, #1
    bne wait
"""
_EINTS = {"K1": 8, "K2": 11, "K3": 13, "K4": 14, "K5": 15, "K6": 19}


def test_a_program_sees_each_button_go_down_and_up() -> None:
    guest = BareMetal(_KEYS)
    machine, board = guest.machine, guest.board
    # after the program has set the pins up, one button after the other
    assert machine.run(10_000).reason is StopReason.LIMIT
    for button in _EINTS:
        machine.post(lambda button=button: board.tap(button, 1_000_000))
        stop = machine.run(1_000_000)
    assert stop.reason is StopReason.LIMIT
    words = [int.from_bytes(board.bus.peek(0x30100000 + 4 * n, 4), "little") for n in range(12)]
    assert words == [word for eint in _EINTS.values() for word in (1 << eint, 1 << eint | 1)]


# prints GSTATUS2 as a digit; after power-on it sets the watchdog to 10 periods of 100 * 128 / PCLK,
# after that one's reset it stays
_WATCHED = """
    ldr r0, =0x53000000
    mov r1, #0
    str r1, [r0, #0x00]         @ WTCON: off
    ldr r2, =0x56000000
    ldr r1, =0x00faaa
    str r1, [r2, #0x70]         @ GPHCON: TXD0
    ldr r3, =0x50000000
    mov r1, #3
    str r1, [r3, #0x00]         @ ULCON0
    mov r1, #5
    str r1, [r3, #0x04]         @ UCON0
    mov r1, #6
    str r1, [r3, #0x28]         @ UBRDIV0
    ldr r4, [r2, #0xb4]         @ GSTATUS2
    add r1, r4, #'0'
    strb r1, [r3, #0x20]        @ UTXH0
    str r4, [r2, #0xb4]         @ GSTATUS2: a 1 clears the bit
    ldr r5, [r2, #0xb4]
    tst r4, #4
here:
    bne here
    mov r1, #10
    str r1, [r0, #0x04]         @ WTDAT
    str r1, [r0, #0x08]         @ WTCNT
    ldr r1, =0x6339             @ prescaler 99, 1/128, on, reset
    str r1, [r0, #0x00]
wait:
    b wait
"""


@pytest.mark.parametrize("switch", BootSwitch)
def test_a_board_that_its_watchdog_resets_boots_from_flash_again(tmp_path: Path, switch: BootSwitch) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(assemble(_WATCHED, 0))
    if switch is BootSwitch.NAND:
        board = Mini2440(nand_image=open_nand_image(path, DEFAULT_PART), boot_switch=switch)
    else:
        board = Mini2440(nor_image=open_nor_image(path, NorFlash.size), boot_switch=switch)
    printed: list[str] = []
    board.uarts[0].on_transmit = lambda character: printed.append(chr(character))
    machine = Machine(board, warp=True)
    resets: list[int] = []
    machine.on_guest_reset.append(lambda: resets.append(board.clock.now))
    machine.run(1_000_000)
    assert printed == ["1", "4"], "power-on, then the watchdog"
    assert machine.cpu.read_register("r5") == 0, "the cause is cleared"
    (when,) = resets
    assert when == pytest.approx(10 * 100 * 128 * NS_PER_SECOND / 12_000_000, rel=0.02)


def test_the_watchdog_interrupts_a_program_instead_if_it_is_told_to() -> None:
    guest = BareMetal("""
    ldr r0, =0x53000000
    mov r1, #100
    str r1, [r0, #0x04]         @ WTDAT
    str r1, [r0, #0x08]         @ WTCNT
    mov r1, #0x24               @ 1/16, on, interrupt, no reset
    str r1, [r0, #0x00]
    ldr r2, =0x4a000000
    mov r3, #0x2000             @ INT_WDT in SUBSRCPND
    mov r4, #5
wait:
    ldr r1, [r2, #0x18]
    tst r1, r3
    beq wait
    str r3, [r2, #0x18]
    subs r4, r4, #1
    bne wait
    """)
    guest.run()
    clock = guest.board.clock
    assert clock.now == pytest.approx(5 * 100 * 16 * NS_PER_SECOND / guest.board.clkpwr.pclk, rel=0.02)
    assert guest.board.gpio.GSTATUS2 == 1
