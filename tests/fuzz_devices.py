"""Random accesses to each device of the whole board: whatever a guest does, nothing breaks.

``python -m tests.fuzz_devices --operations 100000 --seed 1`` does that to all of them. The same seed is the
same run. An operation is an access by the CPU to a register of the device (or of the block that reaches a
chip that is not on the bus), time that passes, a DMA transfer from or to it, a look from a debugger, an
event outside, a clock that is gated, or a state that is saved and loaded.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

from dbgemu.debug.snapshots.codec import encode
from dbgemu.target.block import MemoryMedium
from dbgemu.target.chips.ac97_codec import Ac97Codec
from dbgemu.target.chips.sd_card import SdCard
from dbgemu.target.device import Device
from dbgemu.target.mini2440 import SDRAM_BASE, Mini2440, PowerRequest
from dbgemu.target.usb.hid import UsbKeyboard
from dbgemu.target.usb.mass_storage import UsbStorage

MEMORY = 1 << 20
DMA, CLKCON = 0x4B000000, 0x4C00000C
#: chips that are not on the bus, and the block through which the guest reaches them
THROUGH = {
    "nandflash": "nand",
    "eeprom": "i2c",
    "sd": "sdi",
    "uda1341": "gpio",
    "usb_cable": "udc",
}
#: a save of the board is so much dearer than an access
BOARD_SAVE_EVERY, RESET_EVERY = 5000, 20_000
#: timers called back in one wait
MOST_TIMERS = 50
#: seconds after which a thousand operations hang
PATIENCE = 300

ACTIONS = (
    *("write",) * 50,
    *("read",) * 25,
    *("wait",) * 12,
    *("peek",) * 4,
    *("outside",) * 4,
    *("dma",) * 3,
    *("gate", "save"),
)


class _Audio:
    """Hears and sounds nothing."""

    def play(self, rate: int, channels: int, samples: bytes) -> None:
        pass

    def record(self, rate: int, channels: int, frames: int) -> bytes:
        return bytes(2 * channels * frames)


class DeviceFuzz:
    """The board with everything plugged in, and random operations on one device of it."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.random = Random(f"{name} {seed}")
        self.board = board = make_board()
        board.on_request = self._requested
        self._requests: list[PowerRequest] = []
        self.device = board.devices[name]
        self.reached = board.devices[THROUGH.get(name, name)]
        self.base = next(region.base for region in board.bus.regions() if reaches(region, self.reached))
        registers = self.reached.registers.values()
        self.offsets = [register.offset for register in registers]
        self.operations = 0

    def run(self, operations: int) -> None:
        """Do that many; what goes wrong raises."""
        for _ in range(operations):
            self.step()

    def step(self) -> None:
        """One operation."""
        self.operations += 1
        action: Callable[[], None] = getattr(self, "_" + self.random.choice(ACTIONS))
        action()
        while self._requests:
            request = self._requests.pop()
            if request is PowerRequest.SLEEP:
                self.board.power_down()
                self.board.prepare_wake_up()
            if request is not PowerRequest.IDLE:
                self.board.reset()
        if self.operations % BOARD_SAVE_EVERY == 0:
            self.check_board()
        if self.operations % RESET_EVERY == 0:
            self.board.reset()

    def _requested(self, request: PowerRequest) -> None:
        self._requests.append(request)

    # -- operations --------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int]:
        """An address in the device, mostly a register's, and a size."""
        random = self.random
        size = random.choice((1, 1, 2, 4, 4, 4, 4))
        if self.offsets and random.random() < 0.97:
            offset = random.choice(self.offsets)
        else:
            offset = random.randrange(min(self.reached.size, 0x1000))
        if random.random() < 0.99:
            offset &= -size
        return self.base + offset, size

    def _value(self) -> int:
        random = self.random
        kind = random.randrange(5)
        if kind == 0:
            return random.getrandbits(32)
        if kind == 1:
            return 1 << random.randrange(32)
        if kind == 2:
            return random.randrange(256)
        if kind == 3:  # somewhere in memory, for pointers
            return SDRAM_BASE + random.randrange(0, MEMORY, 4)
        return random.getrandbits(32) & random.getrandbits(32)

    def _write(self) -> None:
        address, size = self._place()
        self.board.bus.write(address, size, self._value() & (1 << 8 * size) - 1)

    def _read(self) -> None:
        value = self.board.bus.read(*self._place())
        assert 0 <= value < 1 << 32, f"a read gives {value:#x}"

    def _peek(self) -> None:
        before = self.device.save(), self.reached.save()
        for device in (self.device, self.reached):
            list(device.dump())
            list(device.facts())
        self.board.bus.peek(self.base, min(self.reached.size, 0x200))
        if self.random.random() < 0.1:
            self.board.lcd.frame()
        assert (self.device.save(), self.reached.save()) == before, "a look changed the state"

    def _wait(self) -> None:
        clock = self.board.clock
        end = clock.now + (1 << self.random.randrange(27))
        for _ in range(MOST_TIMERS):
            deadline = clock.next_deadline()
            if deadline is None or deadline > end:
                clock.skip_to(end)
                break
            clock.skip_to(deadline)
            clock.run_due()

    def _dma(self) -> None:
        random, bus = self.random, self.board.bus
        channel = DMA + 0x40 * random.randrange(4)
        memory = SDRAM_BASE + random.randrange(0, MEMORY, 4)
        ends = [memory, self._place()[0]]
        random.shuffle(ends)
        control = random.getrandbits(12) << 20 | random.randrange(1, 64)
        for offset, value in (
            (0, ends[0]),
            (8, ends[1]),
            (4, random.getrandbits(2)),
            (0xC, random.getrandbits(3)),
        ):
            bus.write(channel + offset, 4, value)
        bus.write(channel + 0x10, 4, control)
        bus.write(channel + 0x20, 4, random.choice((2, 3, 4)))

    def _gate(self) -> None:
        mask = 0xFFFFF0
        if self.random.random() < 0.5:
            mask &= self.random.getrandbits(32) | self.random.getrandbits(32)
        self.board.bus.write(CLKCON, 4, mask)

    def _outside(self) -> None:
        random, board = self.random, self.board
        match random.randrange(10):
            case 0:
                board.uarts[random.randrange(3)].receive(random.randbytes(random.randrange(40)))
            case 1:
                board.touch.set(random.randrange(240), random.randrange(320), random.random() < 0.7)
            case 2:
                board.dm9000.port.receive(random.randbytes(random.randrange(1600)))
            case 3:
                if board.sd_slot.card is None:
                    board.sd_slot.insert(SdCard("card", MemoryMedium(1 << 20), clock=board.clock))
                elif random.random() < 0.1:
                    board.sd_slot.eject()
            case 4:
                (board.usb_cable.plug if random.random() < 0.7 else board.usb_cable.unplug)()
            case 5:
                if board.usb_cable.ready:
                    board.usb_cable.request(random.randbytes(8), random.randbytes(8))
            case 6:
                keyboard = board.usb_host.plugged[1]
                if isinstance(keyboard, UsbKeyboard):
                    keyboard.tap(random.randrange(4, 60), 1 << random.randrange(20, 27))
            case 7:
                board.tap(random.choice(board.buttons).name, 1 << random.randrange(28))
            case 8:
                board.gpio.pin(random.choice(("GPB8", "GPB10", "GPF0", "GPG0", "GPG5"))).drive(
                    random.choice((0, 1, None))
                )
            case _:
                board.uarts[random.randrange(3)].set_cts(random.random() < 0.6)

    def _save(self) -> None:
        state = self.device.save()
        encode(state)
        self.device.load(state)
        assert self.device.save() == state, "what was loaded is not what was saved"

    def check_board(self) -> None:
        """The state of the whole board can be loaded, here and into another board."""
        state, clock = self.board.save(), self.board.clock.save()
        encode(state)
        other = make_board()
        if self.board.sd_slot.card is None:
            other.sd_slot.eject()
        other.clock.load(clock)
        for board in (self.board, other):
            board.load(state)
            differing = [
                name for name, device in board.save()["devices"].items() if device != state["devices"][name]
            ]
            assert not differing, f"not as saved: {differing}"


