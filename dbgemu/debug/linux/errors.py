"""What cannot be told of a Linux guest, as one sentence."""

from __future__ import annotations

from dbgemu.errors import Error


class LinuxError(Error):
    """Nothing can be read of the guest's Linux; ``str()`` is one clear sentence that says why."""


class NotYetError(LinuxError):
    """The kernel is not in memory yet."""


class DamagedError(LinuxError):
    """A structure in the guest's memory is not what a working kernel has there."""
