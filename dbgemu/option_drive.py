"""The options about media and what is plugged in: -drive, -sd, -usbdevice, -device.

Keys and values are QEMU's. A drive is an image file; ``if`` says where it goes: the card slot, a flash chip,
or nowhere yet, for a device that names it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from dbgemu.errors import OptionError

INTERFACES = ("sd", "mtd", "pflash", "none")
CARDS = ("sd", "mmc")

#: driver of -device -> names that -usbdevice and usb_add have for it
USB_DEVICES = {"usb-storage": "disk", "usb-kbd": "keyboard", "usb-mouse": "mouse", "usb-tablet": "tablet"}

#: keys of QEMU's that change nothing here
_WITHOUT_EFFECT = {"cache", "aio", "media", "werror", "rerror", "discard", "detect-zeroes", "index", "bus"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


class Drive(NamedTuple):
    """An image file and where it goes. ``card``: what an image in the slot is."""

    file: Path
    interface: str = "sd"
    id: str = ""
    format: str | None = None
    read_only: bool = False
    snapshot: bool = False
    card: str = "sd"


class PluggedDevice(NamedTuple):
    """Something on the USB. ``drive`` is a disk's, or the name of one; ``port`` 1 or 2, else any."""

    driver: str
    id: str = ""
    drive: Drive | str | None = None
    port: int | None = None


def drive(argument: str) -> Drive:
    """``if=sd|mtd|pflash|none,file=...[,id=...][,format=raw][,readonly=on][,snapshot=on][,card=mmc]``."""
    found: dict[str, Any] = {}
    for key, text in _pairs(argument, "file"):
        if key in _WITHOUT_EFFECT:
            continue
        field, convert = _choose(key, _DRIVE_KEYS, _WITHOUT_EFFECT)
        found[field] = convert(text)
    if "file" not in found:
        raise OptionError(f"'{argument}' names no image: add file=FILE")
    made = Drive(**found)
    if made.interface == "none" and not made.id:
        raise OptionError("a drive with if=none needs a name that a device can give: add id=NAME")
    return made


def sd_image(argument: str) -> Drive:
    """The image of an SD card."""
    return Drive(_image(argument))


def usb_device(argument: str) -> PluggedDevice:
    """``disk:FILE`` (or ``disk::FILE``, ``disk:format=raw:FILE``), ``keyboard``, ``mouse``, ``tablet``."""
    kind, _, rest = argument.partition(":")
    if kind == "disk":
        options, _, file = rest.rpartition(":") if _has_options(rest) else ("", "", rest)
        if not file:
            raise OptionError("a disk needs an image: write disk:FILE")
        found = dict(_pairs(options, "format")) if options else {}
        unknown = next((key for key in found if key != "format"), None)
        if unknown is not None:
            raise OptionError(f"a disk has no '{unknown}': write disk:FILE or disk:format=raw:FILE")
        form = _format(found["format"]) if "format" in found else None
        return PluggedDevice("usb-storage", drive=Drive(_image(file), "none", format=form))
    for driver, name in USB_DEVICES.items():
        if argument == name != "disk":
            return PluggedDevice(driver)
    names = ("disk:FILE", *(name for name in USB_DEVICES.values() if name != "disk"))
    near = get_close_matches(kind, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names)}"
    raise OptionError(f"'{argument}' is not a USB device that can be plugged in: {hint}")


def _has_options(text: str) -> bool:
    """Whether options stand before the file: none (``:FILE``), or some (``format=raw:FILE``)."""
    return text.startswith(":") or re.match(r"[a-z]+=[^/:]*:", text) is not None


def device(argument: str) -> PluggedDevice:
    """``usb-storage,drive=ID``, ``usb-kbd``, ``usb-mouse`` or ``usb-tablet``; with ``id=``, ``port=``."""
    name, _, rest = argument.partition(",")
    name = name.removeprefix("driver=")
    if name not in USB_DEVICES:
        near = get_close_matches(name, USB_DEVICES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(USB_DEVICES)}"
        raise OptionError(f"'{name}' is not a device that can be plugged in: {hint}")
    made = PluggedDevice(name)
    for key, text in _pairs(rest, "") if rest else ():
        if key in ("bus", "serial", "removable", "bootindex"):
            continue
        if key == "drive" and name != "usb-storage":
            raise OptionError(f"a {name} has no drive")
        field, convert = _choose(key, _DEVICE_KEYS, ())
        made = made._replace(**{field: convert(text)})
    if name == "usb-storage" and made.drive is None:
        raise OptionError("usb-storage needs an image: add drive=ID, and -drive if=none,id=ID,file=FILE")
    return made


