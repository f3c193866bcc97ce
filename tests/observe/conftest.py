"""Where the tests of metrics find promtool."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return the path of Prometheus's own checker."""
    path = shutil.which("promtool")
    if path is None:
        message = "promtool is missing; in Debian it is in the package 'prometheus'"
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            pytest.fail(message)
        pytest.skip(message)
    return path
