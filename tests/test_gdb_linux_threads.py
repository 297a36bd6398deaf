"""Linux tasks as GDB's threads: with raw packets, and with a real gdb that has the kernel's symbols."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from gdb_wire import Wire, fetch_xml, wire
from linux_guest import LinuxGuest, guest_folder
from real_gdb import Gdb, needs_gdb

from dbgemu.debug.linux import Task
from dbgemu.engine.cpu import TranslationFault

IDLE = 0x8000
VMLINUX = guest_folder() / "vmlinux"


class Booted(Wire):
    """A server for a guest at its shell's prompt, with the kernel's symbols."""

    guest: LinuxGuest

    def task(self, name: str) -> Task:
        return next(task for task in self.session.linux.tasks()[0] if task.comm == name)

    @property
    def address(self) -> str:
        return f"{self.server.endpoint.host}:{self.server.endpoint.port}"


@pytest.fixture(scope="module")
def booted() -> Iterator[Booted]:
    guest = LinuxGuest()
    guest.boot()
    with wire(guest.machine) as connected:
        connected.__class__ = Booted
        assert isinstance(connected, Booted)
        connected.guest = guest
        connected.session.symbols.add(VMLINUX)
        yield connected


@pytest.fixture(autouse=True)
def _idle(booted) -> None:
    while booted.session.linux.current_pid():
        booted.machine.run(100_000)


@pytest.fixture
def client(booted):
    return booted.connect("swbreak+;error-message+")


def registers(reply: bytes) -> list[str]:
    """The values in a ``g`` reply, run lengths expanded."""
    text = re.sub(r"(.)\*(.)", lambda match: match[1] * (ord(match[2]) - 28), reply.decode())
    return [text[place : place + 8] for place in range(0, len(text), 8)]


def word(value: int) -> str:
    return value.to_bytes(4, "little").hex()


# -- raw packets ---------------------------------------------------------------------------------------


def test_each_task_is_a_thread_with_its_pid_and_the_idle_task_one_that_is_no_pid(booted, client) -> None:
    numbers = []
    reply = client.ask(b"qfThreadInfo")
    while reply != b"l":
        numbers += [int(number, 16) for number in reply[1:].split(b",")]
        reply = client.ask(b"qsThreadInfo")
    tasks = booted.session.linux.tasks()[0]
    assert numbers == sorted([task.pid for task in tasks if task.pid] + [IDLE])
    rows = {int(row.get("id"), 16): row for row in fetch_xml(client, "threads").iter("thread")}
    assert sorted(rows) == numbers
    assert (rows[1].get("name"), rows[1].text, rows[1].get("core")) == ("init", "pid 1, sleeping", None)
    assert rows[2].text == "pid 2, sleeping, kernel thread"
    assert (rows[IDLE].get("name"), rows[IDLE].get("core")) == ("swapper", "0")
    assert client.ask(b"qC") == b"QC8000"
    assert booted.connect("multiprocess+").ask(b"qC") == b"QCp1.8000"
    extra = bytes.fromhex(client.ask(b"qThreadExtraInfo,2").decode())
    assert extra == b"kthreadd, pid 2, sleeping, kernel thread"
    assert client.ask(b"T2") == b"OK"
    assert client.ask(b"T7fff") == b"E.there is no thread 32767"
    assert client.ask(b"Hg7fff") == b"E.there is no thread 32767"


def test_the_cpu_stays_the_only_thread_for_who_does_not_want_tasks_or_is_in_non_stop_mode(
    booted, client
) -> None:
    assert client.ask(b"qdbgemu.LinuxTasks") == b"1"
    assert client.ask(b"Qdbgemu.LinuxTasks:0") == b"OK"
    assert (client.ask(b"qC"), client.ask(b"qfThreadInfo")) == (b"QC1", b"m1")
    assert client.ask(b"T2") == b"E.there is no such thread: the CPU is thread 1"
    assert b"thread:1;" in client.ask(b"?")
    assert client.ask(b"Qdbgemu.LinuxTasks:1") == b"OK"
    assert client.ask(b"qC") == b"QC8000"
    assert client.ask(b"QNonStop:1") == b"OK"
    assert (client.ask(b"qC"), client.ask(b"qfThreadInfo")) == (b"QC1", b"m1")
    assert client.ask(b"QNonStop:0") == b"OK"


def test_a_sleeping_task_has_the_registers_that_the_kernel_kept(booted, client) -> None:
    task = booted.task("kthreadd")
    ours = registers(client.ask(b"g"))
    assert client.ask(b"Hg2") == b"OK"
    found = registers(client.ask(b"g"))
    names = [f"r{number}" for number in range(16)]
    expected = [word(task.registers[name]) if name in task.registers else "x" * 8 for name in names]
    assert found == [*expected, word(0x93)]
    assert client.ask(b"pf").decode() == word(task.registers["r15"])
    assert client.ask(b"p0") == b"x" * 8
    document = fetch_xml(client, "features", "target.xml")
    number = next(item.get("regnum") for item in document.iter("reg") if item.get("name") == "sctlr")
    assert client.ask(b"p%x" % int(number)).decode() == word(booted.session.cpu.read_register("sctlr"))
    assert client.ask(b"Hg0") == b"OK"
    assert registers(client.ask(b"g")) == ours
    assert client.ask(b"Hg8000") == b"OK"
    assert registers(client.ask(b"g")) == ours


def test_a_register_that_the_kernel_kept_can_be_written_and_no_other(booted, client) -> None:
    task = booted.task("kthreadd")
    assert client.ask(b"Hg2") == b"OK"
    assert client.ask(b"P4=78563412") == b"OK"
    assert booted.task("kthreadd").registers["r4"] == 0x12345678
    assert client.ask(b"P4=" + word(task.registers["r4"]).encode()) == b"OK"
    assert booted.task("kthreadd").registers == task.registers
    refused = b"E.register %s of a task that does not have the CPU is kept nowhere"
    assert client.ask(b"P0=00000000") == refused % b"r0"
    assert client.ask(b"P19=00000000") == refused % b"cpsr"
    assert client.ask(b"P4=0000").startswith(b"E.register r4 has 4 bytes")
    before = booted.session.cpu.read_core()
    assert client.ask(b"G" + b"00" * 68).startswith(b"E.registers of a task that does not have the CPU")
    assert booted.session.cpu.read_core() == before


def test_memory_is_that_of_the_selected_task(booted, client) -> None:
    shell = booted.task("sh")
    assert client.ask(b"Hg%x" % shell.pid) == b"OK"
    assert client.ask(b"m10000,4") == b"7f454c46"
    assert client.ask(b"x10000,4") == b"b\x7fELF"
    # the stack is in the vmalloc area, the banner in the linear mapping
    sp = shell.registers["r13"]
    stack = booted.session.memory.read(sp, 4, table=booted.session.linux.table)
    assert client.ask(b"m%x,4" % sp) == stack.hex().encode()
    banner = booted.session.symbols.address("linux_banner")
    assert client.ask(b"x%x,5" % banner) == b"bLinux"
    assert client.ask(b"M%x,4:01020304" % (sp - 64)) == b"OK"
    assert client.ask(b"m%x,4" % (sp - 64)) == b"01020304"
    assert client.ask(b"m0,4").startswith(b"E.")
    assert client.ask(b"Hg2") == b"OK"  # a kernel thread has no programs' memory
    assert client.ask(b"m10000,4").startswith(b"E.")
    assert client.ask(b"Mffffffff,4:01020304").startswith(b"E.4 bytes")


def test_the_selection_ends_with_a_stop_which_names_the_thread_that_has_the_cpu(booted, client) -> None:
    assert client.ask(b"Hg2") == b"OK"
    reply = client.ask(b"vCont;s:8000;c:-1")
    assert reply.startswith(b"T05thread:8000;")
    pc = booted.session.cpu.read_register("pc")
    assert client.ask(b"pf").decode() == word(pc)
    assert client.ask(b"vCont;c:p2.1") == b"E.no action for any thread there is"
    assert client.ask(b"vCont;s:7fff") == b"E.there is no thread 32767"
    assert client.ask(b"vCont;c:7fff") == b"E.there is no thread 32767"
    assert not booted.session.running


def test_a_step_of_a_sleeping_task_begins_where_it_gets_the_cpu(booted, client) -> None:
    shell = booted.task("sh")
    booted.guest.uart.receive(b"\r")
    reply = client.ask(b"vCont;s:%x;c:-1" % shell.pid)
    assert reply.startswith(b"T05thread:%x;" % shell.pid)
    assert booted.session.cpu.read_register("pc") == shell.registers["r15"]
    assert booted.session.cpu.read_register("sp") == shell.registers["r13"]
    before = booted.session.cpu.instructions
    assert client.ask(b"vCont;s:%x;c:-1" % shell.pid).startswith(b"T05thread:%x;" % shell.pid)
    assert booted.session.cpu.instructions == before + 1
    booted.guest.wait_for("# ")


def test_a_list_of_tasks_that_is_damaged_still_has_the_cpus_thread(booted, client) -> None:
    sdram = booted.machine.board.sdram.data
    place = booted.session.symbols.address("init_task") - 0xC0000000
    kept = bytes(sdram[place : place + 1024])
    try:
        sdram[place : place + 1024] = b"\xff" * 1024
        rows = list(fetch_xml(client, "threads").iter("thread"))
        assert [row.get("id") for row in rows] == ["8000"]
        assert "damaged" in rows[0].text
        assert client.ask(b"T2").startswith(b"E.there is no thread 2")
    finally:
        sdram[place : place + 1024] = kept


def test_a_task_that_names_itself_oddly_makes_a_document_nevertheless(booted, client) -> None:
    sdram = booted.machine.board.sdram.data
    task = booted.task("kswapd0")
    place = bytes(sdram[task.address - 0xC0000000 :][:4096]).index(b"kswapd0\0") + task.address - 0xC0000000
    kept = bytes(sdram[place : place + 16])
    try:
        sdram[place : place + 16] = b"<&\"'\x01\xff}#$*\n".ljust(16, b"\0")
        names = [row.get("name") for row in fetch_xml(client, "threads").iter("thread")]
        assert "<&\"'?\ufffd}#$*?" in names
    finally:
        sdram[place : place + 16] = kept


# -- a real gdb ----------------------------------------------------------------------------------------


@pytest.fixture
def gdb(booted) -> Iterator[Gdb]:
    gdb = Gdb(VMLINUX)
    gdb.execute(f"target remote {booted.address}")
    gdb.stop()
    yield gdb
    gdb.close()


def thread_of(gdb: Gdb, name: str) -> str:
    """GDB's own number of the thread with this name."""
    return re.search(r"Thread (\d+) has", gdb.execute(f"thread find ^{name}$"))[1]


