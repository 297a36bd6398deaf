"""The root hub of the USB host controller: two ports, and what is plugged in (OpenHCI 1.0a 7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.registers import Register, reads, writes
from dbgemu.target.s3c2440.ohci_registers import (
    CLEAR_ENABLE,
    CLEAR_POWER,
    CLEAR_SUSPEND,
    CONNECT_CHANGED,
    CONNECTED,
    ENABLE_CHANGED,
    ENABLED,
    FUNCTIONAL_STATE,
    GLOBAL_POWER_OFF,
    GLOBAL_POWER_ON,
    LOW_SPEED,
    NO_POWER_SWITCHING,
    PORT_CHANGES,
    POWERED,
    REMOTE_WAKEUP_OFF,
    REMOTE_WAKEUP_ON,
    RESET_DONE,
    RESETTING,
    RESUME_DETECTED,
    RESUMED,
    ROOT_HUB,
    ROOT_HUB_CHANGE,
    SUSPEND,
    SUSPENDED,
    USB_RESUME,
    OhciRegisters,
)
from dbgemu.target.usb.device import UsbDevice

PORTS = 2
#: how long a port is in reset (USB 2.0 7.1.7.5, TDRST) and in resume (7.1.7.7, TDRSMDN)
PORT_RESET_NS, PORT_RESUME_NS = 10_000_000, 20_000_000


class RootHub(OhciRegisters):
    """``plugged`` has what is in each port, or None."""

    STATE: ClassVar[tuple[str, ...]] = ("_port_timer1", "_port_timer2")

    def __init__(self, name: str, *, clock: VirtualClock, log: GuestLog | None = None) -> None:
        self.plugged: list[UsbDevice | None] = [None] * PORTS
        super().__init__(name, log)
        self.clock = clock
        self._port_timer1 = Timer(clock, lambda: self._port_due(0))
        self._port_timer2 = Timer(clock, lambda: self._port_due(1))

    # -- what the controller above does -----------------------------------------------------

    def changed(self) -> None:
        """The interrupt line and what is waited for may have changed."""
        raise NotImplementedError

    def wake(self) -> None:
        """A device has something to say, or can be reached no more: the lists are to be looked at."""
        raise NotImplementedError

    # -- plugging in and out ----------------------------------------------------------------

    def plug(self, device: UsbDevice, port: int | None = None) -> int:
        """Put ``device`` into a port (1 or 2; by default the first that is free); which one it was.

        ValueError, one sentence, when there is no room.
        """
        if port is None:
            port = self.plugged.index(None) + 1 if None in self.plugged else 0
            if not port:
                raise ValueError("both USB ports are taken: pull something out first")
        if not 1 <= port <= PORTS:
            raise ValueError(f"there is no USB port {port}: the board has {PORTS}")
        if self.plugged[port - 1] is not None:
            raise ValueError(f"USB port {port} is taken")
        self.plugged[port - 1] = device
        device.notify = lambda: self._notified(device)
        device.reset()
        self._connect(port - 1)
        self.changed()
        return port

    def unplug(self, port: int) -> UsbDevice | None:
        """Pull out what is in a port (1 or 2), and give it back."""
        device = self.plugged[port - 1]
        if device is None:
            return None
        self.plugged[port - 1] = None
        device.notify = lambda: None
        device.reset()
        self._disconnect(port - 1)
        self.wake()
        return device

    def find(self, address: int) -> UsbDevice | None:
        """The device at a USB address, behind a port that is enabled and not suspended."""
        for port, device in enumerate(self.plugged):
            if device is not None and device.address == address:
                status = self._status(port)
                if status & (ENABLED | SUSPENDED) == ENABLED:
                    return device
        return None

    def _connect(self, port: int) -> None:
        """What is in the port shows, if it has power."""
        device, status = self.plugged[port], self._status(port)
        if device is None or not self._powered(status):
            return
        self._set_status(port, status | CONNECTED | CONNECT_CHANGED | (LOW_SPEED if device.low_speed else 0))
        self._port_changed(wakes=True)

    def _disconnect(self, port: int) -> None:
        status = self._status(port)
        self._timer(port).cancel()
        if status & CONNECTED:
            # OpenHCI 7.4.4, PESC: the hardware disables the port
            disabled = ENABLE_CHANGED if status & ENABLED else 0
            status &= ~(CONNECTED | LOW_SPEED | ENABLED | SUSPENDED | RESETTING)
            self._set_status(port, status | CONNECT_CHANGED | disabled)
            self._port_changed(wakes=True)

    def _port_changed(self, *, wakes: bool = False) -> None:
        self.HcInterruptStatus |= ROOT_HUB_CHANGE
        if wakes and self.HcRhStatus & REMOTE_WAKEUP_ON:
            self._resume_bus()

    def _resume_bus(self) -> None:
        """OpenHCI 7.1.2: what is suspended resumes by itself when something happens at a port."""
        if self.HcControl & FUNCTIONAL_STATE == SUSPEND:
            self.HcControl = self.HcControl & ~FUNCTIONAL_STATE | USB_RESUME
            self.HcInterruptStatus |= RESUME_DETECTED

    def _notified(self, device: UsbDevice) -> None:
        """A device has something to say; where its port or the bus is suspended, it may wake that."""
        if device.may_wake:
            port = self.plugged.index(device)
            self._resume_bus()
            if self._status(port) & SUSPENDED:
                self._begin_resume(port)
        self.wake()

    # -- a port's state ---------------------------------------------------------------------

    def _status(self, port: int) -> int:
        value: int = self.__dict__[ROOT_HUB[3 + port]]
        return value

    def _set_status(self, port: int, value: int) -> None:
        self.__dict__[ROOT_HUB[3 + port]] = value

    def _timer(self, port: int) -> Timer:
        return self._port_timer2 if port else self._port_timer1

    def _powered(self, status: int) -> bool:
        return bool(status & POWERED or self.HcRhDescriptorA & NO_POWER_SWITCHING)

    def _begin_resume(self, port: int) -> None:
        timer = self._timer(port)
        if timer.deadline is None:
            timer.start_in(PORT_RESUME_NS)

    def _port_due(self, port: int) -> None:
        """The end of a port's reset, or of its resume."""
        status = self._status(port)
        if status & RESETTING:
            status = status & ~RESETTING | ENABLED | RESET_DONE
        elif status & SUSPENDED:
            status = status & ~SUSPENDED | RESUMED
        self._set_status(port, status)
        self._port_changed()
        self.changed()

    def _power(self, port: int, on: bool) -> None:
        status, device = self._status(port), self.plugged[port]
        if on and not status & POWERED:
            self._set_status(port, status | POWERED)
            if not status & CONNECTED:
                self._connect(port)
        elif not on and not self.HcRhDescriptorA & NO_POWER_SWITCHING:
            self._timer(port).cancel()
            self._set_status(port, 0)
            if device is not None:
                device.reset()

    def reset_root_hub(self) -> None:
        """As after a hardware reset; what is plugged in is found anew."""
        for name in ROOT_HUB:
            self.__dict__[name] = self.registers[name].reset
        self._port_timer1.cancel()
        self._port_timer2.cancel()
        for port, device in enumerate(self.plugged):
            if device is not None:
                device.reset()
                self._connect(port)

    # -- what the guest does ----------------------------------------------------------------

    @OhciRegisters.HcRhStatus.write
    def _write_hub(self, value: int) -> None:
        if value & REMOTE_WAKEUP_ON:
            self.HcRhStatus |= REMOTE_WAKEUP_ON
        if value & REMOTE_WAKEUP_OFF:
            self.HcRhStatus &= ~REMOTE_WAKEUP_ON
        for port in range(PORTS):
            if value & GLOBAL_POWER_ON:
                self._power(port, True)
            if value & GLOBAL_POWER_OFF:
                self._power(port, False)
        self.wake()

    @reads(OhciRegisters.HcRhPortStatus1, OhciRegisters.HcRhPortStatus2)
    def _read_port(self, register: Register) -> int:
        value: int = self.__dict__[register.name]
        return value | POWERED if self.HcRhDescriptorA & NO_POWER_SWITCHING else value

    @writes(OhciRegisters.HcRhPortStatus1, OhciRegisters.HcRhPortStatus2)
    def _write_port(self, register: Register, value: int) -> None:
        port = ROOT_HUB.index(register.name) - 3
        self._set_status(port, self._status(port) & ~(value & PORT_CHANGES))
        if value & POWERED:
            self._power(port, True)
        if value & CLEAR_POWER:
            self._power(port, False)
        status = self._status(port)
        if not status & CONNECTED:
            if value & (ENABLED | SUSPENDED | RESETTING):
                # OpenHCI 7.4.4: with nothing connected, these only tell the driver so.
                self._set_status(port, status | CONNECT_CHANGED)
                self._port_changed()
        else:
            self._command_port(port, status, value)
        self.wake()

    def _command_port(self, port: int, status: int, value: int) -> None:
        if value & CLEAR_ENABLE:
            status &= ~(ENABLED | SUSPENDED)
        if value & ENABLED:
            status |= ENABLED
        if value & SUSPENDED and status & ENABLED:
            status |= SUSPENDED
        if value & CLEAR_SUSPEND and status & SUSPENDED:
            self._begin_resume(port)
        if value & RESETTING:
            device = self.plugged[port]
            if device is not None:
                device.reset()
            status = status & ~(ENABLED | SUSPENDED) | RESETTING
            self._timer(port).start_in(PORT_RESET_NS)
        self._set_status(port, status)

    # -- snapshots --------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """The state, with that of what is plugged in; a disk's blocks are in its image."""
        plugged = [
            None
            if device is None
            else {"kind": device.kind, "identity": device.identity, "state": device.save()}
            for device in self.plugged
        ]
        return {**super().save(), "plugged": plugged}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what save gave. Another device than the saved one counts as just put in."""
        super().load({name: value for name, value in state.items() if name != "plugged"})
        for port, saved in enumerate(state["plugged"]):
            device = self.plugged[port]
            if saved is not None and device is not None and _is_same(saved, device):
                device.load(saved["state"])
                continue
            if saved is not None:
                self._disconnect(port)
            if device is not None:
                device.reset()
                self._connect(port)


def _is_same(saved: Mapping[str, Any], device: UsbDevice) -> bool:
    return (saved["kind"], saved["identity"]) == (device.kind, device.identity)
