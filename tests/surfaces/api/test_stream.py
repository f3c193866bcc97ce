"""The live feed over real sockets: who reads is served, who does not is dropped, and nobody else notices."""

import asyncio
import logging
import socket
from dataclasses import replace

import pytest

from tests.surfaces.api.support import (
    CONNECTIONS,
    EVENTS,
    Reader,
    connector_of,
    eventually,
    reading,
    real,
    scripted,
    serving,
)
from tether import ReconnectManager
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.observe.history import history
from tether.surfaces.supervisor import Supervisor
from tether.testing.scripted import Accept


def quick(name):
    return scripted(name, then=Accept(), retry_interval=fixed_interval(0.001))


class Watched:
    """One supervised connection, started."""

    def __init__(self, name="cache", own=None):
        self.supervisor = Supervisor()
        self.supervisor.add(name, quick(own or name))
        self.name = name

    async def __aenter__(self):
        self.supervisor.start()
        await eventually(lambda: self.supervisor.manager.get(self.name).is_connected)
        return self

    async def __aexit__(self, *_):
        await self.supervisor.stop()

    def lose(self):
        connector_of(self.supervisor, self.name).live[-1].lose()

    async def lose_and_return(self):
        generation = self.supervisor.manager.get(self.name).generation
        self.lose()
        reconnector = self.supervisor.manager.get(self.name)
        await eventually(lambda: reconnector.generation > generation and reconnector.is_connected)


@real
async def test_events_arrive_as_they_happen_under_the_registered_name():
    async with (
        Watched("cache", own="redis://x:6379/0") as it,
        serving(it.supervisor) as (_, client),
        reading(client) as reader,
    ):
        assert reader.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reader.response.headers["cache-control"] == "no-store"
        await it.lose_and_return()
        lost = await reader.until("lost")
        back = await reader.until("reconnected")

    assert (lost["connection"], lost["cause"]) == ("cache", "reset")
    assert back["status"] == "connected"
    assert reader.ids == sorted(reader.ids, key=lambda told: int(told.partition("-")[2]))


@real
async def test_a_reader_that_comes_back_gets_what_it_has_missed_and_nothing_twice():
    async with Watched() as it, serving(it.supervisor) as (_, client):
        async with reading(client) as reader:
            await it.lose_and_return()
            await reader.until("reconnected")
            last = reader.ids[-1]
        await it.lose_and_return()
        async with reading(client, last_event_id=last) as again:
            kinds = []
            while "reconnected" not in kinds:
                name, data = await again.next()
                assert name == "message"
                kinds.append(data["kind"])

    assert kinds[0] == "lost"
    assert last not in again.ids[1:]


@real
async def test_replay_begins_with_the_past_of_this_connection_only():
    manager = ReconnectManager()
    stranger = quick("stranger")
    async with Watched() as it, stranger, serving(it.supervisor) as (_, client):
        await it.lose_and_return()
        stranger._engine.connector.live[-1].lose()
        async with reading(client, replay=1000) as reader:
            first = await reader.until("lost")
            await it.lose_and_return()
            names = {first["connection"]} | {(await reader.next())[1]["connection"] for _ in range(6)}

    assert manager.names() == []
    assert names == {"cache"}


@real
async def test_silence_is_filled_with_comments_also_while_others_are_loud():
    async with Watched() as it, serving(it.supervisor, keep_alive=0.05) as (_, client):
        async with reading(client, connection="cache") as all_silent:
            await all_silent.response.aiter_lines().__anext__()
        async with client.stream("GET", EVENTS, params={"connection": "nobody"}) as response:
            comments = 0
            async for line in response.aiter_lines():
                await it.lose_and_return()
                assert not line.startswith("data")
                comments += line == ": keep-alive"
                if comments == 3:
                    break

    assert comments == 3


@real
async def test_head_shows_the_headers_and_takes_no_place():
    async with serving(readers=1) as (_, client):
        for _ in range(3):
            response = await client.head(EVENTS)
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.content == b""
        await eventually_readable(client)


async def eventually_readable(client):
    """Wait until a place is free."""
    async with asyncio.timeout(5):
        while True:
            async with client.stream("GET", EVENTS) as response:
                if response.status_code == 200:
                    return
            await asyncio.sleep(0.01)


@real
async def test_more_readers_than_places_are_told_when_to_return_and_a_place_that_is_left_is_free_again():
    async with serving(readers=2) as (_, client):
        async with reading(client), reading(client):
            response = await client.get(EVENTS)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "5"
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["code"] == "unavailable"
            assert (await client.get(CONNECTIONS)).status_code == 200
        await eventually_readable(client)


@real
async def test_closing_ends_the_streams_and_lets_nobody_in():
    async with serving() as (server, client):
        async with reading(client) as reader:
            server._server.config.app.state.close()
            with pytest.raises(EOFError):
                await reader.next()
            assert reader.comments == ["the server is stopping"]
        response = await client.get(EVENTS)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")


def deaf(port):
    """Return a socket that has asked for events and will never read them."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return sock


def flood(count=200):
    """Let much happen: events with long messages."""
    template = history.latest(1)[0].event
    for _ in range(count):
        history.append(replace(template, kind=Kind.EVIDENCE, message="x" * 2000))


def is_reset(sock):
    """Whether the other side has dropped the connection, rather than closed it in order."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


@real
async def test_a_reader_that_does_not_read_is_dropped_and_nobody_else_notices(caplog):
    async with (
        Watched() as it,
        serving(it.supervisor, stall_timeout=0.2, readers=2) as (server, client),
        reading(client) as other,
    ):
        port = int(server.url.rpartition(":")[2])
        with deaf(port) as sock:
            await eventually(lambda: len(server._server.server_state.connections) == 2)
            rounds = 0
            while not is_reset(sock):
                flood()
                await it.lose_and_return()  # the supervised connection goes on
                await other.until("reconnected")  # and so does the reader who reads
                rounds += 1
                assert rounds < 100
            await eventually(lambda: len(server._server.server_state.connections) == 1)
        await it.lose_and_return()
        await other.until("reconnected")

        assert it.supervisor.manager.get("cache").stats().stalls == 0
        async with reading(client):  # its place is free
            pass
    told = [record for record in caplog.records if record.name in {"tether.api", "uvicorn.error"}]
    assert [record.getMessage() for record in told] == [
        "a reader of events does not read; it was dropped, and can resume"
    ]


@real
async def test_a_reader_who_is_late_is_told_how_much_it_missed():
    async with Watched() as it, serving(it.supervisor) as (_, client):
        async with reading(client) as reader:
            last = await _first_id(reader)
            flood(5000)
        async with reading(client, last_event_id=last) as again:
            name, data = await again.next()

    assert (name, data["reason"]) == ("missed", "too_slow")
    assert data["missed"] == 5000 - 4096


async def _first_id(reader: Reader):
    await asyncio.sleep(0)
    async for line in reader._lines:
        if line.startswith("id: "):
            return line[4:]
    raise EOFError


@real
async def test_clients_that_leave_leave_nothing(caplog):
    caplog.set_level(logging.DEBUG, "tether.api")
    before = history._listeners
    async with Watched() as it, serving(it.supervisor) as (server, client):
        for _ in range(10):
            async with reading(client):
                it.lose()
        await eventually(lambda: not server._server.server_state.tasks)
        assert history._listeners == before
    assert caplog.messages == [] or all("cache" in message for message in caplog.messages)
