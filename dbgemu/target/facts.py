"""What a device says about itself beside its registers: rates, fills, what it is doing now."""

from __future__ import annotations

from typing import NamedTuple

#: from the largest on: what a number of units is divided by, and the letter for that
_PREFIXES = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


class Fact(NamedTuple):
    """One line of a dump: ``value`` in ``unit`` (``Hz``, ``ns``, ``baud``; empty for none or words)."""

    name: str
    value: int | str | bool
    unit: str = ""

    def __str__(self) -> str:
        value = self.value
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return value
        if self.unit == "Hz":
            return frequency(value)
        if self.unit == "ns":
            return duration(value)
        return f"{value} {self.unit}" if self.unit else str(value)


def frequency(hertz: int) -> str:
    """As people say it: ``50.625 MHz``."""
    for scale, prefix in _PREFIXES:
        if hertz >= scale:
            return f"{hertz / scale:.7g} {prefix}Hz"
    return f"{hertz} Hz"


def duration(nanoseconds: int) -> str:
    """As people say it: ``86.81 us``."""
    for scale, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")):
        if nanoseconds >= scale:
            return f"{nanoseconds / scale:.6g} {unit}"
    return f"{nanoseconds} ns"


def size(count: int) -> str:
    """Bytes as people say it: ``64 MB``; exact, so in the largest unit that divides them."""
    for scale, unit in ((1 << 20, "MB"), (1 << 10, "KB")):
        if count >= scale and not count % scale:
            return f"{count // scale} {unit}"
    return f"{count} bytes"
