"""Errors of the Python API; all are :class:`dbgemu.errors.Error`, and read as one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbgemu.errors import Error

if TYPE_CHECKING:
    from dbgemu.api.running import Stop


class AddressError(Error):
    """Nothing can be read or written at an address."""


class UnknownNameError(Error, KeyError):
    """A symbol, register, device or event that does not exist."""

    __str__ = Exception.__str__  # KeyError's shows quotes


class NotReachedError(Error):
    """The machine stopped before what was waited for; ``stop`` says where and why."""

    def __init__(self, message: str, stop: Stop) -> None:
        super().__init__(message)
        self.stop = stop
