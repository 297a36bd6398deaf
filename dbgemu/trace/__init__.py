"""Traces: what happened in the machine, recorded to files and read back."""
