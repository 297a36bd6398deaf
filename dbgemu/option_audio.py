"""The option ``-audiodev``: where sound goes, in QEMU's spelling."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.errors import OptionError

if TYPE_CHECKING:
    from dbgemu.host.audio import AudioBackend

#: what takes the sound -> what that is. "host" stands for all of QEMU's names of sound systems
DRIVERS = {
    "none": "nobody hears it",
    "wav": "a WAV file: path=FILE (default: dbgemu.wav), in=FILE to record from",
    "host": "the host's sound device (also: alsa, pa, pipewire, sdl, oss, coreaudio, dsound)",
}
_HOST = frozenset({"alsa", "pa", "pipewire", "jack", "sdl", "oss", "coreaudio", "dsound"})
_LOWEST, _HIGHEST = 8000, 192000


class AudioOptions(NamedTuple):
    """Who takes the sound. ``rate`` is in Hz; ``path`` and ``source`` are for ``wav``."""

    driver: str = "none"
    path: Path | None = None
    source: Path | None = None
    rate: int = 44100


def audio_help() -> str:
    """What ``-audiodev help`` prints."""
    lines = [f"  {name:<6} {what}" for name, what in DRIVERS.items()]
    return "\n".join(["Sound goes to:", *lines, "Each takes id=NAME and out.frequency=HZ (default: 44100)."])


def audio_options(argument: str) -> AudioOptions:
    """``DRIVER[,id=NAME][,path=FILE][,in=FILE][,out.frequency=HZ]``; also ``driver=DRIVER``. OptionError."""
    first, *rest = argument.split(",")
    driver = first.removeprefix("driver=")
    if driver in _HOST:
        driver = "host"
    if driver not in DRIVERS:
        near = get_close_matches(driver, [*DRIVERS, *_HOST], n=1)
        hint = f"did you mean {near[0]}?" if near else "none, wav and host do"
        raise OptionError(f"'{driver}' takes no sound: {hint}")
    values: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if name not in ("id", "path", "in", "out.frequency") or not equals:
            raise OptionError(f"'{part}' is not one of id=, path=, in=, out.frequency=")
        if name in ("path", "in") and driver != "wav":
            raise OptionError(f"{name}= is for wav, not for {driver}")
        values[name] = value
    return AudioOptions(
        driver,
        _path(driver, values),
        Path(values["in"]) if values.get("in") else None,
        _rate(values.get("out.frequency", "44100")),
    )


def _path(driver: str, values: dict[str, str]) -> Path | None:
    if driver != "wav" or ("in" in values and "path" not in values):
        return None
    return Path(values.get("path") or "dbgemu.wav")


def _rate(text: str) -> int:
    rate = int(text) if text.isascii() and text.isdigit() else 0
    if not _LOWEST <= rate <= _HIGHEST:
        raise OptionError(f"out.frequency is '{text}', not a number of Hz from {_LOWEST} to {_HIGHEST}")
    return rate


def open_audio(options: AudioOptions) -> AudioBackend:
    """The backend that ``options`` describe, but for ``none``. Raises OptionError."""
    from dbgemu.host.audio import DeviceBackend, WavBackend

    if options.driver == "host":
        return DeviceBackend(options.rate)
    return WavBackend(options.path, options.source, options.rate)
