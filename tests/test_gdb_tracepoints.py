"""The tracepoint packets over real sockets, against a machine that does what the test says."""

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from support import RAM_BASE, START, UNMAPPED, FakeMachine, RawClient, serve, until

from dbgemu.debug.session import DebugSession
from dbgemu.gdbstub import trace_arguments as arguments
from dbgemu.gdbstub.errors import PacketError
from dbgemu.gdbstub.packets import ANNOUNCEMENT, parse
from dbgemu.gdbstub.server import GdbServer

pytest_plugins = ["gdb_fixtures"]

HERE = START + 8
#: reg 0; const8 2; equal; end
CONDITION = b"260000" + b"2202" + b"13" + b"27"


@pytest.fixture
def machine() -> FakeMachine:
    machine = FakeMachine()
    machine.board.clock = SimpleNamespace(now=5_000_000)
    return machine


@pytest.fixture
def server(session: DebugSession, tmp_path: Path) -> Iterator[GdbServer]:
    with serve(session, trace_folder=tmp_path) as server:
        yield server


@pytest.fixture
def connect(server: GdbServer) -> Iterator[Callable[[], RawClient]]:
    with ExitStack() as clients:
        yield lambda: clients.enter_context(closing(RawClient(server.endpoint)))


@pytest.fixture
def client(connect: Callable[[], RawClient]) -> RawClient:
    client = connect()
    client.ask(b"qSupported:swbreak+;error-message+")
    return client


def does(client: RawClient, *packets: bytes) -> None:
    for packet in packets:
        assert client.ask(packet) == b"OK", packet


def error(client: RawClient, packet: bytes) -> str:
    reply = client.ask(packet)
    assert reply.startswith(b"E."), reply
    return reply[2:].decode()


def trace(client: RawClient, actions: bytes = b"R1", turns: int = 3, head: bytes = b"E:0:0") -> None:
    """Trace ``HERE`` for some turns of the guest's loop."""
    does(client, b"QTinit", b"QTDP:1:%x:%b-" % (HERE, head), b"QTDP:-1:%x:%b" % (HERE, actions), b"QTStart")
    run(client, turns)


def run(client: RawClient, turns: int) -> None:
    does(client, b"Z0,%x,4" % (START + 60))
    for _ in range(turns):
        assert client.ask(b"vCont;c").startswith(b"T05")
    does(client, b"z0,%x,4" % (START + 60))


def status(client: RawClient) -> dict[str, str]:
    head, *parts = client.ask(b"qTStatus").decode().split(";")
    return {"": head, **dict(part.split(":", 1) for part in parts)}


def upload(client: RawClient, first: bytes, following: bytes) -> list[str]:
    found = []
    reply = client.ask(first)
    while reply != b"l":
        found.append(reply.decode())
        reply = client.ask(following)
    return found


# -- what is announced -------------------------------------------------------------------------------


def test_each_feature_of_tracepoints_is_announced() -> None:
    features = set(ANNOUNCEMENT.split(b";"))
    assert {
        b"ConditionalTracepoints+",
        b"TracepointSource+",
        b"EnableDisableTracepoints+",
        b"InstallInTrace+",
        b"DisconnectedTracing+",
        b"tracenz+",
        b"QTBuffer:size+",
        b"qXfer:traceframe-info:read+",
    } <= features
    assert not {b"FastTracepoints+", b"StaticTracepoints+"} & features


@pytest.mark.parametrize("packet", [b"qTMinFTPILen", b"qTfSTM", b"qTsSTM", b"qTSTMat:1000"])
def test_fast_and_static_tracepoints_are_unknown(client, packet) -> None:
    assert client.ask(packet) == b""


# -- definitions -------------------------------------------------------------------------------------


