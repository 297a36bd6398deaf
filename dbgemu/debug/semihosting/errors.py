"""How a call fails."""

from __future__ import annotations

import errno
from enum import IntEnum


class Errno(IntEnum):
    """Error numbers as the guest's C library has them: newlib's, which GDB's File-I/O uses too."""

    EPERM = 1
    ENOENT = 2
    EINTR = 4
    EIO = 5
    EBADF = 9
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    EEXIST = 17
    EXDEV = 18
    ENODEV = 19
    ENOTDIR = 20
    EISDIR = 21
    EINVAL = 22
    ENFILE = 23
    EMFILE = 24
    EFBIG = 27
    ENOSPC = 28
    ESPIPE = 29
    EROFS = 30
    ENAMETOOLONG = 91


class CallError(Exception):
    """The call fails: the guest gets -1, and this error number from SYS_ERRNO."""

    def __init__(self, number: int) -> None:
        super().__init__(f"error {number}")
        self.number = number


class InterruptedCallError(Exception):
    """The call was not executed: the machine is to stop in front of it.

    ``waits``: nobody interrupted it, but it has to wait and must not do so on this thread.
    """

    def __init__(self, *, waits: bool = False) -> None:
        super().__init__("the call waits" if waits else "the call was interrupted")
        self.waits = waits


class RetryCallError(Exception):
    """Who was executing the call has vanished, without a result: it is to be executed anew."""


def from_host(error: OSError) -> CallError:
    """The guest's error for what failed on the host."""
    # the host does not follow symbolic links for the guest, and says so with ELOOP
    name = "EACCES" if error.errno == errno.ELOOP else errno.errorcode.get(error.errno or 0, "")
    return CallError(Errno.__members__.get(name, Errno.EIO))
