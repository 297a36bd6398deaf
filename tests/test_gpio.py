"""The I/O ports: what decides a pin's level, external interrupts, status registers, snapshots."""

import pytest
from gpio_helpers import (
    BOTH,
    CON,
    DAT,
    EINTMASK,
    EINTPEND,
    EXTINT,
    GSTATUS,
    HIGH_LEVEL,
    LOW_LEVEL,
    PORT,
    data,
    eint,
    eint_pin,
    pull_up_off,
    set_function,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dbgemu.target.bus import Bus
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.gpio import Gpio, ResetCause
from dbgemu.target.s3c2440.gpio_pins import PORTS

# -- registers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0x00, 0xFF_FFFF),
        (0x10, 0),
        (0x18, 0),
        (0x38, 0xF000),
        (0x68, 0xFC00),
        (0x78, 0),
        (0xD0, 0),
        (0x80, 0x1_0020),
        (0x84, 0),
        (0x88, 0),
        (0x8C, 0),
        (0x90, 0),
        (0x9C, 0),
        (0xA4, 0xF_FFFF),
        (0xA8, 0),
        (0xB0, 0x3244_0001),
        (0xB4, 1),
        (0xB8, 0),
        (0xC4, 0),
        (0xC8, 0),
        (0xCC, 0),
    ],
)
def test_registers_have_the_reset_values_of_the_manual(offset, value):
    assert Gpio().read(offset, 4) == value


def test_every_register_that_the_kernel_names_is_at_its_address():
    names = {register.offset: name for name, register in Gpio.registers.items()}
    expected = {0x80: "MISCCR", 0x84: "DCLKCON", 0xA4: "EINTMASK", 0xA8: "EINTPEND", 0xCC: "MSLCON"}
    expected |= {0x88 + 4 * n: f"EXTINT{n}" for n in range(3)} | {
        0x94 + 4 * n: f"EINTFLT{n}" for n in range(4)
    }
    expected |= {0xAC + 4 * n: f"GSTATUS{n}" for n in range(5)} | {0xC4: "DSC0", 0xC8: "DSC1"}
    for letter, base in zip("BCDEFGHJ", [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xD0], strict=True):
        expected |= {base: f"GP{letter}CON", base + 4: f"GP{letter}DAT", base + 8: f"GP{letter}UP"}
    expected |= {0x00: "GPACON", 0x04: "GPADAT"}
    assert names == expected


def test_ports_have_as_many_pins_as_the_chip():
    counts = {letter: len(port.pins) for letter, port in PORTS.items()}
    assert counts == {"A": 25, "B": 11, "C": 16, "D": 16, "E": 16, "F": 8, "G": 16, "H": 11, "J": 13}


def test_the_control_register_decodes_into_the_names_of_the_pins_functions():
    gpio = Gpio()
    gpio.write(PORT["G"] + CON, 4, 0b11_10_01_00)
    text = Gpio.GPGCON.describe(gpio.read(PORT["G"] + CON, 4))
    assert text.startswith(
        "GPG0=0x0 (input) GPG1=0x1 (output) GPG2=0x2 (EINT10) GPG3=0x3 (nSS1) GPG4=0x0 (input)"
    )


# -- what decides a level --------------------------------------------------------------------


def test_an_output_drives_its_latch_onto_the_pin_and_reads_it_back():
    gpio = Gpio()
    pin = gpio.pin("GPB5")
    set_function(gpio, "GPB5", 1)
    gpio.write(PORT["B"] + DAT, 4, 1 << 5)
    assert (pin.level, data(gpio, "GPB5"), pin.function) == (1, 1, "output")
    gpio.write(PORT["B"] + DAT, 4, 0)
    assert (pin.level, data(gpio, "GPB5")) == (0, 0)


def test_a_latch_written_while_the_pin_is_an_input_shows_when_it_becomes_an_output():
    gpio = Gpio()
    pin = gpio.pin("GPB6")
    pin.drive(1)
    gpio.write(PORT["B"] + DAT, 4, 0)
    assert data(gpio, "GPB6") == 1
    set_function(gpio, "GPB6", 1)
    assert data(gpio, "GPB6") == 0


