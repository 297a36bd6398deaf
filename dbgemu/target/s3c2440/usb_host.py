"""The USB host controller (S3C2440A UM chapter 12; OpenHCI 1.0a): frames, interrupts, the four lists.

Frames are counted from the clock when somebody looks. A frame costs a timer only where the guest wants to
hear of it or a list is active: what a frame moves is then moved at its end, within the bytes that fit
into a frame. While devices answer nothing but NAK, lists are looked at each eighth frame; any input of a
device ends that. A long transfer is moved when the last of its packets is due.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from dbgemu.target.bus import Bus
from dbgemu.target.clock import NS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.registers import Register, writes
from dbgemu.target.s3c2440.ohci_hub import PORTS, RootHub
from dbgemu.target.s3c2440.ohci_lists import ISOCHRONOUS, BusMaster, Lists, MemoryFault
from dbgemu.target.s3c2440.ohci_registers import (
    ALL_CAUSES,
    BULK_ENABLE,
    BULK_FILLED,
    CHANGE_OWNER,
    CONNECTED,
    CONTROL_ENABLE,
    CONTROL_FILLED,
    CONTROL_RATIO,
    DONE_WRITTEN,
    ENABLED,
    FRAME_OVERFLOW,
    FUNCTIONAL_STATE,
    INTERRUPT_ROUTING,
    ISOCHRONOUS_ENABLE,
    LIST_ENABLES,
    MASTER_ENABLE,
    OPERATIONAL,
    OVERCURRENT,
    OVERRUN_COUNT,
    OWNERSHIP_CHANGE,
    PERIODIC_ENABLE,
    POWERED,
    REMOTE_WAKEUP,
    RESET,
    ROOT_HUB,
    SCHEDULING_OVERRUN,
    START_OF_FRAME,
    SUSPEND,
    SUSPENDED,
    UNRECOVERABLE,
    OhciRegisters,
)

BIT_RATE = 12_000_000
#: "OpenHCI 5.1.1.4: the reset must complete within 10 us"
RESET_NS = 5_000

#: the communications area in memory: a list for each of 32 frames, the frame number, the done queue
FRAME_LISTS, HCCA_FRAME_NUMBER, HCCA_DONE_HEAD = 32, 0x80, 0x84
#: the done queue's delay that is none: it is not written
NO_DELAY_SET = 7

#: bytes of bus time that a frame has no room for: its start, and the gap at its end (USB 2.0 5.11.3)
_FRAME_OVERHEAD = 10
#: bus time in bytes of a visit to an endpoint, at least: there is a token
_LEAST_COST = 8
#: endpoints that a list has room for in a frame; a list that is a ring ends there
_MOST_VISITS = 96
#: frames whose data may be moved together
_MOST_FRAMES = 4
#: so often, in frames, is the frame number told while lists are enabled that have no transfers: Linux's
#: driver looks each 275 ms whether it still changes (ohci-hcd.c, io_watchdog_func)
_NUMBER_STEP = 128
#: frames without any data until lists are looked at less often, and how often that is
_PATIENCE, _QUIET_STEP = 40, 8

_PORT_WORDS = (
    (POWERED, "powered"),
    (CONNECTED, "connected"),
    (ENABLED, "enabled"),
    (SUSPENDED, "suspended"),
    (OVERCURRENT, "over-current"),
)


class UsbHost(RootHub):
    """The OHCI controller. ``bus`` is where its lists and buffers are."""

    STATE: ClassVar[tuple[str, ...]] = (
        *RootHub.STATE,
        "_frame_timer",
        "_epoch",
        "_first_frame",
        "_seen",
        "_reset_until",
        "_worked",
        "_spent",
        "_due",
        "_quiet",
        "_done_delay",
    )

    def __init__(
        self, name: str, *, clock: VirtualClock, interrupt: Line, bus: Bus, log: GuestLog | None = None
    ) -> None:
        super().__init__(name, clock=clock, log=log)
        self.interrupt = interrupt
        self._memory = BusMaster(bus)
        self._lists = Lists(self, self._memory)
        self._frame_timer = Timer(clock, self._frame)
        self._start_counting_anew()

    def _start_counting_anew(self) -> None:
        # Frame numbers: _first_frame at _epoch (ns), one more each frame interval while operational.
        self._epoch: int | None = None
        self._first_frame = 0
        #: the frame up to which status bits have been derived
        self._seen = 0
        self._reset_until = 0
        #: frames up to this one (not included) have been worked on; of this one, so many bytes are past
        self._worked = self._spent = 0
        #: at whose start the lists are to be looked at
        self._due = 0
        #: frames in which nothing moved
        self._quiet = 0
        self._done_delay = NO_DELAY_SET
        #: the communications area's place, the frame lists and endpoints that gave nothing: see _unchanged
        self._memo: tuple[int, bytes, list[tuple[int, bytes]]] | None = None

    def reset(self) -> None:
        """The hardware reset, root hub included."""
        super().reset()
        self._frame_timer.cancel()
        self._start_counting_anew()
        self.reset_root_hub()
        self.changed()

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave; the interrupt line and the timer follow from it."""
        super().load(state)
        self._memo = None
        self.changed()

    def facts(self) -> Iterator[Fact]:
        """Where the frames are, and what is plugged in."""
        state = UsbHost.HcControl["HCFS"]
        yield Fact("state", state.values[state.get(self.HcControl)])
        yield Fact("frame number", self._frame_count() & 0xFFFF)
        for port, device in enumerate(self.plugged, 1):
            status = self._status(port - 1)
            words = [word for bit, word in _PORT_WORDS if status & bit]
            what = f"{device.title}, " if device is not None else ""
            yield Fact(f"port {port}", what + (", ".join(words) or "off"))
            if device is not None:
                for fact in device.facts():
                    yield Fact(f"{device.name}: {fact.name}", fact.value, fact.unit)

    # -- frames -----------------------------------------------------------------------------

    def _frame_bits(self) -> int:
        return (self.HcFmInterval & 0x3FFF) + 1

    def _frame_bytes(self) -> int:
        """What a frame has room for."""
        return self._frame_bits() // 8 - _FRAME_OVERHEAD

    def _elapsed_bits(self) -> int:
        """Bit times since the epoch."""
        return 0 if self._epoch is None else (self.clock.now - self._epoch) * BIT_RATE // NS_PER_SECOND

    def _frame_count(self) -> int:
        """The frame number, not cut to 16 bits."""
        return self._first_frame + self._elapsed_bits() // self._frame_bits()

    @OhciRegisters.HcInterruptStatus.read
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
        """A frame begins at which something is due."""
        count = self._frame_count()
        self._done_delay = self._delay_after(count - self._seen)
        if count >= self._due and self._active:
            self._work(count)
        self._settle()
        try:
            self._tell()
        except MemoryFault as fault:
            self._give_up(fault)
        self.changed()

    def _delay_after(self, frames: int) -> int:
        """What is left of the done queue's delay in so many frames."""
        delay = self._done_delay
        return delay if delay == NO_DELAY_SET else max(0, delay - frames)

    def _tell(self) -> None:
        """Put frame number and done queue into the communications area (OpenHCI 4.4, 6.5)."""
        if not self.HcHCCA or self.HcInterruptStatus & UNRECOVERABLE:
            return
        self._memory.write(self.HcHCCA + HCCA_FRAME_NUMBER, (self._seen & 0xFFFF).to_bytes(4, "little"))
        if self._done_delay or self.HcInterruptStatus & DONE_WRITTEN:
            return
        others = self.HcInterruptStatus & self.HcInterruptEnable & ALL_CAUSES
        self._memory.write(
            self.HcHCCA + HCCA_DONE_HEAD, (self.HcDoneHead | (others != 0)).to_bytes(4, "little")
        )
        self.HcDoneHead = 0
        self._done_delay = NO_DELAY_SET
        self.HcInterruptStatus |= DONE_WRITTEN

    def retired(self, delay: int) -> None:
        """See ohci_lists.Owner."""
        self._done_delay = min(self._done_delay, delay)

    def _give_up(self, fault: MemoryFault) -> None:
        """OpenHCI 7.1.4, UE: nothing is done until the driver resets the controller."""
        self.guest_error(f"the lists lead nowhere: {fault}")
        self.HcInterruptStatus |= UNRECOVERABLE

    def _arm(self) -> None:
        """Wake up for the next frame that the guest wants to hear of, or that has work."""
        if self._epoch is None:
            self._frame_timer.cancel()
            return
        enable, status, seen = self.HcInterruptEnable, self.HcInterruptStatus, self._seen
        wanted = enable & ~status if enable & MASTER_ENABLE else 0
        target = 0
        if wanted & START_OF_FRAME:
            target = seen + 1
        elif wanted & FRAME_OVERFLOW:
            target = ((seen >> 15) + 1) << 15
        if not status & UNRECOVERABLE:
            delay = self._done_delay
            if delay != NO_DELAY_SET and not status & DONE_WRITTEN and self.HcHCCA:
                done = seen + (delay or 1)
                target = min(target, done) if target else done
            if self._active:
                due = max(self._due, seen + 1)
                target = min(target, due) if target else due
            elif self.HcControl & LIST_ENABLES and any(self._status(port) & ENABLED for port in range(PORTS)):
                tick = seen // _NUMBER_STEP * _NUMBER_STEP + _NUMBER_STEP
                target = min(target, tick) if target else tick
        if not target:
            self._frame_timer.cancel()
            return
        bits = (target - self._first_frame) * self._frame_bits()
        self._frame_timer.start_at(self._epoch - (-bits * NS_PER_SECOND // BIT_RATE))

    @OhciRegisters.HcFmNumber.read
    def _read_frame_number(self) -> int:
        return self._frame_count() & 0xFFFF

    @OhciRegisters.HcFmRemaining.read
    def _read_remaining(self) -> int:
        toggle = self.HcFmInterval & 0x8000_0000
        if self._epoch is None:
            return toggle
        bits = self._frame_bits()
        return toggle | bits - 1 - self._elapsed_bits() % bits

    @OhciRegisters.HcFmInterval.write
    def _write_interval(self, value: int) -> None:
        self._restart_frames(running=self._epoch is not None)
        self.HcFmInterval = value & 0xFFFF_3FFF
        self.changed()

    # -- the lists --------------------------------------------------------------------------

    @property
    def _active(self) -> bool:
        """Whether there is, as far as the registers tell, something to work on."""
        control, command = self.HcControl, self.HcCommandStatus
        if control & FUNCTIONAL_STATE != OPERATIONAL or self.HcInterruptStatus & UNRECOVERABLE:
            return False
        if control & PERIODIC_ENABLE and self.HcHCCA:
            return True
        if control & CONTROL_ENABLE and (command & CONTROL_FILLED or self.HcControlCurrentED):
            return True
        return bool(control & BULK_ENABLE and (command & BULK_FILLED or self.HcBulkCurrentED))

    def wake(self) -> None:
        """A device has something to say: look at the next frame."""
        self._look_soon()
        self.changed()

    def _look_soon(self) -> None:
        """The guest or a device did something: the lists go on from here, in this frame."""
        self._quiet = 0
        self._memo = None
        self._due = self._frame_count() + 1

    def _go_on(self, active: bool) -> None:
        """The guest wrote what may have made lists active; ``active``: some were before."""
        if self._active:
            if active:
                self._look_soon()
            else:
                self._begin_work()
        self.changed()

    def _begin_work(self) -> None:
        """A list becomes active, after a time without any: what is past of this frame is lost to it."""
        bits = self._frame_bits()
        self._worked = self._frame_count()
        self._spent = self._elapsed_bits() % bits // 8
        self._due = self._worked + 1
        self._quiet = 0
        self._memo = None

    def _work(self, count: int) -> None:
        """Move what the frames before ``count`` had room for."""
        frames = count - self._worked
        if frames <= 0:
            return
        budget = min(frames, _MOST_FRAMES) * self._frame_bytes() - self._spent
        first, self._worked, self._spent = self._worked, count, 0
        step, moved, left = 0, False, 0
        try:
            if self._memo is not None and not self._busy:
                if self._unchanged():
                    self._due = count + _QUIET_STEP
                    return
                self._quiet, self._memo = 0, None
            if self.HcControl & PERIODIC_ENABLE and self.HcHCCA:
                cost, moved, step = self._periodic(max(first, count - FRAME_LISTS), count)
                budget -= cost
            more, left = self._nonperiodic(budget)
            moved |= more
        except MemoryFault as fault:
            self._give_up(fault)
            return
        self._quiet = 0 if moved else self._quiet + frames
        if self._quiet >= _PATIENCE:
            self._due = count + _QUIET_STEP
        elif self._busy:
            # what is left of a transfer of several frames is moved when it is due
            per_frame = max(1, self._frame_bytes() * 4 // 5)
            rest = -(-left // per_frame) if moved and step != 1 else 1
            self._due = count + max(1, min(rest, _MOST_FRAMES))
        else:
            self._due = count + (step or _QUIET_STEP)

    @property
    def _busy(self) -> bool:
        control, command = self.HcControl, self.HcCommandStatus
        return bool(
            (control & CONTROL_ENABLE and (command & CONTROL_FILLED or self.HcControlCurrentED))
            or (control & BULK_ENABLE and (command & BULK_FILLED or self.HcBulkCurrentED))
        )

    def _periodic(self, first: int, count: int) -> tuple[int, bool, int]:
        """The interrupt and isochronous lists of the frames from ``first`` up to ``count``, not included.

        Bus time in bytes, whether anything moved, and in how many frames there is a list again.
        """
        table = self._memory.read(self.HcHCCA, 4 * FRAME_LISTS)
        heads = [head & ~0xF for head in struct.unpack(f"<{FRAME_LISTS}I", table)]
        total, moved, room = 0, False, self._frame_bytes()
        for frame in range(first, count):
            place, visits, cost = heads[frame % FRAME_LISTS], 0, 0
            while place and visits < _MOST_VISITS:
                if cost > room:
                    self._overrun()
                    break
                visits += 1
                self.HcPeriodCurrentED = place
                words = self._lists.endpoint(place)
                if words[0] & ISOCHRONOUS and not self.HcControl & ISOCHRONOUS_ENABLE:
                    break  # what follows is isochronous too: OpenHCI 3.4.2
                done = self._lists.visit(place, words, frame & 0xFFFF, 1)
                cost += done.cost
                moved |= done.moved
                place = words[3] & ~0xF
            total += cost
        self.HcPeriodCurrentED = 0
        if not moved and self._quiet >= _PATIENCE + FRAME_LISTS:
            # by now each of the lists was looked at in vain
            self._memo = self._remember(table, heads)
        steps = (step for step in range(1, _QUIET_STEP) if heads[(count + step - 1) % FRAME_LISTS])
        return total, moved, next(steps, _QUIET_STEP)

    def _remember(self, table: bytes, heads: list[int]) -> tuple[int, bytes, list[tuple[int, bytes]]] | None:
        """All that is in the periodic lists; None where some of it depends on the frame."""
        found: dict[int, bytes] = {}
        for place in heads:
            while place and place not in found:
                words = self._lists.endpoint(place)
                if words[0] & ISOCHRONOUS or len(found) == _MOST_VISITS:
                    return None
                found[place] = struct.pack("<4I", *words)
                place = words[3] & ~0xF
        return self.HcHCCA, table, list(found.items())

    def _unchanged(self) -> bool:
        """Devices had nothing to say to these same lists, and would have told of anything new since."""
        if self._memo is None or self._memo[0] != self.HcHCCA:
            return False
        read = self._memory.read
        _, table, endpoints = self._memo
        return read(self.HcHCCA, len(table)) == table and all(
            read(place, len(words)) == words for place, words in endpoints
        )

    def _overrun(self) -> None:
        """OpenHCI 7.1.3, SOC; 7.1.4, SO: the periodic lists do not fit into their frame."""
        self.HcInterruptStatus |= SCHEDULING_OVERRUN
        command = self.HcCommandStatus
        self.HcCommandStatus = command & ~OVERRUN_COUNT | (command + (1 << 16)) & OVERRUN_COUNT

    def _nonperiodic(self, budget: int) -> tuple[bool, int]:
        """The control and bulk lists: whether anything moved, and what a bulk transfer has left."""
        control = _ListState("HcControlHeadED", "HcControlCurrentED", CONTROL_ENABLE, CONTROL_FILLED)
        bulk = _ListState("HcBulkHeadED", "HcBulkCurrentED", BULK_ENABLE, BULK_FILLED)
        moved, left = False, 0
        ratio = (self.HcControl & CONTROL_RATIO) + 1
        while budget > 0:
            served = 0
            while served < ratio and budget > 0:
                cost, progress, _ = self._next(control, 1)
                if cost < 0:
                    break
                served += 1
                budget -= cost
                moved |= progress
            if budget <= 0:
                break
            # a bulk transfer has the frame for itself where no control transfer wants it
            cost, progress, left = self._next(bulk, 1 if served else budget)
            if cost < 0 and not served:
                break
            budget -= max(cost, 0)
            moved |= progress
        return moved, left

    def _next(self, state: _ListState, budget: int) -> tuple[int, bool, int]:
        """Serve the next endpoint of a list that has a transfer.

        Bus time (-1: the list has nothing more for this frame), whether it moved, what it has left.
        """
        stored = self.__dict__
        if not self.HcControl & state.enable:
            return -1, False, 0
        place = stored[state.current]
        while state.visits < _MOST_VISITS:
            if not place:
                # OpenHCI 6.4.2.1: at the head, the filled bit is cleared; a transfer sets it again
                if not self.HcCommandStatus & state.filled or (state.began and not state.progress):
                    break
                self.HcCommandStatus &= ~state.filled
                state.began, state.progress = True, False
                place = stored[state.head]
                if not place:
                    break
            state.visits += 1
            words = self._lists.endpoint(place)
            done = self._lists.visit(place, words, 0, budget)
            place = words[3] & ~0xF
            if done.found:
                self.HcCommandStatus |= state.filled
                state.progress |= done.moved
                stored[state.current] = place
                if done.moved:
                    state.visits = 0
                return max(done.cost, _LEAST_COST), done.moved, done.left
        stored[state.current] = place
        return -1, False, 0

    # -- states, commands -------------------------------------------------------------------

    @OhciRegisters.HcControl.write
    def _write_control(self, value: int) -> None:
        active = self._active
        old, self.HcControl = self.HcControl, value & 0x7FF
        before, after = old & FUNCTIONAL_STATE, value & FUNCTIONAL_STATE
        if before != after:
            self._restart_frames(running=after == OPERATIONAL)
            if not after:
                self.reset_root_hub()
        self._go_on(active)

    @writes(
        OhciRegisters.HcHCCA,
        OhciRegisters.HcControlHeadED,
        OhciRegisters.HcControlCurrentED,
        OhciRegisters.HcBulkHeadED,
        OhciRegisters.HcBulkCurrentED,
    )
    def _write_pointer(self, register: Register, value: int) -> None:
        active = self._active
        self.__dict__[register.name] = value & register.writable
        self._go_on(active)

    @OhciRegisters.HcCommandStatus.read
    def _read_command(self) -> int:
        return self.HcCommandStatus | (self.clock.now < self._reset_until)

    @OhciRegisters.HcCommandStatus.write
    def _write_command(self, value: int) -> None:
        active = self._active
        # Bits written 0 stay as they are: OpenHCI 7.1.3.
        self.HcCommandStatus |= value & (CONTROL_FILLED | BULK_FILLED)
        if value & CHANGE_OWNER:
            self.HcInterruptStatus |= OWNERSHIP_CHANGE
        if value & RESET:
            self._software_reset()
        self._go_on(active)

    def _software_reset(self) -> None:
        """OpenHCI 7.1.3, HCR: to suspend; the root hub and IR, RWC stay."""
        hub = {name: self.__dict__[name] for name in ROOT_HUB}
        control = self.HcControl & (INTERRUPT_ROUTING | REMOTE_WAKEUP)
        self.reset_registers()
        self.__dict__.update(hub)
        self.HcControl = control | SUSPEND
        self._start_counting_anew()
        self._reset_until = self.clock.now + RESET_NS

    # -- interrupts -------------------------------------------------------------------------

    @OhciRegisters.HcInterruptStatus.write
    def _clear_causes(self, value: int) -> None:
        self._settle_and_tell()
        self.HcInterruptStatus &= ~value
        self.changed()

    @OhciRegisters.HcInterruptEnable.write
    def _enable_causes(self, value: int) -> None:
        self.HcInterruptEnable |= value & (ALL_CAUSES | MASTER_ENABLE)
        self._settle_and_tell()
        self.changed()

    def _settle_and_tell(self) -> None:
        self._done_delay = self._delay_after(self._frame_count() - self._seen)
        self._settle()

    @OhciRegisters.HcInterruptDisable.read
    def _read_enabled(self) -> int:
        return self.HcInterruptEnable

    @OhciRegisters.HcInterruptDisable.write
    def _disable_causes(self, value: int) -> None:
        self.HcInterruptEnable &= ~value
        self.changed()

    def changed(self) -> None:
        """See RootHub."""
        enable = self.HcInterruptEnable
        self.interrupt.set(bool(enable & MASTER_ENABLE and enable & self.HcInterruptStatus & ALL_CAUSES))
        self._arm()


class _ListState:
    """How far one of the two lists is within a frame."""

    __slots__ = ("began", "current", "enable", "filled", "head", "progress", "visits")

    def __init__(self, head: str, current: str, enable: int, filled: int) -> None:
        self.head = head
        self.current = current
        self.enable = enable
        self.filled = filled
        self.visits = 0
        #: it was begun at its head, and something has moved since
        self.began = self.progress = False
