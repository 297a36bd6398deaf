"""A card in the SD slot: states, commands and data blocks that SD and MMC cards share.

SD Specifications, Physical Layer Simplified Specification 2.00, chapter 4. The wires, their checksums
and their speed are the controller's affair; a card takes commands and blocks whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple, TypeVar

from dbgemu.target.block import SECTOR, BlockMedium
from dbgemu.target.chips.card_registers import BYTE_ADDRESSED
from dbgemu.target.clock import VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact, size
from dbgemu.target.guest_log import GuestLog

# Bits of the card status (table 4-35). What is an error is cleared by being told.
OUT_OF_RANGE, ADDRESS_ERROR, BLOCK_LEN_ERROR, ERASE_SEQ_ERROR, ERASE_PARAM, WP_VIOLATION = (
    1 << bit for bit in range(31, 25, -1)
)
ILLEGAL_COMMAND, CSD_OVERWRITE, ERASE_RESET = 1 << 22, 1 << 16, 1 << 13
READY_FOR_DATA, APP_CMD = 1 << 8, 1 << 5

#: 2.7 V to 3.6 V; ready; blocks are addressed
OCR_VOLTAGES, OCR_READY, OCR_BLOCKS = 0x00FF8000, 1 << 31, 1 << 30

#: how long (ns) a card takes to find the first block, to program a block, to erase
ACCESS_NS, PROGRAM_NS, ERASE_NS = 100_000, 60_000, 250_000

_ERASE_PIECE = 1 << 16


class State(IntEnum):
    """The card's state, as its status tells it."""

    IDLE = 0
    READY = 1
    IDENT = 2
    STANDBY = 3
    TRANSFER = 4
    SENDING = 5
    RECEIVING = 6
    PROGRAMMING = 7
    DISCONNECTED = 8
    #: it does not answer any more, so this one has no number in the specification
    INACTIVE = 15


class Response(NamedTuple):
    """What a card answers: four bytes, or sixteen. ``number`` is in its first byte: 63 where none is."""

    number: int
    content: bytes
    #: it carries a checksum
    checked: bool = True


#: gets the argument; None is no answer
Handler = Callable[[Any, int], Response | None]
H = TypeVar("H", bound=Handler)

_ANY = tuple(State)[:-1]


def command(number: int, *states: State, application: bool = False) -> Callable[[H], H]:
    """Decorator: the handler of a command in these states (none: in any)."""

    def decorate(handler: H) -> H:
        entries = getattr(handler, "commands", ())
        handler.commands = (*entries, (number, application, states or _ANY))  # type: ignore[attr-defined]
        return handler

    return decorate


