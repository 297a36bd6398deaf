"""Two devices on one back end, switched by key: QEMU's ``mon:`` and the console of ``-nographic``."""

from __future__ import annotations

from dbgemu.host.backend import Chardev, ChardevEvent
from dbgemu.host.iothread import IoThread

ESCAPE = 0x01  # Ctrl-A
#: input kept for a device that has no room, before the back end itself is held
_HELD_LIMIT = 1 << 16

HELP = """\
Ctrl-A h       show these keys
Ctrl-A x       leave the emulator
Ctrl-A c       go from the serial port to the monitor, or back
Ctrl-A b       send a break
Ctrl-A Ctrl-A  send Ctrl-A itself
"""


class _End(Chardev):
    """One of the two devices' ends of the multiplexer."""

    def __init__(self, multiplexer: Multiplexer, name: str) -> None:
        super().__init__(f"{multiplexer.backend.description} ({name})")
        self.multiplexer = multiplexer
        self.waiting = bytearray()
        self.held = True  # until there is a receiver

    def _receiver_set(self) -> None:
        self.multiplexer.start()
        self.release()

    @property
    def terminal_size(self) -> tuple[int, int] | None:
        return self.multiplexer.backend.terminal_size

    @property
    def echoes(self) -> bool:
        return self.multiplexer.backend.echoes

    def write(self, data: bytes) -> None:
        self.multiplexer.backend.write(data)

    def hold(self) -> None:
        self.multiplexer.hold_end(self, True)

    def release(self) -> None:
        self.multiplexer.hold_end(self, False)

    def close(self) -> None:
        self.multiplexer.close()


class Multiplexer(Chardev):
    """The serial port's end of ``backend``; :attr:`monitor` is the other, if ``with_monitor``.

    Input goes to the end in focus, the serial port at first; Ctrl-A and a key act on the multiplexer
    even while that end is held. Output of both goes out. Ctrl-A x gives ``ChardevEvent.QUIT`` here.
    """

    def __init__(self, backend: Chardev, io: IoThread, *, with_monitor: bool) -> None:
        super().__init__(backend.description)
        self.backend = backend
        self._serial = _End(self, "serial")
        self._monitor = _End(self, "monitor") if with_monitor else None
        self._focus = self._serial
        self._escaped = False
        self._io = io
        self._backend_held = False
        self._serial.on_event = lambda event: self.on_event(event)
        self._keys = {
            ord("h"): self._help,
            ord("?"): self._help,
            ord("x"): self._quit,
            ord("b"): self._break,
            ord("c"): self._switch,
        }
        self._started = False

    @property
    def monitor(self) -> Chardev | None:
        """The monitor's end, if there is one."""
        return self._monitor

    def write(self, data: bytes) -> None:
        """Send output of the serial port, or hand it to the monitor that has the focus."""
        focus = self._focus
        if focus is not self._serial and focus.on_other_output is not None:
            focus.on_other_output(data)
        else:
            self.backend.write(data)

    @property
    def dropped(self) -> int:
        """What the back end has dropped, of both."""
        return self.backend.dropped

    def hold(self) -> None:
        """Keep the serial port's input back."""
        self._serial.hold()

    def release(self) -> None:
        """Let the serial port's input through again."""
        self._serial.release()

    def close(self) -> None:
        """Close the back end."""
        self.backend.close()

    def start(self) -> None:
        """Take input and events: one of the ends has a receiver now."""
        if not self._started:
            self._started = True
            self.backend.on_event = self._forward_event
            self.backend.on_receive = self._take

    def hold_end(self, end: _End, held: bool) -> None:
        """``end`` has no room (again some room) for input. Safe from every thread."""
        self._io.call_soon(self._set_held, end, held)

    def _receiver_set(self) -> None:
        self._serial.on_receive = self.on_receive

    # -- on the I/O thread ---------------------------------------------------------------------

    def _set_held(self, end: _End, held: bool) -> None:
        end.held = held
        if not held and end.waiting:
            waiting = bytes(end.waiting)
            end.waiting.clear()
            end.on_receive(waiting)
        self._balance()

    def _balance(self) -> None:
        full = any(
            end is not None and len(end.waiting) > _HELD_LIMIT for end in (self._serial, self._monitor)
        )
        if full != self._backend_held:
            self._backend_held = full
            if full:
                self.backend.hold()
            else:
                self.backend.release()

    def _forward_event(self, event: ChardevEvent) -> None:
        if event is ChardevEvent.BREAK:
            self._focus.on_event(event)
            return
        self._serial.on_event(event)
        if self._monitor is not None:
            self._monitor.on_event(event)

    def _take(self, data: bytes) -> None:
        start = 0
        for index, byte in enumerate(data):
            if self._escaped:
                self._escaped = False
                if byte == ESCAPE:
                    start = index  # itself is what is sent
                else:
                    start = index + 1
                    self._keys.get(byte, self._nothing)()
            elif byte == ESCAPE:
                self._deliver(data[start:index])
                start = index + 1
                self._escaped = True
        self._deliver(data[start:])

    def _deliver(self, data: bytes) -> None:
        if not data:
            return
        end = self._focus
        if end.held:
            end.waiting += data
            self._balance()
        else:
            end.on_receive(data)

    def _nothing(self) -> None:
        pass

    def _help(self) -> None:
        self.backend.write(("\n" + HELP).replace("\n", "\r\n").encode())

    def _quit(self) -> None:
        self.on_event(ChardevEvent.QUIT)

    def _break(self) -> None:
        self._focus.on_event(ChardevEvent.BREAK)

    def _switch(self) -> None:
        if self._monitor is not None:
            left = self._focus
            self._focus = self._monitor if left is self._serial else self._serial
            left.on_event(ChardevEvent.UNFOCUSED)
            self._focus.on_event(ChardevEvent.FOCUSED)
