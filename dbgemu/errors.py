"""Errors that a user, not the program, has caused."""

from __future__ import annotations


class Error(Exception):
    """The base of what scripts catch; ``str()`` is one clear sentence."""


class OptionError(Error, ValueError):
    """A user's input that cannot be used; ``str()`` is one clear sentence."""