def test_an_input_reads_what_is_driven_onto_it():
    gpio = Gpio()
    pin = gpio.pin("GPG8")
    pin.drive(0)
    assert data(gpio, "GPG8") == 0
    pin.drive(1)
    assert data(gpio, "GPG8") == 1
    assert pin.driven == 1


def test_a_pin_that_nothing_drives_follows_its_pull_up_and_floats_to_0_without_it():
    gpio = Gpio()
    pin = gpio.pin("GPE11")
    assert (pin.level, pin.pull_up) == (1, True)
    pull_up_off(gpio, "GPE11")
    assert (pin.level, pin.pull_up) == (0, False)


def test_letting_go_of_a_pin_gives_it_back_to_its_pull_up():
    gpio = Gpio()
    pin = gpio.pin("GPF0")
    pin.drive(0)
    pin.drive(None)
    assert (pin.level, pin.driven) == (1, None)


def test_a_resistor_on_the_board_is_stronger_than_the_pull_up_and_weaker_than_a_driver():
    gpio = Gpio()
    pin = gpio.pin("GPH8")
    pin.pull(0)
    assert pin.level == 0
    pin.drive(1)
    assert pin.level == 1
    pin.drive(None)
    pin.pull(None)
    assert pin.level == 1


def test_the_iic_pins_and_port_a_have_no_pull_up():
    gpio = Gpio()
    assert (gpio.pin("GPE14").pull_up, gpio.pin("GPE14").level) == (None, 0)
    assert gpio.pin("GPA12").pull_up is None
    gpio.pin("GPE15").pull(1)
    assert data(gpio, "GPE15") == 1


def test_an_output_wins_against_what_is_driven_from_outside():
    gpio = Gpio()
    gpio.pin("GPB0").drive(1)
    set_function(gpio, "GPB0", 1)
    assert gpio.pin("GPB0").level == 0


def test_a_block_drives_its_pin_only_while_its_function_is_selected():
    gpio = Gpio()
    pin = gpio.pin("GPB0")
    tout0 = pin.alternate("TOUT0")
    tout0(0)
    assert pin.level == 1
    set_function(gpio, "GPB0", 2)
    assert (pin.level, pin.function) == (0, "TOUT0")
    tout0(1)
    assert pin.level == 1
    set_function(gpio, "GPB0", 1)
    assert pin.level == 0


def test_the_two_alternate_functions_of_a_pin_are_driven_apart():
    gpio = Gpio()
    pin = gpio.pin("GPH6")
    pin.alternate("TXD2")(0)
    pin.alternate("nRTS1")(1)
    pull_up_off(gpio, "GPH6")
    set_function(gpio, "GPH6", 2)
    assert pin.level == 0
    set_function(gpio, "GPH6", 3)
    assert (pin.level, pin.function) == (1, "nRTS1")
    pin.alternate("nRTS1")(None)
    assert pin.level == 0


def test_a_function_that_the_pin_lacks_is_refused_with_those_it_has():
    with pytest.raises(KeyError) as caught:
        Gpio().pin("GPG11").alternate("TOUT0")
    assert caught.value.args[0] == "GPG11 has no function 'TOUT0': it has EINT19 and TCLK1"


def test_an_unknown_pin_is_refused_with_the_ports_that_exist():
    with pytest.raises(KeyError) as caught:
        Gpio().pin("GPB11")
    assert caught.value.args[0] == (
        "the S3C2440A has no pin 'GPB11': its pins are GPA0-24, GPB0-10, GPC0-15, GPD0-15, GPE0-15, "
        "GPF0-7, GPG0-15, GPH0-10, GPJ0-12"
    )


def test_a_code_without_function_is_reserved():
    gpio = Gpio()
    set_function(gpio, "GPB5", 3)
    assert gpio.pin("GPB5").function == "reserved"


