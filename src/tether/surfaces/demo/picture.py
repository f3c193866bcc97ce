"""A picture of the demo for the README: ``python -m tether.surfaces.demo.picture demo.svg``.

Plays the demo without a terminal until it is in the middle of its last outage (about 15 s), and writes what the view
shows then: a picture of a real run, not a drawing. ``--width`` is in columns, 80 by default.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from tether.core.lifecycle import Status
from tether.surfaces.demo.model import Progress, Snapshot
from tether.surfaces.demo.stage import Settings, Stage, first_of, stage
from tether.surfaces.demo.view import View
from tether.surfaces.svg import as_svg, new_console

ROWS = 24


def svg(snapshot: Snapshot, *, width: int = 80) -> str:
    """Return the view of ``snapshot`` as an SVG document that loads nothing from elsewhere."""
    console = new_console(width=width, height=ROWS)
    console.print(View(snapshot), end="")
    return as_svg(console, "tether demo")


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
