"""What all cores of translated code share: how memory is accessed, and what is left to tier 0."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dbgemu.engine.ir import LIKELY, EmittingCore
from dbgemu.engine.layout import FILL_MEMORY, FILL_WRITE
from dbgemu.engine.memory_paths import SLOW_USER
from dbgemu.target.arm.core import Fields, Routine, Vector
from dbgemu.target.arm.decode import Pattern
from dbgemu.target.arm.semantics.coprocessor import read_cp15
from dbgemu.target.arm.state import DATA_TLB_ENTRIES, OBSERVED, PAGE_BITS, PAGE_SIZE, F, I, Mode, T
from dbgemu.target.arm.value import Value


class _ReturnedError(Exception):
    """A routine in line has come to its end."""

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


class TranslatingCore(EmittingCore):
    """Emits instructions into functions that tier 0 tail-calls; ``%tlb`` is the data TLB's address."""

    #: of the instruction at hand
    pattern: Pattern
    #: instructions of the block before the one at hand
    _before: Value | int

    def __init__(self, thumb: bool) -> None:
        super().__init__()
        self.thumb = thumb
        self.instruction_size = 2 if thumb else 4
        self._suffix = "thumb" if thumb else "arm"

    @abstractmethod
    def _here(self) -> Value | int:
        """The address of the instruction at hand."""

    @abstractmethod
    def _leave(self, way: str, pc: Value | int, executed: Value | int) -> None:
        """End: ``executed`` instructions of the block at hand are done, ``pc`` is next.

        ``way`` is the field of the state with the function to go on in.
        """

    def _check_budget(self, pc: Value | int, count: Value) -> None:
        """Leave to tier 0 at ``pc`` where the budget may end before it is looked at again."""
        # other threads change the limit: it is read at each turn of a loop, in the comparison itself
        self.line('fence syncscope("singlethread") acquire')
        enough = ~self.get64("fast_limit").slt(count)
        near, go = self.name("L"), self.name("L")
        self.end(f"br i1 {enough}, label %{go}, label %{near}, {LIKELY}")
        self.label(near)
        # a block of its own: else LLVM makes what it hands to the exit before each comparison
        self.line('fence syncscope("singlethread") acquire')
        self._leave(f"interpret_{self._suffix}", pc, 0)
        self.label(go)

    def _leave_to_interpreter(self) -> None:
        """Tier 0 executes the instruction at hand."""
        self._leave(f"interpret_{self._suffix}", self._here(), self._before)

    def move_to_status(self, i: Fields) -> None:
        """MSR of the CPSR, in line where the mode stays: what masks and unmasks interrupts."""
        if self.pattern.name == "move_register_to_status":
            operand = self.reg(i.rm)
        else:
            operand = i.imm.ror(i.rotate << 1)
        mask = self.known(i.mask)
        if mask & 1:
            present = self.get("control")
            wanted = (operand & (0xFF & ~T)) | (present & T) | 0x10
            plain = ((wanted ^ present) & 0x1F).eq(0) & (present & 0x1F).ne(Mode.USR)
            go, leave = self.name("L"), self.name("L")
            self.end(f"br i1 {plain}, label %{go}, label %{leave}, {LIKELY}")
            self.label(leave)
            self._leave_to_interpreter()
            self.label(go)
        if mask & 8:
            self.write_flags(operand)
        if mask & 1:
            self.set("control", wanted)
            pending = self.get("interrupt_lines") & ~wanted & (I | F)
            self.set("interrupts", (self.get("interrupts") & OBSERVED) | pending)
            go, leave = self.name("L"), self.name("L")
            self.end(f"br i1 {pending.eq(0)}, label %{go}, label %{leave}, {LIKELY}")
            self.label(leave)
            self._leave("interpret_arm", self._here() + 4, self._before + 1)
            self.label(go)

    def set_reg(self, number: Value | int, value: Value) -> None:
        """A register, r15 with a jump."""
        known = self.known(number) if isinstance(number, Value) else number
        if known == 15:
            self.jump(value)
        else:
            self.set("r", value, known)

    @property
    def carry(self) -> Value:
        """The C flag."""
        return self.get("c").trunc(1)

    # -- control -----------------------------------------------------------------------------

    def jump_any(self, address: Value) -> None:
        """Go on in the instruction set that ``control`` says."""
        self._leave("go_any", address, self._before + 1)

    def exception(self, vector: Vector) -> None:
        """Tier 0 takes it."""
        self._leave_to_interpreter()

    def end_block(self) -> None:
        """Nothing that ends a block is translated."""
        raise AssertionError

    def wait_for_interrupt(self) -> None:
        """Nothing that waits is translated."""
        raise AssertionError

    def ret(self, value: Value | None = None) -> None:
        """The end of a routine in line."""
        assert value is not None
        raise _ReturnedError(value)

    def call(self, routine: Routine, *arguments: Value) -> Value:
        """In line: of the routines that are called, it is known what they do."""
        assert routine is read_cp15
        try:
            routine.function(self, *arguments)
        except _ReturnedError as returned:
            return returned.value
        raise AssertionError(routine.name)

    def load_physical(self, address: Value) -> Value:
        """Only routines do this, also the following."""
        raise AssertionError

    def flush_tlbs(self) -> None:
        """Only in routines."""
        raise AssertionError

    def switch_domains(self, value: Value) -> None:
        """Only in routines."""
        raise AssertionError

    def flush_tlb_page(self, address: Value) -> None:
        """Only in routines."""
        raise AssertionError

    def select_privilege(self, user: Value) -> None:
        """Only in routines."""
        raise AssertionError

    def notice(self, event: int, changed: Value) -> None:
        """Only in routines."""
        raise AssertionError

    # -- memory ------------------------------------------------------------------------------

    def _look_up(
        self, address: Value, size: int, *, write: bool, user: bool = False, last: Value | None = None
    ) -> Value:
        """The host address of ``address``, through the TLB; tier 0 does what is no plain memory.

        With ``last``, the address of a block transfer's last word, which has to lie in the same page.
        """
        table = self.get_pointer("user_tlb") if user else "%tlb"
        index = ((address >> PAGE_BITS) & (DATA_TLB_ENTRIES - 1)).zext(64)
        entry = self.op(f"getelementptr [16 x i8], ptr {table}, i64 {index}", 64)
        place = self.op(f"getelementptr i8, ptr {entry}, i64 {4 if write else 0}", 64)
        matches = self.op(f"load i32, ptr {place}", 32).eq(address & (-PAGE_SIZE | (size - 1)))
        if last is not None:
            matches = matches & ((address ^ last) >> PAGE_BITS).eq(0)
        hit, miss, go = self.name("H"), self.name("M"), self.name("G")
        self.end(f"br i1 {matches}, label %{hit}, label %{miss}, {LIKELY}")
        with self._aside() as leave:
            self.label(miss)
            if last is not None:
                fill = self.name("M")
                within = ((address ^ last) >> PAGE_BITS).eq(0)
                self.end(f"br i1 {within}, label %{fill}, label %{leave}")
                self.label(fill)
                miss = fill
            flags = size | (FILL_WRITE if write else 0) | (SLOW_USER if user else 0)
            if last is not None or self.pattern.name == "swap":
                flags |= FILL_MEMORY
            access = address.zext(64) | (flags << 32)
            function = self.get_pointer("fill")
            filled = self.op(f"call preserve_mostcc i64 {function}(ptr %s, i64 {access})", 64)
            self.end(f"br i1 {filled.ne(0)}, label %{go}, label %{leave}, {LIKELY}")
            self.label(leave)
            self._leave_to_interpreter()
        self.label(hit)
        known = self.op(f"load i64, ptr {self.op(f'getelementptr i8, ptr {entry}, i64 8', 64)}", 64)
        self.label(go)
        addend = self.op(f"phi i64 [ {known}, %{hit} ], [ {filled}, %{miss} ]", 64)
        return addend + address.zext(64)

    @contextmanager
    def _aside(self) -> Iterator[str]:
        """What is emitted inside is out of the way; gives a fresh label."""
        yield self.name("S")
        self.ended = True

    def store(self, address: Value, value: Value, size: int, *, user: bool = False) -> None:
        """As :meth:`load`."""
        host = self.host_pointer(self._look_up(address, size, write=True, user=user))
        self.line(f"store i{8 * size} {value.trunc(8 * size)}, ptr {host}, align 1")

    def load_block(
        self,
        registers: Value,
        address: Value,
        assign: Callable[[Value, Value], None],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """One look-up; nothing is assigned before all is known to be there."""
        host = self._block_host(registers, address, write=False)
        words = [
            (number, self.op(f"load i32, ptr {self._word_of(host, before)}, align 1", 32))
            for number, before in self.each_register(registers)
        ]
        for number, word in words:
            assign(number, word)

    def store_block(self, registers: Value, address: Value, value_of: Callable[[Value], Value]) -> None:
        """As :meth:`load_block`."""
        host = self._block_host(registers, address, write=True)
        for number, before in self.each_register(registers):
            self.line(f"store i32 {value_of(number)}, ptr {self._word_of(host, before)}, align 1")

    def _block_host(self, registers: Value, address: Value, *, write: bool) -> str:
        length = self.known(registers).bit_count() << 2
        last = address + (length - 4) if length > 4 else None
        return self.host_pointer(self._look_up(address, 4, write=write, last=last))

    def _word_of(self, host: str, before: Value) -> str:
        return str(self.op(f"getelementptr i8, ptr {host}, i64 {4 * self.known(before)}", 64))
