"""docs/python.md: every block runs as it stands there, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from linux_guest import guest_folder

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"


def test_the_page_s_examples_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBGEMU_GUEST", str(guest_folder()))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE.read_text(), re.M | re.S)
    names: dict[str, Any] = {}
    try:
        for number, (code, expected) in enumerate(blocks, 1):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, f"docs/python.md, block {number}", "exec"), names)
            assert printed.getvalue() == expected, f"block {number}"
    finally:
        if "board" in names:
            names["board"].close()
    assert len(blocks) >= 8
