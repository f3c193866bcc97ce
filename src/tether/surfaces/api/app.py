"""The HTTP API: reads snapshots, sends commands, and knows nothing else of the connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.requests import HTTPConnection

import tether
from tether.observe.history import history
from tether.runtime.manager import ReconnectManager
from tether.surfaces.api import routes, shapes
from tether.surfaces.api.access import Access, OriginCheck
from tether.surfaces.api.feed import Feed
from tether.surfaces.api.front import BasePath, EncodedSlashes, HeadRequests, Unexpected
from tether.surfaces.api.problems import answer_with_problems
from tether.surfaces.api.stream import KEEP_ALIVE, STALL_TIMEOUT, Abort
from tether.surfaces.supervisor import Supervisor

READERS = 100
"""Clients that may listen to events at once."""

_ABOUT = """Connections that tether keeps alive: what state they are in, and commands for them.

Reading needs the *read* token, commands the *operate* token (`Authorization: Bearer …`); without tokens the API is \
open to this machine only. Errors are `application/problem+json`.
"""

_TAGS = [
    {"name": "connections", "description": "What state they are in, and commands for them."},
    {"name": "observe", "description": "The live feed, and metrics."},
    {"name": "probes", "description": "For orchestrators; they need no token."},
]


_FRAME: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Where to resume."},
        "event": {
            "type": "string",
            "enum": ["message", "missed"],
            "default": "message",
            "description": "`message` is not written out.",
        },
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                "anyOf": [{"$ref": "#/components/schemas/Event"}, {"$ref": "#/components/schemas/Missed"}]
            },
        },
        "retry": {"type": "integer"},
    },
}


def create_app(
    supervised: Supervisor | ReconnectManager,
    *,
    access: Access | None = None,
    base_path: str = "",
    abort: Abort = lambda _: None,
    stall_timeout: float = STALL_TIMEOUT,
    keep_alive: float = KEEP_ALIVE,
    readers: int = READERS,
) -> FastAPI:
    """Return the API as an ASGI application, to be served by itself or mounted into one of yours.

    Args:
        supervised: the connections.
        access: who may do what; by default, open to this machine.
        base_path: under which a proxy serves it, such as ``/tether``; the proxy may take it off, or leave it on.
        abort: drops the connection that a request came on.
        stall_timeout: seconds that a reader of events may block a write.
        keep_alive: seconds of silence after which such a reader is sent a comment.
        readers: of events, at once.

    ``app.state.close()`` ends the streams of events.
    """
    supervisor = supervised if isinstance(supervised, Supervisor) else Supervisor(supervised)
    access = access or Access()
    app = FastAPIOffline(
        title="tether",
        version=tether.__version__,
        description=_ABOUT,
        openapi_tags=_TAGS,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        # The validator is a site of others, which would be sent the description.
        swagger_ui_parameters={
            "defaultModelsExpandDepth": 0,
            "tryItOutEnabled": True,
            "validatorUrl": None,
        },
    )
    # The last one added is the first one asked.
    app.add_middleware(OriginCheck)
    app.add_middleware(HeadRequests)
    app.add_middleware(BasePath, base_path=base_path)
    app.add_middleware(EncodedSlashes)
    app.add_middleware(Unexpected)
    answer_with_problems(app)
    feed = Feed(history, supervisor.event_names)
    app.state.close = feed.close
    events = routes.events(
        feed, abort=abort, stall_timeout=stall_timeout, keep_alive=keep_alive, limit=readers
    )
    _include(app, access, supervisor, events)
    _describe(app)
    return app


def _include(app: FastAPI, access: Access, supervisor: Supervisor, events: routes.APIRouter) -> None:
    async def may_read(request: HTTPConnection) -> None:
        access.check(request, operate=False)

    async def may_operate(request: HTTPConnection) -> None:
        access.check(request, operate=True)

    bearer = Depends(
        HTTPBearer(scheme_name="token", auto_error=False, description="The read token or the operate token.")
    )
    app.include_router(routes.reading(supervisor), dependencies=[Depends(may_read), bearer])
    app.include_router(routes.commands(supervisor), dependencies=[Depends(may_operate), bearer])
    app.include_router(events, dependencies=[Depends(may_read), bearer])
    app.include_router(routes.probes(supervisor, access))


def _operation_id(route: APIRoute) -> str:
    return route.name


def _describe(app: FastAPI) -> None:
    """Put the API's description right: what ``documented()`` refers to is added, and what cannot happen taken out."""
    describe: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        schemas = schema["components"]["schemas"]
        schemas.update(shapes.described())
        # The framework's own shape of a 422, which it adds to every route that has parameters: ours is a problem, and
        # a name cannot be invalid.
        if schemas.pop("HTTPValidationError", None) is not None:
            del schemas["ValidationError"]
        answer = schema["paths"][routes.EVENTS]["get"]["responses"]["200"]
        answer["content"] = {"text/event-stream": {"itemSchema": _FRAME}}  # as OpenAPI 3.2 has it
        for operations in schema["paths"].values():
            for operation in operations.values():
                _drop_foreign_422(operation["responses"])
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _drop_foreign_422(responses: dict[str, Any]) -> None:
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]
