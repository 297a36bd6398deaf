"""How fast dbgemu is, against its peers in the same minutes: ``python -m benchmarks``."""
