"""A serial port in a script's hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.target.s3c2440.uart import Uart

#: gets a character, on the machine's thread, when it has been printed
Listener = Callable[[int], None]


class SerialPort:
    """One of the board's ports: what was printed on it, and typing on it.

    ``output`` is all that the guest has printed since power-on. A back end that the port has
    besides (``serial=("stdio",)``) gets the same.
    """

    def __init__(self, session: DebugSession, uart: Uart) -> None:
        self._session = session
        self._uart = uart
        self.output = bytearray()
        #: up to there the output was waited for or read
        self._seen = 0
        self._listeners: tuple[Listener, ...] = ()
        self._beneath = uart.on_transmit
        uart.on_transmit = self._transmitted

    def _transmitted(self, character: int) -> None:
        self.output.append(character)
        self._beneath(character)
        for listener in self._listeners:
            listener(character)

    @property
    def text(self) -> str:
        """All that was printed, as text, without carriage returns."""
        return _text(self.output)

    def read(self) -> str:
        """What was printed since the last ``read``, or since the last text that was waited for."""
        end = len(self.output)
        printed = _text(self.output[self._seen : end])
        self._seen = end
        return printed

    def write(self, data: str | bytes) -> None:
        """Type ``data``: it arrives at the guest as fast as the line is, once the machine runs."""
        typed = data.encode() if isinstance(data, str) else data
        self._session.call(lambda: self._uart.receive(typed))

    def send_break(self) -> None:
        """Send a break."""
        self._session.call(self._uart.receive_break)

    # -- for those who wait for something ----------------------------------------------------------

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for each character; what is returned ends that."""
        self._listeners = (*self._listeners, listener)

        def end() -> None:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

        return end

    def find(self, texts: Sequence[bytes]) -> bytes | None:
        """Which of ``texts`` comes first in what nobody has seen yet; all up to its end is seen then."""
        places = [(self.output.find(text, self._seen), text) for text in texts]
        found = min(((place, text) for place, text in places if place >= 0), default=None)
        if found is None:
            return None
        self._seen = found[0] + len(found[1])
        return found[1]


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace").replace("\r", "")
