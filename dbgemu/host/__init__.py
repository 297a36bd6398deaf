"""The emulator's side of things outside the board: consoles, sockets, files."""
