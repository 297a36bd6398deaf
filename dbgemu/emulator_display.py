"""What shows the emulator's screen, and who listens to it: windows and VNC servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack

from dbgemu.debug.session import DebugSession
from dbgemu.errors import OptionError
from dbgemu.host.display.feed import ScreenFeed, Watcher
from dbgemu.host.display.inputs import Inputs
from dbgemu.host.display.vnc import VncServer
from dbgemu.host.iothread import IoThread
from dbgemu.option_display import DisplaySpec
from dbgemu.target.usb.hid import UsbKeyboard
from dbgemu.target.usb.keys import KEYS


class EmulatorDisplay:
    """All displays that the options ask for. Raises OptionError; :meth:`close` gives them up."""

    def __init__(
        self,
        specs: Iterable[DisplaySpec],
        session: DebugSession,
        io: IoThread,
        *,
        name: str,
        on_close: Callable[[], None],
    ) -> None:
        self._session = session
        self._io = io
        self._title = name or "mini2440"
        self._on_close = on_close
        self._resources = ExitStack()
        board = session.machine.board
        self._inputs = Inputs(board, session.machine.post, self._key)
        #: where viewers can connect
        self.vnc: list[VncServer] = []
        try:
            for spec in specs:
                if spec.kind == "sdl":
                    self._open_window()
                elif spec.kind == "vnc":
                    self._serve(spec)
        except BaseException:
            self._resources.close()
            raise

    def close(self) -> None:
        """Close windows, let viewers go."""
        self._resources.close()

    def _watcher(self) -> Watcher:
        return Watcher(self._session.machine.board.lcd, self._session.call)

    def _open_window(self) -> None:
        from dbgemu.host.display.window import Window

        board = self._session.machine.board
        window = Window(board, self._watcher(), self._inputs, title=self._title, on_close=self._on_close)
        self._resources.callback(window.close)
        window.start()

    def _serve(self, spec: DisplaySpec) -> None:
        feed = ScreenFeed(self._watcher())
        self._resources.callback(feed.close)
        server = VncServer(feed, self._inputs, self._io, name=self._title)
        try:
            server.start(spec.host, spec.port)
        except OSError as error:
            # what Python adds to the reason says the same again
            reason = (error.strerror or str(error)).partition(" (")[0]
            raise OptionError(f"-vnc: port {spec.port} of {spec.host} cannot be used: {reason}") from None
        self._resources.callback(server.close)
        self.vnc.append(server)

    def _key(self, name: str, pressed: bool) -> None:
        """A key for the USB keyboard, where one is plugged in; on the machine's thread."""
        usage = KEYS.get(name)
        if usage is None:
            return
        for device in self._session.machine.board.usb_host.plugged:
            if isinstance(device, UsbKeyboard):
                (device.press if pressed else device.release)(usage)
