"""The server: binding, clients that dawdle, and an end that is quick whatever they do."""

import asyncio
import errno
import json
import os
import socket
import sys
from pathlib import Path

import httpx
import pytest

from tests.surfaces.api.support import CONNECTIONS, EVENTS, eventually, reading, real, scripted, serving
from tests.surfaces.api.test_stream import Watched, deaf, flood
from tether.surfaces.api import create_app
from tether.surfaces.api import server as servers
from tether.surfaces.api.server import ApiServer, CannotListen, url_of
from tether.surfaces.supervisor import Supervisor


def port_of(server):
    return int(server.url.rpartition(":")[2])


async def say(server, text):
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(text if isinstance(text, bytes) else text.encode())
    return reader, writer


async def dropped(reader):
    """Wait for the end of a connection, and return what came before it."""
    heard = b""
    try:
        while chunk := await reader.read(65536):
            heard += chunk
    except ConnectionError:
        pass
    return heard


# -- binding ----------------------------------------------------------------------------------------------------------


async def refusal(host, port):
    server = ApiServer(host, port)
    with pytest.raises(CannotListen) as caught:
        await server.bind()
    assert server._sockets == []
    await server.stop()
    return str(caught.value)


@real
async def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = await refusal("127.0.0.1", port)

    assert said.startswith(f"api.port: port {port} of 127.0.0.1 is taken by another process")
    assert "choose another port" in said


@real
async def test_a_port_that_is_not_for_us(monkeypatch):
    def forbidden(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(servers, "_listen", forbidden)

    assert await refusal("127.0.0.1", 80) == "api.port: port 80 is not for this user; choose one above 1023"


@real
async def test_an_address_of_another_machine():
    assert await refusal("192.0.2.1", 0) == "api.host: 192.0.2.1 is not an address of this machine"


@pytest.mark.parametrize("host", ["no-such-name.invalid", "", "a" * 300, "a..b"])
@real
async def test_a_name_that_leads_nowhere(host):
    assert f"api.host: {host} cannot be resolved" in await refusal(host, 0)


@real
async def test_any_other_error_is_told_as_the_system_tells_it(monkeypatch):
    def broken(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(servers, "_listen", broken)

    assert await refusal("127.0.0.1", 80) == "api: cannot listen on 127.0.0.1, port 80: Too many open files"


@real
async def test_port_0_is_a_free_one():
    first, second = ApiServer("127.0.0.1", 0), ApiServer("127.0.0.1", 0)
    await first.bind()
    await second.bind()

    assert port_of(first) != port_of(second)
    assert 0 not in {port_of(first), port_of(second)}
    await first.stop()
    await second.stop()


@pytest.mark.parametrize(
    "missing", [(), (socket.AF_INET6,), (socket.AF_INET,)], ids=["both", "only 4", "only 6"]
)
@pytest.mark.parametrize("error", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
@real
async def test_localhost_with_one_or_both_kinds_of_addresses(missing, error, monkeypatch):
    listening = []

    def listen(family, address):
        if family in missing:
            raise OSError(error, os.strerror(error))
        listening.append(family)
        return socket.socket(family)

    async def both(*_, **__):
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 8000, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 8000)),
        ]

    monkeypatch.setattr(servers, "_listen", listen)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    server = ApiServer("localhost", 8000)
    await server.bind()
    await server.stop()

    assert set(listening) == {socket.AF_INET, socket.AF_INET6} - set(missing)


@real
async def test_localhost_without_any_address(monkeypatch):
    def listen(*_):
        raise OSError(errno.EADDRNOTAVAIL, "no")

    monkeypatch.setattr(servers, "_listen", listen)

    assert "localhost is not an address of this machine" in await refusal("localhost", 8000)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        *(
            pytest.param(host, marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))
            for host in ("::1", "[::1]")
        ),
    ],
)
@real
async def test_it_answers_where_it_says(host):
    server = ApiServer(host, 0)
    await server.bind()
    await server.start(create_app(Supervisor()))
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{server.url}{CONNECTIONS}")).json() == {"connections": {}}
    await server.stop()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("[::]", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("[::1]", "http://[::1]:80"),
        ("example.com", "http://example.com:80"),
    ],
)
def test_the_url_for_clients_of_this_machine(host, url):
    assert url_of(host, 80) == url


# -- clients that dawdle ----------------------------------------------------------------------------------------------