def test_definitions_are_uploaded_as_they_came(client) -> None:
    does(
        client,
        b"QTinit",
        b"QTDP:1:00000000%x:E:2:5:X%x,%b-" % (HERE, len(CONDITION) // 2, CONDITION),
        b"QTDP:-1:%x:RFFFFM-1,30000000,4-" % HERE,
        b"QTDP:-1:%x:MB,fffffffffffffff0,10X1,27-" % HERE,
        b"QTDP:-1:%x:SR1-" % HERE,
        b"QTDP:-1:%x:M-1,30000010,4" % HERE,
        b"QTDPsrc:1:%x:at:0:4:6c656166" % HERE,
        b"QTDPsrc:1:%x:cmd:0:3:656e64" % HERE,
        b"QTDP:2:%x:D:0:0" % (HERE + 4),
        b"QTEnable:2:%x" % (HERE + 4),
        b"QTDisable:1:%x" % HERE,
    )
    place = f"1:{HERE:x}"
    assert upload(client, b"qTfP", b"qTsP") == [
        f"T{place}:D:2:5:X7,{CONDITION.decode()}",
        f"A{place}:RFFFF",
        f"A{place}:M-1,30000000,4",
        f"A{place}:MB,fffffffffffffff0,10",
        f"A{place}:X1,27",
        f"S{place}:R1",
        f"S{place}:M-1,30000010,4",
        f"Z{place}:at:0:4:6c656166",
        f"Z{place}:cmd:0:3:656e64",
        f"T2:{HERE + 4:x}:E:0:0",
    ]
    assert client.ask(b"qTsP") == b"l"


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (b"QTDP:1:1000:E:0:0:F4", "there are no fast tracepoints here: use 'trace'"),
        (b"QTDP:1:1000:E:0:0:S", "there are no static tracepoints here: use 'trace'"),
        (b"QTDP:0:1000:E:0:0", "a tracepoint cannot have number 0: 1 to 32767 can"),
        (b"QTDP:1:1000:E:0:0:X1,ff", "there is no operation 0xff, at byte 0 of the expression"),
        (b"QTDP:1:1000:E:0:0:X2,27", "2 bytes announced but 1 sent"),
        (b"QTDP:1:123456789:E:0:0", "tracepoint definition expected, not '1:123456789:E:0:0'"),
        (b"QTDP:-1:1000:R1", "there is no tracepoint 1 at 0x00001000"),
        (b"QTDP:-1:1000:L", "action R, M or X expected, not 'L'"),
        (b"QTDP:-1:1000:M9999,0,4", "there is no register number 39321 that could hold an address"),
        (b"QTDP:-1:1000:R4000000", "register r8_usr is not recorded: trace frames have r0 to r15 and cpsr"),
        (b"QTEnable:3:1000", "there is no tracepoint 3 at 0x00001000"),
        (b"QTDPsrc:3:1000:at:0:0:", "there is no tracepoint 3 at 0x00001000"),
        (b"qTP:3:1000", "there is no tracepoint 3 at 0x00001000"),
        (b"QTBuffer:size:0", "a trace buffer cannot have 0 bytes: 1 to 1073741824 can"),
        (b"QTFrame:up", "frame number, pc, tdp, range or outside expected, not 'up'"),
        (b"qXfer:traceframe-info:read::0,100", "no trace frame is selected"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(client, packet, text) -> None:
    assert error(client, packet) == text
    assert client.ask(b"qTfP") == b"l"


def test_all_registers_may_be_asked_for_though_frames_have_the_core(client, session) -> None:
    trace(client, b"R07fffffffffe00ffff", 1)
    assert len(session.trace.buffer.frame(0).data) == 1 + 17 * 4


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (arguments.tracepoint, b""),
        (arguments.tracepoint, b"1:2:E:0"),
        (arguments.tracepoint, b"-1:2"),
        (arguments.tracepoint, b"-1:2:M-1,0"),
        (arguments.tracepoint, b"-1:2:X5,zz"),
        (arguments.source, b"1:2:at:0"),
        (arguments.variable, b"1"),
        (arguments.variable, b"1:12345678123456789"),
        (arguments.location, b"1"),
        (arguments.number, b""),
        (arguments.flag, b"2"),
        (arguments.frame, b""),
        (arguments.frame, b"range:1"),
        (arguments.ranges, b"1"),
        (arguments.setting, b"circular"),
        (arguments.notes, b"user"),
        (arguments.piece, b"1"),
    ],
)
def test_malformed_arguments_are_an_error(parser, text) -> None:
    with pytest.raises(PacketError):
        parser(text)


