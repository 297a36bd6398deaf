"""Image files, made and looked into without an emulator: the command ``dbgemu-img``."""
