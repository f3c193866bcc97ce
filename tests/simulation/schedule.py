"""What a schedule is: how the connections are set up, and what happens to them when. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One thing that happens.

    Attributes:
        at: seconds since the beginning.
        act: what; see ``tests.simulation.acts``.
        who: number of the connection, or of the server.
        args: more, by act.
    """

    at: float
    act: str
    who: int = 0
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """How one connection is set up. Durations in seconds.

    Attributes:
        server: number of the server that it connects to.
        client: whom users call: the open connection (``handle``), a pool of their own (``own``), or a pool that repeats
            failed calls by itself (``retrying``).
        provider: whether there is a credentials provider.
    """

    server: int = 0
    client: str = "handle"
    provider: bool = False
    base: float = 1.0
    factor: float = 2.0
    maximum: float = 20.0
    jitter: float = 0.1
    max_retries: int | None = None
    connect_timeout: float = 5.0
    interval: float = 3.0
    timeout: float = 1.0
    threshold: int = 1
    stable_after: float = 10.0
    health_check: bool = True
    quick: bool = True


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run of the simulation.

    Attributes:
        seed: decides the jitter of the runtime and the luck of single packets; nothing else.
        options: of each connection.
        steps: in the order of their times.
        heals: whether all faults end after the last step, and everything must come up;
            otherwise it is stopped as it is.
    """

    seed: int
    options: tuple[Options, ...]
    steps: tuple[Step, ...]
    heals: bool = True

    def as_python(self) -> str:
        """Return it as an expression, to be kept as a test."""
        lines = [f"Schedule(seed={self.seed}, heals={self.heals}, options=("]
        lines += [f"    {_short(options)}," for options in self.options]
        lines += ["), steps=("]
        lines += [f"    Step({step.at}, {step.act!r}, {step.who}, {step.args!r})," for step in self.steps]
        return "\n".join([*lines, "))"])


def _short(options: Options) -> str:
    """Return only what differs from the defaults."""
    usual = Options()
    names = [name for name in Options.__slots__ if getattr(options, name) != getattr(usual, name)]
    return f"Options({', '.join(f'{name}={getattr(options, name)!r}' for name in names)})"
