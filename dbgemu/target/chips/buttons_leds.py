"""The mini2440's four user LEDs and six push buttons."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.target.s3c2440.gpio_ports import Pin

#: LED -> pin. Each sits between the supply and its pin, so it is lit by a 0.
LEDS = {"LED1": "GPB5", "LED2": "GPB6", "LED3": "GPB7", "LED4": "GPB8"}

#: button -> pin. Each has a resistor to the supply and connects its pin to ground when pressed.
BUTTONS = {"K1": "GPG0", "K2": "GPG3", "K3": "GPG5", "K4": "GPG6", "K5": "GPG7", "K6": "GPG11"}


class Led:
    """A light-emitting diode with its resistor, from the supply to ``pin``."""

    def __init__(self, name: str, pin: Pin) -> None:
        self.name = name
        self.pin = pin
        #: called with :attr:`lit` at each change
        self.on_change: list[Callable[[bool], None]] = []
        pin.wired_to = f"{name}, lit by 0"
        # Linux drives these pins as open drain: for "off" it makes them inputs without pull-up, and
        # the diode itself pulls the pin up.
        pin.pull(1)
        pin.connect(self._level_changed)

    @property
    def lit(self) -> bool:
        """Whether the LED shines."""
        return self.pin.level == 0

    def _level_changed(self, level: int) -> None:
        for listener in self.on_change:
            listener(level == 0)


class Button:
    """A push button from ``pin`` to ground, with a pull-up resistor on the board."""

    def __init__(self, name: str, pin: Pin) -> None:
        self.name = name
        self.pin = pin
        pin.wired_to = f"button {name}, 0 when pressed"
        pin.pull(1)

    @property
    def pressed(self) -> bool:
        """Whether the button is held down."""
        return self.pin.driven == 0

    def press(self) -> None:
        """Push the button down and hold it."""
        self.pin.drive(0)

    def release(self) -> None:
        """Let go of the button."""
        self.pin.drive(None)
