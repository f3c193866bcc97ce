"""The command line. ``main`` is what the script ``tether`` and ``python -m tether.surfaces.cli`` call."""

from __future__ import annotations

import sys

__all__ = ["main"]

MISSING = 69
"""EX_UNAVAILABLE: an optional package is not installed."""


def main() -> int:
    """Run the command line with the arguments of the process, and return the exit code."""
    try:
        # Not only what app.py imports: Typer imports Rich when it has something to print.
        import rich  # noqa: F401
        import typer  # noqa: F401

        from tether.surfaces.cli.app import main as run
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        sys.stderr.write(f"tether: the command line needs {error.name}: pip install 'tether[cli]'\n")
        return MISSING
    return run()