def test_parsed_packets_are_values() -> None:
    packet = b"QTDP:-1:1000:SR1M-1,20,4X1,27-"
    (item,) = parse(packet)[1]
    assert (item.stepping, item.more, [action.text for action in item.actions]) == (
        True,
        True,
        ["R1", "M-1,20,4", "X1,27"],
    )
    assert parse(packet)[1] == (item,)


# -- variables ---------------------------------------------------------------------------------------


def test_variables_are_defined_read_and_uploaded(client) -> None:
    does(client, b"QTinit", b"QTDV:2:fffffffffffffffe:0:666f6f", b"QTDV:3:5")
    assert client.ask(b"qTV:2") == b"Vfffffffffffffffe"
    assert client.ask(b"qTV:3") == b"V5"
    assert client.ask(b"qTV:4") == b"U"
    assert upload(client, b"qTfV", b"qTsV") == [
        "1:0:1:" + b"trace_timestamp".hex(),
        "2:fffffffffffffffe:0:666f6f",
        "3:5:0:",
    ]


def test_the_timestamp_is_virtual_time_in_nanoseconds_and_stays(client) -> None:
    does(client, b"QTDV:1:7:1:" + b"trace_timestamp".hex().encode())
    assert client.ask(b"qTV:1") == b"V%x" % 5_000_000
    assert "built-in" in error(client, b"QTDV:1:7:0:61")


# -- a run and its status ----------------------------------------------------------------------------


def test_the_status_tells_of_a_run_from_start_to_stop(client) -> None:
    does(client, b"QTinit")
    before = status(client)
    assert (before[""], before["tnotrun"], before["tframes"]) == ("T0", "0", "0")
    assert (before["tsize"], before["tfree"]) == ("500000", "500000")
    does(client, b"QTNotes:user:6d65;notes:776879;", b"QTBuffer:circular:1", b"QTDisconnected:1")
    trace(client, b"R1", 3)
    during = status(client)
    assert during[""] == "T1"
    assert (during["tframes"], during["tcreated"], during["circular"], during["disconn"]) == (
        "3",
        "3",
        "1",
        "1",
    )
    assert int(during["tfree"], 16) == 0x500000 - 3 * (6 + 1 + 68)
    assert (during["username"], during["notes"], during["stoptime"]) == ("6d65", "776879", "0")
    does(client, b"QTNotes:tstop:656e6f756768;", b"QTStop")
    after = status(client)
    assert (after[""], after["tstop"]) == ("T0", "656e6f756768:0")
    assert int(after["stoptime"], 16) >= int(after["starttime"], 16) > 1 << 50
    assert client.ask(b"qTP:1:%x" % HERE) == b"V3:%x" % (3 * 69)


def test_a_pass_count_a_full_buffer_and_an_error_are_told_apart(client) -> None:
    trace(client, b"R1", 4, b"E:0:2")
    assert (status(client)["tpasscount"], status(client)["tframes"]) == ("1", "2")
    does(client, b"QTinit", b"QTBuffer:size:64")
    trace(client, b"R1", 4)
    assert (status(client)["tfull"], status(client)["tframes"]) == ("0", "1")
    does(client, b"QTinit", b"QTBuffer:size:-1")
    trace(client, b"X6,220122000527", 1)
    text = b"the expression divides by zero".hex()
    assert status(client)["terror"] == f"{text}:1"


