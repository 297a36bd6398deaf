"""An assembler for ARMv4T, ARM and Thumb: for the demo firmware, and for guest programs in tests.

Source is as for GNU's assembler in unified syntax (``@`` and ``//`` start a comment, ``;`` separates
statements). Only what an ARM920T executes is accepted; nothing is replaced by a longer instruction.
"""

from dbgemu.target.arm.assembler.program import Program, Symbol, assemble, assemble_program
from dbgemu.target.arm.assembler.syntax import AssemblyError

__all__ = ["AssemblyError", "Program", "Symbol", "assemble", "assemble_program"]
