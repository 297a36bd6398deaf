"""The cells of a flash chip: pages that start erased or with an image's contents, and what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

#: what a byte of erased flash reads as
ERASED = 0xFF


class Backing(Protocol):
    """Where a flash chip's contents come from and, if ``writable``, where changes go.

    The chip knows no files: whoever makes it passes such an object. Offsets and lengths are bytes
    within the chip (for NAND each page is followed by its spare bytes).
    """

    @property
    def writable(self) -> bool:
        """False: what the guest changes stays in the emulator's memory and ``write`` is never called."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes; what lies beyond the image reads as erased."""

    def write(self, offset: int, data: bytes) -> None:
        """Store ``data``. When this returns, the loss of the emulator's process loses none of it."""

    def flush(self) -> None:
        """Return when all that was written would survive the loss of the host's power, too."""


class FlashArray:
    """``pages`` pages of ``page_size`` bytes; only those that changed take memory.

    Every write goes to the backing at once, if that is writable. What a page held before its first
    change is kept, so that an earlier state can be loaded: :meth:`save` gives the changed pages only
    and is valid for the same image as it was when this object was made.
    """

    def __init__(self, pages: int, page_size: int, backing: Backing | None = None) -> None:
        self.pages = pages
        self.page_size = page_size
        self.backing = backing
        self.erased = bytes([ERASED]) * page_size
        self._changed: dict[int, bytes] = {}
        self._original: dict[int, bytes] = {}
        self._writable = backing is not None and backing.writable

    def read(self, page: int) -> bytes:
        """The contents of ``page`` (0 to pages - 1)."""
        data = self._changed.get(page)
        return data if data is not None else self._read_original(page)

    def _read_original(self, page: int) -> bytes:
        if page in self._original:
            return self._original[page]
        if self.backing is None:
            return self.erased
        data = self.backing.read(page * self.page_size, self.page_size)
        # Most pages of most chips are erased: one object serves for all of them.
        return self.erased if data == self.erased else data

    def write(self, page: int, data: bytes) -> None:
        """Let ``page`` hold ``data`` (``page_size`` bytes)."""
        if data == self.read(page):
            return
        self._note(page, data)
        if self.backing is not None and self._writable:
            self.backing.write(page * self.page_size, data)

    def erase(self, first: int, count: int) -> None:
        """Erase ``count`` pages from ``first`` on, with one write to the backing."""
        dirty = [page for page in range(first, first + count) if self.read(page) != self.erased]
        if not dirty:
            return
        for page in dirty:
            self._note(page, self.erased)
        if self.backing is not None and self._writable:
            self.backing.write(first * self.page_size, self.erased * count)

    def _note(self, page: int, data: bytes) -> None:
        if page not in self._original:
            self._original[page] = self._read_original(page)
        self._changed[page] = data

    def save(self) -> dict[int, bytes]:
        """The changed pages, by number."""
        return dict(self._changed)

    def load(self, state: Mapping[int, bytes]) -> None:
        """Put back what :meth:`save` gave: pages that it does not name hold what they held at first."""
        for page in list(self._changed):
            if page not in state:
                self.write(page, self._original[page])
                del self._changed[page]
        for page, data in state.items():
            self.write(page, data)
            self._changed[page] = data
