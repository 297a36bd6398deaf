"""``info DEVICE``, ``info gpio`` and the SVD export: everything comes from the declarations."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from dbgemu.debug.session import DebugSession
from dbgemu.machine import Machine
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor
from dbgemu.target.facts import Fact
from dbgemu.target.mini2440 import Mini2440

NAMES = tuple(Mini2440().devices)
#: registers of the S3C2440A that are one value without parts
PLAIN = {"NFESTAT1"}


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    machine = Machine(Mini2440(), warp=True)
    for block in (machine.board.clkpwr, machine.board.uarts[0], machine.board.memc):
        block.set_bootloader_defaults()
    return Monitor(DebugSession(machine))


@pytest.mark.parametrize("name", NAMES)
def test_every_device_is_shown_with_each_register(monitor: Monitor, name: str) -> None:
    report = monitor.run(f"info {name}.*")
    device = monitor.session.machine.board.devices[name]
    shown = {register["name"]: register for register in report.data["registers"]}
    assert report.text.startswith(f"{name}: {device.title} (")
    assert set(device.registers) <= set(shown)
    for register in device.registers.values():
        assert f"{register.name} = 0x" in report.text
        assert [field["name"] for field in shown[register.name]["fields"]] == [
            field.name for field in sorted(register.fields, key=lambda field: -field.high)
        ]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dm9000"])
def test_every_register_of_the_chip_is_decoded_and_every_field_says_what_it_is(name: str) -> None:
    registers = Mini2440().devices[name].registers.values()
    assert [register.name for register in registers if not register.fields] == [
        register.name for register in registers if register.name in PLAIN
    ]
    assert [
        f"{register.name}.{field.name}"
        for register in registers
        for field in register.fields
        if not field.doc and not field.values
    ] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_dump_leaves_the_device_as_it_was(monitor: Monitor, name: str) -> None:
    device = monitor.session.machine.board.devices[name]
    before = device.save()
    monitor.run(f"info {name}")
    assert device.save() == before


def facts(monitor: Monitor, name: str) -> dict[str, object]:
    return {fact["name"]: fact["value"] for fact in monitor.run(f"info {name}").data["facts"]}


def test_the_clocks_are_told_in_hertz(monitor: Monitor) -> None:
    found = facts(monitor, "clkpwr")
    assert (found["FCLK"], found["HCLK"], found["PCLK"]) == (405_000_000, 101_250_000, 50_625_000)
    assert "  HCLK        101.25 MHz" in monitor.run("info clkpwr").text.splitlines()


def test_a_uart_tells_its_rate_and_its_fifos(monitor: Monitor) -> None:
    uart = monitor.session.machine.board.uarts[0]
    for character in b"abc":
        uart.writer(uart.registers["UTXH"])(character)
    found = facts(monitor, "uart0")
    assert (found["baud rate"], found["frame"]) == (117_188, "8N1")
    assert found["transmit FIFO"] == "2 of 64"


def test_a_running_timer_tells_its_frequencies(monitor: Monitor) -> None:
    pwm = monitor.session.machine.board.pwm
    for register, value in (("TCFG0", 0x1800), ("TCNTB4", 10124), ("TCON", 0x200000), ("TCON", 0x500000)):
        pwm.writer(pwm.registers[register])(value)
    assert facts(monitor, "pwm")["timer 4"] == "runs at 10124, counting at 1.0125 MHz, zero at 100 Hz"


def test_banks_chips_and_time_are_told(monitor: Monitor) -> None:
    assert facts(monitor, "memc")["bank 6, 0x30000000"] == "32-bit, SDRAM, 128 MB"
    assert facts(monitor, "nandflash")["part"] == "K9F1208"
    assert str(facts(monitor, "rtc")["time"]).endswith("00:00:00 (Thursday)")
    assert facts(monitor, "norflash")["mode"] == "array"


def test_one_register_is_shown_with_all_meanings(monitor: Monitor) -> None:
    lines = monitor.run("info uart0.ULCON").text.splitlines()
    assert lines[:2] == [
        "0x50000000 ULCON = 0x03  Line control",
        "  8 bits, read and write, 0x0 after reset",
    ]
    assert "    WORD     [1:0] 0x3  data bits: 8" in lines
    assert "                   0x2 is 7" in lines
    assert monitor.run("info UART0.ulcon").data["address"] == 0x50000000


def test_a_wrong_name_suggests_the_near_one(monitor: Monitor) -> None:
    for line, near in (("info nnad", "nand"), ("info nand.NFCON", "NFCONT"), ("info devces", "devices")):
        with pytest.raises(CommandError, match=f"did you mean '{near}'"):
            monitor.run(line)


def test_info_alone_lists_what_there_is(monitor: Monitor) -> None:
    data = monitor.run("info").data
    assert "devices" in data["subjects"]
    assert data["devices"] == list(NAMES)


def pin(monitor: Monitor, name: str) -> dict[str, object]:
    (row,) = monitor.run(f"info gpio {name}").data["pins"]
    return row


def test_pins_tell_function_level_its_cause_and_wiring(monitor: Monitor) -> None:
    gpio = monitor.session.machine.board.gpio
    write = {name: gpio.writer(register) for name, register in gpio.registers.items()}
    write["GPBCON"](0x400)  # GPB5 is an output
    write["GPBDAT"](0)
    led = pin(monitor, "GPB5")
    assert (led["function"], led["direction"], led["level"], led["decided_by"]) == (
        "output",
        "out",
        0,
        "latch",
    )
    assert led["wired_to"] == "LED1, lit by 0"
    button = pin(monitor, "g0")
    assert (button["direction"], button["level"], button["decided_by"]) == ("in", 1, "resistor")
    monitor.session.machine.board.buttons[0].press()
    button = pin(monitor, "GPG0")
    assert (button["level"], button["decided_by"]) == (0, "outside")
    assert pin(monitor, "GPB9")["decided_by"] == "pull-up"
    write["GPBUP"](1 << 9)
    assert (pin(monitor, "GPB9")["decided_by"], pin(monitor, "GPB9")["pull_up"]) == ("floating", False)


def test_a_port_is_shown_alone_and_external_interrupts_with_it(monitor: Monitor) -> None:
    gpio = monitor.session.machine.board.gpio
    gpio.writer(gpio.registers["GPGCON"])(2)
    gpio.writer(gpio.registers["EXTINT1"])(4)
    button = gpio.pin("GPG0")
    button.drive(0)
    button.drive(1)
    report = monitor.run("info gpio G")
    assert len(report.data["pins"]) == 16
    assert report.text.splitlines()[-1] == "EINT8 on GPG0: rising edge, masked, pending"
    with pytest.raises(CommandError, match="there is no port and no pin 'GPZ9'"):
        monitor.run("info gpio GPZ9")


def test_the_svd_file_has_every_register_and_only_identifiers(monitor: Monitor, tmp_path: Path) -> None:
    path = tmp_path / "chip.svd"
    monitor.run(f"svd {path}")
    root = ElementTree.parse(path).getroot()
    assert [child.tag for child in root][:6] == [
        "vendor",
        "name",
        "version",
        "description",
        "addressUnitBits",
        "width",
    ]
    for name in root.iter("name"):
        assert name.text is not None
        assert name.text.isidentifier() or name.text.replace("_", "").isalnum()
    peripherals = {each.findtext("name"): each for each in root.iter("peripheral")}
    for name, device in monitor.session.machine.board.devices.items():
        if not device.registers or name == "uda1341":  # whose registers are on the L3 bus
            continue
        element = peripherals[name]
        if "derivedFrom" in element.attrib:
            assert name in ("uart1", "uart2")
            continue
        offsets = {each.findtext("name"): each.findtext("addressOffset") for each in element.iter("register")}
        assert offsets == {each.name: f"0x{each.offset:X}" for each in device.registers.values()}
    for element in root.iter("field"):
        names = [each.text for each in element.findall("enumeratedValues/enumeratedValue/name")]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (Fact("x", 50_625_000, "Hz"), "50.625 MHz"),
        (Fact("x", 100, "Hz"), "100 Hz"),
        (Fact("x", 5_636_100_000, "ns"), "5.6361 s"),
        (Fact("x", 86_810, "ns"), "86.81 us"),
        (Fact("x", True), "yes"),
        (Fact("x", 3, "bytes"), "3 bytes"),
    ],
)
def test_facts_read_as_people_say_them(fact: Fact, text: str) -> None:
    assert str(fact) == text
