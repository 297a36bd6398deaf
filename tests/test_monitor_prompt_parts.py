"""What the prompt is made of: completion, history, scripts, the words for a stop, telnet's window size."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from chardev_ends import Ear, Opener, eventually, io, opened, port_of, read_until
from monitor_consoles import DATA_WRITER, Bench, FakeEnd, bench, until

from dbgemu.debug.watchpoints import WatchKind
from dbgemu.host.backend import ChardevEvent
from dbgemu.host.iothread import IoThread
from dbgemu.host.telnet import TelnetFilter
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.completion import complete
from dbgemu.monitor.console import Console
from dbgemu.monitor.context import Context
from dbgemu.monitor.history import KEPT, History, history_file
from dbgemu.monitor.monitor import Monitor
from dbgemu.monitor.stops import describe

__all__ = ["io", "opened"]


@pytest.fixture(scope="module")
def made() -> Iterator[Bench]:
    with bench() as one:

        def nothing(context: Context, arguments: object) -> Report:
            return Report("", list(arguments))  # type: ignore[call-overload]

        one.monitor.commands.add(
            Command(f"try-{kind.name.lower()}", nothing, "a test", (Argument("what", kind, repeated=True),))
            for kind in Kind
        )
        one.monitor.commands.add(
            [
                Command(
                    "try choices", nothing, "a test", (Argument("way", choices=("up", "upper", "down")),)
                ),
            ]
        )
        yield one


def words(monitor: Monitor, line: str) -> list[str]:
    """Whole lines that may come of ``line``."""
    length, candidates = complete(monitor, line)
    return [line[: len(line) - length] + candidate.text for candidate in candidates]


# -- completion ------------------------------------------------------------------------------------


def test_commands_are_completed_word_by_word_with_their_help(made: Bench) -> None:
    assert "json" in words(made.monitor, "js")
    assert words(made.monitor, "info histo") == ["info history"]
    assert complete(made.monitor, "info histo").candidates[0].note.startswith("show the last lines")
    assert words(made.monitor, "json info histo") == ["json info history"]
    assert words(made.monitor, "no such command ") == []


def test_arguments_are_completed_by_their_kind_and_choices(made: Bench) -> None:
    assert words(made.monitor, "try choices up") == ["try choices up", "try choices upper"]
    assert words(made.monitor, "try choices up do") == []
    assert words(made.monitor, "try-register r14_i") == ["try-register r14_irq"]
    assert words(made.monitor, "try-register $spsr_u") == ["try-register $spsr_und"]
    assert words(made.monitor, "try-device nand") == ["try-device nand", "try-device nandflash"]
    assert words(made.monitor, "try-device_register nand.nfcm") == ["try-device_register nand.NFCMMD"]
    assert words(made.monitor, "try-device_register uart2") == ["try-device_register uart2."]


def test_only_the_last_name_of_an_expression_is_completed(made: Bench) -> None:
    assert words(made.monitor, "try-expression 4*(nand.NFCMM") == ["try-expression 4*(nand.NFCMMD"]
    assert words(made.monitor, "try-expression 4+$cps") == ["try-expression 4+$cpsr"]
    assert words(made.monitor, "try-expression 4+") == []


def test_files_are_completed_and_folders_stay_open(made: Bench, tmp_path: Path) -> None:
    (tmp_path / "one.dbg").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / ".hidden").touch()
    length, found = complete(made.monitor, f"source {tmp_path}/o")
    assert (length, [(item.text, item.open) for item in found]) == (1, [("old/", True), ("one.dbg", False)])
    assert len(complete(made.monitor, f"source {tmp_path}/").candidates) == 2
    assert words(made.monitor, f"source {tmp_path}/none/x") == []


# -- history -----------------------------------------------------------------------------------------


def test_the_history_file_is_where_the_environment_says() -> None:
    assert history_file({"DBGEMU_HISTORY": "/x/y"}) == Path("/x/y")
    assert history_file({"DBGEMU_HISTORY": "", "HOME": "/h"}) is None
    assert history_file({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/dbgemu/history")
    assert history_file({"XDG_STATE_HOME": "s", "HOME": "/h"}) == Path("/h/.local/state/dbgemu/history")


def test_the_history_leaves_out_what_repeats_and_stays_short(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    history = History(path)
    for line in ("one", "one", "  ", "two", "one"):
        history.add(line)
    assert History(path).lines == ["one", "two", "one"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("".join(f"line {number}\n" for number in range(2 * KEPT + 1)))
    assert len(History(path).lines) == KEPT
    assert path.read_text().splitlines()[0] == f"line {KEPT + 1}"


def test_a_history_that_cannot_be_kept_is_one_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = History(tmp_path / "file" / "history")
    history.add("one")
    assert history.lines == ["one"]
    (tmp_path / "folder").mkdir()
    assert History(tmp_path / "folder").lines == []


# -- scripts -----------------------------------------------------------------------------------------


def test_a_script_prints_as_it_goes_and_may_run_another(made: Bench, tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("echo two\n")
    (tmp_path / "outer").write_text(f"# first\necho one\n\nsource {tmp_path}/inner\necho three \\\n  more\n")
    assert made.monitor.execute(f"source {tmp_path}/outer") == "one\ntwo\nthree more\n"


def test_a_script_ends_at_its_first_error_with_file_and_line(made: Bench, tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("echo two \\\n more\n\nno-such\necho never\n")
    (tmp_path / "outer").write_text(f"echo one\nsource {tmp_path}/inner\necho never\n")
    with pytest.raises(CommandError) as caught:
        made.monitor.run(f"source {tmp_path}/outer")
    assert str(caught.value) == (
        f"{tmp_path}/outer:2: {tmp_path}/inner:4: there is no command 'no-such': 'help' lists them"
    )


def test_a_script_cannot_run_itself_for_ever_and_must_be_text(made: Bench, tmp_path: Path) -> None:
    (tmp_path / "self").write_text(f"source {tmp_path}/self\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert made.monitor.execute(f"source {tmp_path}/self").endswith("nested 10 deep, not deeper")
    assert made.monitor.execute(f"source {tmp_path}/binary").endswith("/binary' is not a text file")
    assert made.monitor.execute("source /none") == "'/none' cannot be read: No such file or directory"


def test_lines_that_a_command_asks_for_come_from_the_script_or_the_prompt(
    made: Bench, tmp_path: Path
) -> None:
    def block(context: Context, arguments: object) -> str:
        return "+".join(context.block())

    made.monitor.commands.add([Command("block", block, "a test")])
    (tmp_path / "script").write_text("block\none\n  two\nend\necho after\n")
    assert made.monitor.execute(f"source {tmp_path}/script") == "one+two\nafter\n"
    (tmp_path / "script").write_text("block\none\n")
    assert made.monitor.execute(f"source {tmp_path}/script").endswith(":1: the line 'end' is missing")
    assert made.monitor.execute("block").endswith("on a console or in a script only")
    end = made.plain()
    end.type("block\nx\ny\nend\n")
    until(lambda: end.text.endswith("(dbgemu) >>>x+y\n(dbgemu) "), lambda: end.text)


# -- stops -------------------------------------------------------------------------------------------


def test_a_watchpoint_is_told_with_the_access() -> None:
    with bench(DATA_WRITER) as made:
        program = made.debugged.program
        made.session.add_watchpoint(made.monitor, 0x30100000, 4, WatchKind.WRITE)
        made.session.add_watchpoint(made.monitor, 0x50000020, 4, WatchKind.WRITE)
        assert describe(made.session, made.debugged.run()) == (
            f"Watchpoint 1 at 0x{program['store']:08x}: writes 2 bytes at 0x30100002 <- 0x0041"
        )
        text = describe(made.session, made.debugged.run())
        assert text.startswith(f"Watchpoint 2: 0x{program['send']:08x} writes uart0.UTXH <- 0x00000041")


# -- host ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_telnet_window_size_is_understood_however_it_is_cut(size: int) -> None:
    data = b"\xff\xfb\x1fa\xff\xfa\x1f\x00\xff\xff\x00\x28\xff\xf0b\xff\xfa\x18\x00xterm\xff\xf0"
    telnet = TelnetFilter()
    plain = b"".join(telnet.feed(data[start : start + size])[0] for start in range(0, len(data), size))
    assert plain == b"ab"
    assert telnet.window == (255, 40)


def test_a_lingering_socket_sends_its_answer_after_the_clients_end(opened: Opener, tmp_path: Path) -> None:
    backend = opened(f"unix:{tmp_path}/socket,server,nowait")
    backend.lingers = True
    ear = Ear(backend)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/socket")
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: ear.events[-1:] == [ChardevEvent.ENDED])
        backend.write(b"answer" * 100_000)
        backend.hang_up()
        got = b""
        while data := client.recv(65536):
            got += data
    assert got == b"answer" * 100_000
    eventually(lambda: ear.events == [ChardevEvent.OPENED, ChardevEvent.ENDED, ChardevEvent.CLOSED])


def test_a_script_over_tcp_gets_all_answers_and_several_consoles_work_at_once(
    made: Bench, opened: Opener, io: IoThread
) -> None:
    consoles = [opened("tcp::0,server,nowait") for _ in range(2)]
    for backend in consoles:
        made.consoles.append(Console(backend, made.monitor, shared=False))
    clients = [socket.create_connection(("127.0.0.1", port_of(backend))) for backend in consoles]
    for client in clients:
        read_until(client.fileno(), b"(dbgemu) ")
    for number, client in enumerate(clients):
        client.sendall(b"echo %d\ninfo version\n" % number)
        client.shutdown(socket.SHUT_WR)
    for number, client in enumerate(clients):
        got = b""
        while data := client.recv(65536):
            got += data
        assert got.startswith(b"%d\n(dbgemu) dbgemu " % number), got
        client.close()


def test_a_telnet_client_negotiates_the_editor(made: Bench, opened: Opener) -> None:
    backend = opened("telnet::0,server,nowait")
    made.consoles.append(Console(backend, made.monitor, shared=False))
    with socket.create_connection(("127.0.0.1", port_of(backend))) as client:
        assert b"\xff\xfd\x1f" in read_until(client.fileno(), b"(dbgemu) ")
        client.sendall(b"\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0")
        read_until(client.fileno(), b"\x1b[?2004h")
        client.sendall(b"echo abc\x1b[D_\r")
        assert b"ab_c" in read_until(client.fileno(), b"ab_c\r\n")
        client.sendall(b"\x04")
        while client.recv(4096):
            pass
    screen = made.console(FakeEnd(echoes=True))
    until(lambda: screen.last == "(dbgemu)")
