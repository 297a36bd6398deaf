"""S3C2440A NAND flash controller (UM chapter 6): pins of the chip, error correction code, lock areas.

NFDATA is the path of all bulk data. Reads and writes of it go straight to the chip's page buffer; the
error correction code is computed later, over all that passed, when something asks for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, writes
from dbgemu.target.s3c2440.nand_ecc import MAIN_LAYOUT, SPARE_LAYOUT, EccEngine, fold
from dbgemu.target.stream import (
    CODE_ORIGIN,
    STREAM_CURSOR,
    CodeRegister,
    HeldRegister,
    Port,
    PostingRegister,
    place_of,
)

_UNPACK = {
    1: struct.Struct("<B").unpack_from,
    2: struct.Struct("<H").unpack_from,
    4: struct.Struct("<I").unpack_from,
}
_PACK = {1: struct.Struct("<B").pack_into, 2: struct.Struct("<H").pack_into, 4: struct.Struct("<I").pack_into}

_MODE = 1 << 0
_NCE = 1 << 1
_INIT_ECC = 1 << 4
_MAIN_LOCK = 1 << 5
_SPARE_LOCK = 1 << 6
_FALLING = 1 << 8
_RNB_INTERRUPT = 1 << 9
_ILLEGAL_INTERRUPT = 1 << 10
_SOFT_LOCK = 1 << 12
_LOCK_TIGHT = 1 << 13

_RNB_DETECT = 1 << 2
_ILLEGAL_ACCESS = 1 << 3

#: the commands that change the chip's cells: what a locked area is safe from
_CONFIRMS = (0x10, 0x11, 0x15, 0xD0)

#: only bits 23 to 5 of a block address count (UM 6-20)
_BLOCK_MASK = 0xFFFFE0

#: bytes that the main ECC covers, before it counts from 0 again
_MAIN_BLOCK = 2048

_ERROR_KINDS = {0: "none", 1: "one bit, correctable", 2: "several bits", 3: "in the code itself"}


def _ecc_bytes(high: int, low: int) -> tuple[Field, ...]:
    return (
        Field(f"ECCData{high}", 23, 16, f"byte {high} of the stored code"),
        Field(f"ECCData{low}", 7, 0, f"byte {low} of the stored code"),
    )


def _code_bytes(count: int) -> tuple[Field, ...]:
    return tuple(Field(f"MECC{n}", 8 * n + 7, 8 * n, f"byte {n}") for n in reversed(range(count)))


def _cycles(name: str) -> tuple[Field, ...]:
    return tuple(
        Field(f"{name}_ADDR{n}", 8 * n + 7, 8 * n, f"address cycle {n + 1}") for n in reversed(range(3))
    )


class NandController(Device):
    """The controller with one 8-bit chip on its pins. ``irq`` is the INT_NFCON request."""

    title = "NAND flash controller"
    STATE = ("_main_ecc", "_spare_ecc", "_ecc_mark", "_address_mark")

    NFCONF = Register(
        0x00,
        reset=0x1000,
        width=16,
        doc="Configuration",
        fields=(
            Field("TACLS", 13, 12, "CLE and ALE set-up time, HCLK periods"),
            Field("TWRPH0", 10, 8, "nWE and nRE pulse, HCLK periods - 1"),
            Field("TWRPH1", 6, 4, "CLE and ALE hold time, HCLK periods - 1"),
            Field("AdvFlash", 3, doc="pin NCON: pages of 1K words or 2K bytes"),
            Field("PageSize", 2, doc="pin GPG13: 512 bytes or 2 KB, not 256 or 1K words"),
            Field("AddrCycle", 1, doc="pin GPG14: one address cycle more"),
            Field("BusWidth", 0, doc="pin GPG15: 16 bits"),
        ),
    )
    NFCONT = Register(
        0x04,
        reset=0x0384,
        width=16,
        doc="Control",
        fields=(
            Field("LockTight", 13, doc="locked until reset"),
            Field("SoftLock", 12, doc="locked"),
            Field("EnbIllegalAccINT", 10, doc="interrupt at an illegal access"),
            Field("EnbRnBINT", 9, doc="interrupt at an RnB transition"),
            Field("RnB_TransMode", 8, doc="transition to detect", values={0: "rising", 1: "falling"}),
            Field("SpareECCLock", 6, doc="spare ECC does not change"),
            Field("MainECCLock", 5, doc="main ECC does not change"),
            Field("InitECC", 4, doc="start ECC over (write only)"),
            Field("Reg_nCE", 1, doc="chip not selected"),
            Field("MODE", 0, doc="controller enabled"),
        ),
    )
    NFCMMD = Register(
        0x08, width=8, doc="Command cycle", fields=(Field("NFCMMD", 7, 0, "last command written"),)
    )
    NFADDR = Register(
        0x0C, width=8, doc="Address cycle", fields=(Field("NFADDR", 7, 0, "last address byte written"),)
    )
    NFDATA = Register(
        0x10,
        sized=True,
        volatile=True,
        doc="Data cycles: one for each byte accessed",
        fields=(Field("NFDATA", 31, 0, "next bytes of the chip"),),
    )
    NFMECCD0 = Register(
        0x14, writable=0x00FF00FF, doc="Main ECC read from the chip: bytes 1 and 0", fields=_ecc_bytes(1, 0)
    )
    NFMECCD1 = Register(
        0x18, writable=0x00FF00FF, doc="Main ECC read from the chip: bytes 3 and 2", fields=_ecc_bytes(3, 2)
    )
    NFSECCD = Register(
        0x1C, writable=0x00FF00FF, doc="Spare ECC read from the chip: bytes 1 and 0", fields=_ecc_bytes(1, 0)
    )
    NFSTAT = Register(
        0x20,
        width=8,
        doc="Status",
        fields=(
            Field("IllegalAccess", 3, doc="program or erase of a locked area; write 1 to clear"),
            Field("RnB_TransDetect", 2, doc="RnB transition seen; write 1 to clear"),
            Field("nCE", 1, doc="the nCE pin"),
            Field("RnB", 0, doc="the RnB pin: ready"),
        ),
    )
    NFESTAT0 = Register(
        0x24,
        access="ro",
        volatile=True,
        doc="ECC status of I/O[7:0]",
        fields=(
            Field("SErrorDataNo", 24, 21, "spare: number of the bad byte"),
            Field("SErrorBitNo", 20, 18, "spare: number of the bad bit"),
            Field("MErrorDataNo", 17, 7, "main: number of the bad byte"),
            Field("MErrorBitNo", 6, 4, "main: number of the bad bit"),
            Field("SpareError", 3, 2, "spare: error", values=_ERROR_KINDS),
            Field("MainError", 1, 0, "main: error", values=_ERROR_KINDS),
        ),
    )
    NFESTAT1 = Register(0x28, access="ro", doc="ECC status of I/O[15:8], which this board does not use")
    NFMECC0 = Register(0x2C, access="ro", volatile=True, doc="Main ECC of I/O[7:0]", fields=_code_bytes(4))
    NFMECC1 = Register(
        0x30, access="ro", reset=0xFFFFFFFF, doc="Main ECC of I/O[15:8]", fields=_code_bytes(4)
    )
    NFSECC = Register(
        0x34,
        access="ro",
        volatile=True,
        doc="Spare ECC",
        fields=(
            Field("SECC1", 31, 16, "of I/O[15:8]"),
            Field("SECC0", 15, 0, "of I/O[7:0]"),
        ),
    )
    NFSBLK = Register(
        0x38, doc="First unlocked block, as the address cycles of its erase", fields=_cycles("SBLK")
    )
    NFEBLK = Register(0x3C, doc="First locked block behind the unlocked area", fields=_cycles("EBLK"))

    def __init__(
        self, name: str = "nand", *, chip: NandFlash, irq: Line, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, log)
        self.chip = chip
        self._irq = irq
        self._main = EccEngine(11)
        self._spare = EccEngine(4)
        #: the chip while the controller is enabled and selects it
        self._selected: NandFlash | None = None
        #: the chip's page buffer up to here has been seen by the ECC engines
        self._ecc_mark = 0
        #: since they were started over, when nobody has asked yet; and NFCONT, whose locks held then
        self._unfed: tuple[bytearray, int] | None = None
        self._stream, self._addresses, self._ready = chip.stream, chip.addresses, chip.ready
        #: and so many address cycles are known to NFADDR
        self._address_mark = 0
        # what drivers read most, and what does not change by itself; and what they do for each part of a
        # page: start the ECC over, and ask for it. As long as ``code`` has an origin the ECC engines have
        # nothing to say: it began there, in the chip's page buffer
        self.code = CodeRegister(chip.stream, MAIN_LAYOUT.tables(), _MAIN_BLOCK)
        self._code_words, self._stream_words = self.code.words, chip.stream.words
        # and the command that begins to read a page, when the last one has been read
        self.commands = PostingRegister(*chip.posting(), once=True)
        self._posted, chip.on_posted = chip.posted, self._command_posted
        start = place_of(self._stream_words, STREAM_CURSOR), place_of(self._code_words, CODE_ORIGIN)
        self.held_control, self.held_status = PostingRegister(start), HeldRegister()
        chip.rnb.connect(self._rnb_changed)
        self.reset()

    def reset(self) -> None:
        """Reset and wake-up: the lock is off; NFCONF shows how the configuration pins are strapped."""
        self.chip.take_posted()
        super().reset()
        part = self.chip.part
        cycles = part.column_cycles + part.row_cycles
        # UM 6-4: without AdvFlash 3 or 4 address cycles, with it 4 or 5.
        self.NFCONF |= part.large_page << 3 | 1 << 2 | (cycles == (5 if part.large_page else 4)) << 1
        self.code.start()
        self._select()
        self._address_mark = self.chip.addresses.position
        self._drive_irq()

    def ports(self) -> Iterator[tuple[int, Port]]:
        """The registers that can be accessed without asking, by offset."""
        yield NandController.NFDATA.offset, self.chip.stream
        yield NandController.NFCMMD.offset, self.commands
        yield NandController.NFADDR.offset, self.chip.addresses
        yield NandController.NFCONT.offset, self.held_control
        yield NandController.NFSTAT.offset, self.held_status
        yield NandController.NFMECC0.offset, self.code

    # -- data: the hot path ------------------------------------------------------------------

    @NFDATA.read
    def _read_data(self, size: int) -> int:
        """One read cycle for each of ``size`` bytes."""
        self.chip.take_posted()
        chip = self._selected
        if chip is None:
            self.guest_error("data is read while no chip is selected")
            return (1 << 8 * size) - 1
        position = chip.position
        if position + size <= chip.output_limit:
            chip.position = position + size
            return _UNPACK[size](chip.buffer, position)[0]  # type: ignore[no-any-return]
        self._digest()
        value = chip.read_data(size)
        self._ecc_mark = chip.position
        self._feed(value.to_bytes(size, "little"))
        return value

    @NFDATA.peek
    def _peek_data(self) -> int:
        return 0xFFFFFFFF if self._selected is None else self._selected.peek_data(4)

    @NFDATA.write
    def _write_data(self, value: int, size: int) -> None:
        """One write cycle for each of ``size`` bytes."""
        self.chip.take_posted()
        chip = self._selected
        if chip is None:
            self.guest_error(f"data 0x{value:x} is written while no chip is selected")
            return
        position = chip.position
        if position + size <= chip.input_limit:
            chip.position = position + size
            _PACK[size](chip.buffer, position, value)
            return
        self._digest()
        chip.write_data(value, size)
        self._ecc_mark = chip.position
        self._feed(value.to_bytes(size, "little"))

    # -- error correction code ---------------------------------------------------------------

    def _digest(self) -> None:
        """Note for the ECC engines what has passed through the chip's page buffer since the last time."""
        position = self._stream.position
        if self._code_words[CODE_ORIGIN]:
            self._unfed = self._stream.buffer[self.code.origin : position], self.NFCONT
            self._code_words[CODE_ORIGIN] = 0
        elif position > self._ecc_mark:
            self._feed(self._stream.buffer[self._ecc_mark : position])
        self._ecc_mark = position

    def _feed(self, data: bytes | bytearray) -> None:
        self._catch_up()
        control = self.NFCONT
        if not control & _MAIN_LOCK:
            self._main.feed(data)
        if not control & _SPARE_LOCK:
            self._spare.feed(data)

    def _catch_up(self) -> None:
        """Start the ECC engines over with what they have only been told of."""
        if self._unfed is not None:
            (data, control), self._unfed = self._unfed, None
            self._main.restart(b"" if control & _MAIN_LOCK else data)
            self._spare.restart(b"" if control & _SPARE_LOCK else data)

    def _settle_ecc(self) -> None:
        """Let the ECC engines have seen everything."""
        self._digest()
        self._catch_up()

    def _after_cycle(self) -> None:
        """The chip may have changed its page buffer, or gone elsewhere in it."""
        if self._code_words[CODE_ORIGIN]:
            self._code_words[CODE_ORIGIN] = self._stream_words[STREAM_CURSOR]
        else:
            self._ecc_mark = self._stream.position
        self._address_mark = self._addresses.position

    @NFMECC0.read
    def _read_main_ecc(self) -> int:
        mark, position = self.code.origin, self._stream.position
        if mark is not None and mark < position <= mark + _MAIN_BLOCK and not self.NFCONT & _MAIN_LOCK:
            data = self._stream.buffer[mark:position]
            return MAIN_LAYOUT.code(*fold(int.from_bytes(data, "little"), position - mark))
        self._settle_ecc()
        return MAIN_LAYOUT.code(*self._main.parities())

    @NFSECC.read
    def _read_spare_ecc(self) -> int:
        self._settle_ecc()
        # The upper half belongs to I/O[15:8], on which no data passes.
        return 0xFFFF0000 | SPARE_LAYOUT.code(*self._spare.parities())

    @NFESTAT0.read
    def _read_ecc_status(self) -> int:
        stored = [value & 0xFF | (value >> 16 & 0xFF) << 8 for value in (self.NFMECCD0, self.NFMECCD1)]
        main, byte, bit = MAIN_LAYOUT.check(stored[0] | stored[1] << 16, self._read_main_ecc())
        value = byte << 7 | bit << 4 | main
        stored_spare = self.NFSECCD & 0xFF | (self.NFSECCD >> 16 & 0xFF) << 8
        spare, byte, bit = SPARE_LAYOUT.check(stored_spare, self._read_spare_ecc())
        return value | byte << 21 | bit << 18 | spare << 2

    # -- control -----------------------------------------------------------------------------

    def set_bootloader_defaults(self) -> None:
        """Enabled, with slow timing and no chip selected, as bootloaders leave it.

        Linux's driver looks for the chip, and reads the bad block table with its ECC, before it writes
        all of NFCONT itself: it relies on MODE being set and on both ECC locks being clear.
        """
        self._write_configuration(self.NFCONF | 0x2770)
        self._write_control(_MODE | _NCE)

    @NFCONF.write
    def _write_configuration(self, value: int) -> None:
        # AdvFlash, PageSize and AddrCycle show pins; BusWidth can be changed (UM 6-11).
        self.NFCONF = (self.NFCONF & 0x000E) | (value & 0x3771)
        if value & 1:
            self.guest_error("NFCONF selects a 16-bit bus, but the chip has 8 data pins")

    @NFCONT.write
    def _write_control(self, value: int) -> None:
        # Once set, Lock-tight stays until reset (UM 6-12).
        before = self.NFCONT
        control = value & 0x3763 | before & _LOCK_TIGHT
        if control != before:
            if self._posted[0]:
                self.chip.take_posted()
            if self._code_words[CODE_ORIGIN] != self._stream_words[STREAM_CURSOR]:
                self._digest()
            if self._ready.ready_at is not None:
                self._ready.settle()  # with what was to be detected up to now
            self.NFCONT = control
            self._select()
            if control ^ before == _NCE:  # no interrupt follows from that: selecting the chip is often done
                self._hold(control)
            else:
                self._drive_irq()
        if value & _INIT_ECC:
            self.code.start()

    def _select(self) -> None:
        control = self.NFCONT
        selected = control & (_MODE | _NCE) == _MODE
        self._selected = self.chip if selected else None
        self._stream.enabled = self._addresses.enabled = selected
        self._ready.edges_wanted = bool(control & _RNB_INTERRUPT)
        self.held_control.post(control | _INIT_ECC)
        self.code.enabled = not control & _MAIN_LOCK
        self._post()

    def _post(self) -> None:
        """The next command may be one that need not come at once."""
        command = None if self._selected is None else self.chip.postable()
        if command is None:
            self.commands.refuse()
        else:
            self.commands.post(command)

    def _command_posted(self, command: int) -> None:
        """A command has come that begins to read, and maybe address cycles after it."""
        self.NFCMMD = command
        self._address_mark = 0

    @NFCMMD.read
    def _read_command(self) -> int:
        self.chip.take_posted()
        return self.NFCMMD

    @NFCMMD.write
    def _write_command(self, value: int) -> None:
        if self._posted[0]:
            self.chip.take_posted()
        self.commands.refuse()
        if self._addresses.position > self._address_mark:
            self._read_address()
        self.NFCMMD = value
        chip = self._selected
        if chip is None:
            self.guest_error(f"command 0x{value:02x} while no chip is selected")
            return
        if self._code_words[CODE_ORIGIN] != self._stream_words[STREAM_CURSOR]:
            self._digest()
        if value in _CONFIRMS and self._touches_locked(chip):
            chip.abandon()
            self.guest_error(f"command 0x{value:02x} for a locked block")
            self.NFSTAT |= _ILLEGAL_ACCESS
            self._drive_irq()
        else:
            chip.command(value)
        self._after_cycle()

    @NFADDR.read
    def _read_address(self) -> int:
        if self._posted[0]:
            self.chip.take_posted()
        addresses = self._addresses
        count = addresses.position
        if count > self._address_mark:
            self.NFADDR = addresses.buffer[count - 1]
            self._address_mark = count
        return self.NFADDR

    @NFADDR.write
    def _write_address(self, value: int) -> None:
        """Those before the last come to the chip's stream only."""
        if self._posted[0]:
            self.chip.take_posted()
        self.NFADDR = value
        chip = self._selected
        if chip is None:
            self.guest_error(f"address 0x{value:02x} while no chip is selected")
            return
        if self._code_words[CODE_ORIGIN] != self._stream_words[STREAM_CURSOR]:
            self._digest()
        chip.address(value)
        self._after_cycle()

    # -- lock --------------------------------------------------------------------------------

    def _touches_locked(self, chip: NandFlash) -> bool:
        if not self.NFCONT & (_SOFT_LOCK | _LOCK_TIGHT):
            return False
        first, end = self.NFSBLK & _BLOCK_MASK, self.NFEBLK & _BLOCK_MASK
        return not all(first <= row & _BLOCK_MASK < end for row in chip.pending_rows())

    @writes(NFSBLK, NFEBLK)
    def _write_block(self, register: Register, value: int) -> None:
        if self.NFCONT & _LOCK_TIGHT:
            self.guest_error(f"write of 0x{value:x} to {register.name} while Lock-tight is set")
        else:
            setattr(self, register.name, value & 0xFFFFFF)

    # -- status and interrupt ----------------------------------------------------------------

    @NFSTAT.read
    def _read_status(self) -> int:
        self._ready.settle()
        return self.NFSTAT | self.NFCONT & _NCE | self._ready.line.level

    @NFSTAT.write
    def _write_status(self, value: int) -> None:
        self.chip.ready.settle()
        self.NFSTAT &= ~(value & (_RNB_DETECT | _ILLEGAL_ACCESS))
        self._drive_irq()

    def _rnb_changed(self, level: int) -> None:
        control = self.NFCONT
        if level == (not control & _FALLING):
            self.NFSTAT |= _RNB_DETECT
            if control & _RNB_INTERRUPT:
                self._drive_irq()
        if level:
            self.held_status.hold(self.NFSTAT | control & _NCE | 1)
            self._post()
        else:
            self.held_status.release()
            self.commands.refuse()

    def _drive_irq(self) -> None:
        """Status or control may have changed."""
        status, control = self.NFSTAT, self.NFCONT
        self._irq.set(
            bool(
                (status & _RNB_DETECT and control & _RNB_INTERRUPT)
                or (status & _ILLEGAL_ACCESS and control & _ILLEGAL_INTERRUPT)
            )
        )
        self._hold(control)

    def _hold(self, control: int) -> None:
        self.held_control.hold(control)
        if self._ready.line.level:
            self.held_status.hold(self.NFSTAT | control & _NCE | 1)
        else:
            self.held_status.release()

    # -- dumps -------------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """Which chip is connected, and whether it is listening."""
        yield Fact("chip", f"{self.chip.name}, {self.chip.part.name}")
        yield Fact("selected", self._selected is not None)
        yield Fact("RnB", "busy" if self.chip.ready.busy else "ready")
        if self.NFCONT & (_SOFT_LOCK | _LOCK_TIGHT):
            first, end = self.NFSBLK & _BLOCK_MASK, self.NFEBLK & _BLOCK_MASK
            yield Fact("unlocked rows", f"0x{first:x} to 0x{end:x}")

    # -- snapshots ---------------------------------------------------------------------------

    @property
    def _main_ecc(self) -> list[int]:
        self._settle_ecc()
        return self._main.save()

    @property
    def _spare_ecc(self) -> list[int]:
        self._settle_ecc()
        return self._spare.save()

    def save(self) -> dict[str, Any]:
        """As every device; with the commands and address cycles that were not noticed so far."""
        self.chip.ready.settle()
        self._read_address()
        return super().save()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave; the chip is saved and loaded on its own."""
        super().load(
            {name: value for name, value in state.items() if name not in ("_main_ecc", "_spare_ecc")}
        )
        self.code.release()
        self._unfed = None
        self._main.load(state["_main_ecc"])
        self._spare.load(state["_spare_ecc"])
        self._select()
        self._drive_irq()
