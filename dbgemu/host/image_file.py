"""A host file that holds a medium's bytes: who may open it, and when what was written is safe.

Every write reaches the host's page cache (``pwrite``) before the guest sees its operation done: it
survives the loss of the emulator's process at once, and that of the host's power after a second, when
a background thread has synced it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from pathlib import Path
from typing import ClassVar

from dbgemu.errors import OptionError

#: seconds until what was written is synced to the disk
SYNC_DELAY = 1.0


class OpenImage:
    """The file at ``path``, held alone when it is written to. Raises OptionError.

    Subclasses say what it is called in sentences, whether a disk of the host may be one, what else a path
    may turn out to be, and what to do about one that is read-only.
    """

    noun: ClassVar[str]
    may_be_disk: ClassVar[bool]
    refused_as: ClassVar[str]
    read_only_advice: ClassVar[str]

    def __init__(self, path: Path, *, writable: bool, create: bool = False) -> None:
        self.path = path
        self._sync_lock = threading.Lock()
        self._sync_timer: threading.Timer | None = None
        self._fd = self._open(writable, create)

    def _open(self, writable: bool, create: bool) -> int:
        path, noun = self.path, self.noun
        try:
            if path.exists() or not create:
                self._check_mode(path.stat().st_mode, writable)
            flags = (os.O_RDWR if writable else os.O_RDONLY) | (os.O_CREAT if create else 0)
            fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            raise OptionError(f"there is no {noun} {path}") from None
        except OSError as error:
            refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
            if writable and refused and os.access(path, os.R_OK):
                raise OptionError(f"{path} is read-only: {self.read_only_advice}") from None
            raise OptionError(f"cannot open the {noun} {path}: {error.strerror}") from None
        if writable:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                raise OptionError(
                    f"{path} is in use by another emulator: use -snapshot to share it"
                ) from None
        return fd

    def _check_mode(self, mode: int, writable: bool) -> None:
        if not stat.S_ISREG(mode) and not (self.may_be_disk and stat.S_ISBLK(mode)):
            raise OptionError(f"{self.path} is {self.refused_as}")
        # Tested by hand, since for root every file can be opened for writing.
        if writable and not mode & 0o222:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _write_at(self, offset: int, data: bytes) -> None:
        """Store all of ``data`` at byte ``offset``, to be synced soon."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, offset)
            offset += count
            view = view[count:]
        if self._sync_timer is None:
            self._sync_timer = threading.Timer(SYNC_DELAY, self.flush)
            self._sync_timer.daemon = True
            self._sync_timer.start()

    def flush(self) -> None:
        """Sync what was written to the disk; returns at once when nothing was. Any thread may call."""
        with self._sync_lock:
            timer, self._sync_timer = self._sync_timer, None
            if timer is not None:
                timer.cancel()
                os.fsync(self._fd)

    def close(self) -> None:
        """Sync and close; nothing may be called afterwards."""
        self.flush()
        os.close(self._fd)
