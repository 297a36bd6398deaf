"""The cells of a flash chip: pages that start erased or with an image's contents, and what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

#: what a byte of erased flash reads as
ERASED = 0xFF

#: pages that are read from an image at once
_AT_ONCE = 64
#: and when one has been read after the other
_AHEAD = 16


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
        #: the next pages of the image, when these are read in order
        self._ahead: dict[int, bytes] = {}
        self._following = 0

    @property
    def writes_image(self) -> bool:
        """Whether changes go to an image."""
        return self._writable

    def read(self, page: int) -> bytes:
        """The contents of ``page`` (0 to pages - 1)."""
        data = self._changed.get(page)
        if data is None:
            data = self._ahead.get(page)
            if data is None:
                data = self._read_original(page)
        return data

    def _read_original(self, page: int) -> bytes:
        if page in self._original:
            return self._original[page]
        if self.backing is None:
            return self.erased
        size, erased = self.page_size, self.erased
        count = min(_AHEAD, self.pages - page) if page == self._following else 1
        read = self.backing.read(page * size, count * size)
        self._following = page + count
        # Most pages of most chips are erased: one object serves for all of them.
        data = [read[start : start + size] for start in range(0, len(read), size)]
        data = [erased if content == erased else content for content in data]
        self._ahead = {
            number: content
            for number, content in enumerate(data, page)
            # in the image that is not what it was
            if number not in self._original
        }
        return data[0]

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

    @property
    def changed(self) -> int:
        """How many pages were written or erased."""
        return len(self._changed)

    def save(self) -> dict[int, bytes]:
        """The changed pages, by number."""
        return {page: data for page, data in self._changed.items() if data != self._original[page]}

    def used(self) -> dict[int, bytes]:
        """The pages that are not erased, by number: all that the chip holds."""
        found: dict[int, bytes] = {}
        if self.backing is not None:
            erased, size = self.erased * _AT_ONCE, self.page_size
            for first in range(0, self.pages, _AT_ONCE):
                data = self.backing.read(first * size, len(erased))
                if data != erased:
                    found.update(
                        (first + place, data[place * size : (place + 1) * size]) for place in range(_AT_ONCE)
                    )
        found.update(self._changed)
        return {page: found[page] for page in sorted(found) if found[page] != self.erased}

    def differing(self, pages: Mapping[int, bytes]) -> list[int]:
        """The numbers of the pages that do not hold what ``pages`` says; those it leaves out: erased."""
        used = self.used()
        return sorted(page for page in used.keys() | pages.keys() if used.get(page) != pages.get(page))

    def hold(self, pages: Mapping[int, bytes]) -> None:
        """Let the chip hold ``pages``, and those that they leave out be erased: in the image too."""
        for page in self.differing(pages):
            self.write(page, pages.get(page, self.erased))

    def load(self, state: Mapping[int, bytes]) -> None:
        """Put back what :meth:`save` gave: pages that it does not name hold what they held at first."""
        for page in list(self._changed):
            if page not in state:
                self.write(page, self._original[page])
                del self._changed[page]
        for page, data in state.items():
            self.write(page, data)
            self._changed[page] = data
