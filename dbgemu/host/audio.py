"""Where the board's sound goes on the host, and where it records from: WAV files or a sound device."""

from __future__ import annotations

import threading
import wave
from array import array
from pathlib import Path
from typing import Any, Protocol

from dbgemu.errors import OptionError
from dbgemu.target.audio import AudioSink, AudioSource

STEREO = 2
SAMPLE_BYTES = 2
#: seconds that a sound device may be behind; what is older is not played
LATENCY = 0.5


class AudioBackend(Protocol):
    """A sink and a source that are open; each None where there is none."""

    @property
    def sink(self) -> AudioSink | None:
        """Takes what is played."""

    @property
    def source(self) -> AudioSource | None:
        """Gives what is recorded."""

    def close(self) -> None:
        """Finish; nothing is played afterwards."""


class WavWriter:
    """A sink that writes a WAV file: complete after each call, so that a kill leaves a valid one.

    Raises OptionError when it cannot be written.
    """

    def __init__(self, path: Path, rate: int) -> None:
        self.path = path
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise OptionError(f"'{path}' cannot be written: {error.strerror}") from None
        self._wave = wave.Wave_write(self._file)
        self._wave.setnchannels(STEREO)
        self._wave.setsampwidth(SAMPLE_BYTES)
        self._wave.setframerate(rate)
        self._failed = False
        self.play(rate, STEREO, b"")

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """See AudioSink; always the rate of the file, in stereo."""
        if self._failed:
            return
        try:
            self._wave.writeframes(samples)  # which also puts the length into the header
            self._file.flush()
        except (OSError, wave.Error):  # a full disk, or 4 GiB: keep what is there
            self._failed = True

    def close(self) -> None:
        """Nothing more comes."""
        try:
            self._wave.close()
            self._file.close()
        except OSError:
            self._failed = True


class WavReader:
    """A source that reads a WAV file once, then is silent. Raises OptionError.

    8 and 16 bits, mono and stereo are understood; the rate is converted.
    """

    def __init__(self, path: Path) -> None:
        try:
            with wave.open(str(path), "rb") as file:
                channels, width, self._rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
                data = file.readframes(file.getnframes())
        except OSError as error:
            raise OptionError(f"'{path}' cannot be read: {error.strerror}") from None
        except (wave.Error, EOFError) as error:
            raise OptionError(f"'{path}' is not a WAV file of PCM samples: {error}") from None
        if width not in (1, 2) or channels not in (1, 2):
            raise OptionError(
                f"'{path}' has {channels} channels of {8 * width} bits: 1 or 2 of 8 or 16 bits are understood"
            )
        words = array("h", data if width == SAMPLE_BYTES else [(byte - 128) << 8 for byte in data])
        self._channels = [words[::channels], words[channels - 1 :: channels]]
        self._place = 0

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """See AudioSource."""
        # positions are in units of 1 / rate of the file's sample period
        begin, self._place = self._place, self._place + frames * self._rate
        length = len(self._channels[0])
        result = array("h", bytes(SAMPLE_BYTES * channels * frames))
        positions = range(begin, self._place, self._rate)
        for channel in range(channels):
            source = self._channels[channel]
            values = [
                (source[p // rate] * (rate - p % rate) + source[p // rate + 1] * (p % rate)) // rate
                for p in positions
                if p // rate + 1 < length
            ]
            result[channel : channel + channels * len(values) : channels] = array("h", values)
        return result.tobytes()


class WavBackend:
    """Plays into one WAV file, records from another; each of them may be left out."""

    def __init__(self, out: Path | None, source: Path | None, rate: int) -> None:
        self.source: WavReader | None = WavReader(source) if source is not None else None
        self.sink: WavWriter | None = WavWriter(out, rate) if out is not None else None

    def close(self) -> None:
        """The file is complete."""
        if self.sink is not None:
            self.sink.close()


class DeviceBackend:
    """The host's default sound device, through the package sounddevice. Raises OptionError."""

    def __init__(self, rate: int) -> None:
        try:
            import sounddevice  # only who wants it needs it
        except (ImportError, OSError):  # OSError: the package is there, PortAudio is not
            raise OptionError(
                "the host's sound device needs the Python package sounddevice and the library PortAudio: "
                "pip install dbgemu[audio], or use wav,path=FILE"
            ) from None
        self._library: Any = sounddevice
        self._rate = rate
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._recorded = bytearray()
        self._in: Any = None
        try:
            self._out: Any = sounddevice.RawOutputStream(
                samplerate=rate, channels=STEREO, dtype="int16", callback=self._wants
            )
            self._out.start()
        except sounddevice.PortAudioError as error:
            raise OptionError(f"the host has no sound device that can be used: {error}") from None

    @property
    def sink(self) -> AudioSink:
        """Itself."""
        return self

    @property
    def source(self) -> AudioSource:
        """Itself: the device's input is opened when something is recorded first."""
        return self

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        """See AudioSink."""
        with self._lock:
            self._waiting += samples
            most = int(LATENCY * self._rate) * STEREO * SAMPLE_BYTES
            del self._waiting[: max(0, len(self._waiting) - most)]

    def _wants(self, out: Any, frames: int, time: Any, status: Any) -> None:
        length = len(out)
        with self._lock:
            data = bytes(self._waiting[:length])
            del self._waiting[:length]
        out[:] = data.ljust(length, b"\0")

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        """See AudioSource; silence where the device has no input."""
        length = frames * channels * SAMPLE_BYTES
        if self._in is None:
            try:
                self._in = self._library.RawInputStream(
                    samplerate=rate, channels=channels, dtype="int16", callback=self._heard
                )
                self._in.start()
            except self._library.PortAudioError:
                self._in = False
        with self._lock:
            data = bytes(self._recorded[:length])
            del self._recorded[:length]
        return data.ljust(length, b"\0")

    def _heard(self, data: Any, frames: int, time: Any, status: Any) -> None:
        with self._lock:
            self._recorded += bytes(data)
            most = int(LATENCY * self._rate) * STEREO * SAMPLE_BYTES
            del self._recorded[: max(0, len(self._recorded) - most)]

    def close(self) -> None:
        """Stop the device."""
        for stream in (self._out, self._in):
            if stream:
                stream.close()
