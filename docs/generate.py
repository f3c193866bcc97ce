"""Draws the reference pages that come from tables in the code.

``python docs/generate.py`` writes them; ``--check`` only says whether they are current (the tests do that).
"""

import sys
from pathlib import Path

from tether.core.cause import LABELS, RECOVERY, Code
from tether.core.events import Kind
from tether.core.lifecycle import TRANSITIONS, Status

REFERENCE = Path(__file__).parent / "reference"


def lifecycle() -> str:
    """Return the page of the state machine: a diagram and a table, both from ``TRANSITIONS``."""
    edges: dict[tuple[Status, Status], list[str]] = {}
    for status, row in TRANSITIONS.items():
        for trigger, target in row.items():
            edges.setdefault((status, target), []).append(trigger.value)
    arrows = [f"    {a.value} --> {b.value}: {', '.join(names)}" for (a, b), names in edges.items()]
    rows = [
        f"| `{status.value}` | {', '.join(f'{trigger.value} → `{target.value}`' for trigger, target in row.items())} |"
        for status, row in TRANSITIONS.items()
    ]
    return "\n".join(
        [
            "# The states of a connection",
            "",
            "*Drawn from `TRANSITIONS` in `src/tether/core/lifecycle.py` by `python docs/generate.py`.*",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> disconnected",
            *arrows,
            "```",
            "",
            "`connecting` lasts until the first connection, through sleeps and dials; after a loss the status is",
            "`reconnecting`. `failed` is not the end: `reconnect()`, a change of the network or of a credential, and a",
            "call of yours that goes through revive it. What is not in the table is refused and changes nothing.",
            "",
            "| status | what moves it |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def causes() -> str:
    """Return the page of causes: code, recovery, labels."""
    rows = [
        f"| `{code.value}` | `{RECOVERY[code].value}` | {LABELS[code.value]['en']} | {LABELS[code.value]['zh']} |"
        for code in Code
    ]
    finer = [
        f"| `{key}` | {text['en']} | {text['zh']} |" for key, text in LABELS.items() if key not in set(Code)
    ]
    return "\n".join(
        [
            "# Causes",
            "",
            "*Drawn from the tables in `src/tether/core/cause.py` by `python docs/generate.py`.*",
            "",
            "Every loss and every failed attempt has a cause, found by type, code and phase, never by the text of a",
            "message. The cause decides the recovery. The phase says how far it had come: `dns`, `tcp`, `tls`, `auth`,",
            "`restore`, `ready`.",
            "",
            '| code | recovery | `label()` | `label("zh")` |',
            "|---|---|---|---|",
            *rows,
            "",
            "Finer labels of the same causes (`cause.detail`):",
            "",
            '| detail | `label()` | `label("zh")` |',
            "|---|---|---|",
            *finer,
            "",
            "| recovery | what follows |",
            "|---|---|",
            "| `none` | nothing: it was meant |",
            "| `backoff` | the next attempt after the backoff's delay, and never before the peer's own hint |",
            "| `reauthenticate` | the credentials provider is asked once; login again after `reauth_delay` |",
            "| `wait_for_service` | the peer's own delay and up to a quarter more, or the backoff's |",
            "",
            "A credential that never worked is parked (`failed`) after two refusals; one that worked is tried slowly,",
            "1 min doubling to 15 min. Attempts that an overloaded service refuses do not count against `max_retries`.",
            "",
        ]
    )


def events() -> str:
    """Return the list of events, with the comments of their enum where there are any."""
    return "\n".join(
        [
            "# Events",
            "",
            "*Drawn from `Kind` in `src/tether/core/events.py` by `python docs/generate.py`.*",
            "",
            "Everything that happens is a frozen `ReconnectEvent` with `kind`, `connection`, `status`, `timestamp`,",
            "`generation`, `retry_count`, `cause`, `error`, `message`, `endpoint`, `delay`, `elapsed` and `detail`.",
            "`async for event in reconnector.events()` reads them: 1 000 are kept for a slow reader, then the oldest",
            "is dropped and counted. `event.as_dict()` holds no secret and no exception.",
            "",
            "The kinds, in the order of a life:",
            "",
            *(f"- `{kind.value}`" for kind in Kind),
            "",
        ]
    )


PAGES = {"lifecycle.md": lifecycle, "causes.md": causes, "events.md": events}


def stale() -> list[str]:
    """Return the names of pages that are not current."""
    return [
        name
        for name, draw in PAGES.items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text("utf-8") != draw()
    ]


def main() -> int:
    """Write the pages, or check them."""
    if "--check" in sys.argv[1:]:
        for name in stale():
            print(f"docs/reference/{name} is not current; run: python docs/generate.py")
        return 1 if stale() else 0
    for name, draw in PAGES.items():
        (REFERENCE / name).write_text(draw(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
