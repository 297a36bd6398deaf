"""The little of the Telnet protocol (RFC 854) that a raw console needs, and window sizes (RFC 1073)."""

from __future__ import annotations

import enum

IAC = 255
_DO, _WILL, _SUBNEGOTIATION = 253, 251, 250
_BREAK, _END_OF_SUBNEGOTIATION = 243, 240
_OPTIONS = range(251, 255)  # WILL, WONT, DO, DONT: one byte follows
_BINARY, _ECHO, _SUPPRESS_GO_AHEAD, _WINDOW_SIZE = 0, 1, 3, 31

#: what a server says first: characters one by one, echoed by the guest, eight bits both ways, and
#: the client may tell the size of its window
GREETING = b"".join(
    bytes((IAC, verb, option))
    for verb, option in (
        (_WILL, _ECHO),
        (_WILL, _SUPPRESS_GO_AHEAD),
        (_WILL, _BINARY),
        (_DO, _BINARY),
        (_DO, _WINDOW_SIZE),
    )
)


def escape(data: bytes) -> bytes:
    """``data`` as it is sent: the byte that starts commands is doubled."""
    return data.replace(b"\xff", b"\xff\xff")


class _State(enum.Enum):
    DATA = enum.auto()
    RETURN = enum.auto()  # after a carriage return
    COMMAND = enum.auto()  # after IAC
    OPTION = enum.auto()  # after IAC WILL and the like
    SUBNEGOTIATION = enum.auto()
    SUBNEGOTIATION_COMMAND = enum.auto()  # after IAC within it


class TelnetFilter:
    """Takes the commands out of a stream that comes in arbitrary pieces."""

    def __init__(self) -> None:
        self._state = _State.DATA
        #: (columns, lines) of the client's window, once it has told
        self.window: tuple[int, int] | None = None
        self._told = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """The plain bytes in ``data``, and how many breaks were sent."""
        plain = bytearray()
        breaks = 0
        state = self._state
        for byte in data:
            if state is _State.COMMAND:
                state = _State.DATA
                if byte == IAC:
                    plain.append(byte)
                elif byte == _BREAK:
                    breaks += 1
                elif byte in _OPTIONS:
                    state = _State.OPTION
                elif byte == _SUBNEGOTIATION:
                    state = _State.SUBNEGOTIATION
                    self._told.clear()
            elif state is _State.OPTION:
                state = _State.DATA
            elif state is _State.SUBNEGOTIATION:
                if byte == IAC:
                    state = _State.SUBNEGOTIATION_COMMAND
                else:
                    self._tell(byte)
            elif state is _State.SUBNEGOTIATION_COMMAND:
                ended = byte == _END_OF_SUBNEGOTIATION
                state = _State.DATA if ended else _State.SUBNEGOTIATION
                if ended:
                    self._understand()
                else:
                    self._tell(byte)  # IAC itself
            elif byte == IAC:
                state = _State.COMMAND
            elif state is _State.RETURN and byte == 0:
                state = _State.DATA  # a carriage return alone is sent as CR NUL
            else:
                plain.append(byte)
                state = _State.RETURN if byte == 13 else _State.DATA
        self._state = state
        return bytes(plain), breaks

    def _tell(self, byte: int) -> None:
        if len(self._told) < 8:  # all others are of no interest
            self._told.append(byte)

    def _understand(self) -> None:
        if len(self._told) == 5 and self._told[0] == _WINDOW_SIZE:
            columns, lines = int.from_bytes(self._told[1:3]), int.from_bytes(self._told[3:5])
            # 0: the client leaves it to us
            self.window = (columns or 80, lines or 24)
