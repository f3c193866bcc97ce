"""Helpers of the tests of the configuration."""

from __future__ import annotations

from pathlib import Path

from tether.config import Loaded, load


def load_text(folder: Path, text: str, environ: dict[str, str] | None = None, **options: bool) -> Loaded:
    """Load ``text`` as ``tether.yaml`` in ``folder``, with no other variables than ``environ``."""
    file = folder / "tether.yaml"
    file.write_text(text, "utf-8")
    return load(file, environ or {}, **options)
