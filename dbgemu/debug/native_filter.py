"""When conditions of breakpoints become native code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dbgemu.debug.agent import AgentExpression
    from dbgemu.debug.conditions import AgentCondition
    from dbgemu.engine.condition_table import NativeCondition
    from dbgemu.engine.cpu import Cpu

#: a condition that was false so often at an address is worth some ms of compiling
_TRIALS = 3
#: different conditions compiled for one CPU; the code of each stays
_MOST_COMPILED = 1000


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
        if None in conditions or address in self._installed:
            return
        from dbgemu.debug.conditions import AgentCondition  # only now: few sessions have conditions

        agents = [item for item in conditions if isinstance(item, AgentCondition)]
        if not agents or len(agents) < len(conditions):
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
