"""``-net dump``: every frame of the network in a pcap file, which tshark and Wireshark read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dpkt.pcap import DLT_EN10MB, Writer

from dbgemu.errors import OptionError


class Capture:
    """Frames with the guest's time, cut after ``longest`` bytes. Raises OptionError.

    ``now`` gives virtual time in ns; ``start`` is the moment, in seconds since 1970, when it was 0: so
    the file is the same in each run. Each frame is in the file when :meth:`take` returns.
    """

    def __init__(self, path: Path, now: Callable[[], int], *, start: int = 0, longest: int = 65536) -> None:
        self.path = path
        self.frames = 0
        self._now, self._start, self._longest = now, start, longest
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise OptionError(f"'{path}' cannot be written: {error.strerror}") from None
        self._writer = Writer(self._file, snaplen=longest, linktype=DLT_EN10MB)
        self._file.flush()

    def take(self, frame: bytes) -> None:
        """Write a frame."""
        if not self._file.closed:
            self._writer.writepkt(frame[: self._longest], self._start + self._now() // 1000 / 1e6)
            self._file.flush()
            self.frames += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()
