"""Variables and arguments of compiled C functions in the monitor, beside what gdb shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from elftools.dwarf.dwarf_expr import DWARFExprOp
from monitored_program import monitored_program
from real_gdb import Gdb, compile_program, debugged, machine_with, needs_gcc, needs_gdb

from dbgemu.debug.dwarf_location import Evaluator, NoValueError, Piece
from dbgemu.debug.session import DebugSession
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor

SOURCE = r"""
enum colour { RED, GREEN = 5, BLUE = -1 };
enum flags { FIRST = 1, SECOND = 2, THIRD = 4 };
struct point { int x, y; };
struct shape {
    struct point corners[2];
    unsigned int open : 1, kind : 5;
    int level : 4;
    enum colour colour;
    union { int number; struct point *other; };
    char name[4];
};
typedef unsigned long long counter_t;
typedef int (*function_t)(int);

volatile int total;
void *memset(void *to, int value, unsigned size)
{
    for (volatile char *place = to; size; size--)
        *place++ = value;
    return to;
}
void *memcpy(void *to, const void *from, unsigned size)
{
    const char *source = from;
    for (volatile char *place = to; size; size--)
        *place++ = *source++;
    return to;
}
struct point origin = { 7, -8 };

__attribute__((noinline)) int stop(int n) { total += n; return total; }

static inline __attribute__((always_inline)) int helper(int first)
{
    int second = first + stop(1);
    return second * stop(first);
}

__attribute__((noinline)) int caller(int a, struct point p)
{
    int constant = 42;
    int unused = a * 3;
    int result = helper(a + p.x);
    return result + constant + stop(2);
}

__attribute__((noinline)) int all(int number, const char *text, struct shape *shape, function_t function)
{
    struct shape copy = *shape;
    struct point *place = &origin, *nowhere = 0;
    unsigned char small = 200;
    signed char letter = 'a';
    short negative = -300;
    counter_t large = 0x123456789abcdefULL;
    _Bool yes = 1;
    double real = 1.5;
    enum flags some = FIRST | THIRD;
    int table[2][3] = {{1, 2, 3}, {4, 5, 6}};
    int zeros[64] = {0};
    char exact[5] = "five\n";
    unsigned char bytes[3] = { 1, 0, 100 };
    static int kept = 99;
    volatile int *const fixed = &total;
    for (int turn = 0; turn < 1; turn++) {
        int inner = turn + 11;
        stop(inner + kept + letter + small + negative + yes + some + table[1][2] + zeros[3] + exact[0]
             + bytes[2] + (int)large + *(char *)&real + copy.level + *fixed + (place == nowhere)
             + function(number) + *text);
    }
    return number;
}

void run(void)
{
    struct shape shape = { {{1, 2}, {3, 4}}, 1, 19, -2, GREEN, { 77 }, "abcd" };
    struct point p = { 5, 6 };
    all(-12, "hello \"you\"\n", &shape, stop);
    caller(total, p);
    for (;;)
        ;
}

__attribute__((naked, target("arm"))) void _start(void)
{
    __asm__("ldr sp, =0x30100000\n mov r11, #0\n ldr r0, =run\n bx r0");
}
"""

_PLAIN = ("-Wl,-e,_start",)


@contextmanager
def at(folder: Path, function: str, *options: str) -> Iterator[tuple[Gdb, Monitor]]:
    """The program in front of its ``stop``, which ``function`` has called, under gdb and a monitor."""
    elf = compile_program(folder, SOURCE, *_PLAIN, *options)
    with debugged(machine_with(elf), elf) as (gdb, session, _):
        session.symbols.add(elf)
        gdb.execute(f"tbreak {function}")
        gdb.run("continue")
        gdb.execute("break stop")
        gdb.run("continue")
        monitor = Monitor(session)
        yield gdb, monitor


def _short(value: str) -> str:
    """Numbers in hexadecimal without leading zeros, as gdb writes them."""
    return re.sub(r"0x0+(?=[0-9a-f])", "0x", value)


def _values(text: str) -> dict[str, str]:
    """Names and values of the lines of ``info locals``, gdb's or the monitor's."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        left, _, value = line.partition(" = ")
        named = re.search(r"\(\*(\w+)\)|(\w+)(?:\[\d*\])*$", left)
        assert named is not None, line
        found.setdefault(named[1] or named[2], _short(value))
    return found


