"""Figures: what was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import dbgemu


class BenchmarkError(Exception):
    """A measurement cannot be made; the text is one sentence for the user."""


@dataclass(frozen=True)
class Aim:
    """The value that a figure should reach: its median, or with ``ratio`` that of its ratio."""

    value: float
    at_most: bool = False
    ratio: bool = False

    def met_by(self, value: float) -> bool:
        """Whether ``value`` is good enough."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {number(self.value)}{'x' if self.ratio else ''}"


@dataclass(frozen=True)
class Figure:
    """One thing that was measured, one sample a run.

    ``peer_samples`` are of the peer's runs, each taken right before or after the sample of the same
    index; the ratio is dbgemu's value divided by the peer's, pair by pair.
    """

    group: str
    name: str
    unit: str
    samples: Sequence[float]
    peer: str = ""
    peer_samples: Sequence[float] = ()
    aim: Aim | None = None
    #: further numbers that explain this one
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Own value over the peer's, for each pair of runs."""
        return [own / other for own, other in zip(self.samples, self.peer_samples, strict=False) if other]

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without an aim, or without the peer that it is about."""
        if self.aim is None:
            return None
        values = self.ratios if self.aim.ratio else self.samples
        return self.aim.met_by(median(values)) if values else None

    def as_json(self) -> dict[str, Any]:
        """Plain data with the samples and what follows from them."""
        plain = asdict(self) | {"samples": list(self.samples), "peer_samples": list(self.peer_samples)}
        return plain | {
            "median": median(self.samples),
            "peer_median": median(self.peer_samples) if self.peer_samples else None,
            "ratio": median(self.ratios) if self.ratios else None,
            "met": self.met,
        }


_HEADINGS = ("figure", "unit", "dbgemu", "(min - max)", "peer", "value", "ratio", "(min - max)", "aim", "")


def number(value: float) -> str:
    """``value`` with three significant digits, and thousands apart."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}".replace(",", " ")


def _range(values: Sequence[float]) -> str:
    return f"{number(min(values))} - {number(max(values))}" if len(values) > 1 else ""


def _row(figure: Figure) -> tuple[str, ...]:
    met, ratios = figure.met, figure.ratios
    return (
        figure.name,
        figure.unit,
        number(median(figure.samples)),
        _range(figure.samples),
        figure.peer if figure.peer_samples else "",
        number(median(figure.peer_samples)) if figure.peer_samples else "",
        f"{number(median(ratios))}x" if ratios else "",
        _range(ratios) if ratios else "",
        str(figure.aim) if figure.aim else "",
        "" if met is None else "met" if met else "MISSED",
    )


def table(figures: Sequence[Figure]) -> str:
    """The figures as text: a heading a group, columns aligned."""
    rows = [_row(figure) for figure in figures]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    left = (0, 1, 4, 9)

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    lines = [line(_HEADINGS)]
    group = None
    for figure, row in zip(figures, rows, strict=True):
        if figure.group != group:
            group = figure.group
            lines += ["", group]
        lines.append(line(row))
    return "\n".join(lines)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """What the figures depend on besides the program."""
    return {
        "dbgemu": dbgemu.__version__,
        "python": platform.python_version(),
        "llvmlite": _version_of("llvmlite"),
        "unicorn": _version_of("unicorn"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }


def as_json(figures: Sequence[Figure], notes: Sequence[str], about: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, as plain data."""
    return {
        "environment": dict(about),
        "notes": list(notes),
        "figures": [figure.as_json() for figure in figures],
    }
