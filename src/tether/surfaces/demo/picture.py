"""A picture of the demo for the README: ``python -m tether.surfaces.demo.picture demo.svg``.

Plays the demo without a terminal until it is in the middle of its last outage (about 15 s), and writes what the view
shows then: a picture of a real run, not a drawing. ``--width`` is in columns, 80 by default.
"""

from __future__ import annotations

import argparse
import asyncio
import io
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from tether.core.lifecycle import Status
from tether.surfaces.demo.model import Progress, Snapshot
from tether.surfaces.demo.stage import Settings, Stage, first_of, stage
from tether.surfaces.demo.view import View

ROWS = 24

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


def svg(snapshot: Snapshot, *, width: int = 80) -> str:
    """Return the view of ``snapshot`` as an SVG document that loads nothing from elsewhere."""
    console = Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        width=width,
        height=ROWS,
    )
    console.print(View(snapshot), end="")
    drawn = console.export_svg(title="tether demo", theme=_THEME, unique_id="tether-demo")
    return _without_web_fonts(drawn)


def _without_web_fonts(drawn: str) -> str:
    """Use fonts that are there: GitHub shows no picture's web fonts, and a page should not ask a CDN for them."""
    start = drawn.find("@font-face")
    end = drawn.find(".tether-demo-matrix", start)
    if 0 <= start < end:
        drawn = drawn[:start] + drawn[end:]
    return drawn.replace("Fira Code, monospace", _FONTS)


async def _watch(scene: Stage, seen: list[Snapshot]) -> None:
    """Return at a telling moment: the last fault, some attempts in, and some while before the next."""
    while True:
        await asyncio.sleep(0.05)
        now = scene.look()
        last = now.steps[-1].progress is Progress.RUNNING
        if last and now.status is Status.RECONNECTING and now.attempt >= 5 and 0.5 < (now.next_in or 0) < 1.2:
            seen.append(now)
            return


async def _play() -> Snapshot:
    seen: list[Snapshot] = []
    async with stage(Settings(once=True)) as scene:
        await first_of(scene.perform(), _watch(scene, seen))
    if not seen:
        raise SystemExit("the run was over before the moment for the picture came; try again")
    return seen[0]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m tether.surfaces.demo.picture", description="Draw the demo."
    )
    parser.add_argument("file", type=Path, help="the SVG file to write")
    parser.add_argument("--width", type=int, default=80, help="columns (80)")
    chosen = parser.parse_args()
    chosen.file.write_text(svg(asyncio.run(_play()), width=chosen.width), encoding="utf-8")


if __name__ == "__main__":
    main()
