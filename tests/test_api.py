"""``import dbgemu``: what scripts do with a board."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from linux_guest import COMMAND_LINE, PROMPT, guest_folder

import dbgemu
from dbgemu import STOP, Board, Reason
from dbgemu.target.arm.assembler import assemble_program

CODE = 0x30000000
#: LR counts: a function called three times, a store to memory and one to a device register
PROGRAM = """
        mov r4, #3
        ldr r5, =0x30001000
        ldr r6, =0x53000000     @ WTCON
loop:   bl work
        subs r4, r4, #1
        bne loop
        str r4, [r6]
        ldr r7, [r5]
        swi #5
        .word 0xe7f000f0        @ undefined
end:    b end
work:   str r4, [r5]
        mov pc, lr
"""


@pytest.fixture
def bare() -> Iterator[Board]:
    """A board with the program above, about to execute it."""
    with Board() as board:
        board.physical.write(CODE, assemble_program(PROGRAM, CODE).data)
        board.registers["pc"] = CODE
        yield board


def program_symbol(name: str) -> int:
    return assemble_program(PROGRAM, CODE).symbols[name]


@pytest.fixture(scope="module")
def linux() -> Iterator[Board]:
    """Linux at its shell's prompt."""
    folder = guest_folder()
    with Board(
        kernel=folder / "zImage",
        initrd=folder / "initramfs.cpio.gz",
        append=COMMAND_LINE,
        symbols=[folder / "vmlinux"],
        rtc="2026-11-22",
    ) as board:
        board.run_until(text=PROMPT)
        yield board


# -- what it costs not to use it --------------------------------------------------------------------


def test_importing_dbgemu_imports_nothing_of_the_machine() -> None:
    script = "import dbgemu, sys; print(sorted(name for name in sys.modules if name.startswith('dbgemu')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['dbgemu']"


def test_everything_that_is_listed_is_there() -> None:
    assert [name for name in dbgemu.__all__ if not hasattr(dbgemu, name)] == []
    assert set(dbgemu.__all__) <= set(dir(dbgemu))
    with pytest.raises(AttributeError, match="no attribute 'Bord'"):
        _ = dbgemu.Bord  # type: ignore[attr-defined]


# -- memory and registers ----------------------------------------------------------------------------


def test_memory_is_read_and_written_virtually_and_physically(bare: Board) -> None:
    bare.memory.write_word(0x30002000, 0x12345678)
    assert bare.physical.read(0x30002000, 4) == bytes.fromhex("78563412")
    bare.physical.write(0x30002000, b"hello\0")
    assert bare.memory.read_string(0x30002000) == "hello"
    assert bare.memory.read_word(0x30002000, 2) == 0x6568
    with pytest.raises(dbgemu.AddressError, match="nothing answers at physical address 0x90000000"):
        bare.physical.read(0x90000000, 4)
    with pytest.raises(dbgemu.AddressError):
        bare.memory.write(0x90000000, b"x")


def test_registers_have_their_names(bare: Board) -> None:
    bare.registers["r13_irq"] = 0x1234
    assert (bare.registers["r13_irq"], bare.registers["pc"]) == (0x1234, CODE)
    assert "r16" not in bare.registers
    with pytest.raises(
        dbgemu.UnknownNameError, match=r"^there is no register 'cpssr': did you mean 'cpsr'\?$"
    ):
        _ = bare.registers["cpssr"]


def test_device_registers_have_their_names_and_fields(bare: Board) -> None:
    gpio = bare.devices["gpio"]
    gpio["GPBCON"] = 0x15400
    assert (gpio["GPBCON"], gpio.fields("GPBCON")["GPB5"]) == (0x15400, 1)
    assert bare.physical.read_word(0x56000010) == 0x15400
    assert gpio.state.data()["name"] == "gpio"
    with pytest.raises(dbgemu.UnknownNameError, match="did you mean 'gpio'"):
        _ = bare.devices["gpoi"]
    with pytest.raises(dbgemu.UnknownNameError, match="no register of gpio 'GPZCON'"):
        gpio["GPZCON"] = 0


