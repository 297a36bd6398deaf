"""Whatever a guest does to a block: no exception, no guest-visible effect of a peek, full saves."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbgemu.target.block import MemoryMedium
from dbgemu.target.bus import Bus
from dbgemu.target.chips.at24c08 import At24c08
from dbgemu.target.chips.dm9000 import DM9000E, PORTS, Dm9000
from dbgemu.target.clock import Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.lines import Line
from dbgemu.target.memory import Memory
from dbgemu.target.s3c2440.ac97 import Ac97
from dbgemu.target.s3c2440.adc import Adc
from dbgemu.target.s3c2440.camera import Camera
from dbgemu.target.s3c2440.clocks import FixedClocks
from dbgemu.target.s3c2440.dma import Dma
from dbgemu.target.s3c2440.i2c import I2c
from dbgemu.target.s3c2440.i2s import I2s
from dbgemu.target.s3c2440.lcd import LcdController
from dbgemu.target.s3c2440.sdi import Sdi
from dbgemu.target.s3c2440.spi import Spi
from dbgemu.target.s3c2440.usb_device import UsbDevice
from dbgemu.target.s3c2440.usb_host import UsbHost
from dbgemu.target.usb.hid import UsbKeyboard
from dbgemu.target.usb.mass_storage import UsbStorage
from dbgemu.target.usb.wire import Packet

Lines = dict[str, Line]
Maker = Callable[[VirtualClock, Lines], Device]


def dma_with_memory(clock: VirtualClock, lines: dict[str, Line]) -> Dma:
    bus = Bus()
    bus.map(0x30000000, Memory("ram", 4096))
    return Dma("dma", bus=bus, clock=clock, clocks=FixedClocks(), interrupts=[lines["a"]] * 4)


def lcd_with_memory(clock: VirtualClock, lines: Lines) -> Device:
    bus = Bus()
    bus.map(0, Memory("ram", 4 << 20))
    return LcdController("lcd", clock=clock, clocks=FixedClocks(), interrupt=lines["a"], bus=bus)


def usb_host_with_memory(clock: VirtualClock, lines: Lines) -> Device:
    bus = Bus()
    bus.map(0, Memory("ram", 4096))
    host = UsbHost("ohci", clock=clock, interrupt=lines["a"], bus=bus)
    host.plug(UsbStorage("stick", MemoryMedium(8192)))
    host.plug(UsbKeyboard("keyboard", clock=clock))
    return host


class Answers:
    """An AC97 codec without a state."""

    def read(self, offset: int, size: int) -> int:
        return offset * 0x101

    def peek(self, offset: int, size: int) -> int:
        return 48000 if offset in (0x2C, 0x32) else offset * 0x101

    def write(self, offset: int, size: int, value: int) -> None:
        pass

    def reset(self) -> None:
        pass

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        pass

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        return b"\x12\x34" * (channels * frames)

    def stop(self) -> None:
        pass


def ac97_with_codec(clock: VirtualClock, lines: Lines) -> Device:
    ac97 = Ac97("ac97", clock=clock, interrupt=lines["a"])
    ac97.attach(Answers())
    return ac97


def i2c_with_eeprom(clock: VirtualClock, lines: Lines) -> Device:
    i2c = I2c("i2c", clock=clock, clocks=FixedClocks(), interrupt=lines["a"])
    i2c.attach(At24c08("eeprom", clock=clock))
    return i2c


def ethernet(revision: int) -> Maker:
    def make(clock: VirtualClock, lines: Lines) -> Device:
        return Dm9000("dm9000", clock=clock, interrupt=lines["a"], revision=revision)

    return make


BLOCKS: dict[str, Maker] = {
    "ac97": ac97_with_codec,
    "adc": lambda clock, lines: Adc(
        "adc", clock=clock, clocks=FixedClocks(), conversion_done=lines["a"], pen_moved=lines["b"]
    ),
    "at24c08": lambda clock, lines: At24c08("eeprom", clock=clock),
    "camif": lambda clock, lines: Camera(
        "camif",
        clock=clock,
        codec_done=lines["a"],
        preview_done=lines["b"],
        write_memory=lambda address, data: None,
    ),
    "dm9000a": ethernet(0x19),
    "dm9000e": ethernet(DM9000E),
    "dma": dma_with_memory,
    "i2c": i2c_with_eeprom,
    "iis": lambda clock, lines: I2s("iis", clock=clock, clocks=FixedClocks(), codec=Answers()),
    "lcd": lcd_with_memory,
    "ohci": usb_host_with_memory,
    "sdi": lambda clock, lines: Sdi("sdi", clock=clock, clocks=FixedClocks(), interrupt=lines["a"]),
    "spi": lambda clock, lines: Spi(
        "spi", clock=clock, clocks=FixedClocks(), interrupts=(lines["a"], lines["b"])
    ),
    "udc": lambda clock, lines: UsbDevice("udc", clock=clock, interrupt=lines["a"]),
}

ACTIONS = ("write",) * 6 + ("read",) * 3 + ("wait", "outside")


def from_outside(device: Device, random: Random) -> None:
    """Something happens at the pins of the block."""
    match device:
        case Dm9000():
            device.receive(random.randbytes(random.randrange(1600)))
            device.port.receive(random.randbytes(random.randrange(1600)))
            device.port.set_link(random.random() < 0.7)
        case Camera():  # sizes that make sense, and a test pattern
            for offset, value in ((0x00, 16 << 16 | 8), (0x48, 8 << 16 | 8), (0x7C, 4 << 16 | 4)):
                device.write(offset, 4, value | random.getrandbits(2) << 14)
            for offset, value in ((0x58, 0x8000), (0x8C, 0x8000), (0x08, 1 << 27), (0xA0, 7 << 29)):
                device.write(offset, 4, value)
        case I2s():  # everything on
            device.write(0x04, 4, 0xC8)
            device.write(0x0C, 4, 0xF000)
            device.write(0x00, 4, random.choice((0x01, 0x33)))
        case Ac97():  # the link is up
            device.write(0x00, 4, 0xC | random.getrandbits(6) << 8)
        case UsbHost():
            keyboard = device.plugged[1]
            if isinstance(keyboard, UsbKeyboard):
                keyboard.tap(random.randrange(256), 1 << random.randrange(20))
        case LcdController():
            frame = device.frame() if random.random() < 0.05 else None
            assert frame is None or len(frame.rgb) == 3 * frame.width * frame.height
        case Adc():
            device.inputs[random.randrange(8)] = random.randrange(1024)
            if random.random() < 0.5:
                device.touch(random.randrange(1024), random.randrange(1024))
            else:
                device.release()
        case UsbDevice():
            usb_event(device, random.randrange(8), random)


def usb_event(device: UsbDevice, kind: int, random: Random) -> None:
    """A host does something on the bus."""
    endpoint, address = random.randrange(5), random.choice((device.address, random.randrange(128)))
    match kind:
        case 0:
            device.setup(address, random.randbytes(8))
        case 1 | 2:
            packet = Packet(random.randrange(2), random.randbytes(random.randrange(140)))
            device.give(address, endpoint, packet)
        case 3 | 4:
            device.take(address, endpoint)
        case 5:
            device.signal_reset(random.randrange(2))
        case 6:
            random.choice((device.start_frames, device.stop_frames))()
        case _:
            device.signal_resume()


class Rig:
    def __init__(self, make: Maker) -> None:
        self.clock = VirtualClock()
        self.lines = {name: Line(name) for name in "ab"}
        self.device = make(self.clock, self.lines)

    def advance(self, ns: int) -> None:
        end = self.clock.now + ns
        for _ in range(50):
            deadline = self.clock.next_deadline()
            if deadline is None or deadline > end:
                break
            self.clock.skip_to(deadline)
            self.clock.run_due()
        self.clock.skip_to(end)
        self.clock.run_due()

    def step(self, random: Random) -> int:
        """One random event; what it gave the guest. Takes the same from ``random`` in any state."""
        action = random.choice(ACTIONS)
        size = random.choice((1, 1, 2, 4, 4))
        registers = [register.offset for register in self.device.registers.values()]
        offset = random.randrange(self.device.size)
        if registers and random.random() < 0.95:
            offset = random.choice(registers)
        offset &= -size
        value = random.choice((random.getrandbits(32), 1 << random.randrange(32), random.randrange(256)))
        if isinstance(self.device, Dm9000) and offset == PORTS and random.random() < 0.9:
            # a register that exists, and half of the time one that starts something
            starters = (0x00, 0x02, 0x05, 0x0B, 0x1F, 0xF2, 0xF8, 0xFE)
            existing = [register.offset for register in self.device.mac.registers.values()]
            value = random.choice((random.choice(starters), random.choice(existing)))
        match action:
            case "write":
                self.device.write(offset, size, value & (1 << 8 * size) - 1)
            case "read":
                got = self.device.read(offset, size)
                assert 0 <= got < 1 << 8 * size
                return got
            case "wait":
                self.advance(1 << random.randrange(29))
            case "outside":
                from_outside(self.device, random)
        return 0

    def snapshot(self) -> tuple[object, ...]:
        registers = [(value.register.name, value.value) for value in self.device.dump()]
        return registers, self.device.save(), {name: line.level for name, line in self.lines.items()}


def plain_state(device: Device) -> dict[str, object]:
    """Every attribute that is plain data or a timer, whether it is saved or not, of all parts."""
    found: dict[str, object] = {}
    for name, value in vars(device).items():
        if isinstance(value, Timer):
            found[name] = value.deadline
        elif isinstance(value, Device):
            found[name] = plain_state(value)
        elif isinstance(value, int | str | bytes | bytearray | list | dict | tuple | type(None)):
            found[name] = value
    for name in (
        "_by_offset",
        "_at_index",
        "_readers",
        "_writers",
        "_memo",
        "plugged",
        "_timers",
        "_ports",
        "bus",
        "interrupts",
        "dma",
        "external",
    ):
        found.pop(name, None)
    return found


@pytest.mark.parametrize("name", BLOCKS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(20, 400))
def test_any_accesses_are_survived_and_a_loaded_copy_goes_on_the_same(
    name: str, seed: int, length: int
) -> None:
    random = Random(seed)
    original = Rig(BLOCKS[name])
    for _ in range(length):
        original.step(random)
    copy = Rig(BLOCKS[name])
    copy.clock.load(original.clock.save())
    copy.device.load(original.device.save())
    assert copy.snapshot() == original.snapshot()
    assert plain_state(copy.device) == plain_state(original.device)
    if name == "i2c":  # whose EEPROM is a device of its own
        return
    same = Random()
    for _ in range(100):
        same.setstate(random.getstate())
        assert copy.step(same) == original.step(random)
    assert copy.snapshot() == original.snapshot()


#: windows into a chip's own memory, which a reset does not clear
_WINDOWS = {"MRCMDX", "MRCMDX1", "MRCMD"}


def registers(rig: Rig) -> dict[str, int]:
    """What a dump shows, but for windows into memory."""
    dump = rig.device.dump()
    return {item.register.name: item.value for item in dump if item.register.name not in _WINDOWS}


@pytest.mark.parametrize("name", BLOCKS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_dump_changes_nothing_and_a_reset_is_like_new(name: str, seed: int) -> None:
    random = Random(seed)
    rig = Rig(BLOCKS[name])
    for _ in range(150):
        rig.step(random)
    saved = rig.device.save()
    list(rig.device.dump())
    for offset in range(0, min(rig.device.size, 0x800), 4):
        rig.device.peek(offset, 4)
    assert rig.device.save() == saved
    if isinstance(rig.device, Adc):
        rig.device.release()
    rig.device.reset()
    assert {line.level for line in rig.lines.values()} == {0}
    assert rig.clock.next_deadline() is None
    fresh = Rig(BLOCKS[name])
    assert registers(rig) == registers(fresh)
