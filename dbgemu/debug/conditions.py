"""Conditions and commands of breakpoints that are agent expressions, and when they become native code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from dbgemu.debug.agent import AgentError, AgentExpression, Context
from dbgemu.debug.memory import MEMORY_ERRORS

if TYPE_CHECKING:
    from dbgemu.debug.breakpoints import Breakpoint
    from dbgemu.debug.tracepoints.definitions import Variable
    from dbgemu.engine.condition_table import NativeCondition
    from dbgemu.engine.cpu import Cpu

#: a condition that was false so often at an address is worth some ms of compiling
_TRIALS = 3
#: different conditions compiled for one CPU; the code of each stays
_MOST_COMPILED = 1000


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


class Conditional(Protocol):
    """What counts only when its condition, if there is one, is true."""

    @property
    def condition(self) -> Callable[[], bool] | None:
        """See there."""


class NativeFilter:
    """Lets a CPU pass by breakpoints while their conditions are false, without Python.

    A condition is compiled when it was false a few times: most breakpoints are set and taken away
    without ever being reached.
    """

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._compiled: dict[object, NativeCondition | None] = {}
        self._trials: dict[int, int] = {}
        self._installed: set[int] = set()

    def changed(self, address: int) -> None:
        """What stands at ``address`` is about to be another: stop there again, whatever the conditions."""
        self._trials.pop(address, None)
        if address in self._installed:
            self._installed.remove(address)
            self._cpu.conditions.remove(address)

    def passed(self, address: int, breakpoints: Sequence[Conditional]) -> None:
        """None of the ``breakpoints``, which are all that stand at ``address``, was a reason to stop."""
        conditions = [item.condition for item in breakpoints]
        agents = [item for item in conditions if isinstance(item, AgentCondition)]
        if not agents or len(agents) < len(conditions) or address in self._installed:
            return
        trials = self._trials[address] = self._trials.get(address, 0) + 1
        if trials != _TRIALS:
            return
        native = self._native(agents)
        if native is not None:
            self._installed.add(address)
            self._cpu.conditions.set(address, native)

    def _native(self, conditions: Sequence[AgentCondition]) -> NativeCondition | None:
        """The compiled disjunction; None where Python has to evaluate it."""
        names = conditions[0].context.names
        if any(item.context.names != names for item in conditions):
            return None
        expressions = [expression for item in conditions for expression in item.expressions]
        key = (frozenset(names.items()), *expressions)
        if key not in self._compiled and len(self._compiled) < _MOST_COMPILED:
            self._compiled[key] = self._compile(expressions, names)
        return self._compiled.get(key)

    def _compile(
        self, expressions: Sequence[AgentExpression], names: Mapping[int, str]
    ) -> NativeCondition | None:
        # only now: a start without such breakpoints needs no emitter
        from dbgemu.debug.agent.native import emitter
        from dbgemu.engine.conditions import UntranslatableError, compile_condition

        try:
            return compile_condition(self._cpu.conditions, emitter(expressions, names))
        except UntranslatableError:
            return None