# -- running -------------------------------------------------------------------------------------------


def test_the_machine_runs_to_an_address_and_to_a_count(bare: Board) -> None:
    stop = bare.run_until(program_symbol("work"))
    assert (stop.reason, stop.pc, bare.registers["r4"]) == (Reason.ADDRESS, program_symbol("work"), 3)
    before = stop.instructions
    stop = bare.run_until(count=before + 5)
    assert (stop.reason, stop.instructions) == (Reason.COUNT, before + 5)
    stop = bare.run(instructions=2)
    assert (stop.reason, stop.instructions) == (Reason.COUNT, before + 7)
    assert bare.step(2).instructions == before + 9


def test_the_machine_runs_to_a_time(bare: Board) -> None:
    stop = bare.run_until(program_symbol("end"), time=10)
    assert stop.reason is Reason.TIME
    assert bare.time >= 10
    assert bare.instructions < 20
    start = bare.time
    assert bare.run(seconds=0.001).time - start >= 1_000_000


def test_what_does_not_come_is_an_error_with_the_stop(bare: Board) -> None:
    with pytest.raises(dbgemu.NotReachedError) as caught:
        bare.run_until(0x30005000, text="login:", within=0.001)
    assert (
        str(caught.value) == "the guest did not come to 0x30005000 or 'login:' within 0.001 virtual seconds"
    )
    assert caught.value.stop.reason is Reason.LIMIT
    with pytest.raises(dbgemu.UnknownNameError, match=r"no symbols are loaded \(symbols=\)"):
        bare.run_until("start_kernel")


def test_the_machine_runs_to_an_event(bare: Board) -> None:
    stop = bare.run_until(event=["swi", "undef"])
    assert (stop.reason, bare.registers["pc"] & 0xFFFF) == (Reason.EVENT, 8)
    assert "swi 0xef000005" in stop.message
    with pytest.raises(dbgemu.UnknownNameError, match="there is no event 'swo': did you mean 'swi'"):
        bare.run_until(event="swo")


def test_a_running_machine_can_be_looked_into_and_halted(bare: Board) -> None:
    bare.start()
    assert bare.wait(0.01) is None
    assert bare.memory.read_word(CODE) == bare.physical.read_word(CODE)
    stop = bare.halt()
    assert stop.reason is Reason.PAUSE
    assert bare.wait() == stop


# -- hooks ---------------------------------------------------------------------------------------------


def test_a_hook_sees_each_execution_until_it_is_removed(bare: Board) -> None:
    seen: list[int] = []
    with bare.on_exec(program_symbol("work"), lambda hit: seen.append(bare.registers["r4"])) as hook:
        bare.run_until(program_symbol("end") - 8)
    assert (seen, hook.calls, hook.active) == ([3, 2, 1], 3, False)
    bare.registers["pc"] = CODE
    bare.run_until(program_symbol("end") - 8)
    assert hook.calls == 3


def test_a_hook_stops_the_machine_in_front_of_the_access(bare: Board) -> None:
    seen: list[dbgemu.Access] = []

    def written(access: dbgemu.Access) -> object:
        seen.append(access)
        return STOP if access.value == 2 else None

    hook = bare.on_access(0x30001000, written)
    stop = bare.run_until(program_symbol("end"))
    assert (stop.reason, stop.hook) == (Reason.HOOK, hook)
    assert [item.value for item in seen] == [3, 2]
    assert (seen[1].pc, seen[1].write, seen[1].size) == (stop.pc, True, 4)
    assert bare.memory.read_word(0x30001000) == 3


def test_accesses_to_device_registers_are_told_by_name(bare: Board) -> None:
    seen: list[dbgemu.Access] = []
    bare.on_access("wdt.WTCON", seen.append)
    bare.on_access(0x30001000, seen.append, read=True, write=False)
    bare.run_until(event="swi")
    assert [(item.place, item.write, item.value) for item in seen] == [("wdt.WTCON", True, 0), ("", False, 1)]
    with pytest.raises(dbgemu.UnknownNameError, match="device wdt has no register 'WTCOM'"):
        bare.on_access("wdt.WTCOM", seen.append)