def place(found: dict[str, Any]) -> None:
    """Put drives of flash chips where their own options put them; OptionError for what does not fit."""
    drives: tuple[Drive, ...] = found.get("drives", ())
    for interface, field, option in (("mtd", "mtdblock", "-mtdblock"), ("pflash", "pflash", "-pflash")):
        images = [item for item in drives if item.interface == interface]
        if images and (len(images) > 1 or found.get(field) is not None):
            raise OptionError(f"there is one {interface} chip, and more than one image for it ({option})")
        for image in images:
            if image.read_only or image.format not in (None, "raw"):
                raise OptionError(
                    f"-drive: a flash chip's image is raw and is written to, so '{image.file}' does not fit: "
                    "-snapshot leaves a file as it is"
                )
            found[field] = image.file
            if image.snapshot:
                found["snapshot"] = True
    if sum(item.interface == "sd" for item in drives) > 1:
        raise OptionError("the board has one card slot, and more than one image for it (-sd, -drive if=sd)")
    _check_names(drives, found.get("usb_devices", ()))


def _check_names(drives: Sequence[Drive], devices: Sequence[PluggedDevice]) -> None:
    for kind, names in (("drives", drives), ("devices", devices)):
        given = sorted(item.id for item in names if item.id)
        twice = next((a for a, b in itertools.pairwise(given) if a == b), None)
        if twice is not None:
            raise OptionError(f"two {kind} are called '{twice}'")
    free = {item.id for item in drives if item.interface == "none"}
    used: set[str] = set()
    for item in devices:
        if isinstance(item.drive, str):
            if item.drive not in free:
                raise OptionError(
                    f"-device: there is no drive '{item.drive}': add -drive if=none,id={item.drive},file=FILE"
                )
            if item.drive in used:
                raise OptionError(f"-device: the drive '{item.drive}' is in two devices")
            used.add(item.drive)
    if len(devices) > 2:
        raise OptionError(f"{len(devices)} USB devices are given, but the board has 2 ports")


# -- parts -----------------------------------------------------------------------------------------


def _pairs(argument: str, first: str) -> Iterable[tuple[str, str]]:
    """Keys and values, with QEMU's comma that is doubled; the first key may be left out."""
    for part in re.split(r"(?<!,),(?!,)", argument):
        key, equals, text = part.replace(",,", ",").partition("=")
        if not equals and first:
            key, text = first, key
        elif not equals:
            raise OptionError(f"'{part}' is not understood: write key=value")
        first = ""
        yield key, text


def _choose(
    key: str, keys: dict[str, tuple[str, Callable[[str], Any]]], others: Iterable[str]
) -> tuple[str, Callable[[str], Any]]:
    if key not in keys:
        near = get_close_matches(key, [*keys, *others], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(keys)}"
        raise OptionError(f"'{key}' is not understood: {hint}")
    return keys[key]


def _one_of(names: Sequence[str], what: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in names:
            raise OptionError(f"'{text}' is not {what}: there is {', '.join(names)}")
        return text

    return convert


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise OptionError(f"'{text}' is neither on nor off")
    return text == "on"


def _image(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise OptionError(f"there is no file '{text}'")
    return path


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise OptionError(f"'{text}' is not a name: write a letter, then letters, digits, '.', '-', '_'")
    return text


def _port(text: str) -> int:
    if text not in ("1", "2"):
        raise OptionError(f"there is no USB port '{text}': the board has 1 and 2")
    return int(text)


def _format(text: str) -> str:
    formats = ("raw", "qcow2", "vdi", "vmdk", "vpc", "vhdx", "qed")
    return _one_of(formats, "an image format that can be read")(text)


_DRIVE_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "if": ("interface", _one_of(INTERFACES, "a place for a drive on this board")),
    "file": ("file", _image),
    "id": ("id", _name),
    "format": ("format", _format),
    "readonly": ("read_only", _switch),
    "read-only": ("read_only", _switch),
    "snapshot": ("snapshot", _switch),
    "card": ("card", _one_of(CARDS, "a card for the slot")),
}
_DEVICE_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "id": ("id", _name),
    "drive": ("drive", _name),
    "port": ("port", _port),
}
