"""NOR flash with AMD's command set: Am29LV160DB, 2 MiB, 16 bits wide, boot sectors at the bottom.

Am29LV160D data sheet 22358, tables 2, 5 to 9 and "Write operation status". Linux's probe
(drivers/mtd/chips) finds it by CFI: command set 0002, extended table 1.0, and takes the boot sectors for
the bottom ones as bit 7 of the device id 2249h is 0 (cfi_cmdset_0002.c, fixup_amd_bootblock).

While the chip is in array mode the CPU reads the array directly, as a :class:`Memory`. Commands that
change what a read gives put this device in the array's place on the bus until they are over. A word is
programmed within its bus cycle and is never seen busy: switching twice for each of a million words
would cost more than everything else that a programmer does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, ClassVar

from dbgemu.target.bus import Bus, Region
from dbgemu.target.chips.flash_array import ERASED, Backing
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.memory import Memory

SIZE = 0x200000

MANUFACTURER_ID = 0x0001
DEVICE_ID = 0x2249

#: (sectors, bytes of each), from the lowest address on
ERASE_REGIONS = ((1, 0x4000), (2, 0x2000), (1, 0x8000), (31, 0x10000))

#: first byte of each sector, and the chip's end
SECTOR_STARTS = tuple(accumulate((size for count, size in ERASE_REGIONS for _ in range(count)), initial=0))

#: how long a sector erase waits for the numbers of more sectors (data sheet, "DQ3")
ERASE_WINDOW_NS = 50_000
#: how long erasing a sector takes: far less than the chip's 0.7 s, which a guest only polls away
SECTOR_ERASE_NS = 200_000

#: bytes that are compared and saved together
_CHUNK = 4096

_UNLOCK_1, _UNLOCK_2 = 0x555, 0x2AA
#: A10 to A0 count in unlock and command cycles
_COMMAND_ADDRESS = 0x7FF

_DQ2, _DQ3, _DQ5, _DQ6, _DQ7 = 0x04, 0x08, 0x20, 0x40, 0x80


def _cfi_table() -> bytes:
    """The low bytes of words 10h to 4Ch of the CFI query."""
    regions = bytearray()
    for count, size in ERASE_REGIONS:
        regions += (count - 1).to_bytes(2, "little") + (size // 256).to_bytes(2, "little")
    table = bytearray(0x4D - 0x10)
    for word, content in (
        (0x10, b"QRY"),
        (0x13, b"\x02\x00\x40\x00"),  # command set 0002, its table at 40h; no alternate one
        (0x1B, b"\x27\x36\x00\x00"),  # Vcc 2.7 V to 3.6 V, no Vpp
        (0x1F, b"\x04\x00\x0a\x00"),  # typical: word 2^4 us, no buffer, sector 2^10 ms
        (0x23, b"\x05\x00\x04\x00"),  # longest: 2^5 and 2^4 times that
        (0x27, b"\x15\x02\x00\x00\x00"),  # 2^21 bytes, x8 and x16, no buffer
        (0x2C, bytes([len(ERASE_REGIONS)]) + regions),
        (0x40, b"PRI10"),
        (0x45, b"\x00\x02\x01\x01\x04\x00\x00\x00"),  # erase suspend for reading and programming
    ):
        table[word - 0x10 : word - 0x10 + len(content)] = content
    return bytes(table)


CFI_TABLE = _cfi_table()

# What a read gives.
ARRAY, AUTOSELECT, CFI, ERASING, SUSPENDED, FAILED = range(6)
MODE_NAMES = ("array", "autoselect", "cfi", "erasing", "suspended", "failed")


def sector_of(offset: int) -> tuple[int, int]:
    """First byte of, and behind, the sector that byte ``offset`` of the chip lies in."""
    index = bisect_right(SECTOR_STARTS, offset)
    return SECTOR_STARTS[index - 1], SECTOR_STARTS[index]


class NorFlash(Device):
    """The chip and its array, ``memory``. Bus accesses of 32 bits are two of 16, the lower first.

    Debuggers poke the array directly; what they write is part of a saved state, but not written to the
    image file.
    """

    title = "Am29LV160DB NOR flash"
    size = SIZE
    STATE = (
        "mode",
        "_step",
        "_bypass",
        "_failed_bit",
        "_sectors",
        "_suspended",
        "_toggle",
        "_timer",
        "_left",
    )

    def __init__(
        self,
        name: str = "norflash",
        *,
        clock: VirtualClock,
        backing: Backing | None = None,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self._clock = clock
        self._backing = backing
        self.memory = Memory(f"{name}.array", SIZE)
        self._initial = backing.read(0, SIZE) if backing is not None else bytes([ERASED]) * SIZE
        self.memory.data[:] = self._initial
        self._bus: Bus | None = None
        self._regions: list[Region] = []
        self._timer = Timer(clock, self._timer_over)
        self._idle()

    def _idle(self) -> None:
        self.mode = ARRAY
        #: which cycle of a command sequence comes next: a key of _STEPS
        self._step = "first"
        self._bypass = False
        #: DQ7 of the data that could not be programmed
        self._failed_bit = 0
        #: first bytes of the sectors being erased
        self._sectors: list[int] = []
        #: an erase waits while other commands are executed
        self._suspended = False
        #: DQ6 and DQ2 of the last status read
        self._toggle = 0
        #: ns that a suspended erase still takes
        self._left = 0

    def map(self, bus: Bus, base: int) -> None:
        """Let the chip answer from ``base``; several bases are several views of it."""
        self._bus = bus
        self._regions.append(bus.map(base, self.memory, writable=False, writes_to=self))
        self._show()

    def unmap(self) -> None:
        """Take the chip off the bus again."""
        if self._bus is not None:
            for region in self._regions:
                self._bus.unmap(region)
            self._regions.clear()

    def reset(self) -> None:
        """The RESET# pin: back to array mode; a running erase is called off, its sectors stay."""
        super().reset()
        self._timer.cancel()
        self._idle()
        self._show()

    # -- contents ----------------------------------------------------------------------------

    @property
    def writes_image(self) -> bool:
        """Whether what the guest changes goes to an image."""
        return self._backing is not None and self._backing.writable

    def _store(self, offset: int, data: bytes) -> None:
        self.memory.data[offset : offset + len(data)] = data
        if self._backing is not None and self._backing.writable:
            self._backing.write(offset, data)

    def erase(self, offset: int, length: int) -> None:
        """What a programmer beside the guest does: erase whole sectors, in the image file too."""
        self._store(offset, bytes([ERASED]) * length)

    def program(self, offset: int, data: bytes) -> bool:
        """Store bytes beside the guest, in the image file too; False when that would set a cleared bit."""
        old = int.from_bytes(self.memory.data[offset : offset + len(data)], "little")
        if int.from_bytes(data, "little") & ~old:
            return False
        self._store(offset, data)
        return True

    def save(self) -> dict[str, Any]:
        """The chip's state and the 4 KiB pieces that differ from the image that it started with."""
        data = self.memory.data
        changed = {offset: bytes(data[offset : offset + _CHUNK]) for offset in self.differing(self._initial)}
        return super().save() | {"changed": changed}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave, contents included where they are in it."""
        super().load({name: value for name, value in state.items() if name != "changed"})
        if "changed" in state:
            changed, initial = state["changed"], self._initial
            chunks = range(0, SIZE, _CHUNK)
            self.hold(b"".join(changed.get(offset) or initial[offset : offset + _CHUNK] for offset in chunks))
        self._show()

    def differing(self, contents: bytes) -> list[int]:
        """Offsets of the 4 KiB pieces that do not hold what ``contents`` (all of the array) says."""
        data = self.memory.data
        return [
            offset
            for offset in range(0, SIZE, _CHUNK)
            if bytes(data[offset : offset + _CHUNK]) != contents[offset : offset + _CHUNK]
        ]

    def hold(self, contents: bytes) -> None:
        """Let the array hold ``contents``, all of it; the image file too."""
        for offset in self.differing(contents):
            self._store(offset, contents[offset : offset + _CHUNK])

    def facts(self) -> Iterator[Fact]:
        """What reads give now, and what is under way."""
        yield Fact("identifies as", f"{MANUFACTURER_ID:04x} {DEVICE_ID:04x}")
        yield Fact("sectors", ", ".join(f"{count} of {size >> 10} KB" for count, size in ERASE_REGIONS))
        yield Fact("mode", MODE_NAMES[self.mode])
        yield Fact("next cycle", self._step)
        yield Fact("erasing", " ".join(f"0x{start:06x}" for start in self._sectors) or "nothing")
        yield Fact("at", " ".join(f"0x{region.base:08x}" for region in self._regions) or "not on the bus")

    # -- the bus -----------------------------------------------------------------------------

    def _enter(self, mode: int) -> None:
        self.mode = mode
        self._show()

    def _show(self) -> None:
        """Let reads go to the array in array mode, and else here."""
        if self._bus is None:
            return
        target = self.memory if self.mode == ARRAY else self
        for index, region in enumerate(self._regions):
            if region.target is not target:
                new = (
                    Region(region.base, SIZE, self.memory, writable=False, writes_to=self)
                    if target is self.memory
                    else Region(region.base, SIZE, self)
                )
                self._regions[index] = self._bus.replace(region, new)

    def read(self, offset: int, size: int) -> int:
        """A guest's read of ``size`` bytes (1, 2, 4): reading status toggles bits."""
        value = self._read_word(offset & ~1)
        if size == 4:
            return value | self._read_word(offset + 2) << 16
        return value >> 8 * (offset & 1) & 0xFF if size == 1 else value

    def _read_word(self, offset: int) -> int:
        value = self._word(offset)
        if self.mode in (ERASING, FAILED) or (self.mode == SUSPENDED and self._erases(offset)):
            self._toggle ^= _DQ6 | _DQ2
        return value

    def peek(self, offset: int, size: int) -> int:
        """What the next read would give; nothing toggles."""
        value = self._word(offset & ~1)
        if size == 4:
            return value | self._word(offset + 2) << 16
        return value >> 8 * (offset & 1) & 0xFF if size == 1 else value

    def write(self, offset: int, size: int, value: int) -> None:
        """A guest's write of ``size`` bytes (2, 4): command, address and data cycles."""
        if size == 1:
            # The chip has one nWE for all 16 data lines: the other byte would be undefined.
            self.guest_error(f"byte write of 0x{value:02x} at offset 0x{offset:x} of a 16-bit chip")
            return
        self._cycle(offset, value & 0xFFFF)
        if size == 4:
            self._cycle(offset + 2, value >> 16)

    # -- reading -----------------------------------------------------------------------------

    def _array_word(self, offset: int) -> int:
        return self.memory.read(offset, 2)

    def _autoselect_word(self, offset: int) -> int:
        # A1 and A0 choose; 2 tells whether the sector is protected: none is.
        return {0: MANUFACTURER_ID, 1: DEVICE_ID}.get(offset >> 1 & 3, 0)

    def _cfi_word(self, offset: int) -> int:
        index = (offset >> 1 & 0xFF) - 0x10
        return CFI_TABLE[index] if 0 <= index < len(CFI_TABLE) else 0

    def _erases(self, offset: int) -> bool:
        return sector_of(offset)[0] in self._sectors

    def _erasing_word(self, offset: int) -> int:
        started = _DQ3 if self._step != "window" else 0
        return started | self._toggle & (_DQ6 | (_DQ2 if self._erases(offset) else 0))

    def _suspended_word(self, offset: int) -> int:
        return _DQ7 | self._toggle & _DQ2 if self._erases(offset) else self.memory.read(offset, 2)

    def _failed_word(self, offset: int) -> int:
        return self._failed_bit | _DQ5 | self._toggle & _DQ6

    def _word(self, offset: int) -> int:
        return self._WORDS[self.mode](self, offset)

    _WORDS: ClassVar[tuple[Callable[[NorFlash, int], int], ...]] = (
        _array_word,
        _autoselect_word,
        _cfi_word,
        _erasing_word,
        _suspended_word,
        _failed_word,
    )

    # -- command cycles ----------------------------------------------------------------------

    def _cycle(self, offset: int, value: int) -> None:
        self._STEPS[self._step](self, offset, value)

    def _ready_mode(self) -> int:
        return SUSPENDED if self._suspended else ARRAY

    def _abort(self) -> None:
        """A reset command, or a wrong cycle: back to reading."""
        self._step = "bypass" if self._bypass else "first"
        self._enter(self._ready_mode())

    def _unexpected(self, offset: int, value: int) -> None:
        self.guest_error(f"write of 0x{value:04x} at offset 0x{offset:x} is no command here")
        self._abort()

    def _first(self, offset: int, value: int) -> None:
        command, address = value & 0xFF, offset >> 1 & _COMMAND_ADDRESS
        if command == 0xF0:
            self._abort()
        elif self.mode == FAILED:
            self.guest_error("a program failed: only the reset command is taken")
        elif command == 0xAA and address == _UNLOCK_1:
            self._step = "second"
        elif command == 0x98 and address & 0xFF == 0x55:
            self._enter(CFI)
        elif command == 0x30 and self._suspended:
            self._resume()
        elif command != 0xB0:
            # Suspend and resume are harmless when nothing is erased; Linux counts on that.
            self._unexpected(offset, value)

    def _second(self, offset: int, value: int) -> None:
        if value & 0xFF == 0x55 and offset >> 1 & _COMMAND_ADDRESS == _UNLOCK_2:
            self._step = "command"
        else:
            self._unexpected(offset, value)

    def _command(self, offset: int, value: int) -> None:
        handler = self._COMMANDS.get(value & 0xFF)
        if handler is None or offset >> 1 & _COMMAND_ADDRESS != _UNLOCK_1:
            self._unexpected(offset, value)
        else:
            handler(self)

    def _enter_autoselect(self) -> None:
        self._step = "first"
        self._enter(AUTOSELECT)

    def _enter_bypass(self) -> None:
        self._bypass = True
        self._abort()

    def _expect_program(self) -> None:
        self._step = "program"

    def _expect_erase(self) -> None:
        if self._suspended:
            self.guest_error("an erase while another one is suspended")
            self._abort()
        else:
            self._step = "erase first"

    def _program(self, offset: int, value: int) -> None:
        old = self.memory.read(offset, 2)
        if self._suspended and self._erases(offset):
            self._unexpected(offset, value)
            return
        new = old & value
        self._step = "bypass" if self._bypass else "first"
        if new != old:
            self._store(offset, new.to_bytes(2, "little"))
        if new != value:
            # Only an erase turns a 0 into a 1: DQ5 tells (data sheet, "DQ5: exceeded timing limits").
            self.guest_error(f"program of 0x{value:04x} over 0x{old:04x} at offset 0x{offset:x}")
            self._failed_bit = ~value & _DQ7
            self._enter(FAILED)
        elif self.mode != self._ready_mode():
            self._enter(self._ready_mode())

    def _bypass_cycle(self, offset: int, value: int) -> None:
        step = {0xA0: "program", 0x90: "bypass end"}.get(value & 0xFF)
        if step is not None and self.mode != FAILED:
            self._step = step
        elif value & 0xFF == 0xF0:
            self._abort()
        else:
            self._unexpected(offset, value)

    def _bypass_end(self, offset: int, value: int) -> None:
        if value & 0xFF == 0x00:
            self._bypass = False
            self._abort()
        else:
            self._unexpected(offset, value)

    # -- erasing -----------------------------------------------------------------------------

    def _erase_first(self, offset: int, value: int) -> None:
        if value & 0xFF == 0xAA and offset >> 1 & _COMMAND_ADDRESS == _UNLOCK_1:
            self._step = "erase second"
        else:
            self._unexpected(offset, value)

    def _erase_second(self, offset: int, value: int) -> None:
        if value & 0xFF == 0x55 and offset >> 1 & _COMMAND_ADDRESS == _UNLOCK_2:
            self._step = "erase"
        else:
            self._unexpected(offset, value)

    def _erase(self, offset: int, value: int) -> None:
        command = value & 0xFF
        if command == 0x30:
            self._sectors = [sector_of(offset)[0]]
            self._step = "window"
            self._timer.start_in(ERASE_WINDOW_NS)
            self._enter(ERASING)
        elif command == 0x10 and offset >> 1 & _COMMAND_ADDRESS == _UNLOCK_1:
            self._sectors = list(SECTOR_STARTS[:-1])
            self._begin_erase()
            self._enter(ERASING)
        else:
            self._unexpected(offset, value)

    def _window(self, offset: int, value: int) -> None:
        """Within 50 us: one more sector, or suspend; anything else calls the erase off."""
        command = value & 0xFF
        if command == 0x30:
            start = sector_of(offset)[0]
            if start not in self._sectors:
                self._sectors.append(start)
            self._timer.start_in(ERASE_WINDOW_NS)
        elif command == 0xB0:
            self._begin_erase()
            self._suspend()
        else:
            self._timer.cancel()
            self._sectors = []
            self._step = "first"
            self._unexpected(offset, value)

    def _begin_erase(self) -> None:
        self._step = "erasing"
        self._timer.start_in(SECTOR_ERASE_NS * len(self._sectors))

    def _erasing(self, offset: int, value: int) -> None:
        if value & 0xFF == 0xB0:
            self._suspend()
        elif value & 0xFF not in (0x30, 0xF0):
            self.guest_error(f"write of 0x{value:04x} at offset 0x{offset:x} while the chip erases")

    def _suspend(self) -> None:
        deadline = self._timer.deadline
        self._left = max(0, (deadline or 0) - self._clock.now)
        self._timer.cancel()
        self._suspended = True
        self._step = "first"
        self._enter(SUSPENDED)

    def _resume(self) -> None:
        self._suspended = False
        self._step = "erasing"
        self._timer.start_in(self._left)
        self._enter(ERASING)

    def _timer_over(self) -> None:
        if self._step == "window":
            self._begin_erase()
            return
        for start in self._sectors:
            end = sector_of(start)[1]
            self._store(start, bytes([ERASED]) * (end - start))
        self._sectors = []
        self._step = "first"
        self._enter(ARRAY)

    _STEPS: ClassVar[Mapping[str, Callable[[NorFlash, int, int], None]]] = {
        "first": _first,
        "second": _second,
        "command": _command,
        "program": _program,
        "bypass": _bypass_cycle,
        "bypass end": _bypass_end,
        "erase first": _erase_first,
        "erase second": _erase_second,
        "erase": _erase,
        "window": _window,
        "erasing": _erasing,
    }
    _COMMANDS: ClassVar[Mapping[int, Callable[[NorFlash], None]]] = {
        0x20: _enter_bypass,
        0x80: _expect_erase,
        0x90: _enter_autoselect,
        0xA0: _expect_program,
    }
