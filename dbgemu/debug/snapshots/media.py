"""What is on the card in the slot and on USB disks, as far as a snapshot holds it.

The contents of a medium are saved as those of flash chips are: all of them but the zeros, so that
they come back in any process. Of media that cannot be put back (read-only ones) or hold too much,
only a digest is saved, which tells whether they are still the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dbgemu.debug.snapshots.container import SnapshotError
from dbgemu.target.facts import size as size_text

if TYPE_CHECKING:
    from dbgemu.target.block import BlockMedium
    from dbgemu.target.mini2440 import Mini2440

#: bytes that are saved, compared and put back together
PIECE = 4096
#: of a medium with more bytes that are not zeros, only the digest is saved
MOST_SAVED = 512 << 20

_ZEROS = bytes(PIECE)
_AT_ONCE = 256 * PIECE


class Medium(NamedTuple):
    """A medium in the board; ``name`` is the monitor's, ``kind`` tells what else would be another one."""

    name: str
    kind: str
    blocks: BlockMedium


class Saved(NamedTuple):
    """A medium as it was: without ``contents`` only by its digest."""

    kind: str
    size: int
    digest: bytes
    #: pieces that are not all zeros, by number
    contents: Mapping[int, bytes] | None
    #: it was only to be read
    read_only: bool


@dataclass
class Restoration:
    """What is to be written where, and what is worth telling of it."""

    notes: list[str] = field(default_factory=list)
    _wanted: list[tuple[BlockMedium, Mapping[int, bytes]]] = field(default_factory=list)
    _before: list[tuple[BlockMedium, Mapping[int, bytes]]] = field(default_factory=list)

    def add(self, medium: Medium, pieces: Mapping[int, bytes]) -> None:
        """Put ``pieces`` onto ``medium``."""
        self._wanted.append((medium.blocks, pieces))
        self.notes.append(f"{len(pieces)} pieces of 4 KiB of '{medium.name}' were put back")

    def do(self) -> None:
        """Write."""
        for medium, pieces in self._wanted:
            self._before.append((medium, {number: _piece(medium, number) for number in pieces}))
            _write(medium, pieces)

    def undo(self) -> None:
        """Put back what was there before."""
        for medium, pieces in self._before:
            _write(medium, pieces)


def present(board: Mini2440) -> dict[str, Medium]:
    """The media in the board now, by where they are."""
    found = {}
    card = board.sd_slot.card
    if card is not None:
        found["sd"] = Medium(board.sd_slot.name, card.title, card.medium)
    plugged = [(port, device) for port, device in enumerate(board.usb_host.plugged, 1) if device is not None]
    if plugged:
        from dbgemu.target.usb.mass_storage import UsbStorage  # there already, or nothing of it is plugged in

        for port, device in plugged:
            if isinstance(device, UsbStorage):
                found[f"usb{port}"] = Medium(device.name, device.kind, device.medium)
    return found


def capture(board: Mini2440) -> dict[str, Saved]:
    """All media, by where they are."""
    return {place: _save(medium) for place, medium in present(board).items()}


def plain(saved: Mapping[str, Saved]) -> dict[str, Any]:
    """What :func:`capture` gave as plain data."""
    return {place: item._asdict() for place, item in saved.items()}


def remarks(board: Mini2440, saved: Mapping[str, Saved]) -> list[str]:
    """Which media that the guest may change are in ``saved``, of this moment, only by their digests."""
    return [
        f"'{medium.name}' holds more than {size_text(MOST_SAVED)}: it is not in the snapshot, "
        "which can only be loaded while it holds the same"
        for place, medium in present(board).items()
        if saved[place].contents is None and not saved[place].read_only
    ]


def _save(medium: Medium) -> Saved:
    blocks = medium.blocks
    digest = hashlib.blake2b(digest_size=32)
    contents: dict[int, bytes] | None = None if blocks.read_only else {}
    for number, data in _used(blocks):
        _digest(digest, number, data)
        if contents is not None:
            contents[number] = data
            if len(contents) * PIECE > MOST_SAVED:
                contents = None
    return Saved(medium.kind, blocks.size, digest.digest(), contents, blocks.read_only)


def decoded(data: Any) -> dict[str, Saved]:
    """What :func:`plain` was given. ValueError where it is nothing of that kind."""
    if not isinstance(data, dict):
        raise ValueError("its media cannot be understood")
    return {place: _saved(item) for place, item in data.items()}


