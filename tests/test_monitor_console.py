"""The monitor's prompt: on terminals, seen on a screen, and as plain text on sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_consoles import Bench, FakeEnd, bench, until

from dbgemu import __version__
from dbgemu.debug.events import StopKind
from dbgemu.host.backend import ChardevEvent
from dbgemu.monitor.command import Argument, Command, Report
from dbgemu.monitor.context import Context

WELCOME = f"dbgemu {__version__} monitor - type 'help' for the commands"


@pytest.fixture(autouse=True)
def _history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBGEMU_HISTORY", str(tmp_path / "history"))
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def made() -> Iterator[Bench]:
    with bench() as one:
        yield one


def shows(end: FakeEnd, *lines: str) -> None:
    """The screen comes to end in these lines."""
    until(lambda: end.lines[-len(lines) :] == list(lines), lambda: end.lines)


def says(end: FakeEnd, text: str) -> None:
    until(lambda: end.text.endswith(text), lambda: end.text)


# -- without a terminal ------------------------------------------------------------------------------


def test_a_socket_gets_plain_text_without_echo_or_escape_sequences(made: Bench) -> None:
    end = made.plain()
    end.type("info status\n")
    says(end, "\n(dbgemu) " + "VM status: paused (reset at pc 0x30008000)\n(dbgemu) ")
    assert end.text.startswith(WELCOME + "\n(dbgemu) ")
    assert "\x1b" not in end.text
    assert "\r" not in end.text


def test_lines_of_a_script_are_run_in_order_and_the_last_needs_no_newline(made: Bench) -> None:
    end = made.plain()
    end.type("echo one\r\necho two\necho three")
    end.on_event(ChardevEvent.ENDED)
    until(lambda: end.hung_up)
    says(end, "(dbgemu) one\n(dbgemu) two\n(dbgemu) three\n(dbgemu) \n")


def test_what_a_pty_types_is_echoed_and_can_be_rubbed_out(made: Bench) -> None:
    end = made.console(FakeEnd(echoes=True))
    shows(end, WELCOME, "(dbgemu)")
    end.type("ecxo\x7f\x7fho  \x15echo right\r")
    shows(end, "(dbgemu) echo right", "right", "(dbgemu)")
    assert "\x1b" not in end.text


def test_an_unknown_command_costs_one_sentence(made: Bench) -> None:
    end = made.plain()
    end.type("infi status\n")
    says(end, "there is no command 'infi status': did you mean 'info status'?\n(dbgemu) ")


def test_a_plain_console_becomes_a_terminal_on_request_and_back(made: Bench) -> None:
    end = made.plain()
    end.type("terminal on\n")
    until(lambda: "\x1b[?2004h" in end.text)
    end.type("echo ab\x1b[D_\r")  # the cursor goes left
    shows(end, "a_b", "(dbgemu)")
    end.type("terminal off\r")
    says(end, "(dbgemu) ")
    before = len(end.text)
    end.type("info status\n")
    until(lambda: "paused" in end.text[before:])
    says(end, "\n(dbgemu) ")
    assert "\x1b" not in end.text[before:]


def test_a_telnet_client_that_tells_its_window_gets_the_editor(made: Bench) -> None:
    end = made.console(FakeEnd(echoes=True))
    shows(end, WELCOME, "(dbgemu)")
    end.resize(60, 20)
    end.on_event(ChardevEvent.RESIZED)
    until(lambda: "\x1b[?2004h" in end.text)
    end.type("echo x\x01\x1b[Ccho\x0b\x08\x7f\x7f\x15echo done\r")
    shows(end, "(dbgemu) echo done", "done", "(dbgemu)")
    assert end.lines.count("(dbgemu)") == 1


def test_the_next_client_is_greeted_anew(made: Bench) -> None:
    end = made.plain()
    end.type("echo 1\n")
    says(end, "1\n(dbgemu) ")
    end.on_event(ChardevEvent.CLOSED)
    made.monitor.tell("nobody sees this\n")
    end.on_event(ChardevEvent.OPENED)
    says(end, f"1\n(dbgemu) {WELCOME}\n(dbgemu) ")
    assert "nobody" not in end.text


# -- on a terminal ---------------------------------------------------------------------------------


def test_a_line_is_edited_run_and_kept(made: Bench, tmp_path: Path) -> None:
    end = made.terminal()
    assert end.keys_taken == 1
    end.type("echo helo\x1b[Dl\r")
    shows(end, "(dbgemu) echo hello", "hello", "(dbgemu)")
    end.type("\x1b[A\x17again\r")
    shows(end, "(dbgemu) echo again", "again", "(dbgemu)")
    assert (tmp_path / "history").read_text() == "echo hello\necho again\n"
    end.type("info history\r")
    shows(end, "    1  echo hello", "    2  echo again", "    3  info history", "(dbgemu)")


def test_the_history_of_an_earlier_run_is_found_with_ctrl_r_and_suggested(
    made: Bench, tmp_path: Path
) -> None:
    (tmp_path / "history").write_text("echo first\necho second\n")
    end = made.terminal()
    end.type("\x12fir")
    until(lambda: "echo first" in end.last)
    end.type("\r\r")
    until(lambda: "first" in end.lines, lambda: end.lines)
    until(lambda: end.last == "(dbgemu)")
    end.type("echo s")
    shows(end, "(dbgemu) echo second")  # the rest is a suggestion
    end.type("\x05\r")  # Ctrl-E takes it
    shows(end, "(dbgemu) echo second", "second", "(dbgemu)")


def test_tab_completes_commands_and_their_arguments(made: Bench) -> None:
    end = made.terminal()
    end.type("info stat\t")
    until(lambda: end.last == "(dbgemu) info status")
    end.type("\x15js\tinfo vers\t\r")
    shows(end, "}", "(dbgemu)")
    assert "(dbgemu) json info version" in end.lines


def test_what_is_shown_meanwhile_comes_above_the_line_being_typed(made: Bench) -> None:
    end = made.terminal()
    end.type("echo unfini")
    until(lambda: end.last == "(dbgemu) echo unfini")
    for number in range(200):
        made.monitor.tell(f"line {number}\n")
    until(lambda: "line 199" in end.lines, lambda: end.lines)
    end.type("shed\r")
    shows(end, "line 199", "(dbgemu) echo unfinished", "unfinished", "(dbgemu)")
    told = [line for line in end.text.replace("\r", "").splitlines() if line.startswith("line ")]
    assert len(told) >= 190  # the first of each batch follows the escape sequences that clear the prompt


def test_a_breakpoint_is_told_in_one_line_on_every_console(made: Bench) -> None:
    screen, plain = made.terminal(), made.plain()
    screen.type("info sta")
    until(lambda: screen.last == "(dbgemu) info sta")
    inner = made.debugged.program["inner"]
    point = made.session.add_breakpoint(made.monitor, inner)
    made.session.resume()
    line = f"Breakpoint {point.id} at 0x{inner:08x}"
    shows(screen, WELCOME, line, "(dbgemu) info sta")
    says(plain, f"(dbgemu) \n{line}\n(dbgemu) ")


def test_ctrl_c_on_an_empty_line_stops_the_guest_and_otherwise_drops_the_line(made: Bench) -> None:
    end = made.terminal()
    end.type("cont\r")
    until(lambda: made.session.running)
    shows(end, "(dbgemu) cont", "(dbgemu)")
    end.type("echo never\x03")
    shows(end, "(dbgemu) echo never", "(dbgemu)")
    assert made.session.running
    end.type("\x03")
    until(lambda: end.lines[-2].startswith("Paused at 0x300080"), lambda: end.lines)
    assert made.session.last_stop.kind is StopKind.PAUSE


def test_ctrl_d_hangs_up_a_socket_and_does_nothing_on_stdio(made: Bench) -> None:
    end = made.terminal()
    end.type("\x04echo here\r")
    shows(end, "(dbgemu) echo here", "here", "(dbgemu)")
    link = made.console(FakeEnd((80, 24), description="telnet:somewhere"))
    shows(link, WELCOME, "(dbgemu)")
    link.type("\x04")
    until(lambda: link.hung_up)
    assert not end.hung_up


def test_keys_pressed_while_a_command_runs_are_its_end_or_wait(made: Bench) -> None:
    def spin(context: Context, arguments: object) -> str:
        context.write("spinning\n")
        context.wait(lambda seconds: False)
        return "never"

    made.monitor.commands.add([Command("spin", spin, "wait for Ctrl-C")])
    for end in (made.terminal(), made.plain()):
        end.type("spin\n")
        until(lambda end=end: "spinning" in end.text)  # type: ignore[misc]
        end.type("echo dropped\n\x03echo kept\n")
        until(lambda end=end: "interrupted" in end.text)  # type: ignore[misc]
        until(lambda end=end: end.lines[-2:] == ["kept", "(dbgemu)"] or end.text.endswith("kept\n(dbgemu) "))  # type: ignore[misc]
        assert "\ndropped" not in end.text


def test_an_empty_line_repeats_what_can_be_repeated(made: Bench) -> None:
    runs: list[bool] = []

    def again(context: Context, arguments: object) -> str:
        runs.append(context.repeated)
        return f"run {len(runs)}"

    made.monitor.commands.add([Command("again", again, "count", repeatable=True)])
    end = made.plain()
    end.type("again\n\n\necho no\n\n\n")
    says(end, "run 1\n(dbgemu) run 2\n(dbgemu) run 3\n(dbgemu) no\n(dbgemu) (dbgemu) (dbgemu) ")
    assert runs == [False, True, True]


def test_long_output_is_shown_page_by_page(made: Bench) -> None:
    def count(context: Context, arguments: object) -> str:
        context.write("".join(f"{number}\n" for number in range(15)))
        return "\n".join(str(number) for number in range(15, 30))

    made.monitor.commands.add([Command("count", count, "count to 30")])
    end = made.terminal(60, 10)
    end.type("count\r")
    more = "-- more: space, enter for a line, a for all, q to stop --"
    shows(end, "7", "8", more)
    end.type("\r")
    shows(end, "8", "9", more)
    end.type(" ")
    shows(end, "17", "18", more)
    end.type("q")
    shows(end, "17", "18", "(dbgemu)")
    end.type("count\r")
    shows(end, "7", "8", more)
    end.type("a")
    shows(end, "28", "29", "(dbgemu)")
    end.type("set pagination off\r")
    shows(end, "(dbgemu) set pagination off", "(dbgemu)")
    end.type("count\r")
    shows(end, "28", "29", "(dbgemu)")


def test_a_paste_of_a_thousand_lines_runs_them_all(made: Bench) -> None:
    ran: list[str] = []

    def note(context: Context, arguments: list[str]) -> str:
        ran.append(arguments[0])
        return ""

    made.monitor.commands.add([Command("note", note, "note a number", (Argument("number"),))])
    end = made.terminal()
    end.type("\x1b[200~" + "\n".join(f"note {number}" for number in range(1000)) + "\x1b[201~")
    until(lambda: end.last == "(dbgemu) note 999", lambda: end.lines)
    assert ran == [str(number) for number in range(999)]
    end.type("\r")
    until(lambda: len(ran) == 1000)


def test_a_resized_terminal_is_drawn_anew(made: Bench) -> None:
    end = made.terminal(80, 24)
    end.type("echo " + "x" * 60)
    until(lambda: end.last.endswith("x" * 60))
    before = len(end.text)
    end.resize(40, 12)
    until(lambda: len(end.text) > before)
    end.type("\x15echo ok\r")
    until(lambda: end.lines[-2:] == ["ok", "(dbgemu)"], lambda: end.lines)


def test_a_command_that_fails_by_a_defect_leaves_the_console_alive(made: Bench) -> None:
    def fail(context: Context, arguments: object) -> Report:
        raise RuntimeError("a defect")

    made.monitor.commands.add([Command("fail", fail, "fail")])
    end = made.plain()
    end.type("fail\necho alive\n")
    says(end, "RuntimeError: a defect\n(dbgemu) alive\n(dbgemu) ")


def test_closing_takes_the_prompt_off_the_screen_and_the_terminal_out_of_its_modes(made: Bench) -> None:
    end = made.terminal()
    end.type("half a line")
    until(lambda: end.last == "(dbgemu) half a line")
    made.consoles[0].close()
    until(lambda: end.last == WELCOME)
    assert end.text.rindex("\x1b[?2004l") > end.text.rindex("\x1b[?2004h")


# -- a terminal shared with the serial port ---------------------------------------------------------


def test_the_serial_ports_output_comes_in_whole_lines_above_the_prompt(made: Bench) -> None:
    end = made.console(FakeEnd((80, 24)), shared=True)
    end.write(b"login: ")
    end.on_event(ChardevEvent.FOCUSED)
    shows(end, "login:", WELCOME, "(dbgemu)")
    end.type("info st")
    until(lambda: end.last == "(dbgemu) info st")
    assert end.on_other_output is not None
    for byte in b"[    1.0] one\r\n[    1.1] two\r\n/ # ":
        end.on_other_output(bytes((byte,)))
    shows(end, "login:", WELCOME, "[    1.0] one", "[    1.1] two", "(dbgemu) info st")
    end.on_event(ChardevEvent.UNFOCUSED)
    until(lambda: end.last in ("/ #", "[    1.1] two"), lambda: end.lines)
    end.on_event(ChardevEvent.FOCUSED)
    until(lambda: end.last.endswith("(dbgemu) info st"), lambda: end.lines)


def test_a_stop_is_told_while_the_serial_port_has_the_terminal(made: Bench) -> None:
    end = made.console(FakeEnd((80, 24)), shared=True)
    end.on_event(ChardevEvent.FOCUSED)
    shows(end, WELCOME, "(dbgemu)")
    end.on_event(ChardevEvent.UNFOCUSED)
    until(lambda: end.last == WELCOME)
    end.write(b"/ # ls")
    made.session.resume()
    made.session.halt()
    until(lambda: end.last.startswith("Paused at 0x300080"), lambda: end.lines)
    assert end.lines[-2] == "/ # ls"


def test_output_at_full_speed_leaves_the_prompt_usable(made: Bench) -> None:
    end = made.console(FakeEnd((80, 24)), shared=True)
    end.on_event(ChardevEvent.FOCUSED)
    shows(end, WELCOME, "(dbgemu)")
    assert end.on_other_output is not None
    for number in range(8_000):
        end.on_other_output(b"%d: a line of a kernel that has much to say, and quickly\n" % number)
        if number == 4_000:
            end.type("echo still here")
    shows(end, "7999: a line of a kernel that has much to say, and quickly", "(dbgemu) echo still here")
    assert len(end.written) < 1_000_000


def test_no_colour_is_used_where_the_user_wants_none(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")
    end = made.terminal()
    end.type("info status 0x12 $pc")
    until(lambda: end.last == "(dbgemu) info status 0x12 $pc")
    assert "\x1b[0;36" not in end.text
    assert "\x1b[0;94" not in end.text
