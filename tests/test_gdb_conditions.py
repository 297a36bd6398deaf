"""Breakpoints with conditions and commands, in raw packets, on a real machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from gdb_wire import Wire, wire
from support import RawClient, until

from dbgemu.gdbstub.condition_arguments import breakpoint_with_rules
from dbgemu.gdbstub.errors import PacketError
from dbgemu.machine import Machine
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.mini2440 import Mini2440
from tests.agent_programs import assemble, printf
from tests.arm_programs import interpreter

CODE = 0x30008000
#: where the loop counts r0 up
PLACE = CODE + 4
_R0 = b"p0"


def counting_machine() -> Machine:
    machine = Machine(Mini2440(), code=interpreter(), warp=True)
    program = assemble_program("mov r0, #0; again: add r0, r0, #1; b again", CODE)
    machine.cpu.write_memory(CODE, program.data)
    machine.cpu.write_register("pc", CODE)
    return machine


@pytest.fixture
def target() -> Iterator[Wire]:
    with wire(counting_machine()) as found:
        yield found


@pytest.fixture
def client(target: Wire) -> RawClient:
    return target.client


def expression(code: bytes) -> bytes:
    return b"X%x,%b" % (len(code), code.hex().encode())


def equals(value: int) -> bytes:
    """The condition r0 == value."""
    return expression(assemble(f"reg 0; const32 {value}; equal; end"))


def says(form: str) -> bytes:
    """A command that prints r0."""
    text = form.encode() + b"\0"
    code = assemble("reg 0; const8 0; const8 0") + b"\x34\x01" + len(text).to_bytes(2, "big") + text + b"\x27"
    return expression(code)


def breakpoint_packet(rules: bytes = b"", place: int = PLACE, kind: bytes = b"Z0") -> bytes:
    return b"%b,%x,4%b" % (kind, place, rules)


def stop_at(client: RawClient) -> tuple[int, str]:
    """r0 at the next stop, and what was printed until then."""
    client.send(b"vCont;c")
    printed = ""
    while (reply := client.receive()).startswith(b"O"):
        printed += bytes.fromhex(reply[1:].decode()).decode()
    assert reply.startswith(b"T05"), reply
    return int.from_bytes(bytes.fromhex(client.ask(_R0).decode()), "little"), printed


def test_conditions_and_commands_are_announced(client) -> None:
    features = client.ask(b"qSupported:swbreak+").split(b";")
    assert {b"ConditionalBreakpoints+", b"BreakpointCommands+"} <= set(features)


@pytest.mark.parametrize("kind", [b"Z0", b"Z1"])
def test_a_breakpoint_stops_where_its_condition_is_true(client, kind: bytes) -> None:
    assert client.ask(breakpoint_packet(b";" + equals(100_000), kind=kind)) == b"OK"
    assert stop_at(client)[0] == 100_000


def test_of_several_conditions_any_may_be_true(client) -> None:
    assert client.ask(breakpoint_packet(b";" + equals(700) + equals(500))) == b"OK"
    assert [stop_at(client)[0] for _ in range(2)] == [500, 700]


def test_setting_it_again_replaces_the_conditions(target, client) -> None:
    client.ask(breakpoint_packet(b";" + equals(500)))
    client.ask(breakpoint_packet(b";" + equals(900)))
    assert len(target.session.breakpoints) == 1
    assert stop_at(client)[0] == 900
    client.ask(breakpoint_packet())
    assert stop_at(client)[0] == 901


def test_a_condition_that_fails_stops(client) -> None:
    division = assemble(
        "reg 0; const8 50; less_unsigned; if_goto no; const8 1; const8 0; div_signed; end; no: const8 0; end"
    )
    assert client.ask(breakpoint_packet(b";" + expression(division))) == b"OK"
    assert stop_at(client)[0] == 50


def test_two_clients_have_conditions_of_their_own_at_one_place(target, client) -> None:
    other = target.connect()
    client.ask(breakpoint_packet(b";" + equals(600)))
    other.ask(breakpoint_packet(b";" + equals(400)))
    assert [stop_at(client)[0] for _ in range(2)] == [400, 600]
    assert other.ask(b"z0,%x,4" % PLACE) == b"OK"
    assert [item.owner is None for item in target.session.breakpoints] == [False]


@pytest.mark.parametrize(
    "rules",
    [
        b";X2,22",
        b";X2,2205",
        b";Xg,22",
        b";X",
        b";X1",
        b";X1,2",
        b";X1,zz",
        b";X1,27;nonsense",
        b";X1,27,",
        b";X1,31",
        b";X2,0227",
        b";X3,210001",
        b";cmds:2,X1,27",
        b";cmds:0",
        b";cmds:0,X2,27",
        b";cmds:0,X1,01",
        b";cmds:,X1,27",
        b";X99999,27",
    ],
)
def test_malformed_rules_are_refused_and_set_nothing(target, client, rules: bytes) -> None:
    assert client.ask(breakpoint_packet(rules)) in (b"E22", b"E01")
    assert len(target.session.breakpoints) == 0


def test_a_refusal_tells_why_to_a_client_that_takes_texts(target) -> None:
    client = target.connect("error-message+")
    assert client.ask(breakpoint_packet(b";X2,0227")) == (
        b"E.the add at byte 0 needs 2 elements on a stack of 0"
    )


def test_rules_are_taken_apart() -> None:
    assert breakpoint_with_rules(b"1000,4") == (0x1000, 4, (), (), False)
    assert breakpoint_with_rules(b"1000,4;X1,27X2,2827") == (0x1000, 4, (b"'", b"('"), (), False)
    assert breakpoint_with_rules(b"1000,2;X1,27;cmds:1,X1,28X1,29") == (
        0x1000,
        2,
        (b"'",),
        (b"(", b")"),
        True,
    )
    assert breakpoint_with_rules(b"1000,2;") == (0x1000, 2, (), (), False)
    with pytest.raises(PacketError):
        breakpoint_with_rules(b"1000;X1,27")


# -- commands ----------------------------------------------------------------------------------------


def test_commands_print_to_a_client_that_waits_and_do_not_stop(client) -> None:
    client.ask(breakpoint_packet(b";cmds:0," + says(r"r0=%d\n")))
    client.ask(breakpoint_packet(b";" + equals(40), CODE + 8))
    value, printed = stop_at(client)
    assert value == 40
    assert printed == "".join(f"r0={number}\n" for number in range(40))


def test_commands_run_where_the_condition_is_true(client) -> None:
    client.ask(
        breakpoint_packet(b";" + equals(7) + equals(9) + b";cmds:0," + says(r"<%d>") + says(r"[%d]\n"))
    )
    client.ask(breakpoint_packet(b";" + equals(40), CODE + 8))
    assert stop_at(client) == (40, "<7>[7]\n<9>[9]\n")


def test_a_command_that_fails_stops_and_says_why(client) -> None:
    client.ask(breakpoint_packet(b";cmds:0," + expression(assemble("const32 0x7fff0000; ref8; pop; end"))))
    value, printed = stop_at(client)
    assert value == 0
    assert printed.startswith("a breakpoint's command failed: ")
    assert "7fff0000" in printed


def test_commands_of_one_client_print_on_no_other_console(target, client) -> None:
    other = target.connect()
    client.ask(breakpoint_packet(b";cmds:0," + says(r"%d ")))
    client.ask(breakpoint_packet(b";" + equals(3), CODE + 8))
    other.send(b"vCont;c")
    assert other.receive().startswith(b"T05")
    # the client was not waiting: what was printed comes before its next stop
    client.ask(breakpoint_packet(b";" + equals(4), CODE + 8))
    assert stop_at(client) == (4, "0 1 2 3 ")


def test_commands_go_away_with_their_client(target, client) -> None:
    second = target.connect()
    second.ask(breakpoint_packet(b";cmds:0," + says(r"%d")))
    second.close()
    until(lambda: len(target.session.breakpoints) == 0)


def test_persistent_commands_stay_and_print_to_standard_error(target, client, capsys) -> None:
    client.ask(breakpoint_packet(b";" + equals(5) + b";cmds:1," + says(r"still %d\n")))
    client.close()
    until(lambda: [item.owner for item in target.session.breakpoints] == [None])
    later = target.connect()
    later.ask(breakpoint_packet(b";" + equals(9), CODE + 8))
    assert stop_at(later) == (9, "")
    assert capsys.readouterr().err == "still 5\n"


def test_a_client_that_comes_back_takes_its_persistent_commands_over(target, client) -> None:
    packet = breakpoint_packet(b";cmds:1," + says(r"%d "))
    client.ask(packet)
    client.close()
    until(lambda: [item.owner for item in target.session.breakpoints] == [None])
    later = target.connect()
    assert later.ask(packet) == b"OK"
    assert len(target.session.breakpoints) == 1
    later.ask(breakpoint_packet(b";" + equals(2), CODE + 8))
    assert stop_at(later) == (2, "0 1 ")


def test_a_client_that_does_not_read_holds_up_neither_guest_nor_others(target, client) -> None:
    client.ask(breakpoint_packet(b";cmds:0," + says("%d" + 200 * "x" + r"\n")))
    client.send(b"vCont;c")
    other = target.connect()
    before = target.machine.cpu.instructions
    until(lambda: target.machine.cpu.instructions > before + 50_000, 60)
    assert other.ask(b"qC").startswith(b"QC")
    other.send(b"vCont;t")
    assert other.receive().startswith(b"T")
    console = next(iter(target.session.breakpoints)).owner.guest_console
    assert console._size < 1 << 20


def test_what_is_printed_too_fast_is_left_out_and_told(target, client) -> None:
    client.ask(breakpoint_packet(b";cmds:0," + says("%d" + 1000 * "x" + r"\n")))
    client.ask(breakpoint_packet(b";" + equals(30_000), CODE + 8))
    client.send(b"vCont;c")
    until(lambda: not target.session.running, 30)
    text = ""
    while (reply := client.receive()).startswith(b"O"):
        text += bytes.fromhex(reply[1:].decode()).decode()
    assert reply.startswith(b"T05")
    assert "prints were left out: they came faster than they were read" in text


def test_a_thousand_prints_a_second_cost_little(target, client) -> None:
    """One print in so many loops that there are a thousand a second: the guest keeps its speed."""
    machine = target.machine

    def loops(seconds: float) -> float:
        client.send(b"vCont;c")
        before, started = machine.cpu.instructions, time.perf_counter()
        reader = threading.Event()
        while time.perf_counter() - started < seconds:
            reader.wait(0.05)
        done, taken = machine.cpu.instructions - before, time.perf_counter() - started
        client.send_bytes(b"\x03")
        while client.receive().startswith(b"O"):
            pass
        return done / taken

    never = expression(assemble("const8 0; end"))
    client.ask(breakpoint_packet(b";" + never))
    without = loops(0.5)
    interval = 1 << int(without / 2 / 1000).bit_length()
    sometimes = expression(assemble(f"reg 0; const32 {interval - 1}; bit_and; log_not; end"))
    client.ask(breakpoint_packet(b";" + sometimes + b";cmds:0," + says(r"%d\n")))
    # generous: other processes share the host; the benchmark has the figure
    assert loops(0.5) > 0.5 * without


def test_printf_without_arguments(client) -> None:
    client.ask(breakpoint_packet(b";cmds:0," + expression(printf(r"here\n"))))
    client.ask(breakpoint_packet(b";" + equals(1), CODE + 8))
    assert stop_at(client) == (1, "here\n")
