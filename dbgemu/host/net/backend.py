"""What every network back end is: something outside that Ethernet frames go to and come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: the longest frame that is taken from outside: 1500 bytes of payload, a header, a VLAN tag
LONGEST_FRAME = 1518


class NetBackend:
    """A network back end. Frames are without preamble and checksum.

    ``name`` is what a user calls it. Who connects it sets the others: ``on_frames`` takes what comes in,
    from any thread; ``deliver`` does so on the machine's thread, where ``post`` runs an action.
    """

    kind = ""

    def __init__(self, name: str) -> None:
        self.name = name
        #: frames pass; only the machine's thread looks at it
        self.link = True
        #: frames that came from there, and that went there
        self.received = self.sent = 0
        self.on_frames: Callable[[Sequence[bytes]], None] = lambda frames: None
        self.deliver: Callable[[Sequence[bytes]], None] = lambda frames: None
        self.post: Callable[[Callable[[], None]], None] = lambda action: None

    @property
    def description(self) -> str:
        """What and where it is, as ``info network`` shows it."""
        return f"type={self.kind}"

    def send(self, frame: bytes) -> Sequence[bytes]:
        """Send ``frame``, on the machine's thread, and never wait; what is answered at once is returned."""
        return ()

    def connected(self) -> None:
        """It was connected: frames may come from now on."""

    def close(self) -> None:
        """Give up every resource. More than once does no harm."""
