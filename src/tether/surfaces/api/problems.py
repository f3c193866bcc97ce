"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tether.surfaces.api.encoding import encode
from tether.surfaces.supervisor import NoSuchConnection, NotNow

MEDIA_TYPE = "application/problem+json"

_CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    422: "invalid",
    503: "unavailable",
}


class Refused(HTTPException):
    """A request that is refused, with a stable code and advice.

    Args:
        status: the HTTP status.
        detail: what is wrong, and the mend.
        code: stable; by the status if left out.
        headers: to send along.
    """

    def __init__(
        self, status: int, detail: str, code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code = code or _CODES.get(status, "error")


def problem(path: str, refused: Refused) -> Response:
    """Return the answer for a refused request."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status_code).phrase,
        "status": refused.status_code,
        "detail": refused.detail,
        "instance": quote(path, errors="backslashreplace"),
        "code": refused.code,
    }
    return Response(encode(body), refused.status_code, refused.headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the part of a route's description that says which problems it may answer with."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def answer_with_problems(app: FastAPI) -> None:
    """Have what ``app`` refuses answered as a problem; for what breaks there is ``front.Unexpected``."""

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        refused = error
        if not isinstance(refused, Refused):
            refused = Refused(error.status_code, str(error.detail), headers=error.headers)
        return problem(request.scope["path"], refused)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(request.scope["path"], Refused(422, f"{where}: {first['msg']}"))

    @app.exception_handler(NoSuchConnection)
    async def unknown(request: Request, error: NoSuchConnection) -> Response:
        return problem(request.scope["path"], Refused(404, str(error)))

    @app.exception_handler(NotNow)
    async def not_now(request: Request, error: NotNow) -> Response:
        return problem(request.scope["path"], Refused(409, str(error), error.code))
