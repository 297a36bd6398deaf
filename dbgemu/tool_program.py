"""What ``dbgemu-img`` and ``dbgemu-trace`` have in common: commands, and one line for what goes wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from dbgemu.errors import Error

#: exit statuses: anything that could not be done; 128 + SIGINT, as a shell reports it
FAILED, INTERRUPTED = 2, 130

#: does a command's work; returns the exit status
Run = Callable[[argparse.Namespace], int]
#: where :func:`add_command` adds
Commands = argparse._SubParsersAction


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(FAILED, f"{self.prog}: {message}\n")


def add_command(commands: Commands[Parser], name: str, run: Run, text: str) -> Parser:
    """The parser of the command ``name``; ``text`` tells in some words what it does."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    return parser


def run_tool(parser: Parser, arguments: Sequence[str] | None) -> int:
    """Do what ``arguments`` (None: the process's) ask for; returns the exit status."""
    try:
        options = parser.parse_args(arguments)
        run: Run = options.run
        status = run(options)
        sys.stdout.flush()
        return status
    except Error as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # whoever read our output has seen enough
        _write_no_more()
        return 0
    except OSError as error:
        where = error.filename or "the output cannot be written"
        print(f"{parser.prog}: {where}: {error.strerror}", file=sys.stderr)
        _write_no_more()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _write_no_more() -> None:
    """Let nothing complain at exit about what cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
