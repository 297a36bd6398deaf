"""docs/board.md names only sections and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/board.md").read_text()


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def test_the_table_links_to_every_section_and_to_no_other() -> None:
    headings = {_anchor(heading) for heading in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", PAGE))
    assert links <= headings
    assert headings - links == {"what-linux-complains-of"}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\btest_[\w*]+\.py", PAGE))))
def test_the_tests_that_are_named_exist(name: str) -> None:
    assert list((ROOT / "tests").glob(name))


def test_rows_of_tables_have_the_cells_of_their_headings() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in table.splitlines()}
        assert len(counts) == 1, table
