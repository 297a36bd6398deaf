"""What the server announces is what it does: every feature is tried out, and every packet of the table.

A new feature fails here until it has a probe in ``PROBES``; a new packet until docs/gdb.md names it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gdb_wire import Wire, fetch, fetch_xml, wire
from support import RawClient, until

from dbgemu.gdbstub.framing import PACKET_SIZE
from dbgemu.gdbstub.packets import CAPABILITIES, parse
from dbgemu.machine import Machine
from dbgemu.target.arm.assembler import assemble_program
from dbgemu.target.boot import BootPlan, Load
from dbgemu.target.mini2440 import BootSwitch, Mini2440

START, DATA = 0x30008000, 0x30100000
_PROGRAM = assemble_program(
    """
    loop: add r0, r0, #1
    and r1, r0, #7
    hit: mov r2, r1
    cmp r1, #7
    bne loop
    turn: add r4, r4, #1
    b loop
    user: mov r7, #4
    msr cpsr_c, #0x10
    swi #0
    done: b done
    """,
    START,
)
#: agent expressions (GDB manual, "Bytecode Descriptions")
_R1_IS_5 = bytes((0x26, 0, 1, 0x22, 5, 0x13, 0x27))
_PRINT_HI = bytes((0x22, 0, 0x22, 0, 0x34, 0, 0, 4)) + b"hi\n\0\x27"
_TRACE_TEXT = bytes((0x24, *DATA.to_bytes(4, "big"), 0x22, 16, 0x2F, 0x27))


class Guest:
    """A wire to a machine with the program in memory, and what probes do again and again."""

    def __init__(self, connected: Wire) -> None:
        self.client, self.connect = connected.client, connected.connect
        self.session, self.server = connected.session, connected.server

    def __getitem__(self, label: str) -> int:
        return _PROGRAM[label]

    def run_to(self, label: str, client: RawClient | None = None) -> bytes:
        """Run to a label: the stop reply."""
        client = client or self.client
        assert client.ask(b"Z1,%x,4" % self[label]) == b"OK"
        reply = client.ask(b"c")
        assert client.ask(b"z1,%x,4" % self[label]) == b"OK"
        return reply

    def stop(self) -> tuple[bytes, bytes]:
        """The stop reply that is to come, and what is printed before it."""
        printed = b""
        while (reply := self.client.receive_packet()).startswith(b"O"):
            printed += bytes.fromhex(reply[1:].decode())
        return reply, printed

    def value(self, register: int) -> int:
        return int.from_bytes(bytes.fromhex(self.client.ask(b"p%x" % register).decode()), "little")

    def trace(self, *packets: bytes) -> None:
        """Start a new trace experiment with these definitions."""
        for packet in (b"QTinit", *packets, b"QTStart"):
            assert self.client.ask(packet) == b"OK", packet

    def hits(self, number: int = 1, label: str = "hit") -> int:
        reply = self.client.ask(b"qTP:%x:%x" % (number, self[label]))
        return int(reply.removeprefix(b"V").partition(b":")[0], 16)


@pytest.fixture
def guest() -> Iterator[Guest]:
    board = Mini2440(boot_switch=BootSwitch.NAND)
    load = Load(START, _PROGRAM.data, "the program")
    board.boot_plan = BootPlan("raw", (load,), START, False, 0, 1999, 0)
    board.bus.poke(0, assemble_program("; ".join(["b ."] * 8), 0).data)
    # Any ELF file will do as the program that GDB asks for.
    with wire(Machine(board, warp=True), program=Path(sys.executable).resolve()) as connected:
        yield Guest(connected)


# -- one probe for each feature --------------------------------------------------------------------


def _packet_size(guest: Guest) -> None:
    head = b"X%x," % DATA
    data = b"x" * (PACKET_SIZE - len(head) - len(b"ffffff:"))
    packet = head + b"%06x:" % len(data) + data
    assert len(packet) == PACKET_SIZE
    assert guest.client.ask(packet) == b"OK"
    assert len(guest.client.ask(b"m%x,%x" % (DATA, PACKET_SIZE))) <= PACKET_SIZE
    assert guest.client.ask(b"m%x,4" % (DATA + len(data) - 4)) == b"78" * 4


def _no_acks(guest: Guest) -> None:
    client = RawClient(guest.server.endpoint, acks=True)
    try:
        assert client.ask(b"qC") == b"QC1"  # behind an acknowledgement
        assert client.ask(b"QStartNoAckMode") == b"OK"
        client.acks = False
        assert client.ask(b"qC") == b"QC1"
    finally:
        client.close()


def _vcont(guest: Guest) -> None:
    assert {b"c", b"C", b"s", b"S"} <= set(guest.client.ask(b"vCont?").split(b";")[1:])
    assert guest.client.ask(b"vCont;s:1;c").startswith(b"T05")
    assert guest.value(15) == START + 4


def _exec_file(guest: Guest) -> None:
    name = fetch(guest.client, "exec-file")
    assert Path(name.decode()) == Path(sys.executable).resolve()
    opened = guest.client.ask(b"vFile:open:" + name.hex().encode() + b",0,0")
    assert opened.startswith(b"F") and not opened.startswith(b"F-1")
    assert guest.client.ask(b"vFile:pread:" + opened[1:] + b",4,0") == b"F4;\x7fELF"
    assert guest.client.ask(b"vFile:close:" + opened[1:]) == b"F0"


def _threads(guest: Guest) -> None:
    assert [item.get("id") for item in fetch_xml(guest.client, "threads").iter("thread")] == ["1"]


def _multiprocess(guest: Guest) -> None:
    assert guest.client.ask(b"qC") == b"QC1"
    assert guest.connect("multiprocess+").ask(b"qC") == b"QCp1.1"


def _catch_syscalls(guest: Guest) -> None:
    client = guest.client
    assert client.ask(b"QCatchSyscalls:1") == b"OK"
    assert client.ask(b"Pf=" + guest["user"].to_bytes(4, "little").hex().encode()) == b"OK"
    client.send(b"c")
    assert b"syscall_entry:4;" in guest.stop()[0]
    assert client.ask(b"QCatchSyscalls:0") == b"OK"


def _non_stop(guest: Guest) -> None:
    client = guest.client
    assert client.ask(b"QNonStop:1") == b"OK"
    assert client.ask(b"vCont;c:1") == b"OK"
    assert client.ask(b"m%x,4" % START) == _PROGRAM.data[:4].hex().encode()
    assert client.ask(b"vCont;t:1") == b"OK"
    while b"#" not in client.buffer or client.buffer.index(b"#") + 3 > len(client.buffer):
        client.buffer += client.socket.recv(4096)
    assert client.buffer.startswith(b"%Stop:T00")
    client.buffer = b""
    assert client.ask(b"vStopped") == b"OK"
    assert client.ask(b"QNonStop:0") == b"OK"


def _reason(kind: int) -> Callable[[Guest], None]:
    word = (b"swbreak:;", b"hwbreak:;")[kind]

    def probe(guest: Guest) -> None:
        for features, told in (("", False), ("swbreak+;hwbreak+", True)):
            client = guest.connect(features)
            assert client.ask(b"Z%d,%x,4" % (kind, guest["hit"])) == b"OK"
            assert (word in client.ask(b"c")) == told
            assert client.ask(b"z%d,%x,4" % (kind, guest["hit"])) == b"OK"

    return probe


def _conditions(guest: Guest) -> None:
    for kind in (0, 1):
        place = b"%d,%x,4" % (kind, guest["hit"])
        assert guest.client.ask(b"Z" + place + b";X%x,%s" % (len(_R1_IS_5), _R1_IS_5.hex().encode())) == b"OK"
        for _ in range(2):
            assert guest.client.ask(b"c").startswith(b"T05")
            assert guest.value(1) == 5
        assert guest.client.ask(b"z" + place) == b"OK"


def _commands(guest: Guest) -> None:
    client = guest.client
    expression = b"X%x,%s" % (len(_PRINT_HI), _PRINT_HI.hex().encode())
    assert client.ask(b"Z0,%x,4;cmds:0,%s" % (guest["hit"], expression)) == b"OK"
    assert client.ask(b"Z1,%x,4" % guest["turn"]) == b"OK"
    client.send(b"c")
    reply, printed = guest.stop()
    assert reply.startswith(b"T05")
    assert printed == b"hi\n" * 7
    assert guest.value(15) == guest["turn"]


def _features(guest: Guest) -> None:
    document = fetch_xml(guest.client, "features", "target.xml")
    assert document.tag == "target"
    assert {"pc", "spsr_irq", "sctlr"} <= {item.get("name") for item in document.iter("reg")}


def _memory_map(guest: Guest) -> None:
    document = ElementTree.fromstring(fetch(guest.client, "memory-map"))
    areas = [(int(item.get("start", ""), 0), int(item.get("length", ""), 0)) for item in document]
    assert any(start <= START < start + length for start, length in areas)


def _binary_upload(guest: Guest) -> None:
    assert guest.client.ask(b"M%x,4:01020304" % DATA) == b"OK"
    assert guest.client.ask(b"x%x,4" % DATA) == b"b\1\2\3\4"


def _tracepoint(guest: Guest, number: int = 1, label: str = "hit", *, enabled: bool = True) -> bytes:
    return b"QTDP:%x:%x:%c:0:0" % (number, guest[label], b"DE"[enabled])


def _conditional_tracepoints(guest: Guest) -> None:
    condition = b":X%x,%s" % (len(_R1_IS_5), _R1_IS_5.hex().encode())
    guest.trace(_tracepoint(guest) + condition, _tracepoint(guest, 2, "turn"))
    for _ in range(3):
        guest.run_to("turn")
    assert guest.hits() == 3


def _install_in_trace(guest: Guest) -> None:
    guest.trace(_tracepoint(guest, 1, "turn"))
    guest.run_to("hit")
    assert guest.client.ask(_tracepoint(guest, 2, "hit")) == b"OK"
    guest.run_to("turn")
    assert guest.hits(2, "hit") > 0


def _tracenz(guest: Guest) -> None:
    assert guest.client.ask(b"M%x,6:616263006465" % DATA) == b"OK"
    action = b"QTDP:-1:%x:X%x,%s" % (guest["hit"], len(_TRACE_TEXT), _TRACE_TEXT.hex().encode())
    guest.trace(_tracepoint(guest) + b"-", action)
    guest.run_to("turn")
    assert guest.client.ask(b"QTFrame:0") == b"F0T1"
    assert guest.client.ask(b"m%x,4" % DATA) == b"61626300"
    assert guest.client.ask(b"m%x,1" % (DATA + 4)).startswith(b"E")


def _tracepoint_source(guest: Guest) -> None:
    text = b"*hit".hex().encode()
    source = b"QTDPsrc:1:%x:at:0:4:%s" % (guest["hit"], text)
    guest.trace(_tracepoint(guest), source)
    pieces = [guest.client.ask(b"qTfP")]
    while pieces[-1] != b"l":
        pieces.append(guest.client.ask(b"qTsP"))
    assert b"Z1:%x:at:0:4:%s" % (guest["hit"], text) in pieces


def _enable_disable(guest: Guest) -> None:
    guest.trace(_tracepoint(guest, enabled=False), _tracepoint(guest, 2, "turn"))
    place = b":1:%x" % guest["hit"]
    guest.run_to("turn")
    assert guest.hits() == 0
    assert guest.client.ask(b"QTEnable" + place) == b"OK"
    guest.run_to("turn")
    before = guest.hits()
    assert before > 0
    assert guest.client.ask(b"QTDisable" + place) == b"OK"
    guest.run_to("turn")
    assert guest.hits() == before


def _disconnected(guest: Guest) -> None:
    for wanted in (0, 1):
        client = guest.connect()
        for packet in (b"QTinit", _tracepoint(guest), b"QTDisconnected:%d" % wanted, b"QTStart"):
            assert client.ask(packet) == b"OK"
        assert b"disconn:%d;" % wanted in guest.client.ask(b"qTStatus")
        clients = guest.server.client_count
        client.close()
        until(lambda before=clients: guest.server.client_count < before)
        assert guest.client.ask(b"qTStatus").startswith(b"T%d;" % wanted)
        assert guest.client.ask(b"QTinit") == b"OK"


def _buffer_size(guest: Guest) -> None:
    assert guest.client.ask(b"QTBuffer:size:2000") == b"OK"
    assert b"tsize:2000;" in guest.client.ask(b"qTStatus")
    assert guest.client.ask(b"QTBuffer:size:-1") == b"OK"
    assert b"tsize:2000;" not in guest.client.ask(b"qTStatus")


def _frame_info(guest: Guest) -> None:
    _tracenz(guest)
    document = fetch_xml(guest.client, "traceframe-info")
    memory = [(int(item.get("start", ""), 0), int(item.get("length", ""), 0)) for item in document]
    assert memory == [(DATA, 4)]
    assert guest.client.ask(b"QTFrame:ffffffff") == b"OK"


def _error_message(guest: Guest) -> None:
    assert guest.client.ask(b"m0f000000,4")[:1] == b"E"
    assert guest.client.ask(b"m0f000000,4")[:2] != b"E."
    assert guest.connect("error-message+").ask(b"m0f000000,4").startswith(b"E.")


PROBES: dict[str, Callable[[Guest], None]] = {
    "PacketSize": _packet_size,
    "QStartNoAckMode": _no_acks,
    "vContSupported": _vcont,
    "qXfer:exec-file:read": _exec_file,
    "qXfer:threads:read": _threads,
    "multiprocess": _multiprocess,
    "QCatchSyscalls": _catch_syscalls,
    "QNonStop": _non_stop,
    "swbreak": _reason(0),
    "hwbreak": _reason(1),
    "ConditionalBreakpoints": _conditions,
    "BreakpointCommands": _commands,
    "qXfer:features:read": _features,
    "qXfer:memory-map:read": _memory_map,
    "binary-upload": _binary_upload,
    "ConditionalTracepoints": _conditional_tracepoints,
    "InstallInTrace": _install_in_trace,
    "tracenz": _tracenz,
    "TracepointSource": _tracepoint_source,
    "EnableDisableTracepoints": _enable_disable,
    "DisconnectedTracing": _disconnected,
    "QTBuffer:size": _buffer_size,
    "qXfer:traceframe-info:read": _frame_info,
    "error-message": _error_message,
}


def _announced(client: RawClient) -> list[str]:
    reply = client.ask(b"qSupported:multiprocess+;swbreak+;hwbreak+;error-message+").decode()
    return [item.rstrip("+").partition("=")[0] for item in reply.split(";")]


def test_each_announced_feature_has_a_probe_and_each_probe_a_feature(guest) -> None:
    assert sorted(_announced(guest.client)) == sorted(PROBES)


@pytest.mark.parametrize("feature", PROBES)
def test_an_announced_feature_does_what_it_says(guest, feature: str) -> None:
    PROBES[feature](guest)


# -- each packet of the table ----------------------------------------------------------------------

#: a well-formed packet for each row that takes arguments
_HIT = b"%x" % _PROGRAM["hit"]
EXAMPLES = {
    "G": b"G" + b"00" * 68, "p": b"p0", "P": b"P0=00000000", "m": b"m30000000,4", "M": b"M30000000,1:00",
    "X": b"X30000000,0:", "x": b"x30000000,4", "C": b"C05", "S": b"S05", "R": b"R00", "H": b"Hg0", "T": b"T1",
    "D": b"D", "vCont": b"vCont;s:1", "vKill": b"vKill;1", "vAttach": b"vAttach;1", "vRun": b"vRun;",
    "qSupported": b"qSupported:swbreak+", "qThreadExtraInfo": b"qThreadExtraInfo,1", "F": b"F0",
    "qRcmd": b"qRcmd,68656c70", "qSearch:memory": b"qSearch:memory:30000000;10;x",
    "qCRC": b"qCRC:30000000,10", "vFlashErase": b"vFlashErase:0,0", "vFlashWrite": b"vFlashWrite:0:",
    "Qqemu.sstep": b"Qqemu.sstep=7", "Qqemu.PhyMemMode": b"Qqemu.PhyMemMode:0",
    "qXfer:exec-file:read": b"qXfer:exec-file:read::0,10", "vFile:setfs": b"vFile:setfs:0",
    "vFile:open": b"vFile:open:2f,0,0", "vFile:pread": b"vFile:pread:3,4,0", "vFile:fstat": b"vFile:fstat:3",
    "vFile:close": b"vFile:close:3", "vFile:readlink": b"vFile:readlink:2f",
    "qXfer:threads:read": b"qXfer:threads:read::0,10", "QCatchSyscalls": b"QCatchSyscalls:0",
    "QNonStop": b"QNonStop:0", "qXfer:features:read": b"qXfer:features:read:target.xml:0,10",
    "qXfer:memory-map:read": b"qXfer:memory-map:read::0,10", "QTDP": b"QTDP:1:" + _HIT + b":E:0:0",
    "QTDV": b"QTDV:5:0:0:6e", "QTro": b"QTro:30000000,30000010", "QTNotes": b"QTNotes:user:6d65;",
    "QTFrame": b"QTFrame:0", "QTSave": b"QTSave:61", "qTP": b"qTP:1:" + _HIT, "qTV": b"qTV:1",
    "qTBuffer": b"qTBuffer:0,10", "QTDPsrc": b"QTDPsrc:1:" + _HIT + b":at:0:1:61",
    "QTEnable": b"QTEnable:1:" + _HIT, "QTDisable": b"QTDisable:1:" + _HIT,
    "QTDisconnected": b"QTDisconnected:0", "QTBuffer": b"QTBuffer:circular:0",
    "qXfer:traceframe-info:read": b"qXfer:traceframe-info:read::0,10",
    "Qdbgemu.LinuxTasks": b"Qdbgemu.LinuxTasks:1",
}  # fmt: skip
ROWS = [row.name for capability in CAPABILITIES for row in capability.packets]
#: rows that are answered by a stop, by the connection's end, or not at all
STOPS, ENDS, SILENT = {"c", "C"}, {"k"}, {"R", "F"}


@pytest.mark.parametrize("name", ROWS)
def test_each_packet_of_the_table_is_answered(guest, name: str) -> None:
    client = guest.client
    packet = EXAMPLES.get(name, name.encode() + (b",30100000,4" if name[0] in "zZ" else b""))
    row, _ = parse(packet)
    assert row is not None and row.name == name
    client.send(packet)
    if name in STOPS:
        until(lambda: guest.session.running)
        client.send_bytes(b"\x03")
        assert client.receive().startswith(b"T02")
    elif name in ENDS:
        assert client.closed()
    elif name in SILENT:
        assert client.ask(b"qC") == b"QC1"
    else:
        assert client.receive() != b""


#: packets of the GDB manual (and of QEMU) that a server may know
_OTHERS = [
    b"A4,0,61626364", b"b9600", b"bc", b"bs", b"B30008000,S", b"d", b"i", b"I", b"r", b"t30000000:0,0",
    b"QAgent:1", b"QAllow:WriteReg:1", b"QDisableRandomization:1", b"QEnvironmentReset",
    b"QEnvironmentHexEncoded:61",
    b"QEnvironmentUnset:61", b"QPassSignals:e", b"QProgramSignals:e", b"QSetWorkingDir:2f",
    b"QStartupWithShell:0", b"QThreadEvents:1", b"QThreadOptions;1", b"Qbtrace:bts", b"Qbtrace:off",
    b"QMemTags:0,0:0:0",
    b"qGetTIBAddr:1", b"qGetTLSAddr:1,0,0", b"qL1160", b"qMemTags:0,0:0", b"qOffsets", b"qP0", b"qSymbol::",
    b"qTMinFTPILen", b"qTSTMat:30008000", b"qTfSTM", b"qTsSTM", b"qXfer:auxv:read::0,10",
    b"qXfer:btrace:read:all:0,10", b"qXfer:libraries-svr4:read::0,10", b"qXfer:libraries:read::0,10",
    b"qXfer:osdata:read:processes:0,10", b"qXfer:siginfo:read::0,10", b"qXfer:statictrace:read::0,10",
    b"qXfer:uib:read::0,10", b"qXfer:features:write:target.xml:0:x", b"vFile:unlink:61",
    b"vFile:pwrite:3,0,x", b"vFlashMass:0", b"vMustReplyEmpty", b"Qqemu.Nothing:1",
    b"qqemu.nothing", b"Z5,0,0",
    b"z9,0,0", b"qSearch:nothing", b"QTnothing", b"nonsense", b"_", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("packet", _OTHERS)
def test_a_packet_that_is_not_announced_gets_the_empty_reply(guest, packet: bytes) -> None:
    assert guest.client.ask(packet) == b""


def test_the_documentation_names_every_packet_and_feature() -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / "gdb.md").read_text(encoding="utf-8")
    assert [name for name in ROWS if f"`{name}`" not in text] == []
    assert [name for name in PROBES if f"`{name}`" not in text] == []


def test_the_documentation_names_tests_that_exist() -> None:
    tests = Path(__file__).resolve().parent
    text = (tests.parent / "docs" / "gdb.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(test_\w+\.py)::(test_\w+)", text))
    assert len(named) > 30
    for file, name in sorted(named):
        assert f"def {name}(" in (tests / file).read_text(encoding="utf-8"), f"{file}::{name}"
