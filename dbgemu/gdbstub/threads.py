"""Handlers: threads. The CPU is thread 1 or, once a kernel's symbols are loaded, each Linux task is one.

A task's thread has its pid as its number. The idle task has pid 0, which means "any thread" in packets;
its thread, which is also the CPU's before there are tasks, gets the first number that is no pid. In
non-stop mode the CPU stays the only thread: tasks do not stop and go by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.framing import PACKET_SIZE
from dbgemu.gdbstub.queries import document_part

if TYPE_CHECKING:
    from dbgemu.debug.linux import Task
    from dbgemu.gdbstub.client import Client

#: the CPU where there are no tasks. Threads are numbered from 1, as 0 means "any"
CPU_THREAD = 1

#: the idle task and, before there are tasks, the CPU; pids of a 32-bit kernel are less
#: (include/linux/threads.h, PID_MAX_LIMIT)
IDLE_THREAD = 32768

#: the kernel's addresses begin with the modules' area (arch/arm/include/asm/memory.h, MODULES_VADDR)
_MODULES_ROOM = 16 << 20

#: in thread-ids: any thread, and all of them
ANY, ALL = 0, -1

_CPU_NAME = "ARM920T"


@dataclass(frozen=True)
class _Thread:
    number: int
    name: str
    description: str
    #: it has the CPU
    current: bool


class Threads:
    """The threads as one client sees them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._session = client.session
        #: the client wants to see tasks where they are known
        self.wanted = True
        #: the task that is looked at instead of the CPU, as it was a moment before
        self.selected: Task | None = None
        #: where the tasks were when they were listed last, by pid
        self._addresses: dict[int, int] = {}
        self._document = b""
        self._rest: list[bytes] = []

    @property
    def are_tasks(self) -> bool:
        """Threads are Linux tasks, and not only the CPU."""
        session = self._session
        return bool(
            self.wanted and session.symbols.files and not self._client.non_stop and session.linux.known
        )

    def current(self) -> int:
        """The number of the thread that has the CPU. Quick: each stop reply tells it."""
        if not self.are_tasks:
            return CPU_THREAD
        pid = self._session.linux.current_pid()
        return pid if pid > 0 else IDLE_THREAD

    def text(self, number: int) -> str:
        """A thread's number as the client writes it."""
        return f"p1.{number:x}" if "multiprocess" in self._client.features else f"{number:x}"

    def find(self, number: int) -> Task | None:
        """The task whose thread this is; None for the CPU's thread. PacketError when there is none."""
        from dbgemu.debug.linux.errors import LinuxError  # loaded already, when there are tasks

        if number in (ANY, ALL, self.current()):
            return None
        if self.are_tasks:
            pid = 0 if number == IDLE_THREAD else number
            try:
                if pid in self._addresses:
                    task = self._session.linux.task_at(self._addresses[pid])
                    if task.pid == pid and task.state != "X":
                        return task
                return self._session.linux.task(pid)
            except LinuxError:
                raise PacketError(f"there is no thread {number}") from None
        raise PacketError("there is no such thread: the CPU is thread 1")

    def all(self) -> list[_Thread]:
        """Every thread: that of the CPU among them, whatever the kernel's lists say."""
        from dbgemu.debug.linux.errors import LinuxError, NotYetError

        current = self.current()
        if not self.are_tasks:
            return [_Thread(current, _CPU_NAME, "", True)]
        found: dict[int, _Thread] = {}
        try:
            tasks, problem = self._session.linux.tasks()
        except NotYetError:
            tasks, problem = [], ""
        except LinuxError as error:
            tasks, problem = [], str(error)
        self._addresses = {task.pid: task.address for task in tasks}
        for task in tasks:
            number = task.pid or IDLE_THREAD
            found.setdefault(number, _Thread(number, task.comm, _describe(task), number == current))
        if current not in found:
            # before there are tasks, or in the middle of a task's making or end
            found[current] = _Thread(current, _CPU_NAME, problem, True)
        elif problem:
            cpu = found[current]
            found[current] = _Thread(current, cpu.name, f"{cpu.description}; {problem}", True)
        return sorted(found.values(), key=lambda thread: thread.number)

    def read_unmapped(self, address: int, length: int) -> bytes | None:
        """What Linux has at ``address``, which the CPU cannot read just now; None for nothing.

        A process gets mappings of the kernel's only as it needs them, and the kernel keeps the domain of
        programs closed (CONFIG_CPU_SW_DOMAIN_PAN) while it does not copy from or to them.
        """
        session = self._session
        if not self.are_tasks or session.call(session.linux.current_pid) < 0:
            return None
        try:
            table = self.table(address, session.cpu.read_register("ttbr"))
            return session.memory.read_front(address, length, table=table)
        except MEMORY_ERRORS:
            return None

    def table(self, address: int, program: int | None) -> int:
        """The table that maps ``address`` for a task: the ``program``'s own, or the kernel's."""
        linux = self._session.linux
        if program is None or address >= linux.kernel_start - _MODULES_ROOM:
            return linux.table
        return program

    def begin_list(self) -> bytes:
        """The first reply of ``qfThreadInfo``; the others follow by :meth:`more`."""
        self._rest = [self.text(thread.number).encode() for thread in self.all()]
        return self.more()

    def more(self) -> bytes:
        """The next reply of the list."""
        if not self._rest:
            return b"l"
        count = max(1, PACKET_SIZE // 2 // 16)
        now, self._rest = self._rest[:count], self._rest[count:]
        return b"m" + b",".join(now)

    def document(self, offset: int, length: int) -> bytes:
        """A piece of the list as a document, which is that of the first piece for all of it."""
        if not offset:
            rows = "".join(map(self._row, self.all() if self._client.present else ()))
            self._document = f'<?xml version="1.0"?><threads>{rows}</threads>'.encode()
        return document_part(self._document, offset, length)

    def _row(self, thread: _Thread) -> str:
        core = ' core="0"' if thread.current else ""
        text = _printable(thread.description).replace("&", "&amp;").replace("<", "&lt;")
        name = quoteattr(_printable(thread.name))
        start = f'<thread id="{self.text(thread.number)}"{core} name={name}'
        return f"{start}>{text}</thread>" if text else f"{start}/>"


def _describe(task: Task) -> str:
    return f"pid {task.pid}, {task.state_name}" + (", kernel thread" if task.kernel_thread else "")


def _printable(text: str) -> str:
    """``text`` without what XML cannot carry: a task names itself as it likes."""
    return "".join(char if char.isprintable() else "?" for char in text)


def current_thread(client: Client) -> bytes:
    """``qC``."""
    threads = client.threads
    return b"QC" + client.session.call(lambda: threads.text(threads.current())).encode()


def first_threads(client: Client) -> bytes:
    """``qfThreadInfo``."""
    return client.session.call(client.threads.begin_list) if client.present else b"l"


def more_threads(client: Client) -> bytes:
    """``qsThreadInfo``: the next, or that was all."""
    return client.threads.more()


def read_threads(client: Client, annex: str, offset: int, length: int) -> bytes:
    """``qXfer:threads:read``: the same, with each thread's name and what it does, at once."""
    if annex:
        raise PacketError(f"there is no list of threads '{annex}'", 0)
    return client.session.call(lambda: client.threads.document(offset, length))


def _find(client: Client, number: int | None) -> Task | None:
    if number is None:
        raise PacketError("there is no such process: the board is process 1")
    return client.session.call(lambda: client.threads.find(number))


def thread_description(client: Client, number: int | None) -> bytes:
    """``qThreadExtraInfo``."""
    task = _find(client, number)
    if task is None and client.threads.are_tasks:
        current = client.session.call(client.threads.all)
        text = next((f"{item.name}, {item.description}" for item in current if item.current), _CPU_NAME)
    else:
        text = _CPU_NAME if task is None else f"{task.comm}, {_describe(task)}"
    return text.encode().hex().encode()


def select_thread(client: Client, operation: bytes, number: int | None) -> bytes:
    """``H``: choose the thread whose registers and memory later packets mean (``g``).

    For ``c`` it only has to exist: whichever runs, it is the CPU.
    """
    task = _find(client, number)
    if operation == b"g":
        client.threads.selected = task
    return b"OK"


def thread_alive(client: Client, number: int | None) -> bytes:
    """``T``."""
    _find(client, number)
    return b"OK"


def tasks_wanted(client: Client) -> bytes:
    """``qdbgemu.LinuxTasks``: 1 when tasks are threads for this client, where they are known."""
    return b"%d" % client.threads.wanted


def set_tasks_wanted(client: Client, wanted: bool) -> bytes:
    """``Qdbgemu.LinuxTasks``: whether tasks are threads for this client, from the next stop on."""
    client.threads.wanted = wanted
    client.threads.selected = None
    return b"OK"
