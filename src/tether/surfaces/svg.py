"""Pictures of a terminal, as SVG documents that load nothing from elsewhere."""

from __future__ import annotations

import io

from rich.console import Console
from rich.terminal_theme import TerminalTheme

_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
_THEME = TerminalTheme(
    (16, 18, 24),
    (222, 226, 230),
    [
        (16, 18, 24),
        (240, 62, 62),
        (55, 178, 77),
        (245, 159, 0),
        (51, 154, 240),
        (190, 75, 219),
        (34, 184, 207),
        (222, 226, 230),
    ],
    None,
)


def new_console(*, width: int, height: int = 24) -> Console:
    """Return a console that remembers what is printed on it."""
    return Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        width=width,
        height=height,
    )


def as_svg(console: Console, title: str) -> str:
    """Return what was printed on ``console``, with ``title`` on its frame."""
    identity = title.replace(" ", "-")
    return _without_web_fonts(console.export_svg(title=title, theme=_THEME, unique_id=identity), identity)


def _without_web_fonts(drawn: str, identity: str) -> str:
    """Use fonts that are there: GitHub shows no picture's web fonts, and a page should not ask a CDN for them."""
    start = drawn.find("@font-face")
    end = drawn.find(f".{identity}-matrix", start)
    if 0 <= start < end:
        drawn = drawn[:start] + drawn[end:]
    return drawn.replace("Fira Code, monospace", _FONTS)
