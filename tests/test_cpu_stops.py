"""Breakpoints, watchpoints, budgets and repeatability of the CPU, below all debuggers."""

from __future__ import annotations

import random

import pytest

from dbgemu.engine.cpu import WatchHit
from dbgemu.target.arm.state import MAX_WATCHPOINTS, Mode, StopCode
from dbgemu.target.device import Device
from dbgemu.target.registers import Register
from tests.arm_programs import CODE, DATA, RAM, Guest, PageTables

DEVICE = 0x50000000
BREAKPOINT, WATCHPOINT, LIMIT = StopCode.BREAKPOINT, StopCode.WATCHPOINT, StopCode.LIMIT


class Counter(Device):
    """Counts what is done to it; READ has a side effect."""

    VALUE = Register(0x00, doc="Keeps what is written")
    READ = Register(0x04, access="ro", doc="How often it was read")
    STATE = ("writes", "reads")

    def __init__(self) -> None:
        super().__init__("counter")
        self.writes: list[int] = []
        self.reads = 0

    @VALUE.write
    def _write(self, value: int) -> None:
        self.writes.append(value)

    @READ.read
    def _read(self) -> int:
        self.reads += 1
        return self.reads


@pytest.fixture
def guest() -> Guest:
    return Guest()


# -- breakpoints ---------------------------------------------------------------------------------


def test_a_breakpoint_stops_in_front_and_the_next_run_passes_it(guest) -> None:
    guest.start("mov r0, #1; mov r0, #2; mov r0, #3")
    guest.cpu.add_breakpoint(CODE + 4)
    assert guest.step(100) is BREAKPOINT
    assert (guest["pc"], guest["r0"]) == (CODE + 4, 1)
    count = guest.cpu.instructions
    assert guest.step(1) is LIMIT
    assert (guest["r0"], guest.cpu.instructions) == (2, count + 1)


def test_a_run_that_does_not_resume_stops_at_once(guest) -> None:
    guest.start("mov r0, #1")
    guest.cpu.add_breakpoint(CODE)
    count = guest.cpu.instructions
    assert guest.cpu.run(count + 100, resume=False) is BREAKPOINT
    assert (guest["pc"], guest.cpu.instructions) == (CODE, count)


def test_a_breakpoint_in_a_loop_stops_each_time_round(guest) -> None:
    guest.start("1: add r0, r0, #1; b 1b", r0=0)
    guest.cpu.add_breakpoint(CODE)
    for count in range(5):
        assert (guest.step(100) is BREAKPOINT, guest["r0"]) == (True, count + 1)


def test_a_branch_to_itself_with_a_breakpoint_stops_after_each_branch(guest) -> None:
    guest.start("b .")
    guest.cpu.add_breakpoint(CODE)
    for _ in range(3):
        count = guest.cpu.instructions
        assert guest.step(100) is BREAKPOINT
        assert guest.cpu.instructions == count + 1


def test_a_conditional_instruction_stops_whether_or_not_it_is_executed(guest) -> None:
    guest.start("moveq r0, #1; bne .+8; nop; mov r1, #2", r0=0)
    for address in (CODE, CODE + 4):
        guest.cpu.add_breakpoint(address)
    assert guest.cpu.run(guest.cpu.instructions + 10, resume=False) is BREAKPOINT
    assert guest["pc"] == CODE
    assert guest.step(10) is BREAKPOINT
    assert (guest["pc"], guest["r0"]) == (CODE + 4, 0)
    assert guest.step(2) is LIMIT
    assert guest["r1"] == 2


def test_breakpoints_in_thumb_code_are_by_halfword(guest) -> None:
    guest.start("movs r0, #1; movs r0, #2; movs r0, #3", thumb=True)
    guest.cpu.add_breakpoint(CODE + 2)
    assert guest.step(10) is BREAKPOINT
    assert (guest["pc"], guest["r0"]) == (CODE + 2, 1)
    assert guest.step(1) is LIMIT
    assert guest["r0"] == 2
    # bit 0, as a Thumb function's address has it, is no part of the place
    guest.start("movs r0, #1", thumb=True)
    guest.cpu.add_breakpoint(CODE + 3)
    guest.cpu.remove_breakpoint(CODE + 2)
    assert guest.step(3) is LIMIT


def test_a_removed_breakpoint_stops_nothing_and_others_in_its_page_stay(guest) -> None:
    guest.start("mov r0, #1; mov r0, #2; mov r0, #3; mov r0, #4")
    guest.cpu.add_breakpoint(CODE + 4)
    guest.cpu.add_breakpoint(CODE + 12)
    guest.cpu.remove_breakpoint(CODE + 4)
    guest.cpu.remove_breakpoint(CODE + 8)  # there is none
    assert guest.step(100) is BREAKPOINT
    assert guest["pc"] == CODE + 12
    guest.cpu.remove_breakpoint(CODE + 12)
    guest.run()


