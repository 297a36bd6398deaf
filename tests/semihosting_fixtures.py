"""Guests that make semihosting calls, with files and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.semihosting_guest import SemihostingGuest


@pytest.fixture(params=["arm", "thumb"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SemihostingGuest]:
    folder = tmp_path / "files"
    folder.mkdir()
    guest = SemihostingGuest(thumb=request.param == "thumb", folder=folder, command_line=b"prog x")
    yield guest
    guest.close()


@pytest.fixture
def arm(tmp_path: Path) -> Iterator[SemihostingGuest]:
    """A guest that is given no files."""
    guest = SemihostingGuest()
    yield guest
    guest.close()


@pytest.fixture
def folder(guest: SemihostingGuest) -> Path:
    assert guest.config.folder is not None
    return guest.config.folder
