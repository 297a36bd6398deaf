"""The monitor's commands, for the REPL and for GDB's ``monitor``."""
