"""What the API answers: the shapes, for its description, and the functions that fill them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from tether.core.cause import Code, Phase
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.surfaces.api.encoding import encode
from tether.surfaces.supervisor import Member, Supervisor

Seconds = Annotated[str, Field(pattern=r"^\d+(\.\d{1,3})?s$", examples=["3600s", "1.5s"])]


class Connection(BaseModel):
    """One connection. Durations are decimal seconds plus ``s``; times are UTC (RFC 3339)."""

    id: str = Field(description="Its name.")
    type: str = Field(description="Its technology, such as `redis`.")
    url: str = Field(description="Where to, without secrets.")
    status: Literal["disconnected", "connecting", "connected", "reconnecting", "failed"]
    paused: bool = Field(description="Left alone until it is resumed.")
    degraded: bool = Field(description="Connected, but not everything on it could be restored.")
    flapping: bool = Field(description="It came and went several times in a row without becoming stable.")
    required: bool = Field(description="`/readyz` fails while it is not connected.")
    depends_on: list[str]
    last_connected: datetime | None = Field(description="When the latest connection came up.")
    reconnect_attempts: int = Field(ge=0, description="Since the start, without first connects.")
    consecutive_failures: int = Field(ge=0, description="Failed attempts in a row; 0 once connected.")
    total_uptime: Seconds = Field(description="With the present connection.")
    session_uptime: Seconds = Field(description="Of the present connection.")
    last_reconnect_latency: Seconds | None = Field(
        description="From noticing the latest loss that healed to being connected again.",
    )
    losses: int = Field(ge=0)
    generation: int = Field(ge=0, description="Number of the latest dial.")
    cause: Code | None = Field(description="Why it is down; null while connected.")
    cause_label: str | None = Field(description="The same in words.")
    phase: str | None = Field(
        description="How far the failed attempt had come: dns, tcp, tls, auth, restore, ready."
    )
    last_error: str | None = Field(description="What ended the last connection or attempt; without secrets.")
    down_for: Seconds | None = Field(
        description="How long the present outage, or first start, has lasted; null while connected or stopped."
    )
    next_attempt_in: Seconds | None = Field(description="Null when none is due.")
    problem: str | None = Field(description="Why it could not be started at all.")


class Connections(BaseModel):
    """All connections, by name."""

    connections: dict[str, Connection]


class Event(BaseModel):
    """What happened to one connection: the ``data`` of an event of the feed."""

    kind: Kind
    connection: str = Field(description="Its name.")
    type: str = Field(description="Its technology.")
    status: Status = Field(description="The status after it.")
    timestamp: datetime
    generation: int = Field(ge=0, description="Number of the dial that it came from.")
    retry_count: int = Field(ge=0, description="Failed attempts in a row.")
    cause: Code | None
    cause_detail: str = Field(description="The same more exactly, such as `reset_by_peer`; empty as a rule.")
    phase: Phase | None
    message: str = Field(description="One line about the error; without secrets.")
    endpoint: str
    delay: float | None = Field(description="Seconds until the next attempt (`retry_scheduled`).")
    elapsed: float | None = Field(description="Seconds that it took; of what, is said by the kind.")
    detail: dict[str, Any] = Field(description="More, by kind.")


class Missed(BaseModel):
    """The ``data`` of ``event: missed``: others could not be told."""

    missed: int | None = Field(ge=0, description="How many, of all connections; null when nobody knows.")
    reason: Literal["too_slow", "restarted"]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(
        description="Stable: `unauthorized`, `forbidden`, `not_found`, `method_not_allowed`, `paused`, `not_started`, "
        "`cannot_start`, `invalid`, `unavailable`, `error`.",
        examples=["not_found"],
    )


def described() -> dict[str, Any]:
    """Return the JSON schemas of what no route names as its model, with all that they refer to."""
    _, schema = models_json_schema(
        [(model, "serialization") for model in (Event, Missed, Problem)],
        ref_template="#/components/schemas/{model}",
    )
    defined: dict[str, Any] = schema["$defs"]
    return defined


def connections(supervisor: Supervisor) -> bytes:
    """Return a filled ``Connections``, encoded.

    One after the other: with 500, all of their values at once would have the garbage collector go through the whole
    process, and the loop stand still for that.
    """
    members = (
        encode(member.name) + b":" + encode(connection(supervisor, member)) for member in supervisor.members()
    )
    return b'{"connections":{' + b",".join(members) + b"}}"


def connection(supervisor: Supervisor, member: Member) -> dict[str, Any]:
    """Return a filled ``Connection``, as plain values."""
    stats = supervisor.stats(member)
    problem = supervisor.problem(member.name) or None
    if stats is None:
        return _identity(member) | _NEVER_MADE | {"problem": problem}
    cause = None if stats.status is Status.CONNECTED else stats.cause
    latency, next_attempt = stats.last_reconnect_latency, stats.next_attempt_in
    return {
        **_identity(member),
        "status": stats.status.value,
        "paused": stats.paused,
        "degraded": stats.degraded,
        "flapping": stats.flapping,
        "last_connected": utc(stats.last_connected),
        "reconnect_attempts": stats.reconnect_attempts,
        "consecutive_failures": stats.retry_count,
        "total_uptime": decimal(stats.uptime),
        "session_uptime": decimal(stats.session_uptime),
        "last_reconnect_latency": None if latency is None else decimal(latency),
        "losses": stats.losses,
        "generation": stats.generation,
        "cause": None if cause is None else cause.code.value,
        "cause_label": None if cause is None else cause.label(),
        "phase": None if cause is None else cause.phase.value,
        "last_error": stats.last_error or None,
        "down_for": None if stats.down_for is None else decimal(stats.down_for),
        "next_attempt_in": None if next_attempt is None else decimal(next_attempt),
        "problem": problem,
    }


def _identity(member: Member) -> dict[str, Any]:
    return {
        "id": member.name,
        "type": member.type,
        "url": member.url,
        "required": member.required,
        "depends_on": list(member.depends_on),
    }


_NEVER_MADE: dict[str, Any] = {
    "status": Status.FAILED.value,
    "paused": False,
    "degraded": False,
    "flapping": False,
    "last_connected": None,
    "reconnect_attempts": 0,
    "consecutive_failures": 0,
    "total_uptime": "0s",
    "session_uptime": "0s",
    "last_reconnect_latency": None,
    "losses": 0,
    "generation": 0,
    "cause": None,
    "cause_label": None,
    "phase": None,
    "last_error": None,
    "down_for": None,
    "next_attempt_in": None,
}


def decimal(seconds: float) -> str:
    """Return seconds as the API prints them: ``3600s``, ``1.5s``."""
    return f"{max(0.0, seconds):.3f}".rstrip("0").rstrip(".") + "s"


@lru_cache(maxsize=4096)  # a connection's time changes only when it comes back
def utc(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 with ``Z``, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
