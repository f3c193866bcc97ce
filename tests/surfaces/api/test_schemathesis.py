"""The API against its own description: whatever is sent, the answer is one that the description knows.

The endless part of the feed is not covered: here a stream ends after its first frames, so that its status, its content
type and its end are checked; what follows is ``test_stream``'s. Nor is a request that is no HTTP (``test_server``).
"""

import asyncio
import threading
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.surfaces.api.support import STATES, serving, world
from tether.surfaces.api import Access, create_app, routes
from tether.surfaces.api.stream import EventStream
from tether.surfaces.supervisor import Supervisor

READ, OPERATE = "read-token-1234", "operate-token-5678"
CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Read as 3.2, which knows of streams: each event of the feed is then checked against its shape.
DESCRIBED = schemathesis.openapi.from_dict(create_app(Supervisor()).openapi() | {"openapi": "3.2.0"})
OPERATIONS: list[Any] = [cast("Any", result).ok() for result in DESCRIBED.get_all_operations()]
FEW = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Brief(EventStream):
    """A stream whose client leaves after the first frames."""

    async def _follow(self, send):
        await self._write(send, self._feed.take(self._position))


class Served:
    """The API over connections in every state, on a thread of its own."""

    def __init__(self):
        self.url = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self):
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with world() as supervisor, serving(supervisor, access=Access(READ, OPERATE)) as (server, _):
            self.url = server.url
            self._started.set()
            await self._end.wait()

    def __enter__(self):
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def url():
    with pytest.MonkeyPatch.context() as patch, Served() as served:
        patch.setattr(routes, "EventStream", Brief)
        yield served.url


def test_every_operation_is_asked_for():
    assert len(OPERATIONS) == sum(len(methods) for methods in DESCRIBED.raw_schema["paths"].values()) == 9


GOOD_AND_BAD = [
    pytest.param(operation, mode, id=f"{operation.label} {mode.name.lower()}")
    for operation in OPERATIONS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE
    or operation.definition.raw.get("parameters")  # else nothing can be wrong
]


@pytest.mark.parametrize(("operation", "mode"), GOOD_AND_BAD)
def test_the_answer_is_one_that_is_described(operation, mode, url):
    # A name of chance is nobody's; so that all answers are seen, some are of connections that there are.
    @FEW
    @given(case=operation.as_strategy(generation_mode=mode), name=st.sampled_from([None, *STATES]))
    def check(case, name):
        if name is not None and case.path_parameters:
            case.path_parameters = {"id": name}
        response = case.call(base_url=url, headers={"authorization": f"Bearer {OPERATE}"}, timeout=10)
        case.validate_response(response, checks=CONFORMANCE)
        if operation.path != "/readyz":  # whose 503 is its answer
            case.validate_response(response, checks=[not_a_server_error])

    check()


@pytest.mark.parametrize("token", ["", "wrong", READ])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_refusals_are_described_too(operation, token, url):
    @FEW
    @given(case=operation.as_strategy())
    def check(case):
        response = case.call(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=10)
        case.validate_response(response, checks=CONFORMANCE)
        if operation.method == "post":
            assert response.status_code == (403 if token == READ else 401)

    check()