@needs_gcc
@needs_gdb
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
def test_variables_of_all_types_are_shown_as_gdb_shows_them(tmp_path: Path, dwarf: str) -> None:
    with at(tmp_path, "all", dwarf) as (gdb, monitor):
        # gdb: 'stop' is called by 'function' too, from the same line
        gdb.execute("up")
        monitor.run("up")
        assert _values(monitor.run("info args").text) == _values(gdb.execute("info args"))
        ours = _values(monitor.run("info locals").text)
        assert ours == _values(gdb.execute("info locals"))
        assert (ours["inner"], ours["kept"], ours["some"]) == ("11", "99", "(FIRST | THIRD)")
        data = {item["name"]: item["declaration"] for item in monitor.run("info locals").data}
        assert data["table"] == "int table[2][3]"
        assert data["copy"] == "struct shape copy"
        assert data["large"] == "counter_t large"
        assert data["fixed"] == "volatile int * const fixed"
        assert monitor.run("info args").data[3]["declaration"] == "function_t function"


@needs_gcc
@needs_gdb
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
def test_optimized_code_tells_what_it_has_kept_and_whose_inlined_variables_are(
    tmp_path: Path, dwarf: str
) -> None:
    # without it the compiler knows what 'stop' leaves alone, which no unwinder can
    with at(tmp_path, "caller", "-O2", "-fno-ipa-ra", dwarf) as (gdb, monitor):
        monitor.run("up")
        text = monitor.run("info locals").text
        assert "in helper, inlined here:\n" in text
        assert "  int first = " in text
        ours = _values("\n".join(line for line in text.splitlines() if not line.startswith("in ")))
        gdb.execute("up")
        inner = _values(gdb.execute("info args")) | _values(gdb.execute("info locals"))
        gdb.execute("up")  # a frame of its own to gdb: the function that helper was put into
        outer = _values(gdb.execute("info locals"))
        assert ours == inner | outer
        assert ours["constant"] == "42"
        assert "<optimized out>" in ours.values()


@needs_gcc
@needs_gdb
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
def test_arguments_that_are_lost_are_found_with_the_caller(tmp_path: Path, dwarf: str) -> None:
    with at(tmp_path, "all", "-O2", "-fno-ipa-ra", dwarf) as (gdb, monitor):
        monitor.run("up")
        gdb.execute("up")
        ours = _values(monitor.run("info args").text)
        assert ours == _values(gdb.execute("info args"))
        assert ours["number"] == "-12"
        assert ours["function"].endswith("<stop>")


@needs_gcc
@needs_gdb
@pytest.mark.parametrize("dwarf", ["-gdwarf-4", "-gdwarf-5"])
def test_what_variables_lead_to_is_shown_as_gdb_shows_it(tmp_path: Path, dwarf: str) -> None:
    with at(tmp_path, "all", dwarf) as (gdb, monitor):
        monitor.run("up")
        gdb.execute("up")
        for path in (
            "number",
            "*shape",
            "shape->corners[1].y",
            "shape->kind",
            "copy.level",
            "copy.number",
            "copy.colour",
            "*place",
            "place->x",
            "place[0].y",
            "text[6]",
            "zeros[0x3f]",
            "*fixed",
            "origin.y",
            "total",
            "inner",
        ):
            printed = gdb.execute(f"print {path}").strip().partition(" = ")[2]
            ours = monitor.run(f"info variable {path}").data["value"]
            assert _short(ours) == printed, path
        assert monitor.run("info variable place -> x").text == "(int) place -> x = 7"
        assert monitor.run("info variable *shape").data["type"] == "struct shape"


@needs_gcc
@needs_gdb
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("nobody", "there is no variable 'nobody' here"),
        ("number->x", "number is no pointer"),
        ("*copy", "copy is no pointer"),
        ("place->z", "*place, which is 'struct point', has no member 'z'"),
        ("copy.z", "copy, which is 'struct shape', has no member 'z'"),
        ("exact[5]", "exact has 5 elements, from 0 on"),
        ("number[0]", "number is no array of one dimension"),
        ("text[0x70000000]", "'text[0x70000000]' cannot be read: "),
        ("copy + 1", "'+ 1' is not expected in 'copy + 1'"),
        ("5.", "'.' is not expected in '5.'"),
        ("->x", "'->x' is no variable: write name, *name, name->member or name[3].member"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(stopped: Monitor, path: str, error: str) -> None:
    with pytest.raises(CommandError) as caught:
        stopped.run(f"info variable {path}")
    assert str(caught.value).startswith(error)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitor]:
    """Looking at ``all``, which has called ``stop``."""
    with at(tmp_path_factory.mktemp("program"), "all") as (_, monitor):
        monitor.run("up")
        yield monitor