def test_breakpoints_are_at_virtual_addresses(guest) -> None:
    tables = PageTables(guest)
    tables.section(0x80000000, RAM)
    tables.enable()
    guest.start("mov r0, #1; mov r0, #2")
    guest.cpu.add_breakpoint(CODE + 4)
    guest["pc"] = CODE - RAM + 0x80000000
    assert guest.step(3) is LIMIT
    guest["pc"] = CODE
    assert guest.step(3) is BREAKPOINT


def test_a_breakpoint_at_the_vector_of_a_pending_interrupt_stops_a_run_that_resumes(guest) -> None:
    """The instruction that is passed over is the one at the pc, not the first one executed."""
    guest.start("nop", cpsr=Mode.SYS)
    guest.cpu.add_breakpoint(CODE)
    guest.cpu.add_breakpoint(0x18)
    guest.cpu.set_irq(1)
    count = guest.cpu.instructions
    assert guest.step(10) is BREAKPOINT
    assert (guest["pc"], guest["lr"], guest.cpu.instructions) == (0x18, CODE + 4, count)
    guest.cpu.set_irq(0)
    guest.load("subs pc, lr, #4", 0x18)
    assert guest.step(10) is BREAKPOINT
    assert guest["pc"] == CODE


def test_a_breakpoint_stops_before_the_abort_of_its_instruction(guest) -> None:
    PageTables(guest).enable()
    guest.start("ldr r0, [r1]", r1=0x80000000)
    guest.cpu.add_breakpoint(CODE)
    guest.cpu.add_breakpoint(0x10)
    assert guest.cpu.run(guest.cpu.instructions + 5, resume=False) is BREAKPOINT
    assert guest["pc"] == CODE
    assert guest.step(5) is BREAKPOINT
    assert (guest["pc"], guest.mode) == (0x10, Mode.ABT)


# -- watchpoints ---------------------------------------------------------------------------------


def watch(guest: Guest, address: int, length: int = 4, *, read: bool = True, write: bool = True) -> None:
    guest.cpu.add_watchpoint(address, length, read=read, write=write)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    ("instruction", "hit"),
    [
        ("ldr r0, [r1]", WatchHit(DATA, 4, False, None)),
        ("str r0, [r1]", WatchHit(DATA, 4, True, 0xAABBCCDD)),
        ("strb r0, [r1, #3]", WatchHit(DATA + 3, 1, True, 0xDD)),
        ("ldrb r0, [r1, #2]!", WatchHit(DATA + 2, 1, False, None)),
        ("strh r0, [r1], #2", WatchHit(DATA, 2, True, 0xCCDD)),
        ("ldrsh r0, [r1, #2]", WatchHit(DATA + 2, 2, False, None)),
        ("swp r0, r0, [r1]", WatchHit(DATA, 4, False, None)),
        ("ldmdb r2!, {r3-r6}", WatchHit(DATA, 4, False, None)),
        ("stmib r3!, {r0, r1, r5}", WatchHit(DATA, 4, True, DATA)),
    ],
)
def test_a_watchpoint_stops_before_the_access_and_the_next_run_does_it(guest, instruction, hit, warm) -> None:
    registers = {"r0": 0xAABBCCDD, "r1": DATA, "r2": DATA + 8, "r3": DATA - 8, "r4": 4, "r5": 5, "r6": 6}
    if warm:  # the TLB has the page already
        guest.start(instruction, **registers)
        guest.run()
    for place in range(-16, 32, 4):
        guest.put(DATA + place, 0x01010101 * (place & 0xFF))
    reference = Guest()
    reference.bus.poke(DATA - 16, guest.bus.peek(DATA - 16, 48))
    for machine in (guest, reference):
        machine.start(instruction, **registers)
    watch(guest, DATA)
    memory = guest.bus.peek(DATA, 4)
    count = guest.cpu.instructions
    assert guest.cpu.run(count + 100, resume=False) is WATCHPOINT
    assert guest.cpu.watch_hit == hit
    assert (guest["pc"], guest.cpu.instructions) == (CODE, count)
    assert guest.bus.peek(DATA, 4) == memory
    for name in ("r1", "r2"):
        assert guest[name] == registers[name], "a base that was to be written back"
    assert guest.step(1) is LIMIT
    reference.step(1)
    assert [guest[f"r{n}"] for n in range(16)] == [reference[f"r{n}"] for n in range(16)]
    assert guest.bus.peek(DATA - 16, 48) == reference.bus.peek(DATA - 16, 48)


