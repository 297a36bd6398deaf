"""What can be put into the board and pulled out: the card in its slot, and devices on the USB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from dbgemu import option_drive
from dbgemu.errors import OptionError
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.services import Image
from dbgemu.option_drive import USB_DEVICES, Drive, PluggedDevice

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbgemu.debug.session import DebugSession
    from dbgemu.host.block_image import BlockImage
    from dbgemu.target.mini2440 import Mini2440
    from dbgemu.target.usb.device import UsbDevice

T = TypeVar("T")

_CARD = "sd"


class Media:
    """Owns the image files of removable media. ``snapshot``: none of them is written to.

    The methods for the monitor raise CommandError; those for the start of the program OptionError.
    """

    def __init__(
        self, session: DebugSession, *, snapshot: bool = False, drives: Sequence[Drive] = ()
    ) -> None:
        self._session = session
        self._board: Mini2440 = session.machine.board
        self._snapshot = snapshot
        #: drives that devices may name
        self._drives = {item.id: item for item in drives if item.id}
        #: what is in use: name of card or device -> where from, and the file
        self._open: dict[str, tuple[Drive, BlockImage]] = {}
        self._numbers = 0

    def start(self, drives: Sequence[Drive], devices: Sequence[PluggedDevice]) -> None:
        """Put in what the command line says. Raises OptionError."""
        for item in drives:
            if item.interface == _CARD:
                self._insert(item)
        for device in devices:
            self._plug(device)

    def close(self) -> None:
        """Close all images."""
        for _, image in self._open.values():
            image.close()
        self._open.clear()

    def images(self) -> list[Image]:
        """The files of what is in the board now."""
        return [
            Image(name, item.file, image.size, item.snapshot or self._snapshot)
            for name, (item, image) in self._open.items()
        ]

    def _on_machine(self, action: Callable[[], T]) -> T:
        return self._session.call(action)

    def _open_image(self, item: Drive) -> BlockImage:
        from dbgemu.host.block_image import open_block_image  # few runs have media

        used = next((name for name, (other, _) in self._open.items() if _same(other, item)), None)
        if used is not None and not (item.read_only or item.snapshot or self._snapshot):
            raise OptionError(f"'{item.file}' is in use already, by {used}")
        return open_block_image(
            item.file,
            snapshot=self._snapshot or item.snapshot,
            read_only=item.read_only,
            format=item.format,
        )

    # -- the card ------------------------------------------------------------------------------

    def _insert(self, item: Drive) -> None:
        from dbgemu.sd_setup import make_card

        image = self._open_image(item)
        try:
            card = make_card(item, image, self._board)
        except BaseException:
            image.close()
            raise
        self._on_machine(lambda: self._board.sd_slot.insert(card))
        self._forget(_CARD)
        self._open[_CARD] = item, image

    def _forget(self, name: str) -> None:
        """Close the image of what is not in the board any more."""
        if name in self._open:
            self._open.pop(name)[1].close()

    def change(self, device: str, file: str, *, read_only: bool = False) -> None:
        """Put another card into the slot. Raises CommandError."""
        self._check_slot(device)
        before = self._open.get(_CARD)
        try:
            item = option_drive.sd_image(file)._replace(read_only=read_only)
            if before is not None and _same(before[0], item):
                self._take_card()
            self._insert(item)
        except OptionError as error:
            raise CommandError(str(error)) from None

    def eject(self, device: str) -> None:
        """Pull the card out. Raises CommandError."""
        self._check_slot(device)
        if _CARD not in self._open:
            raise CommandError("there is no card in the slot")
        self._take_card()

    def _take_card(self) -> None:
        self._on_machine(self._board.sd_slot.eject)
        self._forget(_CARD)

    def _check_slot(self, device: str) -> None:
        if device == _CARD:
            return
        if device in self._open:
            raise CommandError(f"'{device}' is a USB disk: 'device_del {device}' pulls it out")
        raise CommandError(f"there is no drive '{device}' whose medium can be changed: there is {_CARD}")

    # -- USB -------------------------------------------------------------------------------------

    def _plug(self, wanted: PluggedDevice) -> str:
        self._numbers += 1
        name = wanted.id or f"usb{self._numbers}"
        if any(device is not None and device.name == name for device in self._board.usb_host.plugged):
            raise OptionError(f"a USB device is called '{name}' already")
        image: BlockImage | None = None
        if wanted.drive is not None:
            item = self._drive(wanted.drive)
            image = self._open_image(item)
        try:
            device = _make(wanted.driver, name, image, self._board)
            self._on_machine(lambda: self._board.usb_host.plug(device, wanted.port))
        except ValueError as error:
            if image is not None:
                image.close()
            raise OptionError(str(error)) from None
        if image is not None:
            self._open[name] = item, image
        return name

    def _drive(self, wanted: Drive | str) -> Drive:
        if isinstance(wanted, Drive):
            return wanted
        found = self._drives.get(wanted)
        if found is None:
            names = ", ".join(self._drives) or "none"
            raise OptionError(f"there is no drive '{wanted}': there is {names}; drive_add makes one")
        return found

    def add_drive(self, text: str) -> str:
        """Make a drive that a device may name; its name. Raises CommandError."""
        try:
            item = option_drive.drive(text)
        except OptionError as error:
            raise CommandError(str(error)) from None
        if item.interface != "none":
            raise CommandError("only drives with if=none can be added: 'change sd FILE' puts a card in")
        if item.id in self._drives:
            raise CommandError(f"there is a drive '{item.id}' already")
        self._drives[item.id] = item
        return item.id

    def usb_add(self, text: str, *, old: bool) -> str:
        """Plug in what an argument of ``-usbdevice`` (``old``) or ``-device`` says. CommandError."""
        try:
            return self._plug((option_drive.usb_device if old else option_drive.device)(text))
        except OptionError as error:
            raise CommandError(str(error)) from None

    def usb_remove(self, name: str) -> None:
        """Pull out a device by its name, or its port (``1``, or ``0.1`` as QEMU has it). CommandError."""
        host = self._board.usb_host
        port = name.removeprefix("0.")
        for number, device in enumerate(host.plugged, 1):
            if device is not None and (device.name == name or str(number) == port):
                self._on_machine(lambda number=number: host.unplug(number))  # type: ignore[misc]
                self._forget(device.name)
                return
        names = [device.name for device in host.plugged if device is not None]
        there = f"there is {', '.join(names)}" if names else "nothing is plugged in"
        raise CommandError(f"there is no USB device '{name}': {there}")


def _same(one: Drive, other: Drive) -> bool:
    return one.file.resolve() == other.file.resolve()


def _make(driver: str, name: str, image: BlockImage | None, board: Mini2440) -> UsbDevice:
    if image is not None:
        from dbgemu.target.usb.mass_storage import UsbStorage

        return UsbStorage(name, image, log=board.log)
    from dbgemu.target.usb import hid

    if driver == hid.UsbKeyboard.kind:
        return hid.UsbKeyboard(name, clock=board.clock, log=board.log)
    kind = hid.UsbMouse if driver == hid.UsbMouse.kind else hid.UsbTablet
    return kind(name, log=board.log)


assert set(USB_DEVICES) == {"usb-storage", "usb-kbd", "usb-mouse", "usb-tablet"}
