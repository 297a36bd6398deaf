"""What every character back end is: something outside that bytes go to and come from."""

from __future__ import annotations

import enum
from collections.abc import Callable


class ChardevEvent(enum.Enum):
    """What happens on a back end beside bytes."""

    OPENED = "somebody is there"
    CLOSED = "nobody is there any more, or the input has ended"
    BREAK = "a break was sent"
    QUIT = "the user wants to leave the emulator"
    FOCUSED = "the keyboard of a multiplexed back end acts on this end now"
    UNFOCUSED = "it acts on the other end now"
    RESIZED = "the other side's terminal told its size"
    ENDED = "nothing more will come in, but what is written still goes out: only where it lingers"


class Chardev:
    """A character back end. This one leads nowhere: what is written is gone, nothing ever comes.

    ``on_receive`` and ``on_event`` are called on the I/O thread and must not block. No input is read
    before ``on_receive`` has been set: set ``on_event`` first.
    """

    def __init__(self, description: str = "null") -> None:
        #: what and where it is: ``/dev/pts/3``, ``tcp:127.0.0.1:4444``
        self.description = description
        self._on_receive: Callable[[bytes], None] = lambda data: None
        self.on_event: Callable[[ChardevEvent], None] = lambda event: None
        self._dropped = 0
        #: after the end of the input, wait for :meth:`hang_up` with giving up the connection
        self.lingers = False
        #: gets what the other device of a multiplexed back end writes while this end has the focus,
        #: instead of its being sent; on any thread
        self.on_other_output: Callable[[bytes], None] | None = None

    @property
    def dropped(self) -> int:
        """Bytes that were thrown away because nobody took them in time."""
        return self._dropped

    @property
    def monitor(self) -> Chardev | None:
        """The second end, for the monitor, of a multiplexed back end; None for all others."""
        return None

    @property
    def terminal_size(self) -> tuple[int, int] | None:
        """(columns, lines) of the terminal on the other side, if one is known to be there."""
        return None

    @property
    def echoes(self) -> bool:
        """Whoever types there sees only what is sent back."""
        return False

    def take_keys(self) -> None:
        """Ctrl-C and the like are input from now on, where they would be signals."""

    def hang_up(self) -> None:
        """End the connection with who is there at the moment. Safe from every thread."""

    @property
    def on_receive(self) -> Callable[[bytes], None]:
        """Gets what comes in."""
        return self._on_receive

    @on_receive.setter
    def on_receive(self, receiver: Callable[[bytes], None]) -> None:
        self._on_receive = receiver
        self._receiver_set()

    def _receiver_set(self) -> None:
        """There is somebody now who takes input."""

    def write(self, data: bytes) -> None:
        """Send ``data``; never waits. Safe from every thread, in order within each."""

    def hold(self) -> None:
        """Stop taking input, until :meth:`release`: whoever gets it has no room. Safe from every thread."""

    def release(self) -> None:
        """Take input again."""

    def close(self) -> None:
        """Send what is still to be sent (at most for a second), then give up every resource.

        Called from any thread but the I/O thread; more than once does no harm.
        """
