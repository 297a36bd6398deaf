"""Human interface devices: keyboard, mouse, tablet (HID 1.11, with the boot protocol of its appendix B)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.facts import Fact
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.usb.descriptors import IN, Descriptors, Endpoint, Interface, hid_descriptor
from dbgemu.target.usb.device import NAK, STALL, Handshake, Setup, UsbDevice, request
from dbgemu.target.usb.keys import FIRST_MODIFIER, LAST_MODIFIER

_REPORTS = 1 | IN
_INPUT, _OUTPUT = 1, 2
_BOOT, _REPORT = 0, 1

#: reports that wait for the host; what comes then is merged into the last of them
QUEUE = 32
#: keys of a report of the boot protocol; with more, all say that there are too many
_KEYS, _ROLL_OVER = 6, 1

# Items of report descriptors (HID 6.2.2), as bytes; HID B.1 and B.2 have those of the boot protocol.
_KEYBOARD_REPORT = bytes.fromhex(
    "05010906a101"  # generic desktop, keyboard, application
    "050719e029e71500250175019508" + "8102"  # modifiers: eight bits
    "95017508" + "8101"  # a byte that is reserved
    "95057501050819012905" + "9102"  # LEDs: five bits
    "95017503" + "9101"
    "95067508150026ff00050719002aff00" + "8100"  # six keys
    "c0"
)
_MOUSE_REPORT = bytes.fromhex(
    "05010902a1010901a100"  # generic desktop, mouse, application, pointer, physical
    "050919012905150025019505750181029501750381" + "01"  # five buttons
    "0501093009310938158125" + "7f750895038106"  # x, y, wheel: relative
    "c0c0"
)
_TABLET_REPORT = bytes.fromhex(
    "05010902a1010901a100"
    "05091901290515002501950575018102" + "950175038101"
    "0501093009311500" + "26ff7f350046ff7f751095028102"  # x, y: absolute, 0 to 32767
    "05010938158125" + "7f35004500750895018106"  # wheel
    "c0c0"
)

LEFT, RIGHT, MIDDLE, SIDE, EXTRA = 1, 2, 4, 8, 16
#: steps that the reports of a full queue can tell of
_FAR = 127 * QUEUE
#: the largest coordinate of a tablet
TABLET_MAX = 0x7FFF


class UsbHid(UsbDevice):
    """What all have in common: reports to the host, the newest of which can be asked for."""

    title = "USB input device"
    STATE: ClassVar[tuple[str, ...]] = (*UsbDevice.STATE, "_protocol", "_idle", "_queue", "_latest")
    report_descriptor: ClassVar[bytes] = b""
    #: subclass and protocol (HID 4.2, 4.3)
    codes: ClassVar[tuple[int, int]] = (0, 0)
    product: ClassVar[tuple[int, str]] = (0, "")
    #: bytes of a report, and the report before there was any input
    silence: ClassVar[bytes] = b""

    def __init__(self, name: str, *, log: GuestLog | None = None) -> None:
        number, product_name = self.product
        description = Descriptors(
            vendor=0x0627,
            product=number,
            manufacturer_name="dbgemu",
            product_name=product_name,
            serial_number="1",
            interfaces=(
                Interface(
                    0,
                    (3, *self.codes),
                    (Endpoint(_REPORTS, "interrupt", 8, 8),),
                    extra=hid_descriptor(len(self.report_descriptor)),
                ),
            ),
            remote_wakeup=True,
            reports={0: self.report_descriptor},
        )
        super().__init__(name, description, log)

    def _clear(self) -> None:
        super()._clear()
        self._protocol = _REPORT
        self._idle = 0
        self._queue: list[bytes] = []
        self._latest = self.silence

    def _report(self, report: bytes) -> None:
        """Queue a report. Nobody hears of it while the host has not set up the device."""
        if not self.configured:
            return
        self._latest = report
        if len(self._queue) == QUEUE:
            self._queue[-1] = report
        else:
            self._queue.append(report)
        self.notify()

    def give_data(self, endpoint: int, length: int) -> bytes | Handshake:
        """See UsbDevice. Reports are sent when something has changed, as with an idle rate of 0."""
        if not self._queue:
            return NAK
        return self._in_protocol(self._queue.pop(0))

    def _in_protocol(self, report: bytes) -> bytes:
        return report

    # -- class requests (HID 7.2) -----------------------------------------------------------

    @request(0xA1, 1)
    def _get_report(self, setup: Setup, data: bytes) -> bytes | Handshake:
        return self._in_protocol(self._latest) if setup.value >> 8 == _INPUT else STALL

    @request(0x21, 9)
    def _set_report(self, setup: Setup, data: bytes) -> Handshake | None:
        if setup.value >> 8 != _OUTPUT:
            return STALL
        self.output(data)
        return None

    def output(self, report: bytes) -> None:
        """The host sends a report."""

    @request(0xA1, 2)
    def _get_idle(self, setup: Setup, data: bytes) -> bytes:
        return bytes((self._idle,))

    @request(0x21, 10)
    def _set_idle(self, setup: Setup, data: bytes) -> None:
        self._idle = setup.value >> 8

    @request(0xA1, 3)
    def _get_protocol(self, setup: Setup, data: bytes) -> bytes | Handshake:
        return bytes((self._protocol,)) if self.codes[0] else STALL

    @request(0x21, 11)
    def _set_protocol(self, setup: Setup, data: bytes) -> Handshake | None:
        if not self.codes[0] or setup.value > 1:
            return STALL
        self._protocol = setup.value
        return None


class UsbKeyboard(UsbHid):
    """A keyboard of the boot protocol. Keys are usages; :mod:`dbgemu.target.usb.keys` has their names."""

    title = "USB keyboard"
    kind = "usb-kbd"
    low_speed = True
    STATE: ClassVar[tuple[str, ...]] = (*UsbHid.STATE, "_pressed", "leds", "_held", "_release_timer")
    report_descriptor = _KEYBOARD_REPORT
    codes = (1, 1)
    product = (0x0001, "USB keyboard")
    silence = bytes(8)

    def __init__(self, name: str, *, clock: VirtualClock, log: GuestLog | None = None) -> None:
        self._clock = clock
        self._release_timer = Timer(clock, self._release_held)
        super().__init__(name, log=log)

    def _clear(self) -> None:
        super()._clear()
        self._pressed: list[int] = []
        #: keys that are held until a moment of virtual time (ns)
        self._held: list[list[int]] = []
        self._release_timer.cancel()
        #: bits: num lock, caps lock, scroll lock, compose, kana
        self.leds = 0

    def press(self, usage: int) -> None:
        """A key goes down."""
        if usage not in self._pressed:
            self._pressed.append(usage)
            self._report(self._keys())

    def release(self, usage: int) -> None:
        """A key goes up."""
        if usage in self._pressed:
            self._pressed.remove(usage)
            self._report(self._keys())

    def tap(self, usage: int, duration: int) -> None:
        """Press a key and hold it for ``duration`` ns."""
        self.press(usage)
        self._held = [item for item in self._held if item[0] != usage]
        self._held.append([usage, self._clock.now + duration])
        self._wait_for_release()

    def _wait_for_release(self) -> None:
        if self._held:
            self._release_timer.start_at(min(end for _, end in self._held))

    def _release_held(self) -> None:
        now = self._clock.now
        due = [usage for usage, end in self._held if end <= now]
        self._held = [item for item in self._held if item[1] > now]
        for usage in reversed(due):
            self.release(usage)
        self._wait_for_release()

    def _keys(self) -> bytes:
        modifiers, keys = 0, []
        for usage in self._pressed:
            if FIRST_MODIFIER <= usage <= LAST_MODIFIER:
                modifiers |= 1 << usage - FIRST_MODIFIER
            else:
                keys.append(usage)
        if len(keys) > _KEYS:
            keys = [_ROLL_OVER] * _KEYS
        return bytes((modifiers, 0, *keys)).ljust(8, b"\0")

    def output(self, report: bytes) -> None:
        """See UsbHid: the LEDs."""
        self.leds = report[0] & 0x1F if report else 0

    def facts(self) -> Iterator[Fact]:
        """See Device."""
        yield from super().facts()
        names = ("num lock", "caps lock", "scroll lock", "compose", "kana")
        lit = [name for bit, name in enumerate(names) if self.leds >> bit & 1]
        yield Fact("LEDs", ", ".join(lit) or "none")


class UsbMouse(UsbHid):
    """A mouse with five buttons and a wheel; the boot protocol knows three buttons and no wheel."""

    title = "USB mouse"
    kind = "usb-mouse"
    low_speed = True
    STATE: ClassVar[tuple[str, ...]] = (*UsbHid.STATE, "_buttons")
    report_descriptor = _MOUSE_REPORT
    codes = (1, 2)
    product = (0x0002, "USB mouse")
    silence = bytes(4)

    def _clear(self) -> None:
        super()._clear()
        self._buttons = 0

    def move(self, x: int, y: int, wheel: int = 0) -> None:
        """Move by so many steps; ``y`` goes down, ``wheel`` up."""
        x, y, wheel = (max(-_FAR, min(_FAR, value)) for value in (x, y, wheel))
        while True:
            part = [max(-127, min(127, value)) for value in (x, y, wheel)]
            self._report(bytes((self._buttons, *(value & 0xFF for value in part))))
            x, y, wheel = x - part[0], y - part[1], wheel - part[2]
            if not (x or y or wheel) or len(self._queue) == QUEUE:
                return

    def set_buttons(self, buttons: int) -> None:
        """Press these (LEFT, RIGHT, MIDDLE, SIDE, EXTRA) and release all others."""
        if buttons & 0x1F != self._buttons:
            self._buttons = buttons & 0x1F
            self._report(bytes((self._buttons, 0, 0, 0)))

    def _in_protocol(self, report: bytes) -> bytes:
        return report if self._protocol == _REPORT else bytes((report[0] & 7, *report[1:3]))


class UsbTablet(UsbHid):
    """A pointer with absolute coordinates, 0 to 32767, five buttons and a wheel."""

    title = "USB tablet"
    kind = "usb-tablet"
    STATE: ClassVar[tuple[str, ...]] = (*UsbHid.STATE, "_buttons", "_x", "_y")
    report_descriptor = _TABLET_REPORT
    product = (0x0003, "USB tablet")
    silence = bytes(6)

    def _clear(self) -> None:
        super()._clear()
        self._buttons = self._x = self._y = 0

    def move(self, x: int, y: int, wheel: int = 0) -> None:
        """Go to a place; ``wheel`` steps up."""
        self._x, self._y = (max(0, min(TABLET_MAX, value)) for value in (x, y))
        self._send(max(-127, min(127, wheel)))

    def set_buttons(self, buttons: int) -> None:
        """See UsbMouse."""
        if buttons & 0x1F != self._buttons:
            self._buttons = buttons & 0x1F
            self._send(0)

    def _send(self, wheel: int) -> None:
        place = self._x.to_bytes(2, "little") + self._y.to_bytes(2, "little")
        self._report(bytes((self._buttons,)) + place + bytes((wheel & 0xFF,)))