def _saved(item: Any) -> Saved:
    match item:
        case {
            "kind": str(kind),
            "size": int(size),
            "digest": bytes(digest),
            "contents": contents,
            "read_only": bool(read_only),
        }:
            if contents is None or _are_pieces(contents, size):
                return Saved(kind, size, digest, contents, read_only)
    raise ValueError("what was on a medium cannot be understood")


def _are_pieces(contents: Any, size: int) -> bool:
    return isinstance(contents, dict) and all(
        isinstance(number, int)
        and isinstance(data, bytes)
        and 0 <= number * PIECE < size
        and len(data) == min(PIECE, size - number * PIECE)
        for number, data in contents.items()
    )


def compare(
    board: Mini2440, saved: Mapping[str, Saved], name: str, *, force: bool, ours: Collection[BlockMedium]
) -> Restoration:
    """What has to be done so that the media hold what they held; nothing is changed yet.

    SnapshotError where that would overwrite what came into an image file from elsewhere, unless with
    ``force`` or on media that are ``ours``: opened by this process, and with it since then. Also where a
    medium cannot be put back and holds something else; with ``force`` it stays as it is.
    """
    here = present(board)
    result = Restoration()
    for place, was in saved.items():
        medium = here.get(place)
        if medium is None or (medium.kind, medium.blocks.size) != (was.kind, was.size):
            where = "the slot" if place == "sd" else f"USB port {place.removeprefix('usb')}"
            result.notes.append(f"what was in {where}, {was.kind} of {size_text(was.size)}, is not there")
            continue
        _compare(medium, was, name, force, any(medium.blocks is other for other in ours), result)
    return result


def _compare(medium: Medium, was: Saved, name: str, force: bool, ours: bool, result: Restoration) -> None:
    blocks = medium.blocks
    if was.contents is None or blocks.read_only:
        if _same(blocks, was):
            return
        why = "it is read-only" if blocks.read_only else "that snapshot has only its digest, not its contents"
        if not force:
            raise SnapshotError(
                f"'{medium.name}' holds something else than when '{name}' was saved, and {why}: "
                f"'loadvm {name} force' leaves it as it is"
            )
        result.notes.append(f"'{medium.name}' was left as it is, with other contents: {why}")
        return
    pieces = _differing(blocks, was.contents)
    if not pieces:
        return
    if blocks.writes_image and not force and not ours:
        raise SnapshotError(
            f"the image of '{medium.name}' has changed since '{name}' was saved: "
            f"'loadvm {name} force' puts back what it held, in the file too"
        )
    result.add(medium, pieces)


def _same(blocks: BlockMedium, was: Saved) -> bool:
    digest = hashlib.blake2b(digest_size=32)
    for number, data in _used(blocks):
        _digest(digest, number, data)
    return digest.digest() == was.digest


def _digest(digest: hashlib.blake2b, number: int, data: bytes) -> None:
    digest.update(number.to_bytes(8, "little"))
    digest.update(data)


def _differing(blocks: BlockMedium, contents: Mapping[int, bytes]) -> dict[int, bytes]:
    """The pieces that have to be written, with what they are to hold."""
    wanted = {}
    seen = set()
    for number, data in _used(blocks):
        seen.add(number)
        if contents.get(number) != data:
            wanted[number] = contents.get(number, bytes(len(data)))
    return wanted | {number: data for number, data in contents.items() if number not in seen}


def _used(blocks: BlockMedium) -> Iterator[tuple[int, bytes]]:
    """The pieces that are not all zeros, by number, in order."""
    end = 0
    for start, length in sorted(blocks.used()):
        first = max(start // PIECE * PIECE, end)
        end = max(end, min(-(-(start + length) // PIECE) * PIECE, blocks.size))
        for offset in range(first, end, _AT_ONCE):
            data = blocks.read(offset, min(_AT_ONCE, end - offset))
            for place in range(0, len(data), PIECE):
                piece = data[place : place + PIECE]
                if piece != _ZEROS[: len(piece)]:
                    yield (offset + place) // PIECE, piece


def _piece(blocks: BlockMedium, number: int) -> bytes:
    return blocks.read(number * PIECE, min(PIECE, blocks.size - number * PIECE))


def _write(blocks: BlockMedium, pieces: Mapping[int, bytes]) -> None:
    for number, data in sorted(pieces.items()):
        blocks.write(number * PIECE, data)
