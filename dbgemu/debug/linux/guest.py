"""The Linux guest of a debug session: what a debugger's front end asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from dbgemu.debug.linux.errors import LinuxError
from dbgemu.debug.linux.kernel import Kernel, find_kernel_file
from dbgemu.debug.linux.log import LogReader, LogRecord
from dbgemu.debug.linux.modules import Module, ModuleReader
from dbgemu.debug.linux.tasks import Task, TaskReader

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.debug.symbols import SymbolFile

T = TypeVar("T")


class LinuxGuest:
    """Tasks, log and modules of the guest whose kernel's symbols the session has.

    Any thread may ask, whether the machine runs or stands still; nothing is changed in the guest.
    """

    def __init__(self, session: DebugSession) -> None:
        self._session = session
        #: the number of symbol files when the kernel was looked for among them
        self._looked_at = -1
        self._file: SymbolFile | None = None
        self._kernel: Kernel | None = None
        self._tasks: TaskReader | None = None
        self._log: LogReader | None = None
        self._modules: ModuleReader | None = None
        self._problem = ""

    # -- the kernel --------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """The symbols of a kernel are loaded, with enough debug information for its tasks. Quick."""
        if self._looked_at != len(self._session.symbols.files):
            self._look()
        return self._tasks is not None

    def _look(self) -> None:
        """Find the kernel among the symbol files; only what is new changes anything."""
        files = self._session.symbols.files
        self._looked_at = len(files)
        found = find_kernel_file(files)
        if found is None or found[0] is self._file:
            return
        self._file, symbols = found
        self._kernel = self._tasks = self._log = self._modules = None
        self._problem = ""
        try:
            self._kernel = Kernel(self._session, self._file, symbols)
            self._tasks = TaskReader(self._kernel)
        except LinuxError as error:
            self._problem = str(error)

    def _ready(self) -> tuple[Kernel, TaskReader]:
        if not self.known or self._kernel is None or self._tasks is None:
            text = self._problem or "no kernel symbols are loaded: 'symbol-file vmlinux' loads them"
            raise LinuxError(text)
        self._kernel.check()
        return self._kernel, self._tasks

    def _ask(self, read: Callable[[Kernel, TaskReader], T]) -> T:
        return self._session.call(lambda: read(*self._ready()))

    @property
    def table(self) -> int:
        """The physical address of the kernel's own translation table. LinuxError for no kernel."""
        return self._ask(lambda kernel, _: kernel.table)

    @property
    def kernel_start(self) -> int:
        """The first virtual address of the kernel's linear mapping (PAGE_OFFSET), or LinuxError."""
        return self._ask(lambda kernel, _: kernel.start)

    # -- tasks -------------------------------------------------------------------------------

    def tasks(self) -> tuple[list[Task], str]:
        """All tasks, the idle task first; and what is wrong with the kernel's list of them, if anything.

        LinuxError when there are none to read.
        """
        return self._ask(lambda _, reader: reader.read_all())

    def task(self, pid: int) -> Task:
        """The task with this pid. LinuxError when there is none."""
        tasks, problem = self.tasks()
        for task in tasks:
            if task.pid == pid:
                return task
        raise LinuxError(f"there is no task with pid {pid}" + (f"; {problem}" if problem else ""))

    def task_at(self, address: int) -> Task:
        """The task whose task_struct is at ``address``. LinuxError when there is none."""
        return self._ask(lambda _, reader: reader.read(address))

    def current(self) -> Task | None:
        """The task that has the CPU; None while there is none: early in the boot. LinuxError."""

        def read(kernel: Kernel, reader: TaskReader) -> Task | None:
            address = kernel.current_task()
            return reader.read(address) if address else None

        return self._ask(read)

    def current_pid(self) -> int:
        """The pid of the task that has the CPU, 0 for the idle task; -1 while there is none.

        Quick, and never an error: for each stop. Where the machine's state may be used.
        """
        if not self.known or self._kernel is None:
            return -1
        return self._kernel.current_pid()

    # -- log and modules ---------------------------------------------------------------------

    def log(self) -> list[LogRecord]:
        """The kernel's log, the oldest message first. LinuxError when there is none to read."""

        def read(kernel: Kernel, _: TaskReader) -> list[LogRecord]:
            if self._log is None:
                self._log = LogReader(kernel)
            return self._log.read_all()

        return self._ask(read)

    def modules(self) -> tuple[list[Module], str]:
        """The loaded modules, the latest first; and what is wrong with the kernel's list, if anything.

        LinuxError when there are none to read.
        """

        def read(kernel: Kernel, _: TaskReader) -> tuple[list[Module], str]:
            if self._modules is None:
                self._modules = ModuleReader(kernel)
            return self._modules.read_all()

        return self._ask(read)
