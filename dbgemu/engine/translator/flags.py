"""The flags of a region: what they follow from is kept, and each is made where somebody reads it.

Most flags are never read: the next comparison replaces them. But every way out of a loop needs those of
the last one, so to make them at once would cost at each turn. Instead the operands of the last addition or
subtraction are local values of the region, and others say what N and Z, C, and V follow from. In the
machine code the latter are constants nearly everywhere, since LLVM follows them from block to block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dbgemu.engine.ir import IrBuilder
from dbgemu.target.arm.core import DIFFERENCE_FLAGS, SUM_FLAGS
from dbgemu.target.arm.value import Value

#: what flags follow from: themselves, the operands, or (N and Z only) the last result
_PLAIN, _OPERANDS, _RESULT = range(3)
#: what was done with the operands
_DIFFERENCE, _SUM = range(2)
#: where flags come from: the local variable that says it
_SOURCE = {"n": "from_nz", "z": "from_nz", "c": "from_c", "v": "from_v"}
_SOURCES = ("from_nz", "from_c", "from_v")
#: conditions that a difference decides by one comparison of its operands, for the even code of each pair
_BY_COMPARISON = {0: "eq", 2: "uge", 8: "ugt", 10: "sge", 12: "sgt"}


@dataclass
class Knowledge:
    """What is known of the flags at one place."""

    #: by variable: its value, where it is the same on all ways here
    variables: dict[str, int] = field(default_factory=dict)
    operands: tuple[Value, Value] | None = None
    values: dict[str, Value] = field(default_factory=dict)

    def copy(self) -> Knowledge:
        """What is known now."""
        return replace(self, variables=dict(self.variables), values=dict(self.values))

    def common(self, other: Knowledge) -> Knowledge:
        """What is known where the ways of both meet; values are those that both have."""
        return Knowledge(
            {name: x for name, x in self.variables.items() if other.variables.get(name) == x},
            self.operands if other.operands is self.operands else None,
            {name: value for name, value in self.values.items() if other.values.get(name) is value},
        )


class Flags:
    """The flags in the function that ``core`` builds; ``used`` gets the names of those that are read."""

    def __init__(self, core: IrBuilder, used: set[str]) -> None:
        self._core = core
        self._used = used
        self.known = Knowledge()
        #: whether there is anything to store at exits
        self.written = False
        self._exits: dict[tuple[int | None, ...], str] = {}

    @staticmethod
    def at_entry() -> Knowledge:
        """What is known where the region is entered: the state has the flags themselves."""
        return Knowledge(dict.fromkeys(_SOURCES, _PLAIN))

    def _set(self, name: str, x: int) -> None:
        self.known.variables[name] = x
        self._core.line(f"store i32 {x}, ptr %{name}")

    def _load(self, name: str) -> Value:
        x = self.known.variables.get(name)
        return Value(self._core, x) if x is not None else self._core.op(f"load i32, ptr %{name}", 32)

    # -- writing -----------------------------------------------------------------------------

    def set(self, flag: str, value: Value) -> None:
        """One of n, z, c, v, as the state has them."""
        if flag in "nz" and self.known.variables.get("from_nz") != _PLAIN:
            other = "z" if flag == "n" else "n"
            self._store(other, self.get(other))
        self._store(flag, value)
        self._set(_SOURCE[flag], _PLAIN)

    def _store(self, flag: str, value: Value) -> None:
        self.written = True
        self._core.line(f"store i32 {value}, ptr %f{flag}")
        self.known.values[flag] = value

    def set_nz(self, result: Value) -> None:
        """N and Z by a result."""
        self.written = True
        self._core.line(f"store i32 {result}, ptr %result")
        self._set("from_nz", _RESULT)
        self.known.values |= {"n": result, "z": result}

    def set_difference(self, a: Value, b: Value, result: Value) -> None:
        """All flags by ``a - b``."""
        self._set_operands(_DIFFERENCE, a, b, result)

    def set_sum(self, a: Value, b: Value, result: Value) -> None:
        """All flags by ``a + b``."""
        self._set_operands(_SUM, a, b, result)

    def _set_operands(self, operation: int, a: Value, b: Value, result: Value) -> None:
        self.written = True
        self._core.line(f"store i32 {a}, ptr %a")
        self._core.line(f"store i32 {b}, ptr %b")
        self._set("operation", operation)
        for source in _SOURCES:
            self._set(source, _OPERANDS)
        self.known.operands = a, b
        self.known.values = {"n": result, "z": result}

    # -- reading -----------------------------------------------------------------------------

    def get(self, flag: str) -> Value:
        """One of n, z, c, v, as the state has them."""
        value = self.known.values.get(flag)
        if value is None:
            source = self._load(_SOURCE[flag])
            choices = [lambda: self._plain(flag), lambda: self._of_operands(flag)]
            if flag in "nz":
                choices.append(lambda: self._core.op("load i32, ptr %result", 32))
            value = self.known.values[flag] = _choose(source, choices)
        return value

    def _plain(self, flag: str) -> Value:
        self._used.add(f"f{flag}")
        return self._core.op(f"load i32, ptr %f{flag}", 32)

    def _of_operands(self, flag: str) -> Value:
        a, b = self.known.operands or (self._core.op(f"load i32, ptr %{name}", 32) for name in "ab")
        return _choose(
            self._load("operation"),
            [lambda: DIFFERENCE_FLAGS[flag](a, b, a - b), lambda: SUM_FLAGS[flag](a, b, a + b)],
        )

    def compared(self, code: int) -> Value | None:
        """Whether condition ``code`` holds (width 1), if one comparison of what was subtracted tells it."""
        known, predicate = self.known, _BY_COMPARISON.get(code & ~1)
        if predicate is None or known.operands is None or known.variables.get("operation") != _DIFFERENCE:
            return None
        if any(known.variables.get(source) != _OPERANDS for source in _SOURCES):
            return None
        a, b = known.operands
        holds = self._core.op(f"icmp {predicate} i32 {a}, {b}", 1)
        return ~holds if code & 1 else holds

    # -- the function's ends -----------------------------------------------------------------

    def exit_label(self) -> str:
        """Where to branch to leave the region from here."""
        form = tuple(self.known.variables.get(name) for name in (*_SOURCES, "operation"))
        if form[:3] == 3 * (_PLAIN,):
            return "exit"
        return self._exits.setdefault(form, self._core.name("X"))

    def emit_exits(self) -> None:
        """From each way out: make all flags plain, and go on at ``exit``."""
        core = self._core
        for form, label in self._exits.items():
            core.ended = True
            core.label(label)
            if self.written:
                known = zip((*_SOURCES, "operation"), form, strict=True)
                self.known = Knowledge({name: x for name, x in known if x is not None})
                for flag in "nzcv":
                    if self.known.variables.get(_SOURCE[flag]) != _PLAIN:
                        core.line(f"store i32 {self.get(flag)}, ptr %f{flag}")
            core.end("br label %exit")

    def emit_entry(self) -> None:
        """The local variables, but for the flags themselves: those are plain at first."""
        core = self._core
        self.known = self.at_entry()
        core.allocas += [f"  %{name} = alloca i32" for name in ("a", "b", "result", "operation", *_SOURCES)]
        for source in _SOURCES:
            core.line(f"store i32 {_PLAIN}, ptr %{source}")


def _choose(which: Value, choices: Sequence[Callable[[], Value]]) -> Value:
    if which.constant is not None:
        return choices[which.constant]()
    value = choices[0]()
    for number, choice in enumerate(choices[1:], 1):
        value = which.eq(number).select(choice(), value)
    return value
