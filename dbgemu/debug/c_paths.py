"""Variables and what they lead to, as C has it: ``file->f_path.dentry``, ``*desc``, ``table[3].name``."""

from __future__ import annotations

import re
from typing import Any

from dbgemu.debug.c_types import (
    POINTERS,
    declaration,
    dimensions,
    member_data,
    name_of,
    number_of,
    plain,
    size_of,
    type_of,
)
from dbgemu.debug.variables import Function
from dbgemu.errors import Error

_PATH = re.compile(r"\s*(?P<stars>(?:\*\s*)*)(?P<name>\w+)(?P<steps>.*)", re.DOTALL)
_STEP = re.compile(r"\s*(?:(?P<how>->|\.)\s*(?P<member>\w+)|\[\s*(?P<place>0[xX][0-9a-fA-F]+|\d+)\s*\])\s*")


class PathError(Error):
    """A path that leads nowhere; ``str()`` is one clear sentence."""


def follow(function: Function, path: str) -> tuple[str, str]:
    """The type and the value of ``path`` in a function. PathError, NoValueError, MEMORY_ERRORS."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise PathError(f"'{path.strip()}' is no variable: write name, *name, name->member or name[3].member")
    steps, place = [], 0
    while place < len(match["steps"].rstrip()):
        step = _STEP.match(match["steps"], place)
        if step is None:
            raise PathError(f"'{match['steps'][place:].strip()}' is not expected in '{path.strip()}'")
        steps.append(step)
        place = step.end()
    die = function.find_variable(match["name"])
    if die is None:
        raise PathError(f"there is no variable '{match['name']}' here")
    kind = type_of(die) or type_of(die.get_DIE_from_attribute("DW_AT_abstract_origin"))
    data = function.data(die, size_of(kind))
    shown = match["name"]
    for step in steps:
        if step["place"] is not None:
            kind, data = _element(function, kind, data, int(step["place"], 0), shown)
        else:
            whole = shown
            if step["how"] == "->":
                kind, data = _target(function, kind, data, shown)
                whole = f"*{shown}"
            kind, data = _member(kind, data, step["member"], whole)
        shown += step[0].strip()
    for _ in range(match["stars"].count("*")):
        kind, data = _target(function, kind, data, shown)
        shown = f"*{shown}"
    return declaration(kind), function.values.show(kind, data)


def _target(function: Function, kind: Any, data: bytes, shown: str) -> tuple[Any, bytes]:
    kind = plain(kind)
    if kind is None or kind.tag not in POINTERS:
        raise PathError(f"{shown} is no pointer")
    target = type_of(kind)
    if not size_of(target):
        raise PathError(f"what {shown} points to has no known size")
    return target, function.memory(int.from_bytes(data[:4], "little"), size_of(target))


def _element(function: Function, kind: Any, data: bytes, place: int, shown: str) -> tuple[Any, bytes]:
    plain_kind = plain(kind)
    if plain_kind is not None and plain_kind.tag in POINTERS:
        target = type_of(plain_kind)
        size = size_of(target)
        if not size:
            raise PathError(f"what {shown} points to has no known size")
        return target, function.memory(int.from_bytes(data[:4], "little") + place * size, size)
    if plain_kind is None or plain_kind.tag != "DW_TAG_array_type" or len(dimensions(plain_kind)) != 1:
        raise PathError(f"{shown} is no array of one dimension")
    element = type_of(plain_kind)
    size = size_of(element)
    if (place + 1) * size > len(data):
        raise PathError(f"{shown} has {len(data) // size if size else 0} elements, from 0 on")
    return element, data[place * size : (place + 1) * size]


def _member(kind: Any, data: bytes, name: str, shown: str) -> tuple[Any, bytes]:
    found = _find_member(plain(kind), data, name)
    if found is None:
        raise PathError(f"{shown}, which is '{declaration(kind)}', has no member '{name}'")
    return found


def _find_member(kind: Any, data: bytes, name: str) -> tuple[Any, bytes] | None:
    """The member called ``name``; those of members without a name count as its own."""
    if kind is None or kind.tag not in ("DW_TAG_structure_type", "DW_TAG_union_type", "DW_TAG_class_type"):
        return None
    for member in kind.iter_children():
        if member.tag != "DW_TAG_member":
            continue
        if name_of(member) == name:
            return type_of(member), member_data(member, data)
        if not name_of(member):
            offset = number_of(member, "DW_AT_data_member_location") or 0
            inner = _find_member(plain(type_of(member)), data[offset:], name)
            if inner is not None:
                return inner
    return None
