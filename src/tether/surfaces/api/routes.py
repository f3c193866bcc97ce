"""The routes, and what their description says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tether.observe.metrics import MetricsCollector, exposition
from tether.surfaces.api import health, shapes
from tether.surfaces.api.access import Access
from tether.surfaces.api.encoding import encode
from tether.surfaces.api.feed import Feed
from tether.surfaces.api.problems import Refused, documented
from tether.surfaces.api.stream import Abort, EventStream
from tether.surfaces.supervisor import Supervisor

__all__ = ["APIRouter", "commands", "events", "probes", "reading"]

_PREFIX = "/api/v1/network/connections"

EVENTS = "/api/v1/events"

_TEXT = {"text/plain": {"schema": {"type": "string"}}}

Id = Annotated[
    str, Path(description="The connection's name; a slash in it is written `%2F`.", examples=["cache"])
]


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # Encoded already: with 500 connections, validating what was just made would cost ten times as much.
    always = {"cache-control": "no-store"}
    return Response(body, status, always | (headers or {}), "application/json")


def reading(supervisor: Supervisor) -> APIRouter:
    """Return the routes that tell what is so."""
    router = APIRouter()

    @router.get(
        _PREFIX,
        tags=["connections"],
        summary="All connections",
        description="By name, in the order in which they were registered.",
        response_model=None,
        responses={200: {"model": shapes.Connections}, **documented(401, 403)},
    )
    async def connections() -> Response:
        return _json(shapes.connections(supervisor))

    @router.get(
        _PREFIX + "/{id}",
        tags=["connections"],
        summary="One connection",
        description="The bare object.",
        response_model=None,
        responses={200: {"model": shapes.Connection}, **documented(401, 403, 404)},
    )
    async def connection(id: Id) -> Response:
        member = supervisor.member(_plain(supervisor, id))
        return _json(encode(shapes.connection(supervisor, member)))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(supervisor.manager))

    @router.get(
        "/metrics",
        tags=["observe"],
        summary="Metrics",
        description="In Prometheus' text format.",
        response_model=None,
        response_class=PlainTextResponse,
        responses=documented(401, 403),
    )
    async def metrics() -> Response:
        # On a thread: with many connections it takes longer than the loop that keeps them alive should wait.
        body, content_type = await asyncio.to_thread(exposition, registry)
        return Response(body, headers={"content-type": content_type})

    return router


def _plain(supervisor: Supervisor, id: str) -> str:
    """Return the name that a path speaks of: ``front.EncodedSlashes`` has left the slashes in it encoded."""
    return id.replace("%2F", "/") if id not in supervisor else id


def commands(supervisor: Supervisor) -> APIRouter:
    """Return the routes that have something done."""
    router = APIRouter(tags=["connections"])

    def command(name: str, summary: str, act: Callable[[str], None], about: str) -> None:
        @router.post(
            f"{_PREFIX}/{{id}}/{name}",
            status_code=202,
            name=name,
            summary=summary,
            description=about,
            response_model=None,
            responses={
                202: {
                    "model": shapes.Connection,
                    "description": "Accepted; the connection as it is at this moment.",
                    "headers": {
                        "Location": {
                            "description": "Where to see what comes of it.",
                            "schema": {"type": "string"},
                        }
                    },
                },
                **documented(401, 403, 404, 409),
            },
        )
        async def carry_out(id: Id, request: Request) -> Response:
            known = _plain(supervisor, id)
            act(known)
            here = f"{request.scope.get('root_path', '')}{_PREFIX}/{quote(known, safe='')}"
            now = shapes.connection(supervisor, supervisor.member(known))
            return _json(encode(now), 202, {"location": here})

    command(
        "reconnect",
        "Reconnect now",
        supervisor.reconnect,
        "Wakes a sleep between two attempts, revives what was given up, replaces a live connection. Joins an attempt "
        "that is under way. What comes of it is told by events. 409 while it is paused or not started.",
    )
    command(
        "pause",
        "Leave it alone",
        supervisor.pause,
        "No attempt and no probe until it is resumed; a live connection stays. 409 when it is not started.",
    )
    command("resume", "Look after it again", supervisor.resume, "At once. 409 when it is not started.")
    return router


def events(feed: Feed, *, abort: Abort, stall_timeout: float, keep_alive: float, limit: int) -> APIRouter:
    """Return the route of the live feed, for at most ``limit`` readers at once."""
    router = APIRouter(tags=["observe"])

    @router.get(
        EVENTS,
        summary="What happens, as it happens",
        description="Server-sent events. Each has an id; a reader that comes back with `Last-Event-ID` gets what it "
        "has missed. `event: missed` says that some could not be kept for it, and how many.",
        status_code=200,
        response_model=None,
        response_class=EventStream,
        responses={
            200: {
                "description": "Endless.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **documented(401, 403, 422, 503),
        },
    )
    async def events(
        *,
        connection: Annotated[str, Query(description="Only of this connection.")] = "",
        replay: Annotated[int, Query(ge=0, le=1000, description="Begin with so many past events.")] = 0,
        last_event_id: Annotated[str | None, Header(description="Resume behind this one.")] = None,
    ) -> Response:
        if not feed.is_open:
            raise Refused(503, "the server is stopping", headers={"Retry-After": "5"})
        if feed.readers >= limit:
            raise Refused(
                503, f"{feed.readers} readers listen already; close one", headers={"Retry-After": "5"}
            )
        position, hello = feed.begin(last_event_id, replay, connection)
        feed.join()
        return EventStream(
            feed,
            position,
            hello,
            abort=abort,
            left=feed.leave,
            stall_timeout=stall_timeout,
            keep_alive=keep_alive,
        )

    return router


def probes(supervisor: Supervisor, access: Access) -> APIRouter:
    """Return the routes that need no token: probes, and the way to the docs page."""
    router = APIRouter(tags=["probes"])

    @router.get("/livez", summary="Whether the process is alive", response_class=PlainTextResponse)
    async def livez() -> str:
        """Answers as long as the event loop turns, whatever the connections do."""
        return "ok\n"

    @router.get(
        "/readyz",
        summary="Whether all required connections are up",
        description="Machines go by the status, people read the lines. With `verbose`, which needs the read token, "
        "there is one for each connection.",
        response_model=None,
        response_class=PlainTextResponse,
        responses={503: {"description": "Not ready.", "content": _TEXT}, **documented(401, 403)},
    )
    async def readyz(
        request: Request,
        verbose: Annotated[
            str | None, Query(description="A line for each connection; needs no value.")
        ] = None,
    ) -> Response:
        ready = health.is_ready(supervisor)
        status = 200 if ready else 503
        if verbose is None:
            return PlainTextResponse("ready\n" if ready else "not ready\n", status)
        access.check(request, operate=False)  # the names of connections are not for everybody
        lines = health.report(supervisor).encode("utf-8", "backslashreplace")
        return PlainTextResponse(lines, status)

    @router.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")

    return router
