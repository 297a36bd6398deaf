"""Who tells a running trace of what happens outside of generated code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestError
from dbgemu.target.memory import Memory
from dbgemu.trace.events import Kind
from dbgemu.trace.format import RegionInfo, TraceError
from dbgemu.trace.spec import TraceSpec

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu
    from dbgemu.target.lines import Line
    from dbgemu.target.mini2440 import Mini2440
    from dbgemu.target.s3c2440.gpio_ports import Pin
    from dbgemu.target.s3c2440.uart import Uart
    from dbgemu.trace.recorder import Recorder


def pin_names(board: Mini2440) -> list[str]:
    """The pins, in the order of their numbers in a trace."""
    return [pin.name for port in board.gpio.ports.values() for pin in port.pins]


def source_names(board: Mini2440) -> list[str]:
    """The interrupt sources, likewise."""
    return list(board.intc.lines)


def region_infos(board: Mini2440) -> list[RegionInfo]:
    """The devices on the bus, and what is written through memory to a device."""
    infos = []
    for region in board.bus.regions():
        target = region.writes_to if isinstance(region.target, Memory) else region.target
        if not isinstance(target, Device):
            continue
        registers = [(item.offset, item.access_size, item.name) for item in target.registers.values()]
        infos.append(RegionInfo(region.base, region.size, target.name, region.offset, registers))
    return infos


def access_ranges(board: Mini2440, spec: TraceSpec) -> dict[str, list[tuple[int, int]]]:
    """For mmio_read and mmio_write the physical (first, last) ranges; empty: all devices.

    TraceError when a pattern matches no register.
    """
    return {kind: _ranges_of(board, spec, kind) for kind in ("mmio_read", "mmio_write") if spec.wants(kind)}


def _ranges_of(board: Mini2440, spec: TraceSpec, kind: str) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for pattern in spec.patterns.get(kind, ()):
        only = TraceSpec(kinds=frozenset((kind,)), patterns={kind: (pattern,)})
        found = [span for info in region_infos(board) for span in _matching(info, only, kind)]
        if not found:
            raise TraceError(f"'{kind}:{pattern}': no device has such a register")
        ranges += found
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def _matching(info: RegionInfo, spec: TraceSpec, kind: str) -> list[tuple[int, int]]:
    if all(spec.matches(kind, f"{info.device}.{name}") for name in ("", "?")):
        return [(info.base, info.base + info.size - 1)]  # whatever the register is called, or none is there
    return [
        (start, start + max(4, width) - 1)
        for offset, width, name in info.registers
        if spec.matches(kind, f"{info.device}.{name}")
        and info.base <= (start := info.base + offset - info.offset) < info.base + info.size
    ]


class Translations:
    """Records what the translator does: see :class:`TranslationListener`."""

    def __init__(self, recorder: Recorder, spec: TraceSpec) -> None:
        self._recorder = recorder
        self._wants = spec.wants

    def translated(self, pc: int, length: int, *, thumb: bool) -> None:
        """See :class:`TranslationListener`, also for the following."""
        if self._wants("tb_translate"):
            self._recorder.add(Kind.TB_TRANSLATE, thumb, 0, pc, length)

    def invalidated(self, physical: int, size: int, *, storing: bool) -> None:
        """Code was thrown away."""
        if not self._wants("tb_invalidate"):
            return
        if storing:
            self._recorder.add_while_storing(Kind.TB_INVALIDATE, physical, size)
        else:
            self._recorder.add(Kind.TB_INVALIDATE, 0, 0, physical, size)

    def compiled(self, address: int, guest_bytes: int, host_bytes: int, host_us: int) -> None:
        """Code is native now."""
        if self._wants("tb_compile"):
            sizes = f"{guest_bytes} {host_bytes} {host_us}"
            self._recorder.add_text(Kind.TB_COMPILE, sizes, address=address)


class Sources:
    """Listens to the board for a trace, until it is closed."""

    def __init__(self, cpu: Cpu, board: Mini2440, recorder: Recorder, spec: TraceSpec) -> None:
        self._recorder = recorder
        self._undo: list[Callable[[], None]] = []
        board.clock.on_change = recorder.add_time
        self._undo.append(lambda: setattr(board.clock, "on_change", None))
        if any(spec.wants(kind) for kind in ("tb_translate", "tb_invalidate", "tb_compile")):
            cpu.translation_listener = Translations(recorder, spec)
            self._undo.append(lambda: setattr(cpu, "translation_listener", None))
        if spec.wants("irq"):
            for number, (name, line) in enumerate(board.intc.lines.items()):
                if spec.matches("irq", name):
                    self._listen(line, partial(self._irq, number))
        if spec.wants("gpio"):
            self._pins = {
                name: number for number, name in enumerate(pin_names(board)) if spec.matches("gpio", name)
            }
            board.gpio.on_change.append(self._gpio)
            self._undo.append(lambda: board.gpio.on_change.remove(self._gpio))
        if spec.wants("serial"):
            for port, uart in enumerate(board.uarts):
                if spec.matches("serial", str(port)):
                    self._wrap(uart, port)
        if spec.wants("log"):
            self._log_wanted = partial(spec.matches, "log")
            board.log.listeners.append(self._log)
            self._undo.append(lambda: board.log.listeners.remove(self._log))

    def close(self) -> None:
        """Listen no longer."""
        while self._undo:
            self._undo.pop()()

    def _listen(self, line: Line, listener: Callable[[int], None]) -> None:
        # in front: what a level brings about comes behind it
        line.listeners.insert(0, listener)
        self._undo.append(lambda: line.listeners.remove(listener))

    def _wrap(self, uart: Uart, port: int) -> None:
        """Look at what goes through a serial port, whoever is connected to it."""
        add = self._recorder.add
        transmitted, receive = uart.on_transmit, uart.receive

        def sent(character: int) -> None:
            add(Kind.SERIAL, port, 1, 0, character)
            transmitted(character)

        def received(data: bytes, errors: int = 0) -> None:
            for byte in data:
                add(Kind.SERIAL, port, 0, 0, byte)
            receive(data, errors)

        uart.on_transmit = sent
        setattr(uart, "receive", received)  # noqa: B010 - it is a method

        def undo() -> None:
            if uart.on_transmit is sent:
                uart.on_transmit = transmitted
            vars(uart).pop("receive", None)

        self._undo.append(undo)

    def _irq(self, number: int, level: int) -> None:
        self._recorder.add(Kind.IRQ, level, number)

    def _gpio(self, pin: Pin) -> None:
        number = self._pins.get(pin.name)
        if number is not None:
            self._recorder.add(Kind.GPIO, pin.level, number)

    def _log(self, error: GuestError) -> None:
        if self._log_wanted(error.device):
            self._recorder.add_text(Kind.LOG, error.message, source=error.device)
