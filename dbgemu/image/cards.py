"""Card and disk images: one partition with a FAT or ext2 file system, filled from a folder.

The file systems are made by the tools that everybody uses: mke2fs (Debian: e2fsprogs), mkfs.vfat
(dosfstools) and mcopy (mtools).
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dbgemu.errors import OptionError

MIB = 1 << 20
SECTOR = 512
#: where the partition begins: what every partitioning tool does
START = MIB

_TOOLS = {"mke2fs": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools"}
FILE_SYSTEMS = ("fat", "ext2")

# The master boot record: boot flag, CHS, type, CHS, first sector, sectors (IBM PC/AT). CHS addresses that
# cannot be given say so.
_ENTRY = struct.Struct("<B3sB3sII")
_ENTRIES, _NO_CHS, _MARK = 446, b"\xfe\xff\xff", b"\x55\xaa"
_TYPES = {
    0x01: "FAT12",
    0x04: "FAT16",
    0x06: "FAT16",
    0x0B: "FAT32",
    0x0C: "FAT32",
    0x0E: "FAT16",
    0x83: "Linux",
    0x82: "Linux swap",
}
_LINUX, _FAT12, _FAT16, _FAT32 = 0x83, 0x01, 0x0E, 0x0C


@dataclass(frozen=True)
class CardPartition:
    """An entry of the master boot record; ``start`` and ``size`` in bytes."""

    number: int
    kind: int
    start: int
    size: int

    @property
    def name(self) -> str:
        """What the type says is in it."""
        return _TYPES.get(self.kind, f"type 0x{self.kind:02x}")


def partitions_of(head: bytes) -> list[CardPartition]:
    """The partitions that an image's first sector describes."""
    if head[510:512] != _MARK:
        return []
    entries = [_ENTRY.unpack_from(head, _ENTRIES + 16 * index) for index in range(4)]
    return [
        CardPartition(number, kind, first * SECTOR, count * SECTOR)
        for number, (_, _, kind, _, first, count) in enumerate(entries, 1)
        if kind and count
    ]


def default_size(folder: Path | None) -> int:
    """Bytes of a card for what ``folder`` holds, with room to spare: a power of two."""
    used = 0
    if folder is not None:
        # each file's last cluster is half empty, and it has an entry somewhere
        used = sum(place.lstat().st_size + 4096 for place in folder.rglob("*"))
    size = 32 * MIB
    while size < START + used + used // 4 + 8 * MIB:
        size *= 2
    return size


def make_card(path: Path, size: int, file_system: str, folder: Path | None, label: str) -> None:
    """Make a card of ``size`` bytes in the new file ``path``; OptionError where that fails."""
    if size % MIB or size < 4 * MIB:
        raise OptionError(
            f"a card of {size} bytes cannot be made: a multiple of 1 MiB is needed, at least 4 MiB"
        )
    if folder is not None and not folder.is_dir():
        raise OptionError(f"there is no folder {folder}")
    with path.open("wb") as file:
        file.truncate(size)
    kind = (_make_ext2 if file_system == "ext2" else _make_fat)(path, size - START, folder, label)
    entry = _ENTRY.pack(0, _NO_CHS, kind, _NO_CHS, START // SECTOR, (size - START) // SECTOR)
    with path.open("r+b") as file:
        file.seek(_ENTRIES)
        file.write(entry)
        file.seek(510)
        file.write(_MARK)


def _make_ext2(path: Path, size: int, folder: Path | None, label: str) -> int:
    command = ["mke2fs", "-q", "-F", "-t", "ext2", "-m", "0", "-L", label, "-E", f"offset={START}"]
    if folder is not None:
        command += ["-d", str(folder)]
    _run([*command, str(path), f"{size // 1024}k"])
    return _LINUX


def _make_fat(path: Path, size: int, folder: Path | None, label: str) -> int:
    first = str(START // SECTOR)
    _run(["mkfs.vfat", "--offset", first, "-h", first, "-n", label.upper(), str(path), str(size // 1024)])
    if folder is not None and (sources := sorted(map(str, folder.iterdir()))):
        _run(["mcopy", "-s", "-m", "-Q", "-i", f"{path}@@{START}", *sources, "::"])
    with path.open("rb") as file:
        file.seek(START)
        boot = file.read(SECTOR)
    if boot[82:87] == b"FAT32":
        return _FAT32
    return _FAT12 if boot[54:59] == b"FAT12" else _FAT16


def _run(command: list[str]) -> None:
    tool = shutil.which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if tool is None:
        raise OptionError(f"{command[0]} is needed for this (Debian: {_TOOLS[command[0]]})")
    done = subprocess.run(
        [tool, *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OptionError(f"{command[0]} failed: {said[-1] if said else f'status {done.returncode}'}")
