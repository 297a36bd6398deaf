"""The cable in the board's USB device socket, and a host of ours at its other end.

The host does what a PC does: it sees the pull-up on D+, resets the bus, reads the descriptors, gives an
address and sets a configuration. Then scripts talk to the device through it: :meth:`UsbHostModel.control`,
:meth:`UsbHostModel.bulk_out`, :meth:`UsbHostModel.bulk_in` and so on give a :class:`Job` at once, which
goes on while the machine runs.

Time is that of a full speed bus: a byte takes 667 ns. A device that answers NAK is asked again when it
could have changed its mind: in the next frame for control requests (which leaves the device
the time in which it decides to refuse one), soon for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.facts import Fact
from dbgemu.target.lines import Line
from dbgemu.target.usb.descriptors import STRING
from dbgemu.target.usb.host_jobs import WAITING, Job, Outcome, Pipe, TransferError, endpoint_name
from dbgemu.target.usb.host_transactions import FRAME_NS, RETRY_NS, attempt, next_frame
from dbgemu.target.usb.host_view import EndpointView, View, descriptor_request, endpoints
from dbgemu.target.usb.wire import DeviceSide

__all__ = ["Job", "Outcome", "TransferError", "UsbHostModel"]

MS = 1_000_000
#: USB 2.0 chapters 7.1.7.3 and 7.1.7.5: connection debounced, reset, recovery; 9.2.6.3 after SET_ADDRESS
DEBOUNCE, RESET, RECOVERY, ADDRESS_RECOVERY, RESUME = 100 * MS, 50 * MS, 10 * MS, 2 * MS, 20 * MS
CONTROL_TIME_OUT = 5000 * MS
ATTEMPTS = 3
ADDRESS = 5

SET_ADDRESS, SET_CONFIGURATION, SET_INTERFACE, CLEAR_FEATURE = 5, 9, 11, 1

# What the port does; each with what it is for people.
DETACHED, CONNECTING, RESETTING, RECOVERING = "nothing connected", "connecting", "bus reset", "recovering"
ENUMERATING, READY, FAILED, SUSPENDED, RESUMING = (
    "enumerating",
    "configured",
    "device not recognized",
    "suspended",
    "resuming",
)
_IN_USE = (RECOVERING, ENUMERATING, READY, FAILED)


class UsbHostModel(Device):
    """The host and its cable. Call it while the machine is stopped, or from the machine's thread.

    ``on_configured`` is called when the device has been set up.
    """

    title = "USB cable and host of the device socket"
    STATE = (
        "plugged",
        "state",
        "address",
        "configuration",
        "preferred",
        "failures",
        "_free_at",
        "_port_timer",
        "_bus_timer",
    )

    def __init__(self, name: str, *, clock: VirtualClock, device: DeviceSide, pull_up: Line) -> None:
        super().__init__(name)
        self._clock = clock
        self._device = device
        self._pull_up = pull_up
        pull_up.connect(self._pull_up_changed)
        device.on_change = self._device_changed
        device.on_remote_wakeup = self.resume
        self.on_configured: list[Callable[[], None]] = []
        self._port_timer = Timer(clock, self._port_step)
        self._bus_timer = Timer(clock, self._bus_step)
        self.plugged = False
        #: the configuration to set; 0: the host chooses
        self.preferred = 0
        self._forget()

    def _forget(self) -> None:
        self.state = DETACHED
        self.address = 0
        #: the value of the configuration that is set, or 0
        self.configuration = 0
        self.failures = 0
        self._free_at = 0
        self.view = View()
        self._pipes: dict[int, Pipe] = {0: Pipe(0, "control", 8)}

    # -- the cable ------------------------------------------------------------------------------------

    def plug(self) -> None:
        """Put the cable in; nothing when it is in."""
        self.plugged = True
        self._pull_up_changed(self._pull_up.level)

    def unplug(self) -> None:
        """Pull the cable out; nothing when it is out."""
        self.plugged = False
        self._detach()

    def reset(self) -> None:
        """The board's system reset: the device disappears, and comes again if the cable is in."""
        super().reset()
        self._port_timer.cancel()
        self._bus_timer.cancel()
        self._end_all(Outcome.GONE)
        self._forget()
        self._pull_up_changed(self._pull_up.level)

    def _pull_up_changed(self, level: int) -> None:
        if not level:
            self._detach()
        elif self.plugged and self.state == DETACHED:
            self.state = CONNECTING
            self._port_timer.start_in(DEBOUNCE)

    def _detach(self) -> None:
        was = self.state
        self._port_timer.cancel()
        self._bus_timer.cancel()
        self._end_all(Outcome.GONE)
        self._forget()
        if was == RESETTING:
            self._device.signal_reset(0)
        if was not in (DETACHED, CONNECTING, SUSPENDED):
            self._device.stop_frames()

    def _end_all(self, outcome: Outcome) -> None:
        for pipe in self._pipes.values():
            jobs, pipe.jobs = pipe.jobs, []
            for job in jobs:
                self._tell(job, outcome)

    # -- the port ---------------------------------------------------------------------------------------

    def reset_bus(self) -> None:
        """Reset the bus and set the device up again. TransferError when none is connected."""
        if self.state in (DETACHED, CONNECTING):
            raise TransferError("no device is connected")
        self._begin_reset()

    def _begin_reset(self) -> None:
        failures = self.failures
        self._bus_timer.cancel()
        self._end_all(Outcome.GONE)
        self._forget()
        self.failures = failures
        self.state = RESETTING
        self._device.signal_reset(1)
        self._port_timer.start_in(RESET)

    def suspend(self) -> None:
        """Send no more frames: 3 ms later the device takes that for a suspend."""
        if self.state != READY:
            raise TransferError(f"the bus cannot be suspended: {self.state}")
        self.state = SUSPENDED
        self._bus_timer.cancel()
        self._device.stop_frames()

    def resume(self) -> None:
        """Let the bus go on; nothing when it is not suspended. The device may ask for it, too."""
        if self.state == SUSPENDED:
            self.state = RESUMING
            self._device.signal_resume()
            self._port_timer.start_in(RESUME)

    def _port_step(self) -> None:
        """The time that the port's state takes is over."""
        if self.state == CONNECTING:
            self._begin_reset()
        elif self.state == RESETTING:
            self._device.signal_reset(0)
            self._device.start_frames()
            self.state = RECOVERING
            self._port_timer.start_in(RECOVERY)
        elif self.state == RECOVERING:
            self.state = ENUMERATING
            self._next_step()
        elif self.state == RESUMING:
            self._device.start_frames()
            self.state = READY
            self._plan()

    # -- setting the device up --------------------------------------------------------------------------

    def _next_step(self) -> None:
        what, kind, number, length = self.view.todo[0]
        if what == "read":
            setup = descriptor_request(kind, number, length)
        elif what == "address":
            setup = bytes((0, SET_ADDRESS, ADDRESS, 0, 0, 0, 0, 0))
        else:
            value = self.preferred or self.view.choose()
            setup = bytes((0, SET_CONFIGURATION, value, 0, 0, 0, 0, 0))
        self._submit_control(setup, b"", purpose=what)

    def _step_done(self, job: Job) -> None:
        if self.state != ENUMERATING:
            return
        what, kind, number, length = self.view.todo.pop(0)
        try:
            data = job.result()
            if what == "read":
                self.view.learn(kind, number, length, data)
                self._pipes[0].packet = self.view.packet()
        except (TransferError, ValueError):
            if job.outcome is not Outcome.STALLED or what != "read" or kind != STRING:
                self._enumeration_failed()
                return
        if what == "address":
            self.address = ADDRESS
            self._free_at = self._clock.now + ADDRESS_RECOVERY
        if self.view.todo:
            self._next_step()
            return
        self.state = READY
        self.failures = 0
        for listener in self.on_configured:
            listener()

    def _enumeration_failed(self) -> None:
        self.failures += 1
        if self.failures < ATTEMPTS:
            self._begin_reset()
        else:
            self.state = FAILED

    def _follow(self, setup: bytes) -> None:
        """A request changed something on the device that the host keeps track of."""
        kind, request, value, target = setup[0], setup[1], setup[2] | setup[3] << 8, setup[4]
        if (kind, request) == (0, SET_CONFIGURATION):
            self.configuration = value
            for pipe in self._pipes.values():
                pipe.toggle = 0
        elif (kind, request) == (1, SET_INTERFACE):
            for view in endpoints(self.view.configuration(self.configuration)):
                if view.interface == target and view.address in self._pipes:
                    self._pipes[view.address].toggle = 0
        elif (kind, request, value) == (2, CLEAR_FEATURE, 0) and target in self._pipes:
            self._pipes[target].toggle = 0

    # -- what scripts ask for -----------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the device is set up, with a configuration, and the bus in use."""
        return self.state == READY

    @property
    def endpoints(self) -> list[EndpointView]:
        """The endpoints of the present configuration, of all settings of its interfaces."""
        return list(endpoints(self.view.configuration(self.configuration)))

    def control(
        self,
        kind: int,
        request: int,
        value: int = 0,
        index: int = 0,
        data: bytes | int = b"",
        *,
        on_done: Callable[[Job], None] | None = None,
    ) -> Job:
        """A control request: ``kind`` is bmRequestType; ``data`` what is sent, or how many bytes to ask for.

        Raises TransferError when no device is connected or the numbers do not fit.
        """
        length = data if isinstance(data, int) else len(data)
        if bool(kind & 0x80) != isinstance(data, int) and length:
            raise TransferError(
                "a request to the host takes a number of bytes, one to the device takes bytes"
            )
        try:
            setup = bytes((kind, request)) + b"".join(n.to_bytes(2, "little") for n in (value, index, length))
        except (ValueError, OverflowError):
            raise TransferError("a part of the request is too large for its byte or two bytes") from None
        return self._submit_control(setup, b"" if isinstance(data, int) else bytes(data), on_done=on_done)

    def request(
        self, setup: bytes, data: bytes = b"", *, on_done: Callable[[Job], None] | None = None
    ) -> Job:
        """A control request by the eight bytes of its SETUP packet, sent as they are."""
        if len(setup) != 8:
            raise TransferError(f"a SETUP packet has 8 bytes, not {len(setup)}")
        return self._submit_control(bytes(setup), bytes(data), on_done=on_done)

    def _submit_control(
        self,
        setup: bytes,
        data: bytes,
        *,
        purpose: str = "",
        on_done: Callable[[Job], None] | None = None,
    ) -> Job:
        length = setup[6] | setup[7] << 8
        deadline = self._clock.now + CONTROL_TIME_OUT
        job = Job("control", 0, setup, data, length, deadline=deadline, purpose=purpose, on_done=on_done)
        return self._submit(self._pipes[0], job)

    def bulk_out(self, endpoint: int, data: bytes, *, zero: bool = False) -> Job:
        """Send ``data``; with ``zero`` an empty packet follows a last one that is full."""
        return self._transfer(endpoint, "bulk", outgoing=bytes(data), zero=zero)

    def bulk_in(self, endpoint: int, length: int) -> Job:
        """Get up to ``length`` bytes, or until a packet is not full."""
        return self._transfer(endpoint | 0x80, "bulk", length=length)

    def interrupt_out(self, endpoint: int, data: bytes) -> Job:
        """Send ``data``."""
        return self._transfer(endpoint, "interrupt", outgoing=bytes(data))

    def interrupt_in(self, endpoint: int, length: int) -> Job:
        """Get up to ``length`` bytes when the device has some; it is asked at its interval."""
        return self._transfer(endpoint | 0x80, "interrupt", length=length)

    def isochronous_out(self, endpoint: int, data: bytes) -> Job:
        """Send ``data``, a packet a frame."""
        return self._transfer(endpoint, "isochronous", outgoing=bytes(data))

    def isochronous_in(self, endpoint: int, packets: int) -> Job:
        """Get the packets of so many frames; :attr:`Job.packets` are their lengths."""
        return self._transfer(endpoint | 0x80, "isochronous", length=packets)

    def cancel(self, job: Job) -> None:
        """End a transfer that is not wanted any more; nothing when it has ended."""
        for pipe in self._pipes.values():
            if job in pipe.jobs:
                pipe.jobs.remove(job)
                self._tell(job, Outcome.CANCELLED)

    def _transfer(
        self, endpoint: int, kind: str, *, outgoing: bytes = b"", length: int = 0, zero: bool = False
    ) -> Job:
        pipe = self._pipe(endpoint, kind)
        return self._submit(pipe, Job(kind, endpoint, outgoing=outgoing, length=length, zero=zero))

    def _pipe(self, endpoint: int, kind: str) -> Pipe:
        view = next((item for item in self.endpoints if item.address == endpoint), None)
        if view is None or view.kind != kind:
            there = ", ".join(f"{endpoint_name(item.address)} ({item.kind})" for item in self.endpoints)
            raise TransferError(
                f"the device has no {kind} {endpoint_name(endpoint)}: it has {there or 'none that is set up'}"
            )
        if endpoint not in self._pipes:
            self._pipes[endpoint] = Pipe(endpoint, kind, view.packet, max(1, view.interval))
        return self._pipes[endpoint]

    def _submit(self, pipe: Pipe, job: Job) -> Job:
        if self.state in (DETACHED, CONNECTING, RESETTING):
            raise TransferError(f"there is nobody to talk to: {self.state}")
        pipe.jobs.append(job)
        if len(pipe.jobs) == 1:
            pipe.due = self._clock.now if pipe.kind != "isochronous" else next_frame(self._clock.now)
        self._plan()
        return job

    # -- the bus -----------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Come again when the next transaction is due."""
        if self.state not in _IN_USE:
            return
        busy = [pipe for pipe in self._pipes.values() if pipe.jobs]
        moments = [max(pipe.due, self._free_at) for pipe in busy if pipe.due != WAITING]
        moments += [pipe.jobs[0].deadline for pipe in busy if pipe.jobs[0].deadline >= 0]
        if moments:
            self._bus_timer.start_at(min(moments))
        else:
            self._bus_timer.cancel()

    def _device_changed(self) -> None:
        """The guest did something that may make a difference to who got NAK."""
        found = False
        for pipe in self._pipes.values():
            if pipe.due == WAITING and pipe.jobs:
                found = True
                now = self._clock.now
                pipe.due = now + (FRAME_NS if pipe.kind == "control" else RETRY_NS)
                if pipe.kind == "interrupt":
                    pipe.due = max(pipe.due, pipe.last + pipe.interval * FRAME_NS)
        if found:
            self._plan()

    def _bus_step(self) -> None:
        now = self._clock.now
        for pipe in list(self._pipes.values()):
            if pipe.jobs and 0 <= pipe.jobs[0].deadline <= now:
                self._finish(pipe, Outcome.TIMED_OUT)
        ready = [pipe for pipe in self._pipes.values() if pipe.jobs and WAITING != pipe.due <= now]
        if ready and self._free_at <= now and self.state in _IN_USE:
            pipe = min(ready, key=lambda item: (item.due, item.last))
            took = attempt(self._device, self.address, pipe, now)
            self._free_at = now + took
            if pipe.jobs[0].outcome is not Outcome.PENDING:
                self._finish(pipe, pipe.jobs[0].outcome)
        self._plan()

    def _finish(self, pipe: Pipe, outcome: Outcome) -> None:
        job = pipe.jobs.pop(0)
        pipe.due = max(self._clock.now, pipe.due)
        if job.kind == "control" and outcome is Outcome.DONE:
            self._follow(job.setup)
        if job.kind == "control" and outcome is not Outcome.DONE:
            # a device that refuses has to see that before the next request comes
            pipe.due = self._clock.now + FRAME_NS
        self._tell(job, outcome)
        if job.purpose:
            self._step_done(job)

    def _tell(self, job: Job, outcome: Outcome) -> None:
        job.outcome = outcome
        if job.on_done is not None:
            job.on_done(job)

    # -- snapshots and dumps -------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """The complete state as plain data."""
        state = super().save()
        state["view"] = self.view.save()
        state["pipes"] = [pipe.save() for pipe in self._pipes.values()]
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave. Jobs are new ones: those that scripts hold end as cancelled."""
        kept = {name: value for name, value in state.items() if name not in ("view", "pipes")}
        for pipe in self._pipes.values():
            for job in pipe.jobs:
                job.outcome = Outcome.CANCELLED
        super().load(kept)
        self.view = View.load(state["view"])
        pipes = [Pipe.load(pipe) for pipe in state["pipes"]]
        self._pipes = {pipe.endpoint: pipe for pipe in pipes}

    def facts(self) -> Iterator[Fact]:
        """The cable, the device at its end, and what is being transferred."""
        yield Fact("cable", "in" if self.plugged else "out")
        yield Fact("pull-up on D+", bool(self._pull_up.level))
        yield Fact("state", self.state)
        if self.state == DETACHED:
            return
        yield Fact("address", self.address)
        device = self.view.device
        if len(device) >= 12:
            yield Fact("ID", f"{device[8] | device[9] << 8:04x}:{device[10] | device[11] << 8:04x}")
        for name, text in self.view.strings.items():
            yield Fact(name, text)
        yield Fact("configuration", self.configuration or "none")
        for view in self.endpoints:
            where = f"interface {view.interface}.{view.alternate}"
            yield Fact(endpoint_name(view.address), f"{view.kind}, {view.packet} bytes, {where}")
        for pipe in self._pipes.values():
            for job in pipe.jobs:
                moved = len(job.incoming) or job.sent
                yield Fact(f"transfer, {endpoint_name(pipe.endpoint)}", f"{moved} bytes so far")