GET = f"GET {CONNECTIONS} HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = f"POST {CONNECTIONS}/x/pause HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "GET",
        "GET / HTTP/1.1\r\nHost: loc",
        POST + "Content-Length: 100\r\n\r\nhalf",
        POST + "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        GET + "GET /half HTTP/1.1\r\n",
        GET + POST + "Content-Length: 100\r\n\r\nhalf",
    ],
    ids=[
        "nothing",
        "a word",
        "half a header",
        "half a body",
        "half a chunk",
        "half a second",
        "half a second body",
    ],
)
@real
async def test_a_client_that_does_not_end_its_request_is_dropped(said, monkeypatch):
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT", 0.1)
    async with serving() as (server, _):
        reader, writer = await say(server, said)
        await dropped(reader)  # else the test does not end
        await eventually(lambda: not server._server.server_state.connections)
        writer.close()


@real
async def test_a_client_that_sends_byte_by_byte_gets_no_more_time(monkeypatch):
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT", 0.1)
    async with serving() as (server, _):
        reader, writer = await say(server, GET)
        waiting = asyncio.create_task(dropped(reader))
        while not waiting.done():
            writer.write(b"a")
            await asyncio.sleep(0.01)
        assert waiting.result().startswith(b"HTTP/1.1 200")
        writer.close()


@real
async def test_a_reader_of_events_has_ended_its_request(monkeypatch):
    monkeypatch.setattr(servers, "REQUEST_TIMEOUT", 0.05)
    async with (
        Watched() as it,
        serving(it.supervisor, keep_alive=0.06) as (_, client),
        reading(client) as reader,
    ):
        for _ in range(4):
            await it.lose_and_return()
            await reader.until("reconnected")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "said", ["GET / HTTP/1.1\r\nx: " + "a" * 200_000, "\x00\x01\x02\r\n\r\n", "FOO\r\n\r\n"]
)
@real
async def test_what_is_no_request_is_answered_with_400_and_the_end(said):
    async with serving() as (server, client):
        reader, writer = await say(server, said)
        heard = await dropped(reader)
        assert heard == b"" or heard.startswith(b"HTTP/1.1 400")
        writer.close()
        assert (await client.get("/livez")).text == "ok\n"


@real
async def test_nonsense_behind_an_answer_that_has_begun_ends_the_connection_and_nothing_else(caplog):
    async with serving() as (server, client):
        request = f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        reader, writer = await say(server, request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.write(b"no chunk\r\n")
        await dropped(reader)
        writer.close()
        assert (await client.get("/livez")).status_code == 200
    assert "Traceback" not in caplog.text


@real
async def test_a_body_is_ignored_and_not_kept():
    async with serving() as (server, _):
        reader, writer = await say(server, POST + "Content-Length: 50000000\r\n\r\n")
        chunk = b"x" * 100_000
        kept = 0
        for _ in range(500):
            writer.write(chunk)
            await writer.drain()
            for connection in server._server.server_state.connections:
                kept = max(kept, len(connection.cycle.body) if connection.cycle else 0)
        assert (await reader.readline()) == b"HTTP/1.1 404 Not Found\r\n"
        assert kept <= 4 * 65536
        writer.close()


@real
async def test_a_client_that_asks_much_and_reads_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(servers, "ANSWER_TIMEOUT", 0.1)
    supervisor = Supervisor()
    for number in range(300):
        supervisor.add(f"connection-{number}", scripted(f"connection-{number}"))
    async with serving(supervisor) as (server, client):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port_of(server)))
        sock.sendall(GET.encode() * 50)
        await eventually(lambda: server._server.server_state.connections)
        await eventually(lambda: not server._server.server_state.connections)
        sock.close()
        assert (await client.get("/livez")).status_code == 200


@real
async def test_a_client_that_reads_slowly_gets_all_of_it(monkeypatch):
    monkeypatch.setattr(servers, "ANSWER_TIMEOUT", 5.0)
    supervisor = Supervisor()
    for number in range(300):
        supervisor.add(f"connection-{number}", scripted(f"connection-{number}"))
    async with serving(supervisor) as (server, _):
        reader, writer = await say(server, GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
        body = b""
        while chunk := await reader.read(4096):
            body += chunk
            await asyncio.sleep(0.001)
        assert len(json.loads(body.partition(b"\r\n\r\n")[2])["connections"]) == 300
        writer.close()


@real
async def test_head_is_answered_without_a_body_and_the_connection_can_be_used_again():
    async with serving() as (server, _):
        reader, writer = await say(server, GET.replace("GET", "HEAD") + GET)
        writer.write_eof()
        first, second = (await dropped(reader)).split(b"HTTP/1.1 ")[1:]
        writer.close()

    assert first.startswith(b"200")
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b'{"connections":{}}')


