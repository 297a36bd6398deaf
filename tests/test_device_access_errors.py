"""Wrong accesses to devices, as instructions make them: what the guest gets, and what is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from bare_metal import BareMetal

from dbgemu.target.arm.cp15 import CONTROL_ALIGNMENT
from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestError, Repeats
from dbgemu.target.registers import Register
from dbgemu.target.stream import HeldRegister
from tests.arm_programs import CODE, DATA, Guest
from tests.test_translator import Translated

BLOCK = 0x50000000


class Example(Device):
    """Words, a byte, and nothing at 8."""

    WORD = Register(0x00, reset=0x44332211)
    NEXT = Register(0x04, reset=0x88776655)
    STATUS = Register(0x0C, access="ro", reset=0x5A)


class Bench:
    """A guest with a block on its bus, and what is reported with its pc."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.block = Example("block", guest.bus.log)
        guest.bus.map(BLOCK, self.block)
        self.errors: list[GuestError] = []
        guest.bus.log.listeners.append(self.errors.append)
        guest.bus.log.current_pc = lambda: guest.cpu.current_pc

    def run(self, source: str, **registers: int) -> None:
        """``source`` twenty times, in a loop that is translated where the guest does that."""
        self.guest.start(f"mov r9, #20\nagain: {source}\nsubs r9, r9, #1\nbne again", **registers)
        self.guest.run()

    @property
    def reported(self) -> set[str]:
        return {f"{error.message} @{(error.pc or 0) - CODE:x}" for error in self.errors}


