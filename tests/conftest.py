"""Settings that all tests share."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import settings

# A change is judged by the same examples each time; people's own runs look for new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _same_seeds() -> None:
    """Tests that choose a seed of their own choose the same one each time, under the same rule."""
    if os.environ.get("CI"):
        random.seed(20261122)
