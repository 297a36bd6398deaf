"""The lists in memory that an OHCI controller works on: endpoints and transfers (OpenHCI 1.0a chapter 4).

One visit to an endpoint moves as many packets of its first transfer as it is allowed to, all at once:
what the guest sees between two frames is the same, and a long transfer costs little.
"""

from __future__ import annotations

import struct
from typing import Protocol

from dbgemu.target.bus import Bus
from dbgemu.target.memory import Memory
from dbgemu.target.usb.device import NAK, STALL, Handshake, UsbDevice

# Condition codes (table 4-7)
NO_ERROR, TOGGLE_MISMATCH, STALLED, NOT_RESPONDING = 0, 3, 4, 5
OVERRUN, UNDERRUN = 8, 9

# Endpoint descriptor: dword 0, and the low bits of its head pointer
SKIP, ISOCHRONOUS, LOW_SPEED = 1 << 14, 1 << 15, 1 << 13
HALTED, CARRY = 1, 2
_POINTER = 0xFFFF_FFF0

# General transfer descriptor: dword 0
_ROUNDING = 1 << 18
_KEPT = 0x00FF_FFFF
_SETUP, _OUT, _IN = 0, 1, 2
_MAX_ERRORS = 3

# Bytes of bus time that a transaction takes beside its data (USB 2.0 5.8.4, 5.6.4), and a NAK
_OVERHEAD, _ISO_OVERHEAD, _NAK_COST = 13, 9, 8
#: so much longer is a byte at low speed
_LOW_SPEED_FACTOR = 8

_PAGE = 0x1000
#: isochronous transfers whose time is past, which go in one visit
_LATE = 8


class MemoryFault(Exception):
    """A descriptor or a buffer is where the controller cannot go."""


class BusMaster:
    """The controller's access to memory, and nothing but memory."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        # the memory that was used last, and the addresses at which it answers
        self._data = memoryview(bytearray())
        self._low = self._high = self._delta = 0
        bus.on_change.append(self._forget)

    def _forget(self) -> None:
        self._low = self._high = 0

    def _find(self, address: int, length: int, *, write: bool) -> None:
        region = self._bus.find(address)
        if region is None or not isinstance(region.target, Memory) or address + length > region.end:
            raise MemoryFault(f"0x{address:08x} is not in memory")
        writable = region.writable and region.writes_to is None
        if write and not writable:
            raise MemoryFault(f"0x{address:08x} is in memory that cannot be written")
        self._data = region.target.data
        self._delta = region.base - region.offset
        # what can only be read is looked for again at each access
        self._low, self._high = (region.base, region.end) if writable else (0, 0)

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes. Raises MemoryFault."""
        if not self._low <= address <= self._high - length:
            self._find(address, length, write=False)
        offset = address - self._delta
        return bytes(self._data[offset : offset + length])

    def write(self, address: int, data: bytes) -> None:
        """Raises MemoryFault."""
        length = len(data)
        if not self._low <= address <= self._high - length:
            self._find(address, length, write=True)
        offset = address - self._delta
        self._data[offset : offset + length] = data
        for listener in self._bus.on_memory_write:
            listener(address, length)


class Owner(Protocol):
    """The controller, as far as its lists need it."""

    HcDoneHead: int

    def find(self, address: int) -> UsbDevice | None:
        """The device at a USB address that can be reached now."""

    def retired(self, delay: int) -> None:
        """A transfer went to the done queue, which is to be written after ``delay`` frames (7: whenever)."""


class Visit:
    """What a visit to an endpoint did: bus time in bytes, and whether anything was moved or has ended."""

    __slots__ = ("cost", "found", "left", "moved")

    def __init__(self) -> None:
        self.cost = 0
        self.moved = False
        #: there was a transfer, so the list is to be looked at again
        self.found = False
        #: bytes that the transfer still has to move
        self.left = 0


