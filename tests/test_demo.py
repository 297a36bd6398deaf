"""The demo firmware, run as the README's tour does, and the ELF file that a debugger reads."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from dbgemu.demo import BASE, SOURCES, demo_elf, demo_program
from dbgemu.machine import Machine, StopReason
from dbgemu.target.boot import plan_boot
from dbgemu.target.clock import NS_PER_SECOND
from dbgemu.target.mini2440 import Mini2440

PROMPT = b"demo> "


class Demo:
    """A board that runs the firmware; it only runs while a method waits for it."""

    def __init__(self, kernel: bytes) -> None:
        self.board = Mini2440()
        self.board.boot_plan = plan_boot(kernel, "demo", memory_size=64 << 20)
        self.machine = Machine(self.board, warp=True)
        self.output = b""
        self.board.uarts[0].on_transmit = self._transmitted

    def _transmitted(self, character: int) -> None:
        self.output += bytes((character,))
        if self.output.endswith(PROMPT):
            self.machine.request_stop()

    def wait(self) -> str:
        """Run to the next prompt; what was printed."""
        self.output = b""
        assert self.machine.run(10_000_000).reason is StopReason.REQUEST, self.output
        return self.output.removesuffix(PROMPT).decode()

    def command(self, line: str) -> str:
        """What a command prints."""
        self.board.uarts[0].receive(line.encode() + b"\r")
        return self.wait().removeprefix(line + "\r\n")

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass while the firmware waits for a key."""
        end = self.board.clock.now + int(seconds * NS_PER_SECOND)
        while self.board.clock.now < end:
            self.machine.run(100)

    def word(self, symbol: str) -> int:
        return int.from_bytes(self.machine.cpu.read_memory(demo_program()[symbol], 4), "little")

    def leds(self) -> list[bool]:
        return [led.lit for led in self.board.leds]


@pytest.fixture
def demo() -> Demo:
    board = Demo(demo_program().data)
    board.wait()
    return board


@pytest.mark.parametrize("kernel", [demo_program().data, demo_elf()], ids=["binary", "ELF"])
def test_the_banner_comes_first(kernel: bytes) -> None:
    assert Demo(kernel).wait() == (
        "\r\ndbgemu demo firmware on a mini2440\r\n"
        "The LEDs move by timer interrupt. Type 'help' for the commands.\r\n"
    )


def test_no_device_sees_a_wrong_access(demo: Demo) -> None:
    for line in ("led 1 on", "time", "peek 56000014"):
        demo.command(line)
    demo.sleep(1)
    assert demo.board.log.count == 0


def test_help_lists_the_commands(demo: Demo) -> None:
    printed = demo.command("help")
    assert re.findall(r"^(\w+)", printed, re.MULTILINE) == (
        ["help", "led", "led", "peek", "poke", "time", "crash", "reboot"]
    )


def test_one_led_is_lit_and_it_moves_four_times_a_second(demo: Demo) -> None:
    seen = []
    for _ in range(5):
        seen.append(demo.leds())
        demo.sleep(0.25)
    one, two, three, four = ([n == lit for n in range(4)] for lit in range(4))
    assert seen == [one, two, three, four, one]


def test_leds_can_be_held(demo: Demo) -> None:
    demo.command("led 2 on")
    demo.command("led 3 off")
    for _ in range(4):
        assert demo.leds()[1:3] == [True, False]
        demo.sleep(0.25)
    demo.command("led auto")
    assert demo.leds().count(True) == 1


@pytest.mark.parametrize(
    "line", ["led", "led 5 on", "led 0 off", "led 1", "led 1 blue", "peek", "peek x1", "peek 0x", "poke 0"]
)
def test_wrong_arguments_are_told(demo: Demo, line: str) -> None:
    assert demo.command(line) == "That is not how it is used: type 'help'.\r\n"


@pytest.mark.parametrize("digit", [*"gz:;<=>?@AZ/`"])
def test_only_digits_make_a_number(demo: Demo, digit: str) -> None:
    assert "not how it is used" in demo.command(f"peek 3000800{digit}")


def test_words_can_be_written_and_read(demo: Demo) -> None:
    assert demo.command("poke 30200000 deadbeef") == ""
    assert demo.command("peek 0x30200000") == "0x30200000: 0xdeadbeef\r\n"
    assert demo.command("peek 30008000") == "0x30008000: 0xe321f092\r\n"


def test_time_is_virtual_time(demo: Demo) -> None:
    demo.sleep(12)
    match = re.fullmatch(r"(\d+\.\d\d) s since the start\r\n", demo.command("time"))
    assert match
    # the timer's ticks are 10 ms, and the banner takes some of the time
    assert float(match[1]) == pytest.approx(demo.board.clock.now / NS_PER_SECOND, abs=0.03)


def test_a_crash_is_reported_and_the_prompt_comes_back(demo: Demo) -> None:
    pc = demo_program()["crash_here"]
    assert demo.command("crash") == (
        f"data abort at address 0xdead0000, status 0x00000005, pc 0x{pc:08x}\r\n"
    )
    assert demo.command("peek 30008000") == "0x30008000: 0xe321f092\r\n"


