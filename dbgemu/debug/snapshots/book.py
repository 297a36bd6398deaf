"""Snapshots by name: saved, loaded, deleted, listed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dbgemu import __version__
from dbgemu.debug.snapshots import container, media
from dbgemu.debug.snapshots.container import SnapshotError
from dbgemu.debug.snapshots.state import capture, check, describe, restore

if TYPE_CHECKING:
    from dbgemu.debug.events import FrontEnd
    from dbgemu.debug.session import DebugSession
    from dbgemu.target.block import BlockMedium

SUFFIX = ".dbgsnap"
_MAX_NAME = 200


class Entry(NamedTuple):
    """One snapshot of a list. Where it is damaged, ``problem`` says so and the rest is 0."""

    name: str
    size: int
    #: seconds since 1970
    saved_at: int = 0
    #: virtual time in ns
    time: int = 0
    instructions: int = 0
    pc: int = 0
    problem: str = ""
    #: what is worth telling of one that was just saved
    notes: tuple[str, ...] = ()


class Snapshots:
    """The snapshots that a session can save and load.

    A name without a slash is of a file in ``folder``; any other is a path. Raises SnapshotError.
    """

    def __init__(self, session: DebugSession, folder: Path) -> None:
        self._session = session
        self.folder = folder
        #: of those that this process saved or loaded the media that were there: what these and the flash
        #: images hold since comes from them
        self._related: dict[str, list[BlockMedium]] = {}

    def path(self, name: str) -> Path:
        """The file of the snapshot called ``name``."""
        if not name or "\0" in name or len(name) > _MAX_NAME:
            raise SnapshotError(f"a snapshot's name has 1 to {_MAX_NAME} characters")
        if "/" in name or name.endswith(SUFFIX):
            return Path(name).expanduser()
        return self.folder / f"{name}{SUFFIX}"

    def save(self, name: str = "") -> Entry:
        """Save the machine's state; an older snapshot of that name is replaced."""
        session = self._session
        saved_at = int(time.time())
        name = name or time.strftime("vm-%Y%m%d-%H%M%S", time.localtime(saved_at))
        path = self.path(name)
        if path.exists() and not container.is_snapshot(path):
            raise SnapshotError(f"'{path}' is not a snapshot, so it is not replaced")

        def take() -> tuple[dict[str, Any], list[BlockMedium], dict[str, bytes], list[str]]:
            return self._header(saved_at), self._media(), *capture(session.machine)

        header, here, sections, notes = session.call(take)
        size = container.write(path, header, sections)
        self._related[header["id"]] = here
        return _entry(name, size, header)._replace(notes=tuple(notes))

    def _media(self) -> list[BlockMedium]:
        return [medium.blocks for medium in media.present(self._session.machine.board).values()]

    def _header(self, saved_at: int) -> dict[str, Any]:
        machine = self._session.machine
        return {
            **describe(machine.board),
            "emulator": __version__,
            "id": os.urandom(16).hex(),
            "saved_at": saved_at,
            "time": machine.board.clock.now,
            "instructions": machine.cpu.instructions,
            "pc": machine.cpu.pc,
        }

    def load(self, name: str, *, force: bool = False, by: FrontEnd | None = None) -> list[str]:
        """Put the machine into a saved state; what is worth telling of it. It goes on if it ran.

        Where an image file that is written to holds something else than it did, only with ``force``, unless
        it was this process that changed it since.
        """
        session = self._session
        snapshot = container.read(self.path(name))
        identity = str(snapshot.header.get("id"))
        related = self._related.get(identity)

        def load() -> list[str]:
            decoded = check(session.machine, snapshot, name)
            notes = restore(session.machine, decoded, name, force=force, related=related)
            self._related[identity] = self._media()
            return notes

        notes = session.replace_state(load, by)
        if snapshot.header.get("booted") != describe(session.machine.board)["booted"]:
            notes.append("it was booted from something else: a reset boots what this command line says")
        return notes

    def delete(self, name: str) -> None:
        """Delete a snapshot; only what is one."""
        path = self.path(name)
        if not container.is_snapshot(path):
            raise SnapshotError(f"'{path}' is not a snapshot, so it is not deleted")
        try:
            path.unlink()
        except OSError as error:
            raise SnapshotError(f"'{path}' cannot be deleted: {error.strerror}") from None

    def entries(self) -> Iterator[Entry]:
        """The snapshots in the folder, the oldest first."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            name = path.name.removesuffix(SUFFIX)
            try:
                found.append(_entry(name, path.stat().st_size, container.read_header(path)))
            except (SnapshotError, OSError) as error:
                found.append(Entry(name, 0, problem=str(error)))
        return iter(sorted(found, key=lambda entry: (entry.saved_at, entry.name)))


def _entry(name: str, size: int, header: Any) -> Entry:
    def number(key: str) -> int:
        value = header.get(key)
        return value if isinstance(value, int) else 0

    return Entry(name, size, number("saved_at"), number("time"), number("instructions"), number("pc"))
