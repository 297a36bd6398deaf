"""Commands about the host's side: image files, connections, the log, the GDB server."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context

#: what can be logged, as the option -d has it
_LOG_ITEMS = ("guest_errors", "unimp", "int", "in_asm", "exec", "cpu", "mmu", "op", "out_asm")


def _info_name(context: Context, arguments: Sequence[str]) -> Report:
    name = context.services.name
    return Report(name or "this machine has no name (-name)", {"name": name or None})


def _info_block(context: Context, arguments: Sequence[str]) -> Report:
    images = context.services.images()
    if not images:
        return Report("no image files: what flash holds is lost at the end", [])
    lines = [
        f"{image.device}: {image.path} ({image.size} bytes"
        f"{', not written to: -snapshot' if image.snapshot else ''})"
        for image in images
    ]
    data = [
        {"device": image.device, "file": str(image.path), "size": image.size, "snapshot": image.snapshot}
        for image in images
    ]
    return Report("\n".join(lines), data)


def _info_mtd(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    board = session.machine.board
    part = board.nand_chip.part
    used, nor_used = session.call(
        lambda: (len(board.nand_chip.cells.used()), len(bytes(board.nor.memory.data).rstrip(b"\xff")))
    )
    files = {image.device: str(image.path) for image in context.services.images()}
    nand = {
        "name": board.nand_chip.name,
        "part": part.name,
        "size": part.size,
        "page": part.page_size,
        "spare": part.spare_size,
        "block": part.page_size * part.pages_per_block,
        "used_pages": used,
        "pages": part.pages,
        "file": files.get(board.nand_chip.name),
    }
    nor = {
        "name": board.nor.name,
        "part": board.nor.title,
        "size": board.nor.size,
        "used": nor_used,
        "file": files.get(board.nor.name),
    }
    text = (
        f"{nand['name']}: {part.name}, {part.size >> 20} MiB in {part.pages} pages of {part.page_size}+"
        f"{part.spare_size} bytes, blocks of {part.pages_per_block} pages; {used} pages are not erased"
        f"{_of_file(nand['file'])}\n"
        f"{nor['name']}: {nor['part']}, {board.nor.size >> 20} MiB; used up to 0x{nor_used:x}"
        f"{_of_file(nor['file'])}"
    )
    return Report(text, [nand, nor])


def _of_file(path: object) -> str:
    return f"; in {path}" if path else "; in no file"


def _info_chardev(context: Context, arguments: Sequence[str]) -> Report:
    found = context.services.connections()
    width = max((len(each.name) for each in found), default=0)
    text = "\n".join(f"{each.name:{width}}  {each.where}" for each in found)
    data = [{"name": each.name, "where": each.where} for each in found]
    return Report(text or "nothing is connected", data)


def _log(context: Context, arguments: Sequence[str]) -> Report:
    services = context.services
    items = set(arguments[0].split(",")) if arguments else None
    if items is not None:
        items.discard("none")
        for item in sorted(items - set(_LOG_ITEMS)):
            near = get_close_matches(item, _LOG_ITEMS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_LOG_ITEMS)}"
            raise CommandError(f"'{item}' cannot be logged: {hint}")
        services.log(items)
    now = sorted(services.log_items)
    return Report("" if arguments else f"logged: {', '.join(now) or 'nothing'}", {"items": now})


def _logfile(context: Context, arguments: Sequence[str]) -> str:
    context.services.log_to(Path(arguments[0]).expanduser() if arguments else None)
    return ""


def _gdbserver(context: Context, arguments: Sequence[str]) -> Report:
    where = arguments[0] if arguments else "tcp::1234"
    served = context.services.serve_gdb(None if where == "none" else where)
    text = "GDB is not served any more" if served is None else f"GDB is served at {served}"
    return Report(text, {"where": served})


COMMANDS = (
    Command("info name", _info_name, "show the machine's name", group="host"),
    Command("info block", _info_block, "show the image files in use", group="host"),
    Command("info mtd", _info_mtd, "show the flash chips", group="host"),
    Command("info chardev", _info_chardev, "show what ports and monitors are connected to", group="host"),
    Command(
        "log",
        _log,
        "log these items, or nothing",
        (Argument("items", optional=True, choices=("none", *_LOG_ITEMS)),),
        group="host",
        details="Comma separated, as for the option -d; int, in_asm, exec, cpu and mmu execute one\n"
        "instruction at a time, which is slow. Without items it tells what is logged.",
    ),
    Command(
        "logfile",
        _logfile,
        "log to a file, or to the terminal again",
        (Argument("file", Kind.FILE, optional=True),),
        group="host",
    ),
    Command(
        "gdbserver",
        _gdbserver,
        "serve GDB, or none",
        (Argument("device", optional=True, choices=("none", "tcp::1234")),),
        group="host",
        details="At tcp:HOST:PORT or unix:PATH, tcp::1234 without an argument. Clients that are connected\n"
        "where it was served before are let go.",
    ),
)