@needs_gdb
def test_gdb_lists_tasks_and_unwinds_a_sleeping_one(booted, gdb) -> None:
    listed = gdb.execute("info threads")
    for task in booted.session.linux.tasks()[0]:
        assert f'Thread 1.{task.pid or IDLE} "{task.comm}" (' in listed
    assert re.search(r'^\* \d+ +Thread 1\.32768 "swapper" .*pid 0, running', listed, re.MULTILINE)
    gdb.execute(f"thread {thread_of(gdb, 'kswapd0')}")
    frames = gdb.execute("bt")
    for function in ("schedule ()", "kswapd (", "kthread (", "ret_from_fork"):
        assert function in frames
    assert "<unavailable>" in gdb.execute("info registers r0")
    gdb.execute("set $r0 = 1", fails=True)
    gdb.execute(f"thread {thread_of(gdb, 'sh')}")
    assert len(re.findall(r"^#\d", gdb.execute("bt"), re.MULTILINE)) > 5


@needs_gdb
def test_gdb_steps_a_task_on_that_sleeps(booted, gdb) -> None:
    number = thread_of(gdb, "sh")
    gdb.execute(f"thread {number}")
    assert "context_switch" in gdb.execute("frame")
    booted.guest.uart.receive(b"\r")
    stop = gdb.run("finish")
    assert stop["thread-id"] == number
    assert gdb.value("$_thread") == int(number)
    for _ in range(3):
        stop = gdb.run("next")
        assert (stop["reason"], stop["thread-id"]) == ("end-stepping-range", number)
    gdb.execute("detach")
    booted.session.halt()


