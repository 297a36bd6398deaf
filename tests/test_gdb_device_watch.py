"""Real gdb watches device registers: each access is reported with its value, and disturbs nothing.

gdb's own part in it. ``awatch`` and ``rwatch`` stop at each access, and gdb then reads the register again
through the server, which peeks. ``watch`` compares what it reads before and after: where a write does not
change what is read (UTXH reads as 0 always) gdb goes on without a word of its own, so that the server's
line on the console is all there is to see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_gdb import Gdb, compile_program, debugged, machine_with, needs_gcc, needs_gdb

from dbgemu.debug.session import DebugSession

pytestmark = [needs_gdb, needs_gcc]

_SOURCE = """
#define REG(address) (*(volatile unsigned *) (address))
#define BYTE(address) (*(volatile unsigned char *) (address))
volatile unsigned got[2];

__attribute__((naked)) void _start(void) { asm("ldr sp, =0x30200000; b main"); }

void send(int c) { BYTE(0x50000020) = c; }
unsigned receive(void) { while (!(REG(0x50000010) & 1)) { } return BYTE(0x50000024); }
void command(int c) { BYTE(0x4e000008) = c; }
void end(void) { for (;;) { } }

int main(void) {
    REG(0x50000008) = 1;
    REG(0x50000004) = 0x45;
    send('A');
    send('A');
    send('B');
    got[0] = receive();
    got[1] = receive();
    command(0x90);
    command(0x90);
    command(0xff);
    end();
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("program"), _SOURCE)


@pytest.fixture
def target(program: Path) -> Iterator[tuple[Gdb, DebugSession]]:
    with debugged(machine_with(program), program) as (gdb, session, _):
        session.symbols.add(program)
        gdb.execute("hbreak end")
        yield gdb, session


def reports(gdb: Gdb) -> list[str]:
    """The server's lines on gdb's console so far, without the pc."""
    return re.findall(r"0x[0-9a-f]{8} (<\S+> (?:reads|writes) \S+ (?:->|<-) 0x[0-9a-f]+)", "".join(gdb.log))


def sent(session: DebugSession) -> list[int]:
    characters: list[int] = []
    session.machine.board.uarts[0].on_transmit = characters.append
    return characters


def test_awatch_on_a_uart_register_reports_each_write_and_the_bytes_are_sent_once(target) -> None:
    gdb, session = target
    characters = sent(session)
    gdb.execute("awatch *(unsigned char *) 0x50000020")
    for _ in range(3):
        stop = gdb.run("continue")
        assert stop["reason"] == "access-watchpoint-trigger"
        assert stop["frame"]["func"] == "send"
    session.machine.board.uarts[0].receive(b"xy")
    assert gdb.run("continue")["frame"]["func"] == "end"
    values = [line.partition("uart0.UTXH ")[2] for line in reports(gdb)]
    assert values == ["<- 0x41", "<- 0x41", "<- 0x42"]
    assert all(line.startswith("<send+") for line in reports(gdb))
    assert bytes(characters) == b"AAB"


def test_watch_goes_on_where_the_value_stays_but_each_write_is_reported(target) -> None:
    gdb, session = target
    characters = sent(session)
    session.machine.board.uarts[0].receive(b"xy")
    gdb.execute("watch *(unsigned char *) 0x50000020")
    assert gdb.run("continue")["frame"]["func"] == "end", "gdb sees no change of UTXH"
    assert [line.partition("uart0.UTXH ")[2] for line in reports(gdb)] == ["<- 0x41", "<- 0x41", "<- 0x42"]
    assert bytes(characters) == b"AAB"


def test_watch_stops_where_the_register_reads_back_another_value(target) -> None:
    gdb, session = target
    session.machine.board.uarts[0].receive(b"xy")
    gdb.execute("watch *(unsigned char *) 0x4e000008")
    stop = gdb.run("continue")
    assert (stop["reason"], stop["value"]["new"]) == ("watchpoint-trigger", "144 '\\220'")
    assert gdb.run("continue")["value"]["new"] == "255 '\\377'"
    assert [line.partition("nand.NFCMMD ")[2] for line in reports(gdb)] == ["<- 0x90", "<- 0x90", "<- 0xff"]


def test_rwatch_on_a_fifo_reports_what_is_read_and_pops_nothing(target) -> None:
    gdb, session = target
    gdb.execute("rwatch *(unsigned char *) 0x50000024")
    session.machine.board.uarts[0].receive(b"xy")
    for character in "xy":
        stop = gdb.run("continue")
        assert stop["reason"] == "read-watchpoint-trigger"
        assert reports(gdb)[-1].endswith(f"reads uart0.URXH -> {ord(character):#04x}")
    assert gdb.run("continue")["frame"]["func"] == "end"
    assert (gdb.value("got[0]"), gdb.value("got[1]")) == (ord("x"), ord("y"))


def test_a_step_onto_a_watched_access_reports_it_too(target) -> None:
    gdb, _ = target
    gdb.execute("break send")
    gdb.run("continue")
    gdb.execute("awatch *(unsigned char *) 0x50000020")
    for _ in range(12):
        if gdb.run("stepi")["reason"] == "access-watchpoint-trigger":
            break
    assert len(reports(gdb)) == 1
