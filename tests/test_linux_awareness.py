"""What is read of a Linux guest: tasks, log and modules, at any moment, and from damaged memory too."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from linux_guest import LinuxGuest, guest_folder
from real_gdb import compile_program, needs_gcc
from support import FakeMachine

from dbgemu.debug.linux import LinuxError, Task, text
from dbgemu.debug.linux.layout import Layout
from dbgemu.debug.session import DebugSession
from dbgemu.emulator import Emulator
from dbgemu.machine import Machine
from dbgemu.options import parse_command_line
from dbgemu.target.mini2440 import Mini2440

PAGE_OFFSET = 0xC0000000
VMLINUX = guest_folder() / "vmlinux"


@dataclass
class Booted:
    """A guest at its prompt, and what was seen on the way there: (instructions, tasks or the error)."""

    guest: LinuxGuest
    session: DebugSession
    seen: list[tuple[int, list[Task] | str, int]] = field(default_factory=list)

    @property
    def sdram(self) -> memoryview:
        return self.session.machine.board.sdram.data

    def place(self, address: int) -> int:
        """Where a symbol's or object's address of the linear mapping is in the SDRAM."""
        return address - PAGE_OFFSET

    def symbol(self, name: str) -> int:
        address = self.session.symbols.address(name)
        assert address is not None
        return address

    @contextmanager
    def damaged(self, address: int, data: bytes) -> Iterator[None]:
        """``data`` at ``address`` for a while."""
        start = self.place(address)
        kept = bytes(self.sdram[start : start + len(data)])
        self.sdram[start : start + len(data)] = data
        try:
            yield
        finally:
            self.sdram[start : start + len(data)] = kept


@pytest.fixture(scope="module")
def booted() -> Iterator[Booted]:
    guest = LinuxGuest()
    session = DebugSession(guest.machine)
    session.symbols.add(VMLINUX)
    found = Booted(guest, session)
    while (done := session.cpu.instructions) < 200_000_000:
        tasks: list[Task] | str
        try:
            tasks = session.linux.tasks()[0]
        except LinuxError as error:
            tasks = str(error)
        found.seen.append((done, tasks, session.linux.current_pid()))
        guest.machine.run(4_000_000)
    guest.boot()
    guest.command("modprobe usb-storage; echo several lines > /dev/kmsg")
    yield found
    session.close()


# -- on the way --------------------------------------------------------------------------------------


def test_at_every_moment_of_the_boot_there_are_tasks_or_a_sentence_says_why_not(booted) -> None:
    texts = {tasks for _, tasks, _ in booted.seen if isinstance(tasks, str)}
    assert texts == {f"there are no tasks yet: the kernel of '{VMLINUX}' is not in memory"}
    first = next(place for place, (_, tasks, _) in enumerate(booted.seen) if not isinstance(tasks, str))
    assert 0 < first < len(booted.seen) - 10
    counts = []
    for _, tasks, _ in booted.seen[first:]:
        assert not isinstance(tasks, str)
        assert (tasks[0].pid, tasks[0].comm, tasks[0].address) == (0, "swapper", booted.symbol("init_task"))
        counts.append(len(tasks))
    assert counts[0] == 1
    assert counts[-1] > 10


def test_before_there_are_tasks_none_has_the_cpu_and_later_exactly_one(booted) -> None:
    for _, tasks, pid in booted.seen:
        if isinstance(tasks, str):
            assert pid == -1
        elif pid >= 0:
            assert [task.pid for task in tasks if task.current] == [pid]
    assert {0, 1} <= {pid for _, _, pid in booted.seen}


def test_without_the_symbols_of_a_kernel_a_sentence_tells_what_to_do() -> None:
    session = DebugSession(FakeMachine())
    expected = "no kernel symbols are loaded: 'symbol-file vmlinux' loads them"
    assert not session.linux.known
    assert session.linux.current_pid() == -1
    for show in (text.tasks, text.dmesg, text.lsmod):
        assert show(session) == expected
    with pytest.raises(LinuxError, match=f"^{expected}$"):
        session.linux.task(1)
    session.close()


# -- tasks -------------------------------------------------------------------------------------------


def test_the_tasks_are_those_that_ps_lists(booted) -> None:
    tasks, problem = booted.session.linux.tasks()
    assert problem == ""
    ours = {task.pid: task for task in tasks}
    for line in booted.guest.command("ps").splitlines()[1:]:
        pid, name = int(line.split()[0]), line.split()[3]
        if name == "ps":
            continue
        task = ours[pid]
        assert task.kernel_thread == name.startswith("["), line
        # ps puts the work of a worker behind its name
        assert name.strip("[]").rpartition("/")[2].startswith(task.comm.rpartition("/")[2]), line
    status = booted.guest.command("cat /proc/1/status")
    assert ours[1].comm == re.search(r"Name:\s+(\S+)", status)[1]
    assert ours[1].state == re.search(r"State:\s+(\S)", status)[1] == "S"
    assert ours[1].state_name == "sleeping"
    assert [ours[pid].parent for pid in (1, 2, 3)] == [0, 0, 2]


def test_the_shell_sleeps_in_the_scheduler_with_memory_of_its_own(booted) -> None:
    session = booted.session
    shell = next(task for task in session.linux.tasks()[0] if task.comm == "sh")
    assert (shell.current, shell.kernel_thread, shell.parent) == (False, False, 1)
    assert session.symbols.describe(shell.registers["r15"]).startswith("__schedule")
    assert shell.table is not None
    program = session.memory.read(0x10000, 4, table=shell.table)
    assert program == b"\x7fELF"
    # its stack is in the vmalloc area: mapped by the kernel's table
    sp = shell.registers["r13"]
    assert len(session.memory.read(sp, 64, table=session.linux.table)) == 64
    assert set(shell.registers) == {*(f"r{number}" for number in range(4, 12)), "r13", "r15"}


def test_the_idle_task_has_the_cpu_at_the_prompt(booted) -> None:
    current = booted.session.linux.current()
    assert current is not None
    assert (current.pid, current.comm, current.current, current.registers) == (0, "swapper", True, {})
    assert current.state_name == "running"
    lines = text.tasks(booted.session).splitlines()
    assert next(line for line in lines if line.startswith("*")).split()[1:4] == ["0", "0", "R"]
    assert any("[kthreadd]" in line and "__schedule" in line for line in lines)


def test_the_current_task_of_a_program_is_found_in_user_mode(booted) -> None:
    guest, session = booted.guest, booted.session
    guest.uart.receive(b"i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done\r")
    modes = set()
    for _ in range(200):
        guest.machine.run(20_000)
        if session.cpu.read_register("cpsr") & 0x1F == 0x10:
            modes.add(session.linux.current().comm)
    guest.wait_for("# ")
    assert modes == {"sh"}


def test_looking_changes_nothing(booted) -> None:
    before = booted.session.machine.digest()
    for show in (text.tasks, text.dmesg, text.lsmod):
        assert len(show(booted.session).splitlines()) > 3
    assert booted.session.linux.current() is not None
    assert booted.session.machine.digest() == before


# -- log and modules -----------------------------------------------------------------------------------


def test_the_log_is_what_dmesg_prints(booted) -> None:
    ours = text.dmesg(booted.session).splitlines()
    theirs = booted.guest.command("dmesg").splitlines()
    assert len(ours) > 100
    assert [line.rstrip() for line in ours] == [line.rstrip() for line in theirs]
    records = booted.session.linux.log()
    assert [record.sequence for record in records] == list(range(len(records)))
    assert "several lines" in [record.text for record in records]
    assert {record.level for record in records} <= set(range(8))
    assert records[-1].time > 1_000_000_000


def test_a_log_that_has_gone_round_starts_with_the_oldest_that_is_left(booted) -> None:
    booted.guest.command("dmesg -n 1; echo on > /proc/sys/kernel/printk_devkmsg")
    line = "a rather long line, which fills the log of this kernel sooner than a short one would ever do"
    booted.guest.command(f"i=0; while [ $i -lt 1600 ]; do i=$((i+1)); echo $i: {line} > /dev/kmsg; done")
    ours = text.dmesg(booted.session).splitlines()
    theirs = booted.guest.command("dmesg").splitlines()
    records = booted.session.linux.log()
    assert records[0].sequence > 0
    assert [record.sequence - records[0].sequence for record in records] == list(range(len(records)))
    # dmesg's buffer is as large as the kernel's, which has no time stamps in it as text
    assert len(theirs) > 1000
    assert [line.rstrip() for line in ours[-len(theirs) :]] == [line.rstrip() for line in theirs]


def test_the_modules_are_those_that_proc_lists(booted) -> None:
    modules, problem = booted.session.linux.modules()
    assert problem == ""
    theirs = booted.guest.command("cat /proc/modules").splitlines()
    ours = [
        f"{module.name} {module.size} {module.references} "
        f"{''.join(f'{user},' for user in module.users) or '-'} {module.state} 0x{module.base:08x}"
        for module in modules
    ]
    assert "usb_storage" in [module.name for module in modules]
    assert ours == theirs
    assert text.lsmod(booted.session).splitlines()[1].split()[0] == modules[0].name


# -- damage --------------------------------------------------------------------------------------------


def test_another_kernel_in_memory_is_named(booted) -> None:
    with booted.damaged(booted.symbol("linux_banner") + 14, b"9"):
        assert text.tasks(booted.session).startswith(
            f"the kernel in memory is not that of '{VMLINUX}': it is Linux version 9"
        )
        assert booted.session.linux.current_pid() == -1


@pytest.mark.parametrize(
    ("pointer", "reason"),
    [
        (0, "0x00000000 (at 0x{at:08x}) is no pointer of the kernel"),
        (0xC0000001, "0xc0000001 (at 0x{at:08x}) is no pointer of the kernel"),
        (0xFFFF8000, "0xffff7d04 is no address of the kernel"),
    ],
)
def test_a_list_that_is_cut_is_told_of_behind_what_can_be_read(booted, pointer, reason) -> None:
    session = booted.session
    tasks, _ = session.linux.tasks()
    offset = Layout(VMLINUX, [booted.symbol("vprintk_emit")]).member("task_struct", "tasks").offset
    third = tasks[2]
    with booted.damaged(third.address + offset, struct.pack("<I", pointer)):
        found, problem = session.linux.tasks()
        assert [task.pid for task in found] == [task.pid for task in tasks[:3]]
        said = reason.format(at=third.address + offset)
        assert problem == f"the list of tasks is damaged behind 3: {said}"
        assert text.tasks(session).endswith(problem)


def test_a_list_that_turns_back_ends(booted) -> None:
    session = booted.session
    tasks, _ = session.linux.tasks()
    offset = Layout(VMLINUX, [booted.symbol("vprintk_emit")]).member("task_struct", "tasks").offset
    with booted.damaged(tasks[5].address + offset, struct.pack("<I", tasks[2].address + offset)):
        found, problem = session.linux.tasks()
        assert len(found) == 6
        assert "never ends" in problem


def test_a_current_task_that_is_none_is_nobody(booted) -> None:
    for value in (0, 1, 0xC0000001, 0xDFFFFFFC, 0xFFFFFFFC, 0x30000000):
        with booted.damaged(booted.symbol("__current"), struct.pack("<I", value)):
            assert booted.session.linux.current_pid() == -1


@pytest.mark.parametrize("symbol", ["init_task", "prb", "printk_rb_static", "modules", "__current"])
def test_random_bytes_where_the_kernel_keeps_its_lists_give_sentences(booted, symbol) -> None:
    session, chance = booted.session, random.Random(symbol)
    for _ in range(40):
        with booted.damaged(booted.symbol(symbol), chance.randbytes(64)):
            assert all(show(session) for show in (text.tasks, text.dmesg, text.lsmod))
            assert session.linux.current_pid() >= -1


def test_random_bytes_in_tasks_modules_and_page_table_give_sentences(booted) -> None:
    session, chance = booted.session, random.Random(1)
    places = [task.address for task in session.linux.tasks()[0]]
    places += [booted.session.linux.modules()[0][0].address - 0xBF000000 + PAGE_OFFSET]
    places += [booted.symbol("swapper_pg_dir") + (address >> 20) * 4 for address in (0xBF000000, 0xC0500000)]
    for _ in range(100):
        place = chance.choice(places) + chance.randrange(0, 1024, 4)
        with booted.damaged(place, chance.randbytes(chance.choice((4, 64, 512)))):
            assert all(show(session) for show in (text.tasks, text.dmesg, text.lsmod))


# -- the file ------------------------------------------------------------------------------------------


def test_a_symbol_file_is_loaded_with_an_offset_or_a_sentence_says_why_not(tmp_path) -> None:
    session = DebugSession(Machine(Mini2440()))
    missing = tmp_path / "none"
    assert text.symbol_file(session, str(missing)) == f"'{missing}' cannot be read: No such file or directory"
    assert text.symbol_file(session, "x", "up") == (
        "'up' is no offset: write a number of bytes, decimal or with 0x"
    )
    said = text.symbol_file(session, str(VMLINUX))
    assert re.fullmatch(rf"\d+ symbols of '{VMLINUX}', a Linux kernel", said)
    assert session.linux.known
    session.close()


@needs_gcc
def test_members_are_found_where_the_compiler_puts_them(tmp_path) -> None:
    source = """
    typedef unsigned int word;
    struct inner { char c; const volatile word w[3]; };
    struct outer {
        short s;
        union { struct { int a; struct inner deep; }; long long big; };
        unsigned char low : 5, high : 3;
        char text[7];
    };
    struct outer one;
    void start(void) { one.s = one.high; }
    """
    elf = compile_program(tmp_path, source)
    layout = Layout(elf, [0x30008000])
    found = {
        path: layout.member("outer", path)
        for path in ("s", "a", "deep.w", "big", "low", "high", "text", "deep")
    }
    assert [(item.offset, item.size) for item in found.values()] == [
        (0, 2), (8, 4), (16, 12), (8, 8), (found["low"].offset, found["low"].size),
        (found["high"].offset, found["high"].size), (33, 7), (12, 16),
    ]  # fmt: skip
    data = bytearray(layout.size("outer"))
    data[32] = 0b10100110
    data[33:37] = b"abc\0"
    assert (found["low"].of(data), found["high"].of(data)) == (0b00110, 0b101)
    assert found["text"].text(data) == "abc"
    data[0:2] = b"\xfe\xff"
    assert found["s"].signed(data) == -2
    assert layout.find("outer", "deep.none") is None
    assert not layout.has("nothing")
    with pytest.raises(LinuxError, match=r"has no struct outer with 'none': it is no kernel known here"):
        layout.member("outer", "none")


@needs_gcc
def test_a_kernel_without_debug_information_is_told_of(tmp_path) -> None:
    source = """
    int init_task, swapper_pg_dir; const char linux_banner[] = "Linux version 1";
    void start(void) { init_task = linux_banner[swapper_pg_dir]; }
    """
    elf = compile_program(tmp_path, source, "-g0")
    session = DebugSession(Machine(Mini2440()))
    session.symbols.add(elf)
    assert not session.linux.known
    assert text.tasks(session) == (
        f"'{elf}' has no debug information, which tells where things are in the kernel's structures: "
        "build the kernel with CONFIG_DEBUG_INFO"
    )
    session.close()


def test_a_file_that_is_no_elf_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(b"\x7fELF" + random.Random(2).randbytes(5000))
    with pytest.raises(LinuxError, match="is damaged"):
        Layout(path, [0])
    with pytest.raises(LinuxError, match="cannot be read: No such file"):
        Layout(tmp_path / "none", [0])


def test_a_kernel_that_runs_from_its_elf_file_needs_no_symbols_option() -> None:
    line = f"-kernel {VMLINUX} -S -serial null -monitor none"
    for more, files in (([], [VMLINUX]), (["-symbols", str(VMLINUX)], [VMLINUX])):
        with Emulator(parse_command_line([*line.split(), *more])) as emulator:
            session = emulator.session
            assert [file.path for file in session.symbols.files] == files
            # unpacked already, with the MMU off
            assert [task.comm for task in session.linux.tasks()[0]] == ["swapper"]
            assert session.linux.current() is None