def test_memory_that_linux_has_but_the_cpu_cannot_read_just_now_is_read(booted, client) -> None:
    cpu = booted.session.cpu
    booted.guest.command("modprobe usb-storage")
    module = booted.session.linux.modules()[0][0]
    text = booted.session.memory.read(module.base, 4, table=booted.session.linux.table)
    booted.guest.uart.receive(b"\r")
    shell = booted.task("sh").pid
    # which stops inside the kernel, where the domain of programs is closed
    assert client.ask(b"vCont;s:%x;c:-1" % shell).startswith(b"T05thread:%x;" % shell)
    with pytest.raises(TranslationFault, match="domain fault"):
        cpu.read_memory(0x10000, 4)
    assert client.ask(b"m10000,4") == b"7f454c46"
    assert client.ask(b"m%x,4" % module.base) == text.hex().encode()
    assert client.ask(b"Qdbgemu.LinuxTasks:0") == b"OK"
    assert client.ask(b"m10000,4").startswith(b"E.page domain fault")
    booted.guest.wait_for("# ")


@needs_gdb
def test_a_breakpoint_for_one_task_stops_no_other(booted, gdb) -> None:
    number = thread_of(gdb, "sh")
    gdb.execute(f"break vfs_write thread {number}")
    booted.guest.uart.receive(b"cat /proc/version; echo done\r")
    stop = gdb.run("continue")
    assert (stop["reason"], stop["thread-id"]) == ("breakpoint-hit", number)
    assert booted.session.linux.current().comm == "sh"
    gdb.execute("delete")
    gdb.execute("detach")
    booted.session.halt()
