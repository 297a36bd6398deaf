"""Traces in the formats of other programs: each module writes one."""
