"""Breakpoint conditions as native code: emitting and compiling one, and finding it at a breakpoint.

A condition is a function of the state and the pc. It may only look: registers, and memory that is
plain RAM or ROM. What it cannot see (a device, an unmapped address) makes it give up, and the run
stops, so that somebody with more patience decides.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import count

import llvmlite.binding as llvm

from dbgemu.engine.condition_table import (
    FALSE,
    MULTIPLIER,
    TRUE,
    UNKNOWN,
    ConditionEntry,
    ConditionTable,
    NativeCondition,
)
from dbgemu.engine.ir import DECLARATIONS
from dbgemu.engine.layout import PAGE_PRESENT
from dbgemu.engine.native import compile_ir, target_machine
from dbgemu.engine.routines import RoutineCore, emit_function
from dbgemu.target.arm.cp15 import CP15_REGISTERS
from dbgemu.target.arm.mmu import RESULT_FAULT, walk
from dbgemu.target.arm.state import PAGE_SIZE
from dbgemu.target.arm.value import Value

_numbers = count()

_ALIASES = {"sp": "r13", "lr": "r14", "r15": "pc"}


class UntranslatableError(LookupError):
    """A condition asks for what native code cannot give."""


class ConditionCore(RoutineCore):
    """Emits a condition: ``i32 (ptr %s, i32 %pc)``."""

    def __init__(self) -> None:
        super().__init__(32)

    def named_register(self, name: str) -> Value:
        """A core or system control register, 32 bits; UntranslatableError for banked ones."""
        name = _ALIASES.get(name, name)
        if name == "pc":
            return Value(self, "%pc")
        if name == "cpsr":
            return self.read_cpsr()
        if name in CP15_REGISTERS:
            register = CP15_REGISTERS[name]
            return self.const(register.constant) if register.field is None else self.get(register.field)
        if name in {f"r{number}" for number in range(15)}:
            return self.get("r", int(name[1:]))
        raise UntranslatableError(f"register {name} is not at hand in a native condition")

    def look(self, address: Value, size: int) -> Value:
        """The ``size`` bytes at virtual ``address`` as 64 bits, little-endian; gives up where it cannot."""
        self.give_up_when((address & (PAGE_SIZE - 1)).ugt(PAGE_SIZE - size))
        result = self.call(walk, address, self.const(0))
        self.give_up_when((result & RESULT_FAULT).ne(0))
        physical = result.trunc(32)
        page = self.physical_page(physical)
        self.give_up_when((page & PAGE_PRESENT).eq(0))
        pointer = self.host_pointer(physical.zext(64) + (page & -4))
        return self.op(f"load i{8 * size}, ptr {pointer}, align 1", 8 * size).zext(64)

    def give_up_when(self, condition: Value) -> None:
        """Return UNKNOWN where ``condition`` (width 1) holds."""
        for _ in self.when(condition):
            self.ret(self.const(UNKNOWN))
        if condition.constant:
            # what follows is never reached, but is emitted: it refers to what stands there
            self.label(self.name("L"))


@cache
def _machine() -> llvm.TargetMachine:
    return target_machine()


def compile_condition(table: ConditionTable, emit: Callable[[ConditionCore], None]) -> NativeCondition:
    """Compile what ``emit`` emits (some ms), for the CPU of ``table``; it may raise UntranslatableError.

    The code stays for as long as the interpreter does: some KiB.
    """
    core = ConditionCore()
    emit(core)
    name = f"breakpoint_condition_{next(_numbers)}"
    declared = f"{DECLARATIONS}\ndeclare i64 @walk(ptr, i32, i32)\n"
    body = f"define i32 @{name}(ptr noalias %s, i32 %pc) {{\n{core.body()}\n}}"
    table.code.add(compile_ir(declared + body, _machine()))
    return NativeCondition(table.code, name)


def _lookup(core: RoutineCore) -> None:
    """The verdict of the condition at ``%pc``; TRUE where there is none."""
    pc = Value(core, "%pc")
    mask = core.get("condition_mask")
    slot = core.variable("i32", str(((pc * MULTIPLIER) >> 8) & mask))
    probe = core.name("L")
    core.label(probe)
    here = core.op(f"load i32, ptr {slot}", 32)
    size = ctypes.sizeof(ConditionEntry)
    table = core.get_pointer("conditions")
    entry = core.op(f"getelementptr [{size} x i8], ptr {table}, i64 {here.zext(64)}", 64)
    place = core.op(f"getelementptr i8, ptr {entry}, i64 {ConditionEntry.function.offset}", 64)
    function = core.op(f"load ptr, ptr {place}", 64)
    for _ in core.when(core.op(f"icmp eq ptr {function}, null", 1)):
        core.ret(core.const(TRUE))
    for _ in core.when(core.op(f"load i32, ptr {entry}", 32).eq(pc)):
        verdict = core.op(f"call i32 {function}(ptr %s, i32 {pc})", 32)
        for _ in core.when(verdict.eq(FALSE)):
            passes = core.op(f"getelementptr i8, ptr {entry}, i64 {ConditionEntry.passes.offset}", 64)
            core.line(f"store i64 {core.op(f'load i64, ptr {passes}', 64) + 1}, ptr {passes}")
        core.ret(verdict)
    core.line(f"store i32 {(here + 1) & mask}, ptr {slot}")
    core.end(f"br label %{probe}")


def emit_lookup() -> str:
    """The IR of the function that breakpoints consult."""
    return emit_function("define i32 @condition_at(ptr noalias %s, i32 %pc) noinline", _lookup, 32)
