"""What a Linux guest is doing, read from its memory: tasks, kernel log, modules.

The session's :attr:`linux` is a :class:`LinuxGuest`.
"""

from dbgemu.debug.linux.errors import LinuxError
from dbgemu.debug.linux.guest import LinuxGuest
from dbgemu.debug.linux.log import LogRecord
from dbgemu.debug.linux.modules import Module
from dbgemu.debug.linux.tasks import Task

__all__ = ["LinuxError", "LinuxGuest", "LogRecord", "Module", "Task"]
