"""New files that appear under their names only when they are complete."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dbgemu.errors import OptionError


def refuse_existing(paths: Sequence[Path], *, force: bool) -> None:
    """OptionError where one of ``paths`` exists, unless ``force``."""
    if not force:
        for path in paths:
            if path.exists():
                raise OptionError(f"{path} exists already: use --force to replace it")


@contextmanager
def replacing(path: Path, beside: Sequence[str] = ()) -> Iterator[Path]:
    """A path for the new contents of ``path``, in a new folder in its folder.

    When the block ends without an exception, the file there takes the place of ``path``, and those whose
    names have an ending of ``beside`` more take theirs. Else nothing has changed. OptionError.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise OptionError(f"nothing can be written in {path.parent}: {error.strerror}") from None
    try:
        made = folder / path.name
        yield made
        for ending in ("", *beside):
            new = made.with_name(made.name + ending)
            if new.exists():
                _sync(new)
                new.replace(path.with_name(path.name + ending))
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def unused(path: Path) -> Iterator[None]:
    """OptionError when an emulator uses the image ``path``; none can begin to meanwhile."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OptionError(f"{path} is in use by an emulator: end that first") from None
            yield
    except FileNotFoundError:
        raise OptionError(f"there is no image {path}") from None
