"""The benchmarks that say where a boot's time and memory go: that what they find is attributed rightly."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from array import array
from pathlib import Path

import pytest

from benchmarks import boot_parts
from benchmarks.boot_parts import EngineMap, classify, engine_symbols
from benchmarks.caches import fill
from benchmarks.memory import memory_of
from benchmarks.processes import workers
from benchmarks.profiled_boot import IN_ENGINE, RUN_LOOP, TRANSLATING, WAITING, BlockCounter
from benchmarks.sampler import INTERVAL, WORDS, Sampler, can_sample
from dbgemu.engine.cpu import Cpu
from dbgemu.engine.native import load_interpreter
from dbgemu.engine.translator.cache import RegionCache
from dbgemu.engine.translator.requests import Batch, Made, Request
from dbgemu.engine.translator.translator import Translator
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.bus import Bus
from dbgemu.target.memory import Memory

ENGINE = EngineMap({"run": (0x100, 0x20), "go_arm": (0x200, 0x10), "add_arm": (0x300, 0x40)}, run=0x7000_0100)
REGION = 0x5000_0000


def samples(*rows: tuple[int, int, int]) -> memoryview:
    """(address, mark, intervals missed) of each, as the sampler gives them."""
    return memoryview(array("Q", [number for row in rows for number in row]))


def test_an_address_in_the_engine_is_found_by_where_one_of_its_functions_is() -> None:
    assert ENGINE.find(0x7000_0300) == "add_arm"
    assert ENGINE.find(0x7000_033F) == "add_arm"
    assert ENGINE.find(0x7000_0340) is None
    assert ENGINE.find(0x6000_0000) is None


def test_code_that_is_executed_tells_the_part_and_elsewhere_the_mark_does() -> None:
    rows = samples(
        (0x7000_0301, IN_ENGINE, 0),
        (0x7000_0204, IN_ENGINE, 0),
        (0x1234, IN_ENGINE, 0),
        (0x1234, TRANSLATING, 0),
        (0x1234, RUN_LOOP, 0),
        (0x1234, WAITING, 3),
    )
    parts, functions = classify(rows, ENGINE, [])
    assert parts == {
        "tier 0": 1,
        "tier 1: jump cache": 1,
        "devices in Python": 1,
        "translation, the emulator's part": 1,
        "run loop and timers": 1,
        "idle": 1,
        "waiting for a processor": 3,
    }
    assert functions == {"add_arm": 1, "go_arm": 1}


def test_translated_code_is_of_the_kind_that_was_last_put_there_before_the_sample() -> None:
    rows = samples(*[(REGION + 70, IN_ENGINE, 0)] * 4)
    installed = [(1, REGION, 100, True), (3, REGION + 64, 8, False)]
    parts, _ = classify(rows, ENGINE, installed)
    assert +parts == {"devices in Python": 1, "tier 1: assembled code": 2, "tier 1: compiled code": 1}


def test_a_thread_behind_a_system_call_waits_unless_the_machine_is_idle() -> None:
    rows = samples(
        (0x1234, IN_ENGINE, 0), (0x1234, TRANSLATING, 0), (0x1234, WAITING, 0), (0x1238, IN_ENGINE, 0)
    )
    parts, _ = classify(rows, ENGINE, [], {0x1234})
    assert +parts == {"interpreter lock and system calls": 2, "idle": 1, "devices in Python": 1}


def test_every_part_that_a_sample_can_be_of_has_a_row() -> None:
    assert {*boot_parts._MARKED.values(), *boot_parts._FUNCTIONS.values()} <= set(boot_parts.PARTS)


def test_the_functions_that_are_told_apart_are_in_the_engine() -> None:
    load_interpreter()
    assert boot_parts._FUNCTIONS.keys() | {"run"} <= engine_symbols().keys()


@pytest.mark.skipif(not can_sample(), reason="not the Linux that it knows")
def test_samples_carry_the_mark_and_count_the_intervals_in_which_none_could_be_taken() -> None:
    sampler = Sampler()
    sampler.mark[0] = 7
    started = time.perf_counter()
    sampler.start()
    while sampler.count < 50:
        pass
    sampler.mark[0] = 8
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
    time.sleep(100 * INTERVAL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    sampler.mark[0] = 9
    time.sleep(100 * INTERVAL)
    sampler.stop()
    seconds = time.perf_counter() - started
    rows = list(struct.iter_unpack(f"{WORDS}Q", sampler.samples()))
    assert {mark for _, mark, _ in rows} == {7, 8, 9}
    assert max(late for _, mark, late in rows if mark == 8) >= 98
    assert sum(1 + late for _, _, late in rows) <= seconds / INTERVAL + 1
    # the thread slept in a system call
    asleep = {address for address, mark, _ in rows if mark == 9}
    assert asleep & set(sampler.behind_system_calls())


class _Never:
    """A compiler that nothing ever comes from."""

    ended = False

    def submit(self, requests: list[Request]) -> None:
        """Forget them."""

    def take(self) -> list[Batch]:
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing to do."""


def test_the_blocks_that_tier_0_enters_are_counted_across_reports() -> None:
    turns = 5000
    bus = Bus()
    bus.map(0, Memory("ram", 1 << 16))
    code = assemble_program(f"ldr r0, ={turns}; again: subs r0, r0, #1; bne again; here: b here", 0)
    bus.poke(0, code.data)
    cpu = Cpu(bus, load_interpreter())
    translator = Translator(cpu, _Never(), threshold=200, again=300, batch=2)
    try:
        blocks = BlockCounter(cpu)
        cpu.run(1 + 2 * turns)
        assert blocks.entered == pytest.approx(turns, abs=30)  # a run that ends may count a block twice
    finally:
        translator.close()


def test_a_cache_is_filled_with_what_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "regions"
    made = Made(0x8000, (0x8000,), (0x8000,), ((0x8000, b"code"),), b"native" * 50, 1)
    RegionCache(path).add([made])
    size = path.stat().st_size
    fill(path, 10 * size)
    assert path.stat().st_size == 10 * size
    cache = RegionCache(path)
    assert len(cache) == 10
    assert list(cache.find(0x8000)) == [made]


def test_memory_that_a_process_touches_is_seen_as_its_own() -> None:
    before, _ = memory_of(os.getpid())
    touched = bytearray(b"x") * (32 << 20)
    private, proportional = memory_of(os.getpid())
    assert private - before > 30
    assert proportional > 30
    del touched


def test_the_translators_processes_are_known_by_their_work() -> None:
    command = [sys.executable, "-m", "dbgemu.engine.translator.worker", "assemble"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (found := workers(os.getpid())) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert found == {"assemble": process.pid}
        assert process.stdin is not None
        process.stdin.close()
