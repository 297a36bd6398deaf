"""The modules that a Linux guest has loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbgemu.debug.linux.errors import DamagedError, LinuxError
from dbgemu.debug.linux.layout import Member

if TYPE_CHECKING:
    from dbgemu.debug.linux.kernel import Kernel

_MOST_MODULES = 4096

#: enum module_state (include/linux/module.h); one that is not formed yet is not listed
_STATES = {0: "Live", 1: "Loading", 2: "Unloading"}
_UNFORMED = 3

#: what refcnt is when nobody uses the module (kernel/module/main.c, MODULE_REF_BASE)
_REFERENCE_BASE = 1


@dataclass(frozen=True)
class Module:
    """One module: ``size`` in bytes, with its code and data at ``base``."""

    #: of its struct module
    address: int
    name: str
    size: int
    base: int
    #: Live, Loading or Unloading
    state: str
    references: int
    #: names of the modules that use it
    users: tuple[str, ...]


class ModuleReader:
    """Reads the modules of ``kernel``. Where the machine's state may be used. Raises LinuxError."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        layout = kernel.layout
        if "modules" not in kernel.symbols or not layout.has("module"):
            raise LinuxError(f"'{kernel.path}' is a kernel without modules")
        self._bytes = layout.size("module")
        self._list = layout.member("module", "list").offset
        self._name = layout.member("module", "name")
        self._state = layout.member("module", "state")
        # Linux 6.4 has an array of areas instead
        self._base = layout.member("module", "core_layout.base", "mem")
        self._sizes = self._size_members()
        # without CONFIG_MODULE_UNLOAD nothing counts users
        self._references = layout.find("module", "refcnt")
        self._users = layout.find("module", "source_list")
        self._use_list = layout.find("module_use", "source_list")
        self._source = layout.find("module_use", "source")

    def _size_members(self) -> list[Member]:
        layout = self._kernel.layout
        areas = layout.find("module", "mem")
        if areas is None:
            return [layout.member("module", f"{name}.size") for name in ("core_layout", "init_layout")]
        step = layout.size("module_memory")
        inside = layout.member("module_memory", "size")
        places = range(areas.offset + inside.offset, areas.offset + areas.size, step)
        return [Member(place, inside.size) for place in places]

    def read_all(self) -> tuple[list[Module], str]:
        """All modules, the latest first, and what is wrong with the kernel's list, if anything."""
        kernel = self._kernel
        addresses, problem = kernel.linked(kernel.symbols["modules"], self._list, _MOST_MODULES)
        found: list[Module] = []
        for address in addresses:
            try:
                module = self._read(address)
            except DamagedError as error:
                problem = str(error)
                break
            if module is not None:
                found.append(module)
        if problem:
            problem = f"the list of modules is damaged behind {len(found)}: {problem}"
        return found, problem

    def _read(self, address: int) -> Module | None:
        data = self._kernel.read(address, self._bytes)
        state = self._state.of(data)
        if state == _UNFORMED:
            return None
        if state not in _STATES:
            raise DamagedError(f"what is at 0x{address:08x} is no module")
        references = 0 if self._references is None else self._references.signed(data) - _REFERENCE_BASE
        return Module(
            address,
            self._name.text(data),
            sum(member.of(data) for member in self._sizes),
            Member(self._base.offset, 4).of(data),
            _STATES[state],
            max(references, 0),
            self._users_of(address),
        )

    def _users_of(self, address: int) -> tuple[str, ...]:
        if self._users is None or self._use_list is None or self._source is None:
            return ()
        kernel = self._kernel
        uses, _ = kernel.linked(address + self._users.offset, self._use_list.offset, _MOST_MODULES)
        sources = (kernel.word(use + self._source.offset) for use in uses)
        return tuple(
            self._name.text(kernel.read(source, self._name.offset + self._name.size)) for source in sources
        )
