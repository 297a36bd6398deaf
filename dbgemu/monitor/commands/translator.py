"""What the translator of hot code has made: ``info jit``, ``info tb``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbgemu.monitor.command import Argument, Command, CommandError, Kind
from dbgemu.monitor.context import Context
from dbgemu.monitor.expressions import evaluate

if TYPE_CHECKING:
    from dbgemu.engine.translator.translator import Translator


def _translator(context: Context) -> Translator:
    from dbgemu.engine.translator.translator import Translator  # few sessions have one

    translator = context.session.cpu.translation
    if not isinstance(translator, Translator):
        raise CommandError("nothing is translated: start with -accel jit")
    return translator


def _info_jit(context: Context, arguments: Sequence[str]) -> str:
    translator = _translator(context)
    from dbgemu.engine.translator.report import jit_report

    return context.session.call(lambda: jit_report(translator))


def _info_tb(context: Context, arguments: Sequence[str]) -> str:
    translator = _translator(context)
    address = evaluate(context.session, arguments[0])
    from dbgemu.engine.translator.report import region_report

    return context.session.call(lambda: region_report(translator, address))


COMMANDS = (
    Command(
        "info jit",
        _info_jit,
        "show what the translator has made: regions, hits, times",
        group="engine",
    ),
    Command(
        "info tb",
        _info_tb,
        "show what is translated at an address: guest code, LLVM IR, host code",
        (Argument("address", Kind.EXPRESSION),),
        group="engine",
    ),
)
