"""The Linux guest for tests: where it is, and its serial console as a script uses it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dbgemu.host.flash_image import open_nand_image
from dbgemu.machine import Machine, StopReason
from dbgemu.target.boot import plan_boot
from dbgemu.target.chips.nand_parts import DEFAULT_PART
from dbgemu.target.clock import NS_PER_SECOND
from dbgemu.target.mini2440 import Mini2440

MEMORY_SIZE = 64 << 20
COMMAND_LINE = "console=ttySAC0,115200 mini2440=0tb rdinit=/init"
PROMPT = "mini2440:~# "
#: 2026-11-22T10:45:35Z: any fixed time will do
RTC_START = 1795344335
#: instructions after which it is looked whether too much time has passed
_PORTION = 20_000_000
#: seconds of the guest's time without the text that is waited for, after which nothing will come
PATIENCE = 1000


def guest_folder() -> Path:
    """Where the guest's files are: ``$DBGEMU_GUEST``, ``../shared/guest`` or ``guest``.

    FileNotFoundError when there is none: these tests are not to be skipped in silence.
    """
    root = Path(__file__).resolve().parent.parent
    places = [root.parent / "shared" / "guest", root / "guest"]
    if override := os.environ.get("DBGEMU_GUEST"):
        places.insert(0, Path(override))
    for place in places:
        if (place / "zImage").exists():
            return place
    raise FileNotFoundError(f"no Linux guest in {', '.join(map(str, places))}: run scripts/build-guest")


class LinuxGuest:
    """A machine with Linux on it, run only while a test waits for something: always the same."""

    def __init__(
        self,
        *,
        append: str = COMMAND_LINE,
        nand: Path | None = None,
        prepare: Callable[[Mini2440], None] = lambda board: None,
    ) -> None:
        """``prepare`` gets the board before it starts: to plug something in."""
        folder = guest_folder()
        image = open_nand_image(nand, DEFAULT_PART) if nand is not None else None
        board = Mini2440(rtc_start=RTC_START, nand_image=image)
        board.boot_plan = plan_boot(
            (folder / "zImage").read_bytes(),
            "zImage",
            memory_size=MEMORY_SIZE,
            command_line=append,
            initrd=(folder / "initramfs.cpio.gz").read_bytes(),
        )
        prepare(board)
        self.machine = Machine(board, warp=True)
        self.uart = board.uarts[0]
        self.uart.on_transmit = self._transmitted
        self.output = bytearray()
        self._wanted = b""
        self._from = 0

    def _transmitted(self, character: int) -> None:
        self.output.append(character)
        if self._wanted and self.output.endswith(self._wanted):
            self._wanted = b""
            self.machine.request_stop()

    @property
    def text(self) -> str:
        """All that was printed, carriage returns left out."""
        return self.output.decode(errors="replace").replace("\r", "")

    def wait_for(self, text: str, instructions: int = 3_000_000_000) -> str:
        """Run until ``text`` is printed; gives what came since the last call. AssertionError if not."""
        self._wanted = text.encode()
        clock, cpu = self.machine.board.clock, self.machine.cpu
        end, last = cpu.instructions + instructions, clock.now + PATIENCE * NS_PER_SECOND
        while True:
            stop = self.machine.run(min(end - cpu.instructions, _PORTION))
            if stop.reason is not StopReason.LIMIT or cpu.instructions >= end or clock.now >= last:
                break
        assert stop.reason is StopReason.REQUEST, f"no {text!r} after {self.text[-2000:]}"
        printed = self.output[self._from :].decode(errors="replace").replace("\r", "")
        self._from = len(self.output)
        return printed

    def boot(self) -> str:
        """Run to the shell's prompt; gives the console's text."""
        return self.wait_for(PROMPT)

    def command(self, line: str, instructions: int = 3_000_000_000) -> str:
        """Type ``line`` and run to the next prompt; gives what the command printed."""
        self.uart.receive(line.encode() + b"\r")
        printed = self.wait_for(PROMPT, instructions)
        return printed.partition("\n")[2].removesuffix(PROMPT)
