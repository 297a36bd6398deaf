"""GDB's remote serial protocol, on top of the debug session."""