def test_port_a_is_output_or_function_and_keeps_its_latch_over_read_modify_write():
    # gpio-samsung.c, s3c24xx_gpiolib_banka_output: read GPADAT, change one bit, write it all back
    gpio = Gpio()
    gpio.write(0x04, 4, 1 << 3)
    assert (gpio.pin("GPA3").function, gpio.pin("GPA0").function) == ("ADDR18", "ADDR0")
    gpio.write(0x04, 4, gpio.read(0x04, 4) | 1 << 12)
    gpio.write(0x00, 4, gpio.read(0x00, 4) & ~(1 << 12 | 1 << 3))
    assert [gpio.pin(f"GPA{n}").level for n in (3, 4, 12)] == [1, 0, 1]
    assert gpio.pin("GPA12").function == "output"


def test_a_pin_follows_a_line_from_the_start():
    gpio = Gpio()
    line = Line("INT")
    pin = gpio.pin("GPF7")
    pin.follow(line)
    assert pin.level == 0
    line.set(1)
    assert pin.level == 1


def test_a_byte_is_written_to_all_lanes_as_on_the_chips_bus():
    gpio = Gpio()
    gpio.write(PORT["C"] + CON, 4, 0x5555_5555)
    gpio.write(PORT["C"] + DAT, 4, 0xA5C3)
    gpio.write(PORT["C"] + DAT + 1, 1, 0x12)
    assert gpio.read(PORT["C"] + DAT, 4) == 0x1212


# -- listeners -------------------------------------------------------------------------------


def test_listeners_hear_changes_of_their_pin_only():
    gpio = Gpio()
    heard = []
    gpio.pin("GPB5").connect(lambda level: heard.append(("GPB5", level)))
    gpio.pin("GPB7").connect(lambda level: heard.append(("GPB7", level)))
    gpio.write(PORT["B"] + CON, 4, 0x15_5555)
    assert heard == [("GPB5", 0), ("GPB7", 0)]
    gpio.write(PORT["B"] + DAT, 4, 1 << 5)
    gpio.write(PORT["B"] + DAT, 4, 1 << 5 | 1 << 6)
    assert heard[2:] == [("GPB5", 1)]


def test_a_listener_may_drive_another_pin_of_the_port():
    gpio = Gpio()
    set_function(gpio, "GPB0", 1)
    answer = gpio.pin("GPB1")
    gpio.pin("GPB0").connect(lambda level: answer.drive(1 - level))
    gpio.write(PORT["B"] + DAT, 4, 1)
    assert data(gpio, "GPB1") == 0
    gpio.write(PORT["B"] + DAT, 4, 0)
    assert data(gpio, "GPB1") == 1


def test_traces_hear_of_every_pin_that_changes():
    gpio = Gpio()
    seen = []
    gpio.on_change.append(lambda pin: seen.append((pin.name, pin.level)))
    gpio.write(PORT["B"] + CON, 4, 0b0101)
    assert seen == [("GPB0", 0), ("GPB1", 0)]


# -- status and reset ------------------------------------------------------------------------


def test_gstatus0_shows_the_status_lines():
    gpio = Gpio()
    assert gpio.read(GSTATUS[0], 4) == 0xF
    gpio.status["RnB"].set(0)
    assert gpio.read(GSTATUS[0], 4) == 0xD


def test_the_chip_id_is_read_only():
    log = GuestLog()
    gpio = Gpio(log=log)
    gpio.write(GSTATUS[1], 4, 0)
    assert gpio.read(GSTATUS[1], 4) == 0x3244_0001
    assert log.count == 1


def test_the_reset_cause_is_cleared_by_writing_1():
    gpio = Gpio()
    gpio.write(GSTATUS[2], 4, 0)
    assert gpio.read(GSTATUS[2], 4) == 1
    gpio.write(GSTATUS[2], 4, 1)
    assert gpio.read(GSTATUS[2], 4) == 0


def test_a_watchdog_reset_keeps_the_inform_registers_and_a_power_on_reset_does_not():
    gpio = Gpio()
    gpio.write(GSTATUS[3], 4, 0x1234_5678)
    gpio.write(GSTATUS[4], 4, 0x9ABC_DEF0)
    gpio.reset_cause = ResetCause.WATCHDOG
    gpio.reset()
    assert [gpio.read(offset, 4) for offset in GSTATUS[2:]] == [4, 0x1234_5678, 0x9ABC_DEF0]
    gpio.reset()
    assert [gpio.read(offset, 4) for offset in GSTATUS[2:]] == [1, 0, 0]