class Lists:
    """Works on one endpoint at a time. Everything raises MemoryFault where pointers lead nowhere."""

    def __init__(self, owner: Owner, memory: BusMaster) -> None:
        self._owner = owner
        self._memory = memory

    def endpoint(self, address: int) -> tuple[int, int, int, int]:
        """The four words of an endpoint descriptor: control, tail, head, next."""
        words: tuple[int, int, int, int] = struct.unpack("<4I", self._memory.read(address, 16))
        return words

    def visit(self, address: int, words: tuple[int, int, int, int], frame: int, budget: int) -> Visit:
        """Serve an endpoint within ``budget`` bytes of bus time; in ``frame``, if that matters."""
        info, tail, head, _ = words
        done = Visit()
        if info & SKIP or head & HALTED or (head ^ tail) & _POINTER == 0:
            return done
        done.found = True
        if info & ISOCHRONOUS:
            self._isochronous(address, info, tail, head, frame, done)
        else:
            self._general(address, info, head, budget, done)
        if info & LOW_SPEED:
            done.cost *= _LOW_SPEED_FACTOR
        return done

    # -- general transfers (4.3.1) ----------------------------------------------------------

    def _general(self, endpoint: int, info: int, head: int, budget: int, done: Visit) -> None:
        place = head & _POINTER
        transfer = _Transfer(endpoint, place, head, *struct.unpack("<4I", self._memory.read(place, 16)))
        direction = info >> 11 & 3
        if direction not in (_OUT, _IN):
            direction = transfer.flags >> 19 & 3
        packet = info >> 16 & 0x7FF
        number = info >> 7 & 15
        done.cost = _OVERHEAD
        device = self._owner.find(info & 0x7F)
        if device is None or not packet or direction > _IN or bool(info & LOW_SPEED) != device.low_speed:
            self._failed(transfer, NOT_RESPONDING, done)
            return
        if direction == _SETUP:
            self._setup(transfer, device, done)
            return
        if info & LOW_SPEED:
            budget //= _LOW_SPEED_FACTOR
        packets = max(1, budget // (packet + _OVERHEAD))
        if direction == _OUT:
            self._out(transfer, device, number, packet, packets, done)
        else:
            self._in(transfer, device, number, packet, packets, done)

    def _setup(self, transfer: _Transfer, device: UsbDevice, done: Visit) -> None:
        if transfer.length() != 8:
            self._failed(transfer, NOT_RESPONDING, done)
            return
        device.setup(self._load(transfer, 8))
        done.cost += 8
        transfer.buffer, transfer.toggle = 0, 1
        self._retire(transfer, NO_ERROR, done)

    def _out(
        self, transfer: _Transfer, device: UsbDevice, number: int, packet: int, packets: int, done: Visit
    ) -> None:
        length = transfer.length()
        if device.toggles >> number & 1 != transfer.toggle:
            # the device takes it for a repetition: acknowledges, and forgets it (USB 2.0 8.6.4)
            taken = min(length, packet)
            count = 1
        else:
            answer = device.take(number, self._load(transfer, min(length, packets * packet)))
            if isinstance(answer, Handshake):
                self._refused(transfer, answer, done)
                return
            taken = min(answer, length)
            count = -(-taken // packet) or 1
            device.toggles ^= (count & 1) << number
        done.cost = count * _OVERHEAD + taken
        transfer.toggle ^= count & 1
        if taken >= length:
            transfer.buffer = 0
            self._retire(transfer, NO_ERROR, done)
        else:
            transfer.advance(taken)
            self._go_on(transfer, done)

    def _in(
        self, transfer: _Transfer, device: UsbDevice, number: int, packet: int, packets: int, done: Visit
    ) -> None:
        length = transfer.length()
        side = number + 16
        right = device.toggles >> side & 1 == transfer.toggle
        wanted = min(-(-length // packet) or 1, packets if right else 1) * packet
        answer = device.give(number, wanted)
        if isinstance(answer, Handshake):
            self._refused(transfer, answer, done)
            return
        received = len(answer)
        short = received % packet != 0 or not received
        count = received // packet + short
        done.cost = count * _OVERHEAD + received
        device.toggles ^= (count & 1) << side
        if not right:
            self._failed(transfer, TOGGLE_MISMATCH, done)
            return
        transfer.toggle ^= count & 1
        self._store(transfer, answer[:length])
        if received > length:
            transfer.buffer = 0
            self._retire(transfer, OVERRUN, done)
        elif received == length:
            transfer.buffer = 0
            self._retire(transfer, NO_ERROR, done)
        else:
            transfer.advance(received)
            if short:
                self._retire(transfer, NO_ERROR if transfer.flags & _ROUNDING else UNDERRUN, done)
            else:
                self._go_on(transfer, done)

    def _refused(self, transfer: _Transfer, answer: Handshake, done: Visit) -> None:
        if answer is STALL:
            self._retire(transfer, STALLED, done)
        else:
            assert answer is NAK
            done.cost = _NAK_COST
            done.left = transfer.length()

    def _failed(self, transfer: _Transfer, code: int, done: Visit) -> None:
        """A transaction failed: it is repeated, but for the third time (4.3.1.3.4)."""
        transfer.errors += 1
        if transfer.errors >= _MAX_ERRORS:
            self._retire(transfer, code, done)
            return
        done.moved = True
        self._memory.write(transfer.place, transfer.pack(code))

    def _go_on(self, transfer: _Transfer, done: Visit) -> None:
        transfer.errors = 0
        done.moved = True
        done.left = transfer.length()
        self._memory.write(transfer.place, transfer.pack(NO_ERROR))

    def _retire(self, transfer: _Transfer, code: int, done: Visit) -> None:
        """Off the endpoint's queue, and to the done queue (4.4)."""
        done.moved = True
        if code in (NO_ERROR, UNDERRUN, STALLED):
            transfer.errors = 0
        following = transfer.next & _POINTER
        transfer.next = self._owner.HcDoneHead
        self._memory.write(transfer.place, transfer.pack(code))
        head = following | transfer.toggle << 1 | (code != NO_ERROR)
        self._memory.write(transfer.endpoint + 8, head.to_bytes(4, "little"))
        self._owner.HcDoneHead = transfer.place
        self._owner.retired(0 if code else transfer.flags >> 21 & 7)

    def _load(self, transfer: _Transfer, length: int) -> bytes:
        return b"".join(
            self._memory.read(address, count)
            for address, count in _pieces(transfer.buffer, transfer.end, length)
        )

    def _store(self, transfer: _Transfer, data: bytes) -> None:
        self._put(transfer.buffer, transfer.end, data)

    def _put(self, start: int, end: int, data: bytes) -> None:
        done = 0
        for address, count in _pieces(start, end, len(data)):
            self._memory.write(address, data[done : done + count])
            done += count

    # -- isochronous transfers (4.3.2) ------------------------------------------------------

    def _isochronous(self, endpoint: int, info: int, tail: int, head: int, frame: int, done: Visit) -> None:
        carry = head & CARRY
        for _ in range(_LATE):
            place = head & _POINTER
            if place == tail & _POINTER:
                return
            flags, page, following, end, *offsets = struct.unpack("<4I8H", self._memory.read(place, 32))
            last = flags >> 24 & 7
            # how many frames after the first one this is, as a signed number of 16 bits
            number = (frame - flags + 0x8000 & 0xFFFF) - 0x8000
            if number < 0:
                return
            if number <= last:
                word = self._packet(info, page, end, offsets, number, last, done)
                self._memory.write(place + 16 + 2 * number, word.to_bytes(2, "little"))
                done.moved = True
                if number < last:
                    return
            # the time of what is later than its last frame is past: 4.3.2.3.3
            code = NO_ERROR if number <= last else OVERRUN
            self._memory.write(place, (flags & 0x0FFF_FFFF | code << 28).to_bytes(4, "little"))
            self._memory.write(place + 8, self._owner.HcDoneHead.to_bytes(4, "little"))
            head = following & _POINTER | carry
            self._memory.write(endpoint + 8, head.to_bytes(4, "little"))
            self._owner.HcDoneHead = place
            self._owner.retired(0 if code else flags >> 21 & 7)
            done.moved = True
            if code == NO_ERROR:
                return

    def _packet(
        self, info: int, page: int, end: int, offsets: list[int], number: int, last: int, done: Visit
    ) -> int:
        """One frame's packet; its status word (4.3.2.4)."""
        device = self._owner.find(info & 0x7F)
        done.cost += _ISO_OVERHEAD
        if device is None:
            return NOT_RESPONDING << 12
        start = _place(page, end, offsets[number])
        stop = _place(page, end, offsets[number + 1]) - 1 if number < last else end
        length = max(0, _length(start, stop))
        endpoint = info >> 7 & 15
        if info >> 11 & 3 == _OUT:
            data = b"".join(self._memory.read(*piece) for piece in _pieces(start, end, length))
            done.cost += length
            device.take(endpoint, data)  # nobody acknowledges an isochronous packet
            return NO_ERROR
        answer = device.give(endpoint, info >> 16 & 0x7FF)
        received = b"" if isinstance(answer, Handshake) else answer
        done.cost += len(received)
        self._put(start, end, received[:length])
        if len(received) > length:
            return OVERRUN << 12 | length & 0x7FF
        return (UNDERRUN if len(received) < length else NO_ERROR) << 12 | len(received) & 0x7FF


class _Transfer:
    """A general transfer descriptor while it is worked on."""

    __slots__ = ("buffer", "end", "endpoint", "errors", "flags", "next", "place", "toggle")

    def __init__(
        self, endpoint: int, place: int, head: int, flags: int, buffer: int, following: int, end: int
    ) -> None:
        self.endpoint = endpoint
        self.place = place
        self.flags = flags
        self.buffer = buffer
        self.next = following
        self.end = end
        self.errors = flags >> 26 & 3
        self.toggle = flags >> 24 & 1 if flags & 1 << 25 else head >> 1 & 1

    def length(self) -> int:
        """Bytes of the buffer that are left."""
        return max(0, _length(self.buffer, self.end)) if self.buffer else 0

    def advance(self, count: int) -> None:
        """So many bytes of the buffer are done."""
        if not self.buffer:
            return
        offset = (self.buffer & _PAGE - 1) + count
        if offset >= _PAGE:
            self.buffer = self.end & -_PAGE | offset & _PAGE - 1
        else:
            self.buffer += count

    def pack(self, code: int) -> bytes:
        """Its four words, with a condition code."""
        flags = self.flags & _KEPT | (2 | self.toggle) << 24 | self.errors << 26 | code << 28
        return struct.pack("<4I", flags, self.buffer, self.next, self.end)


def _length(start: int, end: int) -> int:
    """Bytes from ``start`` to ``end``, inclusive, which are in one page or in two (4.3.1.3.1)."""
    if (start ^ end) & -_PAGE:
        return (end & _PAGE - 1) + _PAGE + 1 - (start & _PAGE - 1)
    return end - start + 1


def _place(page: int, end: int, offset: int) -> int:
    """The address of an isochronous offset, whose bit 12 chooses one of two pages (4.3.2.3.2)."""
    return (end if offset & _PAGE else page) & -_PAGE | offset & _PAGE - 1


def _pieces(start: int, end: int, length: int) -> list[tuple[int, int]]:
    """``length`` bytes from ``start``, which go on in the page of ``end``: addresses and counts."""
    if not length:
        return []
    first = min(length, _PAGE - (start & _PAGE - 1))
    pieces = [(start, first)]
    if first < length:
        pieces.append((end & -_PAGE, length - first))
    return pieces
