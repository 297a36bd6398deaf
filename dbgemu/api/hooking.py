"""Setting hooks: what each is asked about, and how a hook's wish to stop reaches the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING

from dbgemu.api.errors import UnknownNameError
from dbgemu.api.hooks import Access, Callback, Execution, Happened, Hook, Printed
from dbgemu.api.places import Where, no_such, resolve
from dbgemu.debug.breakpoints import Breakpoint
from dbgemu.debug.catchpoints import CatchKind, Catchpoint
from dbgemu.debug.transactions import device_ranges
from dbgemu.debug.watchpoints import WatchKind, Watchpoint
from dbgemu.errors import Error

if TYPE_CHECKING:
    from dbgemu.api.serial import SerialPort
    from dbgemu.debug.session import DebugSession

#: what :meth:`Hooking.on_exception` means: the exceptions of the CPU
_EXCEPTIONS = ("undef", "swi", "pabort", "dabort", "irq", "fiq")
#: more would take longer to set than a trace takes
_MOST_BLOCK_BYTES = 1 << 14


def catch_kind(name: str) -> CatchKind:
    """The event called ``name``. UnknownNameError."""
    try:
        return CatchKind(name)
    except ValueError:
        raise no_such("event", name, [kind.value for kind in CatchKind]) from None


class Hooking:
    """The hooks of a machine. What a function does to the machine's state, it does between instructions."""

    def __init__(self, session: DebugSession, serial: Sequence[SerialPort]) -> None:
        self._session = session
        self._cpu = session.cpu
        self._clock = session.machine.board.clock
        self._symbols = session.symbols
        self._ports = serial
        #: the hook that wants the machine to stop, and what one has raised
        self._stopped_by: Hook | None = None
        self._raised: BaseException | None = None
        #: the machine runs for the script, not for a debugger
        self._running_here = False
        #: the thread that is inside a hook, or 0
        self._inside = 0

    # -- the public part ----------------------------------------------------------------------------

    def on_exec(self, where: Where, callback: Callable[[Execution], object]) -> Hook:
        """Call ``callback`` in front of each execution of the instruction at an address or symbol."""
        address = resolve(self._session, where) & ~1

        def arrived(hook: Hook) -> bool:
            return self._serve(hook, Execution(address, *self._now(address)))

        return self._break([address], callback, arrived)

    def on_block(
        self, callback: Callable[[Execution], object], first: Where, last: int | None = None
    ) -> Hook:
        """Call ``callback`` in front of each block of code that begins in a range.

        The range is a function, by its symbol, or from address ``first`` to ``last``, at most 16 KiB. A
        block begins where control was transferred to; inside it instructions follow each other. Every
        instruction of the range stops the machine for some microseconds: for more, record a trace.
        """
        start = resolve(self._session, first) & ~1
        found = self._symbols.lookup(start)
        thumb = found is not None and found[0].is_thumb
        if last is None:
            if found is None or found[1]:
                raise UnknownNameError(f"0x{start:08x} is no function's start: give the last address, too")
            last = found[0].end - 1
        if not start <= last < start + _MOST_BLOCK_BYTES:
            raise Error(
                f"blocks are told of in 1 to {_MOST_BLOCK_BYTES} bytes, not {last - start + 1}: use trace()"
            )
        size = 2 if thumb else 4
        previous = (-1, -1)

        def arrived(hook: Hook) -> bool:
            nonlocal previous
            pc, count = self._cpu.pc, self._cpu.instructions
            before, previous = previous, (pc, count)
            if before == (pc - size, count - 1):
                return False
            return self._serve(hook, Execution(pc, *self._now(pc)))

        return self._break(range(start, last + 1, size), callback, arrived, internal=True)

    def on_access(
        self,
        what: Where,
        callback: Callable[[Access], object],
        *,
        length: int | None = None,
        read: bool = False,
        write: bool = True,
        physical: bool = False,
    ) -> Hook:
        """Call ``callback`` in front of each access to something.

        ``what`` is a device register (``"nand.NFCMMD"``), all of a device (``"gpio"``), a symbol, or an
        address with ``length`` bytes (default: 4, or the symbol's size).
        """
        if not (read or write):
            raise Error("a hook on accesses is for reads, writes or both: give read=True or write=True")
        kind = WatchKind.ACCESS if read and write else WatchKind.READ if read else WatchKind.WRITE
        ranges, on_bus = self._ranges(what, length)

        def accessed(hook: Hook) -> bool:
            return self._serve(hook, self._access())

        def add(hook: Hook) -> None:
            for start, bytes_ in ranges:
                point = self._session.watchpoints.add(None, start, bytes_, kind, physical=physical or on_bus)
                point.action = lambda: accessed(hook)
                hook.points.append(point)

        return self._set(callback, add)

    def on_exception(
        self, kinds: str | Sequence[str], callback: Callable[[Happened], object], *, names: Sequence[str] = ()
    ) -> Hook:
        """Call ``callback`` at exceptions and other events, by the names that ``catch`` has.

        ``undef``, ``swi``, ``pabort``, ``dabort``, ``irq``, ``fiq``, or ``all`` of these; ``syscall``,
        ``mode``, ``ttb``, ``control``, ``reset``, ``guest-error`` (of the devices in ``names``).
        """
        listed = [kinds] if isinstance(kinds, str) else list(kinds)
        wanted = [catch_kind(name) for name in (_EXCEPTIONS if listed == ["all"] else listed)]
        return self._catch([(kind, names) for kind in wanted], callback)

    def on_interrupt(self, source: str | Sequence[str], callback: Callable[[Happened], object]) -> Hook:
        """Call ``callback`` when an interrupt source (``"INT_TIMER4"``) begins to request."""
        names = [source] if isinstance(source, str) else list(source)
        return self._catch([(CatchKind.INTERRUPT, names)], callback)

    def on_serial(
        self, callback: Callable[[Printed], object], text: str | None = None, *, port: int = 0
    ) -> Hook:
        """Call ``callback`` for each character that the guest prints, or each time it prints ``text``."""
        serial = self._port(port)
        wanted = None if text is None else text.encode()

        def add(hook: Hook) -> None:
            def heard(character: int) -> None:
                if wanted is None:
                    said = chr(character)
                elif serial.output.endswith(wanted):
                    said = text or ""
                else:
                    return
                if self._serve(hook, Printed(port, said, self._cpu.instructions, self._clock.now)):
                    self._stop_soon()

            hook.endings.append(serial.listen(heard))

        return self._set(callback, add)

    # -- how it is done --------------------------------------------------------------------------------

    def _now(self, pc: int) -> tuple[str, int, int]:
        return self._symbols.describe(pc), self._cpu.instructions, self._clock.now

    def _port(self, number: int) -> SerialPort:
        if not 0 <= number < len(self._ports):
            raise UnknownNameError(f"there is no serial port {number}: the board has 0 to 2")
        return self._ports[number]

    def _ranges(self, what: Where, length: int | None) -> tuple[list[tuple[int, int]], bool]:
        """(address, length) of each part, and whether these are physical."""
        if isinstance(what, str):
            symbol = self._symbols.find(what)
            if symbol is not None:
                return [(symbol.address, length or symbol.size or 4)], False
            if "." in what or what in self._session.machine.board.devices:
                try:
                    return device_ranges(self._session.machine.board.bus, what), True
                except ValueError as error:
                    raise UnknownNameError(str(error)) from None
        return [(resolve(self._session, what), length or 4)], False

    def _access(self) -> Access:
        hit, devices, pc = self._cpu.watch_hit, self._session.devices, self._cpu.pc
        done = devices.transaction(pc, hit)
        value = devices.value(hit) if done is None else done.value
        place, fields = ("", "") if done is None else (done.place, done.fields)
        return Access(pc, *self._now(pc), hit.address, hit.size, hit.write, value or 0, place, fields)

    def _break(
        self,
        addresses: Sequence[int],
        callback: Callback,
        arrived: Callable[[Hook], bool],
        *,
        internal: bool = False,
    ) -> Hook:
        def add(hook: Hook) -> None:
            for address in addresses:
                point = self._session.breakpoints.add(None, address, internal=internal)
                point.action = lambda: arrived(hook)
                hook.points.append(point)

        return self._set(callback, add)

    def _catch(self, wanted: Sequence[tuple[CatchKind, Sequence[str]]], callback: Callback) -> Hook:
        book = self._session.catchpoints

        def happened(hook: Hook) -> bool:
            what = book.happening
            assert what is not None  # whoever asks a point tells it first
            pc = self._cpu.pc
            symbol, count, time = self._now(pc)
            return self._serve(
                hook, Happened(what.kind.value, what.text, pc, symbol, count, time, what.name, what.number)
            )

        def add(hook: Hook) -> None:
            for kind, names in wanted:
                try:
                    point = book.add(None, kind, names=names)
                except ValueError as error:
                    raise UnknownNameError(str(error)) from None
                point.action = lambda: happened(hook)
                hook.points.append(point)

        return self._set(callback, add)

    def _set(self, callback: Callback, add: Callable[[Hook], None]) -> Hook:
        hook = Hook(callback, self._take_away)

        def set_it() -> None:
            try:
                add(hook)
            except BaseException:
                self._clear(hook)
                raise

        self._session.call(set_it)
        return hook

    def _take_away(self, hook: Hook) -> None:
        if hook.active:
            hook.active = False
            self._session.call(lambda: self._clear(hook))

    def _clear(self, hook: Hook) -> None:
        session = self._session
        while hook.points:
            point = hook.points.pop()
            match point:
                case Breakpoint():
                    session.breakpoints.remove(point)
                case Watchpoint():
                    session.watchpoints.remove(point)
                case Catchpoint():
                    session.catchpoints.remove(point)
        while hook.endings:
            hook.endings.pop()()

    def _serve(self, hook: Hook, event: object) -> bool:
        """Call the hook; True when the machine is to stop: nothing else of this moment is told then."""
        if not hook.active or self._raised is not None:
            return False  # another one of the same moment took it away
        self._inside = get_ident()
        try:
            stops = hook.serve(event)
        except BaseException as error:  # whoever runs the machine gets it
            self._raised = error
            stops = True
        finally:
            self._inside = 0
        if stops:
            self._stopped_by = hook
        return stops

    def _check_outside(self) -> None:
        """Error inside a hook: the machine stands still for it, and cannot be run or waited for."""
        if self._inside == get_ident():
            raise Error("a hook cannot run the machine or wait for it: it ends, or returns STOP")

    def _stop_soon(self) -> None:
        """Stop at the next instruction; where a debugger lets the machine run, at the next boundary."""
        if self._running_here:
            self._session.machine.request_catch()
        else:
            self._session.pause()
