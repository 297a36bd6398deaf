"""``QCatchSyscalls``: stops at the system calls of Linux programs, and where they return to.

A call is a ``svc`` of a program in user mode. The machine stops in front of the kernel's first
instruction for it, at the vector; at the return in front of the program's next instruction. Calls that
do not return there (exit, execve, a signal) are told of once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.catchpoints import CatchKind, Catchpoint
from dbgemu.debug.events import StopEvent
from dbgemu.target.arm.state import Mode

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import Breakpoint
    from dbgemu.gdbstub.client import Client

#: calls whose return is waited for; the oldest are those that will not return
_MOST_RETURNS = 64

#: GDB turns catching off whenever the machine stands still, and on again behind a step or two: calls
#: that had begun still return then. So many instructions later they may have returned unseen.
_INTERLUDE = 16


@dataclass
class _Return:
    """A call that has begun: its number, where it returns to, and the breakpoint there."""

    number: int
    address: int
    breakpoint: Breakpoint | None = None


class Syscalls:
    """What one client catches."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._session = client.session
        self._point: Catchpoint | None = None
        self._number = 0
        #: by address space and stack pointer, which tell threads apart
        self._returns: dict[tuple[int, int], _Return] = {}
        #: the count of instructions at which catching was turned off
        self._off_since = 0

    def catch(self, numbers: Sequence[int]) -> None:
        """Catch these calls from now on, all when there are none. Where the machine may be changed."""
        self.forget()
        if self._session.cpu.instructions - self._off_since > _INTERLUDE:
            self._returns.clear()
        point = self._session.catchpoints.add(self._client, CatchKind.SYSCALL, numbers=numbers)
        point.condition = self._from_program
        point.action = self._entered
        self._point = point
        for key, call in self._returns.items():
            if not numbers or call.number in numbers:
                self._wait_for(key, call)

    def forget(self) -> None:
        """Catch nothing any more. Where the machine may be changed."""
        if self._point is not None:
            self._session.catchpoints.remove(self._point)
            self._point = None
            self._off_since = self._session.cpu.instructions
        for call in self._returns.values():
            self._stop_waiting(call)

    def drop(self) -> None:
        """Calls that have begun will not return: the board was reset. Where the machine may be changed."""
        for call in self._returns.values():
            self._stop_waiting(call)
        self._returns.clear()

    def reason(self, event: StopEvent) -> str:
        """What a stop reply tells of ``event``: the call and whether it begins or ends; or nothing."""
        if self._point is not None and self._point in event.catchpoints:
            return f"syscall_entry:{self._number:x};"
        for key, call in self._returns.items():
            if call.breakpoint is not None and call.breakpoint in event.breakpoints:
                del self._returns[key]
                return f"syscall_return:{call.number:x};"
        return ""

    def _from_program(self) -> bool:
        return self._session.cpu.read_register("spsr") & 0x1F == Mode.USR

    def _thread(self) -> tuple[int, int]:
        read = self._session.cpu.read_register
        return read("ttbr"), read("r13_usr")

    def _entered(self) -> bool:
        key = self._thread()
        self._number = self._session.catchpoints.system_call()
        if key in self._returns:
            self._stop_waiting(self._returns.pop(key))
        self._returns[key] = call = _Return(self._number, self._session.cpu.read_register("lr"))
        self._wait_for(key, call)
        if len(self._returns) > _MOST_RETURNS:
            self._stop_waiting(self._returns.pop(next(iter(self._returns))))
        return True

    def _wait_for(self, key: tuple[int, int], call: _Return) -> None:
        read, add = self._session.cpu.read_register, self._session.breakpoints.add
        call.breakpoint = add(self._client, call.address, hardware=True, temporary=True)
        call.breakpoint.condition = lambda: self._thread() == key and read("cpsr") & 0x1F == Mode.USR

    def _stop_waiting(self, call: _Return) -> None:
        if call.breakpoint is not None:
            self._session.breakpoints.remove(call.breakpoint)
            call.breakpoint = None


def catch_syscalls(client: Client, numbers: tuple[int, ...] | None) -> bytes:
    """``QCatchSyscalls``: None for none, no numbers for all."""
    syscalls = client.syscalls
    client.session.call(syscalls.forget if numbers is None else lambda: syscalls.catch(numbers))
    return b"OK"
