"""The variables and arguments of a function where it stands, by the DWARF of the symbol files.

Functions that the compiler has put into this one are told apart: each has its variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dbgemu.debug.c_types import Values, declaration, name_of, number_of, size_of, type_of
from dbgemu.debug.dwarf_location import Evaluator, NoValueError, Piece, register_named
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.debug.unwind import Frame
from dbgemu.debug.unwind_tables import SP, CannotUnwindError, tables_of
from dbgemu.errors import Error

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.debug.symbols import SymbolFile

#: how what the compiler has not kept is shown
OPTIMIZED_OUT = "<optimized out>"
#: bytes of one variable that are read; larger ones are not shown
_LARGEST = 1 << 16


_Seen = TypeVar("_Seen")


@dataclass(frozen=True)
class Variable:
    """A variable; ``value`` as it is shown, which can be that it has none here.

    ``function`` is whose it is, where that was put into the frame's own function.
    """

    name: str
    #: as C declares it: ``struct file *file``
    declaration: str
    value: str
    is_argument: bool
    function: str | None


def variables_of(session: DebugSession, frame: Frame, caller: Frame | None) -> list[Variable] | None:
    """What ``frame`` has, of the innermost scope first; None where no file knows its function.

    ``caller`` is the frame that it was called by: it may still have what was handed over. While the
    machine stands still, or on its own thread.
    """
    return with_function(session, frame, caller, lambda function: list(function.variables()))


def with_function(
    session: DebugSession, frame: Frame, caller: Frame | None, look: Callable[[Function], _Seen]
) -> _Seen | None:
    """What ``look`` finds at the function of ``frame``; None where no file knows it. Its Errors pass."""
    for file in session.symbols.files:
        try:
            found = Function.find(session, file, frame, caller)
            if found is not None:
                return look(found)
        except Error:
            raise
        except Exception:  # damaged DWARF fails in many ways, and is as good as none
            continue
    return None


class Function:
    """A function of a file at a place."""

    def __init__(
        self,
        session: DebugSession,
        file: SymbolFile,
        frame: Frame,
        caller: Frame | None,
        unit: Any,
        die: Any,
    ) -> None:
        self._session = session
        self._file = file
        self._frame = frame
        self._caller = caller
        self._unit = unit
        self._die = die
        self._linked = frame.look - file.offset & 0xFFFFFFFF
        self._cfa: int | None = None
        symbols = session.symbols
        self.values = Values(symbols.describe, self._text)
        self._evaluator = Evaluator(
            frame.registers, self._word, file.offset, self._frame_address, self._frame_base, self._entry
        )

    @classmethod
    def find(
        cls, session: DebugSession, file: SymbolFile, frame: Frame, caller: Frame | None
    ) -> Function | None:
        """The function that ``frame`` is in."""
        unit = file.lines.unit_at(frame.look)
        if unit is None:
            return None
        linked = frame.look - file.offset & 0xFFFFFFFF
        for die in unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_subprogram" and file.lines.covers(unit, die, linked):
                return cls(session, file, frame, caller, unit, die)
        return None

    def variables(self) -> Iterator[Variable]:
        """All of them, of inner scopes first."""
        for die, function in self._entries():
            variable = self._variable(die, function)
            if variable is not None:
                yield variable

    def find_variable(self, name: str) -> Any:
        """What DWARF says of the variable that ``name`` is here, a global one too; None for none."""
        for die, _ in self._entries():
            if _described(die, name_of) == name:
                return die
        for die in self._unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_variable" and _described(die, name_of) == name:
                return die
        return None

    def _entries(self) -> Iterator[tuple[Any, str | None]]:
        scopes: list[list[tuple[Any, str | None]]] = []
        self._collect(self._die, None, scopes)
        for scope in reversed(scopes):
            yield from scope

    def _collect(self, scope: Any, function: str | None, scopes: list[list[tuple[Any, str | None]]]) -> None:
        found: list[tuple[Any, str | None]] = []
        scopes.append(found)
        for die in scope.iter_children():
            if die.tag in ("DW_TAG_formal_parameter", "DW_TAG_variable"):
                found.append((die, function))
            elif die.tag == "DW_TAG_lexical_block" and self._is_here(die):
                self._collect(die, function, scopes)
            elif die.tag == "DW_TAG_inlined_subroutine" and self._is_here(die):
                self._collect(die, _described(die, name_of) or "?", scopes)

    def _is_here(self, die: Any) -> bool:
        return self._file.lines.covers(self._unit, die, self._linked)

    def _variable(self, die: Any, function: str | None) -> Variable | None:
        name = _described(die, name_of)
        kind = _described(die, type_of)
        if not name or kind is None or "DW_AT_declaration" in die.attributes:
            return None
        is_argument = die.tag == "DW_TAG_formal_parameter"
        return Variable(name, declaration(kind, name), self._value(die, kind), is_argument, function)

    # -- values ----------------------------------------------------------------------------------

    def _value(self, die: Any, kind: Any) -> str:
        try:
            return self.values.show(kind, self.data(die, size_of(kind)))
        except NoValueError:
            return OPTIMIZED_OUT
        except MEMORY_ERRORS as error:
            return f"<{error}>"

    def data(self, die: Any, size: int) -> bytes:
        """The ``size`` bytes that a variable is. NoValueError, MEMORY_ERRORS."""
        if not 0 < size <= _LARGEST:
            raise NoValueError
        constant = die.attributes.get("DW_AT_const_value")
        if constant is not None:
            raw = constant.value
            if isinstance(raw, int):
                return (raw & (1 << 8 * size) - 1).to_bytes(size, "little")
            return bytes(raw)
        operations = self.operations(die, "DW_AT_location")
        if operations is None:
            # one of another file: its symbol tells where it is
            address = self._session.symbols.address(name_of(die))
            if "DW_AT_external" not in die.attributes or address is None:
                raise NoValueError
            return self.memory(address, size)
        pieces = self._evaluator.pieces(operations)
        data = b"".join(self._piece(piece, size if piece.size is None else piece.size) for piece in pieces)
        if len(data) < size:
            raise NoValueError
        return data[:size]

    def _piece(self, piece: Piece, size: int) -> bytes:
        return piece.data if piece.address is None else self.memory(piece.address, size)

    def memory(self, address: int, size: int) -> bytes:
        """Virtual memory. NoValueError for more than a variable may have; MEMORY_ERRORS."""
        if size > _LARGEST:
            raise NoValueError
        return self._session.cpu.read_memory(address & 0xFFFFFFFF, size) if size else b""

    def operations(self, die: Any, attribute: str) -> list[Any] | None:
        """The expression that an attribute has at this place; None for none."""
        from elftools.dwarf.dwarf_expr import DWARFExprParser
        from elftools.dwarf.locationlists import LocationExpr, LocationParser

        found = die.attributes.get(attribute)
        if found is None:
            # a static variable's is with what it is a copy of
            origin = die.attributes.get("DW_AT_abstract_origin")
            outer = die.get_DIE_from_attribute("DW_AT_abstract_origin") if origin is not None else None
            return self.operations(outer, attribute) if outer is not None else None
        dwarf = self._unit.dwarfinfo
        parsed: Any = LocationParser(dwarf.location_lists()).parse_from_attribute(
            found, self._unit["version"], die
        )
        raw = parsed.loc_expr if isinstance(parsed, LocationExpr) else self._chosen(parsed or [])
        return None if raw is None else DWARFExprParser(self._unit.structs).parse_expr(raw)

    def _chosen(self, entries: list[Any]) -> list[int] | None:
        """The expression of a location list (DWARF 4, 2.6.2) that holds here."""
        top = self._unit.get_top_DIE().attributes
        base = top["DW_AT_low_pc"].value if "DW_AT_low_pc" in top else 0
        for entry in entries:
            if hasattr(entry, "base_address"):
                base = entry.base_address
            elif hasattr(entry, "loc_expr"):
                start = 0 if entry.is_absolute else base
                if start + entry.begin_offset <= self._linked < start + entry.end_offset:
                    return list(entry.loc_expr)
        return None

    def _frame_address(self) -> int:
        """The canonical frame address: sp before the call."""
        if self._cfa is None:
            frame = self._frame
            tables = tables_of(self._file.path, self._file.offset)
            try:
                caller = tables.by_dwarf(frame.look, frame.registers, self._word)
            except CannotUnwindError:
                caller = None
            if caller is None:
                raise NoValueError
            self._cfa = caller[SP]
        return self._cfa

    def _frame_base(self) -> int:
        operations = self.operations(self._die, "DW_AT_frame_base")
        if operations is None:
            raise NoValueError
        return self._evaluator.address(operations)

    # -- what the caller handed over ---------------------------------------------------------------

    def _entry(self, register: int) -> int:
        """What a register was when the function was called, by what its caller still has (DWARF 5, 3.4)."""
        caller = self._caller
        outer = Function.find(self._session, self._file, caller, None) if caller is not None else None
        site = outer.call_site() if outer is not None else None
        if outer is None or site is None or not outer.calls(site, self._die):
            raise NoValueError
        for die in site.iter_children():
            place = outer.operations(die, "DW_AT_location")
            if place and register_named(place) == register:
                for attribute in ("DW_AT_call_value", "DW_AT_GNU_call_site_value"):
                    operations = outer.operations(die, attribute)
                    if operations is not None:
                        return outer._evaluator.address(operations)
        raise NoValueError

    def call_site(self) -> Any:
        """The call that the frame goes on behind; None where the compiler tells nothing of it."""
        behind = self._frame.pc - self._file.offset & 0xFFFFFFFF
        waiting = [self._die]
        while waiting:
            for die in waiting.pop().iter_children():
                if die.tag in ("DW_TAG_lexical_block", "DW_TAG_inlined_subroutine"):
                    waiting.append(die)
                elif die.tag in ("DW_TAG_call_site", "DW_TAG_GNU_call_site") and behind in (
                    number_of(die, "DW_AT_call_return_pc"),
                    number_of(die, "DW_AT_low_pc"),
                ):
                    return die
        return None

    def calls(self, site: Any, function: Any) -> bool:
        """A call of this function is one of ``function`` itself, and not of one that jumped there."""
        for attribute in ("DW_AT_call_origin", "DW_AT_abstract_origin"):
            if attribute in site.attributes:
                origin = site.get_DIE_from_attribute(attribute)
                return bool(_described(origin, name_of) == _described(function, name_of))
        for attribute in ("DW_AT_call_target", "DW_AT_GNU_call_site_target"):
            operations = self.operations(site, attribute)
            if operations is not None:
                target = self._evaluator.address(operations) - self._file.offset & 0xFFFFFFFE
                return bool(target == number_of(function, "DW_AT_low_pc"))
        return False

    def _word(self, address: int) -> int:
        return int.from_bytes(self._session.cpu.read_memory(address & 0xFFFFFFFF, 4), "little")

    def _text(self, address: int, most: int) -> bytes | None:
        """What is at an address, up to a zero byte or what cannot be read; None for nothing."""
        read = self._session.cpu.read_memory
        raw = b""
        while len(raw) < most and b"\0" not in raw:
            step = min(16 - (address & 15), most - len(raw))
            try:
                raw += read(address, step)
            except MEMORY_ERRORS:
                break
            address = address + step & 0xFFFFFFFF
        return raw or None


def _described(die: Any, get: Callable[[Any], Any]) -> Any:
    """What ``get`` finds at ``die``, or at what it is a copy of."""
    for _ in range(8):
        found = get(die)
        if found:
            return found
        for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if attribute in die.attributes:
                die = die.get_DIE_from_attribute(attribute)
                break
        else:
            return found
    return None
