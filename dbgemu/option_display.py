"""The arguments of ``-display``, ``-vnc`` and ``-panel``."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from dbgemu.errors import OptionError
from dbgemu.target.chips.lcd_panel import MODELS, PanelModel

LOOPBACK = "127.0.0.1"
#: of display 0
_FIRST_PORT = 5900
_LAST_DISPLAY = 65535 - _FIRST_PORT


class DisplaySpec(NamedTuple):
    """What shows the screen: ``kind`` is none, sdl or vnc; the rest is for vnc."""

    kind: str
    host: str = ""
    port: int = 0


def display(argument: str) -> DisplaySpec:
    """``none``, ``sdl`` or ``vnc=[HOST]:N``."""
    kind, equals, rest = argument.partition("=")
    if kind == "vnc" and equals:
        return vnc(rest)
    if argument not in ("none", "sdl"):
        raise OptionError(f"'{argument}' is no display: write none, sdl or vnc=:N")
    return DisplaySpec(argument)


def vnc(argument: str) -> DisplaySpec:
    """``[HOST]:N``: display N is at port 5900 + N; without a host only this machine can connect. ``none``."""
    if argument == "none":
        return DisplaySpec("none")
    place, comma, options = argument.partition(",")
    if comma:
        raise OptionError(f"'{options}' cannot be used: write [HOST]:N alone, viewers need no password")
    host, colon, number = place.rpartition(":")
    if not colon or not (number.isascii() and number.isdecimal()):
        raise OptionError(f"'{argument}' is no place for viewers: write [HOST]:N, which is port 5900 + N")
    if int(number) > _LAST_DISPLAY:
        raise OptionError(f"there is no display {number}: write 0 to {_LAST_DISPLAY}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return DisplaySpec("vnc", host or LOOPBACK, _FIRST_PORT + int(number))


def panel(argument: str) -> PanelModel:
    """A panel by name."""
    model = MODELS.get(argument)
    if model is None:
        near = get_close_matches(argument, MODELS, n=1)
        hint = f"did you mean {near[0]}" if near else "-panel ? lists them"
        raise OptionError(f"'{argument}' is no panel: {hint}")
    return model


def panel_help() -> str:
    """What ``-panel ?`` prints."""
    return "Available panels:\n" + "\n".join(f"  {name:<8} {model.what}" for name, model in MODELS.items())
