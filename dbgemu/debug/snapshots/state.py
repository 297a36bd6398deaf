"""The machine's state in sections, and back: all of it is looked at before anything is changed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbgemu.debug.snapshots import media, pages
from dbgemu.debug.snapshots.codec import decode, encode
from dbgemu.debug.snapshots.container import Snapshot, SnapshotError

if TYPE_CHECKING:
    from dbgemu.machine import Machine
    from dbgemu.target.block import BlockMedium
    from dbgemu.target.mini2440 import Mini2440

#: what has to be the same where a snapshot is loaded, and how a sentence calls it
_MUST_MATCH = {
    "machine": "machine",
    "memory": "SDRAM size (-m)",
    "nand": "NAND chip (-nand)",
    "boot_switch": "boot switch",
}


def describe(board: Mini2440) -> dict[str, Any]:
    """What a machine must be to take up a snapshot, and what it booted from."""
    return {
        "machine": "mini2440",
        "memory": board.sdram.size,
        "nand": board.nand_chip.part.name,
        "boot_switch": board.boot_switch.value,
        "booted": _fingerprint(board),
    }


def _fingerprint(board: Mini2440) -> str:
    plan = board.boot_plan
    if plan is None:
        return "flash"
    digest = hashlib.sha256()
    for load in plan.loads:
        digest.update(load.address.to_bytes(4, "little") + load.data)
    return digest.hexdigest()


def capture(machine: Machine) -> tuple[dict[str, bytes], list[str]]:
    """All of the machine's state, in sections, and what is worth telling of it.

    Where the machine's state may be used.
    """
    board = machine.board
    blocks = media.capture(board)
    sections = {
        "state": encode(machine.save()),
        "sdram": pages.pack(board.sdram),
        "sram": pages.pack(board.sram),
        "nor": bytes(board.nor.memory.data),
        "nand": encode(board.nand_chip.cells.used()),
    }
    if blocks:
        sections["media"] = encode(media.plain(blocks))
    return sections, media.remarks(board, blocks)


@dataclass(frozen=True)
class Decoded:
    """A snapshot whose every part has been found to fit."""

    state: Mapping[str, Any]
    sdram: list[pages.Run]
    sram: list[pages.Run]
    nor: bytes
    nand: Mapping[int, bytes]
    media: Mapping[str, media.Saved]


def check(machine: Machine, snapshot: Snapshot, name: str) -> Decoded:
    """The parts of ``snapshot``, if the machine can take them up; else SnapshotError."""
    board, header, sections = machine.board, snapshot.header, snapshot.sections
    here = describe(board)
    for key, what in _MUST_MATCH.items():
        there = header.get(key)
        if there != here[key]:
            raise SnapshotError(
                f"'{name}' is of another machine: its {what} is {there}, here it is {here[key]}"
            )
    try:
        state, nand = decode(sections["state"]), decode(sections["nand"])
        sdram = pages.unpack(sections["sdram"], board.sdram.size)
        sram = pages.unpack(sections["sram"], board.sram.size)
        nor = sections["nor"]
        blocks = media.decoded(decode(sections["media"])) if "media" in sections else {}
    except KeyError as error:
        raise SnapshotError(f"'{name}' is damaged: it has no section {error}") from None
    except ValueError as error:
        raise SnapshotError(f"'{name}' is damaged: {error}") from None
    if len(nor) != board.nor.memory.size:
        raise SnapshotError(f"'{name}' is damaged: its NOR contents have another size than the chip")
    cells = board.nand_chip.cells
    if not isinstance(nand, dict) or not all(
        isinstance(page, int)
        and 0 <= page < cells.pages
        and isinstance(data, bytes)
        and len(data) == cells.page_size
        for page, data in nand.items()
    ):
        raise SnapshotError(f"'{name}' is damaged: its NAND contents are not pages of the chip")
    difference = _difference(state, machine.save())
    if difference is not None:
        raise SnapshotError(
            f"'{name}' was saved by dbgemu {header.get('emulator')}, whose machine differs in {difference}"
        )
    return Decoded(state, sdram, sram, nor, nand, blocks)


def _difference(saved: Any, present: Any, where: str = "state") -> str | None:
    """Where two states have not the same parts; None when they have."""
    if isinstance(present, dict) and all(isinstance(key, str) for key in present):
        if not isinstance(saved, dict) or saved.keys() != present.keys():
            return where
        found = (_difference(saved[key], present[key], f"{where}.{key}") for key in present)
        return next((place for place in found if place is not None), None)
    if isinstance(present, bytes) and where.startswith("state.cpu."):
        # goes into native memory as it is
        return None if isinstance(saved, bytes) and len(saved) == len(present) else where
    if where == "state.cpu.r":
        return None if isinstance(saved, list) and len(saved) == len(present) else where
    return None


def restore(
    machine: Machine,
    decoded: Decoded,
    name: str,
    *,
    force: bool,
    related: Collection[BlockMedium] | None = None,
) -> list[str]:
    """Put the machine into a state that :func:`check` found to fit; what is worth telling of it.

    SnapshotError where it cannot be: then the machine is as it was. Without ``force`` also where an image
    file would be changed by it that holds something else now, unless this process has saved or loaded that
    state before: then ``related`` are the media that were in the board at that time.
    """
    board = machine.board
    cells, nor, eeprom = board.nand_chip.cells, board.nor, board.eeprom
    flash_pages, pieces = cells.differing(decoded.nand), nor.differing(decoded.nor)
    eeprom_differs = decoded.state["board"]["devices"][eeprom.name]["contents"] != eeprom.contents
    for what, differing, written in (
        ("NAND flash", bool(flash_pages), cells.writes_image),
        ("NOR flash", bool(pieces), nor.writes_image),
        ("EEPROM", eeprom_differs, eeprom.writes_image),
    ):
        if differing and written and not force and related is None:
            raise SnapshotError(
                f"the {what}'s image has changed since '{name}' was saved: "
                f"'loadvm {name} force' puts back what it held, in the file too"
            )
    blocks = media.compare(board, decoded.media, name, force=force, ours=related or ())
    before = machine.save()
    flash_before = {page: cells.read(page) for page in flash_pages}, bytes(nor.memory.data)
    try:
        machine.load(decoded.state)
        for page in flash_pages:
            cells.write(page, decoded.nand.get(page, cells.erased))
        nor.hold(decoded.nor)
        blocks.do()
    except Exception as error:  # whatever a state of the right form but with wrong values leads to
        for page, data in flash_before[0].items():
            cells.write(page, data)
        nor.hold(flash_before[1])
        machine.load(before)
        blocks.undo()
        raise SnapshotError(f"'{name}' cannot be loaded: {error!r}") from error
    pages.restore(board.sdram, decoded.sdram)
    pages.restore(board.sram, decoded.sram)
    board.bus.memory_replaced()
    notes = []
    if flash_pages:
        notes.append(f"{len(flash_pages)} pages of NAND flash were put back")
    if pieces:
        notes.append(f"{len(pieces)} pieces of 4 KiB of NOR flash were put back")
    return notes + blocks.notes
