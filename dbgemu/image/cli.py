"""The command ``dbgemu-img``: makes images of flash chips and cards, and looks into them."""

from __future__ import annotations

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from dbgemu.debug.nand_check import Ecc
from dbgemu.errors import OptionError
from dbgemu.host.block_image import open_block_image
from dbgemu.image import cards
from dbgemu.image.nand_image import (
    LAYOUTS,
    SPARE_ENDING,
    NandImage,
    erased_blocks,
    opened,
    part_of,
    with_code,
    write_image,
)
from dbgemu.image.partitions import BOARD, Partition, find_partition, number, parse_partitions
from dbgemu.image.replacing import refuse_existing, replacing, unused
from dbgemu.target.chips.nand_parts import DEFAULT_PART, PARTS, NandPart
from dbgemu.tool_program import Parser, add_command, run_tool

#: exit status when ``check`` found damage
DAMAGED = 1

_COPIED_AT_ONCE = 1 << 20
_WRONG = (Ecc.CORRECTABLE, Ecc.CODE_WRONG, Ecc.UNCORRECTABLE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with ``arguments`` (default: the process's); returns the exit status."""
    return run_tool(_make_parser(), arguments)


# -- the command line ---------------------------------------------------------------------------------


def _make_parser() -> Parser:
    parser = Parser(prog="dbgemu-img", description="Make images for dbgemu, and look into them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    create = add_command(commands, "create", _create, "a NAND chip's image, erased")
    create.add_argument("file", type=Path, metavar="FILE")
    _add_part(create)
    create.add_argument("--layout", choices=LAYOUTS, default="interleaved", help="default: interleaved")
    create.add_argument("--bad", metavar="N+N", default="", help="blocks that are marked bad, as 12+40")
    _add_force(create)

    card = add_command(commands, "card", _card, "a card's image with one partition, filled from a folder")
    card.add_argument("file", type=Path, metavar="FILE")
    card.add_argument("--from", dest="folder", type=Path, metavar="FOLDER", help="what it is to hold")
    card.add_argument("--fs", choices=cards.FILE_SYSTEMS, default="fat", help="default: fat")
    card.add_argument("--size", metavar="SIZE", help="as 64M; default: what the folder needs")
    card.add_argument("--label", default="dbgemu", help="the file system's name")
    _add_force(card)

    info = add_command(commands, "info", _info, "what an image is, and what is in its partitions")
    info.add_argument("file", type=Path, metavar="FILE")
    _add_part(info)
    _add_partitions(info)

    check = add_command(
        commands, "check", _check, "compare a NAND image's data with its error correction codes"
    )
    check.add_argument("file", type=Path, metavar="FILE")
    _add_part(check)

    convert = add_command(
        commands, "convert", _convert, "another layout of a NAND image, or a raw card image"
    )
    convert.add_argument("file", type=Path, metavar="FILE")
    convert.add_argument("new", type=Path, metavar="NEW")
    convert.add_argument("--to", choices=(*LAYOUTS, "raw"), required=True, help="raw: of qcow2 and others")
    convert.add_argument("--ecc", action="store_true", help="make codes for pages that have none")
    _add_part(convert)
    _add_force(convert)

    put = add_command(commands, "put", _put, "write a file into a partition of a NAND image")
    put.add_argument("file", type=Path, metavar="FILE")
    put.add_argument("partition", metavar="PARTITION")
    put.add_argument("input", type=Path, metavar="INPUT")
    _add_part(put)
    _add_partitions(put)

    get = add_command(commands, "get", _get, "read a partition of a NAND image into a file")
    get.add_argument("file", type=Path, metavar="FILE")
    get.add_argument("partition", metavar="PARTITION")
    get.add_argument("output", type=Path, metavar="OUTPUT")
    get.add_argument("--whole", action="store_true", help="with the erased bytes at its end, too")
    _add_part(get)
    _add_partitions(get)
    _add_force(get)
    return parser


def _add_part(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nand", metavar="PART", help=f"the chip, one of {', '.join(PARTS)}")


def _add_partitions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parts", default=BOARD, metavar="PARTS", help=f"as Linux's mtdparts; default: {BOARD}"
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace a file that exists")


def _chip(name: str | None) -> NandPart | None:
    if name is None:
        return None
    found = next((part for part in PARTS.values() if part.name.lower() == name.lower()), None)
    if found is None:
        raise OptionError(f"'{name}' is not a NAND chip: there are {', '.join(PARTS)}")
    return found


def _files(path: Path, layout: str = "oob") -> list[Path]:
    return [path, path.with_name(path.name + SPARE_ENDING)] if layout == "oob" else [path]


# -- making -------------------------------------------------------------------------------------------


def _create(options: argparse.Namespace) -> int:
    part = _chip(options.nand) or DEFAULT_PART
    try:
        bad = [int(block) for block in options.bad.split("+")] if options.bad else []
    except ValueError:
        raise OptionError(f"'{options.bad}' is not a list of blocks: 12 and 12+40 are") from None
    for block in bad:
        if not 0 <= block < part.blocks:
            raise OptionError(f"a {part.name} has blocks 0 to {part.blocks - 1}, not {block}")
    if bad and options.layout == "plain":
        raise OptionError("a plain image has no spare bytes to mark bad blocks in: use another layout")
    _write(options.file, part, options.layout, erased_blocks(part, bad), force=options.force)
    return 0


def _write(path: Path, part: NandPart, layout: str, blocks: Iterator[bytes], *, force: bool) -> None:
    # spare bytes that an earlier image of this name has left would be taken for this one's
    refuse_existing(_files(path), force=force)
    with replacing(path, (SPARE_ENDING,)) as made:
        write_image(made, part, layout, blocks)
        if layout != "oob":
            path.with_name(path.name + SPARE_ENDING).unlink(missing_ok=True)


def _card(options: argparse.Namespace) -> int:
    refuse_existing([options.file], force=options.force)
    size = number(options.size) if options.size else cards.default_size(options.folder)
    with replacing(options.file) as made:
        cards.make_card(made, size, options.fs, options.folder, options.label)
    return 0


def _convert(options: argparse.Namespace) -> int:
    if options.new.exists() and options.file.exists() and options.new.samefile(options.file):
        raise OptionError(f"{options.file} cannot be converted into itself: name a new file")
    if options.to == "raw":
        return _convert_to_raw(options)
    part = part_of(options.file, _chip(options.nand))
    left_out = Counter[str]()
    with opened(options.file, part) as image:
        blocks = _converted(image, options.ecc, left_out if options.to == "plain" else None)
        _write(options.new, part, options.to, blocks, force=options.force)
    if left_out["pages"]:
        print(f"the spare bytes of {left_out['pages']} pages are left out: a plain image has none")
    return 0


def _converted(image: NandImage, ecc: bool, left_out: Counter[str] | None) -> Iterator[bytes]:
    """All raw blocks; with ``left_out`` the pages whose spare bytes say something are counted there."""
    part = image.part
    for block in range(part.blocks):
        raw = bytearray(image.block(block))
        if left_out is not None:
            left_out["pages"] += sum(bool(page.spare.strip(b"\xff")) for page in image.pages(block))
        if ecc and not image.bad(block):
            for page in image.pages(block):
                if any(step.result is Ecc.NO_CODE for step in page.steps):
                    place = page.number % part.pages_per_block * part.raw_page
                    raw[place : place + part.raw_page] = with_code(part, page.main, page.spare)
        yield bytes(raw)


def _convert_to_raw(options: argparse.Namespace) -> int:
    refuse_existing([options.new], force=options.force)
    image = open_block_image(options.file, read_only=True)
    try:
        with replacing(options.new) as made, made.open("wb") as file:
            for offset in range(0, image.size, _COPIED_AT_ONCE):
                piece = image.read(offset, min(_COPIED_AT_ONCE, image.size - offset))
                if piece.count(0) == len(piece):
                    file.seek(len(piece), os.SEEK_CUR)
                else:
                    file.write(piece)
            file.truncate(image.size)
    finally:
        image.close()
    return 0


# -- partitions ---------------------------------------------------------------------------------------


def _partition(options: argparse.Namespace) -> tuple[NandPart, Partition]:
    part = part_of(options.file, _chip(options.nand))
    return part, find_partition(parse_partitions(options.parts, part), options.partition)


def _put(options: argparse.Namespace) -> int:
    part, partition = _partition(options)
    data = options.input.read_bytes()
    with unused(options.file), replacing(options.file, (SPARE_ENDING,)) as made:
        for old, new in zip(_files(options.file), _files(made), strict=True):
            if old.exists():
                shutil.copy(old, new)
        with opened(made, part, writing=True) as image:
            left_out = image.put(partition, data)
    print(f"{len(data)} bytes written to {partition.name}{_without(left_out)}")
    return 0


def _without(blocks: Sequence[int]) -> str:
    return f", not to bad blocks {', '.join(map(str, blocks))}" if blocks else ""


def _get(options: argparse.Namespace) -> int:
    part, partition = _partition(options)
    refuse_existing([options.output], force=options.force)
    with opened(options.file, part) as image, replacing(options.output) as made:
        data = b"".join(image.get(partition))
        if not options.whole:
            data = data.rstrip(b"\xff")
        made.write_bytes(data)
    print(f"{len(data)} bytes read from {partition.name}")
    return 0


# -- looking ------------------------------------------------------------------------------------------


def _info(options: argparse.Namespace) -> int:
    part = _chip(options.nand)
    if part is None and _looks_like_card(options.file):
        return _card_info(options.file)
    part = part_of(options.file, part)
    partitions = parse_partitions(options.parts, part)
    with opened(options.file, part) as image:
        bad = [block for block in range(part.blocks) if image.bad(block)]
        print(f"{options.file}: {part.name}, {part.size >> 20} MiB NAND, {image.layout} layout")
        print(f"pages of {part.page_size}+{part.spare_size} bytes, {part.pages_per_block} in a block")
        print(f"bad blocks: {' '.join(map(str, bad)) or 'none'}")
        for partition in partitions.values():
            blocks = image.blocks_of(partition)
            used = sum(any(True for _ in image.pages(block)) for block in blocks)
            print(
                f"{partition.name:<12} 0x{partition.offset:08x} {partition.size >> 10:>8} KiB"
                f"  {used} of {len(blocks)} blocks used"
            )
    return 0


def _looks_like_card(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    return bool(cards.partitions_of(head)) or head.startswith(b"QFI\xfb")


def _card_info(path: Path) -> int:
    image = open_block_image(path, read_only=True)
    try:
        print(f"{path}: a disk of {image.size} bytes")
        for partition in cards.partitions_of(image.read(0, 512)):
            print(
                f"partition {partition.number}: {partition.name}, "
                f"{partition.size} bytes from {partition.start}"
            )
    finally:
        image.close()
    return 0


def _check(options: argparse.Namespace) -> int:
    part = part_of(options.file, _chip(options.nand))
    found: Counter[Ecc] = Counter()
    bad = 0
    with opened(options.file, part) as image:
        for block in range(part.blocks):
            if image.bad(block):
                bad += 1
                continue
            for page in image.pages(block):
                for step in page.steps:
                    found[step.result] += 1
                    if step.result in _WRONG:
                        print(f"block {page.block}, page {page.number}, {step}")
    total = sum(found.values()) - found[Ecc.BLANK]
    wrong = sum(found[result] for result in _WRONG)
    print(
        f"{total} pieces of data: {found[Ecc.OK]} agree with their codes, {found[Ecc.NO_CODE]} have none, "
        f"{wrong} do not agree ({found[Ecc.UNCORRECTABLE]} beyond correction); {bad} bad blocks"
    )
    return DAMAGED if wrong else 0
