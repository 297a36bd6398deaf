"""What was typed at prompts: in this run, and in a file in those before.

``DBGEMU_HISTORY`` names the file; empty, nothing is kept. Otherwise it is ``dbgemu/history`` in the XDG
folder for state (``$XDG_STATE_HOME``, ``~/.local/state``). A file that cannot be read or written is no
reason not to start: the history is then that of this run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

#: lines kept in the file; it is cut down to so many when it has twice as many
KEPT = 5000


def history_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the history is kept; None: nowhere."""
    named = environment.get("DBGEMU_HISTORY")
    if named is not None:
        return Path(named).expanduser() if named else None
    state = environment.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    folder = Path(state) if state.startswith("/") else Path(environment.get("HOME", "/")) / ".local/state"
    return folder / "dbgemu/history"


class History:
    """Lines, the oldest first. Shared by the consoles; safe from every thread."""

    def __init__(self, path: Path | str | None = "") -> None:
        """``path``: see :func:`history_file` when it is left out, None for no file."""
        self._path = history_file() if path == "" else (Path(path) if path is not None else None)
        self._lock = threading.Lock()
        self._lines = self._read()

    @property
    def lines(self) -> list[str]:
        """All of them."""
        with self._lock:
            return list(self._lines)

    def add(self, line: str) -> None:
        """Keep ``line``, unless it is blank or what was typed last."""
        with self._lock:
            if not line.strip() or (self._lines and self._lines[-1] == line):
                return
            self._lines.append(line)
            self._append(line)

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except OSError:
            return []
        if len(lines) > 2 * KEPT:
            lines = lines[-KEPT:]
            self._rewrite(self._path, lines)
        return [line for line in lines if line]

    def _rewrite(self, path: Path, lines: list[str]) -> None:
        shorter = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            shorter.write_text("".join(f"{line}\n" for line in lines), "utf-8")
            shorter.chmod(0o600)
            shorter.replace(path)
        except OSError:
            pass  # it stays long

    def _append(self, line: str) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # One write to a file opened for appending: two emulators do not cut each other's lines.
            target = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(target, f"{' '.join(line.splitlines())}\n".encode("utf-8", "replace"))
            finally:
                os.close(target)
        except OSError:
            self._path = None  # one try is enough
