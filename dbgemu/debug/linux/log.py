"""The kernel's log, as ``dmesg`` prints it (kernel/printk/printk_ringbuffer.h, Linux 5.10 and later)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.linux.errors import DamagedError, LinuxError

if TYPE_CHECKING:
    from dbgemu.debug.linux.kernel import Kernel

# the two highest bits of prb_desc.state_var; the others are the descriptor's number
_STATE_SHIFT = 30
_ID_MASK = (1 << _STATE_SHIFT) - 1
_COMMITTED, _FINALIZED = 1, 2

#: no board of this kind has room for more: 2^18 records, 32 MiB of text
_MOST_BITS = {"records": 18, "bytes of text": 25}


@dataclass(frozen=True)
class LogRecord:
    """One message: ``time`` in ns since the boot; ``text`` may have several lines."""

    sequence: int
    time: int
    #: 0 (emergency) to 7 (debug)
    level: int
    #: 0 for the kernel's own
    facility: int
    text: str

    def __str__(self) -> str:
        """The lines that ``dmesg`` prints."""
        stamp = f"[{self.time // 1_000_000_000:5}.{self.time // 1000 % 1_000_000:06}] "
        return "\n".join(stamp + line for line in self.text.split("\n"))


class LogReader:
    """Reads the log of ``kernel``. Where the machine's state may be used. Raises LinuxError."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        layout = kernel.layout
        if "prb" not in kernel.symbols or not layout.has("printk_ringbuffer"):
            raise LinuxError(f"the log of '{kernel.path}' is not kept as Linux 5.10 and later do it")

        def ring(path: str) -> int:
            return layout.member("printk_ringbuffer", path).offset

        self._count_bits, self._size_bits = ring("desc_ring.count_bits"), ring("text_data_ring.size_bits")
        self._descs, self._infos = ring("desc_ring.descs"), ring("desc_ring.infos")
        self._head, self._tail = ring("desc_ring.head_id"), ring("desc_ring.tail_id")
        self._data = ring("text_data_ring.data")
        self._desc_size, self._info_size = layout.size("prb_desc"), layout.size("printk_info")
        self._state = layout.member("prb_desc", "state_var")
        self._begin = layout.member("prb_desc", "text_blk_lpos.begin")
        self._next = layout.member("prb_desc", "text_blk_lpos.next")
        self._seq = layout.member("printk_info", "seq")
        self._time = layout.member("printk_info", "ts_nsec")
        self._length = layout.member("printk_info", "text_len")
        self._level = layout.member("printk_info", "level")
        self._facility = layout.member("printk_info", "facility")

    def read_all(self) -> list[LogRecord]:
        """Every message that is still in the log, the oldest first."""
        kernel = self._kernel
        log = kernel.pointer(kernel.symbols["prb"])
        count = 1 << self._bits(log + self._count_bits, "records")
        size = 1 << self._bits(log + self._size_bits, "bytes of text")
        descs = kernel.read(kernel.pointer(log + self._descs), count * self._desc_size)
        infos = kernel.read(kernel.pointer(log + self._infos), count * self._info_size)
        data = kernel.read(kernel.pointer(log + self._data), size)
        head, tail = (kernel.word(log + place) & _ID_MASK for place in (self._head, self._tail))
        found = []
        for step in range(min((head - tail & _ID_MASK) + 1, count)):
            number = tail + step & _ID_MASK
            desc, info = number % count * self._desc_size, number % count * self._info_size
            state = self._state.of(descs, desc)
            if state & _ID_MASK != number or state >> _STATE_SHIFT not in (_COMMITTED, _FINALIZED):
                continue
            begin, end = self._begin.of(descs, desc), self._next.of(descs, desc)
            text = _text(data, begin, end, self._length.of(infos, info))
            found.append(
                LogRecord(
                    self._seq.of(infos, info),
                    self._time.of(infos, info),
                    self._level.of(infos, info),
                    self._facility.of(infos, info),
                    text.decode("utf-8", "replace"),
                )
            )
        return found

    def _bits(self, address: int, what: str) -> int:
        bits = self._kernel.word(address)
        if not 0 < bits <= _MOST_BITS[what]:
            raise DamagedError(f"the kernel's log is damaged: it would have 2^{bits} {what}")
        return bits


def _text(data: bytes, begin: int, end: int, length: int) -> bytes:
    """The text of the block from logical position ``begin`` to ``end``, which has its number in front."""
    if begin & 1:  # no text at all
        return b""
    size = len(data)
    first, last = begin % size, end % size
    if begin // size != end // size and last:  # it did not fit in front of the end of the buffer
        first = 0
    elif not last:
        last = size
    return data[first + 4 : min(last, first + 4 + length)]
