"""The USB host controller (S3C2440A UM chapter 12; OpenHCI 1.0a): two ports, nothing attached.

Frames are counted from the clock when somebody looks; only an interrupt at each frame, when the
guest enables it, costs a timer. Transfer lists are not worked on: there is no device to talk to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Field, Register, reads, writes

BIT_RATE = 12_000_000
#: "OpenHCI 5.1.1.4: the reset must complete within 10 us"
RESET_NS = 5_000

FUNCTIONAL_STATE, OPERATIONAL, SUSPEND = 0xC0, 0x80, 0xC0
INTERRUPT_ROUTING, REMOTE_WAKEUP = 0x100, 0x200
RESET, CONTROL_FILLED, BULK_FILLED, CHANGE_OWNER = 0x1, 0x2, 0x4, 0x8

START_OF_FRAME, FRAME_OVERFLOW, ROOT_HUB_CHANGE = 0x04, 0x20, 0x40
OWNERSHIP_CHANGE, MASTER_ENABLE = 0x4000_0000, 0x8000_0000
ALL_CAUSES = 0x4000_007F

NO_POWER_SWITCHING, NO_OVERCURRENT = 0x200, 0x1000
CONNECTED, ENABLED, SUSPENDED, OVERCURRENT, RESETTING, POWERED = 0x1, 0x2, 0x4, 0x8, 0x10, 0x100
CLEAR_POWER, CONNECT_CHANGED, PORT_CHANGES = 0x200, 0x1_0000, 0x1F_0000
REMOTE_WAKEUP_ON, REMOTE_WAKEUP_OFF = 0x8000, 0x8000_0000
GLOBAL_POWER_OFF, GLOBAL_POWER_ON = 0x1, 0x1_0000

#: where in the host controller communications area the frame number is
HCCA_FRAME_NUMBER = 0x80

ROOT_HUB = ("HcRhDescriptorA", "HcRhDescriptorB", "HcRhStatus", "HcRhPortStatus1", "HcRhPortStatus2")

_CAUSES = (
    Field("OC", 30, doc="ownership change"),
    Field("RHSC", 6, doc="root hub status change"),
    Field("FNO", 5, doc="frame number overflow"),
    Field("UE", 4, doc="unrecoverable error"),
    Field("RD", 3, doc="resume detected"),
    Field("SF", 2, doc="start of frame"),
    Field("WDH", 1, doc="done head written back"),
    Field("SO", 0, doc="scheduling overrun"),
)
_MASTER = Field("MIE", 31, doc="master interrupt enable")
_PORT = (
    Field("PRSC", 20, doc="reset finished"),
    Field("OCIC", 19, doc="over-current changed"),
    Field("PSSC", 18, doc="resume finished"),
    Field("PESC", 17, doc="disabled by the hardware"),
    Field("CSC", 16, doc="connection changed"),
    Field("LSDA", 9, doc="low-speed device; write 1: power off"),
    Field("PPS", 8, doc="powered; write 1: power on"),
    Field("PRS", 4, doc="in reset; write 1: reset"),
    Field("POCI", 3, doc="over-current; write 1: resume"),
    Field("PSS", 2, doc="suspended; write 1: suspend"),
    Field("PES", 1, doc="enabled; write 1: enable"),
    Field("CCS", 0, doc="connected; write 1: disable"),
)


_PORT_WORDS = (
    (POWERED, "powered"),
    (CONNECTED, "connected"),
    (ENABLED, "enabled"),
    (SUSPENDED, "suspended"),
    (OVERCURRENT, "over-current"),
)


class UsbHost(Device):
    """The OHCI controller.

    ``write_memory(address, data)`` is its bus mastership: it puts the frame number into the
    communications area in guest memory, wherever the guest says that is, and must not raise.
    Without it the area stays as the guest left it.
    """

    title = "USB host controller"
    STATE = ("_epoch", "_first_frame", "_seen", "_reset_until")

    HcRevision = Register(
        0x00, reset=0x10, access="ro", doc="Revision", fields=(Field("REV", 7, 0, "OpenHCI, in BCD"),)
    )
    HcControl = Register(
        0x04,
        writable=0x7FF,
        doc="Operating modes",
        fields=(
            Field("RWE", 10, doc="remote wake-up enable"),
            Field("RWC", 9, doc="remote wake-up connected"),
            Field("IR", 8, doc="interrupt routing to system management"),
            Field("HCFS", 7, 6, "state", {0: "reset", 1: "resume", 2: "operational", 3: "suspend"}),
            Field("BLE", 5, doc="bulk list enable"),
            Field("CLE", 4, doc="control list enable"),
            Field("IE", 3, doc="isochronous enable"),
            Field("PLE", 2, doc="periodic list enable"),
            Field("CBSR", 1, 0, "control to bulk ratio"),
        ),
    )
    HcCommandStatus = Register(
        0x08,
        doc="Commands",
        fields=(
            Field("SOC", 17, 16, "scheduling overruns"),
            Field("OCR", 3, doc="ownership change request"),
            Field("BLF", 2, doc="bulk list filled"),
            Field("CLF", 1, doc="control list filled"),
            Field("HCR", 0, doc="host controller reset, clears itself"),
        ),
    )
    HcInterruptStatus = Register(0x0C, doc="Interrupt status; write 1 to clear", fields=_CAUSES)
    HcInterruptEnable = Register(0x10, doc="Write 1 to enable", fields=(_MASTER, *_CAUSES))
    HcInterruptDisable = Register(
        0x14, volatile=True, doc="Write 1 to disable; reads as the enable", fields=(_MASTER, *_CAUSES)
    )
    HcHCCA = Register(
        0x18,
        writable=0xFFFF_FF00,
        doc="Communications area, 256 bytes in memory",
        fields=(Field("HCCA", 31, 8, "address bits 31 to 8"),),
    )
    HcPeriodCurrentED = Register(
        0x1C,
        access="ro",
        doc="Present periodic endpoint",
        fields=(Field("PCED", 31, 4, "address bits 31 to 4"),),
    )
    HcControlHeadED = Register(
        0x20,
        writable=0xFFFF_FFF0,
        doc="First control endpoint",
        fields=(Field("CHED", 31, 4, "address bits 31 to 4"),),
    )
    HcControlCurrentED = Register(
        0x24,
        writable=0xFFFF_FFF0,
        doc="Present control endpoint",
        fields=(Field("CCED", 31, 4, "address bits 31 to 4"),),
    )
    HcBulkHeadED = Register(
        0x28,
        writable=0xFFFF_FFF0,
        doc="First bulk endpoint",
        fields=(Field("BHED", 31, 4, "address bits 31 to 4"),),
    )
    HcBulkCurrentED = Register(
        0x2C,
        writable=0xFFFF_FFF0,
        doc="Present bulk endpoint",
        fields=(Field("BCED", 31, 4, "address bits 31 to 4"),),
    )
    HcDoneHead = Register(
        0x30,
        access="ro",
        doc="Last finished transfer descriptor",
        fields=(Field("DH", 31, 4, "address bits 31 to 4"),),
    )
    HcFmInterval = Register(
        0x34,
        reset=0x2EDF,
        writable=0xFFFF_3FFF,
        doc="Frame interval",
        fields=(
            Field("FIT", 31, doc="toggle, changed with FI"),
            Field("FSMPS", 30, 16, "largest data packet, in bits"),
            Field("FI", 13, 0, "bit times in a frame, less 1"),
        ),
    )
    HcFmRemaining = Register(
        0x38,
        access="ro",
        volatile=True,
        doc="Bit times that the frame still has",
        fields=(Field("FRT", 31, doc="toggle"), Field("FR", 13, 0, "bit times")),
    )
    HcFmNumber = Register(
        0x3C,
        access="ro",
        volatile=True,
        doc="Frame number, 16 bits",
        fields=(Field("FN", 15, 0, "frames since the start"),),
    )
    HcPeriodicStart = Register(
        0x40,
        writable=0x3FFF,
        doc="When periodic transfers have priority",
        fields=(Field("PS", 13, 0, "bit times left when periodic transfers begin"),),
    )
    HcLSThreshold = Register(
        0x44,
        reset=0x0628,
        writable=0xFFF,
        doc="Low-speed threshold",
        fields=(Field("LST", 11, 0, "bit times that a low-speed packet needs"),),
    )
    HcRhDescriptorA = Register(
        0x48,
        reset=0x0200_1202,
        writable=0xFF00_1B00,
        doc="Root hub A",
        fields=(
            Field("POTPGT", 31, 24, "power-on to power-good, in 2 ms"),
            Field("NOCP", 12, doc="no over-current protection"),
            Field("OCPM", 11, doc="over-current protection of each port"),
            Field("DT", 10, doc="compound device"),
            Field("NPS", 9, doc="no power switching"),
            Field("PSM", 8, doc="power switching of each port"),
            Field("NDP", 7, 0, "number of ports"),
        ),
    )
    HcRhDescriptorB = Register(
        0x4C,
        doc="Root hub B",
        fields=(Field("PPCM", 31, 16, "port power control mask"), Field("DR", 15, 0, "not removable")),
    )
    HcRhStatus = Register(
        0x50,
        doc="Root hub status",
        fields=(
            Field("CRWE", 31, doc="write 1: no wake-up by connections"),
            Field("OCIC", 17, doc="over-current changed"),
            Field("LPSC", 16, doc="write 1: power on"),
            Field("DRWE", 15, doc="wake-up by connections; write 1 to set"),
            Field("OCI", 1, doc="over-current"),
            Field("LPS", 0, doc="write 1: power off"),
        ),
    )
    HcRhPortStatus1 = Register(0x54, reset=POWERED, doc="Port 1", fields=_PORT)
    HcRhPortStatus2 = Register(0x58, reset=POWERED, doc="Port 2", fields=_PORT)

    def __init__(
        self,
        name: str,
        *,
        clock: VirtualClock,
        interrupt: Line,
        write_memory: Callable[[int, bytes], None] | None = None,
        log: GuestLog | None = None,
    ) -> None:
        super().__init__(name, log)
        self.clock = clock
        self.interrupt = interrupt
        self.write_memory = write_memory
        self._frame_timer = Timer(clock, self._frame)
        self._start_counting_anew()

    def _start_counting_anew(self) -> None:
        # Frame numbers: _first_frame at _epoch (ns), one more each frame interval while operational.
        self._epoch: int | None = None
        self._first_frame = 0
        # the frame up to which status bits have been derived
        self._seen = 0
        self._reset_until = 0

    def reset(self) -> None:
        """The hardware reset, root hub included."""
        super().reset()
        self._frame_timer.cancel()
        self._start_counting_anew()
        self._update()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave; the interrupt line and the timer follow from it."""
        super().load(state)
        self._update()

    def facts(self) -> Iterator[Fact]:
        """Where the frames are, and what is plugged in."""
        state = UsbHost.HcControl["HCFS"]
        yield Fact("state", state.values[state.get(self.HcControl)])
        yield Fact("frame number", self._frame_count() & 0xFFFF)
        for port, status in enumerate((self.HcRhPortStatus1, self.HcRhPortStatus2), 1):
            words = [word for bit, word in _PORT_WORDS if status & bit]
            yield Fact(f"port {port}", ", ".join(words) or "off")

    # -- frames -------------------------------------------------------------------------------

    def _frame_bits(self) -> int:
        return (self.HcFmInterval & 0x3FFF) + 1

    def _elapsed_bits(self) -> int:
        """Bit times since the epoch."""
        return 0 if self._epoch is None else (self.clock.now - self._epoch) * BIT_RATE // NS_PER_SECOND

    def _frame_count(self) -> int:
        """The frame number, not cut to 16 bits."""
        return self._first_frame + self._elapsed_bits() // self._frame_bits()

    @HcInterruptStatus.read
    def _causes(self) -> int:
        """The status, with what follows from the frames that began since the last settling."""
        count, status = self._frame_count(), self.HcInterruptStatus
        if count != self._seen:
            status |= START_OF_FRAME
            # FNO: bit 15 of the frame number changed (OpenHCI 7.1.4)
            if count >> 15 != self._seen >> 15:
                status |= FRAME_OVERFLOW
        return status

    def _settle(self) -> None:
        self.HcInterruptStatus = self._causes()
        self._seen = self._frame_count()

    def _restart_frames(self, running: bool) -> None:
        """Count on from the present frame: the interval or the state changes."""
        self._settle()
        self._first_frame = self._seen
        self._epoch = self.clock.now if running else None

    def _frame(self) -> None:
        """An interrupt that the guest waits for may be due."""
        self._settle()
        self._tell_frame_number()
        self._update()

    def _tell_frame_number(self) -> None:
        if self.write_memory is not None and self.HcHCCA:
            number = (self._seen & 0xFFFF).to_bytes(4, "little")
            self.write_memory(self.HcHCCA + HCCA_FRAME_NUMBER, number)

    def _arm(self) -> None:
        """Wake up for the next frame that the guest wants to hear of, if any."""
        enable = self.HcInterruptEnable
        wanted = enable & ~self.HcInterruptStatus & (START_OF_FRAME | FRAME_OVERFLOW)
        if self._epoch is None or not enable & MASTER_ENABLE or not wanted:
            self._frame_timer.cancel()
            return
        target = self._seen + 1 if wanted & START_OF_FRAME else ((self._seen >> 15) + 1) << 15
        bits = (target - self._first_frame) * self._frame_bits()
        self._frame_timer.start_at(self._epoch - (-bits * NS_PER_SECOND // BIT_RATE))

    @HcFmNumber.read
    def _read_frame_number(self) -> int:
        return self._frame_count() & 0xFFFF

    @HcFmRemaining.read
    def _read_remaining(self) -> int:
        toggle = self.HcFmInterval & 0x8000_0000
        if self._epoch is None:
            return toggle
        bits = self._frame_bits()
        return toggle | bits - 1 - self._elapsed_bits() % bits

    @HcFmInterval.write
    def _write_interval(self, value: int) -> None:
        self._restart_frames(running=self._epoch is not None)
        self.HcFmInterval = value & 0xFFFF_3FFF
        self._update()

    # -- states, commands ---------------------------------------------------------------------

    @HcControl.write
    def _write_control(self, value: int) -> None:
        old, self.HcControl = self.HcControl, value & 0x7FF
        before, after = old & FUNCTIONAL_STATE, value & FUNCTIONAL_STATE
        if before != after:
            self._restart_frames(running=after == OPERATIONAL)
            if not after:
                self._reset_root_hub()
        self._update()

    @HcCommandStatus.read
    def _read_command(self) -> int:
        return self.HcCommandStatus | (self.clock.now < self._reset_until)

    @HcCommandStatus.write
    def _write_command(self, value: int) -> None:
        # Bits written 0 stay as they are: OpenHCI 7.1.3.
        self.HcCommandStatus |= value & (CONTROL_FILLED | BULK_FILLED)
        if value & CHANGE_OWNER:
            self.HcInterruptStatus |= OWNERSHIP_CHANGE
        if value & RESET:
            self._software_reset()
        self._update()

    def _software_reset(self) -> None:
        """OpenHCI 7.1.3, HCR: to suspend; the root hub and IR, RWC stay."""
        hub = {name: self.__dict__[name] for name in ROOT_HUB}
        control = self.HcControl & (INTERRUPT_ROUTING | REMOTE_WAKEUP)
        self.reset_registers()
        self.__dict__.update(hub)
        self.HcControl = control | SUSPEND
        self._start_counting_anew()
        self._reset_until = self.clock.now + RESET_NS

    # -- interrupts ---------------------------------------------------------------------------

    @HcInterruptStatus.write
    def _clear_causes(self, value: int) -> None:
        self._settle()
        self.HcInterruptStatus &= ~value
        self._update()

    @HcInterruptEnable.write
    def _enable_causes(self, value: int) -> None:
        self.HcInterruptEnable |= value & (ALL_CAUSES | MASTER_ENABLE)
        self._settle()
        self._update()

    @HcInterruptDisable.read
    def _read_enabled(self) -> int:
        return self.HcInterruptEnable

    @HcInterruptDisable.write
    def _disable_causes(self, value: int) -> None:
        self.HcInterruptEnable &= ~value
        self._update()

    def _update(self) -> None:
        enable = self.HcInterruptEnable
        self.interrupt.set(bool(enable & MASTER_ENABLE and enable & self.HcInterruptStatus & ALL_CAUSES))
        self._arm()

    # -- root hub -----------------------------------------------------------------------------

    def _reset_root_hub(self) -> None:
        for name in (
            "HcRhDescriptorA",
            "HcRhDescriptorB",
            "HcRhStatus",
            "HcRhPortStatus1",
            "HcRhPortStatus2",
        ):
            self.__dict__[name] = self.registers[name].reset

    @HcRhStatus.write
    def _write_hub(self, value: int) -> None:
        if value & REMOTE_WAKEUP_ON:
            self.HcRhStatus |= REMOTE_WAKEUP_ON
        if value & REMOTE_WAKEUP_OFF:
            self.HcRhStatus &= ~REMOTE_WAKEUP_ON
        if value & GLOBAL_POWER_ON:
            self.HcRhPortStatus1 |= POWERED
            self.HcRhPortStatus2 |= POWERED
        if value & GLOBAL_POWER_OFF and not self.HcRhDescriptorA & NO_POWER_SWITCHING:
            self.HcRhPortStatus1 = self.HcRhPortStatus2 = 0

    @reads(HcRhPortStatus1, HcRhPortStatus2)
    def _read_port(self, register: Register) -> int:
        value: int = self.__dict__[register.name]
        return value | POWERED if self.HcRhDescriptorA & NO_POWER_SWITCHING else value

    @writes(HcRhPortStatus1, HcRhPortStatus2)
    def _write_port(self, register: Register, value: int) -> None:
        state: int = self.__dict__[register.name]
        state &= ~(value & PORT_CHANGES)
        if value & POWERED:
            state |= POWERED
        if value & CLEAR_POWER and not self.HcRhDescriptorA & NO_POWER_SWITCHING:
            state = 0
        if value & (ENABLED | SUSPENDED | RESETTING):
            # OpenHCI 7.4.4: with nothing connected, these only tell the driver so.
            state |= CONNECT_CHANGED
            self.HcInterruptStatus |= ROOT_HUB_CHANGE
        self.__dict__[register.name] = state
        self._update()
