"""Agent expressions: from bytes to instructions that are known to be sound, and their evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dbgemu.debug.agent.operations import (
    BY_CODE,
    FLOATING_POINT,
    Action,
    AgentError,
    Context,
    Evaluation,
    Operation,
    show,
)
from dbgemu.debug.agent.printf import Format, parse_format

#: bytes: far more than any expression of GDB's takes
MAX_LENGTH = 8192
#: elements, as in GDB's own server
MAX_STACK = 100
#: instructions of one evaluation: an expression that jumps back may never end
MAX_STEPS = 20_000


@dataclass(frozen=True)
class Instruction:
    """One instruction: where it is in the bytecode, and its operand.

    The operand of a jump is the target's index in :attr:`AgentExpression.instructions`. ``height`` is
    the number of elements on the stack before it, -1 when it is never reached.
    """

    operation: Operation
    place: int
    operand: int = 0
    form: Format | None = None
    height: int = -1

    def __str__(self) -> str:
        return f"{self.operation.name} {self.operand}" if self.operation.operand else self.operation.name


class AgentExpression:
    """A sound expression: it decodes, jumps between its instructions, and keeps within the stack."""

    def __init__(self, data: bytes, instructions: tuple[Instruction, ...]) -> None:
        self.data = data
        self.instructions = instructions
        self._steps: tuple[tuple[Action, int], ...] = tuple(_step(item) for item in instructions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AgentExpression) and other.data == self.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"AgentExpression({self.data.hex()})"

    @property
    def has_effects(self) -> bool:
        """Whether it collects, prints or sets variables, beside computing a value."""
        return any(item.operation.effect for item in self.instructions)

    def evaluate(self, context: Context) -> int:
        """Run it: the element on top of the stack, an unsigned 64-bit integer; 0 when that is empty.

        AgentError when it cannot be computed: memory that is not there, a division by zero, a loop.
        """
        run = Evaluation(context)
        steps, stack = self._steps, run.stack
        left = MAX_STEPS
        here: int | None = 0
        while here is not None:
            left -= 1
            if left < 0:
                raise AgentError(f"the expression has not come to its end after {MAX_STEPS} instructions")
            run.next = here + 1
            action, operand = steps[here]
            action(run, operand)
            here = run.next
        return stack[-1] if stack else 0


def _step(instruction: Instruction) -> tuple[Action, int]:
    if instruction.form is not None:
        return _printing(instruction.form), 0
    return instruction.operation.action, instruction.operand


def _printing(form: Format) -> Action:
    def action(run: Evaluation, _: int) -> None:
        show(run, form)

    return action


def parse(data: bytes) -> AgentExpression:
    """The expression in ``data``; AgentError when it is malformed."""
    if len(data) > MAX_LENGTH:
        raise AgentError(f"an expression of {len(data)} bytes is too long: {MAX_LENGTH} is the limit")
    instructions = _decode(data)
    index = {item.place: number for number, item in enumerate(instructions)}
    for number, item in enumerate(instructions):
        if item.operation.jump:
            target = index.get(item.operand)
            if target is None:
                raise AgentError(
                    f"the {item.operation.name} at byte {item.place} leads to byte {item.operand}, "
                    "where no instruction begins"
                )
            instructions[number] = replace(item, operand=target)
    heights = _heights(instructions)
    return AgentExpression(
        bytes(data),
        tuple(replace(item, height=heights.get(number, -1)) for number, item in enumerate(instructions)),
    )


def _decode(data: bytes) -> list[Instruction]:
    instructions = []
    place = 0
    while place < len(data):
        code = data[place]
        operation = BY_CODE.get(code)
        if operation is None:
            if code in FLOATING_POINT:
                raise AgentError(
                    f"the {FLOATING_POINT[code]} at byte {place} is floating point, which is not supported"
                )
            raise AgentError(f"there is no operation 0x{code:02x}, at byte {place} of the expression")
        end = place + 1 + operation.operand
        if end > len(data):
            raise AgentError(f"the operand of the {operation.name} at byte {place} is cut off")
        operand = int.from_bytes(data[place + 1 : end], "big")
        if operation.name in ("ext", "zero_ext") and operand == 0:
            raise AgentError(f"the {operation.name} at byte {place} extends a value of no bits")
        form = None
        if operation.name == "printf":
            form, end = _format(data, place, end, operand)
        instructions.append(Instruction(operation, place, operand, form))
        place = end
    return instructions


def _format(data: bytes, place: int, start: int, arguments: int) -> tuple[Format, int]:
    """The format string behind a printf: two bytes of length, then the text and a zero."""
    end = start + 2 + int.from_bytes(data[start : start + 2], "big")
    text = data[start + 2 : end]
    if start + 2 > len(data) or end > len(data):
        raise AgentError(f"the format string of the printf at byte {place} is cut off")
    if not text or text.find(0) != len(text) - 1:
        raise AgentError(f"the format string of the printf at byte {place} does not end in its only zero")
    try:
        form = parse_format(text[:-1].decode("utf-8", "replace"))
    except ValueError as error:
        raise AgentError(f"printf at byte {place}: {error}") from None
    if len(form.conversions) != arguments:
        raise AgentError(
            f"the printf at byte {place} is given {arguments} arguments for "
            f"{len(form.conversions)} conversions"
        )
    return form, end


def _heights(instructions: list[Instruction]) -> dict[int, int]:
    """The stack's height before each instruction that can be reached; it must not depend on the way."""
    heights: dict[int, int] = {}
    waiting = [(0, 0)]
    while waiting:
        number, height = waiting.pop()
        if number == len(instructions):
            raise AgentError("the expression has no end")
        item = instructions[number]
        operation = item.operation
        known = heights.get(number)
        if known is not None:
            if known != height:
                raise AgentError(
                    f"the {operation.name} at byte {item.place} is reached with {known} "
                    f"and with {height} elements on the stack"
                )
            continue
        heights[number] = height
        needs, change = _effect(item)
        if height < needs:
            raise AgentError(
                f"the {operation.name} at byte {item.place} needs {needs} elements on a stack of {height}"
            )
        after = height + change
        if after > MAX_STACK:
            raise AgentError(f"the {operation.name} at byte {item.place} overflows the stack of {MAX_STACK}")
        if operation.jump:
            waiting.append((item.operand, after))
        if not operation.final:
            waiting.append((number + 1, after))
    return heights


def _effect(item: Instruction) -> tuple[int, int]:
    """How many elements the instruction needs, and by how many the stack grows."""
    operation = item.operation
    match operation.name:
        case "pick":
            return item.operand + 1, operation.change
        case "printf":
            return operation.needs + item.operand, operation.change - item.operand
    return operation.needs, operation.change
