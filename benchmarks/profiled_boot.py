"""A process that is dbgemu, and tells where the machine's thread spent its time until the prompt.

``python -m benchmarks.profiled_boot FILE boot|start OPTION...``: the options are dbgemu's. FILE gets JSON,
FILE with ``.samples`` behind it the samples. ``start`` ends in front of the first guest instruction. What
is put around the program's functions is put there when the machine is about to run for the first time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbgemu.cli import main as dbgemu_main
from dbgemu.machine import Machine, Stop

if TYPE_CHECKING:
    from benchmarks.sampler import Sampler
    from dbgemu.engine.cpu import Cpu
    from dbgemu.engine.translator.translator import Installed, Translator

# What the machine's thread is doing: marks of samples
RUN_LOOP, IN_ENGINE, TRANSLATING, WAITING = range(4)


def _marked(sampler: Sampler, function: Callable[..., Any], what: int) -> Callable[..., Any]:
    """``function``, with ``what`` as the mark while it is executed."""
    mark = sampler.mark

    def marked(*arguments: Any, **options: Any) -> Any:
        before = mark[0]
        mark[0] = what
        try:
            return function(*arguments, **options)
        finally:
            mark[0] = before

    return marked


class BlockCounter:
    """How many blocks tier 0 enters, by the counters that tell the translator what is hot.

    A little too few: a counter that comes to its end where translated code is found reports nothing. A little
    too many: a block in front of which a run ended is entered twice.
    """

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._first = cpu.code_tables.counters()
        self._reports = 0
        self._take_hot = cpu.code_tables.take_hot
        cpu.code_tables.take_hot = self._taken  # type: ignore[method-assign]

    def _taken(self) -> list[int]:
        self._reports += self._cpu.state.hot_used
        return self._take_hot()

    @property
    def entered(self) -> int:
        """Blocks since this was made."""
        state = self._cpu.state
        left = sum(memoryview(self._cpu.code_tables.counters()).cast("H"))
        reported = (self._reports + state.hot_used) * state.hot_threshold
        return sum(memoryview(self._first).cast("H")) + int(reported) - left


class _Profile:
    """One boot, from the first instruction to the prompt."""

    def __init__(self, machine: Machine, path: Path, first: float) -> None:
        from benchmarks.sampler import Sampler

        self._machine, self._path, self._first = machine, path, first
        self._sampler = Sampler()
        #: [samples before it, address, bytes, assembled]
        self._installed: list[tuple[int, int, int, bool]] = []
        self._output = bytearray()
        cpu = machine.cpu
        cpu._run = _marked(self._sampler, cpu._run, IN_ENGINE)
        machine._wait = _marked(self._sampler, machine._wait, WAITING)  # type: ignore[method-assign]
        #: with ``-accel jit``
        self._translator: Translator | None = cpu.translation  # type: ignore[assignment]
        self._blocks: BlockCounter | None = None
        if self._translator is not None:
            self._mark_translator(self._translator)
            self._blocks = BlockCounter(cpu)
        self._send = machine.board.uarts[0].on_transmit
        machine.board.uarts[0].on_transmit = self._sent
        self._started = time.perf_counter()
        self._cpu_started = time.thread_time()
        self._sampler.start()

    def _mark_translator(self, translator: Translator) -> None:
        written, listeners = translator.written, self._machine.board.bus.on_memory_write
        for name in ("attend", "written", "check"):
            setattr(translator, name, _marked(self._sampler, getattr(translator, name), TRANSLATING))
        listeners[listeners.index(written)] = translator.written
        translator.on_install = self._install

    def _install(self, region: Installed) -> None:
        made = region.made
        self._installed.append((self._sampler.count, region.address, len(made.native), made.assembled))

    def _sent(self, character: int) -> None:
        from benchmarks.linux_boot import PROMPT

        self._send(character)
        self._output.append(character)
        if self._output.endswith(PROMPT):
            self._finish()

    def _finish(self) -> None:
        from benchmarks.processes import cpu_seconds, workers

        ended, cpu = time.perf_counter(), time.thread_time()
        self._sampler.stop()
        self._machine.board.uarts[0].on_transmit = self._send
        code = self._machine.cpu._code
        self._path.with_name(self._path.name + ".samples").write_bytes(self._sampler.samples())
        _write(
            self._path,
            {
                "first_instruction": self._first,
                "started": self._started,
                "ended": ended,
                "cpu_seconds": cpu - self._cpu_started,
                "instructions": self._machine.cpu.instructions,
                "blocks": self._blocks.entered if self._blocks else None,
                "engine": code.address("run"),
                "installed": self._installed,
                "system_calls": self._sampler.behind_system_calls(),
                "workers": {work: cpu_seconds(pid) for work, pid in workers(os.getpid()).items()},
                "statistics": dict(self._translator.statistics) if self._translator else {},
            },
        )
        os.kill(os.getpid(), signal.SIGTERM)  # all is closed as for a user


def _write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result))


def main(words: list[str]) -> int:
    """See the module."""
    path, mode, options = Path(words[0]), words[1], words[2:]
    run, profiles = Machine.run, list[_Profile]()

    def profiled(machine: Machine, instructions: int | None = None) -> Stop:
        if not profiles:
            first = time.perf_counter()
            if mode == "start":
                _write(path, {"first_instruction": first})
                os._exit(0)  # nothing has happened yet that would have to be ended in order
            profiles.append(_Profile(machine, path, first))
        return run(machine, instructions)

    setattr(Machine, "run", profiled)  # noqa: B010 - a method of the program, for the measurement
    return dbgemu_main(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
