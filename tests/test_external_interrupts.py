"""External interrupts: from the levels of pins to EINTPEND and the lines to the interrupt controller."""

import pytest
from gpio_helpers import (
    BOTH,
    CON,
    EINTMASK,
    EINTPEND,
    EXTINT,
    FALLING,
    HIGH_LEVEL,
    LOW_LEVEL,
    PORT,
    RISING,
    change_bit,
    data,
    eint,
    eint_pin,
    pull_up_off,
    set_function,
)

from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.gpio import EINT_LINES, Gpio
from dbgemu.target.s3c2440.interrupt import InterruptController


@pytest.mark.parametrize("number", range(4, 24))
@pytest.mark.parametrize(
    ("method", "on_rise", "on_fall"),
    [(2, 0, 1), (3, 0, 1), (4, 1, 0), (5, 1, 0), (6, 1, 1), (7, 1, 1)],
)
def test_edges_set_eintpend_as_extint_says(number, method, on_rise, on_fall):
    gpio = Gpio()
    pin = gpio.pin(eint_pin(number))
    pin.drive(0)
    eint(gpio, number, method)
    pin.drive(1)
    assert gpio.read(EINTPEND, 4) == on_rise << number
    gpio.write(EINTPEND, 4, 1 << number)
    pin.drive(0)
    assert gpio.read(EINTPEND, 4) == on_fall << number


@pytest.mark.parametrize("number", [4, 7, 8, 23])
@pytest.mark.parametrize(("method", "active"), [(LOW_LEVEL, 0), (HIGH_LEVEL, 1)])
def test_a_level_that_persists_sets_eintpend_again_when_it_is_cleared(number, method, active):
    gpio = Gpio()
    pin = gpio.pin(eint_pin(number))
    pin.drive(1 - active)
    eint(gpio, number, method)
    assert gpio.read(EINTPEND, 4) == 0
    pin.drive(active)
    gpio.write(EINTPEND, 4, 1 << number)
    assert gpio.read(EINTPEND, 4) == 1 << number
    pin.drive(1 - active)
    assert gpio.read(EINTPEND, 4) == 1 << number
    gpio.write(EINTPEND, 4, 1 << number)
    assert gpio.read(EINTPEND, 4) == 0


@pytest.mark.parametrize(
    ("number", "line"), [(4, "EINT4_7"), (7, "EINT4_7"), (8, "EINT8_23"), (23, "EINT8_23")]
)
def test_unmasked_pending_interrupts_hold_their_line_up(number, line):
    gpio = Gpio()
    pin = eint(gpio, number, FALLING)
    pin.drive(1)
    pin.drive(0)
    assert {name for name in EINT_LINES if gpio.eint[name].level} == {line}
    change_bit(gpio, EINTMASK, number, 1)
    assert gpio.eint[line].level == 0
    change_bit(gpio, EINTMASK, number, 0)
    assert gpio.eint[line].level == 1
    gpio.write(EINTPEND, 4, 1 << number)
    assert gpio.eint[line].level == 0


def test_a_masked_edge_is_remembered():
    gpio = Gpio()
    pin = eint(gpio, 13, FALLING, masked=True)
    pin.drive(0)
    assert gpio.read(EINTPEND, 4) == 1 << 13
    assert gpio.eint["EINT8_23"].level == 0
    change_bit(gpio, EINTMASK, 13, 0)
    assert gpio.eint["EINT8_23"].level == 1


@pytest.mark.parametrize("number", range(4))
def test_an_edge_on_eint0_to_3_is_a_pulse_that_passes_eintpend_by(number):
    gpio = Gpio()
    changes = []
    gpio.eint[f"EINT{number}"].connect(changes.append)
    pin = eint(gpio, number, BOTH)
    pin.drive(0)
    assert changes == [1, 0]
    pin.drive(1)
    assert changes == [1, 0, 1, 0]
    assert gpio.read(EINTPEND, 4) == 0


