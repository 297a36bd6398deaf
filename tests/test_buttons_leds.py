"""The mini2440's LEDs and buttons on their pins."""

import pytest

from dbgemu.target.chips.buttons_leds import BUTTONS, LEDS, Button, Led
from dbgemu.target.s3c2440.gpio import EINT_LINES, Gpio
from dbgemu.target.s3c2440.interrupt import InterruptController

GPBCON, GPBDAT, GPBUP = 0x10, 0x14, 0x18
GPGCON, GPGDAT, GPGUP = 0x60, 0x64, 0x68
EXTINT1, EINTMASK, EINTPEND = 0x8C, 0xA4, 0xA8


def test_the_pins_are_those_of_the_board():
    assert LEDS == {"LED1": "GPB5", "LED2": "GPB6", "LED3": "GPB7", "LED4": "GPB8"}
    assert list(BUTTONS.items()) == [
        ("K1", "GPG0"),
        ("K2", "GPG3"),
        ("K3", "GPG5"),
        ("K4", "GPG6"),
        ("K5", "GPG7"),
        ("K6", "GPG11"),
    ]


@pytest.mark.parametrize("name", LEDS)
def test_an_led_is_lit_by_an_output_of_0_only(name):
    gpio = Gpio()
    pin = gpio.pin(LEDS[name])
    led = Led(name, pin)
    changes = []
    led.on_change.append(changes.append)
    assert not led.lit
    gpio.write(GPBDAT, 4, pin.bit)
    gpio.write(GPBCON, 4, 1 << 2 * pin.number)
    assert not led.lit
    gpio.write(GPBDAT, 4, 0)
    assert led.lit
    gpio.write(GPBDAT, 4, pin.bit)
    assert not led.lit
    assert changes == [True, False]


def test_an_led_driven_as_open_drain_goes_off_when_its_pin_becomes_an_input_without_pull_up():
    gpio = Gpio()
    led = Led("LED1", gpio.pin("GPB5"))
    gpio.write(GPBUP, 4, 0x7FF)
    gpio.write(GPBCON, 4, 1 << 10)
    assert led.lit
    gpio.write(GPBCON, 4, 0)
    assert not led.lit


@pytest.mark.parametrize("name", BUTTONS)
def test_a_pressed_button_reads_0_and_a_released_one_1_without_the_chips_pull_up(name):
    gpio = Gpio()
    gpio.write(GPGUP, 4, 0xFFFF)
    pin = gpio.pin(BUTTONS[name])
    button = Button(name, pin)
    assert (gpio.read(GPGDAT, 4) & pin.bit, button.pressed) == (pin.bit, False)
    button.press()
    assert (gpio.read(GPGDAT, 4) & pin.bit, button.pressed) == (0, True)
    button.release()
    assert (gpio.read(GPGDAT, 4) & pin.bit, button.pressed) == (pin.bit, False)


def test_buttons_do_not_disturb_each_other():
    gpio = Gpio()
    buttons = {name: Button(name, gpio.pin(pin)) for name, pin in BUTTONS.items()}
    buttons["K2"].press()
    buttons["K5"].press()
    buttons["K2"].release()
    assert [name for name, button in buttons.items() if button.pressed] == ["K5"]


def test_press_and_release_each_interrupt_as_linux_gpio_keys_expects():
    intc = InterruptController()
    gpio = Gpio(eint={name: intc.source(name) for name in EINT_LINES})
    button = Button("K1", gpio.pin("GPG0"))
    gpio.write(GPGCON, 4, 2)
    gpio.write(EXTINT1, 4, 6)
    gpio.write(EINTMASK, 4, 0xFFFFFF & ~(1 << 8))
    gpio.write(EINTPEND, 4, 1 << 8)
    intc.write(0x00, 4, 1 << 5)
    intc.write(0x08, 4, 0xFFFF_FFFF & ~(1 << 5))
    for action, level in ((button.press, 0), (button.release, 1)):
        assert intc.irq.level == 0
        action()
        assert intc.irq.level == 1
        assert gpio.read(GPGDAT, 4) & 1 == level
        gpio.write(EINTPEND, 4, 1 << 8)
        intc.write(0x00, 4, 1 << 5)
        intc.write(0x10, 4, 1 << 5)
    assert intc.irq.level == 0


def test_pins_tell_what_they_are_wired_to():
    gpio = Gpio()
    Led("LED1", gpio.pin("GPB5"))
    Button("K6", gpio.pin("GPG11"))
    rows = {row.pin: row.wired_to for row in gpio.describe()}
    assert rows["GPB5"] == "LED1, lit by 0"
    assert rows["GPG11"] == "button K6, 0 when pressed"


def test_a_held_button_stays_held_over_reset_and_snapshot():
    gpio = Gpio()
    button = Button("K3", gpio.pin("GPG5"))
    button.press()
    gpio.reset()
    assert button.pressed
    state = gpio.save()
    button.release()
    gpio.load(state)
    assert button.pressed
