"""QEMU's options that this emulator refuses, each with the reason that the user is told.

Two kinds: what means nothing on a mini2440, and what the board has but this version does not do yet.
"""

from __future__ import annotations

_ONE_CORE = "the S3C2440A has one core"
_NO_DISK = "the board has no disk controller: its storage is NAND and NOR flash (-mtdblock, -pflash)"
_NO_FLOPPY = "the board has no floppy drive"
_NO_HOST_CPU = "ARMv4T code cannot run on the host's processor: it is always translated"
_NO_FIRMWARE_TABLES = "the board has no PC firmware"
_BOOT_BY_SWITCH = "the board boots from NAND (-mtdblock), NOR (-pflash) or -kernel"
_NO_PCI = "the board has no bus to plug devices into"
_LCD_ONLY = "the board has an LCD controller and no graphics card"

#: option name -> why it means nothing here
MEANINGLESS: dict[str, str] = {
    "smp": _ONE_CORE,
    "numa": _ONE_CORE + " and one memory",
    "hda": _NO_DISK,
    "hdb": _NO_DISK,
    "hdc": _NO_DISK,
    "hdd": _NO_DISK,
    "cdrom": _NO_DISK,
    "fda": _NO_FLOPPY,
    "fdb": _NO_FLOPPY,
    "parallel": "the board has no parallel port",
    "enable-kvm": _NO_HOST_CPU,
    "vga": _LCD_ONLY,
    "g": _LCD_ONLY + ": its size is the guest's to choose",
    "boot": _BOOT_BY_SWITCH,
    "bios": _BOOT_BY_SWITCH,
    "L": "the board needs no firmware files",
    "dtb": "the board's kernels take their parameters from ATAGs (-append), not from a device tree",
    "acpitable": _NO_FIRMWARE_TABLES,
    "smbios": _NO_FIRMWARE_TABLES,
    "no-acpi": _NO_FIRMWARE_TABLES,
    "no-hpet": _NO_FIRMWARE_TABLES,
    "fw_cfg": _NO_FIRMWARE_TABLES,
    "option-rom": _NO_FIRMWARE_TABLES,
    "tpmdev": "the board has no TPM",
    "watchdog": "the S3C2440A's own watchdog is always there",
    "virtfs": _NO_PCI,
    "fsdev": _NO_PCI,
    "mem-path": "guest memory is always the emulator's own",
    "mem-prealloc": "guest memory is always the emulator's own",
    "xen-domid": _NO_HOST_CPU,
    "tb-size": "the translator's cache needs no size",
}

#: option name -> what this version has not got, as the object of "this version does not have ..."
MISSING: dict[str, str] = {
    "blockdev": "block devices without a place: -drive if=none,id=ID,file=FILE names an image",
    "audio": "QEMU's short form of -audiodev: write -audiodev wav,path=FILE",
    "soundhw": "sound cards to choose: the board has one, write -audiodev wav,path=FILE",
    "gtk": "that kind of display: there are -display sdl and -vnc",
    "curses": "that kind of display: there are -display sdl and -vnc",
    "spice": "that kind of display: there are -display sdl and -vnc",
    "full-screen": "that kind of display: there are -display sdl and -vnc",
    "show-cursor": "that kind of display: there are -display sdl and -vnc",
    "k": "a keyboard",
    "chardev": "named character devices: describe them in -serial, -monitor and -gdb",
    "mon": "named character devices: describe the monitor in -monitor",
    "qmp": "QEMU's machine protocol",
    "qmp-pretty": "QEMU's machine protocol",
    "incoming": "migration",
    "plugin": "plugins",
    "no-reboot": "a way to stop at a reset",
    "action": "a way to stop at a reset",
    "no-shutdown": "a way to stop at a shutdown",
    "readconfig": "configuration files",
    "writeconfig": "configuration files",
    "global": "device properties",
    "set": "device properties",
    "dfilter": "a filter for -d",
    "singlestep": "-singlestep: a debugger can step (-s -S)",
    "one-insn-per-tb": "-one-insn-per-tb: a debugger can step (-s -S)",
    "seed": "random numbers that need a seed",
    "daemonize": "a way to run in the background: use the shell's &",
    "pidfile": "a file for its process id: use the shell's $!",
    "runas": "a way to change user",
    "chroot": "a way to change its root directory",
    "sandbox": "a sandbox",
    "uuid": "an identity number",
    "nodefaults": "default devices that could be left out",
    "no-user-config": "configuration files",
}


def refusal(name: str) -> str | None:
    """The sentence for QEMU's option ``name`` (without dashes), or None when it is not listed."""
    if name in MEANINGLESS:
        return f"-{name} means nothing on a mini2440: {MEANINGLESS[name]}"
    if name in MISSING:
        return f"this version does not have {MISSING[name]}, so -{name} cannot be used"
    return None