def test_blocks_of_a_range_are_told_once_each(bare: Board) -> None:
    blocks: list[int] = []
    bare.on_block(lambda hit: blocks.append(hit.pc), CODE, program_symbol("end") - 12)
    bare.run_until(event="swi")
    loop = program_symbol("loop")
    assert blocks == [CODE, loop + 4, loop, loop + 4, loop, loop + 4]
    with pytest.raises(dbgemu.Error, match="1 to 16384 bytes, not 1048576"):
        bare.on_block(print, CODE, CODE + 0xFFFFF)


def test_exceptions_are_told_in_words(bare: Board) -> None:
    seen: list[tuple[str, str]] = []
    bare.on_exception("all", lambda event: seen.append((event.kind, event.text)))
    bare.run_until(event="swi")
    assert seen == [("swi", f"swi 0xef000005 at 0x{program_symbol('end') - 8:08x}")]


def test_what_a_hook_raises_reaches_who_runs_the_machine(bare: Board) -> None:
    def fails(hit: object) -> None:
        raise ZeroDivisionError("as a script does")

    with bare.on_exec(program_symbol("work"), fails), pytest.raises(ZeroDivisionError, match="as a script"):
        bare.run_until(program_symbol("end"))
    assert bare.registers["pc"] == program_symbol("work")
    assert bare.run_until(program_symbol("end") - 8).reason is Reason.ADDRESS


def test_a_hook_cannot_run_the_machine(bare: Board) -> None:
    bare.on_exec(program_symbol("work"), lambda hit: bare.run(instructions=1))
    with pytest.raises(dbgemu.Error, match="a hook cannot run the machine or wait for it"):
        bare.run_until(program_symbol("end"))


def test_a_hook_may_change_what_the_guest_does(bare: Board) -> None:
    bare.on_exec(program_symbol("work"), lambda hit: bare.registers.update(r4=1))
    bare.run_until(program_symbol("end") - 8)
    assert bare.memory.read_word(0x30001000) == 1


# -- wrong input -----------------------------------------------------------------------------------------


def test_wrong_options_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(dbgemu.OptionError, match=r"-kernel: .*'/nonexistent'"):
        Board(kernel="/nonexistent")
    with pytest.raises(dbgemu.Error, match="-rtc"):
        Board(rtc="tomorrow")
    with pytest.raises(dbgemu.OptionError, match="there is no option '-kernl'"):
        Board(options=["-kernl", "x"])
    with pytest.raises(dbgemu.Error, match="asks for help"):
        Board(options=["-h"])
    with pytest.raises(dbgemu.TraceError, match="there is no event 'blocks'"):
        dbgemu.data_frame(tmp_path / "x", "blocks")


# -- Linux ---------------------------------------------------------------------------------------------------


def test_a_shell_is_used_by_its_text(linux: Board) -> None:
    assert linux.command("uname -s", prompt=PROMPT) == "Linux\n"
    linux.console.write("echo on\r")
    stop = linux.run_until(text=("never", "on\r\n"))
    assert (stop.reason, stop.message) == (Reason.TEXT, "on\r\n")
    linux.run_until(text=PROMPT)
    assert linux.console.read() == ""
    assert "Linux version 6.1" in linux.console.text


def test_symbols_backtraces_and_tasks_are_at_hand(linux: Board) -> None:
    assert linux.memory.read_string("linux_banner").startswith("Linux version 6.1")
    assert linux.address("linux_banner+6") == linux.address("linux_banner") + 6
    linux.console.write("/bin/true\r")
    stop = linux.run_until("do_exit")
    assert (stop.reason, stop.symbol) == (Reason.ADDRESS, "do_exit")
    assert linux.callers()[0] == "do_exit"
    assert "do_group_exit" in linux.callers()
    assert any(task.comm == "sh" for task in linux.linux.tasks()[0])
    linux.run_until(text=PROMPT)
    with pytest.raises(dbgemu.UnknownNameError, match="did you mean 'start_kernel'"):
        linux.address("start_kernal")


