"""The argument of ``-semihosting-config``, and what all semihosting options come to together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dbgemu.debug.semihosting.config import Target
from dbgemu.errors import OptionError
from dbgemu.host.chardev import ChardevSpec, parse_chardev

_SWITCH = {"on": True, "off": False}


class SemihostingOptions(NamedTuple):
    """``-semihosting-config``: QEMU's keys. ``arguments`` are the guest's command line, word by word."""

    enabled: bool = True
    target: Target = Target.AUTO
    console: ChardevSpec | None = None
    user: bool = False
    arguments: tuple[str, ...] = ()


def _choice(names: Iterable[str]) -> Callable[[str, str], str]:
    known = tuple(names)

    def convert(key: str, value: str) -> str:
        if value not in known:
            raise OptionError(f"'{key}={value}' is not understood: {key} is {', '.join(known)}")
        return value

    return convert


_on_or_off = _choice(_SWITCH)
_target = _choice(item.value for item in Target)

#: key -> (attribute, (key, value) -> what it is set to)
_KEYS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "enable": ("enabled", lambda key, value: _SWITCH[_on_or_off(key, value)]),
    "target": ("target", lambda key, value: Target(_target(key, value))),
    "userspace": ("user", lambda key, value: _SWITCH[_on_or_off(key, value)]),
    "chardev": ("console", lambda key, value: parse_chardev(value)),
}


def semihosting_config(argument: str) -> SemihostingOptions:
    """``[enable=]on|off,target=native|gdb|auto,chardev=DEV,userspace=on|off,arg=TEXT,...``.

    A comma that belongs to a value is written twice, as in QEMU.
    """
    options = SemihostingOptions()
    for number, part in enumerate(argument.replace(",,", "\0").split(",")):
        part = part.replace("\0", ",")
        key, equals, value = part.partition("=")
        if not equals and number == 0 and part in _SWITCH:
            key, value = "enable", part
        if key == "arg":
            options = options._replace(arguments=(*options.arguments, value))
        elif key in _KEYS and (equals or key == "enable"):
            name, convert = _KEYS[key]
            options = options._replace(**{name: convert(key, value)})
        else:
            raise OptionError(
                f"'{part}' is not understood: write {', '.join(_KEYS)} or arg, with = and a value"
            )
    return options