def test_a_conditional_tracepoint_hits_when_its_condition_is_true(client, machine) -> None:
    def count() -> None:
        machine.cpu.registers["r0"] += 1

    machine.cpu.program[START] = count
    trace(client, b"R1", 2, b"E:0:0:X7," + CONDITION)
    assert client.ask(b"QTFrame:0") == b"F0T1"
    assert client.ask(b"p0") == b"02000000"
    assert client.ask(b"QTFrame:1") == b"F-1"


def test_tracepoints_can_be_added_switched_and_left_out_while_tracing(client) -> None:
    trace(client, b"R1", 1)
    does(client, b"QTDisable:1:%x" % HERE, b"QTDP:2:%x:E:0:0-" % (HERE + 4))
    run(client, 1)
    assert status(client)["tframes"] == "1"
    does(client, b"QTDP:-2:%x:R1" % (HERE + 4))
    run(client, 1)
    does(client, b"QTEnable:1:%x" % HERE)
    run(client, 1)
    assert [client.ask(b"QTFrame:%x" % n) for n in range(5)] == [b"F0T1", b"F1T2", b"F2T1", b"F3T2", b"F-1"]


def test_while_stepping_makes_frames_of_its_own(client) -> None:
    trace(client, b"M-1,30000000,4-", 0, b"E:2:0")
    does(client, b"QTDP:-1:%x:SR1-" % HERE, b"QTDP:-1:%x:M-1,30000010,4" % HERE)
    run(client, 1)
    assert status(client)["tframes"] == "3"
    assert client.ask(b"QTFrame:1") == b"F1T1"
    assert client.ask(b"pf") == struct.pack("<I", HERE + 4).hex().encode()
    assert client.ask(b"m30000010,4") == b"00000000"


# -- frames ------------------------------------------------------------------------------------------


def test_a_selected_frame_is_what_registers_and_memory_are_read_from(client, machine) -> None:
    machine.cpu.write_register("r1", 0x11111111)
    machine.ram.data[0x40:0x44] = b"then"
    trace(client, b"RFFFFM-1,%x,4" % (RAM_BASE + 0x40), 1)
    machine.cpu.write_register("r1", 0x22222222)
    machine.ram.data[0x40:0x44] = b"now."
    assert client.ask(b"QTFrame:0") == b"F0T1"
    assert client.ask(b"p1") == b"11111111"
    registers = client.ask(b"g")
    assert len(registers) == 17 * 8 and registers[8:16] == b"11111111"
    assert client.ask(b"m%x,4" % (RAM_BASE + 0x40)) == b"then".hex().encode()
    assert client.ask(b"x%x,8" % (RAM_BASE + 0x42)) == b"ben"
    assert error(client, b"m%x,4" % RAM_BASE) == f"trace frame 0 has no memory at 0x{RAM_BASE:08x}"
    # a banked register is not recorded
    assert client.ask(b"p1a") == b"xxxxxxxx"
    assert client.ask(b"QTFrame:ffffffff") == b"OK"
    assert client.ask(b"p1") == b"22222222"
    assert client.ask(b"m%x,4" % (RAM_BASE + 0x40)) == b"now.".hex().encode()


def test_registers_that_were_not_collected_are_unavailable_but_the_pc_is_known(client) -> None:
    trace(client, b"M-1,30000000,4", 1)
    client.ask(b"QTFrame:0")
    pc = struct.pack("<I", HERE).hex().encode()
    assert client.ask(b"g") == b"x" * 15 * 8 + pc + b"x" * 8
    assert (client.ask(b"pf"), client.ask(b"p0")) == (pc, b"xxxxxxxx")


