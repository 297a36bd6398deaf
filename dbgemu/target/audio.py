"""Sound that leaves the board and comes in: signed 16-bit little-endian samples, channels interleaved."""

from __future__ import annotations

from typing import Protocol


class AudioSink(Protocol):
    """Takes what is played. ``rate`` is in samples a second and channel."""

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """More samples; called on the machine's thread, must not wait."""


class AudioSource(Protocol):
    """Gives what is recorded."""

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """``frames`` samples of each channel; silence where there are none."""


class Silence:
    """Nobody listens, nothing is heard."""

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """See AudioSink."""

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """See AudioSource."""
        return bytes(2 * channels * frames)
