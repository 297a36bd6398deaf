"""The compiling process as the emulator sees it: started when it is first needed, never waited for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from dbgemu.engine.translator.messages import receive, send
from dbgemu.engine.translator.requests import COMPILE, Batch, Request


class Background:
    """A compiler in a process of its own; a thread calls ``notify`` when there is something to take."""

    def __init__(self, cache: Path | None, notify: Callable[[], None], work: str = COMPILE) -> None:
        self._work = work
        self._cache = cache
        self._notify = notify
        self._process: subprocess.Popen[bytes] | None = None
        self._made: deque[Batch] = deque()
        self._requests: deque[list[Request]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        #: the process has died, and nothing more will come
        self.ended = False

    def _start(self) -> None:
        command = [sys.executable, "-m", "dbgemu.engine.translator.worker", self._work]
        if self._cache is not None:
            command.append(str(self._cache))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # an interrupt from the keyboard is not for it
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"translator{work.__name__}", daemon=True).start()

    def _write(self) -> None:
        process = self._process
        assert process is not None
        sink = cast(BinaryIO, process.stdin)
        with contextlib.suppress(OSError, ValueError):
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._requests or self._closed)
                    if self._closed:
                        return
                    requests = self._requests.popleft()
                send(sink, requests)

    def _read(self) -> None:
        process = self._process
        assert process is not None
        source = cast(BinaryIO, process.stdout)
        with contextlib.suppress(OSError, ValueError, EOFError):
            while (batch := receive(source)) is not None:
                self._made.append(batch)
                self._notify()
        if not self._closed:
            self.ended = True
            self._notify()

    def submit(self, requests: list[Request]) -> None:
        """See :class:`~dbgemu.engine.translator.translator.Compiler`."""
        if self._closed:
            return
        if self._process is None:
            self._start()
        with self._wake:
            self._requests.append(requests)
            self._wake.notify_all()

    def take(self) -> list[Batch]:
        """What has come since the last call."""
        made = []
        while self._made:
            made.append(self._made.popleft())
        return made

    def close(self) -> None:
        """End the process."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