@pytest.mark.parametrize("packet", [b"P0=00000000", b"G" + b"00" * 68, b"M30000000,1:00", b"X30000000,1:a"])
def test_nothing_is_written_while_a_frame_is_selected(client, packet) -> None:
    trace(client, b"R1", 1)
    assert client.ask(b"QTFrame:0") == b"F0T1"
    assert error(client, packet).startswith("a trace frame is selected, which can only be read")
    assert client.ask(b"QTFrame:ffffffff") == b"OK"
    assert client.ask(packet) == b"OK"


def test_constant_memory_can_be_read_in_any_frame(client, machine) -> None:
    machine.ram.data[0x100:0x108] = b"constant"
    trace(client, b"M-1,%x,4" % (RAM_BASE + 0x106), 1)
    does(client, b"QTro:%x,%x:%x,%x" % (0, 16, RAM_BASE + 0x100, RAM_BASE + 0x200))
    client.ask(b"QTFrame:0")
    # What the frame has goes first: the reply ends where that begins.
    assert client.ask(b"m%x,8" % (RAM_BASE + 0x100)) == b"consta".hex().encode()
    assert "no memory" in error(client, b"m%x,8" % RAM_BASE)


def test_frames_are_found_by_number_address_tracepoint_and_range(client) -> None:
    does(client, b"QTinit")
    for number in (1, 2, 3):
        does(client, b"QTDP:%x:%x:E:0:0" % (number, START + 8 * number))
    does(client, b"QTStart")
    run(client, 2)
    assert client.ask(b"QTFrame:0") == b"F0T1"
    assert client.ask(b"QTFrame:tdp:2") == b"F1T2"
    assert client.ask(b"QTFrame:tdp:2") == b"F4T2"
    assert client.ask(b"QTFrame:tdp:2") == b"F-1"
    assert client.ask(b"QTFrame:0") == b"F0T1"
    assert client.ask(b"QTFrame:pc:%x" % (START + 24)) == b"F2T3"
    assert client.ask(b"QTFrame:range:%x:%x" % (START + 8, START + 16)) == b"F3T1"
    assert client.ask(b"QTFrame:outside:%x:%x" % (START + 8, START + 16)) == b"F5T3"
    # A search that fails leaves the selection as it is.
    assert client.ask(b"QTFrame:pc:0") == b"F-1"
    assert client.ask(b"pf") == struct.pack("<I", START + 24).hex().encode()
    assert client.ask(b"QTFrame:ffffffff") == b"OK"
    assert client.ask(b"QTFrame:tdp:3") == b"F2T3"


def test_the_contents_of_a_frame_are_described(client) -> None:
    # tracev 1 and 4 bytes
    trace(client, b"X4,2e000127M-1,30000020,4", 1)
    client.ask(b"QTFrame:0")
    reply = client.ask(b"qXfer:traceframe-info:read::0,1000")
    assert reply[:1] == b"l"
    root = ElementTree.fromstring(reply[1:].decode())
    assert [(item.tag, dict(item.attrib)) for item in root] == [
        ("memory", {"start": "0x30000020", "length": "0x4"}),
        ("tvar", {"id": "0x1"}),
    ]
    assert client.ask(b"qTV:1") == b"V%x" % 5_000_000
    assert client.ask(b"qTV:2") == b"U"


def test_each_client_has_a_selection_of_its_own(client, connect) -> None:
    trace(client, b"R1", 2)
    other = connect()
    assert client.ask(b"QTFrame:0") == b"F0T1"
    assert other.ask(b"QTFrame:tdp:1") == b"F0T1"
    assert other.ask(b"QTFrame:tdp:1") == b"F1T1"
    assert other.ask(b"QTFrame:ffffffff") == b"OK"
    assert error(client, b"P0=00000000")


def test_a_selected_frame_outlives_its_place_in_a_circular_buffer(client, machine) -> None:
    does(client, b"QTBuffer:size:100", b"QTBuffer:circular:1")
    machine.cpu.write_register("r1", 0xAAAAAAAA)
    trace(client, b"R1", 1)
    client.ask(b"QTFrame:0")
    machine.cpu.write_register("r1", 0xBBBBBBBB)
    run(client, 10)
    assert client.ask(b"p1") == b"aaaaaaaa"
    assert (status(client)["tframes"], status(client)["tcreated"]) == ("3", "b")


