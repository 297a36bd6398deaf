"""Commands about the USB: what is plugged in, plugging in and out, keys and movements for it."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from dbgemu.monitor.command import Argument, Command, CommandError, Report
from dbgemu.monitor.context import Context

if TYPE_CHECKING:
    from dbgemu.target.mini2440 import Mini2440
    from dbgemu.target.usb.hid import UsbKeyboard, UsbMouse, UsbTablet

#: the bits of the buttons, and the most that one movement can be
_BUTTONS, _MOST = 0x1F, 0x7FFF


def _info_usb(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    host = session.machine.board.usb_host

    def look() -> list[dict[str, Any]]:
        ports = []
        for number, device in enumerate(host.plugged, 1):
            register = host.registers[f"HcRhPortStatus{number}"]
            value = host.peeker(register)()
            port: dict[str, Any] = {
                "port": number,
                "powered": bool(value >> 8 & 1),
                "connected": bool(value & 1),
                "device": None,
            }
            if device is not None:
                port["device"] = {
                    "id": device.name,
                    "kind": device.kind,
                    "product": device.descriptors.product_name,
                    "address": device.address,
                    "speed": device.speed,
                    "configured": bool(device.configured),
                }
            ports.append(port)
        return ports

    ports = session.call(look)
    return Report("\n".join(map(_port_line, ports)), ports)


def _port_line(port: dict[str, Any]) -> str:
    power = "powered" if port["powered"] else "without power"
    device = port["device"]
    if device is None:
        return f"port {port['port']}: {power}, nothing is plugged in"
    where = f"address {device['address']}" if device["configured"] else "not set up by the guest"
    return (
        f"port {port['port']}: {power}, {device['product']} ({device['kind']}), ID: {device['id']}, "
        f"{device['speed']} Mb/s, {where}"
    )


def _usb_add(context: Context, arguments: Sequence[str]) -> Report:
    name = context.services.media.usb_add(arguments[0], old=True)
    return Report(f"plugged in as {name}", {"id": name})


def _device_add(context: Context, arguments: Sequence[str]) -> Report:
    name = context.services.media.usb_add(arguments[0], old=False)
    return Report(f"plugged in as {name}", {"id": name})


def _usb_del(context: Context, arguments: Sequence[str]) -> str:
    context.services.media.usb_remove(arguments[0])
    return ""


# -- keys and movements ------------------------------------------------------------------------


def keyboard(board: Mini2440) -> UsbKeyboard | None:
    """The keyboard that is plugged in."""
    from dbgemu.target.usb.hid import UsbKeyboard

    return next((item for item in board.usb_host.plugged if isinstance(item, UsbKeyboard)), None)


def pointer(board: Mini2440) -> UsbMouse | UsbTablet | None:
    """The mouse or tablet that is plugged in."""
    from dbgemu.target.usb.hid import UsbMouse, UsbTablet

    return next((item for item in board.usb_host.plugged if isinstance(item, UsbMouse | UsbTablet)), None)


def usages(names: Sequence[str]) -> list[int]:
    """The usages of keys by QEMU's names. Raises CommandError."""
    from dbgemu.target.usb.keys import KEYS

    for name in names:
        if name not in KEYS:
            near = get_close_matches(name, KEYS, n=1)
            hint = f": did you mean '{near[0]}'?" if near else ""
            raise CommandError(f"a keyboard has no key '{name}'{hint}")
    return [KEYS[name] for name in names]


def move_pointer(context: Context, words: Sequence[str]) -> bool:
    """Move the mouse by, or the tablet to; False where none is plugged in. Raises CommandError."""
    board = context.session.machine.board
    device = pointer(board)
    if device is None:
        return False
    numbers = [_number(word) for word in words]
    context.session.call(lambda: device.move(*numbers))
    return True


def press_buttons(context: Context, word: str) -> bool:
    """Press these buttons and release all others; False where no mouse or tablet is plugged in."""
    device = pointer(context.session.machine.board)
    if device is None:
        return False
    buttons = _number(word)
    if not 0 <= buttons <= _BUTTONS:
        raise CommandError(f"'{word}' are not buttons: 1 is left, 2 right, 4 middle, 8 and 16 the sides")
    context.session.call(lambda: device.set_buttons(buttons))
    return True


def _number(word: str) -> int:
    try:
        value = int(word, 0)
    except ValueError:
        raise CommandError(f"'{word}' is not a number") from None
    if not -_MOST <= value <= _MOST:
        raise CommandError(f"{word} is too far: -{_MOST} to {_MOST}")
    return value


_OLD = ("disk:", "keyboard", "mouse", "tablet")
_NEW = ("usb-storage,drive=", "usb-kbd", "usb-mouse", "usb-tablet")

COMMANDS = (
    Command("info usb", _info_usb, "show the USB host's ports and what is plugged in", group="board"),
    Command(
        "usb_add",
        _usb_add,
        "plug something into the USB",
        (Argument("device", choices=_OLD),),
        group="board",
        details="disk:FILE, keyboard, mouse or tablet, as for -usbdevice.",
    ),
    Command(
        "usb_del",
        _usb_del,
        "pull something out of the USB",
        (Argument("id"),),
        group="board",
        details="By its ID or its port; 'info usb' lists them.",
    ),
    Command(
        "device_add",
        _device_add,
        "plug something into the USB",
        (Argument("device", choices=_NEW),),
        group="board",
        details="usb-storage,drive=ID, usb-kbd, usb-mouse or usb-tablet, with id=NAME and port=1 or 2,\n"
        "as for -device. 'drive_add' makes a drive.",
    ),
    Command("device_del", _usb_del, "pull something out of the USB", (Argument("id"),), group="board"),
)