def test_a_level_on_eint0_holds_its_line():
    gpio = Gpio()
    pin = eint(gpio, 0, LOW_LEVEL)
    assert gpio.eint["EINT0"].level == 0
    pin.drive(0)
    assert gpio.eint["EINT0"].level == 1
    pin.drive(1)
    assert gpio.eint["EINT0"].level == 0


def test_a_pin_that_is_no_eint_interrupts_nobody():
    gpio = Gpio()
    pin = eint(gpio, 8, BOTH)
    set_function(gpio, "GPG0", 0)
    pin.drive(0)
    assert gpio.read(EINTPEND, 4) == 0


def test_selecting_the_eint_function_is_no_edge():
    gpio = Gpio()
    gpio.write(EXTINT[1], 4, BOTH)
    set_function(gpio, "GPG0", 1)
    assert data(gpio, "GPG0") == 0
    set_function(gpio, "GPG0", 2)
    assert data(gpio, "GPG0") == 1
    assert gpio.read(EINTPEND, 4) == 0


def test_leaving_the_eint_function_is_no_edge():
    gpio = Gpio()
    eint(gpio, 8, FALLING)
    set_function(gpio, "GPG0", 1)
    assert data(gpio, "GPG0") == 0
    assert gpio.read(EINTPEND, 4) == 0


def test_turning_off_the_pull_up_of_an_open_eint_pin_is_a_falling_edge():
    gpio = Gpio()
    eint(gpio, 8, FALLING)
    pull_up_off(gpio, "GPG0")
    assert gpio.read(EINTPEND, 4) == 1 << 8


def test_an_eint_pin_can_be_read_as_data():
    # gpio_keys reads the button in its interrupt handler: the pin is still an EINT then
    gpio = Gpio()
    pin = eint(gpio, 11, BOTH)
    pin.drive(0)
    assert data(gpio, "GPG3") == 0


def test_eintpend_has_no_bits_for_eint0_to_3():
    gpio = Gpio()
    gpio.write(PORT["F"] + CON, 4, 0xAAAA)
    gpio.write(EXTINT[0], 4, 0x1111_1111)  # high level; all pins are pulled up
    assert gpio.read(EINTPEND, 4) == 0xF0
    assert [gpio.eint[f"EINT{n}"].level for n in range(4)] == [1, 1, 1, 1]


def test_the_ethernet_chips_interrupt_runs_through_linux_edge_handling():
    # irq-s3c24xx.c: parent masked and acknowledged, EINTPEND acknowledged, handler, parent unmasked
    intc = InterruptController()
    gpio = Gpio(eint={name: intc.source(name) for name in EINT_LINES})
    dm9000 = Line("INT")
    gpio.pin("GPF7").follow(dm9000)
    eint(gpio, 7, RISING)
    intc.write(0x00, 4, 1 << 4)
    intc.write(0x08, 4, 0xFFFF_FFFF & ~(1 << 4))
    dm9000.set(1)
    assert intc.irq.level == 1
    intc.write(0x08, 4, 0xFFFF_FFFF)
    intc.write(0x00, 4, 1 << 4)
    intc.write(0x10, 4, 1 << 4)
    gpio.write(EINTPEND, 4, 1 << 7)
    dm9000.set(0)
    dm9000.set(1)  # another packet while the handler runs
    intc.write(0x08, 4, 0xFFFF_FFFF & ~(1 << 4))
    assert intc.irq.level == 1
    assert gpio.read(EINTPEND, 4) == 1 << 7


def test_a_gpio_without_all_its_lines_is_refused():
    with pytest.raises(ValueError) as caught:
        Gpio(eint={"EINT0": Line("EINT0")})
    assert str(caught.value) == (
        "gpio has no line for EINT1, EINT2, EINT3, EINT4_7, EINT8_23: "
        "it drives EINT0, EINT1, EINT2, EINT3, EINT4_7, EINT8_23"
    )