# -- the buffer as a whole ---------------------------------------------------------------------------


def test_the_buffer_is_uploaded_in_pieces_that_join(client) -> None:
    trace(client, b"M-1,30000000,2", 3)
    frame = struct.pack("<HI", 1, 13) + b"M" + struct.pack("<QH", RAM_BASE, 2) + bytes(2)
    data = b""
    while (reply := client.ask(b"qTBuffer:%x,10" % len(data))) != b"l":
        data += bytes.fromhex(reply.decode())
    assert data == 3 * frame
    assert client.ask(b"qTBuffer:0,ffffffff") == data.hex().encode()
    assert client.ask(b"qTBuffer:ffffffff,10") == b"l"


def test_a_trace_file_is_saved_in_the_folder_for_that(client, tmp_path) -> None:
    trace(client, b"R1", 2)
    does(client, b"QTStop", b"QTSave:" + b"run.tf".hex().encode())
    data = (tmp_path / "run.tf").read_bytes()
    head, _, frames = data.partition(b"\n\n")
    lines = head.split(b"\n")
    assert lines[:2] == [b"\x7fTRACE0", b"R 44"]
    assert lines[2].startswith(b"status 0;tstop::0;tframes:2;")
    assert b"tp T1:%x:E:0:0" % HERE in lines
    assert b"tp A1:%x:R1" % HERE in lines
    assert frames[:7] == struct.pack("<HI", 1, 69) + b"R"
    assert frames[2 * 75 :] == bytes(6)


@pytest.mark.parametrize("name", [b"../outside", b"/tmp/outside", b"", b"a/b"])
def test_a_trace_file_cannot_be_saved_elsewhere(client, name) -> None:
    assert "is not in the folder for trace files" in error(client, b"QTSave:" + name.hex().encode())


def test_saving_without_a_folder_is_refused(session) -> None:
    with serve(session) as server, closing(RawClient(server.endpoint)) as client:
        client.ask(b"qSupported:error-message+")
        assert error(client, b"QTSave:6162").startswith("the emulator was given no folder for trace files")


# -- coming and going --------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [False, True])
def test_tracing_goes_on_without_its_client_when_that_was_asked_for(client, connect, session, wanted) -> None:
    does(client, b"QTDisconnected:%d" % wanted)
    trace(client, b"R1", 1)
    other = connect()
    client.close()
    until(lambda: session.trace.running == wanted)
    run(other, 2)
    found = status(other)
    assert found["tframes"] == ("3" if wanted else "1")
    assert ("tdisconnected" in found) == (not wanted)
    assert upload(other, b"qTfP", b"qTsP") == [f"T1:{HERE:x}:E:0:0", f"A1:{HERE:x}:R1"]


def test_unreadable_memory_does_not_end_the_trace(client) -> None:
    trace(client, b"M-1,%x,4R1" % UNMAPPED, 2)
    assert (status(client)[""], status(client)["tframes"]) == ("T1", "2")
    client.ask(b"QTFrame:0")
    assert "has no memory" in error(client, b"m%x,4" % UNMAPPED)
    assert client.ask(b"p0") == b"00000000"


def test_a_client_that_traces_is_made_to_fetch_all_registers_once(client) -> None:
    """GDB writes trace files with a wrong block size unless it has seen the length of a g reply."""
    expedited = b";0f:"
    does(client, b"Z0,%x,4" % (START + 60))
    assert expedited in client.ask(b"vCont;c")
    does(client, b"QTStart")
    assert expedited not in client.ask(b"vCont;c")
    client.ask(b"g")
    assert expedited in client.ask(b"vCont;c")
