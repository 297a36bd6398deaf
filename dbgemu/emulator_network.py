"""The board's network, put together from the options: the hub, what is on it, and what commands do to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from dbgemu.debug.session import DebugSession
from dbgemu.errors import OptionError
from dbgemu.host.iothread import IoThread
from dbgemu.host.net.backend import NetBackend
from dbgemu.host.net.hub import NetHub
from dbgemu.host.net.user import UserNetwork
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.services import NetworkEnd
from dbgemu.option_net import NetPlan, NetSpec, forward, forward_end, user_settings

#: what commands call the board's own end
CARD = "dm9000"


def _user(name: str, io: IoThread | None, values: Any) -> NetBackend:
    return UserNetwork(name, user_settings(values))


# What only some networks need is imported by them.


def _tap(name: str, io: IoThread | None, values: Any) -> NetBackend:
    from dbgemu.host.net.tap import TapNetwork

    assert io is not None
    return TapNetwork(name, io, interface=values.get("ifname", ""), fd=values.get("fd"))


def _socket(name: str, io: IoThread | None, values: Any) -> NetBackend:
    from dbgemu.host.net.datagram import MulticastNetwork, UdpNetwork
    from dbgemu.host.net.stream import StreamNetwork
    from dbgemu.option_net import place

    assert io is not None
    for key in ("listen", "connect"):
        if key in values:
            host, port = values[key]
            return StreamNetwork(name, io, listen=key == "listen", host=host, port=port)
    if "udp" in values:
        return UdpNetwork(name, io, here=place(values["localaddr"]), there=values["udp"])
    group, port = values["mcast"]
    return MulticastNetwork(name, io, group=group, port=port, interface=values.get("localaddr", ""))


_MAKERS: dict[str, Callable[[str, IoThread | None, Any], NetBackend]] = {
    "user": _user,
    "tap": _tap,
    "socket": _socket,
}


class EmulatorNetwork:
    """Raises OptionError while it is made. ``start``: the moment of virtual time 0, for captures.

    Without ``io`` there can only be user networks.
    """

    def __init__(self, plan: NetPlan, session: DebugSession, io: IoThread | None, *, start: int) -> None:
        self._session = session
        self._chip = session.machine.board.dm9000
        self._resources = ExitStack()
        self.hub = NetHub(self._chip.port, session.machine.post)
        if not plan.plugged:
            self._chip.port.set_link(False)
        try:
            for spec in plan.backends:
                backend = _MAKERS[spec.kind](self._name(spec), io, spec.values)
                self._resources.callback(backend.close)
                self.hub.add(backend)
            for spec in plan.captures:
                self._capture(spec, start)
        except OptionError as error:
            self.close()
            raise OptionError(f"-{spec.option}: {error}") from None

    def close(self) -> None:
        """Give everything back."""
        self._resources.close()

    def _name(self, spec: NetSpec) -> str:
        taken = [backend.name for backend in self.hub.backends]
        number = sum(name.startswith(f"{spec.kind}.") for name in taken)
        return spec.id or f"{spec.kind}.{number}"

    def _capture(self, spec: NetSpec, start: int) -> None:
        from dbgemu.host.net.capture import Capture

        longest = spec.values.get("len") or spec.values.get("maxlen") or 65536
        clock = self._session.machine.board.clock
        capture = Capture(spec.values["file"], lambda: clock.now, start=start, longest=longest)
        self._resources.callback(capture.close)
        self.hub.watchers.append(capture.take)

    # -- commands: see NetworkServices ---------------------------------------------------------------

    def ends(self) -> Sequence[NetworkEnd]:
        """What the board's chip is on a network with."""

        def look() -> list[NetworkEnd]:
            return [
                NetworkEnd(each.name, each.description, each.link, each.received, each.sent)
                for each in self.hub.backends
            ]

        return self._session.call(look)

    def set_link(self, name: str, up: bool) -> None:
        """Plug an end in, or pull it out."""
        if name == CARD:
            self._session.call(lambda: self._chip.port.set_link(up))
            return
        found = next((backend for backend in self.hub.backends if backend.name == name), None)
        if found is None:
            names = ", ".join((CARD, *(backend.name for backend in self.hub.backends)))
            raise CommandError(f"nothing on the network is called '{name}': there is {names}")
        self._session.call(lambda: setattr(found, "link", up))

    def add_forward(self, network: str | None, rule: str) -> str:
        """Let a port of the host lead into the guest; what is forwarded then."""
        try:
            wanted, user = forward(rule), self._user(network)
            self._session.call(lambda: user.add_forward(wanted))
        except OptionError as error:
            raise CommandError(str(error)) from None
        return str(wanted)

    def remove_forward(self, network: str | None, rule: str) -> str:
        """Let it lead there no more."""
        try:
            udp, host, port = forward_end(rule)
        except OptionError as error:
            raise CommandError(str(error)) from None
        end = f"{'udp' if udp else 'tcp'}:{host}:{port}"
        user = self._user(network)
        if not self._session.call(lambda: user.remove_forward(udp=udp, host=host, host_port=port)):
            raise CommandError(f"nothing is forwarded from {end}: info network shows what is")
        return end

    def connections(self) -> Sequence[tuple[str, str]]:
        """Each user network's name, and its connections as text."""
        return self._session.call(lambda: [(each.name, each.connections()) for each in self._users()])

    def _users(self) -> list[UserNetwork]:
        return [backend for backend in self.hub.backends if isinstance(backend, UserNetwork)]

    def _user(self, name: str | None) -> UserNetwork:
        for backend in self._users():
            if name in (None, backend.name):
                return backend
        raise CommandError(
            f"there is no user network '{name}'" if name else "there is no user network (-net user)"
        )