def test_only_the_kind_that_is_watched_stops(guest) -> None:
    guest.start("ldr r0, [r1]; str r0, [r1]; ldr r0, [r1]; str r0, [r1]", r1=DATA)
    watch(guest, DATA, read=False)
    assert guest.step(100) is WATCHPOINT
    assert guest["pc"] == CODE + 4
    assert guest.step(100) is WATCHPOINT
    assert guest["pc"] == CODE + 12
    guest.cpu.remove_watchpoint(DATA, 4, read=False, write=True)
    watch(guest, DATA, write=False)
    guest["pc"] = CODE
    assert guest.cpu.run(guest.cpu.instructions + 9, resume=False) is WATCHPOINT
    assert guest["pc"] == CODE


@pytest.mark.parametrize(
    ("offset", "size", "stops"), [(3, "b", False), (4, "b", True), (6, "h", True), (8, "b", False)]
)
def test_the_range_is_exact_within_its_page(guest, offset, size, stops) -> None:
    guest.start(f"str{size} r0, [r1]", r1=DATA + offset)
    watch(guest, DATA + 4, 4)
    assert (guest.cpu.run(guest.cpu.instructions + 1, resume=False) is WATCHPOINT) is stops


def test_a_word_that_covers_a_watched_byte_stops(guest) -> None:
    guest.start("str r0, [r1]", r0=0x12345678, r1=DATA)
    watch(guest, DATA + 2, 1)
    assert guest.cpu.run(guest.cpu.instructions + 1, resume=False) is WATCHPOINT
    assert guest.cpu.watch_hit == WatchHit(DATA, 4, True, 0x12345678)


def test_a_watched_range_over_a_page_boundary_stops_on_both_sides(guest) -> None:
    for address in (DATA + 0x3FC, DATA + 0x400):
        guest.start("str r0, [r1]", r1=address)
        watch(guest, DATA + 0x3FE, 4)
        assert guest.cpu.run(guest.cpu.instructions + 1, resume=False) is WATCHPOINT
        guest.cpu.remove_watchpoint(DATA + 0x3FE, 4, read=True, write=True)


@pytest.mark.parametrize("first", [False, True])
def test_a_block_transfer_stops_wherever_the_watched_word_is(guest, first) -> None:
    guest.start("ldmia r0!, {r1-r12}; stmia r0!, {r1-r12}", r0=DATA)
    watch(guest, DATA if first else DATA + 44)
    guest.put(DATA, *range(100, 112))
    assert guest.cpu.run(guest.cpu.instructions + 5, resume=False) is WATCHPOINT
    assert (guest["pc"], guest["r0"]) == (CODE, DATA)
    assert guest.step(2) is LIMIT
    assert [guest[f"r{n}"] for n in range(1, 13)] == list(range(100, 112))
    assert guest["r0"] == DATA + 96


def test_thumb_accesses_are_watched(guest) -> None:
    guest.start("push {r0-r3, lr}; ldr r4, [sp, #4]", thumb=True, sp=DATA + 20, r1=77)
    watch(guest, DATA + 4)
    assert guest.cpu.run(guest.cpu.instructions + 5, resume=False) is WATCHPOINT
    assert guest.cpu.watch_hit == WatchHit(DATA + 4, 4, True, 77)
    assert guest["sp"] == DATA + 20
    assert guest.step(5) is WATCHPOINT
    assert guest["pc"] == CODE + 2
    assert guest.step(1) is LIMIT
    assert guest["r4"] == 77


def test_a_fault_comes_before_a_watchpoint(guest) -> None:
    PageTables(guest).enable()
    guest.start("ldr r0, [r1]", r1=0x80000000)
    watch(guest, 0x80000000)
    assert guest.cpu.run(guest.cpu.instructions + 1, resume=False) is LIMIT
    assert guest.mode == Mode.ABT


def test_a_device_register_is_not_touched_before_the_stop_and_once_after_it() -> None:
    device = Counter()
    guest = Guest((DEVICE, device))
    guest.start("str r0, [r1]; ldr r2, [r1, #4]; ldr r3, [r1, #4]", r0=0x55, r1=DEVICE)
    watch(guest, DEVICE, 8)
    assert guest.cpu.run(guest.cpu.instructions + 9, resume=False) is WATCHPOINT
    assert guest.cpu.watch_hit == WatchHit(DEVICE, 4, True, 0x55)
    assert device.writes == []
    assert guest.step(9) is WATCHPOINT
    assert (device.writes, device.reads, guest["pc"]) == ([0x55], 0, CODE + 4)
    assert guest.step(9) is WATCHPOINT
    assert (device.reads, guest["r2"]) == (1, 1)
    guest.run()
    assert (device.reads, guest["r3"]) == (2, 2)


