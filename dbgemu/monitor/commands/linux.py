"""``info tasks``, ``dmesg`` and ``lsmod``: the Linux guest, read from its kernel's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from dbgemu.monitor.command import Argument, Command, CommandError, Kind, Report
from dbgemu.monitor.context import Context
from dbgemu.monitor.expressions import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbgemu.debug.linux import LinuxGuest

T = TypeVar("T")

GROUP = "linux"


def _ask(context: Context, read: Callable[[LinuxGuest], T]) -> T:
    from dbgemu.debug.linux.errors import LinuxError  # few runs look into a kernel

    try:
        return read(context.session.linux)
    except LinuxError as error:
        raise CommandError(str(error)) from None


def _info_tasks(context: Context, arguments: Sequence[str]) -> Report:
    tasks, problem = _ask(context, lambda guest: guest.tasks())
    lines = ["   pid   tgid parent  state            table     task_struct  name"]
    for task in tasks:
        table = f"{task.table:08x}" if task.table is not None else "-"
        name = f"[{task.comm}]" if task.kernel_thread else task.comm
        mark = "*" if task.current else " "
        lines.append(
            f"{mark}{task.pid:5} {task.tgid:6} {task.parent:6}  {task.state_name:15}  "
            f"{table:8}  {task.address:08x}     {name}"
        )
    lines += [problem] if problem else []
    data = [asdict(task) | {"state_name": task.state_name} for task in tasks]
    return Report("\n".join(lines), {"tasks": data, "problem": problem})


def _dmesg(context: Context, arguments: Sequence[str]) -> Report:
    count = evaluate(context.session, arguments[0]) if arguments else None
    if count == 0:
        raise CommandError("'dmesg' shows at least 1 record")
    records = _ask(context, lambda guest: guest.log())
    shown = records if count is None else records[-count:]
    return Report("\n".join(map(str, shown)), [asdict(record) for record in shown])


def _lsmod(context: Context, arguments: Sequence[str]) -> Report:
    modules, problem = _ask(context, lambda guest: guest.modules())
    lines = ["module                    size  base      state      used by"]
    for module in modules:
        users = ",".join(module.users)
        lines.append(
            f"{module.name:24} {module.size:6}  {module.base:08x}  {module.state:9}  "
            f"{module.references} {users}".rstrip()
        )
    lines += [problem] if problem else []
    return Report("\n".join(lines), {"modules": [asdict(each) for each in modules], "problem": problem})


COMMANDS = (
    Command(
        "info tasks",
        _info_tasks,
        "list the Linux guest's tasks (* has the CPU)",
        group=GROUP,
        details="The kernel's symbols have to be loaded, with debug information: 'symbol-file vmlinux'.\n"
        "A task's table is what 'walk' and 'info tlb' take as ttb=.",
    ),
    Command(
        "dmesg",
        _dmesg,
        "show the Linux guest's log, or its last records",
        (Argument("count", Kind.EXPRESSION, optional=True),),
        group=GROUP,
    ),
    Command("lsmod", _lsmod, "list the modules that the Linux guest has loaded", group=GROUP),
)
