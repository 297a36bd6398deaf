"""CMSIS-SVD from the register declarations: what debuggers and code generators of other tools read.

CMSIS-SVD 1.3.9 (Arm, "System View Description"). Names become C identifiers where they are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

from dbgemu.debug.device_state import bases
from dbgemu.target.device import Device
from dbgemu.target.mini2440 import Mini2440
from dbgemu.target.registers import Field, Register

_ACCESS = {"rw": "read-write", "ro": "read-only", "wo": "write-only"}
_SCHEMA = "CMSIS-SVD.xsd"
_NAMESPACE = "http://www.w3.org/2001/XMLSchema-instance"
_SIZES = (8, 16, 32)


def export(board: Mini2440) -> str:
    """The document. Devices that are not on the bus, or have no registers, are not in it."""
    root = ElementTree.Element(
        "device",
        {
            "schemaVersion": "1.3",
            "xmlns:xs": _NAMESPACE,
            "xs:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    for tag, text in (
        ("vendor", "Samsung"),
        ("name", "S3C2440A"),
        ("version", "1.0"),
        ("description", "Samsung S3C2440A (ARM920T) on a mini2440 board"),
        ("addressUnitBits", "8"),
        ("width", "32"),
        ("size", "32"),
        ("access", "read-write"),
        ("resetValue", "0x00000000"),
        ("resetMask", "0xFFFFFFFF"),
    ):
        _add(root, tag, text)
    peripherals = ElementTree.SubElement(root, "peripherals")
    first_of: dict[type[Device], str] = {}
    for device in board.devices.values():
        where = bases(board.bus, device)
        if where and device.registers:
            _add_peripheral(peripherals, device, where[0], first_of.get(type(device)))
            first_of.setdefault(type(device), device.name)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text


def _add_peripheral(parent: ElementTree.Element, device: Device, base: int, model: str | None) -> None:
    element = ElementTree.SubElement(parent, "peripheral", {"derivedFrom": _name(model)} if model else {})
    _add(element, "name", _name(device.name))
    _add(element, "description", device.title)
    _add(element, "baseAddress", f"0x{base:08X}")
    if model:
        return
    block = ElementTree.SubElement(element, "addressBlock")
    registers = list(device.registers.values())
    start = registers[0].offset & ~3
    end = max(register.offset + _size(register) // 8 for register in registers)
    for tag, value in (("offset", start), ("size", (end - start + 3) & ~3)):
        _add(block, tag, f"0x{value:X}")
    _add(block, "usage", "registers")
    group = ElementTree.SubElement(element, "registers")
    for register in registers:
        _add_register(group, register)


def _size(register: Register) -> int:
    """Bits: the smallest access that has room for the register."""
    return next(size for size in _SIZES if size >= register.width)


def _add_register(parent: ElementTree.Element, register: Register) -> None:
    element = ElementTree.SubElement(parent, "register")
    for tag, text in (
        ("name", _name(register.name)),
        ("description", register.doc),
        ("addressOffset", f"0x{register.offset:X}"),
        ("size", str(_size(register))),
        ("access", _ACCESS[register.access]),
        ("resetValue", f"0x{register.reset:X}"),
        ("resetMask", f"0x{register.mask:X}"),
    ):
        _add(element, tag, text)
    fields = [field for field in register.fields if field.high < register.width]
    if fields:
        group = ElementTree.SubElement(element, "fields")
        for field in sorted(fields, key=lambda field: field.low):
            _add_field(group, field)


def _add_field(parent: ElementTree.Element, field: Field) -> None:
    element = ElementTree.SubElement(parent, "field")
    _add(element, "name", _name(field.name))
    if field.doc:
        _add(element, "description", field.doc)
    _add(element, "bitOffset", str(field.low))
    _add(element, "bitWidth", str(field.high - field.low + 1))
    if field.values:
        group = ElementTree.SubElement(element, "enumeratedValues")
        for name, value, meaning in _enumeration(field.values.items()):
            entry = ElementTree.SubElement(group, "enumeratedValue")
            _add(entry, "name", name)
            _add(entry, "description", meaning)
            _add(entry, "value", str(value))


def _enumeration(values: Iterable[tuple[int, str]]) -> Iterator[tuple[str, int, str]]:
    """(name, value, meaning), every name only once."""
    used: set[str] = set()
    for value, meaning in sorted(values):
        name = _name(meaning)
        if name in used:
            name = f"{name}_{value}"
        used.add(name)
        yield name, value, meaning


def _name(text: str) -> str:
    """``text`` as a C identifier."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return name if name and not name[0].isdigit() else f"_{name}"
