"""Watchpoints on device registers: what is told of an access, and that it disturbs nothing."""

from __future__ import annotations

import pytest
from debugged_program import DATA, START, debugged_program

from dbgemu.debug.events import StopKind
from dbgemu.debug.symbols import Symbol
from dbgemu.debug.transactions import device_ranges
from dbgemu.debug.watchpoints import WatchKind

UTXH0, URXH0, UFSTAT0 = 0x50000020, 0x50000024, 0x50000018
NFCONF, NFCMMD = 0x4E000000, 0x4E000008


def test_a_watched_write_tells_pc_register_and_value_before_it_takes_effect() -> None:
    sent: list[int] = []
    with debugged_program(
        f"""
        ldr r0, ={UTXH0}
        mov r1, #0x41
    send: strb r1, [r0]
        """
    ) as guest:
        guest.machine.board.uarts[0].on_transmit = sent.append
        guest.session.add_watchpoint(None, UTXH0, 1, WatchKind.WRITE)
        event = guest.run()
        assert (event.kind, event.pc) == (StopKind.WATCHPOINT, guest.program["send"])
        done = event.transaction
        assert done is not None
        assert (done.place, done.write, done.size, done.value) == ("uart0.UTXH", True, 1, 0x41)
        assert (done.address, done.physical, done.pc) == (UTXH0, UTXH0, guest.program["send"])
        assert event.message == f"0x{event.pc:08x} writes uart0.UTXH <- 0x41"
        assert guest.machine.board.uarts[0].peek(0x18, 4) == 0, "the FIFO has a byte already"
        guest.run_to("done")
        guest.session.call(lambda: guest.machine.run(100_000))
        assert sent == [0x41]


def test_a_watched_read_tells_what_it_would_give_and_leaves_the_fifo_alone() -> None:
    with debugged_program(
        """
        ldr r0, =0x50000000
        mov r1, #1
        str r1, [r0, #8]            @ UFCON0: FIFOs on
        ldr r1, =0x45
        str r1, [r0, #4]            @ UCON0: polled
    ready: nop
    1:  ldr r1, [r0, #0x18]         @ UFSTAT0: two bytes wait
        cmp r1, #2
        bne 1b
        ldrb r2, [r0, #0x24]
        ldrb r3, [r0, #0x24]
        """
    ) as guest:
        guest.run_to("ready")
        guest.machine.board.uarts[0].receive(b"xy")
        guest.session.add_watchpoint(None, URXH0, 1, WatchKind.READ)
        for left, character in ((2, ord("x")), (1, ord("y"))):
            event = guest.run()
            assert event.transaction is not None
            assert event.message == f"0x{event.pc:08x} reads uart0.URXH -> 0x{character:02x}"
            assert guest.word(UFSTAT0) == left
        guest.run_to("done")
        assert (guest["r2"], guest["r3"]) == (ord("x"), ord("y"))
        assert guest.word(UFSTAT0) == 0


def test_fields_are_decoded() -> None:
    with debugged_program(f"ldr r0, ={NFCONF}; ldr r1, =0x1230; str r1, [r0]") as guest:
        guest.session.add_watchpoint(None, NFCONF, 4, WatchKind.ACCESS)
        event = guest.run()
        assert event.message == (
            f"0x{event.pc:08x} writes nand.NFCONF <- 0x00001230 (BusWidth=0x0 AddrCycle=0x0 PageSize=0x0 "
            "AdvFlash=0x0 TWRPH1=0x3 TWRPH0=0x2 TACLS=0x1)"
        )


def test_an_access_to_plain_memory_is_no_transaction() -> None:
    with debugged_program(f"ldr r0, ={DATA}; str r0, [r0]") as guest:
        guest.session.add_watchpoint(None, DATA, 4, WatchKind.WRITE)
        event = guest.run()
        assert (event.kind, event.transaction, event.message) == (StopKind.WATCHPOINT, None, "")


def test_the_symbol_of_the_pc_is_told_when_there_are_symbols() -> None:
    with debugged_program(f"mov r0, r0; ldr r0, ={NFCMMD}; strb r0, [r0]") as guest:
        symbols = guest.session.symbols
        symbols._symbols = [Symbol(START, 0, "probe", True, START + 0x100)]
        symbols._addresses = [START]
        guest.session.add_watchpoint(None, NFCMMD, 1, WatchKind.WRITE)
        event = guest.run()
        assert event.message == "0x30008008 <probe+0x8> writes nand.NFCMMD <- 0x08"


def test_a_part_of_a_register_is_named_by_its_byte() -> None:
    with debugged_program("ldr r0, =0x4a000008; mov r1, #5; strb r1, [r0, #2]") as guest:
        guest.session.add_watchpoint(None, 0x4A000008, 4, WatchKind.WRITE)
        event = guest.run()
        assert event.message == f"0x{event.pc:08x} writes intc.INTMSK+2 <- 0x05"


def test_offsets_without_a_register_are_told_too() -> None:
    with debugged_program("ldr r0, =0x4a000000; str r0, [r0, #0xf00]") as guest:
        guest.session.add_watchpoint(None, 0x4A000F00, 4, WatchKind.WRITE)
        assert guest.run().message.endswith("writes intc+0xf00 <- 0x4a000000")


def test_device_names_stand_for_their_addresses() -> None:
    with debugged_program("nop") as guest:
        bus = guest.machine.board.bus
        assert device_ranges(bus, "nand.NFCMMD") == [(NFCMMD, 4)]
        assert device_ranges(bus, "nand.nfcmmd") == [(NFCMMD, 4)]
        assert device_ranges(bus, "nand.*") == device_ranges(bus, "nand") == [(0x4E000000, 0x1000)]
        with pytest.raises(ValueError, match="there is no device 'flash' on the bus"):
            device_ranges(bus, "flash.X")
        with pytest.raises(ValueError, match="device nand has no register 'NFX'"):
            device_ranges(bus, "nand.NFX")


def test_a_whole_device_can_be_watched() -> None:
    with debugged_program(
        f"ldr r0, ={NFCONF}; ldr r1, [r0, #0x20]; mov r2, #0x70; strb r2, [r0, #8]; ldr r3, [r0, #0x34]"
    ) as guest:
        ((base, length),) = device_ranges(guest.machine.board.bus, "nand.*")
        guest.session.add_watchpoint(None, base, length, WatchKind.ACCESS, physical=True)
        places = []
        for _ in range(3):
            event = guest.run()
            assert event.transaction is not None
            places.append((event.transaction.place, event.transaction.write))
        assert places == [("nand.NFSTAT", False), ("nand.NFCMMD", True), ("nand.NFSECC", False)]
