"""Commands about the board's network: what is on it, links, ports of the host that lead into the guest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dbgemu.monitor.command import Argument, Command, CommandError, Report
from dbgemu.monitor.context import Context

_LINKS = {"on": True, "off": False}


def _info_network(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    chip = session.machine.board.dm9000

    def look() -> dict[str, Any]:
        phy = chip.mac.phy
        return {
            "name": chip.name,
            "address": ":".join(f"{byte:02x}" for byte in chip.address),
            "cable": phy.cable,
            "powered": phy.powered,
            "link": phy.link,
        }

    ends = context.services.network.ends()
    data = session.call(look)
    link = "link is up" if data["link"] else "link is down" if data["powered"] else "PHY is switched off"
    cable = "cable plugged in" if data["cable"] else "no cable"
    lines = [f"{data['name']}: address {data['address']}, {cable}, {link}"]
    for end in ends:
        state = "" if end.link else ", link off"
        lines.append(f"  {end.name}: {end.where}{state}; {end.received} frames from it, {end.sent} to it")
    if not ends:
        lines.append("  nobody else is on the network")
    return Report("\n".join(lines), {**data, "ends": [end._asdict() for end in ends]})


def _info_usernet(context: Context, arguments: Sequence[str]) -> Report:
    networks = context.services.network.connections()
    text = "\n".join(f"{name}:\n{table.rstrip() or '  not in use'}" for name, table in networks)
    data = [{"name": name, "connections": table.splitlines()} for name, table in networks]
    return Report(text or "there is no user network (-net user)", data)


def _set_link(context: Context, arguments: Sequence[str]) -> str:
    name, state = arguments
    if state not in _LINKS:
        raise CommandError(f"'{state}' is not understood: a link is on or off")
    context.services.network.set_link(name, _LINKS[state])
    return ""


def _rule(arguments: Sequence[str]) -> tuple[str | None, str]:
    """The network's name, where it was given, and the rule."""
    return (arguments[0], arguments[1]) if len(arguments) == 2 else (None, arguments[0])


def _hostfwd_add(context: Context, arguments: Sequence[str]) -> Report:
    made = context.services.network.add_forward(*_rule(arguments))
    return Report(f"forwarded: {made}", {"rule": made})


def _hostfwd_remove(context: Context, arguments: Sequence[str]) -> Report:
    ended = context.services.network.remove_forward(*_rule(arguments))
    return Report(f"forwarded no more: {ended}", {"rule": ended})


_NETWORK = Argument("network or rule")

COMMANDS = (
    Command("info network", _info_network, "show what is on the network", group="host"),
    Command("info usernet", _info_usernet, "show the connections of user networks", group="host"),
    Command(
        "set_link",
        _set_link,
        "plug the network cable in or out",
        (Argument("name", choices=("dm9000",)), Argument("on|off", choices=("on", "off"))),
        group="host",
        details="dm9000 is the board's own end: the guest sees its link come and go. The names of the\n"
        "others are in 'info network': nothing passes them while they are off.",
    ),
    Command(
        "hostfwd_add",
        _hostfwd_add,
        "let a port of the host lead into the guest",
        (_NETWORK, Argument("rule", optional=True)),
        group="host",
        details="hostfwd_add tcp::2222-:22              from 127.0.0.1, port 2222\n"
        "hostfwd_add user.0 udp:0.0.0.0:69-:69  from anywhere, on the network of that name",
    ),
    Command(
        "hostfwd_remove",
        _hostfwd_remove,
        "let a port of the host lead there no more",
        (_NETWORK, Argument("rule", optional=True)),
        group="host",
        details="hostfwd_remove tcp::2222",
    ),
)
