"""Conditions that are typed here as GDB's agent expressions: so they run natively, as GDB's do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.debug.agent import parse
from dbgemu.debug.agent.operations import OPERATIONS
from dbgemu.debug.conditions import AgentCondition, MachineContext
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.expressions import Binary, CpuRegister, Expression, Memory, Node, Number, Unary

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession

_CODES = {operation.name: operation.code for operation in OPERATIONS}
_REFERENCES = {1: "ref8", 2: "ref16", 4: "ref32"}
#: operators as operations in order; the second of the pair says that the result may need more than 32 bits
_OPERATORS = {
    "+": (("add",), True),
    "-": (("sub",), True),
    "*": (("mul",), True),
    "/": (("div_unsigned",), False),
    "%": (("rem_unsigned",), False),
    "<<": (("lsh",), True),
    ">>": (("rsh_unsigned",), False),
    "&": (("bit_and",), False),
    "|": (("bit_or",), False),
    "^": (("bit_xor",), False),
    "==": (("equal",), False),
    "!=": (("equal", "log_not"), False),
    "<": (("less_unsigned",), False),
    ">": (("swap", "less_unsigned"), False),
    ">=": (("less_unsigned", "log_not"), False),
    "<=": (("swap", "less_unsigned", "log_not"), False),
}


class _NotExpressibleError(Exception):
    """Agent expressions have no word for it: a device's register, peeked at its physical address."""


class _Assembler:
    """Emits the bytecode of one expression; values are kept within 32 bits of the stack's 64."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self.code = bytearray()
        self._numbers = numbers

    def emit(self, node: Node) -> None:
        match node:
            case Number(number=number):
                self._constant(number)
            case CpuRegister(name=name):
                self._operation("reg", self._numbers[name].to_bytes(2, "big"))
            case Memory(address=address, size=size):
                self.emit(address)
                self._operation(_REFERENCES[size])
            case Unary(operator="!", operand=operand):
                self.emit(operand)
                self._operation("log_not")
            case Unary(operator="~", operand=operand):
                self.emit(operand)
                self._operation("bit_not")
                self._cut()
            case Unary(operand=operand):
                self._constant(0)
                self.emit(operand)
                self._operation("sub")
                self._cut()
            case Binary(operator="&&" | "||" as operator, left=left, right=right):
                self._either(operator, left, right)
            case Binary(operator=operator, left=left, right=right):
                self.emit(left)
                self.emit(right)
                operations, wide = _OPERATORS[operator]
                for name in operations:
                    self._operation(name)
                if wide:
                    self._cut()
            case _:
                raise _NotExpressibleError

    def _operation(self, name: str, operand: bytes = b"") -> None:
        self.code.append(_CODES[name])
        self.code += operand

    def _cut(self) -> None:
        self._operation("zero_ext", b"\x20")

    def _constant(self, number: int) -> None:
        size = 1 if number < 1 << 8 else 2 if number < 1 << 16 else 4
        self._operation(f"const{8 * size}", number.to_bytes(size, "big"))

    def _jump(self, name: str) -> int:
        """A jump whose target is not known yet; where that is to be written."""
        self._operation(name, bytes(2))
        return len(self.code) - 2

    def _land(self, jump: int) -> None:
        self.code[jump : jump + 2] = len(self.code).to_bytes(2, "big")

    def _either(self, operator: str, left: Node, right: Node) -> None:
        self.emit(left)
        if operator == "&&":
            self._operation("log_not")
        decided = self._jump("if_goto")
        self.emit(right)
        self._operation("log_not")
        self._operation("log_not")
        end = self._jump("goto")
        self._land(decided)
        self._constant(int(operator == "||"))
        self._land(end)


def register_numbers(session: DebugSession) -> dict[str, int]:
    """The numbers by which the monitor's agent expressions call the CPU's registers."""
    names = [f"r{number}" for number in range(16)] + ["sp", "lr", "pc", "cpsr", "spsr"]
    for mode in ("usr", "fiq", "irq", "svc", "abt", "und"):
        first = 8 if mode in ("usr", "fiq") else 13
        names += [f"r{number}_{mode}" for number in range(first, 15)]
        names += [] if mode == "usr" else [f"spsr_{mode}"]
    return {name: number for number, name in enumerate((*names, *session.cpu.cp15_registers))}


def agent_code(session: DebugSession, expression: Expression) -> bytes | None:
    """``expression`` as bytecode, or None where it cannot be said in that."""
    assembler = _Assembler(register_numbers(session))
    try:
        assembler.emit(expression.node)
    except (_NotExpressibleError, KeyError):
        return None
    return bytes(assembler.code) + bytes((_CODES["end"],))


class AgentTextCondition(AgentCondition):
    """A condition that was typed; ``str()`` is its text."""

    def __init__(self, session: DebugSession, expression: Expression, code: bytes) -> None:
        names = {number: name for name, number in register_numbers(session).items()}
        context = MachineContext(session.cpu, names, session.trace.variables, lambda text: None)
        super().__init__((parse(code),), context)
        self.text = str(expression)

    def __str__(self) -> str:
        return self.text


class PythonCondition:
    """A condition that only Python can evaluate. True where that fails: somebody has to look."""

    def __init__(self, session: DebugSession, expression: Expression) -> None:
        self._session = session
        self._expression = expression

    def __call__(self) -> bool:
        """Evaluate it."""
        try:
            return bool(self._expression.value(self._session))
        except CommandError:
            return True

    def __str__(self) -> str:
        return str(self._expression)


def condition(session: DebugSession, expression: Expression) -> AgentTextCondition | PythonCondition:
    """``expression`` as the condition of a point."""
    code = agent_code(session, expression)
    if code is None:
        return PythonCondition(session, expression)
    return AgentTextCondition(session, expression, code)
