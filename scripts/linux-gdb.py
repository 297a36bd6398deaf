"""Inside GDB: load the kernel's own commands (lx-dmesg, lx-ps, lx-lsmod, ...) for the Linux guest.

    (gdb) source scripts/linux-gdb.py

The guest is the folder of the symbol file (``file .../vmlinux``). Its scripts need a module of constants
that only a kernel build makes; where that is missing, it is made here from the guest's ``config``.
"""

import sys
import types
from pathlib import Path

import gdb

# linux/fs.h, linux/mount.h, linux/of_fdt.h, linux/clk-provider.h: interfaces that do not change
_CONSTANTS = {
    "LX_CLK_GET_RATE_NOCACHE": 1 << 6,
    "LX_SB_RDONLY": 1 << 0,
    "LX_SB_SYNCHRONOUS": 1 << 4,
    "LX_SB_MANDLOCK": 1 << 6,
    "LX_SB_DIRSYNC": 1 << 7,
    "LX_SB_NOATIME": 1 << 10,
    "LX_SB_NODIRATIME": 1 << 11,
    "LX_MNT_NOSUID": 0x01,
    "LX_MNT_NODEV": 0x02,
    "LX_MNT_NOEXEC": 0x04,
    "LX_MNT_NOATIME": 0x08,
    "LX_MNT_NODIRATIME": 0x10,
    "LX_MNT_RELATIME": 0x20,
    "LX_NR_CPUS": 1,
    "LX_OF_DT_HEADER": 0xD00DFEED,
}
_OPTIONS = (
    "CONFIG_DEBUG_INFO_REDUCED",
    "CONFIG_GENERIC_CLOCKEVENTS",
    "CONFIG_GENERIC_CLOCKEVENTS_BROADCAST",
    "CONFIG_HIGH_RES_TIMERS",
    "CONFIG_NR_CPUS",
    "CONFIG_OF",
    "CONFIG_TICK_ONESHOT",
)


def _constants(folder: Path) -> types.ModuleType:
    lines = (folder / "config").read_text(encoding="ascii").splitlines()
    config = dict(line.split("=", 1) for line in lines if line.startswith("CONFIG_"))
    module = types.ModuleType("linux.constants")
    module.__dict__.update(_CONSTANTS)
    module.__dict__.update((f"LX_{option}", config.get(option) == "y") for option in _OPTIONS)
    # without high resolution timers it is the tick, in ns
    module.LX_hrtimer_resolution = gdb.Value(1_000_000_000 // int(config["CONFIG_HZ"]))
    return module


def load() -> None:
    """Load the scripts beside the symbol file; GdbError where there are none."""
    symbols = gdb.current_progspace().filename
    if symbols is None:
        raise gdb.GdbError("linux-gdb.py: load the guest's vmlinux first (file .../vmlinux)")
    folder = Path(symbols).resolve().parent
    loader = folder / "vmlinux-gdb.py"
    if not loader.exists():
        raise gdb.GdbError(f"linux-gdb.py: there is no vmlinux-gdb.py beside {symbols}")
    scripts = folder / "scripts" / "gdb"
    if not (scripts / "linux" / "constants.py").exists():
        sys.path.insert(0, str(scripts))
        import linux

        linux.constants = sys.modules["linux.constants"] = _constants(folder)
    gdb.execute(f"source {loader}")


load()
