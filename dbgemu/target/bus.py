"""The physical address space: memories and devices, who answers where."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from dbgemu.target.device import Device, Reader, Writer
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.memory import Memory
from dbgemu.target.registers import Register
from dbgemu.target.stream import Port

PAGE = 4096


class BusError(Exception):
    """Nothing answers at a physical address."""

    def __init__(self, address: int) -> None:
        super().__init__(f"nothing answers at physical address 0x{address:08x}")
        self.address = address


@dataclass(frozen=True)
class Region:
    """``size`` bytes of address space from ``base``: a memory (from ``offset`` in it) or a device.

    Writes to a memory with ``writes_to`` go to that device instead: a flash chip's commands.
    """

    base: int
    size: int
    target: Memory | Device
    offset: int = 0
    writable: bool = True
    writes_to: Device | None = None

    @property
    def end(self) -> int:
        """The first address behind the region."""
        return self.base + self.size


class Bus:
    """Who answers at which physical address. Regions do not overlap; bases are 4 KiB aligned.

    ``read`` and ``write`` are what the CPU does, side effects included; ``peek`` and ``poke`` are
    for debuggers. Memory is normally accessed by the engine directly: it follows ``on_change``.
    """

    def __init__(self, log: GuestLog | None = None) -> None:
        self.log = log if log is not None else GuestLog()
        self.on_change: list[Callable[[], None]] = []
        #: told (physical address, length) of what others than the CPU write to memory
        self.on_memory_write: list[Callable[[int, int], None]] = []
        self._regions: list[Region] = []
        self._bases: list[int] = []
        # by address << 3 | size: accesses that need no further look
        self._readers: dict[int, Reader] = {}
        self._writers: dict[int, Writer] = {}
        #: devices without bus clock, and what they have in the two dispatches otherwise
        self._gated: dict[Device, tuple[dict[int, Reader], dict[int, Writer]]] = {}
        #: the registers that need not be asked for each access, by the physical address of their page
        self.ports: dict[int, list[Port]] = {}

    def map(
        self,
        base: int,
        target: Memory | Device,
        *,
        size: int | None = None,
        offset: int = 0,
        writable: bool = True,
        writes_to: Device | None = None,
    ) -> Region:
        """Let ``target`` answer from ``base``; ValueError when that overlaps what is mapped."""
        region = Region(base, size or target.size, target, offset, writable, writes_to)
        for other in self._regions:
            if base < other.end and other.base < region.end:
                raise ValueError(
                    f"{target.name} at 0x{base:08x} would overlap {other.target.name} at 0x{other.base:08x}"
                )
        self._regions.append(region)
        self._sort()
        if isinstance(target, Device):
            self._add_dispatch(base, target)
        self._notify()
        return region

    def unmap(self, region: Region) -> None:
        """Take ``region`` out of the address space."""
        self._regions.remove(region)
        self._changed()

    def replace(self, old: Region, new: Region) -> Region:
        """Put ``new`` in the place of ``old`` (a flash that leaves its array mode)."""
        self._regions[self._regions.index(old)] = new
        if any(isinstance(region.target, Device) and region.target.registers for region in (old, new)):
            self._changed()
        else:  # no dispatch to make anew: a flash does this for each word it programs
            self._notify()
        return new

    def register_stream(self, address: int, port: Port) -> None:
        """``port`` serves the register at physical ``address``: see :mod:`dbgemu.target.stream`.

        ValueError when another does.
        """
        ports = self.ports.setdefault(address & -PAGE, [])
        if any(other.address == address for other in ports):
            raise ValueError(f"there is a port for the register at 0x{address:08x} already")
        port.address = address
        if ports:
            port.follow(ports[-1])
        ports.append(port)
        self._notify()

    def _changed(self) -> None:
        """Make the dispatch anew."""
        self._sort()
        self._readers.clear()
        self._writers.clear()
        for region in self._regions:
            if isinstance(region.target, Device):
                self._add_dispatch(region.base, region.target)
        self._notify()

    def _sort(self) -> None:
        self._regions.sort(key=lambda region: region.base)
        self._bases = [region.base for region in self._regions]

    def _notify(self) -> None:
        for listener in self.on_change:
            listener()

    def _add_dispatch(self, base: int, device: Device) -> None:
        # Fast paths: aligned accesses to all of a register (what is read is cut to its size by who
        # asked). All else goes through Device.read/write.
        if device in self._gated:
            return
        for register in device.registers.values():
            address = base + register.offset
            sizes = [size for size in (1, 2, 4) if not address & size - 1]
            if register.sized:
                self._add_sized(address, sizes, device, register)
                continue
            reader, writer, mask = device.reader(register), device.writer(register), register.mask
            for size in sizes:
                if 8 * size >= register.width:
                    self._readers[address << 3 | size] = reader
                    whole = 8 * size == register.width
                    self._writers[address << 3 | size] = writer if whole else _masked(writer, mask)

    def _add_sized(self, address: int, sizes: list[int], device: Device, register: Register) -> None:
        for size in sizes:
            if register.read_handler is not None:
                read = partial(getattr(device, register.read_handler), size)
                self._readers[address << 3 | size] = read
            if register.write_handler is not None:
                write = getattr(device, register.write_handler)
                self._writers[address << 3 | size] = partial(_with_size, write, size)

    def gate(self, device: Device, gated: bool) -> None:
        """Take away the bus clock of ``device``, or give it back.

        Without it no register can be written; a read gives what is held, without side effects. Debuggers
        still reach it, by :meth:`peek` and :meth:`poke`. ValueError when it is not on the bus.
        """
        if gated == (device in self._gated):
            return
        region = next((each for each in self._regions if each.target is device), None)
        if region is None:
            raise ValueError(f"{device.name} is not on the bus")
        for base in range(region.base, region.end, PAGE):
            for port in self.ports.get(base, ()):
                port.gated = gated
        if gated:
            addresses = [region.base + register.offset << 3 for register in device.registers.values()]
            keys = [address | size for address in addresses for size in (1, 2, 4)]
            readers = {key: self._readers.pop(key) for key in keys if key in self._readers}
            writers = {key: self._writers.pop(key) for key in keys if key in self._writers}
            self._gated[device] = readers, writers
        else:
            readers, writers = self._gated.pop(device)
            self._readers.update(readers)
            self._writers.update(writers)

    def regions(self) -> Iterator[Region]:
        """Every region, by address."""
        return iter(self._regions)

    def find(self, address: int) -> Region | None:
        """The region that physical ``address`` lies in, or None."""
        index = bisect_right(self._bases, address) - 1
        if index >= 0 and address < self._regions[index].end:
            return self._regions[index]
        return None

    def read(self, address: int, size: int) -> int:
        """A CPU's read of ``size`` bytes (1, 2, 4). May return bits above ``size``.

        The bus has no unaligned accesses: the low bits of ``address`` make a guest error, and nothing else
        (what the CPU makes of the word then is its own business).
        """
        reader = self._readers.get(address << 3 | size)
        if reader is not None:
            return reader()
        region = self.find(address)
        if address & size - 1:
            self._unaligned(region, f"read of {size} bytes", address)
            return self.read(address & -size, size)
        if region is None:
            self.log.error("bus", f"read of {size} bytes at 0x{address:08x}, where nothing is")
            return 0
        offset, target = address - region.base + region.offset, region.target
        if target in self._gated and isinstance(target, Device):
            target.guest_error(f"read of {size} bytes at offset 0x{offset:x} while CLKCON gates its clock")
            return target.peek(offset, size)
        return target.read(offset, size)

    def _unaligned(self, region: Region | None, access: str, address: int) -> None:
        name = "bus" if region is None else region.target.name
        self.log.error(name, f"unaligned {access} at 0x{address:08x}")

    def write(self, address: int, size: int, value: int) -> None:
        """A CPU's write of ``size`` bytes (1, 2, 4); ``value`` fits in ``size``. Alignment: see read."""
        writer = self._writers.get(address << 3 | size)
        if writer is not None:
            writer(value)
            return
        region = self.find(address)
        if address & size - 1:
            self._unaligned(region, f"write of 0x{value:x} ({size} bytes)", address)
            self.write(address & -size, size, value)
            return
        if region is None:
            self.log.error("bus", f"write of 0x{value:x} ({size} bytes) at 0x{address:08x}, where nothing is")
            return
        target = region.writes_to or region.target
        offset = address - region.base + region.offset
        if target in self._gated and isinstance(target, Device):
            target.guest_error(
                f"write of 0x{value:x} ({size} bytes) at offset 0x{offset:x} while CLKCON gates its clock"
            )
        elif isinstance(target, Device) or region.writable:
            target.write(offset, size, value)
            if isinstance(target, Memory):
                self._memory_written(address, size)
        else:
            self.log.error(region.target.name, f"write of 0x{value:x} to read-only 0x{address:08x}")

    def peek(self, address: int, length: int) -> bytes:
        """``length`` bytes from ``address``, without side effects; BusError where nothing is."""
        region = self.find(address)
        if region is not None and isinstance(region.target, Memory) and address + length <= region.end:
            offset = address - region.base + region.offset
            return bytes(region.target.data[offset : offset + length])
        chunks = bytearray()
        while length:
            region = self.find(address)
            if region is None:
                raise BusError(address)
            offset = address - region.base + region.offset
            if isinstance(region.target, Memory):
                count = min(length, region.end - address)
                chunks += region.target.data[offset : offset + count]
            else:
                count = 1 if offset & 3 or length < 4 else 4
                chunks += region.target.peek(offset, count).to_bytes(count, "little")
            address += count
            length -= count
        return bytes(chunks)

    def poke(self, address: int, data: bytes) -> None:
        """A debugger's write: into memory (read-only too) directly, to a device as the CPU would.

        BusError where nothing is; then nothing at all is written.
        """
        parts = []
        start, length = address, len(data)
        while data:
            region = self.find(address)
            if region is None:
                raise BusError(address)
            offset = address - region.base + region.offset
            count = min(len(data), region.end - address)
            if isinstance(region.target, Device):
                count = next(n for n in (4, 2, 1) if n <= count and offset % n == 0)
            parts.append((region.target, offset, data[:count]))
            address += count
            data = data[count:]
        for target, offset, chunk in parts:
            if isinstance(target, Memory):
                target.data[offset : offset + len(chunk)] = chunk
            else:
                target.write(offset, len(chunk), int.from_bytes(chunk, "little"))
        self._memory_written(start, length)

    def memory_replaced(self) -> None:
        """Tell everyone that all memories hold something else now, written past the bus."""
        for region in self._regions:
            if isinstance(region.target, Memory):
                self._memory_written(region.base, region.size)

    def _memory_written(self, address: int, length: int) -> None:
        for listener in self.on_memory_write:
            listener(address, length)


def _with_size(write: Callable[[int, int], None], size: int, value: int) -> None:
    write(value, size)


def _masked(writer: Writer, mask: int) -> Writer:
    return lambda value: writer(value & mask)