@needs_gcc
def test_what_cannot_be_told_says_so(tmp_path: Path) -> None:
    elf = compile_program(tmp_path, SOURCE, *_PLAIN)
    session = DebugSession(machine_with(elf))
    try:
        monitor = Monitor(session)
        with pytest.raises(CommandError, match=r"^there is no debug information for 0x30008\w{3} \?\?: "):
            monitor.run("info locals")
        session.symbols.add(elf)
        monitor.run("tbreak run")
        monitor.run("continue")
        assert monitor.run("info args").text == "no arguments"
        monitor.run("tbreak stop")
        monitor.run("continue")
        assert monitor.run("info locals").text == "no locals"
        monitor.run("stepi 4")
        session.write_registers({"r11": 0x48000000})
        assert monitor.run("info args").text.startswith("int n = <")
    finally:
        session.close()


def test_a_program_without_debug_information_has_no_variables() -> None:
    with monitored_program("here: nop\n b here\n") as program:
        assert program.error("info locals").startswith("there is no debug information for 0x")


# -- location expressions ---------------------------------------------------------------------------------


_Item = str | tuple[str, object]


def _operations(*names: _Item) -> list[DWARFExprOp]:
    items = [(name, []) if isinstance(name, str) else (name[0], [name[1]]) for name in names]
    return [DWARFExprOp(0, f"DW_OP_{name}", arguments, 0) for name, arguments in items]


@pytest.fixture
def pieces() -> Callable[..., list[Piece]]:
    evaluator = Evaluator(
        {1: 100, 2: 0xFFFFFFFF, 13: 0x1000},
        lambda a: a ^ 0xF0,
        8,
        lambda: 0x2000,
        lambda: 0x3000,
        lambda number: 10 + number,
    )
    return lambda *names: evaluator.pieces(_operations(*names))


@pytest.mark.parametrize(
    ("names", "address"),
    [
        ([("addr", 0x100)], 0x108),
        ([("fbreg", -4)], 0x2FFC),
        (["call_frame_cfa", ("plus_uconst", 4)], 0x2004),
        ([("breg1", -101)], 0xFFFFFFFF),
        (["lit4", "lit9", "minus"], 0xFFFFFFFB),
        ([("const1u", 3), "dup", "mul", "deref"], 9 ^ 0xF0),
        (["lit1", "lit2", "swap", "shl"], 4),
        ([("entry_value", _operations("reg2"))], 12),
        (["lit1", "lit2", "over", "plus", "drop"], 1),
        ([("breg2", 0), "lit4", "shra"], 0xFFFFFFFF),
        ([("breg2", 0), "lit0", "lt", "neg"], 0xFFFFFFFF),
    ],
)
def test_expressions_compute_addresses(
    pieces: Callable[..., list[Piece]], names: list[_Item], address: int
) -> None:
    assert pieces(*names) == [Piece(address)]


def test_values_are_in_registers_on_the_stack_and_in_pieces(pieces: Callable[..., list[Piece]]) -> None:
    assert pieces("reg1") == [Piece(data=b"d\0\0\0")]
    assert pieces("lit5", "stack_value") == [Piece(data=b"\5\0\0\0")]
    assert pieces("reg1", ("piece", 4), ("fbreg", 0), ("piece", 2)) == [
        Piece(data=b"d\0\0\0", size=4),
        Piece(0x3000, size=2),
    ]


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["reg3"],
        [("breg3", 0)],
        ["plus"],
        ["swap"],
        ["over"],
        [("entry_value", _operations("lit1"))],
        [("piece", 4)],
    ],
)
def test_what_is_not_known_here_has_no_value(pieces: Callable[..., list[Piece]], names: list[_Item]) -> None:
    with pytest.raises(NoValueError):
        pieces(*names)
