"""The debugging commands on Linux, with its symbols; through GDB's ``monitor`` too."""

import re
from collections.abc import Iterator

import pytest
from linux_guest import LinuxGuest, guest_folder
from monitored_program import Screen
from real_gdb import debugged, guest_file, needs_gdb

from dbgemu.debug.session import DebugSession
from dbgemu.monitor.monitor import Monitor


@pytest.fixture(scope="module")
def linux() -> Iterator[Monitor]:
    session = DebugSession(LinuxGuest().machine)
    monitor = Monitor(session)
    monitor.attach_console(Screen())
    monitor.run(f"symbol-file {guest_folder() / 'vmlinux'}")
    monitor.run("until start_kernel")
    yield monitor
    session.close()


def names(monitor: Monitor) -> list[str]:
    return [frame["symbol"].partition("+")[0] for frame in monitor.run("backtrace").data]


def test_a_watch_of_the_uart_names_the_transaction_and_the_writing_function(linux: Monitor) -> None:
    linux.run("watch uart0.UTXH w")
    data = linux.run("continue").data
    linux.run("delete")
    assert data["reason"] == "watchpoint"
    assert re.fullmatch(
        r"0x\w{8} <s3c24xx_serial_console_putchar\+0x\w+> writes uart0.UTXH <- 0x\w\w(?: \(.*\))?",
        data["transaction"],
    )
    assert names(linux)[:3] == [
        "s3c24xx_serial_console_putchar",
        "uart_console_write",
        "s3c24xx_serial_console_write",
    ]


def test_a_backtrace_goes_through_an_interrupt_and_the_stack_switch_to_the_first_thread(
    linux: Monitor,
) -> None:
    linux.run("tbreak s3c24xx_serial_tx_irq")
    linux.run("continue")
    found = names(linux)
    assert found[0] == "s3c24xx_serial_tx_irq"
    for outer, inner in (
        ("s3c_irq_demux", "handle_level_irq"),
        ("call_with_stack", "generic_handle_arch_irq"),
        ("__irq_svc", "call_with_stack"),
    ):
        assert found.index(outer) > found.index(inner)
    assert found[-1] == "ret_from_fork"
    data = linux.run("finish").data
    assert data["symbol"].startswith("__handle_irq_event_percpu+")


def test_source_lines_of_the_kernel_are_places(linux: Monitor) -> None:
    (point,) = linux.run("tbreak fs/read_write.c:563").data
    assert "<vfs_write" in point["where"]
    assert linux.run("continue").data["symbol"].startswith("vfs_write")
    report = linux.run("finish")
    assert report.data["symbol"].startswith("ksys_write+")
    assert report.text.endswith(f"r0 = 0x{report.data['r0']:08x}")
    assert "read_write.c" in linux.run("info line").text


def test_stepping_over_lines_stays_in_the_function(linux: Monitor) -> None:
    linux.run("tbreak vfs_write")
    linux.run("continue")
    for _ in range(5):
        assert linux.run("next").data["symbol"].startswith("vfs_write")


def test_variables_of_the_kernel_are_those_that_gdb_shows(linux: Monitor) -> None:
    linux.run("tbreak vfs_write")
    linux.run("continue")
    registers = [
        linux.session.call(lambda name=name: linux.session.cpu.read_register(name))
        for name in ("r0", "r1", "r2", "r3")
    ]
    found = linux.run("info args").data
    assert [item["declaration"] for item in found] == [
        "struct file *file",
        "const char *buf",
        "size_t count",
        "loff_t *pos",
    ]
    assert found[0]["value"] == f"0x{registers[0]:08x}"
    assert found[2]["value"] == str(registers[2])
    assert linux.run("info locals").text == "ssize_t ret = <optimized out>"
    path = "file->f_path.dentry->d_iname"
    assert linux.run(f"info variable {path}").text.startswith(f'(unsigned char [40]) {path} = "console')
    assert linux.run("info variable file->f_op").data["value"].endswith(" <console_fops>")
    linux.run("up")
    assert "loff_t *ppos = " in linux.run("info locals").text


def test_system_calls_are_caught_by_name_and_told_by_name(linux: Monitor) -> None:
    assert linux.run("tcatch syscall read write").data[0]["where"] == "syscall 3 (read), 4 (write)"
    message = linux.run("continue").data["message"]
    number = linux.session.call(lambda: linux.session.cpu.read_register("r7"))
    assert message == {3: "system call 3 (read)", 4: "system call 4 (write)"}[number]


def test_explain_follows_the_kernels_own_tables(linux: Monitor) -> None:
    session = linux.session
    address = session.symbols.address("jiffies")
    session.write_registers({"r0": address})
    before = session.call(session.machine.digest)
    text = linux.run("explain word 0xe5900000").text
    assert f"reads 4 bytes at 0x{address:08x}, physical 0x3" in text
    assert "<jiffies" in text
    assert session.call(session.machine.digest) == before
    session.write_registers({"r0": 0x12345678})
    assert "data abort: section translation fault" in linux.run("explain word 0xe5900000").text


@needs_gdb
def test_gdbs_monitor_runs_the_same_commands() -> None:
    guest = LinuxGuest()
    with debugged(guest.machine, guest_file("vmlinux")) as (gdb, session, _):
        session.symbols.add(guest_file("vmlinux"))
        gdb.execute("set breakpoint always-inserted on")
        gdb.execute("break start_kernel")
        assert gdb.execute("monitor break setup_arch").startswith("breakpoint ")
        stop = gdb.run("continue")
        assert stop["frame"]["func"] == "start_kernel"
        listed = gdb.execute("monitor info breakpoints")
        assert "gdb" in listed
        assert "<setup_arch>" in listed
        # the monitor's own breakpoint stops gdb's continue
        assert gdb.run("continue")["frame"]["func"] == "setup_arch"
        gdb.execute("monitor delete")
        text = gdb.execute("monitor stepi")
        assert "Stepped at 0x" in text
        assert "maintenance flush register-cache" in text
        gdb.execute("maintenance flush register-cache")
        assert gdb.value("$pc") & 0xFFFFFFFF == session.cpu.read_register("pc")
        gdb.execute('monitor logpoint uart_console_write "prints {$r2:d} characters"')
        gdb.execute("tbreak console_on_rootfs")
        gdb.run("continue")
        assert "#0  0x" in gdb.execute("monitor backtrace 2")
        assert any("prints " in line for line in gdb.log)


@needs_gdb
def test_gdbs_monitor_does_not_wait_for_ever() -> None:
    with debugged(LinuxGuest().machine) as (gdb, session, _):
        assert "the guest runs on" in gdb.execute("monitor continue")
        assert session.running
        gdb.execute("monitor stop")
        assert not session.running
        gdb.execute("maintenance flush register-cache")
        assert gdb.value("$pc") & 0xFFFFFFFF == session.cpu.read_register("pc")
