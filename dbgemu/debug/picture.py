"""Pictures of the screen as files."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbgemu.target.s3c2440.lcd_frame import Frame

#: a file name's ending -> the format; what has none of these is PPM, as in QEMU
FORMATS = {".png": "png", ".ppm": "ppm", ".pnm": "ppm", ".bmp": "bmp"}


def encode(frame: Frame, form: str) -> bytes:
    """The bytes of a file in format ``form``, one of the values of :data:`FORMATS`."""
    if form == "ppm":
        return b"P6\n%d %d\n255\n%b" % (frame.width, frame.height, frame.rgb)
    from PIL import Image  # few runs make pictures

    stream = BytesIO()
    Image.frombytes("RGB", (frame.width, frame.height), frame.rgb).save(stream, form.upper())
    return stream.getvalue()


def save(frame: Frame, path: Path, form: str = "") -> str:
    """Write ``frame`` to ``path``, as its ending says or in format ``form``; gives the format.

    The file is complete or, after an OSError, as it was before.
    """
    form = form or FORMATS.get(path.suffix.lower(), "ppm")
    data = encode(frame, form)
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a device or a pipe
        return form
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.resolve().parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path.resolve())
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return form
