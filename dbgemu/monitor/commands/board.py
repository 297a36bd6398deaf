"""Commands that show what the board is made of, and move what a hand could: interrupts, buttons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from dbgemu.monitor.command import Argument, Command, CommandError, Report
from dbgemu.monitor.commands import usb
from dbgemu.monitor.context import Context
from dbgemu.target.clock import Timer
from dbgemu.target.device import Device
from dbgemu.target.lines import Line
from dbgemu.target.mini2440 import BootSwitch, Mini2440
from dbgemu.target.s3c2440.interrupt import SOURCES, SUB_SOURCES

if TYPE_CHECKING:
    from dbgemu.target.bus import Region

#: devices that are not on the CPU's bus, and what they hang on
_BEHIND = {"nandflash": "nand", "eeprom": "i2c"}
#: where the chip's own blocks are (UM 1-20, figure 1-2)
_CHIP_BLOCKS = 0x48000000

#: how long sendkey holds a button unless told otherwise (ms)
_HOLD = 100
_MAX_HOLD = 60_000
#: how long nmi holds the line (ns)
_NMI = 1_000


# -- what is where ---------------------------------------------------------------------------


def _info_mtree(context: Context, arguments: Sequence[str]) -> Report:
    regions = [_region(region) for region in context.session.machine.board.bus.regions()]
    lines = ["physical address space"]
    lines += [
        f"  {entry['start']:08x}-{entry['end']:08x}  {entry['kind']:6}  {entry['name']}{_suffix(entry)}"
        for entry in regions
    ]
    return Report("\n".join(lines), regions)


def _region(region: Region) -> dict[str, Any]:
    target = region.target
    if isinstance(target, Device):
        kind, title = "i/o", target.title
    else:
        kind = "ram" if region.writable and region.writes_to is None else "rom"
        title = ""
    return {
        "start": region.base,
        "end": region.end - 1,
        "kind": kind,
        "name": target.name,
        "title": title,
        "writes_to": region.writes_to.name if region.writes_to else None,
    }


def _suffix(entry: dict[str, Any]) -> str:
    if entry["writes_to"]:
        return f" (writes go to {entry['writes_to']})"
    return f" ({entry['title']})" if entry["title"] else ""


def _info_qtree(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    tree = session.call(lambda: _tree(session.machine.board))
    return Report("\n".join(_tree_lines(tree, "")), tree)


def _tree(board: Mini2440) -> dict[str, Any]:
    bases: dict[str, list[int]] = {}
    for region in board.bus.regions():
        device = region.writes_to or region.target
        bases.setdefault(device.name, []).append(region.base)
    nodes: dict[str, dict[str, Any]] = {
        name: {"name": name, "title": device.title, "bases": bases.get(name, []), "parts": []}
        for name, device in board.devices.items()
    }
    for led in board.leds:
        state = "lit" if led.lit else "dark"
        nodes["gpio"]["parts"].append({"name": led.name, "title": f"LED on {led.pin.name}", "state": state})
    for button in board.buttons:
        state = "pressed" if button.pressed else "released"
        title = f"button on {button.pin.name}"
        nodes["gpio"]["parts"].append({"name": button.name, "title": title, "state": state})
    for name, parent in _BEHIND.items():
        nodes[parent]["parts"].append(nodes[name])
    top = [node for name, node in nodes.items() if name not in _BEHIND]
    memories = [
        {"name": memory.name, "title": f"{memory.size >> 10} KiB", "bases": bases.get(memory.name, [])}
        for memory in (board.sdram, board.sram)
    ]
    chip = [node for node in top if any(base >= _CHIP_BLOCKS for base in node["bases"])]
    return {
        "name": "mini2440",
        "title": f"boot switch at {board.boot_switch.name}",
        "parts": [
            {"name": "s3c2440", "title": "S3C2440A with an ARM920T", "parts": [memories[1], *chip]},
            memories[0],
            *(node for node in top if node not in chip),
        ],
    }


def _tree_lines(node: dict[str, Any], indent: str) -> Iterator[str]:
    where = ", ".join(f"{base:#010x}" for base in node.get("bases", ()))
    more = "".join((f" at {where}" if where else "", f": {node['state']}" if "state" in node else ""))
    yield f"{indent}{node['name']} ({node['title']}){more}"
    for part in node.get("parts", ()):
        yield from _tree_lines(part, indent + "  ")


def _info_roms(context: Context, arguments: Sequence[str]) -> Report:
    board = context.session.machine.board
    plan = board.boot_plan
    if plan is None:
        chip = "NOR flash" if board.boot_switch is BootSwitch.NOR else "NAND flash, through the SRAM"
        return Report(f"nothing is loaded: the board boots from {chip}", {"loads": [], "pc": 0})
    lines = [f"{load.address:08x}-{load.end - 1:08x}  {len(load.data):9}  {load.what}" for load in plan.loads]
    lines.append(f"{plan.kind}, started at pc 0x{plan.pc:08x}")
    loads = [{"address": load.address, "size": len(load.data), "what": load.what} for load in plan.loads]
    return Report("\n".join(lines), {"loads": loads, "kind": plan.kind, "pc": plan.pc})


# -- interrupts ---------------------------------------------------------------------------------


def _info_irq(context: Context, arguments: Sequence[str]) -> Report:
    session = context.session
    intc, cpu = session.machine.board.intc, session.machine.cpu

    def look() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        sources = []
        for state in intc.describe():
            entry = state._asdict()
            source = entry.pop("source")
            sources.append({"name": source.name, "bit": source.bit, "parent": source.parent} | entry)
        psr = cpu.read_register("cpsr")
        chosen = next((source.name for source in SOURCES if source.mask == intc.INTPND), None)
        cpu_side = {
            "irq": intc.irq.level,
            "fiq": intc.fiq.level,
            "irq_masked": bool(psr & 0x80),
            "fiq_masked": bool(psr & 0x40),
            "served": chosen,
        }
        return sources, cpu_side

    sources, cpu_side = session.call(look)
    lines = ["source         bit  line  pending  masked  mode"]
    for entry in sources:
        name = f"  {entry['name']}" if entry["parent"] else entry["name"]
        lines.append(
            f"{name:14} {entry['bit']:3}  {entry['level']:4}  {_yes(entry['pending']):7}  "
            f"{_yes(entry['masked']):6}  {'FIQ' if entry['fiq'] else 'IRQ'}"
        )
    served = cpu_side["served"] or "nothing"
    lines.append(
        f"in INTPND: {served}; "
        f"IRQ line {cpu_side['irq']}{' (masked in CPSR)' if cpu_side['irq_masked'] else ''}, "
        f"FIQ line {cpu_side['fiq']}{' (masked in CPSR)' if cpu_side['fiq_masked'] else ''}"
    )
    return Report("\n".join(lines), {"sources": sources, "cpu": cpu_side})


def _yes(value: bool) -> str:
    return "yes" if value else "-"


def _line(context: Context, name: str) -> Line:
    lines = context.session.machine.board.intc.lines
    line = lines.get(name.upper()) or lines.get(f"INT_{name.upper()}") or lines.get(name)
    if line is None:
        near = get_close_matches(name.upper(), lines, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "'info irq' lists them"
        raise CommandError(f"there is no interrupt source '{name}': {hint}")
    return line


def _irq_raise(context: Context, arguments: Sequence[str]) -> str:
    line = _line(context, arguments[0])
    context.session.call(lambda: line.set(1))
    return ""


def _irq_lower(context: Context, arguments: Sequence[str]) -> str:
    line = _line(context, arguments[0])
    context.session.call(lambda: line.set(0))
    return ""


def _irq_pulse(context: Context, arguments: Sequence[str]) -> str:
    line = _line(context, arguments[0])
    if line.level:
        raise CommandError(f"the line of {line.name} is up already: 'irq lower {line.name}' first")
    context.session.call(line.pulse)
    return ""


def _nmi(context: Context, arguments: Sequence[str]) -> str:
    board = context.session.machine.board

    def pulse() -> None:
        board.fiq.set(1)
        Timer(board.clock, board.intc.drive_fiq).start_in(_NMI)

    context.session.call(pulse)
    return ""


# -- buttons ------------------------------------------------------------------------------------


def _sendkey(context: Context, arguments: Sequence[str]) -> str:
    board = context.session.machine.board
    known = {button.name for button in board.buttons}
    keys = arguments[0].split("-")
    text = arguments[1] if len(arguments) > 1 else str(_HOLD)
    if not text.isdecimal() or not 0 < int(text) <= _MAX_HOLD:
        raise CommandError(f"'{text}' is no time to hold a key: 1 to {_MAX_HOLD} ms")
    duration = int(text) * 1_000_000
    wrong = next((key.upper() for key in keys if key.upper() not in known), None)
    typist = usb.keyboard(board)
    if wrong is not None and typist is None:
        raise CommandError(f"the board has no key '{wrong}': its buttons are {', '.join(sorted(known))}")

    def press() -> None:
        for key in keys:
            board.tap(key.upper(), duration)

    if wrong is None or typist is None:
        context.session.call(press)
        return ""
    typed = usb.usages(keys)

    def type_keys() -> None:
        for usage in typed:
            typist.tap(usage, duration)

    context.session.call(type_keys)
    return ""


def _system_wakeup(context: Context, arguments: Sequence[str]) -> str:
    machine = context.session.machine

    def wake() -> str | None:
        if not machine.asleep:
            return "the guest does not sleep"
        machine.board.tap("K1", _HOLD * 1_000_000)
        if machine.board.wake_requested():
            return None
        machine.board.tap("K1", 0)
        return "the guest did not arm button K1 to wake it"

    problem = context.session.call(wake)
    if problem:
        raise CommandError(problem)
    return ""


_SOURCE = Argument("source", choices=tuple(source.name for source in (*SOURCES, *SUB_SOURCES)))
_LINE_DETAILS = """\
The line belongs to a device, which drives it too: the device's next change of it counts from then on.
'info irq' lists the sources; INT_ may be left out."""

COMMANDS = (
    Command("info mtree", _info_mtree, "show what answers at which physical address", group="board"),
    Command("info qtree", _info_qtree, "show the board's parts", group="board"),
    Command("info roms", _info_roms, "show what was loaded into memory, and where", group="board"),
    Command(
        "info irq",
        _info_irq,
        "show the interrupt controller's sources",
        aliases=("info pic",),
        group="board",
    ),
    Command(
        "irq raise",
        _irq_raise,
        "put an interrupt source's line to 1",
        (_SOURCE,),
        group="board",
        details=_LINE_DETAILS,
    ),
    Command(
        "irq lower",
        _irq_lower,
        "put an interrupt source's line to 0",
        (_SOURCE,),
        group="board",
        details=_LINE_DETAILS,
    ),
    Command(
        "irq pulse",
        _irq_pulse,
        "request an interrupt once",
        (_SOURCE,),
        group="board",
        details=_LINE_DETAILS,
    ),
    Command(
        "nmi",
        _nmi,
        "request an FIQ once",
        group="board",
        details="The ARM920T has no interrupt that cannot be masked: this holds its FIQ input for 1 us.\n"
        "It is lost where the CPSR masks FIQ at that time.",
    ),
    Command(
        "sendkey",
        _sendkey,
        "press buttons of the board, or keys of a USB keyboard",
        (
            Argument("keys", choices=("K1", "K2", "K3", "K4", "K5", "K6")),
            Argument("milliseconds", optional=True),
        ),
        group="board",
        details=f"Several at once: K1-K2, ctrl-alt-f1. They are held for {_HOLD} ms of the guest's time,\n"
        "or as long as is given.",
    ),
    Command(
        "system_wakeup",
        _system_wakeup,
        "end the chip's SLEEP",
        group="board",
        details="It presses button K1, which is wired to EINT8: the guest must have armed that.",
    ),
)
