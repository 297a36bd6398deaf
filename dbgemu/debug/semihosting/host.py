"""Executes the guest's semihosting calls, on the machine's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.semihosting.calls import CALLS
from dbgemu.debug.semihosting.config import SemihostingConfig, Target
from dbgemu.debug.semihosting.console import Console
from dbgemu.debug.semihosting.errors import CallError, Errno, InterruptedCallError, RetryCallError
from dbgemu.debug.semihosting.files import FileSystem, Handles, NoFiles, RemoteHost
from dbgemu.debug.semihosting.folder import Folder
from dbgemu.debug.semihosting.guest import GuestMemory

if TYPE_CHECKING:
    from dbgemu.machine import Machine


@dataclass(frozen=True)
class Ending:
    """Why the machine is not to go on after a call.

    ``status``: the guest has ended, with this exit status. ``waits``: the call has not been executed,
    as it would wait, which it may not on this thread. ``stop``: who executed it wants a stop. None of
    these: a stop was requested while it waited.
    """

    status: int | None = None
    waits: bool = False
    stop: bool = False


class Semihosting:
    """Answers the calls of ``machine``'s guest.

    ``remote`` gives the front end that can execute calls now, if there is one. Raises OSError for a
    folder that cannot be opened.
    """

    def __init__(
        self,
        machine: Machine,
        config: SemihostingConfig,
        console: Console,
        *,
        remote: Callable[[], RemoteHost | None] = lambda: None,
    ) -> None:
        self._machine = machine
        self._cpu = machine.cpu
        self._target = config.target
        self._remote = remote
        self.guest = GuestMemory(machine.cpu)
        self.console = console
        self.handles = Handles()
        self.clock = machine.board.clock
        self._given_command_line = self.command_line = config.command_line
        self.epoch = config.epoch
        self.free_memory = config.free_memory
        #: the error number of the last call that failed
        self.errno = 0
        #: the address of the parameter block of the call at hand
        self.block = 0
        #: why :meth:`serve` last said that the machine is not to go on
        self.ending = Ending()
        #: somebody wants the machine to stop behind the call at hand
        self.stop_wanted = False
        self._status: int | None = None
        self._may_wait = True
        self._folder = None if config.folder is None else Folder(config.folder, self.guest)
        self._files: FileSystem = NoFiles() if self._folder is None else self._folder
        machine.semihosting = self
        machine.cpu.take_semihosting(privileged=True, user=config.user)

    def run_with(self, name: bytes, arguments: Sequence[bytes]) -> None:
        """Let SYS_GET_CMDLINE tell of these ``arguments``; of those first given when there are none.

        The program is ``name``, or what it was first called when that is empty.
        """
        first = self._given_command_line.partition(b" ")[0]
        words = b" ".join((name or first, *arguments))
        self.command_line = words if arguments else self._given_command_line

    def close(self) -> None:
        """Take no more calls; close all files."""
        self._cpu.take_semihosting(privileged=False, user=False)
        self._machine.semihosting = None
        self.reset()
        if self._folder is not None:
            self._folder.close()

    def reset(self) -> None:
        """Close all files that are this program's; forget the others."""
        self.errno = 0
        with self.not_waiting():
            for file in self.handles.drop().values():
                with suppress(CallError, InterruptedCallError, RetryCallError):
                    file.close()

    # -- the machine's side ------------------------------------------------------------------

    def serve(self) -> bool:
        """Execute the call at the pc. False: see :attr:`ending`."""
        self._status, self.stop_wanted = None, False
        try:
            result = self._execute()
        except InterruptedCallError as reason:
            self.ending = Ending(waits=reason.waits, stop=self.stop_wanted)
            return False
        self._cpu.finish_semihosting(result)
        self.ending = Ending(status=self._status, stop=self.stop_wanted)
        return self._status is None and not self.stop_wanted

    def _execute(self) -> int | None:
        read = self._cpu.read_register
        number, parameter = read("r0"), read("r1")
        call = CALLS.get(number)
        try:
            if call is None:
                self._machine.board.log.error("semihosting", f"call 0x{number:x} does not exist")
                raise CallError(Errno.EINVAL)
            words: tuple[int, ...] = (parameter,)
            if call.words is not None:
                self.block = parameter
                words = self.guest.words(parameter, call.words)
            while True:
                with suppress(RetryCallError):
                    return call.handle(self, *words)
        except CallError as error:
            self.errno = error.number
            return -1

    @contextmanager
    def not_waiting(self) -> Iterator[None]:
        """No call is to wait inside: this is not the thread for it."""
        before, self._may_wait = self._may_wait, False
        try:
            yield
        finally:
            self._may_wait = before

    # -- what calls ask for ------------------------------------------------------------------

    def wait_until(self, ready: Callable[[], bool], *, patience: float = 0.0) -> None:
        """Wait; something posted to the machine makes it ready. Raises InterruptedCallError.

        A stop that is requested is obeyed at once, or after ``patience`` seconds.
        """
        if ready():
            return
        self.check_waiting()
        if not self._machine.wait_until(ready, patience=patience):
            raise InterruptedCallError

    def check_waiting(self) -> None:
        """Raises InterruptedCallError where a call may not wait."""
        if not self._may_wait:
            raise InterruptedCallError(waits=True)

    def wake(self) -> None:
        """Let a call that waits look again. From any thread."""
        self._machine.post(_nothing)

    def remote_console(self) -> RemoteHost | None:
        """The front end that has the console now; None: it is this program's."""
        if self._target is Target.NATIVE:
            return None
        remote = self._remote()
        if remote is None and self._target is Target.GDB:
            raise CallError(Errno.EIO)
        return remote

    def file_system(self) -> FileSystem:
        """Who opens files."""
        if self._target is not Target.GDB:
            return self._files
        remote = self._remote()
        if remote is None:
            raise CallError(Errno.EIO)
        return remote

    def exit(self, status: int) -> None:
        """The guest has ended."""
        self._status = status


def _nothing() -> None:
    pass
