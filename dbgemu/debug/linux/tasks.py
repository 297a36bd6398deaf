"""The tasks of a Linux guest: processes, their threads, and kernel threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.linux.errors import DamagedError
from dbgemu.debug.linux.kernel import PID_LIMIT

if TYPE_CHECKING:
    from dbgemu.debug.linux.kernel import Kernel

#: a kernel for 32 bits has no more pids (include/linux/threads.h)
_MOST_TASKS = 32768

_PF_KTHREAD = 0x00200000

#: bits of task_struct.__state and exit_state (include/linux/sched.h), the first that fits counts
_STATES = (
    (0x402, "I", "idle"),
    (0x1, "S", "sleeping"),
    (0x2, "D", "uninterruptible"),
    (0x4, "T", "stopped"),
    (0x8, "t", "traced"),
    (0x10, "X", "dead"),
    (0x20, "Z", "zombie"),
    (0x40, "P", "parked"),
    (0x80, "X", "dead"),
    (0x200, "W", "waking"),
    (0x800, "N", "new"),
)

#: what __switch_to saves of a task (arch/arm/kernel/entry-armv.S), under the names of registers
SAVED_REGISTERS = {
    "r4": "r4", "r5": "r5", "r6": "r6", "r7": "r7", "r8": "r8",
    "r9": "r9", "r10": "sl", "r11": "fp", "r13": "sp", "r15": "pc",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One task, as it was when it was read."""

    #: of its task_struct
    address: int
    pid: int
    #: of the process whose thread it is: the pid of that process's first thread
    tgid: int
    comm: str
    #: the letter that ``ps`` shows: R, S, D, T, t, Z, X, I, P, W, N
    state: str
    #: the pid of its parent, 0 for none
    parent: int
    kernel_thread: bool
    #: the physical address of its translation table; None for one without memory of its own
    table: int | None
    #: the task has the CPU: its registers are the CPU's
    current: bool
    #: what is restored when it gets the CPU, r4 to r11, r13 and r15; empty for the current task
    registers: dict[str, int]
    #: where these are in the kernel's memory
    saved_at: dict[str, int]

    @property
    def state_name(self) -> str:
        """The state as a word."""
        if self.current:
            return "running"
        return next((name for _, letter, name in _STATES if letter == self.state), "runnable")


class TaskReader:
    """Reads tasks of ``kernel``. All methods where the machine's state may be used (session.call)."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        layout = kernel.layout
        self._size = layout.size("task_struct")

        def member(*paths: str) -> int:
            return layout.member("task_struct", *paths).offset

        self._pid = layout.member("task_struct", "pid")
        self._tgid = layout.member("task_struct", "tgid")
        self._comm = layout.member("task_struct", "comm")
        self._state = layout.member("task_struct", "__state", "state")
        self._exit_state = layout.member("task_struct", "exit_state")
        self._flags = layout.member("task_struct", "flags")
        self._mm = layout.member("task_struct", "mm")
        self._parent = layout.member("task_struct", "real_parent")
        self._signal = layout.member("task_struct", "signal")
        self._tasks = member("tasks")
        self._thread_node = layout.find("task_struct", "thread_node")
        self._thread_head = layout.find("signal_struct", "thread_head")
        self._pgd = layout.member("mm_struct", "pgd").offset
        # CONFIG_THREAD_INFO_IN_TASK; before it, thread_info is at the end of the kernel's stack
        self._own_info = layout.find("task_struct", "thread_info")
        self._stack = layout.member("task_struct", "stack")
        self._saved = {
            register: layout.member("thread_info", f"cpu_context.{name}").offset
            for register, name in SAVED_REGISTERS.items()
        }

    def read(self, address: int) -> Task:
        """The task whose task_struct is at ``address``. DamagedError when there is none."""
        kernel = self._kernel
        data = kernel.read(address, self._size)
        pid, tgid = self._pid.of(data), self._tgid.of(data)
        if pid >= PID_LIMIT or tgid >= PID_LIMIT:
            raise DamagedError(f"what is at 0x{address:08x} is no task: its pid would be {pid}")
        current = kernel.current_task() == address
        info = address + self._own_info.offset if self._own_info is not None else self._stack.of(data)
        saved_at = {} if current else {name: info + offset for name, offset in self._saved.items()}
        return Task(
            address,
            pid,
            tgid,
            self._comm.text(data),
            _letter(self._state.of(data) | self._exit_state.of(data)),
            self._parent_of(data),
            bool(self._flags.of(data) & _PF_KTHREAD) or pid == 0,
            self._table_of(data),
            current,
            {} if current else self._registers_at(info),
            saved_at,
        )

    def _registers_at(self, info: int) -> dict[str, int]:
        """The registers in the thread_info at ``info``."""
        first, last = min(self._saved.values()), max(self._saved.values())
        data = self._kernel.read(info + first, last + 4 - first)
        return {
            name: int.from_bytes(data[offset - first : offset - first + 4], "little")
            for name, offset in self._saved.items()
        }

    def _parent_of(self, data: bytes) -> int:
        parent = self._parent.of(data)
        try:
            return self._pid.of(self._kernel.read(parent, self._pid.offset + 4)) if parent else 0
        except DamagedError:
            return 0

    def _table_of(self, data: bytes) -> int | None:
        mm = self._mm.of(data)
        try:
            return self._kernel.physical(self._kernel.pointer(mm + self._pgd)) if mm else None
        except DamagedError:
            return None

    def pid_at(self, address: int) -> int:
        """The pid of the task at ``address``. DamagedError when nothing is there."""
        return self._kernel.word(address + self._pid.offset)

    def read_all(self) -> tuple[list[Task], str]:
        """All tasks, the idle task first, and what is wrong with the kernel's list of them, if anything."""
        problems: list[str] = []
        tasks: dict[int, Task] = {}
        try:
            for address in self._addresses(problems):
                if address not in tasks:
                    tasks[address] = self.read(address)
        except DamagedError as error:
            problems.append(str(error))
        problem = f"the list of tasks is damaged behind {len(tasks)}: {problems[0]}" if problems else ""
        return list(tasks.values()), problem

    def _addresses(self, problems: list[str]) -> Iterator[int]:
        kernel = self._kernel
        first = kernel.symbols["init_task"]
        yield first
        leaders, problem = kernel.linked(first + self._tasks, self._tasks, _MOST_TASKS)
        for leader in leaders:
            yield leader
            signal = kernel.word(leader + self._signal.offset)
            if signal and self._thread_head is not None and self._thread_node is not None:
                head, node = signal + self._thread_head.offset, self._thread_node.offset
                threads, broken = kernel.linked(head, node, _MOST_TASKS)
                yield from threads
                if broken:
                    problems.append(broken)
        if problem:
            problems.append(problem)


def _letter(state: int) -> str:
    return next((letter for bits, letter, _ in _STATES if state & bits == bits), "R")
