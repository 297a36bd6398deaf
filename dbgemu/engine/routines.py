"""Routines: shared semantics as native functions, called from handlers and from each other."""

from __future__ import annotations

from collections.abc import Callable

from dbgemu.engine.ir import EmittingCore, field_size
from dbgemu.engine.layout import (
    PAGE_PRESENT,
    PHYSICAL_PAGE_BITS,
)
from dbgemu.target.arm.core import Routine, Vector
from dbgemu.target.arm.state import (
    CATCH_TTB,
    DATA_TLB_ENTRIES,
    EXIT_CATCH,
    FETCH_TLB_ENTRIES,
    FILLED,
    NO_TAG,
    PAGE_BITS,
    TRACE_SWITCHES,
    Mode,
)
from dbgemu.target.arm.value import Value

#: of functions that tail-call each other: all of one prototype, and no host register is anybody's to keep
CONVENTION = "preserve_nonecc"
PASSED = "ptr %s, ptr %h, ptr %he, i64 %add, ptr %tab"
PARAMETERS = "ptr noalias %s, ptr %h, ptr %he, i64 %add, ptr %tab"


class RoutineCore(EmittingCore):
    """Emits a routine as a function of its own."""

    def __init__(self, result: int | None = None) -> None:
        super().__init__()
        self._result = result

    def ret(self, value: Value | None = None) -> None:
        """See :class:`Core`, also for the following."""
        if self._result is None:
            self.end("ret void")
        else:
            assert value is not None
            self.end(f"ret i{self._result} {value}")

    def load_physical(self, address: Value) -> Value:
        """A word of a page table; where there is no memory it reads as 0, a fault."""
        result = self.variable("i32", "0")
        entry = self.physical_page(address)
        for _ in self.when((entry & PAGE_PRESENT).ne(0)):
            pointer = self.host_pointer(address.zext(64) + (entry & -4))
            self.line(f"store i32 {self.op(f'load i32, ptr {pointer}', 32)}, ptr {result}")
        return self.op(f"load i32, ptr {result}", 32)

    def physical_page(self, address: Value) -> Value:
        """The entry of ``physical_pages`` for a physical address."""
        pages = self.get_pointer("physical_pages")
        index = (address >> PHYSICAL_PAGE_BITS).zext(64)
        return self.op(f"load i64, ptr {self.op(f'getelementptr i64, ptr {pages}, i64 {index}', 64)}", 64)

    def flush_tlbs(self) -> None:
        """All tables lie side by side in the state; few entries are cleared one by one."""
        count = self.get("filled_count")
        start = self.address_of("privileged_data")
        few, many, test, body, done = (self.name("L") for _ in range(5))
        self.end(f"br i1 {count.ugt(FILLED)}, label %{many}, label %{few}")
        self.label(many)
        size = field_size("privileged_data", "second_fetch")
        self.line(f"call void @llvm.memset.p0.i64(ptr {start}, i8 -1, i64 {size}, i1 false)")
        self.end(f"br label %{done}")
        self.label(few)
        left = self.variable("i32", str(count))
        self.label(test)
        number = self.op(f"load i32, ptr {left}", 32)
        self.end(f"br i1 {number.eq(0)}, label %{done}, label %{body}")
        self.label(body)
        distance = self.get("filled", number - 1).zext(64)
        # both tags of a data entry; tag and page of a fetch entry
        self.line(f"store i64 -1, ptr {self.op(f'getelementptr i8, ptr {start}, i64 {distance}', 64)}")
        self.line(f"store i32 {number - 1}, ptr {left}")
        self.end(f"br label %{test}")
        self.label(done)
        self.set("filled_count", self.const(0))
        self.set("wide_fills", self.const(0))

    def note_filled(self, entry: Value) -> None:
        """An entry of a TLB is about to be filled: the next flush has to clear it."""
        count = self.get("filled_count")
        start = Value(self, self.address_of("privileged_data"), 64)
        for _ in self.when(count.ult(FILLED)):
            distance = self._address(entry) - self._address(start)
            self.set("filled", distance.trunc(32), count)
        for _ in self.when(~count.ugt(FILLED)):
            self.set("filled_count", count + 1)

    def _address(self, pointer: Value) -> Value:
        return self.op(f"ptrtoint ptr {pointer} to i64", 64)

    def switch_domains(self, value: Value) -> None:
        """The other bank may have been filled under this value: Linux changes between two of them."""
        present = self.get("dacr")
        for _ in self.when(value.ne(present)):
            for _ in self.when(self.get("other_dacr").ne(value)):
                self.flush_tlbs()
            self.set("other_dacr", present)
            self.set("bank", self.get("bank") ^ 1)
            self.select_privilege((self.get("control") & 0x1F).eq(Mode.USR))

    def flush_tlb_page(self, address: Value) -> None:
        """Its four entries in each table; everything where a section or large page may be meant."""
        done = self.name("L")
        for _ in self.when(((self.get("wide_fills") >> (address >> 27)) & 1).ne(0)):
            self.flush_tlbs()
            self.end(f"br label %{done}")
        page = (address >> PAGE_BITS) & ~3
        for tables, entries, scale, tags in (
            ("privileged_data", DATA_TLB_ENTRIES, 16, (0, 4)),
            ("privileged_fetch", FETCH_TLB_ENTRIES, 32, (0,)),
        ):
            # of both privileges, in both banks
            for number in range(4):
                first = self.address_of(tables, (page & (entries - 1)) + number * entries, scale)
                for place in (scale * k + tag for k in range(4) for tag in tags):
                    slot = self.op(f"getelementptr i8, ptr {first}, i64 {place}", 64)
                    self.line(f"store i32 {NO_TAG}, ptr {slot}")
        self.label(done)

    def select_privilege(self, user: Value) -> None:
        """Point to the tables of this privilege."""
        first = self.get("bank") << 1
        table = first | user.zext(32)
        for pointer, tables, size, number in (
            ("data_tlb", "privileged_data", 16 * DATA_TLB_ENTRIES, table),
            ("user_tlb", "privileged_data", 16 * DATA_TLB_ENTRIES, first | 1),
            ("fetch_tlb", "privileged_fetch", 32 * FETCH_TLB_ENTRIES, table),
        ):
            place = self.address_of(tables, number, size)
            self.line(f"store ptr {place}, ptr {self.address_of(pointer)}")

    def notice(self, event: int, changed: Value) -> None:
        """Keep the event, and make the next block's entry stop."""
        for _ in self.when((self.get("catch_events") & event).ne(0) & changed):
            self.set("caught", self.get("caught") | event)
            self.line(f"store i8 1, ptr {self.address_of('exit_request', EXIT_CATCH, scale=1)}")
        if event == CATCH_TTB:
            for _ in self.when((self.get("trace_kinds") & TRACE_SWITCHES).ne(0) & changed):
                self.line(f"call void {self.get_pointer('trace_switch')}(ptr %s)")

    # What only instructions do: a routine's caller sees to it

    def bits(self, high: int, low: int) -> Value:
        """See :class:`Core`, also for the following."""
        raise _NoInstructionError

    def jump(self, address: Value) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def jump_any(self, address: Value) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def exception(self, vector: Vector) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def end_block(self) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def wait_for_interrupt(self) -> None:
        """Not in a routine."""
        raise _NoInstructionError

    def load(
        self,
        address: Value,
        size: int,
        *,
        signed: bool = False,
        user: bool = False,
        block: bool = False,
        undo: Callable[[], None] | None = None,
    ) -> Value:
        """Not in a routine."""
        raise _NoInstructionError

    def store(self, address: Value, value: Value, size: int, *, user: bool = False) -> None:
        """Not in a routine."""
        raise _NoInstructionError


class _NoInstructionError(TypeError):
    """A routine asked for what only an instruction has."""


def emit_routine(routine: Routine) -> str:
    """The IR of a routine's function."""
    core = RoutineCore(routine.result)
    arguments = [Value(core, f"%a{k}", width) for k, width in enumerate(routine.arguments)]
    routine.function(core, *arguments)
    parameters = "".join(f", i{a.width} {a}" for a in arguments)
    result = "void" if routine.result is None else f"i{routine.result}"
    return f"define {result} @{routine.name}(ptr noalias %s{parameters}) {{\n{core.body()}\n}}"


def emit_function(head: str, emit: Callable[[RoutineCore], None], result: int | None = None) -> str:
    """The IR of a function of our own: ``head`` and the body that ``emit`` appends."""
    core = RoutineCore(result)
    emit(core)
    return f"{head} {{\n{core.body()}\n}}"
