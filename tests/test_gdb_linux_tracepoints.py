"""Tracepoints in the boot of Linux: ten thousand frames, looked through, saved and reopened offline."""

import re
import subprocess
from pathlib import Path

from linux_guest import LinuxGuest, guest_folder
from real_gdb import GDB, needs_gdb
from support import serve

from dbgemu.debug.session import DebugSession

_TRACED = """
hbreak start_kernel
continue
trace kmem_cache_alloc
actions
collect $regs, $args, s->object_size
end
trace __schedule
actions
collect $regs, jiffies, $trace_timestamp
end
trace generic_handle_domain_irq
actions
collect $regs, $args
end
tstart
tbreak wait_for_initramfs
continue
tstop
tstatus
"""

_COUNTED = """
set $frames = 0
tfind start
tfind tracepoint 3
while $trace_frame != -1
set $frames = $frames + 1
tfind tracepoint 3
end
print $frames
"""


def gdb(script: str) -> str:
    """What gdb prints, with the kernel's symbols, for the commands in ``script``."""
    assert GDB is not None
    head = "set confirm off\nset pagination off\nset width 0\nset architecture armv4t\n"
    done = subprocess.run(
        [GDB, "--nx", "--quiet", str(guest_folder() / "vmlinux")],
        input=head + script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return re.sub(r"\(gdb\) |^[> ]*>", "", done.stdout, flags=re.MULTILINE)


@needs_gdb
def test_ten_thousand_frames_of_a_boot_are_collected_and_reopened_offline(tmp_path: Path) -> None:
    guest = LinuxGuest()
    session = DebugSession(guest.machine)
    saved = tmp_path / "boot"
    try:
        with serve(session) as server:
            text = gdb(
                f"target remote {server.endpoint.host}:{server.endpoint.port}\n{_TRACED}{_COUNTED}"
                f"tfind 9999\nprint $tracepoint\ntfind tracepoint 3\ntdump\ntsave {saved}\n"
            )
    finally:
        session.close()
    frames = session.trace.buffer
    assert len(frames) > 10_000
    assert f"Collected {len(frames)} trace frames." in text
    hits = {point.number: point.hits for point in session.trace.tracepoints.values()}
    assert sum(hits.values()) == len(frames)
    assert min(hits.values()) > 50
    assert f"$1 = {hits[3]}\n" in text
    assert re.findall(r"^\$2 = (\d+)$", text, re.MULTILINE) == [str(frames.frame(9999).number)]
    assert re.search(r"^jiffies = \d+$", text, re.MULTILINE)
    assert f"Trace data saved to file '{saved}'." in text

    allocation = next(frame.index for frame in frames if frame.number == 2 and frame.index > 5000)
    text = gdb(f"target tfile {saved}\ntstatus\ntfind 9999\nprint/x $pc\ntfind {allocation}\ntdump\n")
    assert f"Collected {len(frames)} trace frames." in text
    assert f"$1 = {hex(frames.frame(9999).address)}\n" in text
    assert re.search(r"^s = 0xc\w+$", text, re.MULTILINE)
    assert re.search(r"^s->object_size = \d+$", text, re.MULTILINE)
