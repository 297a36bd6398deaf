"""Ports and pins: what decides a pin's level, and how other parts drive and watch it.

A pin's level is the first of these that applies:

1. the output latch (GPxDAT), when its function is output;
2. what a block of the chip drives, when its function is that block's (:meth:`Pin.alternate`);
3. what a part outside drives (:meth:`Pin.drive`);
4. a resistor on the board (:meth:`Pin.pull`): at some 10 kohm stronger than the one in the chip;
5. the pull-up in the chip: on while the pin's GPxUP bit is 0, whatever its function;
6. nothing: a floating pin reads 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dbgemu.target.lines import Line, Listener
from dbgemu.target.s3c2440.gpio_pins import INPUT, OUTPUT, PinDescription, PortDescription

#: called after levels have changed: the port and the bits that did
PortListener = Callable[["Port", int], None]


def _even_bits(word: int) -> int:
    """Bits 0, 2, 4, ... of a 32-bit word, moved together into 16 bits."""
    word &= 0x5555_5555
    word = (word | word >> 1) & 0x3333_3333
    word = (word | word >> 2) & 0x0F0F_0F0F
    word = (word | word >> 4) & 0x00FF_00FF
    return (word | word >> 8) & 0xFFFF


class PinState(NamedTuple):
    """One pin at one moment, a row of ``info gpio``.

    ``pull_up`` is whether the chip's own resistor is on; None for a pin that has none. ``direction`` is
    "in", "out", or "block" where that is up to the block whose function the pin has; ``latch`` is what
    it would be as an output; ``decided_by`` says what makes its level.
    """

    bank: str
    pin: str
    function: str
    level: int
    pull_up: bool | None
    wired_to: str
    direction: str
    latch: int
    decided_by: str


class Pin:
    """One pin of the chip, as the parts soldered to it see it."""

    __slots__ = ("_port", "bit", "description", "listeners", "number", "wired_to")

    def __init__(self, port: Port, number: int, description: PinDescription) -> None:
        self._port = port
        self.number = number
        self.bit = 1 << number
        self.description = description
        self.listeners: list[Listener] = []
        #: what the board connects the pin to, for people
        self.wired_to = ""

    @property
    def name(self) -> str:
        """The pin's name: ``GPB5``."""
        return self.description.name

    @property
    def level(self) -> int:
        """The level on the pin, 0 or 1."""
        return self._port.levels >> self.number & 1

    @property
    def function(self) -> str:
        """What GPxCON makes of the pin: "input", "output", "reserved" or an alternate function."""
        return self._port.description.functions(self.number)[self._port.function_code(self.number)]

    @property
    def pull_up(self) -> bool | None:
        """Whether the chip's pull-up resistor is on; None when the pin has none."""
        if self._port.description.no_pull & self.bit:
            return None
        return bool(self._port.pull_ups & self.bit)

    @property
    def driven(self) -> int | None:
        """The level that a part outside drives, None while it drives none."""
        return _level_in(self._port.external, self.number)

    def connect(self, listener: Listener) -> None:
        """Call ``listener(level)`` at each change of the pin's level from now on."""
        self.listeners.append(listener)
        self._port.watched |= self.bit

    def drive(self, level: int | None) -> None:
        """Drive the pin from outside to 0 or 1; None lets go of it."""
        self._port.drive(self._port.external, self.bit, level)

    def follow(self, line: Line) -> None:
        """Let a part's output ``line`` drive the pin, now and at each change."""
        line.connect(self.drive)
        self.drive(line.level)

    def pull(self, level: int | None) -> None:
        """Put a resistor to the supply (1) or to ground (0) on the pin, or take it away (None)."""
        self._port.drive(self._port.resistors, self.bit, level)

    def alternate(self, function: str) -> Callable[[int | None], None]:
        """The function with which a block of the chip drives alternate ``function`` of this pin.

        It takes 0, 1, or None for not driving. KeyError when the pin has no such function.
        """
        names = self.description.alternates
        if function not in names:
            raise KeyError(f"{self.name} has no function {function!r}: it has {' and '.join(names)}")
        port, bit = self._port, self.bit
        driver = port.blocks[names.index(function)]
        return lambda level: port.drive(driver, bit, level)

    def sense(self, function: str, idle: int) -> Line:
        """What a block of the chip gets to see with alternate ``function`` of this pin.

        It is at ``idle`` while the pin has another function. KeyError when it has no such one.
        """
        if function not in self.description.alternates:
            raise KeyError(f"{self.name} has no function {function!r}")
        line = Line(f"{self.name}.{function}", idle)

        def update(level: int = 0) -> None:
            line.set(self.level if self.function == function else idle)

        self.connect(update)
        self._port.configured.append(update)
        update()
        return line

    def state(self) -> PinState:
        """The pin's present state."""
        return PinState(
            f"GP{self._port.description.letter}",
            self.name,
            self.function,
            self.level,
            self.pull_up,
            self.wired_to,
            self._direction,
            self._port.latch >> self.number & 1,
            self._port.decided_by(self.number),
        )

    @property
    def _direction(self) -> str:
        function = self.function
        if function == INPUT or function.startswith("EINT"):
            return "in"
        return "out" if function == OUTPUT else "block"

    def __repr__(self) -> str:
        return f"Pin({self.name!r}, {self.function}, {self.level})"


class Drivers:
    """Who drives which pins of a port: ``active`` pins and their ``levels``, a bit a pin."""

    __slots__ = ("active", "levels")

    def __init__(self) -> None:
        self.active = 0
        self.levels = 0


