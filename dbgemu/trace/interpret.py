"""From the records of a trace's event stream to events."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

from dbgemu.engine.layout import PHASE_INSIDE
from dbgemu.trace.events import (
    Break,
    Event,
    ExceptionTaken,
    Gpio,
    Irq,
    Kind,
    Log,
    MmioRead,
    MmioWrite,
    Mmu,
    Serial,
    TbCompile,
    TbInvalidate,
    TbTranslate,
    Watch,
)
from dbgemu.trace.format import EVENT, Header, RegionInfo, TimeBase

_VECTORS = {4: "undefined", 8: "swi", 0xC: "prefetch_abort", 0x10: "data_abort", 0x18: "irq", 0x1C: "fiq"}
_ACTIONS = ("lowered", "raised")

#: a record: (icount, time, pc), then what it says, and the chunk's texts
_Make = Callable[[int, int, int, int, int, int, int, list[str]], Event | None]


def time_base(period: int, low: int, high: int) -> TimeBase:
    """What a record of kind TIME says; the skipped time is in two halves of a signed number."""
    return TimeBase(((high << 32 | low) ^ 1 << 63) - (1 << 63), period)


class Interpreter:
    """Makes events of records, with the names that the trace's header has."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._regions = sorted(header.regions, key=lambda region: region.base)
        self._bases = [region.base for region in self._regions]
        self._names: dict[int, tuple[str, str]] = {}
        self._makers: dict[int, tuple[tuple[str, _Make], ...]] = {
            Kind.MMIO_READ: (("mmio_read", self._read),),
            Kind.MMIO_WRITE: (("mmio_write", self._write),),
            Kind.EXCEPTION: (("exception", self._exception), ("irq", self._taken)),
            Kind.MMU_FAULT: (("mmu", self._fault),),
            Kind.MMU_SWITCH: (("mmu", self._switch),),
            Kind.IRQ: (("irq", self._irq),),
            Kind.GPIO: (("gpio", self._gpio),),
            Kind.SERIAL: (("serial", self._serial),),
            Kind.BREAK: (("break", self._break),),
            Kind.WATCH: (("watch", self._watch),),
            Kind.LOG: (("log", self._log),),
            Kind.TB_TRANSLATE: (("tb_translate", self._translate),),
            Kind.TB_INVALIDATE: (("tb_invalidate", self._invalidate),),
            Kind.TB_COMPILE: (("tb_compile", self._compile),),
        }

    def time_changes(self, stream: bytes) -> Iterator[tuple[int, TimeBase]]:
        """(instruction count from which it holds, virtual time) of each change in the stream."""
        for position, kind, _, _, period, low, high in EVENT.iter_unpack(stream):
            if kind == Kind.TIME:
                # changed within an instruction: it holds for the next one
                yield (position >> 2) + ((position & 3) == PHASE_INSIDE), time_base(period, low, high)

    def events(
        self, stream: bytes, texts: list[str], base: TimeBase, wanted: set[str]
    ) -> Iterator[tuple[int, Event]]:
        """(position, event) of each record that is ``wanted``; ``base`` is the time before the first."""
        makers = {
            kind: [make for name, make in choices if name in wanted] for kind, choices in self._makers.items()
        }
        skipped, period = base
        for position, kind, first, second, pc, address, value in EVENT.iter_unpack(stream):
            if kind == Kind.TIME:
                skipped, period = time_base(pc, address, value)
                continue
            icount = position >> 2
            for make in makers.get(kind, ()):
                time = icount * period // 1000 + skipped
                event = make(icount, time, pc, first, second, address, value, texts)
                if event is not None:
                    yield position, event

    def name_of(self, address: int) -> tuple[str, str]:
        """The device and the register at a physical address."""
        found = self._names.get(address)
        if found is None:
            found = self._names[address] = self._find_name(address)
        return found

    def _find_name(self, address: int) -> tuple[str, str]:
        place = bisect_right(self._bases, address) - 1
        region: RegionInfo | None = self._regions[place] if place >= 0 else None
        if region is None or address >= region.base + region.size:
            return "?", f"+{address:#x}"
        offset = address - region.base + region.offset
        for candidate in (offset, offset & ~3):
            for start, _, name in region.registers:
                if start == candidate:
                    return region.device, name + (f"+{offset - start}" if offset > start else "")
        return region.device, f"+{offset:#x}"

    # -- one for each kind ---------------------------------------------------------------------------

    def _read(
        self, icount: int, time: int, pc: int, size: int, _: int, address: int, value: int, texts: list[str]
    ) -> Event:
        device, register = self.name_of(address)
        return MmioRead(icount, time, pc, device, register, address, size, value)

    def _write(
        self, icount: int, time: int, pc: int, size: int, _: int, address: int, value: int, texts: list[str]
    ) -> Event:
        device, register = self.name_of(address)
        return MmioWrite(icount, time, pc, device, register, address, size, value)

    def _exception(
        self,
        icount: int,
        time: int,
        pc: int,
        mode: int,
        offset: int,
        target: int,
        back: int,
        texts: list[str],
    ) -> Event:
        vector = _VECTORS.get(offset, f"0x{offset:02x}")
        return ExceptionTaken(icount, time, pc, vector, target, back, mode)

    def _taken(
        self,
        icount: int,
        time: int,
        pc: int,
        mode: int,
        offset: int,
        target: int,
        back: int,
        texts: list[str],
    ) -> Event | None:
        if offset not in (0x18, 0x1C):
            return None
        return Irq(icount, time, pc, "FIQ" if offset == 0x1C else "IRQ", "taken")

    def _fault(
        self,
        icount: int,
        time: int,
        pc: int,
        _: int,
        offset: int,
        address: int,
        status: int,
        texts: list[str],
    ) -> Event:
        return Mmu(icount, time, pc, "data_fault" if offset == 0x10 else "prefetch_fault", address, status)

    def _switch(
        self, icount: int, time: int, pc: int, _: int, __: int, address: int, ___: int, texts: list[str]
    ) -> Event:
        return Mmu(icount, time, pc, "switch", address, 0)

    def _irq(
        self, icount: int, time: int, pc: int, level: int, number: int, _: int, __: int, texts: list[str]
    ) -> Event:
        return Irq(icount, time, pc, _item(self._header.sources, number), _ACTIONS[level & 1])

    def _gpio(
        self, icount: int, time: int, pc: int, level: int, number: int, _: int, __: int, texts: list[str]
    ) -> Event:
        return Gpio(icount, time, pc, _item(self._header.pins, number), level)

    def _serial(
        self, icount: int, time: int, pc: int, port: int, sent: int, _: int, byte: int, texts: list[str]
    ) -> Event:
        return Serial(icount, time, pc, port, "tx" if sent else "rx", byte & 0xFF)

    def _break(
        self, icount: int, time: int, pc: int, _: int, __: int, ___: int, text: int, texts: list[str]
    ) -> Event:
        return Break(icount, time, pc, _item(texts, text))

    def _watch(
        self, icount: int, time: int, pc: int, write: int, _: int, address: int, text: int, texts: list[str]
    ) -> Event:
        return Watch(icount, time, pc, address, bool(write), _item(texts, text))

    def _log(
        self, icount: int, time: int, pc: int, _: int, __: int, source: int, text: int, texts: list[str]
    ) -> Event:
        return Log(icount, time, pc, _item(texts, source), _item(texts, text))

    def _translate(
        self, icount: int, time: int, pc: int, thumb: int, _: int, address: int, length: int, texts: list[str]
    ) -> Event:
        return TbTranslate(icount, time, address, length, bool(thumb), 1)

    def _invalidate(
        self, icount: int, time: int, pc: int, _: int, __: int, address: int, size: int, texts: list[str]
    ) -> Event:
        return TbInvalidate(icount, time, pc, address, size)

    def _compile(
        self,
        icount: int,
        time: int,
        pc: int,
        _: int,
        __: int,
        address: int,
        sizes: int,
        texts: list[str],
    ) -> Event:
        text = _item(texts, sizes)
        guest, host, microseconds = (
            (int(word) for word in text.split()) if text.count(" ") == 2 else (0, 0, 0)
        )
        return TbCompile(icount, time, pc, address, guest, host, microseconds)


def _item(items: list[str], number: int) -> str:
    return items[number] if number < len(items) else f"#{number}"
