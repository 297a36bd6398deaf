"""Agent expressions for tests: an assembler, a context that keeps what it is told, random programs."""

from __future__ import annotations

from random import Random

from dbgemu.debug.agent import AgentError
from dbgemu.debug.agent.operations import OPERATIONS

BY_NAME = {operation.name: operation for operation in OPERATIONS}


def assemble(source: str) -> bytes:
    """Bytecode of ``op; op operand; label: op; goto label``."""
    parts: list[tuple[str, str]] = []
    places: dict[str, int] = {}
    place = 0
    for line in filter(None, (part.strip() for part in source.replace("\n", ";").split(";"))):
        while ":" in line:
            label, _, line = line.partition(":")
            places[label.strip()] = place
            line = line.strip()
        name, _, operand = line.partition(" ")
        parts.append((name, operand))
        place += 1 + BY_NAME[name].operand
    code = b""
    for name, operand in parts:
        operation = BY_NAME[name]
        value = places[operand] if operand in places else int(operand or "0", 0)
        code += bytes([operation.code]) + value.to_bytes(operation.operand, "big")
    return code


def printf(form: str, *arguments: int) -> bytes:
    """Bytecode that prints ``arguments`` with the format ``form``."""
    code = b"".join(b"\x25" + value.to_bytes(8, "big") for value in (*reversed(arguments), 0, 0))
    text = form.encode() + b"\0"
    return code + bytes([0x34, len(arguments)]) + len(text).to_bytes(2, "big") + text + b"\x27"


class Recorder:
    """A context with memory at 0x1000, registers that are ten times their number, and a diary."""

    def __init__(self, memory: bytes = bytes(range(256))) -> None:
        self.data = memory
        self.variables = {1: 11}
        self.diary: list[tuple[object, ...]] = []
        self.printed = ""

    def register(self, number: int) -> int:
        if number > 25:
            raise AgentError(f"there is no register number {number}")
        return 10 * number

    def memory(self, address: int, length: int) -> bytes:
        place = address - 0x1000
        if place < 0 or place + length > len(self.data):
            raise AgentError(f"nothing at 0x{address:x}")
        return self.data[place : place + length]

    def variable(self, number: int) -> int:
        return self.variables.get(number, 0)

    def set_variable(self, number: int, value: int) -> None:
        self.variables[number] = value

    def collect_memory(self, address: int, length: int) -> None:
        self.diary.append(("memory", address, length))

    def collect_register(self, number: int) -> None:
        self.diary.append(("register", number))

    def collect_variable(self, number: int) -> None:
        self.diary.append(("variable", number))

    def printf(self, text: str) -> None:
        self.printed += text


_PURE = [
    item for item in OPERATIONS if not item.effect and not item.jump and item.name not in ("end", "getv")
]
_EDGES = (0, 1, 2, 63, 64, 65, 0x7F, 0x80, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1)


def random_program(random: Random, addresses: range, registers: int = 16) -> bytes:
    """A program without effects and loops that keeps within the stack, and ends with a result.

    References often go to ``addresses``, and jumps lead forward to where the stack is as high.
    """
    lines: list[tuple[str, int]] = []
    heights = [0]

    def put(name: str, operand: int = 0) -> None:
        lines.append((name, operand))
        operation = BY_NAME[name]
        heights.append(heights[-1] + operation.change)

    for _ in range(random.randrange(1, 40)):
        operation = random.choice(_PURE)
        while heights[-1] < operation.needs:
            put("const64", _number(random))
        match operation.name:
            case "pick":
                put("pick", random.randrange(heights[-1]))
            case "ext" | "zero_ext":
                put(operation.name, random.randrange(1, 70))
            case "reg":
                put("reg", random.randrange(registers))
            case "ref8" | "ref16" | "ref32" | "ref64":
                if random.random() < 0.9:
                    put("pop")
                    put("const32", random.choice(addresses))
                put(operation.name)
            case _:
                put(operation.name, _number(random) & (1 << 8 * operation.operand) - 1)
    if not heights[-1]:
        put("const8", 1)
    put("end")
    return _with_jumps(random, lines, heights)


def _with_jumps(random: Random, lines: list[tuple[str, int]], heights: list[int]) -> bytes:
    """Put ``dup; if_goto`` in front of some instructions, to later ones at the same height."""
    jumps: dict[int, int] = {}
    for source in range(len(lines)):
        targets = [later for later in range(source, len(lines)) if heights[later] == heights[source]]
        if heights[source] and random.random() < 0.1:
            jumps[source] = random.choice(targets)
    source_text = ""
    for number, (name, operand) in enumerate(lines):
        if number in jumps:
            source_text += f"dup; if_goto at{jumps[number]};"
        source_text += f"at{number}: {name} {operand};"
    return assemble(source_text)


def _number(random: Random) -> int:
    return random.choice(_EDGES) if random.random() < 0.5 else random.getrandbits(random.randrange(1, 65))
