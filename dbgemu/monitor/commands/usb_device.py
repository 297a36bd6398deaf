"""Commands about the board's USB device socket: its cable, and what the host sees at the other end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dbgemu.monitor.command import Argument, Command, CommandError, Report
from dbgemu.monitor.context import Context


def _usb_cable(context: Context, arguments: Sequence[str]) -> str:
    cable = context.session.machine.board.usb_cable
    actions = {"plug": cable.plug, "unplug": cable.unplug}
    if arguments[0] not in actions:
        raise CommandError(f"'{arguments[0]}' is not something to do with a cable: plug or unplug")
    context.session.call(actions[arguments[0]])
    return ""


def _info_usb_device(context: Context, arguments: Sequence[str]) -> Report:
    board = context.session.machine.board

    def look() -> tuple[str, dict[str, Any]]:
        host, device = board.usb_cable, board.usb_device
        sections = {"host": list(host.facts()), "controller": list(device.facts())}
        lines = []
        for title, facts in sections.items():
            lines.append(f"{title}:")
            lines += [f"  {fact.name}: {fact}" for fact in facts]
        data: dict[str, Any] = {
            title: {fact.name: fact.value for fact in facts} for title, facts in sections.items()
        }
        data["descriptors"] = {
            "device": host.view.device.hex(),
            "configurations": [item.hex() for item in host.view.configurations],
        }
        return "\n".join(lines), data

    return Report(*context.session.call(look))


COMMANDS = (
    Command(
        "usb_cable",
        _usb_cable,
        "put a cable from a host into the USB device socket, or pull it out",
        (Argument("action", choices=("plug", "unplug")),),
        group="board",
        details="The host resets the bus, reads the descriptors and sets a configuration, as a PC does.",
    ),
    Command(
        "info usb_device",
        _info_usb_device,
        "show the USB device socket: what the host sees, and the controller's endpoints",
        group="board",
    ),
)
