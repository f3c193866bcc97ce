"""Errors: always problem+json, with a stable code, and without anything that is not for the client."""

import logging

import pytest

from tests.runtime.support import virtual
from tests.surfaces.api.support import CONNECTIONS, EVENTS, SECRET, asking, client_of, world
from tether.surfaces.api import Access, create_app
from tether.surfaces.api.shapes import Problem
from tether.surfaces.supervisor import Supervisor

READ, OPERATE = "read-token-1234", "operate-token-5678"


def check(response, status, code):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content, strict=True, extra="forbid")
    assert (problem.status, problem.code, problem.type) == (status, code, "about:blank")
    assert problem.title
    assert problem.detail
    return problem


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", f"{CONNECTIONS}/nobody", 404, "not_found"),
        ("GET", f"{CONNECTIONS}/", 404, "not_found"),
        ("POST", f"{CONNECTIONS}/nobody/reconnect", 404, "not_found"),
        ("DELETE", f"{CONNECTIONS}/up", 405, "method_not_allowed"),
        ("GET", f"{CONNECTIONS}/up/reconnect", 405, "method_not_allowed"),
        ("OPTIONS", CONNECTIONS, 405, "method_not_allowed"),
        ("POST", f"{CONNECTIONS}/paused/reconnect", 409, "paused"),
        ("POST", f"{CONNECTIONS}/idle/pause", 409, "not_started"),
        ("POST", f"{CONNECTIONS}/broken/resume", 409, "cannot_start"),
        ("GET", f"{EVENTS}?replay=many", 422, "invalid"),
        ("GET", f"{EVENTS}?replay=1001", 422, "invalid"),
        ("GET", f"{EVENTS}?replay=-1", 422, "invalid"),
    ],
)
@virtual
async def test_every_refusal_is_a_problem(method, path, status, code):
    async with world() as supervisor, asking(supervisor) as client:
        problem = check(await client.request(method, path), status, code)

        assert problem.instance == path.partition("?")[0]


@virtual
async def test_405_says_what_is_allowed():
    async with asking() as client:
        assert (await client.delete(CONNECTIONS)).headers["allow"] == "GET"


@virtual
async def test_tokens_are_asked_for_by_problems():
    async with asking(access=Access(READ, OPERATE)) as client:
        response = await client.get(CONNECTIONS)
        check(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == 'Bearer realm="tether"'

        headers = {"authorization": f"Bearer {READ}"}
        check(await client.post(f"{CONNECTIONS}/x/pause", headers=headers), 403, "forbidden")


@virtual
async def test_who_may_not_read_is_not_told_what_is_invalid():
    async with asking(access=Access(READ, OPERATE)) as client:
        check(await client.get(f"{EVENTS}?replay=many"), 401, "unauthorized")


@pytest.mark.parametrize("path", [CONNECTIONS, f"{CONNECTIONS}/up", "/readyz", "/metrics"])
@virtual
async def test_an_error_of_our_own_shows_the_client_nothing_and_the_log_no_secret(path, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError(f"cannot read redis://user:{SECRET}@cache")

    supervisor = Supervisor()
    app = create_app(supervisor)
    for name in ("members", "member"):
        monkeypatch.setattr(supervisor, name, broken)
    monkeypatch.setattr(supervisor.manager, "status", broken)
    async with client_of(app) as client:  # which raises whatever leaves the app
        response = await client.get(path)

    check(response, 500, "error")
    assert response.json()["detail"] == "the request could not be answered; the log says why"
    for hidden in (SECRET, "RuntimeError", "Traceback", ".py"):
        assert hidden not in response.text
    assert [record.levelno for record in caplog.records if record.name.startswith("tether")] == [
        logging.ERROR
    ]
    assert "RuntimeError: cannot read redis://user:***@cache" in caplog.text
    assert SECRET not in caplog.text


@virtual
async def test_a_path_cannot_forge_lines_of_the_log(monkeypatch, caplog):
    supervisor = Supervisor()
    monkeypatch.setattr(supervisor, "member", lambda name: 1 / 0)
    async with asking(supervisor) as client:
        await client.get(f"{CONNECTIONS}/x%0Aforged")

    assert "ZeroDivisionError" in caplog.text
    assert "\nforged" not in caplog.text


@virtual
async def test_the_instance_is_a_path_that_can_be_asked_for():
    async with asking() as client:
        response = await client.get("/n%C3%B6%20one")

        assert check(response, 404, "not_found").instance == "/n%C3%B6%20one"
