"""From exec to the first sign of the guest, and to the GDB server's port."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.guest_program import QEMU, QEMU_ENVIRONMENT, have_qemu, make_elf
from benchmarks.harness import Settings
from benchmarks.processes import emulator, free_port
from benchmarks.report import Aim, Figure
from dbgemu.engine.native import load_interpreter
from dbgemu.target.arm.assembler import assemble_program

_GROUP = "start-up, engine cached"
_AIM = Aim(300, at_most=True)
#: the least that a guest can do to be noticed: its first instructions send a character
_HELLO = "ldr r0, ={data:#x}; mov r1, #'!'; str r1, [r0]; here: b here"
#: UTXH0 (S3C2440A UM 11-16) and versatilepb's UARTDR (ARM DUI 0225D)
_UTXH0, _UARTDR = 0x50000020, 0x101F1000


def hello(base: int, data: int) -> bytes:
    """Code for ``base`` that sends ``!`` through the UART whose data register is at ``data``."""
    return assemble_program(_HELLO.format(data=data), base).data


def warm_up(settings: Settings) -> None:
    """Start dbgemu once, so that the engine and Python's bytecode are in their caches."""
    load_interpreter()
    with tempfile.TemporaryDirectory() as folder:
        _first_output(_own_command(settings, Path(folder)), settings.environment())


def _own_command(settings: Settings, folder: Path, *, elf: bool = False) -> list[str]:
    return [*settings.command, *hello_options(folder, elf=elf)]


def hello_options(folder: Path, *, elf: bool = False) -> list[str]:
    """What has dbgemu run :func:`hello`, whose file is put into ``folder``."""
    base = 0x30008000  # where dbgemu puts a raw image, too
    code = hello(base, _UTXH0)
    image = folder / ("mini2440.elf" if elf else "mini2440.bin")
    image.write_bytes(make_elf({base: code}, base) if elf else code)
    return ["-kernel", str(image), "-nographic"]


def _qemu_command(folder: Path) -> list[str]:
    base = 0x8000
    image = folder / "versatile.elf"
    image.write_bytes(make_elf({base: hello(base, _UARTDR)}, base))
    return [QEMU, "-M", "versatilepb", "-nographic", "-kernel", str(image)]


def _first_output(command: list[str], environment: dict[str, str]) -> float:
    with emulator(command, environment) as process:
        return 1000 * process.wait_for(b"!", 30.0)


def _gdb_port(command: list[str], environment: dict[str, str]) -> float:
    port = free_port()
    with emulator([*command, "-S", "-gdb", f"tcp::{port}"], environment) as process:
        client, seconds = process.wait_for_port(port)
        client.close()
        return 1000 * seconds


def measure(settings: Settings) -> list[Figure]:
    """Milliseconds from exec."""
    warm_up(settings)
    with tempfile.TemporaryDirectory() as name:
        folder, environment = Path(name), settings.environment()
        raw = {"dbgemu": (_own_command(settings, folder), environment)}
        elf = {"dbgemu": (_own_command(settings, folder, elf=True), environment)}
        if have_qemu():
            raw["QEMU"] = elf["QEMU"] = (_qemu_command(folder), QEMU_ENVIRONMENT)
        else:
            settings.note("qemu-system-arm is not installed, so there is no comparison with it")
        return [
            _figure(settings, raw, "exec to the guest's first character", _first_output),
            _figure(settings, elf, "the same from an ELF file", _first_output),
            _figure(settings, raw, "exec to a listening GDB port", _gdb_port),
        ]


def _figure(
    settings: Settings,
    sides: Mapping[str, tuple[list[str], dict[str, str]]],
    what: str,
    run: Callable[[list[str], dict[str, str]], float],
) -> Figure:
    samples = settings.interleave({name: partial(run, *side) for name, side in sides.items()}, what)
    peer = samples.get("QEMU", [])
    return Figure(_GROUP, what, "ms", samples["dbgemu"], "QEMU" if peer else "", peer, _AIM)
