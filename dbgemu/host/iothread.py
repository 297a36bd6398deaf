"""The one event loop on which all host I/O happens, in a thread of its own.

The machine's thread runs guest code and must never wait for a file descriptor; consoles, sockets and
the GDB server live here and talk to it through queues.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class IoThread:
    """An asyncio event loop in a daemon thread. Methods are called from other threads."""

    def __init__(self, name: str = "io") -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self.loop = asyncio.new_event_loop()

    def start(self) -> IoThread:
        """Start the thread; does nothing when it runs already. Returns itself."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        return self

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def running(self) -> bool:
        """The thread has been started and not stopped."""
        return self._thread is not None and self._thread.is_alive()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Have ``callback(*args)`` called on the loop; once the loop is closed, nothing happens."""
        try:
            self.loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run ``coroutine`` on the loop and return its result (or raise what it raised).

        Raises TimeoutError after ``timeout`` seconds; RuntimeError when called on the loop's own
        thread or while it does not run: nobody would ever answer.
        """
        if not self.running or threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("IoThread.run needs the I/O thread to run, and another thread to wait for it")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what still runs on the loop, end the thread and close the loop."""
        if self._thread is not None and self._thread.is_alive():
            self.run(self._cancel_tasks())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
        if not self.loop.is_closed():
            self.loop.close()

    async def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