def test_reboot_resets_the_board(demo: Demo) -> None:
    demo.sleep(2)
    demo.command("led 2 on")
    printed = demo.command("reboot")
    assert printed.startswith("The watchdog resets the board.\r\n\r\ndbgemu demo firmware")
    assert demo.word("manual_mask") == 0
    assert demo.word("ticks") < 10


def test_lines_can_be_corrected(demo: Demo) -> None:
    assert demo.command("hoot\x7f\x7f\x7felp").endswith("reset the board by the watchdog\r\n")
    assert demo.command("\x7f\x7f" + "x" * 100).endswith("That is no command: type 'help'.\r\n")
    assert demo.command("  ") == ""


def test_keys_typed_ahead_are_kept_while_it_prints(demo: Demo) -> None:
    demo.board.uarts[0].receive(b"help\rtime\r")
    assert "reboot " in demo.wait()
    assert "s since the start" in demo.wait()


def test_the_cpu_sleeps_while_there_is_nothing_to_do(demo: Demo) -> None:
    before = demo.machine.cpu.instructions
    demo.sleep(10)
    assert demo.machine.cpu.instructions - before < 100_000


# -- the ELF file --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elf() -> ELFFile:
    return ELFFile(io.BytesIO(demo_elf()))


def test_the_elf_file_loads_what_the_binary_has(elf: ELFFile) -> None:
    (segment,) = elf.iter_segments("PT_LOAD")
    assert segment.data() == demo_program().data
    assert segment["p_paddr"] == elf["e_entry"] == BASE
    assert elf["e_machine"] == "EM_ARM"


def test_every_label_is_a_symbol(elf: ELFFile) -> None:
    symbols = {symbol.name: symbol for symbol in elf.get_section_by_name(".symtab").iter_symbols()}
    for label in demo_program().labels:
        assert symbols[label.name]["st_value"] == label.address
    assert symbols["start"]["st_info"]["type"] == "STT_FUNC"
    assert symbols["ticks"]["st_info"]["type"] == "STT_NOTYPE"


def test_every_instruction_has_its_source_line(elf: ELFFile) -> None:
    dwarf = elf.get_dwarf_info()
    (unit,) = dwarf.iter_CUs()
    program = dwarf.line_program_for_CU(unit)
    states = [entry.state for entry in program.get_entries() if entry.state is not None]
    names = [file.name.decode() for file in program["file_entry"]]
    assert names == [path.name for path in SOURCES]
    source = [line for path in SOURCES for line in path.read_text().splitlines()]
    texts = {path.name: path.read_text().splitlines() for path in SOURCES}
    found = [
        (state.address, texts[names[state.file - 1]][state.line - 1])
        for state in states
        if not state.end_sequence
    ]
    assert found == [(address, source[line - 1]) for address, line in demo_program().lines]
    assert states[-1].end_sequence
    assert states[-1].address == BASE + len(demo_program().data)
    assert unit.get_top_DIE().get_full_path() == str(SOURCES[0])


def test_words_are_variables_of_four_bytes(elf: ELFFile) -> None:
    (unit,) = elf.get_dwarf_info().iter_CUs()
    variables = {
        entry.attributes["DW_AT_name"].value.decode(): entry
        for entry in unit.iter_DIEs()
        if entry.tag == "DW_TAG_variable"
    }
    ticks = variables["ticks"]
    location = bytes(ticks.attributes["DW_AT_location"].value)
    assert location == b"\x03" + demo_program()["ticks"].to_bytes(4, "little")
    kind = ticks.get_DIE_from_attribute("DW_AT_type")
    assert kind.attributes["DW_AT_byte_size"].value == 4
    assert "banner" not in variables


def test_the_elf_file_is_written_by_a_command(tmp_path: Path) -> None:
    path = tmp_path / "demo.elf"
    subprocess.run([sys.executable, "-m", "dbgemu.demo", path], check=True)
    assert path.read_bytes() == demo_elf()


def test_the_tour_in_the_readme_shows_what_there_is() -> None:
    program = demo_program()
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    labels = {label.address: label.name for label in program.labels}
    source = [(path.name, n) for path in SOURCES for n, _ in enumerate(path.read_text().splitlines(), 1)]
    places = {}
    inside = ""
    for address, line_number in program.lines:
        inside = labels.get(address, inside)
        places[source[line_number - 1]] = inside
    shown = re.findall(r"(\w+) \(\) at (\w+\.s):(\d+)", readme)
    assert len(shown) >= 6
    for function, file, line in shown:
        assert places[file, int(line)] == function
    assert f"pc 0x{program['crash_here']:08x}" in readme
    assert f"lr             0x{program['crash_here'] + 8:08x} " in readme
    assert f"0x{program['line'] + 6:08x} <line+6>" in readme


@pytest.mark.parametrize("arguments", [[], ["-h"], ["a", "b"], ["missing/demo.elf"]])
def test_the_command_tells_what_is_wrong(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dbgemu.demo", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
