"""GDB's packets over real sockets, against a machine that does what the test says."""

import re
import time
from pathlib import Path

import pytest
from gdb_values import registers_in, word
from support import RAM_BASE, START, UNMAPPED, until

from dbgemu.debug.session import DebugSession
from dbgemu.debug.tracepoints.frame import TraceFrame
from dbgemu.gdbstub.client import Client, Stub
from dbgemu.gdbstub.framing import PACKET_SIZE, escape, frame, unescape
from dbgemu.gdbstub.packets import ANNOUNCEMENT, CAPABILITIES, parse
from dbgemu.gdbstub.target_xml import RegisterFile
from dbgemu.monitor.monitor import Monitor

pytest_plugins = ["gdb_fixtures"]


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
