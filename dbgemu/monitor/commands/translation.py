"""``info mmu``, ``info tlb``, ``info mem`` and ``walk``: the guest's page tables, decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from dbgemu.debug.translation import (
    CONTROL_FIELDS,
    DOMAIN_ACCESS,
    Mapping,
    Regime,
    Tables,
    Walk,
    joined,
    mappings,
    protections,
    read_tables,
    walk,
)
from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context
from dbgemu.monitor.expressions import evaluate
from dbgemu.target.bus import BusError
from dbgemu.target.facts import size

GROUP = "memory"
_TABLE = Argument("ttb=ADDRESS", optional=True)
_TABLE_HELP = "With ttb=ADDRESS another table, by its physical address: that of another process."


def _split(context: Context, arguments: Sequence[str]) -> tuple[list[str], int | None]:
    """The arguments without ``ttb=ADDRESS``, and that address."""
    words, table = [], None
    for word in arguments:
        name, equals, text = word.partition("=")
        if equals and name == "ttb":
            table = evaluate(context.session, text)
            if table & 0x3FFF:
                raise CommandError(f"0x{table:08x} is no table's address: these are multiples of 0x4000")
        else:
            words.append(word)
    return words, table


def _regime(context: Context, table: int | None) -> Regime:
    regime = Regime.of(context.session.cpu)
    if table is None:
        return regime
    return Regime(table, regime.dacr, regime.control | 1, regime.process)


def _info_mmu(context: Context, arguments: Sequence[str]) -> Report:
    regime = context.session.call(lambda: _regime(context, None))
    lines = [f"control register 0x{regime.control:08x}"]
    for field in CONTROL_FIELDS:
        value = field.get(regime.control)
        lines.append(f"  {field.name:3} {value}  {field.doc}: {field.values[value]}".rstrip(": "))
    lines.append(f"translation table base 0x{regime.table:08x}")
    lines.append(f"domains 0x{regime.dacr:08x}")
    domains = [DOMAIN_ACCESS[regime.domain(number)] for number in range(16)]
    for access in dict.fromkeys(domains):
        numbers = " ".join(str(number) for number, each in enumerate(domains) if each == access)
        lines.append(f"  {access}: {numbers}")
    lines.append(f"FCSE process 0x{regime.process:08x}")
    data = {
        "control": regime.control,
        "fields": {field.name: field.get(regime.control) for field in CONTROL_FIELDS},
        "enabled": regime.on,
        "table": regime.table,
        "dacr": regime.dacr,
        "domains": domains,
        "fcse_process": regime.process,
    }
    return Report("\n".join(lines), data)


def _ranges(context: Context, arguments: Sequence[str]) -> tuple[Regime, list[Mapping]]:
    words, table = _split(context, arguments)
    if words:
        raise CommandError(f"'{words[0]}' is not expected: only ttb=ADDRESS is")

    def collect() -> tuple[Regime, Tables | None]:
        regime = _regime(context, table)
        bus = context.session.machine.board.bus
        return regime, read_tables(bus.peek, regime.table) if regime.on else None

    try:
        regime, tables = context.session.call(collect)
    except BusError as error:
        raise CommandError(f"the translation table cannot be read: {error}") from None
    return regime, [] if tables is None else list(joined(mappings(tables)))


_OFF = "the MMU is off: virtual addresses are physical ones"


def _info_tlb(context: Context, arguments: Sequence[str]) -> Report:
    regime, ranges = _ranges(context, arguments)
    if not regime.on:
        return Report(_OFF, [])
    lines = ["virtual             -> physical    size      by          domain  AP  svc usr  C B"]
    data = []
    for each in ranges:
        privileged, user = regime.permissions(each.domain, each.ap)
        end = each.virtual + each.size - 1
        flags = f"{'C' if each.cacheable else '-'} {'B' if each.bufferable else '-'}"
        lines.append(
            f"{each.virtual:08x}-{end:08x}   -> {each.physical:08x}    {size(each.size):9} "
            f"{each.kind.value:11} {each.domain:4}     {each.ap}   {privileged}  {user}  {flags}"
        )
        data.append(asdict(each) | {"kind": each.kind.value, "privileged": privileged, "user": user})
    return Report("\n".join(lines), data)


def _info_mem(context: Context, arguments: Sequence[str]) -> Report:
    regime, ranges = _ranges(context, arguments)
    if not regime.on:
        return Report(_OFF, [])
    found = list(protections(iter(ranges), regime))
    lines = [
        f"{each.virtual:08x}-{each.virtual + each.size:08x} {each.size:08x} "
        f"svc {each.privileged} usr {each.user}"
        for each in found
    ]
    return Report("\n".join(lines), [asdict(each) for each in found])


def _walk(context: Context, arguments: Sequence[str]) -> Report:
    words, table = _split(context, arguments)
    if len(words) != 1:
        raise CommandError("one address is expected, and perhaps ttb=ADDRESS")
    session = context.session
    address = evaluate(session, words[0])
    found = session.call(lambda: walk(session.machine.board.bus, _regime(context, table), address))
    return Report("\n".join(_walk_lines(found)), found.data())


def _walk_lines(found: Walk) -> Iterator[str]:
    yield f"virtual 0x{found.address:08x}"
    if found.modified != found.address:
        yield f"  FCSE makes it 0x{found.modified:08x}"
    if found.table is None:
        yield "  the MMU is off"
    else:
        yield f"  table at 0x{found.table:08x}"
    for step in found.descriptors:
        yield f"  level {step.level}: [0x{step.address:08x}] = 0x{step.value:08x}: {step.text}"
    if found.domain_access:
        yield f"  {found.domain_access}"
    if found.physical is None:
        yield found.fault
        return
    privileged, user = found.allowed
    yield f"  privileged: {_words(privileged)}; user: {_words(user)}"
    yield f"physical 0x{found.physical:08x}: {found.place}"


def _words(rights: str) -> str:
    return {"rw": "read and write", "r-": "read only", "--": "nothing"}[rights]


COMMANDS = (
    Command("info mmu", _info_mmu, "show the control register's bits, table base and domains", group=GROUP),
    Command(
        "info tlb",
        _info_tlb,
        "show what the page tables map, joined to ranges",
        (_TABLE,),
        group=GROUP,
        details=(
            "svc and usr are what privileged and user accesses may, with domains and the S and R bits\n"
            f"taken into account; C: cacheable, B: bufferable. {_TABLE_HELP}"
        ),
    ),
    Command(
        "info mem",
        _info_mem,
        "show the mapped virtual addresses and what is allowed there",
        (_TABLE,),
        group=GROUP,
        details=_TABLE_HELP,
    ),
    Command(
        "walk",
        _walk,
        "translate an address step by step",
        (Argument("address", Kind.EXPRESSION), _TABLE),
        group=GROUP,
        details=f"Shows each table entry, the domain, what is allowed, and what answers there. {_TABLE_HELP}",
    ),
)
