"""Character back ends by their names on the command line: QEMU's ``-serial`` and ``-monitor``.

Sockets, terminals and the event loop are imported only when a back end needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from dbgemu.errors import OptionError
from dbgemu.host.backend import Chardev, ChardevEvent

if TYPE_CHECKING:
    from dbgemu.host.iothread import IoThread
    from dbgemu.host.sockets import SocketChardev

__all__ = ["Chardev", "ChardevEvent", "ChardevSpec", "OptionError", "open_chardev", "parse_chardev"]

FORMS = "stdio, mon:stdio, pty, tcp:HOST:PORT, telnet:HOST:PORT, unix:PATH, file:PATH, null or none"


class ChardevSpec(NamedTuple):
    """A back end as it was asked for. ``mux``: shared by a serial port and the monitor.

    ``host`` and ``port`` are for tcp and telnet, ``path`` for unix and file; ``wait``: a server does
    not start the machine before somebody has connected.
    """

    text: str
    kind: str
    mux: bool = False
    host: str = ""
    port: int = 0
    path: str = ""
    server: bool = False
    wait: bool = False
    nodelay: bool = False

    def __str__(self) -> str:
        return self.text


def parse_chardev(spec: str) -> ChardevSpec:
    """What ``spec`` asks for; raises :class:`OptionError`."""
    text, mux = spec, spec.startswith("mon:")
    kind, colon, rest = (spec[4:] if mux else spec).partition(":")
    parser = _PARSERS.get(kind)
    if parser is None:
        raise OptionError(f"'{text}' is not a character device: choose {FORMS}")
    parsed = parser(text, kind, rest if colon else None)
    if mux and kind in ("none", "null", "file"):
        raise OptionError(f"'{text}' cannot work: nothing could be typed into the monitor on {kind}")
    return parsed._replace(mux=mux)


def _parse_plain(text: str, kind: str, rest: str | None) -> ChardevSpec:
    if rest is not None:
        raise OptionError(f"'{text}' has something behind {kind}, which takes nothing")
    return ChardevSpec(text, kind)


def _parse_file(text: str, kind: str, rest: str | None) -> ChardevSpec:
    if not rest:
        raise OptionError(f"'{text}' names no file: write file:PATH")
    return ChardevSpec(text, kind, path=rest)


def _parse_unix(text: str, kind: str, rest: str | None) -> ChardevSpec:
    path, _, options = (rest or "").partition(",")
    if not path:
        raise OptionError(f"'{text}' names no socket: write unix:PATH[,server][,nowait]")
    return _with_options(ChardevSpec(text, kind, path=path), options)


def _parse_net(text: str, kind: str, rest: str | None) -> ChardevSpec:
    address, _, options = (rest or "").partition(",")
    host, colon, port = address.rpartition(":")
    if not colon:
        raise OptionError(f"'{text}' lacks an address: write {kind}:HOST:PORT[,server][,nowait]")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise OptionError(f"'{text}' has an IPv6 address without brackets: write {kind}:[{host}]:{port}")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise OptionError(f"'{text}' has the port '{port}', which is not a number from 0 to 65535")
    parsed = _with_options(ChardevSpec(text, kind, host=host, port=int(port)), options)
    if not parsed.server and not parsed.port:
        raise OptionError(f"'{text}' has port 0, which only a server can use: it means any free port")
    return parsed


def _refuse_vc(text: str, kind: str, rest: str | None) -> ChardevSpec:
    raise OptionError(f"'{text}' needs a graphical console, which dbgemu does not have: choose {FORMS}")


_PARSERS: Mapping[str, Callable[[str, str, str | None], ChardevSpec]] = {
    "stdio": _parse_plain,
    "pty": _parse_plain,
    "null": _parse_plain,
    "none": _parse_plain,
    "file": _parse_file,
    "unix": _parse_unix,
    "tcp": _parse_net,
    "telnet": _parse_net,
    "vc": _refuse_vc,
}

#: option -> (field of the specification, whether "on" means False)
_SWITCHES = {
    "server": ("server", False),
    "wait": ("wait", False),
    "nowait": ("wait", True),
    "nodelay": ("nodelay", False),
    "delay": ("nodelay", True),
}
_VALUES = {"": True, "on": True, "yes": True, "off": False, "no": False}


def _with_options(spec: ChardevSpec, options: str) -> ChardevSpec:
    chosen: dict[str, bool] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if name not in _SWITCHES:
            raise OptionError(f"'{spec}' has the option '{name}': choose of {', '.join(_SWITCHES)}")
        if value not in _VALUES or (equals and not value):
            raise OptionError(f"'{spec}' has '{option}': {name} is on or off")
        field, inverted = _SWITCHES[name]
        chosen[field] = _VALUES[value] != inverted
    server = chosen.get("server", False)
    if chosen.get("wait") and not server:
        raise OptionError(f"'{spec}' would wait for a connection, which only a server does: add server")
    # As in QEMU, a server waits for its first client unless told otherwise.
    return spec._replace(
        server=server, wait=server and chosen.get("wait", True), nodelay=chosen.get("nodelay", False)
    )


def _announce(message: str) -> None:
    print(f"dbgemu: {message}", file=sys.stderr, flush=True)


def open_chardev(
    spec: ChardevSpec | str,
    io: IoThread,
    *,
    nographic: bool = False,
    label: str = "serial",
    announce: Callable[[str], None] = _announce,
) -> Chardev:
    """Open the back end; raises :class:`OptionError` when that fails.

    ``nographic``: on plain stdio, too, Ctrl-A is the escape key and Ctrl-C goes to the guest.
    ``announce`` gets a sentence about where a pty or a server is to be found, with ``label``. Blocks
    until a client has connected for a server that waits.
    """
    if isinstance(spec, str):
        spec = parse_chardev(spec)
    try:
        backend = _open(spec, io, nographic, label, announce)
    except OptionError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        reason = str(error)
        if isinstance(error, OSError) and error.strerror:
            # Some functions add the address to the text of the error number; a resolver has no number.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise OptionError(f"'{spec}' cannot be opened: {reason}") from error
    if spec.mux or (spec.kind == "stdio" and nographic):
        from dbgemu.host.multiplexer import Multiplexer

        return Multiplexer(backend, io, with_monitor=spec.mux)
    return backend


def _open(
    spec: ChardevSpec, io: IoThread, nographic: bool, label: str, announce: Callable[[str], None]
) -> Chardev:
    match spec.kind:
        case "stdio":
            from dbgemu.host.stdio import StdioChardev

            return StdioChardev(io, signals=not (spec.mux or nographic))
        case "pty":
            from dbgemu.host.files import PtyChardev

            pty = PtyChardev(io)
            announce(f"{label} is redirected to {pty.description}")
            return pty
        case "file":
            from dbgemu.host.files import FileChardev

            return FileChardev(spec.path, io)
        case "tcp" | "telnet" | "unix":
            from dbgemu.host.sockets import LOOPBACK, SocketChardev

            described = f"unix:{spec.path}" if spec.kind == "unix" else f"{spec.kind}:{spec.host}:{spec.port}"
            link = SocketChardev(described, io, nodelay=spec.nodelay, speaks_telnet=spec.kind == "telnet")
            address = spec.path if spec.kind == "unix" else (spec.host or LOOPBACK, spec.port)
            _connect(spec, link, address, label, announce)
            return link
    return Chardev(spec.kind)


def _connect(
    spec: ChardevSpec,
    link: SocketChardev,
    address: str | tuple[str, int],
    label: str,
    announce: Callable[[str], None],
) -> None:
    try:
        if not spec.server:
            link.connect(address)
            return
        link.listen(address)
        if not spec.wait and not spec.port and spec.kind != "unix":
            announce(f"{label} listens on {link.description}")
        link.serve(wait=spec.wait, announce=announce)
    except BaseException:
        link.close()
        raise