def reaches(region: Any, device: Device) -> bool:
    """Whether an access to the region comes to the device."""
    return region.target is device or region.writes_to is device


def make_board() -> Mini2440:
    """The board with memory, and with something in each of its sockets."""
    board = Mini2440(memory_size=MEMORY)
    board.connect_audio(_Audio(), _Audio())
    board.ac97.attach(Ac97Codec("ac97codec", mixer=board.audio))
    board.sd_slot.insert(SdCard("card", MemoryMedium(1 << 20), clock=board.clock))
    board.usb_host.plug(UsbStorage("stick", MemoryMedium(8192)))
    board.usb_host.plug(UsbKeyboard("keyboard", clock=board.clock))
    return board


def main(arguments: list[str] | None = None) -> int:
    """Fuzz the devices; 1 when any breaks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--operations", type=int, default=100_000, help="for each device")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--device", action="append", choices=sorted(make_board().devices), help="only this one"
    )
    options = parser.parse_args(arguments)
    failures = 0
    for name in options.device or make_board().devices:
        started = time.process_time()
        fuzz = DeviceFuzz(name, options.seed)
        try:
            for first in range(0, options.operations, 1000):
                faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.__stderr__)
                fuzz.run(min(1000, options.operations - first))
        except Exception:
            failures += 1
            print(f"{name}: operation {fuzz.operations} of seed {options.seed}")
            traceback.print_exc()
        finally:
            faulthandler.cancel_dump_traceback_later()
        errors = fuzz.board.log.count
        seconds = time.process_time() - started
        print(f"{name}: {fuzz.operations} operations, {errors} guest errors, {seconds:.1f} s", flush=True)
    print(f"seed {options.seed}: {failures} devices broke")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
