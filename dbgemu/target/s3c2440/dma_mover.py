"""How a DMA channel moves bytes: between memories in bulk, through a peripheral's FIFO, or unit by unit."""

from __future__ import annotations

from dbgemu.target.bus import Bus, Region
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.memory import Memory
from dbgemu.target.s3c2440.dma_port import DmaPort


class Mover:
    """Moves data on the bus as a master of it. Addresses are physical; a unit has 1, 2 or 4 bytes."""

    def __init__(self, bus: Bus, log: GuestLog) -> None:
        self._bus = bus
        self._log = log

    def move(
        self,
        source: int,
        target: int,
        length: int,
        unit: int,
        *,
        steps: tuple[bool, bool],
        port: DmaPort | None = None,
    ) -> int:
        """Move up to ``length`` bytes; how many were moved: fewer where the ``port`` has no more.

        ``steps``: whether the source's and the target's address go on with each unit. The port's FIFO
        stands for the address that is not one of memory.
        """
        source_memory = self._memory(source, length if steps[0] else unit)
        target_memory = self._memory(target, length if steps[1] else unit)
        if port is not None and port.read is not None and source_memory is None:
            data = port.read(unit, length)
            self._put(target, data, unit, steps[1], target_memory)
            return len(data)
        if port is not None and port.write is not None and target_memory is None:
            return port.write(unit, self._get(source, length, unit, steps[0], source_memory))
        if source_memory is not None and target_memory is not None:
            overlaps = steps == (True, True) and source < target < source + length
            if overlaps:  # what was written is read again: a pattern spreads
                distance = target - source
                for place in range(0, length, distance):
                    count = min(distance, length - place)
                    data = self._get(source + place, count, unit, True, source_memory)
                    self._put(target + place, data, unit, True, target_memory)
                return length
        elif source_memory is None and target_memory is None:
            for place in range(0, length, unit):  # a value moves before the next is read
                data = self._get(source + place * steps[0], unit, unit, True, None)
                self._put(target + place * steps[1], data, unit, True, None)
            return length
        data = self._get(source, length, unit, steps[0], source_memory)
        self._put(target, data, unit, steps[1], target_memory)
        return length

    def is_memory(self, address: int, length: int) -> bool:
        """Whether all ``length`` bytes from ``address`` are in one memory."""
        return self._memory(address, length) is not None

    def _memory(self, address: int, length: int) -> Region | None:
        """The region that has all ``length`` bytes from ``address``, when it is one of memory."""
        region = self._bus.find(address)
        if region is None or not isinstance(region.target, Memory) or address + length > region.end:
            return None
        return region

    def _get(self, address: int, length: int, unit: int, steps: bool, memory: Region | None) -> bytes:
        bus = self._bus
        if memory is not None:
            return bus.peek(address, length) if steps else bus.peek(address, unit) * (length // unit)
        if bus.find(address) is None:
            self._log.error("dma", f"read at 0x{address:08x}, where nothing is")
            return bytes(length)
        mask = (1 << 8 * unit) - 1
        return b"".join(
            (bus.read(address + place * steps, unit) & mask).to_bytes(unit, "little")
            for place in range(0, length, unit)
        )

    def _put(self, address: int, data: bytes, unit: int, steps: bool, memory: Region | None) -> None:
        bus = self._bus
        if memory is not None and memory.writable and memory.writes_to is None:
            if data:
                bus.poke(address, data if steps else data[-unit:])
        elif bus.find(address) is None:
            self._log.error("dma", f"write at 0x{address:08x}, where nothing is")
        else:
            for place in range(0, len(data), unit):
                value = int.from_bytes(data[place : place + unit], "little")
                bus.write(address + place * steps, unit, value)
