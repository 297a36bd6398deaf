"""What ``dbgemu-trace`` does with traces: each tool is a module."""
