"""The registers as GDB sees them: one table, and the target description generated from it.

GDB manual, "Target Description Format" and "ARM Features". The ``g`` packet holds the core registers
in the order of their numbers: r0 to pc, then cpsr (number 25: 16 to 24 once were the FPA's). Banked,
coprocessor and device registers go one by one with ``p`` and ``P``, so that a stop costs no more for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dbgemu.gdbstub.device_registers import DeviceRow, describe, device_rows

if TYPE_CHECKING:
    from dbgemu.engine.cpu import Cpu

#: (name, first bit, last bit): ARM ARM A2.5, the program status registers
_PSR_BITS = (("N", 31), ("Z", 30), ("C", 29), ("V", 28), ("I", 7), ("F", 6), ("T", 5))
_MODES = (
    ("usr", 0x10),
    ("fiq", 0x11),
    ("irq", 0x12),
    ("svc", 0x13),
    ("abt", 0x17),
    ("und", 0x1B),
    ("sys", 0x1F),
)


@dataclass(frozen=True)
class RegisterRow:
    """One 32-bit register: its number in packets, its name here and there, its type in GDB."""

    number: int
    name: str
    type: str = "uint32"
    group: str = ""
    doc: str = ""


@dataclass(frozen=True)
class RegisterFeature:
    """Registers that belong together in the target description."""

    name: str
    registers: tuple[RegisterRow, ...]


def _core() -> RegisterFeature:
    types = {"sp": "data_ptr", "pc": "code_ptr"}
    names = [f"r{number}" for number in range(13)] + ["sp", "lr", "pc"]
    rows = [RegisterRow(number, name, types.get(name, "uint32")) for number, name in enumerate(names)]
    return RegisterFeature("org.gnu.gdb.arm.core", (*rows, RegisterRow(25, "cpsr", "psr")))


def _banked(first: int) -> RegisterFeature:
    names = [f"r{number}_usr" for number in range(8, 15)] + [f"r{number}_fiq" for number in range(8, 15)]
    names += [f"r{number}_{mode}" for mode in ("irq", "svc", "abt", "und") for number in (13, 14)]
    names += [f"spsr_{mode}" for mode in ("fiq", "irq", "svc", "abt", "und")]
    return RegisterFeature(
        "org.dbgemu.arm.banked",
        tuple(
            RegisterRow(number, name, "psr" if name.startswith("spsr") else "uint32", "banked")
            for number, name in enumerate(names, first)
        ),
    )


def _cp15(cpu: Cpu, first: int) -> RegisterFeature:
    return RegisterFeature(
        "org.dbgemu.arm.cp15",
        tuple(
            RegisterRow(number, name, "uint32", "cp15", register.doc)
            for number, (name, register) in enumerate(cpu.cp15_registers.items(), first)
        ),
    )


class RegisterFile:
    """All registers of a CPU that GDB can ask for, by number."""

    def __init__(self, cpu: Cpu) -> None:
        core = _core()
        banked = _banked(core.registers[-1].number + 1)
        self.features = (core, banked, _cp15(cpu, banked.registers[-1].number + 1))
        #: names of the registers in the ``g`` packet, in its order
        self.core_names = tuple(row.name for row in core.registers)
        self.by_number = {row.number: row for feature in self.features for row in feature.registers}
        self.names = {number: row.name for number, row in self.by_number.items()}
        self._cpu = cpu

    @cached_property
    def devices(self) -> dict[int, DeviceRow]:
        """The registers of devices, by number: behind those of the CPU."""
        return device_rows(self._cpu.bus, max(self.by_number) + 1)

    @cached_property
    def xml(self) -> bytes:
        """The target description."""
        return "\n".join(_document(self.features, self.devices)).encode()


def _document(features: Iterable[RegisterFeature], devices: dict[int, DeviceRow]) -> Iterator[str]:
    yield '<?xml version="1.0"?>'
    yield '<!DOCTYPE target SYSTEM "gdb-target.dtd">'
    yield '<target version="1.0">'
    yield "<architecture>armv4t</architecture>"
    for feature in features:
        yield f'<feature name="{feature.name}">'
        if any(row.type == "psr" for row in feature.registers):
            yield from _psr_type()
        for row in feature.registers:
            # A call of a function from GDB must save what the function may change, no system state.
            group = f' group="{row.group}" save-restore="no"' if row.group else ""
            yield (f'<reg name="{row.name}" bitsize="32" regnum="{row.number}" type="{row.type}"{group}/>')
        yield "</feature>"
    yield from describe(devices)
    yield "</target>\n"


def _psr_type() -> Iterator[str]:
    yield '<enum id="mode" size="4">'
    for name, value in _MODES:
        yield f'<evalue name="{name}" value="{value}"/>'
    yield "</enum>"
    yield '<flags id="psr" size="4">'
    yield '<field name="M" start="0" end="4" type="mode"/>'
    for name, bit in reversed(_PSR_BITS):
        yield f'<field name="{name}" start="{bit}" end="{bit}"/>'
    yield "</flags>"
