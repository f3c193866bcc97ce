"""What was measured, in words, the same for the view and for plain output."""

from __future__ import annotations

from tether.surfaces.demo.model import Counts, Result
from tether.surfaces.words import took


def fates(counts: Counts) -> list[str]:
    """Return what became of messages that did not get through."""
    named = (("not sent", counts.refused), ("unsure", counts.unsure))
    return [f"{count} {what}" for what, count in named if count]


def outcome(result: Result) -> str:
    """Return a result in one line."""
    noticed = (
        f"noticed after {took(result.noticed_after)}" if result.noticed_after is not None else "not noticed"
    )
    back = f"back after {took(result.back_after)}" if result.back_after is not None else "not back"
    flow = f"missed {result.counts.missed}" if result.flowed else "no messages since"
    return f"{noticed} · {back} · {flow}"