def test_a_watchpoint_at_the_first_access_of_a_pending_interrupts_handler_stops(guest) -> None:
    guest.start("ldr r0, [r1]", cpsr=Mode.SYS, r1=DATA)
    guest.load("ldr r2, [r1]", 0x18)
    watch(guest, DATA)
    guest.cpu.set_irq(1)
    assert guest.step(5) is WATCHPOINT
    assert (guest["pc"], guest.mode) == (0x18, Mode.IRQ)


def test_watchpoints_are_limited_in_number_and_refused_when_they_watch_nothing(guest) -> None:
    for k in range(MAX_WATCHPOINTS):
        watch(guest, DATA + 4 * k)
    with pytest.raises(ValueError, match="64 watchpoints already"):
        watch(guest, DATA)
    with pytest.raises(ValueError, match="watches nothing"):
        guest.cpu.add_watchpoint(DATA, 4, read=False, write=False)
    with pytest.raises(ValueError, match="0 bytes"):
        watch(guest, DATA, 0)
    guest.start("str r0, [r1]", r1=DATA + 4 * (MAX_WATCHPOINTS - 1))
    assert guest.cpu.run(guest.cpu.instructions + 1, resume=False) is WATCHPOINT
    with pytest.raises(ValueError):
        guest.cpu.remove_watchpoint(DATA, 8, read=True, write=True)


# -- budgets ---------------------------------------------------------------------------------------

LOOP = """
    mov r4, #0
    1: add r4, r4, #1
    ldr r5, [r0]
    stmdb r1!, {r2-r5}
    ldmia r1!, {r2-r5}
    ands r6, r4, #3
    bne 1b
    bl 2f
    swi 7
    b 1b
    2: mov pc, lr
"""


def looping(guest: Guest) -> None:
    guest.load("movs pc, lr", 0x08)
    guest.start(LOOP, cpsr=Mode.USR, r0=DATA, r1=DATA + 0x100, r2=2, r3=3)


@pytest.mark.parametrize("slice_", [1, 2, 3, 7, 64, 1000])
def test_a_run_stops_after_exactly_its_budget(guest, slice_) -> None:
    looping(guest)
    reference = Guest()
    looping(reference)
    start = guest.cpu.instructions
    for k in range(1, 20):
        assert guest.step(slice_) is LIMIT
        assert guest.cpu.instructions == start + k * slice_
    for _ in range(19 * slice_):
        reference.step(1)
    assert guest.cpu.save() == reference.cpu.save()
    assert guest.ram.data == reference.ram.data


def test_a_budget_that_is_used_up_executes_nothing(guest) -> None:
    guest.start("mov r0, #1", r0=0)
    assert guest.step(0) is LIMIT
    assert (guest["pc"], guest["r0"]) == (CODE, 0)


@pytest.mark.parametrize("limit", [1 << 62, (1 << 62) + 1, (1 << 63) - 1])
def test_a_budget_without_end_keeps_to_pages_all_the_same(guest, limit) -> None:
    """A breakpoint in the next page is looked at, from the very first instruction after power-on on."""
    guest.start("\n".join(["nop"] * 512))
    guest.cpu.add_breakpoint(CODE + 0x404)
    assert guest.cpu.instructions == 0
    assert guest.cpu.run(limit) is BREAKPOINT
    assert guest["pc"] == CODE + 0x404
    assert guest.cpu.instructions == 0x404 // 4


def test_every_instruction_counts_one_taken_or_not(guest) -> None:
    guest.start("moveq r0, #1; ldmia r1, {r2-r9}; swi 0", r1=DATA)
    guest.load("movs pc, lr", 8)
    count = guest.cpu.instructions
    guest.cpu.add_breakpoint(guest.done)
    guest.step(1000)
    assert guest.cpu.instructions == count + 4


def test_a_device_sees_the_exact_count_and_pc_and_can_shorten_the_run() -> None:
    seen = []
    device = Counter()
    guest = Guest((DEVICE, device))

    class Log(list):
        def append(self, value: int) -> None:
            seen.append((guest.cpu.instructions, guest.cpu.current_pc))
            guest.cpu.limit = guest.cpu.instructions + 3
            super().append(value)

    device.writes = Log()
    guest.start("nop; nop; str r0, [r1]; mov r2, #1; mov r3, #1; mov r4, #1", r1=DEVICE, r2=0, r3=0, r4=0)
    start = guest.cpu.instructions
    assert guest.step(100) is LIMIT
    assert seen == [(start + 2, CODE + 8)]
    assert guest.cpu.instructions == start + 5
    assert [guest[f"r{n}"] for n in (2, 3, 4)] == [1, 1, 0]