def test_reset_makes_pins_inputs_drops_the_lines_and_keeps_what_is_outside():
    gpio = Gpio()
    pin = eint(gpio, 7, LOW_LEVEL)
    eint(gpio, 0, LOW_LEVEL).drive(0)
    pin.drive(0)
    set_function(gpio, "GPB5", 1)
    heard = []
    gpio.pin("GPB5").connect(heard.append)
    assert gpio.eint["EINT4_7"].level == gpio.eint["EINT0"].level == 1
    gpio.reset()
    assert gpio.eint["EINT4_7"].level == gpio.eint["EINT0"].level == 0
    assert gpio.read(EINTPEND, 4) == 0
    assert heard == [1]
    assert (pin.level, pin.function) == (0, "input")


def test_reset_clears_the_output_latches():
    gpio = Gpio()
    gpio.write(PORT["B"] + DAT, 4, 1 << 5)
    gpio.reset()
    set_function(gpio, "GPB5", 1)
    assert gpio.pin("GPB5").level == 0


# -- for people ------------------------------------------------------------------------------


def test_describe_lists_every_pin_with_its_function_level_pull_up_and_wiring():
    gpio = Gpio()
    gpio.pin("GPF7").wired_to = "DM9000 INT"
    gpio.pin("GPF7").drive(0)
    set_function(gpio, "GPF7", 2)
    rows = {row.pin: row for row in gpio.describe()}
    assert len(rows) == 132
    row = rows["GPF7"]
    assert (row.bank, row.function, row.level, row.pull_up, row.wired_to) == (
        "GPF",
        "EINT7",
        0,
        True,
        "DM9000 INT",
    )
    assert rows["GPA22"].function == "nFCE"


# -- snapshots and fuzz ----------------------------------------------------------------------


def test_loading_puts_back_levels_lines_and_drivers_and_tells_listeners():
    gpio = Gpio()
    eint(gpio, 7, HIGH_LEVEL).drive(1)
    set_function(gpio, "GPB5", 1)
    gpio.pin("GPB0").alternate("TOUT0")(0)
    state = gpio.save()

    other = Gpio()
    heard = []
    other.pin("GPB5").connect(heard.append)
    other.load(state)
    assert heard == [0]
    assert other.eint["EINT4_7"].level == 1
    assert other.pin("GPF7").driven == 1
    set_function(other, "GPB0", 2)
    assert other.pin("GPB0").level == 0
    assert state == gpio.save()


def test_loading_makes_no_edges():
    gpio = Gpio()
    pin = eint(gpio, 8, BOTH)
    pin.drive(0)
    gpio.write(EINTPEND, 4, 1 << 8)
    state = gpio.save()
    pin.drive(1)
    gpio.write(EINTPEND, 4, 1 << 8)
    gpio.load(state)
    assert (pin.level, gpio.read(EINTPEND, 4), gpio.eint["EINT8_23"].level) == (0, 0, 0)


NAMES = st.sampled_from([pin.name for port in PORTS.values() for pin in port.pins])
EINT_NAMES = st.sampled_from([eint_pin(n) for n in range(24)])
WORD = st.one_of(st.integers(0, 0xFFFF_FFFF), st.sampled_from([0, 0xAAAA_AAAA, 0x5555_5555, 0xFFFF_FFFF]))
STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 0x38).map(lambda n: 4 * n), WORD),
    st.tuples(st.just("write"), st.sampled_from([0x50, 0x60, *EXTINT, EINTMASK, EINTPEND]), WORD),
    st.tuples(st.just("byte"), st.integers(0, 0xE0), st.integers(0, 0xFF)),
    st.tuples(st.just("drive"), EINT_NAMES, st.sampled_from([0, 1, None])),
    st.tuples(st.just("drive"), NAMES, st.sampled_from([0, 1, None])),
    st.tuples(st.just("pull"), NAMES, st.sampled_from([0, 1, None])),
    st.tuples(st.just("block"), NAMES, st.sampled_from([0, 1, None])),
    st.tuples(st.just("reset"), st.just(0), st.just(0)),
)


