"""A boot of Linux, traced: the numbers agree with the engine's."""

from __future__ import annotations

from pathlib import Path

from dbgemu.trace.events import Serial
from dbgemu.trace.reader import open_trace
from dbgemu.trace.tracer import Tracer
from tests.linux_guest import LinuxGuest

#: until the kernel has unpacked itself, switched the MMU on and printed its first lines
_BANNER = "Booting Linux on physical CPU 0x0"


def test_a_boot_is_recorded_to_the_instruction(tmp_path: Path) -> None:
    guest, path = LinuxGuest(), tmp_path / "boot.dbgtrace"
    tracer = Tracer(guest.machine)
    tracer.start("tb,exception,irq,mmu,serial", path)
    guest.wait_for(_BANNER)
    guest.machine.run(3_000_000)
    tracer.stop()
    with open_trace(path) as trace:
        assert trace.complete
        assert (trace.first_count, trace.end_count) == (0, guest.machine.cpu.instructions)
        assert trace.instructions == trace.end_count
        profile = trace.profile()
        assert sum(count.executions for count in profile) == trace.blocks
        assert sum(count.instructions for count in profile) == trace.instructions
        assert path.stat().st_size < trace.blocks, "less than a byte a block"
        text = bytes(event.byte for event in trace.events(("serial",)) if isinstance(event, Serial))
        assert _BANNER.encode() in text
        assert {count.pc >> 28 for count in profile} >= {0x3, 0xC}, "before the MMU was on, and after"
