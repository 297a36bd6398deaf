"""The kernel whose symbols are loaded, and memory as that kernel maps it.

Everything is read through the kernel's own translation table (``swapper_pg_dir``), so it does not matter
which process runs, nor whether the MMU is on yet: until the table is there, addresses of the kernel's
linear mapping are the SDRAM's from its start (arch/arm/include/asm/memory.h, ``__virt_to_phys``).
"""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

from dbgemu.debug.linux.errors import DamagedError, LinuxError, NotYetError
from dbgemu.debug.linux.layout import Layout
from dbgemu.debug.memory import MEMORY_ERRORS
from dbgemu.target.arm.cp15 import CONTROL_MMU
from dbgemu.target.mini2440 import SDRAM_BASE

if TYPE_CHECKING:
    from dbgemu.debug.session import DebugSession
    from dbgemu.debug.symbols import SymbolFile

#: symbols that every Linux kernel for ARM has
_NEEDED = ("init_task", "linux_banner", "swapper_pg_dir")

#: functions of kernel/printk, kernel/module and kernel/sched: their files use the structures wanted here
_ANCHORS = ("vprintk_emit", "module_refcount", "find_module", "sched_init")

_WANTED = frozenset((*_NEEDED, *_ANCHORS, "__current", "prb", "modules"))

#: without CONFIG_THREAD_INFO_IN_TASK: THREAD_SIZE (arch/arm/include/asm/thread_info.h)
_STACK_SIZE = 8192

_SECTION, _TABLE = 2, 1  # types of first-level descriptors (ARM ARM B3.3.1)
_WORD = Struct("<I")

#: pid_max cannot be larger (include/linux/threads.h, PID_MAX_LIMIT)
PID_LIMIT = 4 << 20

_BANNER_START = b"Linux version "


def find_kernel_file(files: list[SymbolFile]) -> tuple[SymbolFile, dict[str, int]] | None:
    """The first of ``files`` that is a kernel, and the addresses of its symbols that matter here."""
    for file in files:
        found = {symbol.name: symbol.address for symbol in file.symbols if symbol.name in _WANTED}
        if all(name in found for name in _NEEDED):
            return file, found
    return None


