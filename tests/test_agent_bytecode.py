"""Agent expressions: each operation of the GDB manual, what is refused, and what cannot be evaluated."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbgemu.debug.agent import AgentError, parse
from dbgemu.debug.agent.bytecode import MAX_LENGTH, MAX_STACK, MAX_STEPS
from dbgemu.debug.agent.operations import OPERATIONS
from dbgemu.debug.agent.printf import parse_format
from tests.agent_programs import Recorder, assemble, printf, random_program

MINUS = 1 << 64


def value_of(source: str) -> int:
    return parse(assemble(source)).evaluate(Recorder())


# Expected values follow the descriptions in the GDB manual, "Bytecode Descriptions"
@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("const8 3; const8 4; add", 7),
        ("const64 0xffffffffffffffff; const8 2; add", 1),
        ("const8 3; const8 4; sub", MINUS - 1),
        ("const8 5; const8 7; mul", 35),
        ("const64 0xfffffffffffffff9; const8 2; div_signed", MINUS - 3),
        ("const64 0xfffffffffffffff9; const8 2; div_unsigned", 0x7FFFFFFFFFFFFFFC),
        ("const64 0xfffffffffffffff9; const8 2; rem_signed", MINUS - 1),
        ("const64 0xfffffffffffffff9; const8 2; rem_unsigned", 1),
        ("const64 0x8000000000000000; const64 0xffffffffffffffff; div_signed", 1 << 63),
        ("const64 0x8000000000000000; const64 0xffffffffffffffff; rem_signed", 0),
        ("const8 1; const8 4; lsh", 16),
        ("const8 1; const8 64; lsh", 0),
        ("const64 0x8000000000000000; const8 62; rsh_signed", MINUS - 2),
        ("const64 0x8000000000000000; const8 200; rsh_signed", MINUS - 1),
        ("const64 0x8000000000000000; const8 62; rsh_unsigned", 2),
        ("const64 0x8000000000000000; const8 64; rsh_unsigned", 0),
        ("const8 0; log_not", 1),
        ("const8 9; log_not", 0),
        ("const8 12; const8 10; bit_and", 8),
        ("const8 12; const8 10; bit_or", 14),
        ("const8 12; const8 10; bit_xor", 6),
        ("const8 0; bit_not", MINUS - 1),
        ("const8 5; const8 5; equal", 1),
        ("const8 5; const8 6; equal", 0),
        ("const8 0; bit_not; const8 1; less_signed", 1),
        ("const8 1; const8 1; less_signed", 0),
        ("const8 0; bit_not; const8 1; less_unsigned", 0),
        ("const8 1; const8 2; less_unsigned", 1),
        ("const8 0xf0; ext 8", MINUS - 16),
        ("const16 0x1f0; ext 4", 0),
        ("const8 0x70; ext 8", 0x70),
        ("const64 0xf123456789abcdef; ext 64", 0xF123456789ABCDEF),
        ("const64 0xf123456789abcdef; zero_ext 12", 0xDEF),
        ("const64 0xf123456789abcdef; zero_ext 64", 0xF123456789ABCDEF),
        ("const16 0x1080; ref8", 0x80),
        ("const16 0x1080; ref16", 0x8180),
        ("const16 0x1081; ref32", 0x84838281),
        ("const16 0x1080; ref64", 0x8786858483828180),
        ("const64 0xabcdef0000001010; ref8", 0x10),
        ("const8 1; if_goto yes; const8 7; end; yes: const8 8", 8),
        ("const8 0; if_goto yes; const8 7; end; yes: const8 8", 7),
        ("const8 1; goto on; on: const8 2; add", 3),
        ("const8 0x12", 0x12),
        ("const16 0x1234", 0x1234),
        ("const32 0x12345678", 0x12345678),
        ("const64 0x123456789abcdef0", 0x123456789ABCDEF0),
        ("reg 13", 130),
        ("const8 6; dup; mul", 36),
        ("const8 6; const8 7; pop", 6),
        ("const8 6; const8 7; swap; sub", 1),
        ("const8 6; const8 7; const8 8; pick 0", 8),
        ("const8 6; const8 7; const8 8; pick 2", 6),
        ("const8 1; const8 2; const8 3; rot", 2),
        ("const8 1; const8 2; const8 3; rot; pop", 1),
        ("const8 1; const8 2; const8 3; rot; pop; pop", 3),
        ("getv 1", 11),
        ("getv 2", 0),
        ("const8 5; setv 3; getv 3; add", 10),
        ("", 0),
    ],
)
def test_an_operation_leaves_this_on_top(source: str, value: int) -> None:
    assert value_of(f"{source}; end") == value


def test_every_operation_of_the_table_has_its_own_code_and_name() -> None:
    assert (
        len({item.code for item in OPERATIONS}) == len({item.name for item in OPERATIONS}) == len(OPERATIONS)
    )
    assert {item.code for item in OPERATIONS} == {*range(0x02, 0x1B), *range(0x20, 0x31), 0x32, 0x33, 0x34}


@pytest.mark.parametrize(
    ("source", "diary"),
    [
        ("const16 0x1000; const8 8; trace", [("memory", 0x1000, 8)]),
        ("const16 0x1000; trace_quick 8; ref8; pop", [("memory", 0x1000, 8)]),
        ("const16 0x1000; trace16 300; pop", [("memory", 0x1000, 300)]),
        ("tracev 7", [("variable", 7)]),
        ("const16 0x1000; const8 50; tracenz", [("memory", 0x1000, 6)]),
        ("const16 0x1000; const8 3; tracenz", [("memory", 0x1000, 3)]),
    ],
)
def test_tracing_operations_record(source: str, diary: list[tuple[object, ...]]) -> None:
    expression = parse(assemble(f"{source}; end"))
    context = Recorder(b"12345\0" + bytes(400))
    assert expression.evaluate(context) == 0
    assert context.diary == diary
    assert expression.has_effects


def test_setv_is_given_a_signed_value_and_leaves_it_on_the_stack() -> None:
    context = Recorder()
    assert parse(assemble("const8 0; bit_not; setv 4; end")).evaluate(context) == MINUS - 1
    assert context.variables[4] == -1


# -- printf ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "arguments", "text"),
    [
        (r"plain\n", (), "plain\n"),
        ("%d %u", (MINUS - 1, MINUS - 1), "-1 4294967295"),
        ("%lld %llu", (MINUS - 1, MINUS - 1), "-1 18446744073709551615"),
        ("%hd %hhu %lx", (0x18000, 0x1FF, 1 << 35 | 15), "-32768 255 f"),
        ("[%5d|%-5d|%05d|%+d|% d]", (42, 42, 42, 42, 42), "[   42|42   |00042|+42| 42]"),
        ("%#x %#X %#o %x %X %o", (255,) * 6, "0xff 0XFF 0377 ff FF 377"),
        ("%.3d|%8.3d|%-8.3x|%.0d", (7, 7, 7, 0), "007|     007|007     |"),
        ("%c%c", (72, 0x169), "Hi"),
        ("%p %08x", (0x30008000, 0xBEEF), "0x30008000 0000beef"),
        ("100%% %i", (5,), "100% 5"),
        ("%s, %.2s, %6s|%-6s|", (0x1000, 0x1000, 0x1000, 0x1000), "text, te,   text|text  |"),
        (r"\t\\\x41\101\"", (), '\t\\AA"'),
    ],
)
def test_printf_formats_as_c_does(form: str, arguments: tuple[int, ...], text: str) -> None:
    context = Recorder(b"text\0" + bytes(100))
    parse(printf(form, *arguments)).evaluate(context)
    assert context.printed == text


def test_printf_shows_a_string_up_to_the_end_of_memory_or_fails() -> None:
    with pytest.raises(AgentError, match="nothing at"):
        parse(printf("%s", 0x1000)).evaluate(Recorder(b"without an end"))


@pytest.mark.parametrize("form", ["%f", "%n", "%*d", "%", "%q", "%99999d", "%.99999d", "%lc%"])
def test_a_format_that_is_not_supported_is_refused_when_it_is_defined(form: str) -> None:
    with pytest.raises(AgentError, match="printf at byte"):
        parse(printf(form, 1))


@given(st.text(max_size=30))
def test_any_format_string_is_taken_or_refused(source: str) -> None:
    try:
        form = parse_format(source)
    except ValueError:
        return
    assert isinstance(form.fill([1 if item.letter != "s" else "x" for item in form.conversions]), str)


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "the expression has no end"),
        ("2201", "the expression has no end"),
        ("22", "the operand of the const8 at byte 0 is cut off"),
        ("2512345678", "the operand of the const64 at byte 0 is cut off"),
        ("0227", "the add at byte 0 needs 2 elements on a stack of 0"),
        ("2201 0227", "the add at byte 2 needs 2 elements on a stack of 1"),
        ("2201 3201 27", "the pick at byte 2 needs 2 elements on a stack of 1"),
        ("2201 2b 27", "the swap at byte 2 needs 2 elements on a stack of 1"),
        ("31 27", "there is no operation 0x31, at byte 0 of the expression"),
        ("27 ff", "there is no operation 0xff, at byte 1 of the expression"),
        ("01 27", "the float at byte 0 is floating point, which is not supported"),
        ("2201 1c 27", "the ref_double at byte 2 is floating point, which is not supported"),
        ("210001 27", "the goto at byte 0 leads to byte 1, where no instruction begins"),
        ("210004 27", "the goto at byte 0 leads to byte 4, where no instruction begins"),
        ("2201 200006 27", "the if_goto at byte 2 leads to byte 6, where no instruction begins"),
        ("2201 1600 27", "the ext at byte 2 extends a value of no bits"),
        ("2201 2a00 27", "the zero_ext at byte 2 extends a value of no bits"),
        (
            "2201 200007 2205 27 27",
            "the end at byte 7 is reached with 1 and with 0 elements on the stack",
        ),
        ("2200 2200 3400 0000 27", "the format string of the printf at byte 4 does not end in its only zero"),
        ("2200 2200 3400 0005 41", "the format string of the printf at byte 4 is cut off"),
        ("2200 2200 3400 00", "the format string of the printf at byte 4 is cut off"),
        (
            "2200 2200 3400 0003 256400 27",
            "the printf at byte 4 is given 0 arguments for 1 conversions",
        ),
    ],
)
def test_a_malformed_expression_is_refused_with_the_reason(code: str, message: str) -> None:
    with pytest.raises(AgentError) as caught:
        parse(bytes.fromhex(code))
    assert str(caught.value) == message


def test_an_expression_of_more_than_the_limit_is_refused() -> None:
    fits = assemble("end") * MAX_LENGTH
    assert parse(fits).evaluate(Recorder()) == 0
    with pytest.raises(AgentError, match=f"of {MAX_LENGTH + 1} bytes is too long"):
        parse(fits + b"\x27")


def test_the_stack_holds_100_elements_and_no_more() -> None:
    assert value_of("const8 1;" * MAX_STACK + "end") == 1
    with pytest.raises(AgentError, match="overflows the stack of 100"):
        parse(assemble("const8 1;" * (MAX_STACK + 1) + "end"))


def test_a_stack_that_grows_in_a_loop_is_refused() -> None:
    with pytest.raises(AgentError, match="is reached with"):
        parse(assemble("again: const8 1; goto again"))


def test_code_that_is_never_reached_must_decode_but_needs_no_stack() -> None:
    assert value_of("const8 1; end; add") == 1


@settings(max_examples=2000, deadline=None)
@given(
    st.binary(max_size=40) | st.lists(st.sampled_from([item.code for item in OPERATIONS] + [0, 1])).map(bytes)
)
def test_any_bytes_are_refused_or_evaluate_within_bounds(data: bytes) -> None:
    try:
        expression = parse(data)
    except AgentError as error:
        assert str(error)
        return
    try:
        assert 0 <= expression.evaluate(Recorder()) < MINUS
    except AgentError as error:
        assert str(error)


def test_damaged_programs_are_refused_or_evaluate_within_bounds() -> None:
    random = Random(2440)
    refused = 0
    for _ in range(3000):
        code = bytearray(random_program(random, range(0x1000, 0x1100)))
        for _ in range(random.randrange(1, 4)):
            code[random.randrange(len(code))] = random.randrange(256)
        try:
            parse(bytes(code)).evaluate(Recorder())
        except AgentError:
            refused += 1
    assert 0 < refused < 3000


# -- what cannot be evaluated ------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["div_signed", "div_unsigned", "rem_signed", "rem_unsigned"])
def test_a_division_by_zero_is_an_error(operation: str) -> None:
    with pytest.raises(AgentError, match="divides by zero"):
        value_of(f"const8 1; const8 0; {operation}; end")


def test_a_memory_fault_and_an_unknown_register_are_errors() -> None:
    with pytest.raises(AgentError, match="nothing at 0x10"):
        value_of("const8 16; ref32; end")
    with pytest.raises(AgentError, match="no register number 99"):
        value_of("reg 99; end")


def test_a_loop_that_ends_is_evaluated_and_an_endless_one_is_an_error() -> None:
    count = "const16 1000; again: const8 1; sub; dup; if_goto again; const8 7; end"
    assert value_of(count) == 7
    with pytest.raises(AgentError, match=f"not come to its end after {MAX_STEPS} instructions"):
        value_of("again: goto again")
