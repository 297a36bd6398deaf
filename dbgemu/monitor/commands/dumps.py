"""``dump``: what the board's memories hold, as text or into a file; NAND with its error correction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from dbgemu.debug.hexdump import hexdump
from dbgemu.debug.nand_check import Page, bad_blocks, read_block, read_page
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context
from dbgemu.monitor.expressions import evaluate
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.mini2440 import Mini2440

Found = TypeVar("Found")

GROUP = "devices"

#: as text, this many bytes are shown where no length is given
_SHORT = 4096

_TO_FILE = (
    Argument("to", optional=True, choices=("to",)),
    Argument("file", Kind.FILE, optional=True),
)
_RANGE = (
    Argument("offset", Kind.EXPRESSION, optional=True),
    Argument("length", Kind.EXPRESSION, optional=True),
    *_TO_FILE,
)


@dataclass(frozen=True)
class _Store:
    """A memory: its size in bytes, and how ``length`` bytes from ``offset`` are read, undisturbed."""

    name: str
    help: str
    size: Callable[[Mini2440], int]
    read: Callable[[Mini2440, int, int], bytes]


def _read_nand(board: Mini2440, offset: int, length: int) -> bytes:
    chip = board.nand_chip
    page_size = chip.part.page_size
    first, last = offset // page_size, (offset + length - 1) // page_size
    pages = (chip.read_raw_page(page)[:page_size] for page in range(first, last + 1))
    return b"".join(pages)[offset - first * page_size :][:length]


_STORES = (
    _Store(
        "eeprom",
        "the AT24C08's contents",
        lambda board: len(board.eeprom.contents),
        lambda board, offset, length: bytes(board.eeprom.contents[offset : offset + length]),
    ),
    _Store(
        "nor",
        "the NOR flash's array, whatever mode the chip is in",
        lambda board: board.nor.memory.size,
        lambda board, offset, length: bytes(board.nor.memory.data[offset : offset + length]),
    ),
    _Store(
        "sram",
        "the chip's 4 KB of SRAM (the steppingstone)",
        lambda board: board.sram.size,
        lambda board, offset, length: bytes(board.sram.data[offset : offset + length]),
    ),
    _Store(
        "sdram",
        "SDRAM, by offset",
        lambda board: board.sdram.size,
        lambda board, offset, length: bytes(board.sdram.data[offset : offset + length]),
    ),
    _Store("nand", "NAND's main data, without spare bytes", lambda b: b.nand_chip.part.size, _read_nand),
)


def _file_of(arguments: Sequence[str]) -> tuple[Sequence[str], str | None]:
    """The arguments before ``to FILE``, and the file."""
    if "to" not in arguments:
        return arguments, None
    place = list(arguments).index("to")
    if len(arguments) != place + 2:
        raise CommandError("'to' is followed by the name of one file")
    return arguments[:place], arguments[place + 1]


def _write(name: str, data: bytes) -> Report:
    path = Path(name).expanduser()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CommandError(f"'{name}' cannot be written: {error.strerror}") from None
    return Report(f"{len(data)} bytes written to {path}", {"file": str(path), "length": len(data)})


def _dump(store: _Store, context: Context, arguments: Sequence[str]) -> Report:
    words, file = _file_of(arguments)
    if len(words) > 2:
        raise CommandError(f"'dump {store.name}' is used as: dump {store.name} [offset] [length] [to file]")
    board, session = context.session.machine.board, context.session
    size = store.size(board)
    offset = evaluate(session, words[0]) if words else 0
    if offset >= size:
        raise CommandError(
            f"offset 0x{offset:x} is behind the end of {store.name}, which has 0x{size:x} bytes"
        )
    length = size - offset
    if len(words) > 1:
        length = evaluate(session, words[1])
        if not 0 < length <= size - offset:
            raise CommandError(
                f"{length} bytes from 0x{offset:x} do not lie in {store.name}, which has 0x{size:x} bytes"
            )
    elif file is None:
        length = min(length, _SHORT)
    data = session.call(lambda: store.read(board, offset, length))
    if file is not None:
        return _write(file, data)
    return Report(
        "\n".join(hexdump(data, offset)),
        {"memory": store.name, "offset": offset, "length": length, "data": data.hex()},
    )


def _number(context: Context, words: Sequence[str], what: str) -> int:
    if len(words) != 1:
        raise CommandError(f"one {what}'s number is expected")
    return evaluate(context.session, words[0])


def _look_at(
    context: Context, words: Sequence[str], what: str, read: Callable[[NandFlash, int], Found]
) -> tuple[int, Found]:
    """The number in ``words``, and what ``read`` finds there."""
    number = _number(context, words, what)
    chip = context.session.machine.board.nand_chip
    try:
        return number, context.session.call(lambda: read(chip, number))
    except IndexError as error:
        raise CommandError(str(error)) from None


def _page_heading(page: Page) -> str:
    part = page.part
    offset = page.number * part.page_size
    bad = ", marked bad" if page.marked_bad else ""
    inside = page.number % part.pages_per_block
    return (
        f"page {page.number} (page {inside} of block {page.block}, offset 0x{offset:x}{bad}): {page.summary}"
    )


def _dump_page(context: Context, arguments: Sequence[str]) -> Report:
    words, file = _file_of(arguments)
    _, page = _look_at(context, words, "page", read_page)
    if file is not None:
        return _write(file, page.main + page.spare)
    lines = [_page_heading(page), *hexdump(page.main), "spare bytes:", *hexdump(page.spare)]
    lines += [f"ECC, {step}" for step in page.steps]
    return Report("\n".join(lines), page.data())


def _dump_block(context: Context, arguments: Sequence[str]) -> Report:
    words, file = _file_of(arguments)
    number, pages = _look_at(context, words, "block", read_block)
    main = b"".join(page.main for page in pages)
    if file is not None:
        return _write(file, main)
    lines = [*hexdump(main, number * len(main)), *(_page_heading(page) for page in pages)]
    return Report("\n".join(lines), {"block": number, "pages": [page.data() for page in pages]})


def _dump_bad(context: Context, arguments: Sequence[str]) -> Report:
    chip = context.session.machine.board.nand_chip
    found = context.session.call(lambda: bad_blocks(chip))
    block_size = chip.part.page_size * chip.part.pages_per_block
    data: list[dict[str, Any]] = [asdict(each) for each in found]
    if not found:
        return Report(f"none of the {chip.part.blocks} blocks is marked bad", data)
    lines = [
        f"block {each.block} (offset 0x{each.block * block_size:x}): mark {each.mark:02x}"
        + (", from the factory" if each.factory else "")
        for each in found
    ]
    return Report("\n".join(lines), data)


def _store_command(store: _Store) -> Command:
    def run(context: Context, arguments: Sequence[str]) -> Report:
        return _dump(store, context, arguments)

    return Command(
        f"dump {store.name}",
        run,
        f"show {store.help}, or write it to a file",
        _RANGE,
        group=GROUP,
        details=(
            f"dump {store.name} 0x40 0x20         32 bytes from offset 0x40\n"
            f"dump {store.name} to {store.name}.bin  all of it\n"
            f"Without a length at most {_SHORT} bytes are shown."
        ),
    )


COMMANDS = (
    *map(_store_command, _STORES),
    Command(
        "dump nand page",
        _dump_page,
        "show a page of NAND with its spare bytes, and check its error correction code",
        (Argument("page", Kind.EXPRESSION), *_TO_FILE),
        group=GROUP,
        details="A file gets the page's main bytes followed by the spare ones.",
    ),
    Command(
        "dump nand block",
        _dump_block,
        "show a block of NAND, and check each page's error correction code",
        (Argument("block", Kind.EXPRESSION), *_TO_FILE),
        group=GROUP,
        details="A file gets the main bytes of all pages.",
    ),
    Command("dump nand bad", _dump_bad, "list the blocks of NAND that are marked bad", group=GROUP),
)