class Kernel:
    """The kernel of one ELF file. All methods where the machine's state may be used (session.call).

    Raises LinuxError when the file does not tell enough.
    """

    def __init__(self, session: DebugSession, file: SymbolFile, symbols: dict[str, int]) -> None:
        machine = session.machine
        self.path = file.path
        self.symbols = symbols
        anchors = [symbols[name] - file.offset for name in _ANCHORS if name in symbols]
        self.layout = Layout(file.path, anchors)
        self._cpu = machine.cpu
        self._sdram = machine.board.sdram.data
        self._words = self._sdram.cast("I")
        #: the first virtual address of the linear mapping: swapper_pg_dir lies a little behind it
        self.start = symbols["swapper_pg_dir"] & 0xF0000000
        #: the physical address of the kernel's own translation table
        self.table = self.physical(symbols["swapper_pg_dir"])
        address = symbols["linux_banner"]
        self._banner = _read_banner(file.path, address - file.offset)
        self._banner_at = address - self.start
        self._banner_end = self._banner_at + len(self._banner)
        #: where the descriptor of the banner's megabyte is in the SDRAM
        self._descriptor_at = (self.table - SDRAM_BASE) // 4 + (address >> 20)
        self._section = self.physical(address) & 0xFFF00000 | _SECTION
        current = symbols.get("__current")
        self._current_at = None if current is None else (current - self.start) // 4
        needed = [symbols[name] for name in (*_NEEDED, "__current") if name in symbols]
        inside = all(0 <= place - self.start < len(self._sdram) - 4 for place in needed)
        if not inside or self._descriptor_at >= len(self._words):
            raise LinuxError(f"'{file.path}' is a kernel for another place in memory than this board's")
        self._pid_at = self.layout.member("task_struct", "pid").offset
        # what is not 0 from the beginning, near the end of the file: the kernel is unpacked in order
        last = [symbols["init_task"] + self.layout.member("task_struct", "tasks").offset]
        last += [symbols[name] for name in ("prb", "modules") if name in symbols]
        self._written_last = [
            (place - self.start) // 4 for place in last if 0 <= place - self.start < len(self._sdram)
        ]

    def physical(self, address: int) -> int:
        """Where ``address`` of the linear mapping is."""
        return SDRAM_BASE + address - self.start

    # -- is it there? ------------------------------------------------------------------------

    @property
    def in_memory(self) -> bool:
        """The kernel of the ELF file, and no other, is where it would run."""
        return bytes(self._sdram[self._banner_at : self._banner_end]) == self._banner

    @property
    def mapped(self) -> bool:
        """The kernel's translation table is made: more than the linear mapping can be read."""
        descriptor = self._words[self._descriptor_at]
        if descriptor & (0xFFF00000 | 3) == self._section:
            return True
        if descriptor & 3 == _TABLE:
            address = self.start + self._banner_at
            try:
                return self._cpu.translate(address, table=self.table) == self.physical(address)
            except MEMORY_ERRORS:
                return False
        return False

    def check(self) -> None:
        """Raise LinuxError when this kernel is not in memory."""
        if self.in_memory and all(self._words[place] for place in self._written_last):
            return
        found = bytes(self._sdram[self._banner_at : self._banner_at + 200])
        if found.startswith(_BANNER_START) and not self.in_memory:
            text = found.partition(b"\n")[0].decode("ascii", "replace")
            raise LinuxError(f"the kernel in memory is not that of '{self.path}': it is {text}")
        raise NotYetError(f"there are no tasks yet: the kernel of '{self.path}' is not in memory")

    # -- memory ------------------------------------------------------------------------------

    def read(self, address: int, length: int) -> bytes:
        """``length`` bytes of the kernel's memory. DamagedError where there is none."""
        address &= 0xFFFFFFFF
        try:
            if self.mapped:
                return self._cpu.read_memory(address, length, table=self.table)
        except MEMORY_ERRORS:
            raise DamagedError(f"0x{address:08x} is no address of the kernel") from None
        start = address - self.start
        if start >= 0 and start + length <= len(self._sdram):
            return bytes(self._sdram[start : start + length])
        raise DamagedError(
            f"0x{address:08x} is no address of the kernel, which has not mapped its memory yet"
        )

    def word(self, address: int) -> int:
        """The 32-bit word at ``address``. DamagedError where there is none."""
        return int(_WORD.unpack(self.read(address, 4))[0])

    def pointer(self, address: int) -> int:
        """The word at ``address``, which must point to a word. DamagedError when it does not."""
        value = self.word(address)
        if value & 3 or value < self.start >> 1:
            raise DamagedError(f"0x{value:08x} (at 0x{address:08x}) is no pointer of the kernel")
        return value

    def linked(self, head: int, offset: int, most: int) -> tuple[list[int], str]:
        """The items on the ``list_head`` at ``head``, whose list_head is at ``offset`` in each.

        With why the list is damaged, if it is: then these are the items in front of that.
        """
        found: list[int] = []
        seen = {head}
        try:
            place = self.pointer(head)
            while place != head:
                if place in seen:
                    raise DamagedError(f"it never ends: 0x{place:08x} comes twice")
                if len(found) >= most:
                    raise DamagedError("it never ends")
                seen.add(place)
                found.append(place - offset & 0xFFFFFFFF)
                place = self.pointer(place)
        except DamagedError as error:
            return found, str(error)
        return found, ""

    # -- who runs ----------------------------------------------------------------------------

    def current_task(self) -> int:
        """The address of the task that has the CPU; 0 while there is none. Quick: asked at each stop."""
        words = self._words
        if words[self._descriptor_at] & (0xFFF00000 | 3) != self._section and not self.mapped:
            return 0
        if not self._cpu.state.cp15_control & CONTROL_MMU or not self.in_memory:
            return 0
        if self._current_at is not None:
            return int(words[self._current_at])
        # before CONFIG_THREAD_INFO_IN_TASK thread_info lies at the end of the kernel's stack
        stack = self._cpu.read_register("r13_svc") & -_STACK_SIZE
        task = self.layout.find("thread_info", "task")
        try:
            return 0 if task is None else self.word(stack + task.offset)
        except DamagedError:
            return 0

    def current_pid(self) -> int:
        """The pid of the task that has the CPU, 0 for the idle task; -1 while there is none."""
        task = self.current_task()
        start = task - self.start + self._pid_at
        if not task or start & 3 or not 0 <= start < len(self._sdram):
            return -1
        pid = int(self._words[start // 4])
        return pid if pid < PID_LIMIT else -1


def _read_banner(path: Path, address: int) -> bytes:
    """``linux_banner`` as linked, up to its zero byte."""
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                start = address - section["sh_addr"]
                if section["sh_type"] != "SHT_PROGBITS" or not section["sh_addr"]:
                    continue
                if 0 <= start < section["sh_size"]:
                    file.seek(section["sh_offset"] + start)
                    banner = file.read(1024).partition(b"\0")[0]
                    if banner.startswith(_BANNER_START):
                        return banner
    except OSError as error:
        raise LinuxError(f"'{path}' cannot be read: {error.strerror}") from None
    except Exception as error:  # damaged files fail in many ways
        raise LinuxError(f"'{path}' cannot be read: it is damaged") from error
    raise LinuxError(f"'{path}' has no banner of a Linux kernel")
