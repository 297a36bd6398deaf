"""Booting from flash as the board does: NAND through the steppingstone, NOR at address 0.

The first stage is a small loader of the kind that U-Boot's is: it stops the watchdog, sets up the UART
and the memory controller, copies the second stage from NAND to SDRAM and starts it there.
"""

from __future__ import annotations

from pathlib import Path

from dbgemu.host.flash_image import open_nand_image, open_nor_image
from dbgemu.machine import Machine, StopReason
from dbgemu.target.arm.assembler import assemble
from dbgemu.target.chips.nand_parts import DEFAULT_PART, PARTS, NandPart
from dbgemu.target.chips.nor_flash import NorFlash
from dbgemu.target.mini2440 import BootSwitch, Mini2440

_PRINT = """
print:                          @ r0: text
    ldr r2, =0x50000000
1:  ldrb r1, [r0], #1
    cmp r1, #0
    moveq pc, lr
2:  ldr r3, [r2, #0x10]         @ UTRSTAT: transmit buffer empty
    tst r3, #2
    beq 2b
    strb r1, [r2, #0x20]        @ UTXH
    b 1b
"""

_SET_UP = """
    ldr r0, =0x53000000         @ WTCON: off
    mov r1, #0
    str r1, [r0]
    ldr r0, =0x56000070         @ GPHCON: TXD0 and RXD0
    ldr r1, =0x00faaa
    str r1, [r0]
    ldr r0, =0x50000000         @ 115200 8N1 from PCLK = 12 MHz, as out of reset
    mov r1, #3
    str r1, [r0, #0x00]
    mov r1, #5
    str r1, [r0, #0x04]
    mov r1, #6
    str r1, [r0, #0x28]
"""

_NAND_LOADER = f"""
start:
{_SET_UP}
    adr r0, first
    bl print
    ldr r4, =0x4e000000
    ldr r1, =0x2770             @ NFCONF: slow timing
    str r1, [r4, #0x00]
    mov r1, #1                  @ NFCONT: on, chip selected
    str r1, [r4, #0x04]
    ldr r5, =0x30008000         @ to SDRAM
    mov r6, #FIRST_PAGE
    mov r7, #4                  @ pages
page:
    mov r1, #0
    strb r1, [r4, #0x08]        @ read
    strb r1, [r4, #0x0c]        @ column 0
    SECOND_COLUMN
    strb r6, [r4, #0x0c]
    mov r1, r6, lsr #8
    strb r1, [r4, #0x0c]
    mov r1, #0
    strb r1, [r4, #0x0c]
    CONFIRM
busy:
    ldr r1, [r4, #0x20]         @ NFSTAT: RnB
    tst r1, #1
    beq busy
    mov r8, #PAGE_WORDS
word:
    ldr r1, [r4, #0x10]         @ NFDATA, a word at once
    str r1, [r5], #4
    subs r8, r8, #1
    bne word
    add r6, r6, #1
    subs r7, r7, #1
    bne page
    mov r1, #3
    str r1, [r4, #0x04]
    ldr pc, =0x30008000
first: .asciz "first stage\\n"
    .align 2
{_PRINT}
    .ltorg
"""

_SECOND = f"""
    adr r0, text
    bl print
end: b end
text: .asciz "second stage in SDRAM\\n"
    .align 2
{_PRINT}
    .ltorg
"""

FIRST_PAGE = 32


def run_until(machine: Machine, text: bytes) -> bytes:
    """Run until UART 0 has sent ``text``; gives all that it sent."""
    sent = bytearray()

    def transmitted(character: int) -> None:
        sent.append(character)
        if sent.endswith(text):
            machine.request_stop()

    machine.board.uarts[0].on_transmit = transmitted
    stop = machine.run(5_000_000)
    assert stop.reason is StopReason.REQUEST, bytes(sent)
    return bytes(sent)


def nand_contents(part: NandPart) -> bytes:
    source = _NAND_LOADER.replace("FIRST_PAGE", str(FIRST_PAGE)).replace(
        "PAGE_WORDS", str(part.page_size // 4)
    )
    if part.large_page:
        source = source.replace("SECOND_COLUMN", "strb r1, [r4, #0x0c]")
        source = source.replace("CONFIRM", "mov r1, #0x30\n strb r1, [r4, #0x08]")
    else:
        source = source.replace("SECOND_COLUMN", "").replace("CONFIRM", "")
    first, second = assemble(source, 0), assemble(_SECOND, 0x30008000)
    assert len(first) <= 4096
    return first.ljust(FIRST_PAGE * part.page_size, b"\xff") + second


def boot_nand(part: NandPart, path: Path) -> bytes:
    path.write_bytes(nand_contents(part))
    image = open_nand_image(path, part)
    board = Mini2440(nand_part=part, nand_image=image, boot_switch=BootSwitch.NAND)
    return run_until(Machine(board), b"SDRAM\n")


def test_nand_boots_through_the_steppingstone(tmp_path: Path) -> None:
    printed = boot_nand(DEFAULT_PART, tmp_path / "nand.bin")
    assert printed == b"first stage\nsecond stage in SDRAM\n"


def test_a_large_page_nand_boots_too(tmp_path: Path) -> None:
    printed = boot_nand(PARTS["K9F1G08"], tmp_path / "nand.bin")
    assert printed == b"first stage\nsecond stage in SDRAM\n"


def test_nor_boots_in_place(tmp_path: Path) -> None:
    path = tmp_path / "nor.bin"
    source = _SET_UP + _SECOND.replace("second stage in SDRAM", "executed in NOR")
    path.write_bytes(assemble(source, 0))
    board = Mini2440(nor_image=open_nor_image(path, NorFlash.size))
    machine = Machine(board)
    assert run_until(machine, b"NOR\n") == b"executed in NOR\n"
    assert machine.cpu.pc < NorFlash.size


def test_the_watchdog_that_reset_leaves_on_resets_a_board_that_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "nor.bin"
    path.write_bytes(assemble("here: b here", 0))
    # a microsecond an instruction: the watchdog takes five seconds
    board = Mini2440(nor_image=open_nor_image(path, NorFlash.size), period_ps=1_000_000)
    machine = Machine(board)
    resets = []
    board_reset = board.reset

    def reset() -> None:
        resets.append(board.clock.now)
        board_reset()
        machine.request_stop()

    board.reset = reset  # type: ignore[method-assign]
    # WTCON 0x8021, WTDAT 0x8000: (0x80 + 1) * 16 * 0x8000 cycles of PCLK, which is 12 MHz
    assert machine.run(10_000_000).reason is StopReason.REQUEST
    assert resets[0] // 1_000_000 == 129 * 16 * 0x8000 * 1000 // 12_000_000
