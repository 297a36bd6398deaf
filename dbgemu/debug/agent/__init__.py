"""GDB agent expressions: small stack programs that debuggers hand over to be run at a breakpoint.

GDB manual, appendix "The GDB Agent Expression Mechanism".
"""

from dbgemu.debug.agent.bytecode import AgentExpression, Instruction, parse
from dbgemu.debug.agent.operations import AgentError, Context

__all__ = ["AgentError", "AgentExpression", "Context", "Instruction", "parse"]
