"""Draws the reference pages that come from tables in the code.

``python docs/generate.py`` writes them; ``--check`` only says whether they are current (the tests do that).
"""

import sys
from pathlib import Path

from tether.config.backoffs import STRATEGIES
from tether.config.model import Model
from tether.config.models import CONNECTIONS, ApiSettings
from tether.config.schema import schema_text
from tether.config.writing import flow
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
            "Everything that happens is a frozen `ReconnectEvent` with `kind`, `connection`, `type`, `status`,",
            "`timestamp`, `generation`, `retry_count`, `cause`, `error`, `message`, `endpoint`, `delay`, `elapsed` and",
            "`detail`.",
            "`async for event in reconnector.events()` reads them: 1 000 are kept for a slow reader, then the oldest",
            "is dropped and counted. `event.as_dict()` holds no secret and no exception.",
            "",
            "The kinds, in the order of a life:",
            "",
            *(f"- `{kind.value}`" for kind in Kind),
            "",
            "What `detail` holds:",
            "",
            "| kind | key | value |",
            "|---|---|---|",
            "| `attempt_failed`, `connected`, `reconnected` | `duration` | seconds that the attempt took |",
            "| | `phases` | seconds in each of its phases, in order; they add up to `duration` |",
            "| | `entered` | `[phase, seconds]` pairs: when, from its beginning, the attempt entered each phase |",
            "| `gap` | `channels` | names of the subscriptions that may have missed messages |",
            "| `dropped` | `callback` | whose queue was full: a callback, or `subscription(…)` |",
            "| | `dropped` | how many were dropped since the last such event of that queue |",
            "| `callback_failed` | `callback` | which |",
            "| | `error` | one redacted line |",
            "",
            "The phases are `dns`, `tcp`, `tls`, `auth` (asking for a credential and logging in), `restore` and",
            "`ready` (the round trip that proves the connection). One that was entered twice is once in `phases`,",
            "added up, and twice in `entered`.",
            "",
            "Drops come in bunches: the first is told at once, more of the same queue at most once a second, and the",
            "rest when the connection is stopped. `stats().dropped` counts each of them at once.",
            "",
        ]
    )


def configuration() -> str:
    """Return the page of the configuration file: its keys, their defaults and what they are for."""
    connections = [
        line
        for kind, model in CONNECTIONS.items()
        for line in (f"## `connections.<name>`, `type: {kind}`", "", *_keys(model), "")
    ]
    strategies = [
        f"| `{name}` | {', '.join(_defaults(model)) or 'nothing to set'} | {_first_words(model)} |"
        for name, model in STRATEGIES.items()
    ]
    top, bottom = CONFIGURATION.split("<!-- keys -->\n")
    tables = [
        *("## `api`", "", *_keys(ApiSettings), ""),
        *connections,
        *("## `retry`", "", "| `strategy` | keys and defaults | delays (n counts failed attempts from 0) |"),
        *("|---|---|---|", *strategies, "", ""),
    ]
    return top + "\n".join(tables) + bottom


def _keys(model: type[Model]) -> list[str]:
    defaults = model.model_construct().model_dump()
    rows = []
    for name, field in model.model_fields.items():
        shown = "required" if field.is_required() or name == "type" else f"`{flow(defaults[name])}`"
        if name == "retry":
            shown = "`exponential`, see below"
        rows.append(f"| `{name}` | {shown} | {field.description} |")
    return ["| key | default | what it says |", "|---|---|---|", *rows]


def _first_words(model: type[Model]) -> str:
    return (model.__doc__ or "").strip().replace("``", "`")


def _defaults(model: type[Model]) -> list[str]:
    values = model.model_construct().model_dump()
    return [f"`{name}: {flow(value)}`" for name, value in values.items() if name != "strategy"]


CONFIGURATION = """# The configuration file

*Drawn from the models in `src/tether/config/` by `python docs/generate.py`.*

One YAML file. Every key has a default, but a connection's `type` and `url`; unknown keys are errors. This version
supervises Redis and Valkey. A commented example is [`examples/tether.yaml`](../../examples/tether.yaml).

```
tether config check tether.yaml     # every mistake with line, column, key and mend; exit code 78 if there is one
tether config show tether.yaml      # what is in force, and where each value comes from; secrets as ***
tether config schema                # for editors: tether.schema.json, beside this page
```

`check` connects to nothing. It looks up variables and files; `--no-env` leaves that out, and does not judge what needs
them. It goes from stage to stage (the file, YAML, keys and types, references between connections, what the drivers
refuse) and tells all that one stage finds, 20 mistakes at most.

<!-- keys -->
`maximum` caps before jitter. `null` means no maximum.

## How values are written

- **Durations** are seconds (`1.5`) or text: `500ms`, `5s`, `1m30s`, `2h`, `1d`.
- **Variables**, in keys and values: `${NAME}`; `${NAME:-default}` where the variable is unset or empty; `${file:PATH}`,
  a file's text without its last line's end, its path relative to the configuration file's folder, 64 KiB at most.
  `$$` is a `$`, and so is a `$` without a brace behind it. Within `{…}` and `[…]` put them in quotes.
- What a variable brings is **text**, whatever it looks like. A key that wants a number, a truth value or a duration
  reads it from the text; `null`, or nothing at all, is none where a key may be none. Nothing else is converted: `1` is
  not `true`, and `yes` is text.
- In `options`, text becomes a number or a truth value where redis-py expects one. What the URL says goes before.
- A **password** in a URL is percent-encoded: `%40` for `@`, `%2F` for `/`, `%3A` for `:`, `%23` for `#`, `%3F` for `?`,
  `%25` for `%`. That holds for what a variable brings, too; `options: {password: "${REDIS_PASSWORD}"}` needs none.
- Anchors, aliases and `<<` work as everywhere in YAML 1.2. Tags (`!…`), a second document, recursive aliases, more than
  50 levels, 100 000 values or 1 MiB are refused.
- A **name** of a connection has 1 to 64 letters, digits and `_`, `-`, `.`.

## What must fit together

- `depends_on` names other connections of the file, and never in a circle.
- On another address than loopback the API needs a token. The two tokens differ; each has 8 characters or more.
- With `decorrelated`, `maximum` is at least as long as `base`.
"""


PAGES = {
    "lifecycle.md": lifecycle,
    "causes.md": causes,
    "events.md": events,
    "configuration.md": configuration,
    "tether.schema.json": schema_text,
}


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
