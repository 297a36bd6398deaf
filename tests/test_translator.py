"""Translated code does what the interpreter does, and goes when its ground does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dbgemu.engine.native import target_machine
from dbgemu.engine.translator.background import Background
from dbgemu.engine.translator.cache import RegionCache
from dbgemu.engine.translator.compiling import AtOnce
from dbgemu.engine.translator.machine_code import ObjectError, compile_regions, text_of
from dbgemu.engine.translator.region_core import emit_regions
from dbgemu.engine.translator.regions import find_region
from dbgemu.engine.translator.report import jit_report, region_report
from dbgemu.engine.translator.requests import Made
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble, assemble_program
from dbgemu.target.arm.state import OBSERVED, StopCode
from tests.arm_programs import CODE, DATA, Guest, PageTables
from tests.random_programs import difference
from tests.support import until

#: adds up r0 + ... + 1 in r1, over and over
SUM = """
again: mov r0, r5
mov r1, #0
loop: add r1, r1, r0
subs r0, r0, #1
bne loop
add r6, r6, #1
b again
"""
LOOP = CODE + 8


class Translated(Guest):
    """A guest whose code is translated as soon as a block is entered twice."""

    def __init__(self, **options: int) -> None:
        super().__init__()
        arguments = {"threshold": 2, "again": 2, "patience": 1, "batch": 1} | options
        self.translator = Translator(self.cpu, AtOnce(level=0), **arguments)

    @property
    def entered(self) -> int:
        """How often translated code was entered."""
        return sum(region.hits for region in self.translator.regions)

    def warm_up(self, source: str = SUM, count: int = 2000, **registers: int) -> None:
        """Run a program until it is translated."""
        self.start(source, **{"r5": 10, "r2": DATA, "sp": DATA + 0x1000} | registers)
        self.step(count)
        assert self.entered, "nothing was translated"


@pytest.fixture
def guest() -> Iterator[Translated]:
    translated = Translated()
    yield translated
    if translated.cpu.translation is not None:
        translated.translator.close()


@pytest.mark.parametrize("first", range(1, 65, 8))
def test_random_programs_end_equally_in_every_tier(first) -> None:
    differences = [found for seed in range(first, first + 8) if (found := difference(seed))]
    assert not differences


def test_every_limit_in_translated_code_is_met_exactly(guest) -> None:
    guest.warm_up()
    for count in range(1, 60):
        before = guest.cpu.instructions
        assert guest.step(count) is StopCode.LIMIT
        assert guest.cpu.instructions == before + count


def test_a_request_from_another_thread_ends_translated_code(guest) -> None:
    guest.warm_up("1: b 1b")
    timer = threading.Timer(0.05, guest.cpu.request_exit)
    timer.start()
    assert guest.step(1 << 50) is StopCode.REQUEST
    timer.join()
    guest.cpu.take_requests()
    assert guest["pc"] == CODE


def test_what_interrupts_a_run_for_the_translator_does_not_move_its_end(guest) -> None:
    guest.warm_up()
    over = threading.Event()

    def disturb() -> None:
        while not over.wait(0.0002):  # much more often than a compiler has something to say
            guest.cpu.interrupt_for_translation()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(10):
            before = guest.cpu.instructions
            assert guest.step(20_000_003) is StopCode.LIMIT
            assert guest.cpu.instructions == before + 20_000_003
    finally:
        over.set()
        thread.join()


def test_a_breakpoint_that_is_set_in_translated_code_stops_there(guest) -> None:
    guest.warm_up()
    guest.cpu.add_breakpoint(LOOP + 4)
    assert guest.step(1000) is StopCode.BREAKPOINT
    assert guest["pc"] == LOOP + 4
    guest.cpu.remove_breakpoint(LOOP + 4)
    entered = guest.entered
    assert guest.step(1000) is StopCode.LIMIT
    assert guest.entered > entered, "the code should be in use again"


def test_a_watchpoint_stops_in_front_of_an_access_of_translated_code(guest) -> None:
    guest.warm_up("1: str r0, [r2, #4]; add r0, r0, #1; b 1b")
    guest.cpu.add_watchpoint(DATA + 4, 4, read=False, write=True)
    assert guest.step(1000) is StopCode.WATCHPOINT
    assert (guest["pc"], guest.cpu.watch_hit.value) == (CODE, guest["r0"])


def test_a_watched_constant_in_the_code_is_read_again(guest) -> None:
    guest.warm_up("1: ldr r0, literal; b 1b; literal: .word 77")
    guest.cpu.add_watchpoint(CODE + 8, 4, read=True, write=False)
    assert guest.step(1000) is StopCode.WATCHPOINT
    assert guest["pc"] == CODE


def test_a_constant_in_the_code_that_is_written_is_read_anew(guest) -> None:
    guest.warm_up("1: ldr r0, literal; cmp r7, #0; strne r7, literal; b 1b; literal: .word 77")
    assert guest["r0"] == 77
    guest["r7"] = 78
    guest.step(8)
    assert guest["r0"] == 78


@pytest.mark.parametrize("way", ["debugger", "device", "guest"])
def test_code_that_is_written_is_executed_as_it_then_is(guest, way) -> None:
    guest.warm_up("1: add r0, r0, #1; cmp r7, #0; strne r7, [r8]; b 1b")
    patched = assemble("add r0, r0, #64")
    match way:
        case "debugger":
            guest.cpu.write_memory(CODE, patched)
        case "device":
            guest.bus.write(CODE, 4, int.from_bytes(patched, "little"))
        case "guest":
            guest["r7"], guest["r8"] = int.from_bytes(patched, "little"), CODE
            guest.step(4)
            guest["r7"] = 0
    while guest["pc"] != CODE:
        guest.step()
    before = guest["r0"]
    guest.step(3)
    assert guest["r0"] == before + 64


def test_data_beside_code_is_written_without_losing_the_code(guest) -> None:
    guest.warm_up("1: str r0, [pc, #8]; add r0, r0, #1; b 1b; nop; .word 0; .word 0")
    regions = set(guest.translator.regions)
    guest.step(1000)
    assert set(guest.translator.regions) == regions


def test_code_in_memory_that_goes_is_not_executed(guest) -> None:
    guest.warm_up()
    region = guest.bus.find(CODE)
    assert region is not None
    guest.bus.unmap(region)
    assert not guest.translator.regions


def test_a_loaded_state_with_other_memory_has_no_old_code(guest) -> None:
    guest.warm_up()
    saved = guest.cpu.save()
    place = CODE - 0x30000000
    guest.ram.data[place : place + 4] = assemble("mov r0, #1")
    guest.cpu.load(saved)
    assert all(CODE not in dict(region.made.code) for region in guest.translator.regions)


def test_a_page_mapped_elsewhere_executes_the_other_code_and_later_the_first_again(guest) -> None:
    tables = PageTables(guest)
    tables.small(0x80000000, DATA, 3)
    table = tables.second[0x80000000 >> 20]
    tables.enable()
    guest.load("add r0, r0, #1; mov pc, lr", DATA)
    guest.load("add r0, r0, #100; mov pc, lr", DATA + 0x1000)
    call = "1: mov lr, pc; mov pc, r5; b 1b"
    guest.warm_up(call, r5=0x80000000, r0=0)
    guest.put(table, (DATA + 0x1000) | 0xFF2)
    guest.cpu.flush_tlbs()
    guest["pc"], guest["r0"] = CODE, 0
    guest.step(500)
    assert guest["r0"] == 10000
    guest.put(table, DATA | 0xFF2)
    guest.cpu.flush_tlbs()
    guest["pc"], guest["r0"] = CODE, 0
    guest.step(500)
    assert guest["r0"] == 100


def test_a_fault_in_translated_code_is_as_precise_as_ever(guest) -> None:
    tables = PageTables(guest)
    tables.small(0x80000000, DATA, 3)
    tables.enable()
    guest.warm_up("1: ldmia r2!, {r0, r1, r3, r4}; b 1b", r2=0x80000000, count=100)
    guest.step(1000)
    assert (guest["pc"], guest["r14_abt"]) == (0x10, CODE + 8)
    assert (guest["r2"], guest["far"]) == (0x80001000, 0x80001000)


def test_while_blocks_are_observed_tier_0_executes_them(guest) -> None:
    guest.warm_up()
    entered = guest.entered
    seen: list[int] = []
    import ctypes

    observer = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)(lambda state, pc: seen.append(pc))
    before = guest.cpu.state.trace_block
    guest.cpu.state.trace_block = ctypes.cast(observer, ctypes.c_void_p).value
    guest.cpu.state.interrupts |= OBSERVED
    guest.step(300)
    guest.cpu.state.interrupts = 0
    guest.cpu.state.trace_block = before
    assert guest.entered == entered
    assert LOOP in seen


def test_code_that_keeps_changing_is_left_to_tier_0(guest) -> None:
    """Otherwise it would be compiled for each turn of the loop."""
    guest.start(
        """
        mov r5, #0
        1: adr r3, body
        ldr r2, [r3]
        add r2, r2, #1
        str r2, [r3]
        body: mov r0, #0
        add r5, r5, r0
        and r0, r0, #255
        cmp r0, #200
        bne 1b
        """
    )
    guest.run(5000)
    assert guest["r5"] == sum(range(1, 201))
    assert guest.translator.statistics["installed"] < 40


def test_nothing_is_left_when_a_translator_closes(guest) -> None:
    guest.warm_up()
    guest.translator.close()
    assert not guest.translator.regions
    assert guest.cpu.translation is None
    assert not any(slot.function for slot in guest.cpu.code_tables.slots if slot.word != 0xFFFFFFFF)


def test_the_reports_show_regions_guest_code_ir_and_host_code(guest) -> None:
    guest.warm_up()
    report = jit_report(guest.translator)
    assert f"regions in use     {len(guest.translator.regions)}," in report
    assert f"{LOOP:08x}" in report
    region = region_report(guest.translator, LOOP + 4)
    for text in (f"{LOOP + 4:08x}  subs r0, r0, #1", "LLVM IR:", "define ", "host code:", "ret"):
        assert text in region
    assert region_report(guest.translator, 0x1000) == "no translated code has the instruction at 0x00001000"


def test_listeners_are_told_what_is_compiled_and_thrown_away(guest) -> None:
    told: list[tuple[object, ...]] = []

    class Listener:
        def translated(self, pc: int, length: int, *, thumb: bool) -> None:
            told.append(("translated", pc, thumb))

        def invalidated(self, physical: int, size: int, *, storing: bool) -> None:
            told.append(("invalidated", physical, storing))

        def compiled(self, address: int, guest_bytes: int, host_bytes: int, host_us: int) -> None:
            told.append(("compiled", address, guest_bytes > 0, host_bytes > 0))

    guest.cpu.translation_listener = Listener()
    guest.warm_up("1: add r0, r0, #1; cmp r7, #0; strne r7, [r8]; b 1b")
    assert told[:2] == [("translated", CODE, False), ("compiled", CODE, True, True)]
    guest["r7"], guest["r8"] = int.from_bytes(assemble("nop"), "little"), CODE
    guest.step(4)
    assert ("invalidated", CODE, True) in told
    guest["r7"] = 0
    guest.step(100)
    guest.cpu.write_memory(CODE, assemble("nop"))
    assert told[-1] == ("invalidated", CODE, False)


# -- the cache -----------------------------------------------------------------------------------


def _made(word: int = 0x8000, code: bytes = b"guest", native: bytes = b"native code") -> Made:
    return Made(word, (0x8000, 0x8004), (0x8000,), ((0x8000, code),), native, 2)


def test_a_region_comes_back_from_the_cache_as_it_went_in(tmp_path) -> None:
    path = tmp_path / "regions"
    RegionCache(path).add([_made(), _made(0x9001)])
    again = RegionCache(path)
    assert len(again) == 2
    assert list(again.find(0x9001)) == [_made(0x9001)]
    assert 0xA000 not in again


def test_records_that_are_damaged_or_cut_off_are_passed_over(tmp_path) -> None:
    path = tmp_path / "regions"
    RegionCache(path).add([_made(0x1000)])
    size = path.stat().st_size
    RegionCache(path).add([_made(0x2000), _made(0x3000)])
    data = bytearray(path.read_bytes())
    data[size + 60] ^= 1  # in the second's payload
    path.write_bytes(bytes(data[:-3]))
    cache = RegionCache(path)
    assert list(cache.find(0x1000)) == [_made(0x1000)]
    assert list(cache.find(0x2000)) == []
    assert list(cache.find(0x3000)) == []
    data[size : size + 4] = b"gone"  # what tells where the second record is
    path.write_bytes(bytes(data))
    cache = RegionCache(path)
    assert list(cache.find(0x3000)) == [_made(0x3000)]


def test_any_bytes_make_a_cache_without_regions(tmp_path) -> None:
    path = tmp_path / "regions"
    for content in (b"", b"x", b"DBGR", b"DBGR" * 100, bytes(1000)):
        path.write_bytes(content)
        cache = RegionCache(path)
        assert not [made for word in range(0, 0x100000, 4) if word in cache for made in cache.find(word)]


def test_a_cache_that_is_full_keeps_its_newer_half(tmp_path) -> None:
    path = tmp_path / "regions"
    RegionCache(path).add([_made(0)])
    one = path.stat().st_size
    largest = 20 * one
    for word in range(4, 400, 4):
        RegionCache(path, largest).add([_made(word)])
        kept = sorted(made.word for made in RegionCache(path))
        assert path.stat().st_size == len(kept) * one <= largest
        assert kept == list(range(word + 4 - 4 * len(kept), word + 4, 4))
        assert len(kept) > min(10, word // 4)


def test_a_full_cache_makes_room_where_it_is_damaged_too(tmp_path) -> None:
    path = tmp_path / "regions"
    RegionCache(path).add([_made(word) for word in range(0, 40, 4)])
    data = bytearray(path.read_bytes())
    one = len(data) // 10
    data[5 * one : 6 * one] = bytes(one)  # what the newer half begins with
    path.write_bytes(bytes(data))
    RegionCache(path, largest=10 * one).add([_made(0x100)])
    assert sorted(made.word for made in RegionCache(path)) == [24, 28, 32, 36, 0x100]


def test_a_cache_in_a_folder_that_cannot_be_written_is_done_without(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    RegionCache(path / "regions").add([_made()])
    assert len(RegionCache(path / "regions")) == 0


def test_what_one_emulator_translated_another_takes_from_the_cache(tmp_path) -> None:
    path = tmp_path / "regions"
    first = Translated()
    first.warm_up()
    RegionCache(path).add([region.made for region in first.translator.regions])
    first.translator.close()
    second = Guest()
    translator = Translator(second.cpu, _NoCompiler(), cache=RegionCache(path), threshold=2, again=2, batch=1)
    second.start(SUM, r5=10, r2=DATA)
    second.step(2000)
    assert translator.statistics["recalled"]
    assert (second["r6"], second["r1"], second["r0"]) == (first["r6"], first["r1"], first["r0"])
    # and with other code in the same place it does not
    third = Guest()
    stranger = Translator(third.cpu, _NoCompiler(), cache=RegionCache(path), threshold=2, again=2, batch=1)
    third.start(SUM.replace("#1\n", "#2\n"), r5=10, r2=DATA)
    third.step(2000)
    assert not stranger.statistics["recalled"]


class _NoCompiler:
    def submit(self, requests: object) -> None:
        pass

    def take(self) -> list[object]:
        return []

    def close(self) -> None:
        pass


def test_a_process_in_the_background_compiles_and_fills_the_cache(tmp_path) -> None:
    path = tmp_path / "regions"
    guest = Guest()
    come = threading.Event()
    translator = Translator(guest.cpu, Background(path, come.set), threshold=2, again=2, patience=1, batch=1)
    try:
        guest.start(SUM, r5=10)
        guest.step(1000)
        assert come.wait(60)
        guest.step(1000)
        assert translator.statistics["installed"]
        until(lambda: len(RegionCache(path)) > 0, 30)
    finally:
        translator.close()


# -- the compiler --------------------------------------------------------------------------------


def _region_ir(source: str, *, thumb: bool = False) -> str:
    program = assemble_program(source, CODE, thumb=thumb)

    def fetch(address: int, size: int) -> int | None:
        place = address - CODE
        inside = 0 <= place < len(program.data)
        return int.from_bytes(program.data[place : place + size], "little") if inside else None

    region = find_region(CODE, thumb, fetch)
    assert region is not None
    return emit_regions([region])


_MIXTURE = """
1: ldmia r2!, {r0, r1, r3}; strb r0, [r2, r1, lsl #2]; umlal r0, r1, r2, r3; adcs r4, r4, r0, ror r1
bl 2f; subs r5, r5, #1; bne 1b; ldr r0, =0x12345678; mrs r0, cpsr; swp r0, r1, [r2]; bx lr
2: mov pc, lr
"""


@pytest.mark.parametrize("thumb", [False, True])
def test_regions_compile_for_aarch64_to_code_that_refers_to_nothing(thumb) -> None:
    source = "1: ldmia r2!, {r0, r1}; adds r0, r1; bl 1b; bne 1b; pop {r0, pc}" if thumb else _MIXTURE
    machine = target_machine("aarch64-unknown-linux-gnu", level=1)
    text = text_of(compile_regions(_region_ir(source, thumb=thumb), machine), 1)
    assert len(text.code) > 100
    assert len(text.code) % 4 == 0


def test_an_object_that_needs_linking_is_refused() -> None:
    outside = "declare void @elsewhere()\ndefine void @region_0() { call void @elsewhere() ret void }"
    contents = compile_regions(outside, target_machine(level=1))
    with pytest.raises(ObjectError, match="refers to something outside"):
        text_of(contents, 1)


def test_a_region_ends_where_only_tier_0_knows_the_way() -> None:
    program = assemble_program("mov r0, #1; swi 0; mov r1, #2; mov pc, lr", CODE)

    def fetch(address: int, size: int) -> int | None:
        place = address - CODE
        return int.from_bytes(program.data[place : place + size], "little") if place < 16 else None

    region = find_region(CODE, False, fetch)
    assert region is not None
    assert sorted(region.blocks) == [CODE, CODE + 8]
    assert region.entries == [CODE, CODE + 8]
    assert find_region(CODE + 4, False, fetch) is None
