"""NAND flash: command, address and data cycles in, page data and ready/busy out.

Samsung K9F1208U0C and K9F2G08U0A data sheets, "Device operation". Commands are tables below; a chip
changes its cells when the confirming command comes and then only has to let the busy time pass.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from dbgemu.target.chips.flash_array import ERASED, Backing, FlashArray
from dbgemu.target.chips.nand_parts import DEFAULT_PART, NandPart, NandTiming
from dbgemu.target.chips.ready_busy import ReadyBusy
from dbgemu.target.clock import VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact, size
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.stream import STREAM_CURSOR, STREAM_READ_END, STREAM_WRITE_END, StreamPort, place_of

# Status register (data sheets, "Read status").
STATUS_FAIL = 0x01
STATUS_CACHE_READY = 0x20
STATUS_READY = 0x40
STATUS_WRITABLE = 0x80

#: commands that a chip accepts while it is busy: read status (71h: of each plane) and reset
WHILE_BUSY = (0x70, 0x71, 0xFF)

#: what of the saved state is not in attributes of that name
_OWN_STATE = ("cells", "buffer", "position", "output_limit", "input_limit", "_addressed", "busy_until")

# What a read cycle outputs.
OUT_NOTHING, OUT_PAGE, OUT_STATUS, OUT_ID = range(4)
_OUTPUTS = ("nothing", "page data", "status", "ids")


class NandFlash(Device):
    """A NAND chip on the controller's pins (it has no registers of its own on the bus).

    The controller takes page data from and puts it into ``buffer`` at ``position`` by itself, as long
    as that stays within ``output_limit`` or ``input_limit``; everything else comes through
    :meth:`read_data` and :meth:`write_data`. These four are those of ``stream``, so that the engine can
    do the same.
    """

    title = "NAND flash chip"
    size = 0
    STATE = (
        "buffer",
        "position",
        "output_limit",
        "input_limit",
        "write_protected",
        "_command",
        "_addressed",
        "_column",
        "_area",
        "_row",
        "_erase_rows",
        "_programming",
        "_chained",
        "_output",
        "_failed",
        "_expected",
        "busy_until",
    )

    def __init__(
        self,
        name: str = "nandflash",
        *,
        clock: VirtualClock,
        part: NandPart = DEFAULT_PART,
        backing: Backing | None = None,
        bad_blocks: Iterable[int] = (),
        timing: NandTiming | None = None,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.part = part
        self.timing = timing or NandTiming()
        #: blocks that the factory marked bad: they show the mark, and cannot be erased or programmed
        self.bad_blocks = part.bad_blocks | frozenset(bad_blocks)
        #: ready (1) or busy (0)
        self.ready = ReadyBusy(f"{name}.RnB", clock, self._become_ready)
        self.rnb = self.ready.line
        #: the nWP pin is low: nothing can be programmed or erased
        self.write_protected = False
        self.cells = FlashArray(part.pages, part.raw_page, backing)
        self._pages, self._raw_page, self._large = part.pages, part.raw_page, part.large_page
        self._commands = self._LARGE if self._large else self._SMALL
        self._columns, self._rows = part.column_cycles, part.row_cycles
        self._cycles = self._columns + self._rows
        #: by command: how many address cycles have been taken where they have an effect
        self._effects = part.address_effects()
        #: by command: how many address cycles have no effect before the first that has one
        self._quiet = {command: max(counts[0] - 1, 0) for command, counts in self._effects.items()}
        #: address cycles that have no effect of their own yet, as whoever executes the guest's code sees them
        self.addresses = StreamPort(self._cycles)
        #: the page register, as whoever executes the guest's code sees it
        self.stream = StreamPort(part.raw_page)
        self.buffer = self.stream.buffer
        #: 1 after a posted command, see :meth:`postable`
        self.posted = array("Q", [0])
        #: and which it was, or will be: the last one that began to read a page
        self._expected = 0x00
        #: called when that has been made up for
        self.on_posted: Callable[[int], None] = lambda command: None
        self.buffer[:] = self.cells.erased
        # what a posted command sets: the first address cycle, the one with an effect, that it has come
        self._begin = array("Q", [self.addresses.end_of(0), self.addresses.end_of(self._cycles - 1), 1])
        self._idle()

    def _idle(self) -> None:
        self.posted[0] = 0
        self.position = 0
        self.output_limit = 0
        self.input_limit = 0
        self._command = 0xFF
        self.addresses.withdraw()
        self._column = 0
        #: small pages: where column 0 is, as commands 00h, 01h and 50h choose it (0, 256, 512)
        self._area = 0
        self._row = 0
        self._erase_rows: list[int] = []
        self._programming = False
        #: the last program command was 11h or 15h: the status covers the next one, too
        self._chained = False
        self._output = OUT_NOTHING
        self._failed = False

    @property
    def position(self) -> int:
        """The byte of the page, or of the ids, that the next data cycle reads or writes."""
        return self.stream.position

    @position.setter
    def position(self, index: int) -> None:
        self.stream.position = index

    @property
    def output_limit(self) -> int:
        """Read cycles give what is in ``buffer`` up to here."""
        return self.stream.read_limit

    @output_limit.setter
    def output_limit(self, index: int) -> None:
        self.stream.read_limit = index

    @property
    def input_limit(self) -> int:
        """Write cycles go to ``buffer`` up to here."""
        return self.stream.write_limit

    @input_limit.setter
    def input_limit(self, index: int) -> None:
        self.stream.write_limit = index

    @property
    def busy_until(self) -> int | None:
        """When the operation that runs ends (ns of virtual time), None when the chip is ready."""
        return self.ready.ready_at

    def reset(self) -> None:
        """Power-on: no command pending, ready; the cells keep what they hold."""
        super().reset()
        self.buffer[:] = self.cells.erased
        self._idle()
        self.ready.end()

    # -- a command that has come already -----------------------------------------------------

    def postable(self) -> int | None:
        """The command that would do nothing now but begin a new address, and is the likeliest; or None."""
        readable = self._output == OUT_PAGE and self.stream.words[STREAM_READ_END]
        return self._expected if readable and self.ready.ready_at is None else None

    def posting(self) -> tuple[tuple[int, int], ...]:
        """What is to be copied then, as :class:`PostingRegister` wants it; :attr:`posted` is set."""
        cycles, first = self.addresses.words, place_of(self._begin, 0)
        return (
            (first, place_of(cycles, STREAM_CURSOR)),
            (first + 8, place_of(cycles, STREAM_WRITE_END)),
            (first + 16, place_of(self.posted, 0)),
        )

    def take_posted(self) -> None:
        """Make up for a posted command."""
        if self.posted[0]:
            self.posted[0] = 0
            self._command = command = self._expected
            self._programming = False
            self._area = self._AREAS[command]
            self.on_posted(command)

    # -- the pins ----------------------------------------------------------------------------

    def command(self, value: int) -> None:
        """A command cycle (CLE) with ``value`` (8 bits)."""
        if self.ready.ready_at is not None and value not in WHILE_BUSY and self.ready.busy:
            self.guest_error(f"command 0x{value:02x} while the chip is busy")
            return
        handler = self._commands.get(value)
        if handler is None:
            self.guest_error(f"{self.part.name} has no command 0x{value:02x}")
            return
        self.stream.close()
        handler(self, value)
        if self.ready.ready_at is None:
            self.addresses.write_limit = self._quiet.get(self._command, 0)

    @property
    def _addressed(self) -> list[int]:
        """The address cycles since the command."""
        return list(self.addresses.buffer[: self.addresses.position])

    def address(self, value: int) -> None:
        """An address cycle (ALE) with ``value`` (8 bits), lowest byte first."""
        if self.ready.ready_at is not None and self.ready.busy:
            self.guest_error(f"address 0x{value:02x} while the chip is busy")
            return
        command = self._command
        effects = self._effects.get(command)
        if effects is None:
            self.guest_error(f"address 0x{value:02x} after command 0x{command:02x}, which takes none")
            return
        stream, words = self.addresses, self.addresses.words
        count = stream.position
        if count < self._cycles:
            stream.buffer[count] = value
            words[STREAM_CURSOR] += 1
            count += 1
            if count in effects:
                words[STREAM_WRITE_END] = 0
                if count == effects[0] != effects[-1]:
                    stream.write_limit = self._cycles - 1
                self._ADDRESSED[command](self)

    def read_data(self, count: int) -> int:
        """``count`` read cycles (1, 2 or 4): the first byte is the lowest."""
        value = 0
        for lane in range(0, 8 * count, 8):
            value |= self._read_byte() << lane
        return value

    def write_data(self, value: int, count: int) -> None:
        """``count`` write cycles (1, 2 or 4): the lowest byte is the first."""
        if not self.input_limit:
            self.guest_error(f"data 0x{value:x} after command 0x{self._command:02x}, which takes none")
            return
        for byte in value.to_bytes(count, "little"):
            if self.position < self.input_limit:
                self.buffer[self.position] = byte
                self.position += 1

    def peek_data(self, count: int) -> int:
        """What :meth:`read_data` would give, without moving on; past the page's end 0xFF."""
        return int.from_bytes(self._upcoming(count), "little")

    def pending_rows(self) -> tuple[int, ...]:
        """The pages that a confirming command now would program or whose blocks it would erase."""
        return (self._row,) if self._programming else tuple(self._erase_rows)

    def abandon(self) -> None:
        """Forget what waits for a confirming command: the controller has refused to pass that on."""
        self._programming = False
        self._erase_rows = []
        self._command = 0xFF
        self.input_limit = 0

    # -- what the board and debuggers use -----------------------------------------------------

    def read_pages(self, first: int, count: int) -> bytes:
        """The main data of ``count`` pages from ``first`` on, straight from the cells."""
        size = self.part.page_size
        return b"".join(self._load(page)[:size] for page in range(first, first + count))

    def read_raw_page(self, page: int) -> bytes:
        """Main and spare bytes of ``page`` as a guest would read them; the chip does not notice."""
        return self._load(page)

    def facts(self) -> Iterator[Fact]:
        """What the chip is, what it is doing, and what changed since it was made."""
        self.take_posted()
        part = self.part
        yield Fact("part", part.name)
        yield Fact("size", f"{size(part.size)}: {part.blocks} blocks of {part.pages_per_block} pages")
        yield Fact("page", f"{part.page_size} + {part.spare_size} bytes")
        yield Fact("identifies as", part.ids.hex(" "))
        yield Fact("state", "busy" if self.ready.busy else "ready")
        yield Fact("last command", f"0x{self._command:02x}")
        yield Fact("gives", _OUTPUTS[self._output])
        yield Fact("row, byte", f"0x{self._row:x}, {self.position}")
        yield Fact("write protected", self.write_protected)
        yield Fact("factory bad blocks", " ".join(map(str, sorted(self.bad_blocks))) or "none")
        yield Fact("pages changed", self.cells.changed)

    def save(self) -> dict[str, Any]:
        """The chip's state and the pages that differ from the image that it started with."""
        self.ready.settle()
        self.take_posted()
        return super().save() | {"cells": self.cells.save()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave, contents included where they are in it."""
        super().load({name: value for name, value in state.items() if name not in _OWN_STATE})
        self.buffer[:] = state["buffer"]
        self.position = state["position"]
        self.output_limit, self.input_limit = state["output_limit"], state["input_limit"]
        if "cells" in state:
            self.cells.load(state["cells"])
        self.posted[0] = 0
        addressed = state["_addressed"]
        self.addresses.withdraw()
        self.addresses.buffer[: len(addressed)] = bytes(addressed)
        self.addresses.position = len(addressed)
        self.ready.load(state["busy_until"])

    # -- busy --------------------------------------------------------------------------------

    def _be_busy(self, duration: int) -> None:
        self.addresses.words[STREAM_WRITE_END] = 0
        self.ready.start(duration)

    def _become_ready(self) -> None:
        if self._output == OUT_PAGE:
            self.stream.open_reads()

    # -- output ------------------------------------------------------------------------------

    def _status(self) -> int:
        status = STATUS_FAIL if self._failed else 0
        if not self.ready.busy:
            status |= STATUS_READY | (STATUS_CACHE_READY if self.part.large_page else 0)
        return status if self.write_protected else status | STATUS_WRITABLE

    def _upcoming(self, count: int) -> bytes:
        if self._output == OUT_STATUS:
            return bytes([self._status()]) * count
        if self._output == OUT_ID:
            # Beyond its ids the chip gives zeros: Linux finds the length of the ids by that.
            return self.part.ids[self.position : self.position + count].ljust(count, b"\0")
        if self._output == OUT_PAGE:
            return bytes(self.buffer[self.position : self.position + count]).ljust(count, b"\xff")
        return bytes([ERASED]) * count

    def _read_byte(self) -> int:
        if self._output == OUT_PAGE:
            if self.output_limit == 0 and self.ready.busy:
                self.guest_error("data is read while the chip is busy")
                self.stream.open_reads()
            if self.position >= self._raw_page and not self._next_row():
                return ERASED
        byte = self._upcoming(1)[0]
        if self._output in (OUT_PAGE, OUT_ID):
            self.position += 1
        return byte

    def _next_row(self) -> bool:
        """Sequential row read: small-page chips go on with the block's next page."""
        row = self._row + 1
        if self._large or not row % self.part.pages_per_block:
            return False
        self._row = row
        self._start_read(self.part.page_size if self._area == self.part.page_size else 0)
        # Whoever reads on without looking at RnB gets this page's data all the same.
        self.stream.open_reads()
        return True

    # -- reading -----------------------------------------------------------------------------

    def _load(self, page: int) -> bytes:
        data = self.cells.read(page)
        if self.bad_blocks:
            block, index = divmod(page, self.part.pages_per_block)
            if block in self.bad_blocks and index < 2:
                mark = self.part.bad_mark
                return data[:mark] + b"\0" + data[mark + 1 :]
        return data

    def _start_read(self, column: int) -> None:
        self.buffer[:] = self._load(self._row) if self.bad_blocks else self.cells.read(self._row)
        self.stream.turn_to(column)
        self._output = OUT_PAGE
        self._be_busy(self.timing.read)

    def _read(self, value: int) -> None:
        self._command = value
        self.addresses.position = 0
        self._programming = False
        # After a status read, 00h alone turns the chip back to the page's data.
        if self._output == OUT_STATUS:
            self._output = OUT_PAGE
        if self._output == OUT_PAGE:
            self.stream.open_reads()

    def _read_area(self, value: int) -> None:
        self._area, self._expected = self._AREAS[value], value
        self._read(value)

    def _read_confirm(self, value: int) -> None:
        if self._command != 0x00 or self.addresses.position < self._cycles:
            self.guest_error(f"command 0x{value:02x} without 0x00 and {self._cycles} address cycles")
            return
        self._command = value
        self._start_read(self._column)

    def _random_output(self, value: int) -> None:
        self._command = value
        self.addresses.position = 0

    def _random_output_confirm(self, value: int) -> None:
        if self._command != 0x05 or self.addresses.position < self.part.column_cycles:
            self.guest_error("command 0xe0 without 0x05 and a column address")
            return
        self._command = value
        self.position = self._column
        self._output = OUT_PAGE
        self.stream.open_reads()

    def _read_id(self, value: int) -> None:
        self._command = value
        self.addresses.position = 0
        self._programming = False
        self.position = 0
        self._output = OUT_ID

    def _read_status(self, _value: int) -> None:
        self._output = OUT_STATUS

    def _reset_command(self, _value: int) -> None:
        self._idle()
        self._be_busy(self.timing.reset)

    # -- programming -------------------------------------------------------------------------

    def _program(self, value: int) -> None:
        self.buffer[:] = self.cells.erased
        self._open_input(value)

    def _open_input(self, value: int) -> None:
        """80h: a fresh page; 85h and 8Ah: what is in the page register stays (copy-back, random input)."""
        self._command = value
        self.addresses.position = 0
        self._output = OUT_NOTHING

    def _program_confirm(self, value: int) -> None:
        if not self._programming:
            self.guest_error(f"command 0x{value:02x} without data to program")
            return
        # 11h ends one plane's data; its page is written now and not with the last plane's.
        if not self._chained:
            self._failed = False
        self._chained = value != 0x10
        self._command = value
        self._programming = False
        if not self.write_protected:
            row = self._row
            if row // self.part.pages_per_block in self.bad_blocks:
                self._failed = True
            else:
                # Programming clears bits, it never sets one: partial pages rely on that.
                old = int.from_bytes(self.cells.read(row), "little")
                new = old & int.from_bytes(self.buffer, "little")
                self.cells.write(row, new.to_bytes(self._raw_page, "little"))
        # 01h holds for one operation only.
        self._area = 0 if self._area == 256 else self._area
        self._be_busy(self.timing.program)

    def _erase(self, value: int) -> None:
        if self._command != 0x60:
            self._erase_rows = []
        self._command = value
        self.addresses.position = 0
        self._programming = False
        self._output = OUT_NOTHING

    def _erase_confirm(self, value: int) -> None:
        if self._command != 0x60 or not self._erase_rows:
            self.guest_error(f"command 0x{value:02x} without a block to erase")
            return
        self._command = value
        self._failed = False
        rows, self._erase_rows = self._erase_rows, []
        if not self.write_protected:
            for row in rows:
                block = row // self.part.pages_per_block
                if block in self.bad_blocks:
                    self._failed = True
                else:
                    self.cells.erase(block * self.part.pages_per_block, self.part.pages_per_block)
        self._be_busy(self.timing.erase)

    # -- address cycles: called when as many have come as have an effect ----------------------------

    def _take_column(self) -> None:
        cycles = self.addresses.buffer
        if self._large:
            self._column = min(cycles[0] | (cycles[1] & 0xF) << 8, self._raw_page)
        elif self._area == self.part.page_size:
            # 50h: A4 to A7 do not count among 16 spare bytes.
            self._column = self._area + cycles[0] % self.part.spare_size
        else:
            self._column = self._area + cycles[0]

    def _take_row(self, first: int) -> int:
        """The page that the address cycles from ``first`` on name."""
        cycles = self.addresses.buffer
        row = cycles[first] | cycles[first + 1] << 8
        if self._rows == 3:
            row |= cycles[first + 2] << 16
        return row % self._pages

    def _take_page(self) -> None:
        self._take_column()
        self._row = self._take_row(self._columns)

    def _address_read(self) -> None:
        self._take_column()
        self._row = self._take_row(self._columns)
        if not self._large:
            self._start_read(self._column)
            if self._area == 256:
                self._area = 0

    def _address_program(self) -> None:
        self._take_page()
        self._accept_input()

    def _address_input(self) -> None:
        """85h: a column within the page being filled, or a whole address (copy-back)."""
        if self.addresses.position == self._cycles:
            self._address_program()
        elif self._programming:
            self._take_column()
            self._accept_input()

    def _accept_input(self) -> None:
        self._programming = True
        self.stream.position = self._column
        self.stream.write_limit = self._raw_page

    def _address_erase(self) -> None:
        self._erase_rows.append(self._take_row(0))

    _AREAS: ClassVar[Mapping[int, int]] = {0x00: 0, 0x01: 256, 0x50: 512}

    _BOTH: ClassVar[dict[int, Callable[[NandFlash, int], None]]] = {
        0x10: _program_confirm,
        0x11: _program_confirm,
        0x15: _program_confirm,
        0x60: _erase,
        0x70: _read_status,
        0x71: _read_status,
        0x80: _program,
        0x90: _read_id,
        0xD0: _erase_confirm,
        0xFF: _reset_command,
    }
    _SMALL: ClassVar[Mapping[int, Callable[[NandFlash, int], None]]] = _BOTH | {
        0x00: _read_area,
        0x01: _read_area,
        0x50: _read_area,
        0x8A: _open_input,
    }
    _LARGE: ClassVar[Mapping[int, Callable[[NandFlash, int], None]]] = _BOTH | {
        0x00: _read,
        0x05: _random_output,
        0x30: _read_confirm,
        0x35: _read_confirm,
        0x81: _program,
        0x85: _open_input,
        0xE0: _random_output_confirm,
    }
    _ADDRESSED: ClassVar[Mapping[int, Callable[[NandFlash], None]]] = {
        0x00: _address_read,
        0x01: _address_read,
        0x05: _take_column,
        0x50: _address_read,
        0x60: _address_erase,
        0x80: _address_program,
        0x81: _address_program,
        0x85: _address_input,
        0x8A: _address_program,
    }
