"""Commands about the variables of the function that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from dbgemu.debug.c_paths import PathError, follow
from dbgemu.debug.dwarf_location import NoValueError
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.unwind import Frame, Unwinder
from dbgemu.debug.variables import OPTIMIZED_OUT, Function, Variable, variables_of, with_function
from dbgemu.monitor import debugging
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.monitor.context import Context


_Found = TypeVar("_Found")


def _at_frame(context: Context, get: Callable[[DebugSession, Frame, Frame | None], _Found | None]) -> _Found:
    """What ``get`` finds at the frame that is looked at, and its caller's. CommandError for None."""
    session, number = context.session, debugging.of(context).frame

    def look() -> tuple[int, _Found | None]:
        frames = list(Unwinder(session).frames(number + 2))
        if number >= len(frames):
            raise CommandError(f"there is no frame {number} any more")
        caller = frames[number + 1] if number + 1 < len(frames) else None
        return frames[number].pc, get(session, frames[number], caller)

    pc, found = session.call(look)
    if found is None:
        where = session.symbols.describe(pc) or "??"
        raise CommandError(
            f"there is no debug information for 0x{pc:08x} {where}: variables need a file with DWARF"
        )
    return found


def _info(wanted: Callable[[Variable], bool], nothing: str) -> Callable[..., Report]:
    def run(context: Context, arguments: Sequence[str]) -> Report:
        found = [variable for variable in _at_frame(context, variables_of) if wanted(variable)]
        lines: list[str] = []
        for function, members in groupby(found, key=lambda variable: variable.function):
            if function is not None:
                lines.append(f"in {function}, inlined here:")
            indent = "" if function is None else "  "
            lines += [f"{indent}{variable.declaration} = {variable.value}" for variable in members]
        data = [
            {
                "name": variable.name,
                "declaration": variable.declaration,
                "value": variable.value,
                "inlined": variable.function,
            }
            for variable in found
        ]
        return Report("\n".join(lines) or nothing, data)

    return run


def _info_variable(context: Context, arguments: Sequence[str]) -> Report:
    path = arguments[0]

    def get(session: DebugSession, frame: Frame, caller: Frame | None) -> tuple[str, str] | None:
        def look(function: Function) -> tuple[str, str]:
            try:
                return follow(function, path)
            except NoValueError:
                return "", OPTIMIZED_OUT
            except MEMORY_ERRORS as error:
                raise PathError(f"'{path}' cannot be read: {error}") from None

        return with_function(session, frame, caller, look)

    try:
        kind, value = _at_frame(context, get)
    except PathError as error:
        raise CommandError(str(error)) from None
    text = f"({kind}) {path} = {value}" if kind else f"{path} = {value}"
    return Report(text, {"path": path, "type": kind or None, "value": value})


_GROUP = "code"

_DETAILS = """By the DWARF of the symbol files, in the frame that 'frame', 'up' and 'down' select. What the
compiler has not kept at this place is <optimized out>; a function that it has put into this one is named."""

COMMANDS = (
    Command(
        "info locals",
        _info(lambda variable: not variable.is_argument or variable.function is not None, "no locals"),
        "show the variables of the function that is looked at",
        (),
        (),
        _GROUP,
        f"{_DETAILS}\nInner blocks come first; arguments of inlined functions count as variables.",
    ),
    Command(
        "info args",
        _info(lambda variable: variable.is_argument and variable.function is None, "no arguments"),
        "show the arguments of the function that is looked at",
        (),
        (),
        _GROUP,
        _DETAILS,
    ),
    Command(
        "info variable",
        _info_variable,
        "show a variable, or what it leads to, as C has it",
        (Argument("PATH", Kind.SYMBOL, rest=True),),
        (),
        _GROUP,
        "file, *file, file->f_path.dentry, table[3].name: variables of the function that is looked at, and\n"
        "global ones that its source file knows.",
    ),
)
