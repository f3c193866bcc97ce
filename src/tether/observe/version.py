"""Which tether this is, as a label of metrics and traces."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str:
    """Return the version of the installed package; ``unknown`` when the source is used without installing it."""
    try:
        return version("tether")
    except PackageNotFoundError:
        return "unknown"
