"""GDB's packets over real sockets, against a machine that does what the test says."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import RAM_BASE, START, UNMAPPED, FakeMachine, RawClient, serve, until

from dbgemu.debug.session import DebugSession
from dbgemu.debug.tracepoints.frame import TraceFrame
from dbgemu.errors import OptionError
from dbgemu.gdbstub import arguments
from dbgemu.gdbstub.client import Client, Stub
from dbgemu.gdbstub.endpoint import Endpoint, parse_endpoint
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.framing import PACKET_SIZE, escape, frame, unescape
from dbgemu.gdbstub.packets import ANNOUNCEMENT, CAPABILITIES, parse
from dbgemu.gdbstub.server import GdbServer
from dbgemu.gdbstub.target_xml import RegisterFile
from dbgemu.monitor.monitor import Monitor


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def session(machine: FakeMachine) -> Iterator[DebugSession]:
    session = DebugSession(machine)
    yield session
    session.close()


@pytest.fixture
def server(session: DebugSession) -> Iterator[GdbServer]:
    with serve(session, monitor=Monitor(session).execute) as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., RawClient]]:
    with ExitStack() as clients:

        def connect(endpoint: Endpoint, *, acks: bool = False) -> RawClient:
            return clients.enter_context(closing(RawClient(endpoint, acks=acks)))

        yield connect


@pytest.fixture
def client(connect: Callable[..., RawClient], server: GdbServer) -> RawClient:
    return connect(server.endpoint)


def word(value: int) -> bytes:
    return struct.pack("<I", value).hex().encode()


def number_of(session: DebugSession, name: str) -> int:
    return next(row.number for row in RegisterFile(session.cpu).by_number.values() if row.name == name)


# -- acknowledgements ------------------------------------------------------------------------------


def test_packets_are_acknowledged_until_the_client_does_without(connect, server) -> None:
    client = connect(server.endpoint, acks=True)
    client.send_bytes(b"$qC#b4")
    assert client.receive() == b"QC1"
    client.send_bytes(b"+")
    assert client.ask(b"QStartNoAckMode") == b"OK"
    client.acks = False
    assert client.ask(b"qC") == b"QC1"


def test_a_refused_reply_is_sent_again(connect, server) -> None:
    client = connect(server.endpoint, acks=True)
    assert client.ask(b"qC") == b"QC1"
    client.send_bytes(b"-")
    assert client.receive_packet() == b"QC1"


def test_a_wrong_checksum_is_refused_with_acks_and_an_error_without(connect, server, client) -> None:
    with_acks = connect(server.endpoint, acks=True)
    with_acks.send_bytes(b"$qC#00")
    assert with_acks.receive_byte() == b"-"
    assert with_acks.ask(b"qC") == b"QC1"
    client.send_bytes(b"$qC#00")
    assert client.receive() == b"E22"


def test_an_oversized_packet_is_an_error_and_the_next_is_understood(client) -> None:
    client.send(b"X30000000,0:" + b"a" * PACKET_SIZE)
    assert client.receive() == b"E22"
    assert client.ask(b"qC") == b"QC1"


# -- what is announced -----------------------------------------------------------------------------


def test_each_announced_feature_is_one_of_the_table(client) -> None:
    features = client.ask(b"qSupported:swbreak+;hwbreak+").split(b";")
    assert features == ANNOUNCEMENT.split(b";")
    assert b"PacketSize=%x" % PACKET_SIZE in features
    assert {b"QStartNoAckMode+", b"vContSupported+", b"swbreak+", b"hwbreak+"} <= set(features)
    assert {b"qXfer:features:read+", b"qXfer:memory-map:read+", b"binary-upload+"} <= set(features)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"vMustReplyEmpty",
        b"Z9,0,0",
        b"qXfer:nothing:read::0,10",
        b"_",
        b"\xff",
    ],
)
def test_what_has_no_row_gets_the_empty_reply(client, packet) -> None:
    assert client.ask(packet) == b""


def test_every_row_of_the_table_answers_its_packet_with_something(session, tmp_path) -> None:
    examples = {
        "G": b"G" + b"00" * 68, "p": b"p0", "P": b"P0=00000000", "m": b"m30000000,4",
        "M": b"M30000000,1:00", "X": b"X30000000,0:", "x": b"x30000000,4", "H": b"Hg0", "T": b"T1",
        "vCont": b"vCont;s:1", "vKill": b"vKill;1", "qSupported": b"qSupported:a+",
        "qThreadExtraInfo": b"qThreadExtraInfo,1", "qRcmd": b"qRcmd,68656c70",
        "qXfer:features:read": b"qXfer:features:read:target.xml:0,10",
        "qXfer:memory-map:read": b"qXfer:memory-map:read::0,10",
        "C": b"C05", "S": b"S05", "R": b"R00", "F": b"F0",
        "qXfer:threads:read": b"qXfer:threads:read::0,10",
        "qXfer:exec-file:read": b"qXfer:exec-file:read::0,10", "vFile:setfs": b"vFile:setfs:0",
        "vFile:open": b"vFile:open:61,0,0", "vFile:pread": b"vFile:pread:3,10,0",
        "vFile:fstat": b"vFile:fstat:3", "vFile:close": b"vFile:close:3",
        "vFile:readlink": b"vFile:readlink:61",
        "vFlashErase": b"vFlashErase:0,0", "vFlashWrite": b"vFlashWrite:0:", "Qqemu.sstep": b"Qqemu.sstep=3",
        "Qqemu.PhyMemMode": b"Qqemu.PhyMemMode:0", "Qdbgemu.LinuxTasks": b"Qdbgemu.LinuxTasks:1",
        "QCatchSyscalls": b"QCatchSyscalls:1", "QNonStop": b"QNonStop:1",
        "vAttach": b"vAttach;1", "vRun": b"vRun;",
        "qSearch:memory": b"qSearch:memory:30000000;10;x", "qCRC": b"qCRC:30000000,10",
        "QTDP": b"QTDP:1:30000000:E:0:0", "QTDV": b"QTDV:2:5", "QTNotes": b"QTNotes:user:61;",
        "QTFrame": b"QTFrame:0", "QTSave": b"QTSave:61", "qTP": b"qTP:1:30000000", "qTV": b"qTV:2",
        "qTBuffer": b"qTBuffer:0,10", "QTDPsrc": b"QTDPsrc:1:30000000:at:0:0:",
        "QTEnable": b"QTEnable:1:30000000", "QTDisable": b"QTDisable:1:30000000",
        "QTDisconnected": b"QTDisconnected:0", "QTBuffer": b"QTBuffer:circular:0",
        "qXfer:traceframe-info:read": b"qXfer:traceframe-info:read::0,10",
    }  # fmt: skip
    silent = {"c", "C", "k", "R", "F"}
    for row in (row for capability in CAPABILITIES for row in capability.packets):
        client = Client(
            Stub(
                session,
                RegisterFile(session.cpu),
                Monitor(session).execute,
                trace_folder=tmp_path,
                program=Path(__file__),
            ),
            send=lambda packet: None,
            schedule=lambda action: None,
            disconnect=lambda: None,
        )
        if row.name == "qXfer:traceframe-info:read":
            client.frame = TraceFrame(0, 1, 0x30000000, b"")
        packet = examples.get(row.name, row.name.encode() + (b",30000000,4" if row.name[0] in "zZ" else b""))
        assert parse(packet)[0] is row
        reply = client.handle(packet)
        session.halt()
        if row.name in silent:
            assert reply is None, row.name
        else:
            assert reply is not None, row.name
            # the fake machine has no flash chip: the manual's reply to that
            assert not re.fullmatch(rb"|E[0-9a-f]{2}|E\.(?!memtype).*", reply), (row.name, reply)
        client.detach(resume=False)


# -- registers -------------------------------------------------------------------------------------


def test_g_gives_r0_to_pc_then_cpsr(client, machine) -> None:
    for number in range(15):
        machine.cpu.write_register(f"r{number}", 0x01020300 + number)
    expected = b"".join(word(0x01020300 + number) for number in range(15)) + word(START) + word(0xD3)
    assert client.ask(b"g") == expected


def test_capital_g_writes_them_and_refuses_another_length(client, machine) -> None:
    values = [*range(100, 116), 0x10]
    assert client.ask(b"G" + b"".join(map(word, values))) == b"OK"
    assert client.ask(b"g") == b"".join(map(word, values))
    assert client.ask(b"G00") == b"E22"
    assert client.ask(b"G0") == b"E22"
    assert client.ask(b"Gxy") == b"E22"


@pytest.mark.parametrize(("name", "number"), [("r0", 0), ("sp", 13), ("pc", 15), ("cpsr", 25)])
def test_core_registers_have_gdbs_numbers(client, machine, name, number) -> None:
    assert client.ask(b"P%x=78563412" % number) == b"OK"
    assert machine.cpu.read_register(name) == 0x12345678
    assert client.ask(b"p%x" % number) == b"78563412"


@pytest.mark.parametrize("name", ["r8_fiq", "r14_svc", "spsr_und", "sctlr", "ttbr", "r13_usr"])
def test_banked_and_cp15_registers_are_read_and_written_one_by_one(client, session, machine, name) -> None:
    number = number_of(session, name)
    assert client.ask(b"P%x=01000000" % number) == b"OK"
    assert machine.cpu.read_register(name) == 1
    assert client.ask(b"p%x" % number) == b"01000000"


@pytest.mark.parametrize(
    "packet", [b"p10", b"pffffffff", b"P10=00000000", b"p", b"pxyz", b"P0=00", b"P0", b"P0=000"]
)
def test_bad_register_packets_are_errors(client, packet) -> None:
    assert re.fullmatch(rb"E[0-9]{2}", client.ask(packet))


# -- memory ----------------------------------------------------------------------------------------


def test_memory_written_in_hexadecimal_or_binary_is_read_back_in_both(client) -> None:
    data = bytes(range(256))
    assert client.ask(b"M30000000,100:" + data.hex().encode()) == b"OK"
    assert client.ask(b"m30000000,100") == data.hex().encode()
    other = bytes(reversed(data)) + b"#$}*"
    assert client.ask(b"X30001000,104:" + escape(other)) == b"OK"
    reply = client.ask(b"x30001000,104")
    assert reply[:1] == b"b"
    assert unescape(reply[1:]) == other


def test_a_read_is_cut_where_memory_ends(client, machine) -> None:
    end = RAM_BASE + machine.ram.size
    assert client.ask(b"m%x,10" % (end - 4)) == b"00000000"
    assert client.ask(b"x%x,10" % (end - 4)) == b"b\0\0\0\0"


@pytest.mark.parametrize("address", [0x90000000, UNMAPPED, 0xFFFFFFFF])
def test_memory_that_is_not_there_is_an_error_and_not_zeros(client, address) -> None:
    assert client.ask(b"m%x,4" % address) == b"E14"
    assert client.ask(b"x%x,4" % address) == b"E14"
    assert client.ask(b"M%x,4:00000000" % address) == b"E14"
    assert client.ask(b"X%x,4:abcd" % address) == b"E14"


def test_errors_are_texts_for_a_client_that_takes_texts(client) -> None:
    client.ask(b"qSupported:error-message+")
    assert client.ask(b"m90000000,4") == b"E.nothing answers at physical address 0x90000000"
    assert client.ask(b"mf0000000,4") == b"E.section translation fault at virtual address 0xf0000000"
    assert client.ask(b"pfff") == b"E.there is no register number 4095"


def test_a_large_read_gives_what_fits_in_a_packet(client, machine) -> None:
    machine.ram.data[:] = b"*" * machine.ram.size
    assert len(client.ask(b"m30000000,ffffffff")) <= PACKET_SIZE
    assert len(client.ask(b"x30000000,ffffffff")) <= PACKET_SIZE


def test_empty_reads_and_writes(client) -> None:
    assert client.ask(b"X0,0:") == b"OK"
    assert client.ask(b"M0,0:") == b"OK"
    assert client.ask(b"x30000000,0") == b"b"
    assert client.ask(b"m30000000,0") == b"E22"


@pytest.mark.parametrize(
    "packet",
    [
        b"m", b"m30000000", b"m,4", b"m30000000,", b"m0x30000000,4", b"m3000 0000,4", b"m130000000,4",
        b"m-1,4", b"m3_0,4", b"M30000000,2:00", b"M30000000,1:0", b"M30000000,1:0g", b"M30000000,1",
        b"M30000000,2:0 0 ", b"X30000000,2:a", b"X30000000,0:a", b"x30000000", b"Xffffffff,2:ab",
    ],
)  # fmt: skip
def test_malformed_memory_packets_are_errors(client, packet) -> None:
    assert re.fullmatch(rb"E[0-9]{2}", client.ask(packet))


# -- running ---------------------------------------------------------------------------------------


def registers_in(reply: bytes) -> dict[int, int]:
    pairs = re.findall(rb"([0-9a-f]{2}):([0-9a-f]{8});", reply)
    return {
        int(number, 16): int.from_bytes(bytes.fromhex(value.decode()), "little") for number, value in pairs
    }


def test_a_step_replies_with_the_registers_gdb_wants(client, machine) -> None:
    machine.cpu.write_register("r11", 0x11)
    machine.cpu.write_register("sp", 0x22)
    machine.cpu.write_register("lr", 0x33)
    reply = client.ask(b"s")
    assert reply.startswith(b"T05thread:1;")
    assert registers_in(reply) == {11: 0x11, 13: 0x22, 14: 0x33, 15: START + 4, 25: 0xD3}


@pytest.mark.parametrize(
    "packet", [b"s", b"S05", b"vCont;s", b"vCont;s:1", b"vCont;s:p1.1;c:p1.-1", b"vCont;S05:1"]
)
def test_every_way_to_step_steps_once(client, machine, packet) -> None:
    assert registers_in(client.ask(packet))[15] == START + 4
    assert machine.cpu.instructions == 1


@pytest.mark.parametrize("packet", [b"c", b"C05", b"vCont;c", b"vCont;c:-1", b"vCont;C05:1"])
def test_every_way_to_continue_runs_to_the_breakpoint(client, packet) -> None:
    client.ask(b"Z0,%x,4" % (START + 8))
    assert registers_in(client.ask(packet))[15] == START + 8


def test_step_and_continue_may_name_the_address_to_start_at(client) -> None:
    assert registers_in(client.ask(b"s%x" % (START + 32)))[15] == START + 36
    assert registers_in(client.ask(b"S05;%x" % (START + 32)))[15] == START + 36
    client.ask(b"Z1,%x,4" % (START + 8))
    assert registers_in(client.ask(b"c%x" % (START + 4)))[15] == START + 8


def test_a_range_step_runs_to_the_end_of_the_range(client, machine) -> None:
    assert registers_in(client.ask(b"vCont;r%x,%x:1" % (START, START + 20)))[15] == START + 20
    assert machine.cpu.instructions == 5


def test_a_long_range_step_can_be_interrupted(client) -> None:
    client.send(b"vCont;r%x,%x:1" % (START, START + 64))
    time.sleep(0.05)
    client.send_bytes(b"\x03")
    assert client.receive().startswith(b"T02")


@pytest.mark.parametrize(
    "packet",
    [
        b"vCont",
        b"vCont;",
        b"vCont;x",
        b"vCont;s:2",
        b"vCont;s:",
        b"vCont;r1:1",
        b"vCont;s:zz",
        b"sxyz",
        b"C",
        b"S5",
        b"c ",
    ],
)
def test_bad_run_packets_are_errors_and_nothing_runs(client, machine, packet) -> None:
    assert re.fullmatch(rb"E[0-9]{2}", client.ask(packet))
    assert machine.cpu.instructions == 0


def test_vcont_tells_its_actions(client) -> None:
    assert client.ask(b"vCont?") == b"vCont;c;C;s;S;t;r"


def test_ctrl_c_stops_the_run(client, session) -> None:
    client.send(b"c")
    until(lambda: session.running)
    client.send_bytes(b"\x03")
    assert client.receive().startswith(b"T02thread:1;")


def test_ctrl_c_right_behind_the_continue_is_not_lost(client) -> None:
    for _ in range(100):
        client.send_bytes(frame(b"vCont;c") + b"\x03")
        assert client.receive().startswith(b"T02")


def test_ctrl_c_while_stopped_means_nothing(client) -> None:
    client.send_bytes(b"\x03")
    assert client.ask(b"qC") == b"QC1"
    assert client.ask(b"s").startswith(b"T05")


def test_stopping_by_vcont_t_is_told_like_an_interrupt(client, session) -> None:
    client.send(b"vCont;c")
    until(lambda: session.running)
    client.send(b"vCont;t")
    assert client.receive().startswith(b"T02")
    assert client.ask(b"vCont;t").startswith(b"T02")


def test_the_reason_of_a_stop_is_asked_for_with_a_question_mark(client) -> None:
    assert client.ask(b"?").startswith(b"T05thread:1;")


# -- breakpoints and watchpoints ---------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "reason"), [(b"0", b"swbreak"), (b"1", b"hwbreak")])
def test_breakpoint_reasons_go_to_clients_that_know_them(client, kind, reason) -> None:
    assert client.ask(b"Z%b,%x,4" % (kind, START + 8)) == b"OK"
    assert client.ask(b"c").startswith(b"T05thread")
    client.ask(b"qSupported:swbreak+;hwbreak+")
    assert client.ask(b"c").startswith(b"T05%b:;thread:1;" % reason)


def test_a_breakpoint_set_twice_is_removed_at_once(client, machine) -> None:
    for packet in (b"Z0,%x,4", b"Z0,%x,4", b"z0,%x,4", b"z0,%x,4"):
        assert client.ask(packet % START) == b"OK"
    assert machine.cpu.breakpoints == set()


@pytest.mark.parametrize(
    ("kind", "reason", "write"), [(b"2", b"watch", True), (b"3", b"rwatch", False), (b"4", b"awatch", True)]
)
def test_watchpoint_stops_name_kind_and_address(client, machine, kind, reason, write) -> None:
    machine.cpu.accesses[START + 8] = (RAM_BASE, 4, write)
    assert client.ask(b"Z%b,%x,1" % (kind, RAM_BASE + 3)) == b"OK"
    reply = client.ask(b"c")
    assert reply.startswith(b"T05%b:%x;thread:1;" % (reason, RAM_BASE + 3))
    assert registers_in(reply)[15] == START + 8
    assert client.ask(b"z%b,%x,1" % (kind, RAM_BASE + 3)) == b"OK"
    assert machine.cpu.watchpoints == []


@pytest.mark.parametrize("packet", [b"Z2,0,0", b"Z2,ffffffff,2", b"Z0", b"Z0,", b"Z0,0", b"Zx,0,0", b"z2,0"])
def test_bad_points_are_errors_or_unknown(client, machine, packet) -> None:
    assert re.fullmatch(rb"E[0-9]{2}|", client.ask(packet))
    assert machine.cpu.watchpoints == []


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


# -- several clients, hostile clients ------------------------------------------------------------------


def test_a_stop_is_told_to_every_client_that_waits(connect, server, client, session) -> None:
    other = connect(server.endpoint)
    other.ask(b"qSupported:swbreak+;hwbreak+")
    client.ask(b"qSupported:swbreak+;hwbreak+")
    client.ask(b"Z0,%x,4" % (START + 8))
    other.send(b"c")
    until(lambda: session.running or machine_stopped(session))
    client.send(b"c")
    assert client.receive().startswith(b"T05")
    assert other.receive().startswith(b"T05thread")


def machine_stopped(session: DebugSession) -> bool:
    return session.last_stop.number > 0


def test_a_step_of_one_client_stops_the_others_run(connect, server, client, session, machine) -> None:
    other = connect(server.endpoint)
    client.send(b"c")
    until(lambda: machine.cpu.instructions > 10)
    assert other.ask(b"s").startswith(b"T05")
    assert client.receive().startswith(b"T02")
    assert not session.running


def test_one_client_reads_memory_and_sets_breakpoints_while_anothers_guest_runs(
    connect, server, client, session, machine
) -> None:
    other = connect(server.endpoint)
    client.send(b"c")
    until(lambda: machine.cpu.instructions > 10)
    assert other.ask(b"M30000000,4:01020304") == b"OK"
    assert other.ask(b"m30000000,4") == b"01020304"
    assert len(other.ask(b"g")) == 136
    assert session.running
    assert other.ask(b"Z0,%x,4" % (START + 8)) == b"OK"
    assert client.receive().startswith(b"T05")


def test_removing_ones_breakpoint_leaves_the_others(connect, server, client, machine) -> None:
    other = connect(server.endpoint)
    for each in (client, other):
        each.ask(b"Z0,%x,4" % (START + 8))
    client.ask(b"z0,%x,4" % (START + 8))
    assert machine.cpu.breakpoints == {START + 8}
    assert registers_in(other.ask(b"c"))[15] == START + 8


def test_a_client_that_detaches_does_not_resume_what_another_holds(connect, server, client, session) -> None:
    other = connect(server.endpoint)
    other.ask(b"?")
    assert client.ask(b"D") == b"OK"
    assert not session.running
    assert other.ask(b"D") == b"OK"
    until(lambda: session.running)


def test_a_client_that_vanishes_leaves_no_points_and_does_not_stop_the_guest(
    connect, server, session, machine
) -> None:
    client = connect(server.endpoint)
    client.ask(b"Z0,%x,4" % (START + 8))
    client.ask(b"Z2,%x,4" % RAM_BASE)
    other = connect(server.endpoint)
    client.ask(b"z0,%x,4" % (START + 8))
    client.ask(b"Z0,%x,4" % 0x1000)
    client.send(b"c")
    until(lambda: machine.cpu.instructions > 10)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until(lambda: server.client_count == 1)
    assert machine.cpu.breakpoints == set()
    assert machine.cpu.watchpoints == []
    assert session.running
    assert other.ask(b"?").startswith(b"T05")


def test_a_client_that_vanishes_in_the_middle_of_a_packet_disturbs_nobody(connect, server, client) -> None:
    half = connect(server.endpoint)
    half.send_bytes(b"$m3000")
    half.close()
    until(lambda: server.client_count == 1)
    assert client.ask(b"qC") == b"QC1"


def test_a_client_that_asks_without_a_pause_leaves_others_their_turns(connect, server, client) -> None:
    ended = threading.Event()
    busy = connect(server.endpoint)

    def ask() -> None:
        while not ended.is_set():
            busy.ask(b"qC")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(200):
            assert client.ask(b"qC") == b"QC1"
    finally:
        ended.set()
        asking.join()


def test_a_client_that_does_not_read_takes_little_room_and_disturbs_nobody(
    connect, server, client, machine
) -> None:
    greedy = connect(server.endpoint)
    machine.ram.data[:] = b"\x55" * machine.ram.size
    greedy.socket.settimeout(0.2)
    request = frame(b"m30000000,ffff") * 500
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            greedy.send_bytes(request)
    assert client.ask(b"qC") == b"QC1"
    connection = max(server._connections, key=lambda item: len(item._output))
    assert len(connection._output) < 16 << 20
    greedy.socket.settimeout(5)
    assert len(greedy.receive()) == 2 * 0xFFFC
    greedy.close()
    until(lambda: server.client_count == 1)


def test_a_slow_reader_gets_every_reply_in_order(connect, server, machine) -> None:
    slow = connect(server.endpoint)
    machine.ram.data[: 64 << 4] = b"".join(struct.pack("<I", n) for n in range(256))
    count = 2000
    sender = threading.Thread(
        target=lambda: [slow.send(b"m%x,4" % (RAM_BASE + 4 * (n % 256))) for n in range(count)]
    )
    sender.start()
    time.sleep(0.1)
    for n in range(count):
        assert slow.receive() == word(n % 256)
    sender.join()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            # a kill ends the emulator, for everyone
            st.binary(max_size=20).filter(lambda packet: packet[:1] != b"k").map(frame),
            st.sampled_from(
                [b"$", b"#", b"\x03", b"$vCont;c#a8", b"$?#3f", b"$g#67", b"$D#44", b"$m30000000,10#00"]
            ),
        ),
        max_size=12,
    )
)
def test_hostile_bytes_from_one_client_disturb_no_other(connect, server, client, pieces) -> None:
    hostile = connect(server.endpoint, acks=True)
    for piece in pieces:
        hostile.send_bytes(piece)
    hostile.close()
    assert client.ask(b"qC") == b"QC1"


_PACKET = st.builds(
    lambda name, rest: name + rest,
    st.sampled_from(
        [row.name.encode() for item in CAPABILITIES for row in item.packets if row.name not in ("k", "vKill")]
    ),
    st.one_of(st.binary(max_size=30), st.text("0123456789abcdef,:;=-p.", max_size=30).map(str.encode)),
)


@settings(max_examples=1500, deadline=None)
@given(st.one_of(_PACKET, st.binary(max_size=60)))
def test_any_packet_is_parsed_or_refused(packet: bytes) -> None:
    try:
        row, found = parse(packet)
    except PacketError as error:
        assert str(error)
    else:
        assert isinstance(found, tuple)
        assert row is None or packet.startswith(row.name.encode())


@settings(max_examples=300, deadline=None)
@given(st.lists(_PACKET, max_size=20))
def test_any_packets_are_answered_without_a_failure(packets: list[bytes]) -> None:
    session = DebugSession(FakeMachine())
    client = Client(
        Stub(session, RegisterFile(session.cpu), Monitor(session).execute),
        send=lambda packet: None,
        schedule=lambda action: None,
        disconnect=lambda: None,
    )
    for packet in packets:
        reply = client.handle(packet)
        assert reply is None or isinstance(reply, bytes)
    client.detach(resume=False)
    session.close()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"1", 1),
        (b"0", 0),
        (b"-1", -1),
        (b"1f", 31),
        (b"p1.1", 1),
        (b"p1", -1),
        (b"p1.-1", -1),
        (b"p-1", -1),
        (b"p0.0", 0),
        (b"p2.1", None),
        (b"p1.2", 2),
    ],
)
def test_valid_thread_ids_name_a_thread_any_all_or_one_of_no_process_there_is(text, number) -> None:
    assert arguments.thread_number(text) == number


@pytest.mark.parametrize("text", [b"", b"p", b"p.1", b"x", b"-2", b"1.1", b"p1.", b" 1"])
def test_invalid_thread_ids_are_refused(text) -> None:
    with pytest.raises(PacketError, match="thread-id expected"):
        arguments.thread_number(text)


def test_valid_features_are_understood() -> None:
    found = {"a": "+", "b": "-", "c": "?", "d": "x86", "e": ""}
    assert arguments.features(b"a+;b-;c?;d=x86;e=") == (found,)
    assert arguments.features(b"") == ({},)


@pytest.mark.parametrize("text", [b"a", b"+", b"a+b", b"=1"])
def test_invalid_features_are_refused(text) -> None:
    with pytest.raises(PacketError, match="feature expected"):
        arguments.features(text)


# -- where the server listens ----------------------------------------------------------------------------


def test_a_server_on_a_unix_socket_serves_and_cleans_up(connect, session, tmp_path) -> None:
    path = tmp_path / "gdb.sock"
    with serve(session, f"unix:{path}") as server:
        assert connect(server.endpoint).ask(b"qC") == b"QC1"
        with pytest.raises(OptionError, match=r"gdb\.sock: Address already in use"):
            GdbServer(session, f"unix:{path}").start(None)
    assert not path.exists()


def test_a_socket_file_left_by_a_dead_process_is_replaced(connect, session, tmp_path) -> None:
    path = tmp_path / "gdb.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serve(session, f"unix:{path}") as server:
        assert connect(server.endpoint).ask(b"qC") == b"QC1"


def test_a_file_that_is_no_socket_is_not_replaced(session, tmp_path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OptionError, match="cannot listen at"):
        GdbServer(session, f"unix:{path}").start(None)
    assert path.read_text() == "data"


def test_a_port_in_use_is_one_clear_sentence(session, server) -> None:
    with pytest.raises(OptionError) as caught:
        GdbServer(session, str(server.endpoint)).start(None)
    assert str(caught.value) == f"cannot listen at {server.endpoint}: Address already in use"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp::1234", "tcp:127.0.0.1:1234"),
        ("tcp:0.0.0.0:1", "tcp:0.0.0.0:1"),
        ("tcp:localhost:1234,server,nowait", "tcp:localhost:1234"),
        ("tcp:[::1]:1234", "tcp:[::1]:1234"),
        ("unix:/tmp/x,server=on,wait=off", "unix:/tmp/x"),
    ],
)
def test_endpoints_are_loopback_unless_told_otherwise(text, endpoint) -> None:
    assert str(parse_endpoint(text)) == endpoint


@pytest.mark.parametrize(
    "text", ["", "1234", "tcp:1234", "tcp::", "tcp::99999", "unix:", "udp::1", "tcp::12x"]
)
def test_a_bad_endpoint_is_one_clear_sentence(text) -> None:
    with pytest.raises(OptionError) as caught:
        parse_endpoint(text)
    assert str(caught.value) == f"'{text}' is no place to listen at: write tcp:HOST:PORT or unix:PATH"