def run(gpio, step):
    match step:
        case "write", offset, value:
            gpio.write(offset, 4, value)
            gpio.read(offset, 4)
        case "byte", offset, value:
            gpio.write(offset, 1, value)
            gpio.read(offset, 1)
        case "drive", name, level:
            gpio.pin(name).drive(level)
        case "pull", name, level:
            gpio.pin(name).pull(level)
        case "block", name, level:
            pin = gpio.pin(name)
            pin.alternate(pin.description.alternates[-1])(level)
        case _:
            gpio.reset()


def expected_level(gpio, pin):
    """The rules at the head of gpio_ports.py, for one pin, without masks."""
    port = gpio.ports[pin.name[2]]
    code = port.function_code(pin.number)
    function = port.description.functions(pin.number)[code]
    if function == "output":
        return port.latch >> pin.number & 1
    if function in pin.description.alternates:
        block = port.blocks[pin.description.alternates.index(function)]
        if block.active & pin.bit:
            return block.levels >> pin.number & 1
    for drivers in (port.external, port.resistors):
        if drivers.active & pin.bit:
            return drivers.levels >> pin.number & 1
    if pin.name.startswith("GPA"):
        return port.latch >> pin.number & 1
    return int(bool(pin.pull_up))


def check(gpio, followed):
    pending = gpio.EINTPEND & ~gpio.EINTMASK
    assert gpio.eint["EINT4_7"].level == bool(pending & 0xF0)
    assert gpio.eint["EINT8_23"].level == bool(pending & 0xFFFF00)
    for number in range(24):
        pin = gpio.pin(eint_pin(number))
        method = (gpio.EXTINT0, gpio.EXTINT1, gpio.EXTINT2)[number // 8] >> 4 * (number % 8) & 7
        active = pin.function == f"EINT{number}" and method < 2 and pin.level == method
        if number < 4:
            assert gpio.eint[f"EINT{number}"].level == active
        else:
            assert not active or gpio.EINTPEND >> number & 1
    for name, port in gpio.ports.items():
        for pin in port.pins:
            assert pin.level == expected_level(gpio, pin), pin
            assert followed[pin.name] == pin.level
        assert gpio.read(PORT[name] + DAT, 4) == sum(pin.level << pin.number for pin in port.pins)


def follow(gpio):
    """The levels of all pins, kept up to date by listeners alone."""
    followed = {row.pin: row.level for row in gpio.describe()}
    for name in followed:
        gpio.pin(name).connect(lambda level, name=name: followed.__setitem__(name, level))
    return followed


@settings(max_examples=120, deadline=None)
@given(st.lists(STEP, max_size=25), st.lists(STEP, max_size=10))
def test_any_accesses_keep_levels_and_lines_true_and_survive_a_snapshot(before, after):
    gpio = Gpio()
    followed = follow(gpio)
    for step in before:
        run(gpio, step)
        check(gpio, followed)
    state = gpio.save()
    copy = Gpio()
    copied = follow(copy)
    copy.load(state)
    check(copy, copied)
    assert copy.save() == state
    for step in after:
        run(gpio, step)
        run(copy, step)
    assert copy.save() == gpio.save()
    assert {name: line.level for name, line in copy.eint.items()} == {
        name: line.level for name, line in gpio.eint.items()
    }


def test_the_bus_reads_data_registers_at_the_levels_of_the_pins():
    bus = Bus()
    gpio = Gpio()
    bus.map(0x5600_0000, gpio)
    gpio.pin("GPG8").drive(0)
    assert bus.read(0x5600_0064, 4) == 0x03FF & ~(1 << 8)
    bus.write(0x5600_0010, 4, 1 << 10)
    bus.write(0x5600_0014, 4, 0)
    assert bus.read(0x5600_0014, 4) == 0x7FF & ~(1 << 5)