@pytest.fixture(params=[Guest, Translated], ids=["interpreter", "translator"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    make: Callable[[], Guest] = request.param
    made = Bench(make())
    yield made
    if isinstance(made.guest, Translated):
        assert made.guest.entered, "nothing was translated"
        made.guest.translator.close()


@pytest.mark.parametrize(("low", "value"), [(1, 0x11443322), (2, 0x22114433), (3, 0x33221144)])
@pytest.mark.parametrize("held", [False, True])
def test_an_unaligned_word_of_a_device_comes_rotated(bench: Bench, low: int, value: int, held: bool) -> None:
    if held:  # a register that the engine reads without asking
        port = HeldRegister()
        bench.guest.bus.register_stream(BLOCK, port)
        port.hold(0x44332211)
    bench.run("ldr r0, [r1]", r1=BLOCK + low)
    assert bench.guest["r0"] == value
    assert bench.reported == {f"unaligned read of 4 bytes at 0x{BLOCK + low:08x} @4"}
    assert len(bench.errors) == 20


def test_an_unaligned_word_goes_to_the_aligned_register_of_a_device(bench: Bench) -> None:
    bench.run("str r2, [r1]", r1=BLOCK + 3, r2=0xCAFEF00D)
    assert (bench.block.WORD, bench.block.NEXT) == (0xCAFEF00D, 0x88776655)
    assert bench.reported == {"unaligned write of 0xcafef00d (4 bytes) at 0x50000003 @4"}


def test_block_transfers_ignore_the_low_bits_of_a_devices_address(bench: Bench) -> None:
    bench.run("ldmia r1, {r2, r3}; stmia r1, {r2, r3}", r1=BLOCK + 2)
    assert [bench.guest["r2"], bench.guest["r3"]] == [0x44332211, 0x88776655]
    assert (bench.block.WORD, bench.block.NEXT) == (0x44332211, 0x88776655)
    assert bench.reported == {
        "unaligned read of 4 bytes at 0x50000002 @4",
        "unaligned read of 4 bytes at 0x50000006 @4",
        "unaligned write of 0x44332211 (4 bytes) at 0x50000002 @8",
        "unaligned write of 0x88776655 (4 bytes) at 0x50000006 @8",
    }


def test_an_unaligned_halfword_of_a_device_ignores_the_lowest_bit(bench: Bench) -> None:
    bench.run("ldrh r0, [r1]", r1=BLOCK + 3)
    assert bench.guest["r0"] == 0x4433
    assert bench.reported == {
        "unaligned read of 2 bytes at 0x50000003 @4",
        "read of 2 bytes at offset 0x2: the register WORD has 32 bits at offset 0x0 @4",
    }


@pytest.mark.parametrize("access", ["ldr r0, [r1]", "str r0, [r1]", "ldrh r0, [r1]"])
def test_an_alignment_fault_comes_before_the_device_sees_anything(access: str) -> None:
    bench = Bench(Guest())
    bench.guest["sctlr"] = CONTROL_ALIGNMENT
    bench.guest.start(access, r1=BLOCK + 1)
    bench.guest.step()
    assert (bench.guest["pc"], bench.guest["far"], bench.guest["dfsr"] & 0xF) == (0x10, BLOCK + 1, 1)
    assert not bench.errors
    assert bench.block.WORD == 0x44332211


def test_a_byte_is_read_from_its_lane_and_written_to_all(bench: Bench) -> None:
    bench.run("ldrb r0, [r1]; strb r0, [r1, #4]", r1=BLOCK + 2)
    assert bench.guest["r0"] == 0x33
    assert bench.block.NEXT == 0x33333333
    assert bench.reported == {
        "read of 1 bytes at offset 0x2: the register WORD has 32 bits at offset 0x0 @4",
        "write of 0x33 (1 bytes) at offset 0x6: the register NEXT has 32 bits at offset 0x4 @8",
    }


def test_a_signed_byte_and_a_swapped_byte_of_a_device_are_bytes(bench: Bench) -> None:
    bench.run("ldrsb r0, [r1]; swpb r2, r3, [r1]", r1=BLOCK + 7, r3=0x12)
    assert (bench.guest["r0"], bench.guest["r2"], bench.block.NEXT) == (0x12, 0x12, 0x12121212)


@pytest.mark.parametrize(
    ("access", "address", "messages"),
    [
        ("ldr r0, [r1]", BLOCK + 8, ["read of 4 bytes at offset 0x8, where no register is"]),
        (
            "str r2, [r1]",
            BLOCK + 0xFF0,
            ["write of 0x7 (4 bytes) at offset 0xff0, where no register is"],
        ),
        ("str r2, [r1]", BLOCK + 0x0C, ["write of 0x7 to the read-only register STATUS"]),
        ("ldr r0, [r1]", 0x60000000, ["read of 4 bytes at 0x60000000, where nothing is"]),
        ("strh r2, [r1]", 0x60000000, ["write of 0x7 (2 bytes) at 0x60000000, where nothing is"]),
    ],
)
def test_what_is_not_there_reads_as_0_and_takes_no_write(
    bench: Bench, access: str, address: int, messages: list[str]
) -> None:
    bench.run(access, r1=address, r2=7, r0=1)
    assert bench.guest["r0"] == (0 if access.startswith("ldr") else 1)
    assert bench.reported == {f"{message} @4" for message in messages}
    assert bench.block.STATUS == 0x5A


def test_memory_takes_unaligned_words_without_a_word(bench: Bench) -> None:
    bench.run("ldr r0, [r1]; str r0, [r1]", r1=DATA + 1)
    assert not bench.errors


def test_no_instruction_of_a_block_with_a_wrong_access_is_executed_twice(bench: Bench) -> None:
    bench.run("add r3, r3, #1; strb r0, [r1]; add r4, r4, #1", r1=BLOCK, r3=0, r4=0)
    assert (bench.guest["r3"], bench.guest["r4"], len(bench.errors)) == (20, 20, 20)


def test_the_boards_registers_are_words() -> None:
    guest = BareMetal("ldr r0, =0x51000000; mov r1, #0x12; strb r1, [r0, #1]; ldr r2, [r0]; strb r1, [r0]")
    errors: list[GuestError] = []
    guest.board.log.listeners.append(errors.append)
    guest.run()
    assert guest.machine.cpu.read_register("r2") == 0x12121212
    assert [f"{error}" for error in errors] == [
        "pwm: write of 0x12 (1 bytes) at offset 0x1: the register TCFG0 has 32 bits at offset 0x0"
        " at pc 0x30008008",
        "pwm: write of 0x12 (1 bytes) at offset 0x0: the register TCFG0 has 32 bits at offset 0x0"
        " at pc 0x30008010",
    ]


# -- the log's lines -----------------------------------------------------------------------------------


def test_a_loop_of_errors_does_not_flood_a_log() -> None:
    repeats = Repeats()
    notes = {n: repeats.note(GuestError("uart0", f"write of {n}", 0x8000)) for n in range(1, 2001)}
    written = {n: note for n, note in notes.items() if note is not None}
    assert list(written) == [1, 2, 3, 4, 5, 10, 100, 1000]
    assert [written[1], written[4], written[10], written[1000]] == ["", "", " (10 times)", " (1000 times)"]
    assert written[5] == " (again and again: the next line comes at 10 times, then at 100, ...)"


def test_each_place_is_counted_for_itself() -> None:
    repeats = Repeats()
    for pc in range(30):
        assert repeats.note(GuestError("uart0", "read", pc)) == ""
        assert repeats.note(GuestError("uart1", "read", pc)) == ""
    for number in range(30):
        assert repeats.note(GuestError("uart0", f"read {number}", None)) == ""


def test_many_places_take_no_more_memory_than_so_much() -> None:
    repeats = Repeats()
    for pc in range(25_000):
        assert repeats.note(GuestError("uart0", "read", pc)) == ""
    assert len(repeats._counts) <= 10_000
