"""The USB device controller (S3C2440A UM chapter 13): five endpoints at the device's end of a cable.

What a guest does through registers and what a host does through :class:`DeviceSide` meet in the
FIFOs. An endpoint's FIFO holds one packet at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Register, peeks, reads, writes
from dbgemu.target.s3c2440.dma_port import DmaPort
from dbgemu.target.s3c2440.usb_device_registers import BANKED, DMA, ENDPOINTS, FIFOS
from dbgemu.target.s3c2440.usb_device_registers import UsbDeviceRegisters as Registers
from dbgemu.target.usb.wire import Answer, Packet

#: bytes: endpoint 0 has a small FIFO of its own
FIFO_SIZES = (16, 128, 128, 128, 128)
FRAME_NS, IDLE_NS = 1_000_000, 3_000_000

EP0_OUT_READY, EP0_IN_READY, EP0_SENT_STALL, EP0_DATA_END = 0x01, 0x02, 0x04, 0x08
EP0_SETUP_END, EP0_SEND_STALL, EP0_SERVICED_OUT, EP0_SERVICED_END = 0x10, 0x20, 0x40, 0x80
IN_READY, IN_UNDERRUN, IN_FLUSH, IN_SEND_STALL, IN_SENT_STALL, IN_TOGGLE = 0x01, 0x04, 0x08, 0x10, 0x20, 0x40
OUT_READY, OUT_OVERRUN, OUT_FLUSH, OUT_SEND_STALL, OUT_SENT_STALL, OUT_TOGGLE = (
    *(0x01, 0x04, 0x10, 0x20),
    *(0x40, 0x80),
)
AUTOMATIC, ISOCHRONOUS, MODE_IN, IN_DMA_MASK, OUT_DMA_MASK = 0x80, 0x40, 0x20, 0x10, 0x20
ISO_UPDATE, USB_RESET, MCU_RESUME, SUSPEND_MODE, SUSPEND_ENABLE = 0x80, 0x08, 0x04, 0x02, 0x01
RESET, RESUME, SUSPEND = 4, 2, 1
IGNORE_COUNT, OUT_RUN, IN_RUN, DMA_MODE = 0x80, 0x04, 0x02, 0x01
ADDRESS_UPDATE = 0x80

# What endpoint 0 is in the middle of.
IDLE, DATA_IN, DATA_OUT = 0, 1, 2

# Bits that a plain write changes, and bits that a write of 0 clears, in each banked register.
_PLAIN = {
    "MAXP_REG": 0xFF,
    "IN_CSR1_REG": 0x10,
    "IN_CSR2_REG": 0xF0,
    "OUT_CSR1_REG": 0x20,
    "OUT_CSR2_REG": 0xE0,
}
_CLEARED_BY_0 = {"IN_CSR1_REG": 0x24, "OUT_CSR1_REG": 0x45}
#: reset values of the banked registers, for each endpoint
_BANK_RESET = {
    "MAXP_REG": 0x01,
    "IN_CSR1_REG": 0x00,
    "IN_CSR2_REG": 0x20,
    "OUT_CSR1_REG": 0x00,
    "OUT_CSR2_REG": 0x00,
}


def _nobody() -> None:
    """What an empty end of the cable does."""


class UsbDevice(Registers):
    """The controller. INDEX_REG chooses the endpoint whose bank is at 0x180 to 0x19C.

    ``dma`` are the requests of endpoints 1 to 4. The methods of :class:`DeviceSide` are the host's.
    """

    STATE = (
        "banks",
        "ep0_csr",
        "in_fifos",
        "out_fifos",
        "address",
        "_stage",
        "_toggles",
        "_ready_since",
        "_frames_from",
        "_last_frame",
        "_idle_timer",
    )

    def __init__(
        self, name: str, *, clock: VirtualClock, interrupt: Line, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, log)
        self.interrupt = interrupt
        self._clock = clock
        self._idle_timer = Timer(clock, self._idle)
        self.dma = tuple(
            DmaPort(f"{name}.EP{n}", read=partial(self._dma_read, n), write=partial(self._dma_write, n))
            for n in range(1, ENDPOINTS)
        )
        self.on_change: Callable[[], None] = _nobody
        self.on_remote_wakeup: Callable[[], None] = _nobody
        self._frames_from = -1
        self._last_frame = 0
        self._empty()

    def _empty(self) -> None:
        self.banks = {name: [value] * ENDPOINTS for name, value in _BANK_RESET.items()}
        self.ep0_csr = 0
        #: what the guest has put into each endpoint for the host to fetch, and what the host has sent
        self.in_fifos = [bytearray() for _ in range(ENDPOINTS)]
        self.out_fifos = [bytearray() for _ in range(ENDPOINTS)]
        #: to which the device answers: FUNC_ADDR_REG is it only after the status stage
        self.address = 0
        self._stage = IDLE
        #: by endpoint: of the next packet
        self._toggles = [0] * ENDPOINTS
        #: by endpoint: the frame in which the guest had its packet ready
        self._ready_since = [0] * ENDPOINTS

    def reset(self) -> None:
        """Power-on or system reset."""
        super().reset()
        self._empty()
        self._idle_timer.cancel()
        self._frames_from = -1
        self._last_frame = 0
        self._update()
        self._put_dma_levels()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave, the interrupt line and the requests included."""
        super().load(state)
        self._update()
        self._put_dma_levels()

    # -- interrupts -------------------------------------------------------------------------------

    @Registers.EP_INT_REG.write
    def _clear_endpoint_interrupts(self, value: int) -> None:
        self.EP_INT_REG &= ~value
        self._update()

    @Registers.USB_INT_REG.write
    def _clear_bus_interrupts(self, value: int) -> None:
        self.USB_INT_REG &= ~value
        self._update()

    @writes(Registers.EP_INT_EN_REG, Registers.USB_INT_EN_REG)
    def _enable_interrupts(self, register: Register, value: int) -> None:
        self.__dict__[register.name] = value
        self._update()

    def _update(self) -> None:
        # A resume interrupt goes with the enable of the suspend one: USB_INT_EN has no bit for it.
        events = self.USB_INT_EN_REG & 5 | (self.USB_INT_EN_REG & 1) << 1
        self.interrupt.set(bool(self.EP_INT_REG & self.EP_INT_EN_REG or self.USB_INT_REG & events))

    def _event(self, endpoint: int) -> None:
        self.EP_INT_REG |= 1 << endpoint
        self._update()

    def _bus_event(self, events: int) -> None:
        self.USB_INT_REG |= events
        self._update()

    # -- the bank that INDEX_REG selects -------------------------------------------------------

    @reads(*BANKED)
    def _read_bank(self, register: Register) -> int:
        endpoint = self.INDEX_REG
        if endpoint >= ENDPOINTS:
            return 0
        if endpoint == 0 and register.offset == 0x184:
            return self.ep0_csr
        return self.banks[register.name][endpoint]

    @writes(*BANKED)
    def _write_bank(self, register: Register, value: int) -> None:
        endpoint, name = self.INDEX_REG, register.name
        if endpoint >= ENDPOINTS:
            self.guest_error(f"write of 0x{value:x} to {name} with INDEX_REG {endpoint}: no such endpoint")
            return
        if endpoint == 0 and name == "IN_CSR1_REG":
            self._write_ep0(value)
            return
        bank, plain = self.banks[name], _PLAIN[name]
        state = bank[endpoint] & ~plain | value & plain
        bank[endpoint] = state & (value | ~_CLEARED_BY_0.get(name, 0)) & 0xFF
        if name == "IN_CSR1_REG":
            self._command_in(endpoint, value)
        elif name == "OUT_CSR1_REG":
            self._command_out(endpoint, value)
        self._update_dma(endpoint)
        self.on_change()

    def _command_in(self, endpoint: int, value: int) -> None:
        bank = self.banks["IN_CSR1_REG"]
        if value & IN_TOGGLE:
            self._toggles[endpoint] = 0
        if value & IN_FLUSH:
            bank[endpoint] &= ~IN_READY
            self.in_fifos[endpoint].clear()
            # UM 13, IN_CSR1_REG: the MCU is interrupted when this happens
            self._event(endpoint)
        elif value & IN_READY:
            self._packet_ready(endpoint)

    def _packet_ready(self, endpoint: int) -> None:
        if not self.banks["IN_CSR1_REG"][endpoint] & IN_READY:
            self.banks["IN_CSR1_REG"][endpoint] |= IN_READY
            self._ready_since[endpoint] = self._frame()

    def _command_out(self, endpoint: int, value: int) -> None:
        bank = self.banks["OUT_CSR1_REG"]
        if value & OUT_TOGGLE:
            self._toggles[endpoint] = 0
        if value & OUT_FLUSH:
            bank[endpoint] &= ~OUT_READY
        if not bank[endpoint] & OUT_READY:
            self.out_fifos[endpoint].clear()

    def _write_ep0(self, value: int) -> None:
        """EP0_CSR has bits to set, bits that acknowledge others, and SENT_STALL, which a 0 clears."""
        state = self.ep0_csr | value & (EP0_IN_READY | EP0_DATA_END | EP0_SEND_STALL)
        # UM 13, EP0_CSR: a 0 ends the STALL condition. But drivers ask for a STALL first and end the
        # request that it is for with another write (Linux s3c2410_udc.c): that does not take it back.
        if not value & (EP0_SEND_STALL | EP0_SERVICED_OUT | EP0_DATA_END):
            state &= ~EP0_SEND_STALL
        if value & EP0_SERVICED_OUT:
            state &= ~EP0_OUT_READY
            self.out_fifos[0].clear()
        if value & EP0_SERVICED_END:
            state &= ~EP0_SETUP_END
        if not value & EP0_SENT_STALL:
            state &= ~EP0_SENT_STALL
        self.ep0_csr = state
        self.on_change()

    def _packet_size(self, endpoint: int) -> int:
        """Bytes of a full packet."""
        return min(self.banks["MAXP_REG"][endpoint] * 8 or 8, FIFO_SIZES[endpoint])

    # -- FIFOs --------------------------------------------------------------------------------

    @peeks(*FIFOS)
    def _peek_fifo(self, register: Register) -> int:
        fifo = self.out_fifos[(register.offset - 0x1C0) >> 2]
        return fifo[0] if fifo else 0

    @reads(*FIFOS)
    def _read_fifo(self, register: Register) -> int:
        endpoint = (register.offset - 0x1C0) >> 2
        fifo = self.out_fifos[endpoint]
        if not fifo:
            return 0
        value = fifo[0]
        del fifo[0]
        if not fifo and endpoint:
            self._emptied(endpoint)
        return value

    def _emptied(self, endpoint: int) -> None:
        """The last byte of a packet was read."""
        if self.banks["OUT_CSR2_REG"][endpoint] & AUTOMATIC:
            self.banks["OUT_CSR1_REG"][endpoint] &= ~OUT_READY
            self.on_change()
        self._update_dma(endpoint)

    @writes(*FIFOS)
    def _write_fifo(self, register: Register, value: int) -> None:
        endpoint = (register.offset - 0x1C0) >> 2
        fifo = self.in_fifos[endpoint]
        # UM 13, IN_CSR1_REG: while a packet is ready, the MCU is not able to write to the FIFO
        ready = self.banks["IN_CSR1_REG"][endpoint] & IN_READY if endpoint else self.ep0_csr & EP0_IN_READY
        if not ready and len(fifo) < FIFO_SIZES[endpoint]:
            fifo.append(value)
            if endpoint:
                self._filled(endpoint)

    def _filled(self, endpoint: int) -> None:
        """A FIFO got more to send."""
        full = len(self.in_fifos[endpoint]) >= self._packet_size(endpoint)
        if full and self.banks["IN_CSR2_REG"][endpoint] & AUTOMATIC:
            self._packet_ready(endpoint)
            self.on_change()
        self._update_dma(endpoint)

    @reads(Registers.OUT_FIFO_CNT1_REG, Registers.OUT_FIFO_CNT2_REG)
    def _count(self, register: Register) -> int:
        count = len(self.out_fifos[self.INDEX_REG]) if self.INDEX_REG < ENDPOINTS else 0
        return count & 0xFF if register.offset == 0x198 else count >> 8

    # -- DMA --------------------------------------------------------------------------------------

    @writes(*DMA)
    def _write_dma(self, register: Register, value: int) -> None:
        stored = self.__dict__
        stored[register.name] = stored[register.name] & ~register.writable | value & register.writable
        self._update_dma(int(register.name[2]))

    def _left(self, endpoint: int) -> int:
        """Bytes that DMA may still move."""
        stored = self.__dict__
        if stored[f"EP{endpoint}_DMA_CON"] & IGNORE_COUNT:
            return FIFO_SIZES[endpoint]
        low, middle, high = (stored[f"EP{endpoint}_DMA_TTC_{part}"] for part in "LMH")
        return int(low | middle << 8 | high << 16)

    def _count_down(self, endpoint: int, moved: int) -> None:
        stored = self.__dict__
        if stored[f"EP{endpoint}_DMA_CON"] & IGNORE_COUNT:
            return
        left = self._left(endpoint) - moved
        for part, lane in (("L", 0), ("M", 8), ("H", 16)):
            stored[f"EP{endpoint}_DMA_TTC_{part}"] = left >> lane & 0xFF
        if not left:
            stored[f"EP{endpoint}_DMA_CON"] &= ~(OUT_RUN | IN_RUN | DMA_MODE)

    def _in_dma_mode(self, endpoint: int) -> bool:
        return bool(self.__dict__[f"EP{endpoint}_DMA_CON"] & DMA_MODE)

    def _wants_dma(self, endpoint: int) -> bool:
        control = self.__dict__[f"EP{endpoint}_DMA_CON"]
        if not control & DMA_MODE or not self._left(endpoint):
            return False
        if self.banks["IN_CSR2_REG"][endpoint] & MODE_IN:
            ready = self.banks["IN_CSR1_REG"][endpoint] & IN_READY
            full = len(self.in_fifos[endpoint]) >= self._packet_size(endpoint)
            return bool(control & IN_RUN and not ready and not full)
        return bool(control & OUT_RUN and self.out_fifos[endpoint])

    def _update_dma(self, endpoint: int) -> None:
        if endpoint:
            port = self.dma[endpoint - 1]
            if port.level or self.__dict__[f"EP{endpoint}_DMA_CON"] & DMA_MODE:
                port.request(self._wants_dma(endpoint))

    def _put_dma_levels(self) -> None:
        # no request: what is put back has been served
        for endpoint, port in enumerate(self.dma, 1):
            port.level = int(self._wants_dma(endpoint))

    def _dma_read(self, endpoint: int, unit: int, maximum: int) -> bytes:
        fifo = self.out_fifos[endpoint]
        count = min(len(fifo), maximum, self._left(endpoint)) // unit * unit
        data = bytes(fifo[:count])
        del fifo[:count]
        self._count_down(endpoint, count)
        if count and not fifo:
            self._emptied(endpoint)
        else:
            self._update_dma(endpoint)
        return data

    def _dma_write(self, endpoint: int, unit: int, data: bytes) -> int:
        fifo = self.in_fifos[endpoint]
        room = max(0, self._packet_size(endpoint) - len(fifo))
        count = min(room, len(data), self._left(endpoint)) // unit * unit
        fifo += data[:count]
        self._count_down(endpoint, count)
        self._filled(endpoint)
        return count

    # -- power and frames ---------------------------------------------------------------------------

    @Registers.PWR_REG.write
    def _write_power(self, value: int) -> None:
        before, kept = self.PWR_REG, USB_RESET | SUSPEND_MODE
        power = before & kept | value & ~kept & Registers.PWR_REG.writable
        # UM 13, PWR_REG: the end of the resume signal ends the suspended state
        if before & MCU_RESUME and not power & MCU_RESUME:
            power &= ~SUSPEND_MODE
        self.PWR_REG = power
        if power & ~before & MCU_RESUME and power & SUSPEND_MODE:
            self.on_remote_wakeup()

    def _frame(self) -> int:
        """The number of the present frame, or of the last one."""
        if self._frames_from < 0:
            return self._last_frame
        return (self._clock.now - self._frames_from) // FRAME_NS & 0x7FF

    @reads(Registers.FRAME_NUM1_REG, Registers.FRAME_NUM2_REG)
    def _read_frame(self, register: Register) -> int:
        return self._frame() & 0xFF if register.offset == 0x170 else self._frame() >> 8

    def start_frames(self) -> None:
        """Frames of 1 ms begin: the bus is in use."""
        self._idle_timer.cancel()
        self._frames_from = self._clock.now // FRAME_NS * FRAME_NS

    def stop_frames(self) -> None:
        """The bus is idle from now on: after 3 ms the device takes that for a suspend."""
        self._last_frame = self._frame()
        self._frames_from = -1
        self._idle_timer.start_in(IDLE_NS)

    def _idle(self) -> None:
        if self.PWR_REG & SUSPEND_ENABLE:
            self.PWR_REG |= SUSPEND_MODE
        self._bus_event(SUSPEND)
        # UM 13, USB_INT_REG: every 3 ms as long as there is no activity
        self._idle_timer.start_in(IDLE_NS)

    def signal_resume(self) -> None:
        """The host ends the suspended state."""
        self._idle_timer.cancel()
        if self.PWR_REG & SUSPEND_MODE:
            self.PWR_REG &= ~SUSPEND_MODE
            self._bus_event(RESUME)

    def signal_reset(self, level: int) -> None:
        """The host holds the bus in reset (1), or ends that (0)."""
        if not level:
            self.PWR_REG &= ~USB_RESET
            return
        self._idle_timer.cancel()
        # UM 13, USB_INT_REG: a reset that ends the suspended state is first a resume
        events = RESET | RESUME if self.PWR_REG & SUSPEND_MODE else RESET
        self.PWR_REG = self.PWR_REG & ~SUSPEND_MODE | USB_RESET
        self._empty()
        self.FUNC_ADDR_REG = 0
        self.EP_INT_REG = 0
        self._bus_event(events)
        for endpoint in range(1, ENDPOINTS):
            self._update_dma(endpoint)

    # -- transactions of the host: endpoint 0 --------------------------------------------------------

    def setup(self, address: int, packet: bytes) -> Answer:
        """SETUP: always taken; ends what was going on (UM 13, EP0_CSR: SETUP_END)."""
        if address != self.address or len(packet) != 8:
            return Answer.NONE
        state = self.ep0_csr & ~(EP0_IN_READY | EP0_DATA_END | EP0_SEND_STALL)
        if self._stage != IDLE:
            state |= EP0_SETUP_END
        self.ep0_csr = state | EP0_OUT_READY
        self.in_fifos[0].clear()
        self.out_fifos[0][:] = packet
        self._stage = DATA_IN if packet[0] & 0x80 and packet[6:] != b"\0\0" else DATA_OUT
        self._toggles[0] = 1
        self._event(0)
        return Answer.ACK

    def _give_control(self, packet: Packet) -> Answer:
        state = self.ep0_csr
        if state & EP0_SEND_STALL:
            return self._stall_control()
        if state & EP0_OUT_READY or self._stage == IDLE:
            return Answer.NAK
        if self._stage == DATA_IN:  # the status stage of a request for data
            if packet.data:
                return self._stall_control()
            self._end_control()
            return Answer.ACK
        if packet.toggle != self._toggles[0]:  # a repetition of what was taken
            return Answer.ACK
        if state & EP0_DATA_END:  # more than the request was for
            return self._stall_control()
        self._toggles[0] ^= 1
        self.out_fifos[0][:] = packet.data[: FIFO_SIZES[0]]
        self.ep0_csr |= EP0_OUT_READY
        self._event(0)
        return Answer.ACK

    def _take_control(self) -> Packet | Answer:
        state = self.ep0_csr
        if state & EP0_SEND_STALL:
            return self._stall_control()
        if state & EP0_OUT_READY or self._stage == IDLE:
            return Answer.NAK
        if self._stage == DATA_OUT:  # the status stage of a request without data or with data to the device
            self._end_control()
            return Packet(1, b"")
        if not state & EP0_IN_READY:
            return self._stall_control() if state & EP0_DATA_END else Answer.NAK
        packet = Packet(self._toggles[0], bytes(self.in_fifos[0]))
        self._toggles[0] ^= 1
        self.in_fifos[0].clear()
        self.ep0_csr &= ~EP0_IN_READY
        self._event(0)
        return packet

    def _end_control(self) -> None:
        """The status stage: SETUP_END when the guest was not through with its part."""
        early = not self.ep0_csr & EP0_DATA_END or self.in_fifos[0]
        self.ep0_csr &= ~(EP0_DATA_END | EP0_IN_READY)
        self.in_fifos[0].clear()
        if early:
            self.ep0_csr |= EP0_SETUP_END
        self._stage = IDLE
        if self.FUNC_ADDR_REG & ADDRESS_UPDATE:
            self.FUNC_ADDR_REG &= ~ADDRESS_UPDATE
            self.address = self.FUNC_ADDR_REG
        self._event(0)

    def _stall_control(self) -> Answer:
        self.ep0_csr &= ~(EP0_SEND_STALL | EP0_DATA_END | EP0_IN_READY)
        self.ep0_csr |= EP0_SENT_STALL
        self.in_fifos[0].clear()
        self._stage = IDLE
        self._event(0)
        return Answer.STALL

    # -- transactions of the host: endpoints 1 to 4 ---------------------------------------------------

    def give(self, address: int, endpoint: int, packet: Packet) -> Answer:
        """OUT with a data packet."""
        if address != self.address or not 0 <= endpoint < ENDPOINTS:
            return Answer.NONE
        if endpoint == 0:
            return self._give_control(packet)
        if self.banks["IN_CSR2_REG"][endpoint] & MODE_IN:
            return Answer.NONE
        status = self.banks["OUT_CSR1_REG"]
        if status[endpoint] & OUT_SEND_STALL:
            status[endpoint] |= OUT_SENT_STALL
            self._event(endpoint)
            return Answer.STALL
        control = self.banks["OUT_CSR2_REG"][endpoint]
        if status[endpoint] & OUT_READY:
            if not control & ISOCHRONOUS:
                return Answer.NAK
            status[endpoint] |= OUT_OVERRUN
            self._event(endpoint)
            return Answer.ACK
        if not control & ISOCHRONOUS:
            if packet.toggle != self._toggles[endpoint]:  # a repetition of what was taken
                return Answer.ACK
            self._toggles[endpoint] ^= 1
        self.out_fifos[endpoint][:] = packet.data[: FIFO_SIZES[endpoint]]
        status[endpoint] |= OUT_READY
        if not (control & OUT_DMA_MASK and self._in_dma_mode(endpoint)):
            self._event(endpoint)
        self._update_dma(endpoint)
        return Answer.ACK

    def take(self, address: int, endpoint: int) -> Packet | Answer:
        """IN: the packet that is ready; it is taken as acknowledged."""
        if address != self.address or not 0 <= endpoint < ENDPOINTS:
            return Answer.NONE
        if endpoint == 0:
            return self._take_control()
        control = self.banks["IN_CSR2_REG"][endpoint]
        if not control & MODE_IN:
            return Answer.NONE
        status, fifo = self.banks["IN_CSR1_REG"], self.in_fifos[endpoint]
        if status[endpoint] & IN_SEND_STALL:
            status[endpoint] |= IN_SENT_STALL
            self._event(endpoint)
            return Answer.STALL
        if not status[endpoint] & IN_READY:
            if not control & ISOCHRONOUS:
                return Answer.NAK
            status[endpoint] |= IN_UNDERRUN
            self._event(endpoint)
            return Packet(0, b"")
        if control & ISOCHRONOUS:
            # UM 13, PWR_REG: a packet waits for the frame after the one in which it became ready
            if self.PWR_REG & ISO_UPDATE and self._ready_since[endpoint] == self._frame():
                return Packet(0, b"")
            toggle = 0
        else:
            toggle = self._toggles[endpoint]
            self._toggles[endpoint] ^= 1
        packet = Packet(toggle, bytes(fifo[: self._packet_size(endpoint)]))
        fifo.clear()
        status[endpoint] &= ~IN_READY
        if not (control & IN_DMA_MASK and self._in_dma_mode(endpoint)):
            self._event(endpoint)
        self._update_dma(endpoint)
        return packet

    # -- dumps ------------------------------------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """The bus, and every endpoint's bank, whichever INDEX_REG selects."""
        idle = self._idle_timer.deadline is not None
        yield Fact("bus", "in use" if self._frames_from >= 0 else "idle" if idle else "no host")
        yield Fact("answers to address", self.address)
        stage = ("nothing going on", "data to the host", "data from the host, or none")[self._stage]
        yield Fact(
            "endpoint 0",
            f"EP0_CSR=0x{self.ep0_csr:02x}, {stage}, {len(self.in_fifos[0])} bytes to send, "
            f"{len(self.out_fifos[0])} to read",
        )
        for endpoint in range(1, ENDPOINTS):
            bank = " ".join(f"{name}=0x{values[endpoint]:02x}" for name, values in self.banks.items())
            to_send, to_read = len(self.in_fifos[endpoint]), len(self.out_fifos[endpoint])
            yield Fact(f"endpoint {endpoint}", f"{bank}, {to_send} bytes to send, {to_read} to read")
