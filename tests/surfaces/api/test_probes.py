"""/livez, /readyz and /metrics."""

import asyncio

import pytest

from tests.runtime.support import virtual
from tests.surfaces.api.support import asking, connector_of, eventually, real, scripted, world
from tether.surfaces.api.encoding import encode
from tether.surfaces.supervisor import Supervisor


@virtual
async def test_livez_answers_whatever_the_connections_do():
    async with world() as supervisor, asking(supervisor) as client:
        supervisor.is_stopping = True
        response = await client.get("/livez")

        assert (response.status_code, response.text) == (200, "ok\n")


@virtual
async def test_ready_is_when_all_that_is_required_is_up():
    async with world() as supervisor, asking(supervisor) as client:
        response = await client.get("/readyz")
        assert (response.status_code, response.text) == (200, "ready\n")

        connector_of(supervisor, "up").then = ConnectionRefusedError
        connector_of(supervisor, "up").live[0].lose()
        response = await client.get("/readyz")
        assert (response.status_code, response.text) == (503, "not ready\n")

        connector_of(supervisor, "up").then = None
        supervisor.reconnect("up")


@virtual
async def test_without_required_connections_it_is_ready_from_the_start():
    supervisor = Supervisor()
    supervisor.add("one", scripted("one"))
    async with asking(supervisor) as client:
        assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("broken", [False, True])
@virtual
async def test_a_required_one_that_is_not_started_or_could_not_be_made_is_not_ready(broken):
    supervisor = Supervisor()
    if broken:
        supervisor.add_broken("one", ValueError("no"), type="redis", required=True)
    else:
        supervisor.add("one", scripted("one"), required=True)
    async with asking(supervisor) as client:
        assert (await client.get("/readyz")).status_code == 503


@virtual
async def test_a_process_that_is_stopping_is_not_ready():
    supervisor = Supervisor()
    async with asking(supervisor) as client:
        supervisor.is_stopping = True
        response = await client.get("/readyz?verbose")

        assert (response.status_code, response.text) == (503, "[-]process is stopping\nnot ready\n")


@virtual
async def test_verbose_has_a_line_for_each():
    async with world() as supervisor, asking(supervisor) as client:
        response = await client.get("/readyz?verbose")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    *lines, verdict = response.text.splitlines()
    assert verdict == "ready"
    sleeping = lines.pop(2)
    assert sleeping.startswith("[!]sleeping reconnecting: reset, next attempt in ")
    assert sleeping.endswith(" (not required)")
    assert lines == [
        "[+]up ok",
        "[!]dialing connecting (not required)",
        "[!]failed failed: refused (not required)",
        "[+]paused ok",
        "[!]broken failed: it cannot be started (not required)",
        "[+]back ok",
        "[!]idle disconnected (not required)",
    ]


@virtual
async def test_a_required_one_has_a_mark_of_its_own_and_a_paused_one_that_is_down_says_so():
    supervisor = Supervisor()
    supervisor.add("one", scripted("one", then=ConnectionRefusedError), required=True)
    supervisor.start()
    await eventually(lambda: supervisor.manager.get("one").retry_count)
    supervisor.pause("one")
    async with asking(supervisor) as client:
        response = await client.get("/readyz?verbose")
    await supervisor.stop()

    assert (response.status_code, response.text) == (503, "[-]one paused: refused\nnot ready\n")


@real
async def test_metrics_are_read_beside_the_loop_and_name_the_connections(monkeypatch):
    threads = []
    original = asyncio.to_thread

    async def to_thread(*args):
        threads.append(args)
        return await original(*args)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    async with world() as supervisor, asking(supervisor) as client:
        response = await client.get("/metrics")

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'network_connection_state{connection="up",state="connected",type="scripted"} 1.0' in response.text
    assert 'network_reconnect_success_total{connection="back",type="scripted"} 1.0' in response.text
    assert len(threads) == 1


def test_encoding_is_compact():
    assert encode({"a": [1, None, "é"]}) == '{"a":[1,null,"é"]}'.encode()