def _level_in(drivers: Drivers, number: int) -> int | None:
    return drivers.levels >> number & 1 if drivers.active >> number & 1 else None


class Port:
    """The pins of a port. Everything is kept as masks with one bit a pin.

    ``registers`` holds the values of GPxCON, GPxDAT and GPxUP by name. GPxDAT's is kept equal to the
    pins' levels, so that reading it is reading a stored value: for an output that is its latch, as on
    the chip. What a pin with an alternate function reads as is undefined (S3C2440A UM chapter 9,
    GPxDAT); here it is the level, which drivers rely on for pins in EINT function.
    """

    def __init__(
        self, description: PortDescription, registers: dict[str, Any], on_change: PortListener
    ) -> None:
        self.description = description
        self.mask = description.mask
        self.pins = tuple(Pin(self, number, pin) for number, pin in enumerate(description.pins))
        self.external = Drivers()
        self.resistors = Drivers()
        #: blocks of the chip, for the first and the second alternate functions
        self.blocks = (Drivers(), Drivers())
        #: pins with listeners
        self.watched = 0
        self.latch = 0
        self.pull_ups = 0
        #: pins whose function is output, the first and the second alternate one
        self.outputs = 0
        self.selected = (0, 0)
        # Port A has no inputs: a clear bit in GPACON is output, a set one the alternate function.
        self._output_only = description.control_bits == 1
        self._registers = registers
        self._control = f"GP{description.letter}CON"
        self._data = f"GP{description.letter}DAT"
        self._pull = f"GP{description.letter}UP"
        self._on_change = on_change
        #: called when the functions of pins may have changed
        self.configured: list[Callable[[], None]] = []
        self.configure()

    @property
    def levels(self) -> int:
        """The pins' levels."""
        value: int = self._registers[self._data]
        return value

    def function_code(self, number: int) -> int:
        """The code in the pin's field of GPxCON."""
        bits = self.description.control_bits
        code: int = self._registers[self._control] >> bits * number & ((1 << bits) - 1)
        return code

    def write_latch(self, value: int) -> None:
        """GPxDAT was written: outputs follow, other pins remember it for when they become outputs."""
        self.latch = latch = value & self.mask
        if self._output_only:
            self.refresh()
        else:
            outputs = self.outputs
            self._publish((self._registers[self._data] & ~outputs) | (latch & outputs))

    def configure(self) -> None:
        """GPxCON or GPxUP has changed."""
        control = self._registers[self._control]
        if self._output_only:
            self.selected = (control & self.mask, 0)
            self.outputs = ~control & self.mask
        else:
            low, high = _even_bits(control), _even_bits(control >> 1)
            self.selected = (high & ~low & self.mask, high & low & self.mask)
            self.outputs = low & ~high & self.mask
        disabled = self._registers.get(self._pull, self.mask) | self.description.no_pull
        self.pull_ups = ~disabled & self.mask
        self.refresh()
        for listener in self.configured:
            listener()

    def drive(self, drivers: Drivers, bit: int, level: int | None) -> None:
        """Let one of this port's ``drivers`` drive the pin at ``bit`` (None: no longer)."""
        if level is None:
            drivers.active &= ~bit
        else:
            drivers.active |= bit
            drivers.levels = drivers.levels | bit if level else drivers.levels & ~bit
        self.refresh()

    def refresh(self) -> None:
        """Work out the levels and tell about those that have changed."""
        self._publish(self._resolve())

    def _publish(self, levels: int) -> None:
        changed = levels ^ self._registers[self._data]
        if changed:
            self._registers[self._data] = levels
            self._on_change(self, changed)

    def _resolve(self) -> int:
        levels = self.latch & self.outputs
        rest = self.mask & ~self.outputs
        for drivers, selected in zip(self.blocks, self.selected, strict=True):
            active = rest & selected & drivers.active
            levels |= active & drivers.levels
            rest &= ~active
        for drivers in (self.external, self.resistors):
            active = rest & drivers.active
            levels |= active & drivers.levels
            rest &= ~active
        # Linux changes one bit of GPADAT by reading all of it: a pin of port A that is in use as an
        # address line has to read as its latch, or it would lose it.
        return levels | (rest & (self.latch if self._output_only else self.pull_ups))

    def decided_by(self, number: int) -> str:
        """What makes pin ``number``'s level: the first of the module's list that applies."""
        bit = 1 << number
        if self.outputs & bit:
            return "latch"
        for drivers, selected in zip(self.blocks, self.selected, strict=True):
            if selected & drivers.active & bit:
                return "block"
        if self.external.active & bit:
            return "outside"
        if self.resistors.active & bit:
            return "resistor"
        if self._output_only:
            return "latch"
        return "pull-up" if self.pull_ups & bit else "floating"

    def notify(self, changed: int) -> None:
        """Tell the listeners of the pins in ``changed`` their present level, lowest pin first."""
        changed &= self.watched
        while changed:
            bit = changed & -changed
            changed ^= bit
            pin = self.pins[bit.bit_length() - 1]
            for listener in pin.listeners:
                listener(pin.level)

    def save(self) -> dict[str, Any]:
        """What is not in registers, as plain data."""
        drivers = (self.external, self.resistors, *self.blocks)
        return {"latch": self.latch, "drivers": [[each.active, each.levels] for each in drivers]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave. :meth:`configure` has to follow."""
        self.latch = state["latch"]
        drivers = (self.external, self.resistors, *self.blocks)
        for each, (active, levels) in zip(drivers, state["drivers"], strict=True):
            each.active, each.levels = active, levels
