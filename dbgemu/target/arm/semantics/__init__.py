"""What each instruction does, written once over :class:`dbgemu.target.arm.core.Core`."""
