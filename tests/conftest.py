"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# A change is judged by the same examples each time; people's own runs look for new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
