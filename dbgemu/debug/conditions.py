"""Conditions and commands of breakpoints that are agent expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dbgemu.debug.agent import AgentError, AgentExpression, Context
from dbgemu.debug.memory import MEMORY_ERRORS

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import Breakpoint
    from dbgemu.debug.tracepoints.definitions import Variable
    from dbgemu.engine.cpu import Cpu


class MachineContext:
    """The machine as it stands, for expressions of breakpoints: nothing is collected.

    ``names`` are the registers by number, ``variables`` the trace state variables, ``show`` takes what
    printf prints.
    """

    def __init__(
        self,
        cpu: Cpu,
        names: Mapping[int, str],
        variables: dict[int, Variable],
        show: Callable[[str], None],
    ) -> None:
        self.cpu = cpu
        self.names = names
        self._variables = variables
        self._show = show

    def register(self, number: int) -> int:
        """See :class:`Context`, also for the following."""
        name = self.names.get(number)
        if name is None:
            raise AgentError(f"there is no register number {number}")
        try:
            return self.cpu.read_register(name)
        except KeyError:
            raise AgentError(f"register {name} is not one of the CPU's") from None

    def memory(self, address: int, length: int) -> bytes:
        """Peeks, where there is a device."""
        try:
            return self.cpu.read_memory(address, length)
        except MEMORY_ERRORS as error:
            raise AgentError(str(error)) from None

    def variable(self, number: int) -> int:
        """0 for one that nobody has defined."""
        variable = self._variables.get(number)
        return 0 if variable is None else variable.get()

    def set_variable(self, number: int, value: int) -> None:
        """Nothing happens for one that nobody has defined."""
        variable = self._variables.get(number)
        if variable is not None:
            variable.value = value

    def collect_memory(self, address: int, length: int) -> None:
        """There is no trace frame."""

    def collect_register(self, number: int) -> None:
        """There is no trace frame."""

    def collect_variable(self, number: int) -> None:
        """There is no trace frame."""

    def printf(self, text: str) -> None:
        """Show ``text``."""
        self._show(text)


class AgentCondition:
    """True when one of ``expressions`` is not 0, and when that cannot be told: somebody has to look."""

    def __init__(self, expressions: Sequence[AgentExpression], context: MachineContext) -> None:
        self.expressions = tuple(expressions)
        self.context = context

    def __call__(self) -> bool:
        """Evaluate them, in their order, up to the first that is not 0."""
        try:
            return any(expression.evaluate(self.context) for expression in self.expressions)
        except AgentError:
            return True


class AgentCommands:
    """An action: evaluates ``expressions`` for what they do. False, so that the machine runs on.

    When one fails, :attr:`problem` says why, and the machine stops.
    """

    def __init__(self, expressions: Sequence[AgentExpression], context: Context) -> None:
        self._expressions = tuple(expressions)
        self._context = context
        self.problem = ""

    def __call__(self) -> bool:
        """Evaluate them all, in their order."""
        self.problem = ""
        try:
            for expression in self._expressions:
                expression.evaluate(self._context)
        except AgentError as error:
            self.problem = f"a breakpoint's command failed: {error}"
        return bool(self.problem)


def problems(found: Iterable[Breakpoint]) -> str:
    """What went wrong with the commands of the breakpoints that stop the machine now."""
    actions = [item.action for item in found]
    return "; ".join(item.problem for item in actions if isinstance(item, AgentCommands) and item.problem)
