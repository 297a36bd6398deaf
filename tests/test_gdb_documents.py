"""Documents that GDB asks for, threads, the monitor's commands, and how clients come and go."""

import re
from xml.etree import ElementTree

import pytest
from gdb_values import registers_in
from support import RAM_BASE, START, RawClient, until

from dbgemu.gdbstub.framing import unescape

pytest_plugins = ["gdb_fixtures"]


# -- documents ---------------------------------------------------------------------------------------


def fetch(client: RawClient, object_: bytes, annex: bytes, size: int) -> bytes:
    document = b""
    while True:
        reply = client.ask(b"qXfer:%b:read:%b:%x,%x" % (object_, annex, len(document), size))
        assert reply[:1] in (b"l", b"m"), reply
        document += unescape(reply[1:])
        if reply[:1] == b"l":
            return document


@pytest.mark.parametrize("size", [16, 1000, 0xFFFFF])
def test_the_target_description_comes_in_pieces_of_any_size(client, size) -> None:
    root = ElementTree.fromstring(fetch(client, b"features", b"target.xml", size))
    names = [reg.get("name") for reg in root.iter("reg")]
    assert len(names) == len(set(names))
    assert names[:17] == [*(f"r{n}" for n in range(13)), "sp", "lr", "pc", "cpsr"]
    assert {"r8_usr", "r14_und", "spsr_fiq", "sctlr"} <= set(names)


def test_register_numbers_are_unique_and_cpsr_is_25(client) -> None:
    root = ElementTree.fromstring(fetch(client, b"features", b"target.xml", 4096))
    numbers = {reg.get("name"): int(reg.get("regnum") or "") for reg in root.iter("reg")}
    assert numbers["cpsr"] == 25
    assert len(set(numbers.values())) == len(numbers)


def test_the_memory_map_covers_all_and_knows_the_rom(client, machine) -> None:
    root = ElementTree.fromstring(fetch(client, b"memory-map", b"", 4096))
    position = 0
    kinds = {}
    for memory in root.iter("memory"):
        assert int(memory.get("start") or "", 16) == position
        kinds[position] = memory.get("type")
        position += int(memory.get("length") or "", 16)
    assert position == 1 << 32
    assert (kinds[0], kinds[machine.rom.size], kinds[RAM_BASE]) == ("rom", "ram", "ram")


def test_a_rom_that_the_mmu_hides_is_not_in_the_map(client, machine) -> None:
    machine.cpu.translate = lambda address: address ^ 0x1000
    root = ElementTree.fromstring(fetch(client, b"memory-map", b"", 4096))
    assert {memory.get("type") for memory in root.iter("memory")} == {"ram"}


@pytest.mark.parametrize(
    "packet",
    [
        b"features:read:other.xml:0,10",
        b"features:read:target.xml:0",
        b"features:read:target.xml",
        b"features:read",
        b"memory-map:read:x:0,1",
        b"features:read:target.xml:zz,10",
    ],
)
def test_bad_transfers_are_errors(client, packet) -> None:
    assert re.fullmatch(rb"E[0-9]{2}", client.ask(b"qXfer:" + packet))


def test_an_offset_behind_the_document_is_its_end(client) -> None:
    assert client.ask(b"qXfer:features:read:target.xml:fffff,10") == b"l"


# -- threads, monitor, coming and going ----------------------------------------------------------------


def test_there_is_one_thread(client) -> None:
    assert client.ask(b"qfThreadInfo") == b"m1"
    assert client.ask(b"qsThreadInfo") == b"l"
    assert client.ask(b"qC") == b"QC1"
    assert bytes.fromhex(client.ask(b"qThreadExtraInfo,1").decode()) == b"ARM920T"
    assert [client.ask(packet) for packet in (b"T1", b"Hg0", b"Hc-1", b"Hgp1.1")] == [b"OK"] * 4
    assert [client.ask(packet) for packet in (b"T2", b"Hg2", b"Hc", b"Hx1", b"T")] == [
        b"E01",
        b"E01",
        b"E22",
        b"E22",
        b"E22",
    ]
    assert client.ask(b"qAttached") == b"1"


def monitor(client: RawClient, line: str) -> str:
    client.send(b"qRcmd," + line.encode().hex().encode())
    text = ""
    while (reply := client.receive()) != b"OK":
        assert reply[:1] == b"O"
        text += bytes.fromhex(reply[1:].decode()).decode()
    return text


def test_monitor_commands_print_on_the_clients_console(client, machine) -> None:
    assert "system_reset" in monitor(client, "help")
    assert "r12=" in monitor(client, "info registers")
    assert monitor(client, "info status").startswith("VM status: paused (reset")
    assert monitor(client, "system_reset") == ""
    assert machine.resets == 1
    assert (
        monitor(client, "sytem_reset") == "there is no command 'sytem_reset': did you mean 'system_reset'?\n"
    )
    assert client.ask(b"qRcmd,6") == b"E22"


def test_monitor_cont_and_stop_change_the_guest_only(client, session) -> None:
    assert monitor(client, "cont") == ""
    assert session.running
    assert monitor(client, "info status") == "VM status: running\n"
    assert monitor(client, "stop") == ""
    assert not session.running


def test_detaching_lets_the_guest_run_without_the_clients_breakpoints(client, session, machine) -> None:
    client.ask(b"Z0,%x,4" % (START + 8))
    assert client.ask(b"D") == b"OK"
    until(lambda: machine.cpu.instructions > 100)
    assert session.running
    assert machine.cpu.breakpoints == set()


def test_attaching_to_a_running_guest_stops_it(connect, server, client, session, machine) -> None:
    client.ask(b"D;1")
    client.close()
    until(lambda: machine.cpu.instructions > 100)
    again = connect(server.endpoint)
    assert session.running
    assert again.ask(b"?").startswith(b"T05thread:1;")
    assert not session.running
    assert again.ask(b"s").startswith(b"T05")


def test_a_kill_ends_every_connection(connect, server, client, session) -> None:
    other = connect(server.endpoint)
    client.send(b"k")
    assert client.closed()
    assert other.closed()
    until(lambda: server.client_count == 0)


def test_a_client_that_waits_is_told_of_the_end(connect, server, client, session) -> None:
    client.send(b"c")
    until(lambda: session.running)
    session.quit()
    assert client.receive() == b"W00"
    assert client.closed()


def test_vkill_is_answered_before_the_connection_ends(client) -> None:
    assert client.ask(b"vKill;1") == b"OK"
    assert client.closed()


def test_an_extended_client_resets_the_board_by_killing_or_restarting(client, session, machine) -> None:
    assert client.ask(b"!") == b"OK"
    assert client.ask(b"vKill;1") == b"OK"
    client.send(b"R00")
    assert registers_in(client.ask(b"?"))[15] == 0
    assert machine.resets == 2
    assert not session.running
