"""Semihosting: a guest that asks its debugger for files, a console, the time and an exit status.

Arm, "Semihosting for AArch32 and AArch64", release 3.
"""
