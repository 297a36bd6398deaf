"""The IIC-bus interface (S3C2440A UM chapter 20), as master and as slave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from dbgemu.target.clock import Timer, VirtualClock, cycles_to_ns
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register
from dbgemu.target.s3c2440.clocks import Clocks
from dbgemu.target.s3c2440.i2c_external import ExternalTransfer

ACK_ENABLE, PRESCALER_512, IRQ_ENABLE, IRQ_PENDING, SCALE = 0x80, 0x40, 0x20, 0x10, 0x0F
MASTER, TRANSMIT, BUSY, OUTPUT_ENABLE = 0x80, 0x40, 0x20, 0x10
LOST, ADDRESSED, GENERAL_CALL, LAST_BIT = 0x08, 0x04, 0x02, 0x01

# What is on the wire at the moment; between bytes SCL is held low for as long as IRQPEND is set.
IDLE, ADDRESS, BYTE_OUT, BYTE_IN, STOPPING, HELD = "idle", "address", "out", "in", "stopping", "held"
# the same when another master has the bus
OTHER_ADDRESS, OTHER_BYTE = "another master's address", "another master's byte"
# What comes when the guest lets SCL go.
NEXT_BYTE, NEXT_START, NEXT_STOP = "byte", "start", "stop"


class I2cDevice(Protocol):
    """A slave on the bus. Each call is one event on the wires, at the moment that it ends."""

    def start(self, address: int, read: bool) -> bool:
        """A START or repeated START, then the 7-bit ``address``; True acknowledges.

        Every device on the bus sees it; who is not meant goes back to idle and returns False.
        """

    def put(self, byte: int) -> bool:
        """The master sent ``byte`` to this device; True acknowledges."""

    def get(self) -> int:
        """The master clocks in the next byte from this device."""

    def stop(self) -> None:
        """A STOP, seen by every device."""


class I2c(Device):
    """The controller and the wires of its bus: devices are put on with :meth:`attach`."""

    title = "IIC-bus interface"
    STATE = ("_timer", "_phase", "_next", "_selected", "_other_has_bus")

    IICCON = Register(
        0x00,
        width=8,
        doc="IIC-bus control",
        fields=(
            Field("ACKEN", 7, doc="acknowledge received bytes"),
            Field("TXDIV", 6, doc="clock source", values={0: "PCLK/16", 1: "PCLK/512"}),
            Field("IRQEN", 5, doc="Tx/Rx interrupt enable"),
            Field("IRQPEND", 4, doc="a byte is through and SCL is held low; write 0 to go on"),
            Field("SCALE", 3, 0, "transmit clock = source / (SCALE + 1)"),
        ),
    )
    IICSTAT = Register(
        0x04,
        width=8,
        writable=0xF0,
        doc="IIC-bus control and status",
        fields=(
            Field("MODE", 7, 6, "mode", {0: "slave rx", 1: "slave tx", 2: "master rx", 3: "master tx"}),
            Field("BUSY", 5, doc="read: bus busy; write 1: START, 0: STOP"),
            Field("TXRXEN", 4, doc="serial output enable"),
            Field("ARBITR", 3, doc="arbitration failed"),
            Field("ASSLAVE", 2, doc="addressed as slave"),
            Field("ADDR0", 1, doc="general call received"),
            Field("LASTBIT", 0, doc="last received bit", values={0: "ACK", 1: "no ACK"}),
        ),
    )
    IICADD = Register(
        0x08,
        width=8,
        doc="Own slave address, bits 7 to 1",
        fields=(Field("SLAVE_ADDRESS", 7, 1, "own address"),),
    )
    IICDS = Register(
        0x0C,
        width=8,
        doc="Transmit/receive data shift",
        fields=(Field("DATA", 7, 0, "byte to send, or received"),),
    )
    IICLC = Register(
        0x10,
        width=8,
        writable=0x07,
        doc="Multi-master line control",
        fields=(
            Field("FILTER", 2, doc="filter on SDA"),
            Field("SDADELAY", 1, 0, "SDA output delay", {0: "0", 1: "5", 2: "10", 3: "15 clocks"}),
        ),
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
        self.clocks = clocks
        self.interrupt = interrupt
        self.bus: list[I2cDevice] = []
        self._timer = Timer(clock, self._advance)
        self._phase = IDLE
        self._next = NEXT_BYTE
        # index in the bus of the device that acknowledged its address
        self._selected: int | None = None
        #: what other masters want, the first of them perhaps on the wire
        self._others: list[ExternalTransfer] = []
        self._other_has_bus = False

    def facts(self) -> Iterator[Fact]:
        """The bus: its clock, what is on the wire, and who is connected."""
        source = self.clocks.pclk // (512 if self.IICCON & PRESCALER_512 else 16)
        yield Fact("clock", source // ((self.IICCON & SCALE) + 1), "Hz")
        yield Fact("on the wire", self._phase)
        yield Fact("devices", ", ".join(getattr(each, "name", "?") for each in self.bus) or "none")

    def begin(self, transfer: ExternalTransfer) -> None:
        """Let another master do ``transfer`` as soon as the bus is free (from the machine's thread)."""
        self._others.append(transfer)
        self._let_others()

    def attach(self, device: I2cDevice) -> None:
        """Put ``device`` on the bus (before the guest runs)."""
        self.bus.append(device)

    def reset(self) -> None:
        """Power-on or system reset: the bus is released."""
        super().reset()
        self._release()
        self._update()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line included."""
        super().load({name: value for name, value in state.items() if name != "_others"})
        self._others = [ExternalTransfer.load(each) for each in state["_others"]]
        self._update()

    def save(self) -> dict[str, Any]:
        """The transfers of other masters too."""
        return {**super().save(), "_others": [transfer.save() for transfer in self._others]}

    @IICCON.write
    def _write_control(self, value: int) -> None:
        # UM chapter 20, IICCON: the pending bit can only be cleared; writing 1 keeps it.
        resume = self.IICCON & IRQ_PENDING and not value & IRQ_PENDING
        self.IICCON = (value & ~IRQ_PENDING) | (value & self.IICCON & IRQ_PENDING)
        self._update()
        if resume and self._phase == HELD:
            self._resume()

    @IICSTAT.write
    def _write_status(self, value: int) -> None:
        busy = self.IICSTAT & BUSY
        self.IICSTAT = (value & 0xD0) | busy | (self.IICSTAT & 0x0F)
        if self._other_has_bus:
            if value & MASTER and value & BUSY:
                self._lose()
        elif not (value & OUTPUT_ENABLE and value & MASTER):
            # The pins float, or are left to other masters: to the slaves that looks like a STOP.
            if busy:
                self._release()
        elif value & BUSY:
            self._ask_start()
        elif busy:
            self._ask_stop()
        self._let_others()

    def _ask_start(self) -> None:
        if self._phase in (HELD, STOPPING):
            self._next = NEXT_START
        elif self._phase != ADDRESS:
            self._start()

    def _ask_stop(self) -> None:
        if self._phase == HELD:
            self._next = NEXT_STOP
        elif self._phase == STOPPING:
            self._next = NEXT_BYTE
        else:
            self._run(STOPPING, 1)

    def _start(self) -> None:
        self.IICSTAT = (self.IICSTAT | BUSY) & ~(LOST | ADDRESSED | GENERAL_CALL)
        self._run(ADDRESS, 10)

    def _run(self, phase: str, bits: int) -> None:
        """Be in ``phase`` for ``bits`` periods of the bit clock (IICCON[6] and [3:0])."""
        self._phase = phase
        self._next = NEXT_BYTE
        divider = 512 if self.IICCON & PRESCALER_512 else 16
        cycles = bits * divider * ((self.IICCON & SCALE) + 1)
        self._timer.start_in(cycles_to_ns(cycles, self.clocks.pclk))

    def _resume(self) -> None:
        """The guest cleared IRQPEND: go on with what the control bits ask for."""
        if self._other_has_bus:
            if self._others[0].complete or (self._others[0].moved and not self._others[0].acknowledged):
                self._other_done()
            else:
                self._run(OTHER_BYTE, 9)
        elif self._next == NEXT_START:
            self._start()
        elif self._next == NEXT_STOP:
            self._run(STOPPING, 1)
        else:
            self._run(BYTE_OUT if self.IICSTAT & TRANSMIT else BYTE_IN, 9)

    def _advance(self) -> None:
        """The phase on the wire is over."""
        phase = self._phase
        if phase == STOPPING:
            restart = self._next == NEXT_START
            self._release()
            if restart:
                self._start()
            else:
                self._let_others()
            return
        if phase == OTHER_ADDRESS:
            self._other_address()
            return
        if phase == OTHER_BYTE:
            self._other_byte()
            return
        if phase == ADDRESS:
            if self._contender_wins():
                return
            acknowledged = self._address(self.IICDS)
        elif phase == BYTE_OUT:
            chip = self._chip()
            acknowledged = chip is not None and chip.put(self.IICDS)
        else:
            chip = self._chip()
            self.IICDS = chip.get() & 0xFF if chip is not None else 0xFF
            # the ninth bit is this side's own
            acknowledged = bool(self.IICCON & ACK_ENABLE)
        self.IICSTAT = self.IICSTAT & ~LAST_BIT if acknowledged else self.IICSTAT | LAST_BIT
        self._hold()

    def _hold(self) -> None:
        """SCL stays low until the guest has looked."""
        self._phase = HELD
        self.IICCON |= IRQ_PENDING
        self._update()

    # -- other masters ------------------------------------------------------------------------

    def _let_others(self) -> None:
        """Give the bus, when it is free, to who waits for it."""
        waits = self._others and not self._others[0].contends
        if waits and self._phase == IDLE and not self._other_has_bus:
            self._other_has_bus = True
            self.IICSTAT = (self.IICSTAT | BUSY) & ~(LOST | ADDRESSED | GENERAL_CALL)
            self._run(OTHER_ADDRESS, 10)

    def _contender_wins(self) -> bool:
        """Whether another master, with a lower address byte, began when the controller did."""
        contenders = [each for each in self._others if each.contends]
        contender = min(contenders, key=lambda each: each.address_byte, default=None)
        if contender is None or contender.address_byte >= self.IICDS:
            return False
        self._others.remove(contender)
        self._others.insert(0, contender)
        self._other_has_bus = True
        self._lose()
        if self._phase != HELD:
            self._other_address()
        return True

    def _lose(self) -> None:
        """Arbitration fails: the controller is a slave from now on (UM 20, "Bus arbitration")."""
        self.IICSTAT = (self.IICSTAT | LOST) & ~MASTER
        self.IICCON |= IRQ_PENDING
        self._update()

    def _is_meant(self, address: int) -> bool:
        """Whether the controller itself answers to ``address``."""
        ready = self.IICSTAT & OUTPUT_ENABLE and not self.IICSTAT & MASTER and self.IICCON & ACK_ENABLE
        return bool(ready) and (address == self.IICADD >> 1 or address == 0)

    def _other_address(self) -> None:
        transfer = self._others[0]
        answered = self._address(transfer.address_byte)
        if self._is_meant(transfer.address):
            self.IICDS = transfer.address_byte
            self.IICSTAT |= ADDRESSED | (GENERAL_CALL if transfer.address == 0 else 0)
            transfer.acknowledged = True
            self._hold()
        elif answered:
            transfer.acknowledged = True
            self._run(OTHER_BYTE, 9)
        else:
            self._other_done()

    def _other_byte(self) -> None:
        transfer, chip = self._others[0], self._chip()
        mine = bool(self.IICSTAT & ADDRESSED)
        if transfer.reads:
            byte = self.IICDS if mine else chip.get() & 0xFF if chip is not None else 0xFF
            transfer.data += bytes([byte])
            acknowledged = len(transfer.data) < transfer.count
        else:
            byte = transfer.data[transfer.moved]
            if mine:
                self.IICDS = byte
                acknowledged = bool(self.IICCON & ACK_ENABLE)
            else:
                acknowledged = chip is not None and chip.put(byte)
            transfer.acknowledged = acknowledged
        transfer.moved += 1
        if mine:
            self.IICSTAT = self.IICSTAT & ~LAST_BIT if acknowledged else self.IICSTAT | LAST_BIT
            self._hold()
        elif transfer.complete or not acknowledged:
            self._other_done()
        else:
            self._run(OTHER_BYTE, 9)

    def _other_done(self) -> None:
        """The other master's STOP."""
        transfer = self._others.pop(0)
        transfer.done = True
        self._other_has_bus = False
        self.IICSTAT &= ~(ADDRESSED | GENERAL_CALL)
        self._release()
        self._let_others()

    def _address(self, byte: int) -> bool:
        """Put the address ``byte`` on the bus; who answers is selected."""
        answers = [device.start(byte >> 1, bool(byte & 1)) for device in self.bus]
        self._selected = answers.index(True) if any(answers) else None
        return self._selected is not None

    def _chip(self) -> I2cDevice | None:
        return None if self._selected is None else self.bus[self._selected]

    def _release(self) -> None:
        """The bus becomes idle: its devices see a STOP."""
        self._timer.cancel()
        self._phase = IDLE
        self._next = NEXT_BYTE
        self._selected = None
        self.IICSTAT &= ~BUSY
        for device in self.bus:
            device.stop()

    def _update(self) -> None:
        # UM chapter 20, IICCON: with IICCON[5] clear, the pending bit is there but requests nothing.
        control = self.IICCON
        self.interrupt.set(bool(control & IRQ_PENDING and control & IRQ_ENABLE))
