"""Tracepoints: places whose passing records registers and memory, without stopping the machine.

GDB manual, "Tracepoints". :mod:`definitions` says what is recorded, :mod:`buffer` keeps the frames,
:mod:`frame` reads one, :mod:`collector` fills one, and :mod:`experiment` is the whole: what the
session offers to its front ends.
"""
