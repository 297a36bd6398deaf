"""``python -m dbgemu.demo FILE``: write the demo firmware as an ELF file for a debugger."""

import sys
from pathlib import Path

from dbgemu.demo import demo_elf


def main(arguments: list[str]) -> int:
    """Write the file; the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m dbgemu.demo FILE (writes the demo firmware as ELF)", file=sys.stderr)
        return 2
    try:
        Path(arguments[0]).write_bytes(demo_elf())
    except OSError as error:
        print(f"dbgemu.demo: '{arguments[0]}' cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return 0


sys.exit(main(sys.argv[1:]))