def test_an_exception_in_a_devices_code_reaches_who_runs_the_machine() -> None:
    class Broken(Device):
        VALUE = Register(0x00, doc="Fails")

        @VALUE.read
        def _read(self) -> int:
            raise RuntimeError("broken device")

    guest = Guest((DEVICE, Broken("broken")))
    guest.start("ldr r0, [r1]; mov r2, #1", r1=DEVICE, r2=0)
    with pytest.raises(RuntimeError, match="broken device"):
        guest.step(10)
    guest.cpu.take_requests()
    guest.run()
    assert guest["r2"] == 1


def test_a_request_to_exit_stops_at_the_next_block(guest) -> None:
    guest.start("b .")
    guest.cpu.request_exit()
    assert guest.step(1000) is StopCode.REQUEST
    assert guest.cpu.take_requests() == (True, False)
    assert guest.step(1000) is LIMIT


# -- repeatability -----------------------------------------------------------------------------------


def random_run(seed: int) -> tuple[dict[str, object], bytes]:
    """Random code with interrupts at random counts, from its seed alone."""
    rng = random.Random(seed)
    guest = Guest()
    words = [rng.getrandbits(28) | 0xE0000000 for _ in range(2000)]
    guest.put(CODE, *words)
    for vector in range(0, 0x20, 4):
        guest.vector(vector, CODE)
    guest["cpsr"] = Mode.SYS
    guest["pc"] = CODE
    for _ in range(40):
        guest.step(rng.randrange(300))
        guest.cpu.take_requests()
        guest.cpu.set_irq(rng.getrandbits(1))
        guest.cpu.set_fiq(rng.getrandbits(1))
    return guest.cpu.save(), bytes(guest.ram.data)


@pytest.mark.parametrize("seed", range(4))
def test_two_equal_runs_end_in_equal_states(seed) -> None:
    assert random_run(seed) == random_run(seed)


def test_a_saved_state_goes_on_as_the_original(guest) -> None:
    looping(guest)
    guest.step(123)
    saved, memory = guest.cpu.save(), bytes(guest.ram.data)
    guest.step(1000)
    other = Guest()
    other.load("movs pc, lr", 0x08)
    other.ram.data[:] = memory
    other.cpu.load(saved)
    other.step(1000)
    assert other.cpu.save() == guest.cpu.save()
    assert other.ram.data == guest.ram.data


def test_a_program_does_the_same_with_and_without_breakpoints_in_its_page(guest) -> None:
    looping(guest)
    reference = Guest()
    looping(reference)
    # in the page, but in no place that is reached
    guest.cpu.add_breakpoint(CODE + 0x3F0)
    watch(guest, DATA + 0x200)
    guest.step(5000)
    reference.step(5000)
    assert guest.cpu.save() == reference.cpu.save()


CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al")


def test_conditional_instructions_go_on_in_a_page_with_breakpoints(guest) -> None:
    # with the condition decided, a debugging page must not look at the instruction a second time
    program = "\n".join(f"mov{c} r0, r0, ror #1\n add{c} r1, r1, #1" for c in CONDITIONS)
    reference = Guest()
    for each in (guest, reference):
        each.start(program, cpsr=Mode.SVC | 0xA << 28, r0=0x12345678, r1=0)
    guest.cpu.add_breakpoint(CODE + 0x3F0)
    for each in (guest, reference):
        assert each.step(2 * len(CONDITIONS)) is LIMIT
    assert guest.cpu.save() == reference.cpu.save()


@pytest.mark.parametrize("first", ["pc", "cpsr"])
def test_the_pc_and_the_thumb_state_are_written_in_any_order(guest, first) -> None:
    guest.load("nop; movs r0, #1; movs r0, #2", thumb=True)
    guest["cpsr"] = Mode.SVC
    values = {"pc": CODE + 2, "cpsr": Mode.SVC | 0x20}
    for name in (first, *values):
        guest[name] = values[name]
    guest.step(1)
    assert (guest["pc"], guest["r0"]) == (CODE + 4, 1)


def test_a_pc_between_two_arm_instructions_means_the_first(guest) -> None:
    guest.start("mov r0, #1; mov r0, #2")
    guest["pc"] = CODE + 2
    guest.step(1)
    assert (guest["pc"], guest["r0"]) == (CODE + 4, 1)
