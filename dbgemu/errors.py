"""Errors that a user, not the program, has caused."""

from __future__ import annotations


class OptionError(ValueError):
    """A user's input that cannot be used; ``str()`` is one clear sentence."""