class MemoryCard(Device, ABC):
    """What every card does. ``medium`` holds its blocks, ``present`` ones begin powered and idle."""

    title = "memory card"
    STATE: ClassVar[tuple[str, ...]] = (
        "state",
        "rca",
        "wide",
        "_status",
        "_application",
        "_block_length",
        "_address",
        "_blocks_left",
        "_answer",
        "_erase_start",
        "_erase_end",
        "_busy_until",
        "_initialised",
    )
    _commands: ClassVar[dict[tuple[int, bool], tuple[str, tuple[State, ...]]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = dict(cls._commands)
        for base in reversed(cls.__mro__):
            for name, item in vars(base).items():
                for number, application, states in getattr(item, "commands", ()):
                    found[number, application] = name, states
        cls._commands = found

    def __init__(
        self, name: str, medium: BlockMedium, *, clock: VirtualClock, log: GuestLog | None = None
    ) -> None:
        """ValueError, one sentence, for a medium of a size that no card has."""
        self._cid = self.make_cid()
        self._csd = self.make_csd(medium.size, protected=medium.read_only)
        self._clock = clock
        self.medium = medium
        self.large = medium.size > BYTE_ADDRESSED
        self._power_up()
        super().__init__(name, log)

    def _power_up(self) -> None:
        self.state = State.IDLE
        self.rca = 0
        #: four data lines
        self.wide = False
        self._status = 0
        self._application = False
        self._block_length = SECTOR
        self._address = 0
        #: blocks still to be moved; -1 until the host stops
        self._blocks_left = 0
        #: what the card sends that is not from its blocks
        self._answer = b""
        self._erase_start = self._erase_end = -1
        self._busy_until = 0
        self._initialised = False
        self._application_done = False

    def reset(self) -> None:
        """The board's reset line does not reach the card."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave."""
        super().load(state)
        self.state = State(self.state)

    def facts(self) -> Iterator[Fact]:
        """Kind, size and state."""
        yield Fact("kind", self.title)
        yield Fact("size", size(self.medium.size))
        yield Fact("write protected", self.medium.read_only)
        yield Fact("state", self.state.name.lower())
        yield Fact("data lines", 4 if self.wide else 1)
        yield Fact("address (RCA)", f"0x{self.rca:04x}")

    # -- commands ------------------------------------------------------------------------------------

    def execute(self, index: int, argument: int) -> Response | None:
        """Take command ``index``; the answer, or None where a card stays silent."""
        if self.state is State.INACTIVE:
            return None
        if self.state is State.PROGRAMMING and not self.busy:
            self.state = State.TRANSFER
        elif self.state is State.DISCONNECTED and not self.busy:
            self.state = State.STANDBY
        application, self._application = self._application, False
        found = self._commands.get((index, application))
        if found is None and application:  # a standard command behind CMD55 is what it always is
            application = False
            found = self._commands.get((index, False))
        if found is None or self.state not in found[1]:
            self._status |= ILLEGAL_COMMAND
            return None
        self._application_done = application
        handler: Callable[[int], Response | None] = getattr(self, found[0])
        return handler(argument)

    @property
    def busy(self) -> bool:
        """It holds its data line low: it programs or erases."""
        return self._clock.now < self._busy_until

    @property
    def busy_until(self) -> int:
        """When that ends, or ended (ns of virtual time)."""
        return self._busy_until

    def _r1(self, index: int, *, state: State | None = None, extra: int = 0) -> Response:
        """The card status; ``state`` when the command has changed it. Errors are told once."""
        status = self._status | extra | (self.state if state is None else state) << 9
        if not self.busy:
            status |= READY_FOR_DATA
        self._status = 0
        return Response(index, status.to_bytes(4, "big"))

    def _fail(self, index: int, error: int) -> Response:
        self._status |= error
        return self._r1(index)

    def _is_mine(self, argument: int) -> bool:
        return argument >> 16 == self.rca

    @command(0)
    def _go_idle(self, argument: int) -> None:
        self._power_up()

    @command(2, State.READY)
    def _all_send_cid(self, argument: int) -> Response:
        self.state = State.IDENT
        return Response(63, self._cid)

    @command(7, State.STANDBY, State.TRANSFER, State.SENDING, State.PROGRAMMING, State.DISCONNECTED)
    def _select(self, argument: int) -> Response | None:
        before = self.state
        if self._is_mine(argument) and self.rca:
            if before is State.STANDBY:
                self.state = State.TRANSFER
            elif before is State.DISCONNECTED:
                self.state = State.PROGRAMMING
            else:
                self._status |= ILLEGAL_COMMAND
                return None
            return self._r1(7, state=before)
        self._end_transfer()
        self.state = State.DISCONNECTED if before is State.PROGRAMMING else State.STANDBY
        return None

    @command(9, State.STANDBY)
    def _send_csd(self, argument: int) -> Response | None:
        return Response(63, self._csd) if self._is_mine(argument) else None

    @command(10, State.STANDBY)
    def _send_cid(self, argument: int) -> Response | None:
        return Response(63, self._cid) if self._is_mine(argument) else None

    @command(12, State.SENDING, State.RECEIVING)
    def _stop(self, argument: int) -> Response:
        before = self.state
        self._end_transfer()
        return self._r1(12, state=before)

    @command(13, *(state for state in _ANY if state >= State.STANDBY))
    def _send_status(self, argument: int) -> Response | None:
        return self._r1(13) if self._is_mine(argument) else None

    @command(15, *(state for state in _ANY if state >= State.STANDBY))
    def _go_inactive(self, argument: int) -> None:
        if self._is_mine(argument):
            self.state = State.INACTIVE

    @command(16, State.TRANSFER)
    def _set_block_length(self, argument: int) -> Response:
        if not 0 < argument <= SECTOR:
            return self._fail(16, BLOCK_LEN_ERROR)
        self._block_length = argument
        return self._r1(16)

    # -- blocks --------------------------------------------------------------------------------------

    @property
    def block_length(self) -> int:
        """Bytes of the blocks that are moved now."""
        if self._answer:
            return len(self._answer)
        return SECTOR if self.large else self._block_length

    def _start(self, index: int, argument: int, *, blocks: int, write: bool) -> Response:
        """Begin to move blocks from address ``argument`` on (4.3.3, 4.3.4)."""
        address = argument * SECTOR if self.large else argument
        length = self.block_length
        if address >= self.medium.size:
            return self._fail(index, OUT_OF_RANGE)
        if write and length != SECTOR:  # WRITE_BL_PARTIAL is 0
            return self._fail(index, BLOCK_LEN_ERROR)
        if address % SECTOR + length > SECTOR:  # misaligned access is not supported
            return self._fail(index, ADDRESS_ERROR)
        if write and self.medium.read_only:
            return self._fail(index, WP_VIOLATION)
        answer = self._r1(index)
        self._address = address
        self._blocks_left = blocks
        self._answer = b""
        self.state = State.RECEIVING if write else State.SENDING
        return answer

    def _send(self, index: int, data: bytes) -> Response:
        """Send ``data`` as a block."""
        answer = self._r1(index, extra=APP_CMD if self._application_done else 0)
        self._answer, self._blocks_left = data, 1
        self.state = State.SENDING
        return answer

    @command(17, State.TRANSFER)
    def _read_single(self, argument: int) -> Response:
        return self._start(17, argument, blocks=1, write=False)

    @command(18, State.TRANSFER)
    def _read_multiple(self, argument: int) -> Response:
        return self._start(18, argument, blocks=self._take_count(), write=False)

    @command(24, State.TRANSFER)
    def _write_single(self, argument: int) -> Response:
        return self._start(24, argument, blocks=1, write=True)

    @command(25, State.TRANSFER)
    def _write_multiple(self, argument: int) -> Response:
        return self._start(25, argument, blocks=self._take_count(), write=True)

    def _take_count(self) -> int:
        """How many blocks the next command moves; -1 for as many as the host wants."""
        return -1

    @property
    def sends(self) -> bool:
        """It is about to send a block."""
        return self.state is State.SENDING and self._blocks_left != 0

    def read_block(self) -> bytes | None:
        """The next block that the card sends; None when it has none."""
        if not self.sends:
            return None
        if self._answer:
            data = self._answer
        else:
            length = self.block_length
            if self._address + length > self.medium.size:
                self._status |= OUT_OF_RANGE
                return None
            data = self.medium.read(self._address, length)
            self._address += length
        if self._blocks_left > 0:
            self._blocks_left -= 1
            if not self._blocks_left:
                self._end_transfer()
        return data

    def write_block(self, data: bytes) -> bool:
        """A block for the card, checksum and all; False when it does not take it."""
        if self.state is not State.RECEIVING:
            return False
        if len(data) != SECTOR or self._address + SECTOR > self.medium.size:
            self._status |= OUT_OF_RANGE if len(data) == SECTOR else BLOCK_LEN_ERROR
            return False
        self.medium.write(self._address, data)
        self._address += SECTOR
        self._busy_until = self._clock.now + PROGRAM_NS
        if self._blocks_left > 0:
            self._blocks_left -= 1
            if not self._blocks_left:
                self._end_transfer()
        return True

    def _end_transfer(self) -> None:
        self._answer, self._blocks_left = b"", 0
        if self.state in (State.SENDING, State.RECEIVING):
            self.state = State.PROGRAMMING if self.busy else State.TRANSFER

    # -- erasing -------------------------------------------------------------------------------------

    def _set_erase(self, index: int, argument: int, *, start: bool) -> Response:
        address = argument * SECTOR if self.large else argument
        if address >= self.medium.size:
            return self._fail(index, OUT_OF_RANGE)
        if start:
            self._erase_start, self._erase_end = address, -1
        elif self._erase_start < 0:
            return self._fail(index, ERASE_SEQ_ERROR)
        else:
            self._erase_end = address
        return self._r1(index)

    @command(38, State.TRANSFER)
    def _erase(self, argument: int) -> Response:
        first, last = self._erase_start, self._erase_end
        self._erase_start = self._erase_end = -1
        if first < 0 or last < 0:
            return self._fail(38, ERASE_SEQ_ERROR)
        if last < first:
            return self._fail(38, ERASE_PARAM)
        if self.medium.read_only:
            return self._fail(38, WP_VIOLATION)
        answer = self._r1(38)
        unit = self.erase_unit
        place, end = first // unit * unit, min((last // unit + 1) * unit, self.medium.size)
        while place < end:
            count = min(_ERASE_PIECE, end - place)
            self.medium.write(place, bytes(count))
            place += count
        self._busy_until = self._clock.now + ERASE_NS
        self.state = State.PROGRAMMING
        return answer

    #: bytes that are erased together
    erase_unit = SECTOR

    # -- registers -----------------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def make_cid() -> bytes:
        """The card identification, 16 bytes."""

    @staticmethod
    @abstractmethod
    def make_csd(size: int, *, protected: bool) -> bytes:
        """The card specific data, 16 bytes. ValueError for a size that no card has."""