# -- the end ----------------------------------------------------------------------------------------------------------


@real
async def test_the_end_is_quick_whatever_the_clients_do(caplog, monkeypatch):
    monkeypatch.setattr(servers, "GRACE", 0.3)
    async with Watched() as it:
        server = ApiServer("127.0.0.1", 0)
        await server.bind()
        app = create_app(it.supervisor, abort=server.abort, stall_timeout=600)
        await server.start(app)
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            half_reader, half_writer = await say(server, "GET / HTTP/1.1\r\nHo")
            body_reader, body_writer = await say(server, POST + "Content-Length: 9\r\n\r\nhalf")
            with deaf(port_of(server)):
                async with reading(client) as stream:
                    for _ in range(3):
                        await eventually(lambda: len(server._server.server_state.connections) == 4)
                        flood(2000)
                        await asyncio.sleep(0.15)
                    app.state.close()
                    async with asyncio.timeout(5):
                        await server.stop()
                        await dropped(half_reader)
                        await dropped(body_reader)
                    assert stream.response.status_code == 200
            half_writer.close()
            body_writer.close()
        assert not server._server.server_state.connections
        assert not server._server.server_state.tasks
        await server.stop()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []


@real
async def test_the_end_is_quick_also_when_nobody_has_closed_the_feed(caplog, monkeypatch):
    monkeypatch.setattr(servers, "GRACE", 0.3)
    server = ApiServer("127.0.0.1", 0)
    await server.bind()
    await server.start(create_app(Supervisor(), abort=server.abort))
    async with (
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        client.stream("GET", EVENTS),
        asyncio.timeout(5),
    ):
        await server.stop()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []


@real
async def test_an_answer_under_way_is_given_to_the_end():
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(scope, receive, send):
        began.set()
        await go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    server = ApiServer("127.0.0.1", 0)
    await server.bind()
    await server.start(slow)
    async with httpx.AsyncClient(trust_env=False) as client:
        asking = asyncio.create_task(client.get(server.url))
        await began.wait()
        stopping = asyncio.create_task(server.stop())
        go.set()
        assert (await asking).text == "done"
        await stopping


@real
async def test_an_answer_that_does_not_end_is_cut(monkeypatch):
    monkeypatch.setattr(servers, "GRACE", 0.3)

    async def endless(scope, receive, send):
        await asyncio.get_running_loop().create_future()

    server = ApiServer("127.0.0.1", 0)
    await server.bind()
    await server.start(endless)
    reader, writer = await say(server, GET)
    await eventually(lambda: server._server.server_state.tasks)
    async with asyncio.timeout(8):
        await server.stop()
        assert await dropped(reader) == b""
    writer.close()
    assert not server._server.server_state.tasks


@real
async def test_the_port_is_free_after_the_end():
    server = ApiServer("127.0.0.1", 0)
    await server.bind()
    port = port_of(server)
    await server.start(create_app(Supervisor()))
    await server.stop()
    again = ApiServer("127.0.0.1", port)
    await again.bind()
    await again.stop()

    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


@real
async def test_ended_waits_for_the_end():
    server = ApiServer("127.0.0.1", 0)
    await server.ended()
    await server.bind()
    await server.start(create_app(Supervisor()))
    waiting = asyncio.create_task(server.ended())
    await asyncio.sleep(0)
    assert not waiting.done()
    await server.stop()
    await waiting


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@real
async def test_no_socket_is_left():
    def open_sockets():
        found = []
        for link in Path("/proc/self/fd").iterdir():
            try:
                found += [link] if str(link.readlink()).startswith("socket") else []
            except OSError:
                continue
        return len(found)

    before = open_sockets()
    for _ in range(2):
        async with serving() as (server, client):
            await client.get("/livez")
            reader, writer = await say(server, "GET")
            async with reading(client):
                assert open_sockets() > before
        await dropped(reader)
        writer.close()
        await asyncio.sleep(0)
    assert open_sockets() == before
