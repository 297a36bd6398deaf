"""Expressions of the monitor, in Python and as the agent expressions that conditions become."""

from collections.abc import Iterator

import pytest
from debugged_program import DATA, START
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monitored_program import Monitored, monitored_program

from dbgemu.debug.agent import parse as parse_agent
from dbgemu.debug.conditions import MachineContext
from dbgemu.monitor import expressions
from dbgemu.monitor.agent_code import agent_code, register_numbers
from dbgemu.monitor.command import CommandError


@pytest.fixture(scope="module")
def program() -> Iterator[Monitored]:
    with monitored_program("nop; nop") as program:
        session = program.debugged.session
        session.write_registers({"r0": 5, "r1": 0xFFFFFFFF, "r2": DATA})
        session.memory.write(DATA, bytes.fromhex("78563412f0debc9a"))
        program("set wdt.WTCON.PRESCALER = 0x80")
        yield program


def value(program: Monitored, text: str) -> int:
    return expressions.evaluate(program.debugged.session, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", 42),
        ("0x2A", 42),
        ("0b101", 5),
        ("0o17", 15),
        ("010", 10),
        ("4k", 4096),
        ("1M", 1 << 20),
        ("'A'", 65),
        ("$r0", 5),
        ("$R0 + 1", 6),
        ("r0", 5),
        ("$pc", START),
        ("$r13_irq - $r13_irq", 0),
        ("$midr", 0x41129200),
        ("*$r2", 0x12345678),
        ("[$r2 + 4]", 0x9ABCDEF0),
        ("{byte}$r2", 0x78),
        ("{half}($r2 + 1)", 0x3456),
        ("&*$r2", DATA),
        ("-1", 0xFFFFFFFF),
        ("~0", 0xFFFFFFFF),
        ("!0 + !7", 1),
        ("1 - 2", 0xFFFFFFFF),
        ("-1 == 0xffffffff", 1),
        ("$r1 > 0", 1),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("1 << 31 << 1", 0),
        ("1 << 64", 0),
        ("-8 >> 1", 0x7FFFFFFC),
        ("7 / 2 + 7 % 2", 4),
        ("1 | 2 ^ 3 & 1", 3),
        ("1 && 2", 1),
        ("0 || 3", 1),
        ("0 && *0xfffffff0", 0),
        ("2 > 1 == 1", 1),
        ("wdt.WTCNT", 0x8000),
        ("wdt.wtcon.prescaler", 0x80),
        ("&nand.NFCMMD", 0x4E000008),
    ],
)
def test_values_are_numbers_of_32_bits(program: Monitored, text: str, expected: int) -> None:
    assert value(program, text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "an expression is expected, not nothing"),
        ("1 +", "'1 +' is cut off: a value is missing at its end"),
        ("(1", "a ')' is missing in '(1'"),
        ("1 2", "'2' is not expected where it is in '1 2'"),
        ("1 / 0", "the expression divides by zero"),
        ("$nosuch", "the CPU has no register '$nosuch'"),
        ("nosuch", "'nosuch' is no register or number (and no symbols are loaded)"),
        ("foo.BAR", "'foo.BAR': there is no symbol and no device 'foo'"),
        ("nand.BAR", "device nand has no register 'BAR'"),
        ("wdt.WTCNT.X", "register wdt.WTCNT has no field 'X': it has COUNT"),
        ("0x100000000", "0x100000000 does not fit in 32 bits"),
        ("{long}4", "'{long}' is no size: {byte}, {half}, {word} are"),
        ("*0x60000000", "nothing answers at physical address 0x60000000"),
        ("1 # 2", "'# 2' in '1 # 2' is no expression"),
        ("&5", "'&' takes the address of a device's register or of memory, in '&5'"),
    ],
)
def test_what_is_wrong_is_named(program: Monitored, text: str, sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        value(program, text)
    assert str(caught.value) == sentence


_LEAVES = st.sampled_from(
    ["0", "1", "7", "0x80000000", "0xffffffff", "33", "$r0", "$r1", "*$r2", "{byte}$r2"]
)
_EXPRESSIONS = st.recursive(
    _LEAVES,
    lambda inner: (
        st.tuples(st.sampled_from("-~!"), inner).map(lambda item: f"{item[0]}({item[1]})")
        | st.tuples(
            inner, st.sampled_from(["+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^", "<", "<=", ">",
                                    ">=", "==", "!=", "&&", "||"]), inner
        ).map(lambda item: f"({item[0]}) {item[1]} ({item[2]})")
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_EXPRESSIONS)
def test_agent_expressions_compute_what_python_does(program: Monitored, text: str) -> None:
    session = program.debugged.session
    expression = expressions.parse(session, text)
    code = agent_code(session, expression)
    assert code is not None
    names = {number: name for name, number in register_numbers(session).items()}
    context = MachineContext(session.cpu, names, {}, lambda text: None)
    try:
        expected: int | None = expression.evaluate(session)
    except CommandError:
        expected = None
    try:
        found: int | None = parse_agent(code).evaluate(context)
    except ValueError:
        found = None
    assert found == expected


def test_what_a_device_holds_is_no_agent_expression(program: Monitored) -> None:
    session = program.debugged.session
    assert agent_code(session, expressions.parse(session, "wdt.WTCNT > 1")) is None


def test_a_register_narrower_than_a_byte_is_read_whole(program: Monitored) -> None:
    program.debugged.session.machine.board.dma.write(0x04, 4, 3)
    assert value(program, "dma.DISRCC0") == 3
