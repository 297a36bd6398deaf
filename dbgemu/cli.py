"""The command line: what ``dbgemu`` and ``python -m dbgemu`` do."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from dbgemu.errors import OptionError
from dbgemu.host import shutdown

#: exit status after a wrong command line, and after Ctrl-C (128 + SIGINT, as a shell reports it)
USAGE_ERROR, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator with ``arguments`` (default: the process's); returns the exit status."""
    # What imports and the board allocate stays to the end. To look through it for garbage again and
    # again as it grows would take a tenth of the start, and once more whenever the collector is thorough.
    gc.disable()
    try:
        return _run(arguments)
    finally:
        gc.unfreeze()
        gc.enable()


def _run(arguments: Sequence[str] | None) -> int:
    try:
        from dbgemu.options import parse_command_line

        options = parse_command_line(sys.argv[1:] if arguments is None else arguments)
        if options.answer is not None:
            print(options.answer)
            return 0
        # Only now: -h and a wrong command line need neither the board nor the engine.
        from dbgemu.emulator import Emulator

        shutdown.take_signals()
        with Emulator(options) as emulator:
            gc.freeze()
            gc.enable()
            return emulator.run()
    except OptionError as error:
        print(f"dbgemu: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except shutdown.Terminated as end:
        shutdown.die(end.number)
        raise
