"""dbgemu: an emulator of the mini2440 board, built for looking into what runs on it."""

__version__ = "0.1.0"
