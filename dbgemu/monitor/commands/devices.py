"""``info DEVICE`` and ``info DEVICE.REGISTER``: every block and chip, decoded from its declarations."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from dbgemu.debug.device_state import DeviceState, RegisterState, device_state
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context

GROUP = "devices"


def _info(context: Context, arguments: Sequence[str]) -> Report:
    if not arguments:
        return _subjects(context)
    device_name, dot, register_name = arguments[0].partition(".")
    board = context.session.machine.board
    name = device_name.lower()
    if name not in board.devices:
        raise CommandError(_unknown(context, arguments[0]))
    state = context.session.call(lambda: device_state(board, name))
    if not dot or register_name == "*":
        return Report("\n".join(_device_lines(state)), state.data())
    found = [each for each in state.registers if each.register.name.lower() == register_name.lower()]
    if not found:
        near = _nearest(register_name.upper(), [each.register.name for each in state.registers])
        raise CommandError(f"device {name} has no register '{register_name}'{near}")
    return Report("\n".join(_register_lines(found[0], full=True)), found[0].data())


def _subjects(context: Context) -> Report:
    names = [command.name for command in context.monitor.commands if command.name.startswith("info ")]
    devices = list(context.session.machine.board.devices)
    subjects = sorted(name.partition(" ")[2] for name in names)
    text = f"info about what: {', '.join(subjects)};\nor a device: {', '.join(devices)}"
    return Report(text, {"subjects": subjects, "devices": devices})


def _unknown(context: Context, word: str) -> str:
    commands = context.monitor.commands
    subjects = [command.name.partition(" ")[2] for command in commands if command.name.startswith("info ")]
    devices = list(context.session.machine.board.devices)
    return f"there is no 'info {word}' and no device '{word}'{_nearest(word, subjects + devices)}"


def _nearest(word: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, names, n=1)
    return f": did you mean '{near[0]}'?" if near else ""


def _device_lines(state: DeviceState) -> Iterator[str]:
    where = ", ".join(f"0x{base:08x}" for base in state.bases) or "not on the bus"
    yield f"{state.name}: {state.title} ({where})"
    width = max((len(fact.name) for fact in state.facts), default=0)
    for fact in state.facts:
        yield f"  {fact.name:{width}}  {fact}"
    for register in state.registers:
        yield from _register_lines(register)


def _register_lines(state: RegisterState, *, full: bool = False) -> Iterator[str]:
    register = state.register
    where = f"0x{state.address:08x} " if state.address is not None else ""
    yield f"{where}{register.name} = {state.hexadecimal}  {register.doc}"
    if full:
        access = {"rw": "read and write", "ro": "read only", "wo": "write only"}[register.access]
        yield f"  {register.width} bits, {access}, 0x{register.reset:x} after reset"
    fields = list(state.fields)
    names = max((len(field.field.name) for field in fields), default=0)
    places = max((len(field.bits) for field in fields), default=0)
    for field in fields:
        words = [field.field.doc, field.meaning]
        doc = ": ".join(word for word in words if word)
        yield f"    {field.field.name:{names}} {field.bits:{places}} {field.value:#x}  {doc}".rstrip()
        if full:
            for value, meaning in sorted(field.field.values.items()):
                yield f"    {'':{names + places + 1}} {value:#x} is {meaning}"


def _info_devices(context: Context, arguments: Sequence[str]) -> Report:
    board = context.session.machine.board
    states = context.session.call(lambda: [device_state(board, name) for name in board.devices])
    data = [
        {
            "name": state.name,
            "title": state.title,
            "bases": list(state.bases),
            "registers": len(state.registers),
        }
        for state in states
    ]
    width = max(len(state.name) for state in states)
    lines = []
    for state in states:
        base = f"0x{state.bases[0]:08x}" if state.bases else "-"
        lines.append(f"{state.name:{width}}  {base:10}  {len(state.registers):3} registers  {state.title}")
    return Report("\n".join(lines), data)


COMMANDS = (
    Command(
        "info",
        _info,
        "show a device, or one register of it, with every field's meaning",
        (Argument("what", Kind.DEVICE_REGISTER, optional=True),),
        group=GROUP,
        details=(
            "info nand          what the block is doing, its registers, their fields\n"
            "info nand.NFCONF   one register: access, reset value, all meanings of its fields\n"
            "info               what else there is to ask for\n"
            "Nothing is disturbed: no FIFO is popped, no status bit is cleared."
        ),
    ),
    Command("info devices", _info_devices, "list the blocks and chips", group=GROUP),
)
