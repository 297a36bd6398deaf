"""The SD/MMC/SDIO host interface (S3C2440A UM chapter 19): commands, blocks, the FIFO between.

Data moves a block at a time. A block that is received arrives whole when its bits have had their time on
the wires, and goes on into the FIFO as that is emptied; one that is sent leaves when the FIFO has
brought all of it. So a driver sees the rate of the wires and the levels of the FIFO, and the
emulator has one event a block. While a FIFO cannot take or give, the clock of the card stands still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.chips.card_registers import crc7
from dbgemu.target.chips.memory_card import ACCESS_NS, MemoryCard
from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.dma_port import DmaPort
from dbgemu.target.s3c2440.sdi_registers import SdiRegisters as Registers
from dbgemu.target.stream import STREAM_WRITE_END, HeldRegister, Port, StreamPort

FIFO_SIZE = 64
FIFO_HALF = 32

CLOCK_ENABLE, SD_RESET = 0x001, 0x100
COMMAND_START, WAIT_RESPONSE, ABORT = 0x100, 0x200, 0x1000
COMMAND_ON, SENT, TIMED_OUT, ANSWERED, WRONG_CHECKSUM = 0x100, 0x800, 0x400, 0x200, 0x1000
LONG_RESPONSE = 0x400
DATA_START, DATA_MODE, TRANSMITTING, RECEIVING, CHECKING = 0x4000, 0x3000, 0x3000, 0x2000, 0x1000
AFTER_RESPONSE, AFTER_COMMAND, CHECK_AFTER_COMMAND = 1 << 20, 1 << 19, 1 << 18
WIDE_BUS, DMA_ENABLE = 1 << 16, 1 << 15
RX_ON, TX_ON = 0x01, 0x02
DATA_TIMED_OUT, DATA_FINISHED, BUSY_FINISHED, NOT_BUSY = 0x20, 0x10, 0x08, 0x800
DATA_CHECKSUM, CARD_CHECKSUM = 0x40, 0x80
FIFO_FAILED, LAST_RECEIVED = 0x4000, 0x200

#: a command is 48 bits long, and a card has 64 clocks to begin its answer
COMMAND_BITS, ANSWER_BITS = 48, 64

#: bytes of a block that the stream serves at most
_STREAM_SIZE = 4096
#: what is done when the unread bytes sink to one of these is done by the handler of that very access
_LEVELS = (FIFO_SIZE, FIFO_HALF, 0)


class Sdi(Registers):
    """The controller. ``card`` is what its slot holds; ``dma`` its request."""

    STATE = (
        "_command_timer",
        "_data_timer",
        "_received",
        "_read",
        "_fifo",
        "_outgoing",
        "_blocks",
        "_waits",
        "_sending",
    )

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        clocks: Clocks,
        interrupt: Line,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.clocks = clocks
        self.interrupt = interrupt
        self.dma = DmaPort(f"{name}.dma", read=self._dma_read, write=self._dma_write)
        self.stream = StreamPort(_STREAM_SIZE)
        # what a driver reads between the words, and what changes only by being written
        self.held_fifo, self.held_mask = HeldRegister(), HeldRegister()
        self.held_mask.hold(0)
        self._card: MemoryCard | None = None
        self._command_timer = Timer(clock, self._command_done)
        self._data_timer = Timer(clock, self._data_due)
        self._clear()

    def _clear(self) -> None:
        #: what has arrived, the first :attr:`_read` bytes of which have been read; behind these the
        #: receive FIFO has 64 bytes, or all there is
        self._received = b""
        self._read = 0
        #: the transmit FIFO
        self._fifo = bytearray()
        #: of the block that is to leave: what the FIFO has brought
        self._outgoing = bytearray()
        #: blocks that are still to be moved
        self._blocks = 0
        #: the data wait for the command's end
        self._waits = False
        #: a whole block is on its way to the card, or the card is busy with it
        self._sending = False

    # -- the stream: accesses to SDIDAT that nothing follows from but the FIFO's level ------------

    def ports(self) -> Iterator[tuple[int, Port]]:
        """The registers that can be accessed without asking, by offset."""
        yield Sdi.SDIDAT.offset, self.stream
        yield Sdi.SDIFSTA.offset, self.held_fifo
        yield Sdi.SDIIMSK.offset, self.held_mask

    def _settle(self) -> None:
        """Take in what has passed the stream, and close it."""
        self.held_fifo.release()
        if self.stream.words[STREAM_WRITE_END]:
            self._outgoing += self.stream.received()
        else:
            self._read += self.stream.withdraw()

    def _open(self) -> None:
        """Let as many bytes pass as leave the FIFO full, or empty."""
        if self.SDIDSTA & TX_ON:
            room = min(self.SDIBSIZE - len(self._outgoing) - 4, _STREAM_SIZE)
            if room > 0 and not (self._fifo or self._sending or self._waits):
                self.stream.accept(room)
        elif self.SDIDCON & DATA_MODE == RECEIVING:
            unread = len(self._received) - self._read
            level = next((level for level in _LEVELS if unread > level), unread)
            count = min(unread - level - 4, _STREAM_SIZE)
            if count > 0:
                self.stream.offer(self._received[self._read : self._read + count])
                if level == FIFO_SIZE:
                    self.held_fifo.hold(self._fifo_status())

    def _unread(self) -> int:
        """Bytes that have arrived and were not read; looks without touching the stream."""
        passed = 0 if self.stream.words[STREAM_WRITE_END] else self.stream.position
        return len(self._received) - self._read - passed

    def save(self) -> dict[str, Any]:
        """See Device."""
        self._settle()
        state = super().save()
        self._open()
        return state

    def reset(self) -> None:
        """Power-on or SDRESET: all registers and the FIFO."""
        self._settle()
        super().reset()
        self._command_timer.cancel()
        self._data_timer.cancel()
        self._clear()
        self.held_mask.hold(self.SDIIMSK)
        self._update()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line included."""
        self._settle()
        super().load(state)
        self.held_mask.hold(self.SDIIMSK)
        self._update()
        self._open()

    def facts(self) -> Iterator[Fact]:
        """The card's clock, the FIFO, the transfer."""
        on = self.SDICON & CLOCK_ENABLE
        yield Fact("SDCLK", self.clocks.pclk // (self.SDIPRE + 1) if on else 0, "Hz")
        yield Fact("FIFO", f"{self._fifo_level()} of {FIFO_SIZE} bytes")
        yield Fact("card", self._card.title if self._card is not None else "none")
        if self.SDIDSTA & (RX_ON | TX_ON):
            verb = "receives" if self.SDIDSTA & RX_ON else "sends"
            yield Fact("transfer", f"{verb}, {self._blocks} blocks of {self.SDIBSIZE} bytes to go")

    @property
    def card(self) -> MemoryCard | None:
        """The card in the slot."""
        return self._card

    def insert(self, card: MemoryCard | None) -> None:
        """Put ``card`` into the slot, or take out what is there (None), at any moment."""
        self._card = card

    def _periods(self, count: int) -> int:
        """The duration (ns) of ``count`` periods of SDCLK."""
        return cycles_to_ns(count * (self.SDIPRE + 1), self.clocks.pclk)

    # -- commands -----------------------------------------------------------------------------

    @Registers.SDICON.write
    def _write_control(self, value: int) -> None:
        if value & SD_RESET:
            self.reset()
        self.SDICON = value & 0x3D
        if not value & CLOCK_ENABLE:
            self._command_timer.cancel()
        elif self.SDICMDSTAT & COMMAND_ON and self._command_timer.deadline is None:
            self._send()

    @Registers.SDICMDCON.write
    def _write_command(self, value: int) -> None:
        self.SDICMDCON = value & ~COMMAND_START
        if value & COMMAND_START:
            self.SDICMDSTAT = self.SDICMDSTAT & ~0xFF | COMMAND_ON
            self._send()

    def _send(self) -> None:
        # Without SDCLK nothing leaves; enabling the clock sends what waits.
        if self.SDICON & CLOCK_ENABLE:
            answer = ANSWER_BITS if self.SDICMDCON & WAIT_RESPONSE else 0
            self._command_timer.start_in(self._periods(COMMAND_BITS + answer))

    def _command_done(self) -> None:
        """The command has left, and the time for its response is over."""
        command = self.SDICMDCON
        answer = self._card.execute(command & 0x3F, self.SDICMDARG) if self._card is not None else None
        status = self.SDICMDSTAT & ~(COMMAND_ON | 0xFF) | SENT
        if command & WAIT_RESPONSE:
            if answer is None:
                status |= TIMED_OUT
            else:
                status |= ANSWERED | answer.number
                content, long = answer.content, bool(command & LONG_RESPONSE)
                if long != (len(content) == 16) or not answer.checked:
                    status |= WRONG_CHECKSUM
                self._take_response(answer.number, content)
        self.SDICMDSTAT = status
        if self._waits and not status & TIMED_OUT:
            self._settle()
            self._waits = False
            self._begin()
            self._open()
        self._update()

    def _take_response(self, number: int, content: bytes) -> None:
        words = [int.from_bytes(content[place : place + 4], "big") for place in range(0, len(content), 4)]
        if len(words) == 1:
            words += [crc7(bytes([number]) + content) << 24, 0, 0]
        self.SDIRSP0, self.SDIRSP1, self.SDIRSP2, self.SDIRSP3 = words

    @Registers.SDICMDSTAT.write
    def _clear_command_status(self, value: int) -> None:
        self.SDICMDSTAT &= ~(value & 0x1E00)
        self._update()

    # -- data ---------------------------------------------------------------------------------

    @Registers.SDIDCON.write
    def _write_data_control(self, value: int) -> None:
        self._settle()
        self.SDIDCON = value & ~DATA_START
        mode = value & DATA_MODE
        self.SDIDSTA &= ~(RX_ON | TX_ON)
        self._data_timer.cancel()
        level = self._receive_level()
        self._received, self._read = self._received[self._read : self._read + level], 0
        self._outgoing = bytearray()
        self._blocks, self._sending, self._waits = 0, False, False
        if value & DATA_START and mode:
            self._blocks = value & 0xFFF
            if mode == CHECKING:
                follows = value & CHECK_AFTER_COMMAND
            else:
                self.SDIDSTA |= RX_ON if mode == RECEIVING else TX_ON
                follows = value & (AFTER_COMMAND if mode == RECEIVING else AFTER_RESPONSE)
            self._waits = bool(follows)
            if not follows:
                self._begin()
        self._update()

    @Registers.SDIDCNT.read
    def _data_count(self) -> int:
        if not self.SDIDSTA & (RX_ON | TX_ON):
            return 0
        size = self.SDIBSIZE
        if self.SDIDSTA & RX_ON:
            left = max(0, self._unread() - FIFO_SIZE)
        else:
            left = size - len(self._outgoing) - (self.stream.position if self.stream.write_limit else 0)
        return self._blocks << 12 | (left or size) & 0xFFF

    def _begin(self) -> None:
        """What the data waited for has come."""
        mode = self.SDIDCON & DATA_MODE
        if mode == CHECKING:
            busy = self._busy_left()
            if not busy:
                self.SDIDSTA |= NOT_BUSY
            self._data_timer.start_in(busy)
        elif mode == RECEIVING:
            self._expect_block(ACCESS_NS)
        else:
            self._feed()

    def _busy_left(self) -> int:
        """How long (ns) the card holds its data line low."""
        return max(0, self._card.busy_until - self.clock.now) if self._card is not None else 0

    def _block_time(self) -> int:
        """The duration (ns) of a block with start bit, checksum and end bit, on one line or four."""
        lines = 4 if self.SDIDCON & WIDE_BUS else 1
        return self._periods(-(-8 * self.SDIBSIZE // lines) + 18)

    def _data_due(self) -> None:
        """The busy check, the block on the wires, or the card with it, has come to its end."""
        self._settle()
        mode = self.SDIDCON & DATA_MODE
        if mode == CHECKING:
            self.SDIDSTA |= BUSY_FINISHED
        elif mode == RECEIVING:
            self._receive_block()
        elif self._sending:
            self._sent()
        self._update()
        self._open()

    def _stop(self, status: int) -> None:
        """The transfer is over, well or not."""
        self.SDIDSTA = self.SDIDSTA & ~(RX_ON | TX_ON) | status
        self._data_timer.cancel()
        self._sending = False

    # -- receiving

    def _expect_block(self, delay: int) -> None:
        """The card's next block comes behind ``delay`` ns; a card that sends none runs into the time-out."""
        if self._card is None or not self._card.sends:
            self._data_timer.start_in(self._periods(max(1, self.SDITIMER)))
        else:
            self._data_timer.start_in(delay + self._block_time())

    def _receive_block(self) -> None:
        card, size = self._card, self.SDIBSIZE
        data = card.read_block() if card is not None else None
        if data is None or card is None:
            self._stop(DATA_TIMED_OUT)
            return
        if card.wide != bool(self.SDIDCON & WIDE_BUS) or len(data) != size:
            # what is on other lines, or between other bits, does not make sense
            self._stop(DATA_CHECKSUM)
            return
        self._received, self._read = self._received[self._read :] + data, 0
        self._fill()

    def _receive_level(self) -> int:
        """Bytes in the receive FIFO."""
        return min(FIFO_SIZE, self._unread())

    def _fill(self) -> None:
        """When the last of a block has gone into the FIFO, ask for the next."""
        if len(self._received) - self._read > FIFO_SIZE or not self.SDIDSTA & RX_ON:
            return
        if self._data_timer.deadline is not None:  # it is on its way
            return
        self._blocks = max(0, self._blocks - 1)
        if self._blocks:
            self._expect_block(0)
        else:
            self.SDIFSTA |= LAST_RECEIVED
            self._stop(DATA_FINISHED)

    # -- sending

    def _feed(self) -> None:
        """Let the FIFO's bytes go on into the block that is to leave."""
        if self._sending or self._waits or not self.SDIDSTA & TX_ON:
            return
        count = min(self.SDIBSIZE - len(self._outgoing), len(self._fifo))
        if count > 0:
            self._outgoing += self._fifo[:count]
            del self._fifo[:count]
        if len(self._outgoing) >= self.SDIBSIZE:
            self._sending = True
            self._data_timer.start_in(self._busy_left() + self._block_time())

    def _sent(self) -> None:
        """The card has the block, and tells what it thinks of its checksum."""
        card, data = self._card, bytes(self._outgoing)
        self._sending, self._outgoing = False, bytearray()
        wide = bool(self.SDIDCON & WIDE_BUS)
        if card is None or card.wide != wide or not card.write_block(data):
            self._stop(CARD_CHECKSUM)
        else:
            self._blocks = max(0, self._blocks - 1)
            if self._blocks:
                self._feed()
            else:
                self._stop(DATA_FINISHED)

    @Registers.SDIDSTA.write
    def _clear_data_status(self, value: int) -> None:
        self.SDIDSTA &= ~(value & 0xFF8)
        self._update()

    # -- FIFO ---------------------------------------------------------------------------------

    def _fifo_level(self) -> int:
        return len(self._fifo) if self.SDIDCON & DATA_MODE == TRANSMITTING else self._receive_level()

    @Registers.SDIFSTA.read
    def _fifo_status(self) -> int:
        count = self._fifo_level()
        status = self.SDIFSTA | count
        mode = self.SDIDCON & DATA_MODE
        if mode == TRANSMITTING:
            status |= (count < FIFO_SIZE) << 13 | (count <= FIFO_HALF) << 11 | (not count) << 10
        elif mode == RECEIVING:
            status |= bool(count) << 12 | (count == FIFO_SIZE) << 8 | (count > FIFO_HALF) << 7
        return status

    @Registers.SDIFSTA.write
    def _write_fifo_status(self, value: int) -> None:
        self._settle()
        self.SDIFSTA &= ~(value & (0xC000 | LAST_RECEIVED))
        if value & 0x10000:
            self._fifo.clear()
            self._read = min(len(self._received), self._read + FIFO_SIZE)
            self._fill()
        self._update()

    @Registers.SDIDAT.peek
    def _peek_data(self) -> int:
        place = len(self._received) - self._unread()
        return int.from_bytes(self._received[place : place + 4], "little")

    @Registers.SDIDAT.read
    def _read_data(self, size: int) -> int:
        self._settle()
        place, received = self._read, self._received
        if place >= len(received):
            self.SDIFSTA |= FIFO_FAILED
            self._update()
            return 0
        value = int.from_bytes(received[place : place + size], "little")
        before = len(received) - place
        self._read = min(place + size, len(received))
        after = len(received) - self._read
        if after <= FIFO_SIZE < before:
            self._fill()
            self._update()
        elif after <= FIFO_HALF < before or not after:
            self._update()
        self._open()
        return value

    @Registers.SDIDAT.write
    def _write_data(self, value: int, size: int) -> None:
        self._settle()
        if self.SDIDCON & DATA_MODE != TRANSMITTING or len(self._fifo) + size > FIFO_SIZE:
            self.SDIFSTA |= FIFO_FAILED
            self._update()
            return
        self._fifo += value.to_bytes(size, "little")
        self._feed()
        if self._fifo or self._sending:  # else it stays empty
            self._update()
        else:
            self._open()

    def _dma_read(self, unit: int, maximum: int) -> bytes:
        self._settle()
        data = bytearray()
        while count := min(len(self._received) - self._read, maximum - len(data)):
            data += self._received[self._read : self._read + count]
            self._read += count
            self._fill()
        if len(data) % unit:  # the last bytes of a block make no whole unit
            data += bytes(unit - len(data) % unit)
        self._update()
        return bytes(data)

    def _dma_write(self, unit: int, data: bytes) -> int:
        self._settle()
        taken = 0
        while taken < len(data) and (room := (FIFO_SIZE - len(self._fifo)) // unit * unit):
            self._fifo += data[taken : taken + room]
            taken = min(len(data), taken + room)
            self._feed()
        self._update()
        return taken

    # -- interrupt ----------------------------------------------------------------------------

    @Registers.SDIIMSK.write
    def _write_mask(self, value: int) -> None:
        self.SDIIMSK = value
        self.held_mask.hold(value)
        self._update()

    def _update(self) -> None:
        mask, data, fifo = self.SDIIMSK, self.SDIDSTA, 0
        if mask & 0x81F:
            fifo = self._fifo_status()
        # the status bits where SDIIMSK has them: RSPCRC to RSPEND, NOBUSY, RWREQ to BUSYFIN, the FIFO's
        causes = (self.SDICMDSTAT & 0x1E00) << 5 | (data & 0x800) << 7 | (data & 0x6F8) << 3
        causes |= fifo >> 7 & 0x1F | bool(fifo & 0xC000) << 11
        self.interrupt.set(causes & mask != 0)
        wants = False
        if self.SDIDCON & DMA_ENABLE:
            if self.SDIDCON & DATA_MODE == RECEIVING:
                wants = self._unread() > 0
            else:
                wants = bool(self.SDIDSTA & TX_ON) and len(self._fifo) <= FIFO_SIZE - 4
        self.dma.request(wants)