def test_interrupts_and_serial_output_have_hooks(linux: Board) -> None:
    sources: list[str] = []
    said: list[str] = []
    times: list[int] = []
    with (
        linux.on_interrupt("INT_TIMER4", lambda event: sources.append(event.name)),
        linux.on_serial(lambda printed: said.append(printed.text)),
        linux.on_serial(lambda printed: times.append(printed.time), "two"),
    ):
        linux.command("echo one; sleep 1; echo two", prompt=PROMPT)
    assert set(sources) == {"INT_TIMER4"}
    assert "one\r\ntwo\r\n" in "".join(said)
    assert times[1] - times[0] > 1_000_000_000, "the echo of the line, and a second later the word"
    with linux.on_serial(lambda printed: STOP, "ree"):
        linux.console.write("echo three; echo four\r")
        assert linux.run_until(text=PROMPT).reason is Reason.HOOK
    linux.run_until(text=PROMPT)


def test_monitor_commands_give_text_and_data(linux: Board) -> None:
    report = linux.monitor("info gpio")
    assert "GPB5" in report.text
    assert report.data
    with pytest.raises(dbgemu.CommandError, match="did you mean 'gpio'"):
        linux.monitor("info gpoi")


def test_a_state_is_saved_and_put_back(linux: Board, tmp_path: Path) -> None:
    path = str(tmp_path / "shell.dbgsnap")
    count = linux.instructions
    linux.save(path)
    linux.command("mkdir /tmp/later", prompt=PROMPT)
    assert linux.instructions > count
    linux.load(path)
    assert linux.instructions == count
    assert "later" not in linux.command("ls /tmp", prompt=PROMPT)
    with pytest.raises(dbgemu.SnapshotError):
        linux.load(str(tmp_path / "none.dbgsnap"))


def test_a_trace_is_recorded_read_and_framed(linux: Board, tmp_path: Path) -> None:
    path = tmp_path / "echo.dbgtrace"
    start = linux.instructions
    with linux.trace("tb_exec,mmio,serial", path) as recording:
        linux.command("echo traced", prompt=PROMPT)
    with dbgemu.open_trace(path) as trace:
        assert (trace.first_count, trace.end_count) == (start, linux.instructions)
        assert trace.header.command_line == COMMAND_LINE
    written = [item for item in recording.events("mmio_write") if isinstance(item, dbgemu.MmioWrite)]
    typed = bytes(item.value for item in written if item.register == "UTXH")
    assert b"traced\r\n" in typed
    frame = recording.data_frame("mmio_write")
    assert len(frame) == len(written)
    assert (frame.register == "UTXH").sum() == len(typed)
    blocks = recording.data_frame("tb_exec")
    assert int(blocks.length.sum()) == linux.instructions - start
    with pytest.raises(dbgemu.TraceError, match="there is no event 'mmio_writes'"):
        next(recording.events("mmio_writes"))


def test_the_last_blocks_before_a_stop_are_kept_in_memory(linux: Board) -> None:
    linux.console.write("/bin/true\r")
    with linux.trace("tb_exec,ring=1000") as recording:
        stop = linux.run_until("do_exit")
    blocks = [item for item in recording.events("tb_exec") if isinstance(item, dbgemu.TbExec)]
    assert len(blocks) >= 1000
    assert blocks[-1].icount + blocks[-1].length == stop.instructions
    linux.run_until(text=PROMPT)


def test_gdb_is_served_from_a_script(linux: Board) -> None:
    place = linux.serve_gdb()
    assert place.startswith("tcp:127.0.0.1:")
    assert int(place.rpartition(":")[2]) > 0
    linux.emulator.services.stop_gdb()
