"""Handlers: non-stop mode, in which resuming is answered at once and stops are notified of.

GDB manual, "Remote Non-Stop" and "Notification Packets".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.gdbstub.client import Client


class StopNotifications:
    """Stops that a client is told of one after another: ``%Stop`` for the first, the rest as it asks.

    ``notify`` sends a notification: its text without ``%``.
    """

    def __init__(self, notify: Callable[[bytes], None]) -> None:
        self._notify = notify
        self._replies: deque[bytes] = deque()

    @property
    def untaken(self) -> bool:
        """The client has been notified of a stop, and has not asked what comes behind it yet."""
        return bool(self._replies)

    def add(self, reply: bytes) -> None:
        """Tell of a stop; when the client has not taken the last one yet, after that."""
        self._replies.append(reply)
        if len(self._replies) == 1:
            self._notify(b"Stop:" + reply)

    def restart(self, *replies: bytes) -> bytes:
        """Forget what was to be told: ``replies`` are the present stops. Gives the first, or OK."""
        self._replies = deque(replies)
        return self._replies[0] if self._replies else b"OK"

    def next(self) -> bytes:
        """The client has taken the first: the second, or OK when there is none."""
        if self._replies:
            self._replies.popleft()
        return self._replies[0] if self._replies else b"OK"


def set_mode(client: Client, on: bool) -> bytes:
    """``QNonStop``."""
    client.non_stop = on
    client.notifications.restart()
    return b"OK"


def more_stops(client: Client) -> bytes:
    """``vStopped``: the client knows of a stop now."""
    return client.notifications.next()


def interrupt(client: Client) -> bytes:
    """``vCtrlC``: ctrl-C as a packet."""
    client.interrupt()
    return b"OK"


def present_stops(client: Client) -> bytes:
    """``?`` in non-stop mode: whether the CPU stands still, and why. Nothing is stopped for it."""
    if client.session.running:
        client.notifications.restart()
        client.wait_for_stop()
        return b"OK"
    client.stop_waiting()
    return client.notifications.restart(client.stop_reply(client.session.last_stop))


def _stop(client: Client) -> None:
    # A stop that was asked for has no signal. It may stand still already: then the news is on its way.
    if client.waiting and client.session.running:
        client.wait_for_stop(0)
        client.session.pause()


def resume(client: Client, action: bytes, start: int, end: int) -> bytes:
    """``vCont`` in non-stop mode: done, the stop will be notified of."""
    session = client.session
    if action == b"t":
        _stop(client)
        return b"OK"
    if client.waiting and session.running:
        return b"OK"
    client.wait_for_stop()
    event = None
    if action == b"c":
        session.resume(by=client)
    elif action == b"s":
        event = session.start_step(by=client)
    else:
        event = session.step_range(start, end, by=client)
    if event is not None:
        client.stopped(event)  # which comes behind this reply
    return b"OK"
