"""Where a thread is, found out at regular intervals by a signal handler in machine code.

No interpreter lock is needed for it, nothing is asked of the thread, and generated code is seen as well as
the host's libraries. The kernel's timer counts the intervals in which the thread got no processor, or the
machine none: so all of the time is accounted for. Linux on x86-64 and AArch64.
"""

from __future__ import annotations

import ctypes
import platform
import signal
import threading
from array import array
from pathlib import Path

import llvmlite.binding as llvm

from dbgemu.engine.native import target_machine

#: seconds from one sample to the next
INTERVAL = 0.0005
#: four minutes of them
_CAPACITY = 480_000
#: where struct ucontext has the program counter (sys/ucontext.h), by machine
_PC = {"x86_64": 168, "aarch64": 440}
#: the instruction that calls the kernel
_SYSTEM_CALL = {"x86_64": b"\x0f\x05", "aarch64": b"\x01\x00\x00\xd4"}
#: where siginfo_t has si_overrun for a signal of a timer (sigaction(2))
_OVERRUN = 20
_SA_SIGINFO, _SA_RESTART = 4, 0x10000000
_CLOCK_MONOTONIC, _SIGEV_THREAD_ID = 1, 4
#: 64-bit words in front of the samples: how many there are, the present mark; a sample has three
_FIRST = 2
WORDS = 3

# The handler runs on the sampled thread, with this signal blocked: nothing has to be atomic.
_HANDLER = """
define void @sampled(i32 %signal, ptr %information, ptr %context) {{
  %words = inttoptr i64 {words} to ptr
  %count = load i64, ptr %words
  %full = icmp uge i64 %count, {capacity}
  br i1 %full, label %done, label %keep
keep:
  %mark_place = getelementptr i64, ptr %words, i64 1
  %mark = load i64, ptr %mark_place
  %pc_place = getelementptr i8, ptr %context, i64 {pc}
  %pc = load i64, ptr %pc_place
  %missed_place = getelementptr i8, ptr %information, i64 {overrun}
  %missed = load i32, ptr %missed_place
  %late = zext i32 %missed to i64
  %index = mul i64 %count, {size}
  %first = add i64 %index, {first}
  %place = getelementptr i64, ptr %words, i64 %first
  store i64 %pc, ptr %place
  %second = getelementptr i64, ptr %place, i64 1
  store i64 %mark, ptr %second
  %third = getelementptr i64, ptr %place, i64 2
  store i64 %late, ptr %third
  %more = add i64 %count, 1
  store i64 %more, ptr %words
  br label %done
done:
  ret void
}}
"""


class _SignalAction(ctypes.Structure):
    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint64 * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class _SignalEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("rest", ctypes.c_uint8 * 44),
    )


class _TimerSpecification(ctypes.Structure):
    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


def can_sample() -> bool:
    """Whether this host's signal frames are known."""
    return platform.system() == "Linux" and platform.machine() in _PC


class Sampler:
    """Samples of one thread. ``mark[0]`` is what the thread says that it is doing; it is kept with each."""

    def __init__(self) -> None:
        self._words = array("Q", [0]) * (_FIRST + WORDS * _CAPACITY)
        #: a view of one word, cheap to write
        self.mark = memoryview(self._words)[1:2]
        text = _HANDLER.format(
            words=self._words.buffer_info()[0],
            capacity=_CAPACITY,
            pc=_PC[platform.machine()],
            overrun=_OVERRUN,
            size=WORDS,
            first=_FIRST,
        )
        self._code = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target_machine())
        self._code.finalize_object()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()

    def start(self) -> None:
        """Sample the calling thread from now on."""
        action = _SignalAction(self._code.get_function_address("sampled"), flags=_SA_SIGINFO | _SA_RESTART)
        self._call("sigaction", int(signal.SIGPROF), ctypes.byref(action), None)
        event = _SignalEvent(None, signal.SIGPROF, _SIGEV_THREAD_ID, threading.get_native_id())
        self._call("timer_create", _CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer))
        ns = int(INTERVAL * 1e9)
        self._call("timer_settime", self._timer, 0, ctypes.byref(_TimerSpecification(0, ns, 0, ns)), None)

    def stop(self) -> None:
        """No more samples: the handler stays, for a signal that is on its way."""
        self._call("timer_delete", self._timer)

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self._libc, name)(*arguments):
            raise OSError(ctypes.get_errno(), f"{name} failed")

    @property
    def count(self) -> int:
        """How many samples there are."""
        return self._words[0]

    def samples(self) -> bytes:
        """All of them: ``WORDS`` 64-bit words each, address, mark, intervals that were missed before it."""
        return self._words[_FIRST : _FIRST + WORDS * self.count].tobytes()

    def behind_system_calls(self) -> list[int]:
        """The sampled addresses behind a system call of a library: there a thread is while it waits."""
        call = _SYSTEM_CALL[platform.machine()]
        libraries = _executable_files()
        return [
            at
            for at in set(self._words[_FIRST : _FIRST + WORDS * self.count : WORDS])
            if any(start + len(call) <= at < end for start, end in libraries)
            and ctypes.string_at(at - len(call), len(call)) == call
        ]


def _executable_files() -> list[tuple[int, int]]:
    """Where files with code are in this process: other addresses may be unmapped by now."""
    rows = [line.split(None, 5) for line in Path("/proc/self/maps").read_text().splitlines()]
    found = [row[0].split("-") for row in rows if row[1] == "r-xp" and row[-1].startswith("/")]
    return [(int(start, 16), int(end, 16)) for start, end in found]
