"""Forked children and a real server: its own list of clients says who is connected."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest
import redis.asyncio as aio
import trustme

from tests.runtime.forking import Child, Runner, run_uvloop
from tests.runtime.support import Notes
from tests.storage.redis.conftest import ask, until
from tether import Status, UsageError
from tether.backoff import fixed_interval
from tether.runtime import fork
from tether.storage import RedisReconnector
from tether.testing.servers import RedisServer

pytestmark = [
    pytest.mark.needs_server,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

ON_BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, run_uvloop])


def reconnector(client: Any = None, options: Any = None) -> RedisReconnector:
    return RedisReconnector(
        client,
        options,
        name="cache",
        health_check_interval=0.2,
        health_check_timeout=0.5,
        retry_interval=fixed_interval(0.05),
    )


def clients(server: RedisServer) -> set[str]:
    """Return the ids of the server's clients, without the one that asks."""
    listed = re.findall(r"^id=(\d+) .* cmd=(\S+)", ask(server.port, "CLIENT LIST"), re.MULTILINE)
    return {number for number, command in listed if command != "client|list"}


async def _connection_id(client: Any) -> int:
    return int(await client.client_id())


@ON_BOTH_LOOPS
def test_forked_in_a_running_loop(server: RedisServer, run: Runner) -> None:
    async def main() -> None:
        client, got = aio.Redis(port=server.port), Notes()
        r = reconnector(client)
        await r.start()
        await r.subscribe("news", handler=got)
        own = await r.run(_connection_id)
        parents = clients(server)
        assert len(parents) == 2

        async def child() -> Any:
            heard = []
            await asyncio.sleep(0.1)  # whatever the parent's handler had waiting is not delivered here
            with pytest.raises(
                UsageError, match=r"^cache was started in another process; call start\(\) here$"
            ):
                await r.run(_connection_id)
            with pytest.raises(UsageError, match="started in another process"):
                await r.stop()
            before = r.status
            in_between = clients(server)
            await r.start()
            await until(lambda: len(clients(server)) == 3)  # the child's own probing connection
            id_of_ours = await r.run(_connection_id)
            heard += [len(clients(server))]
            await asyncio.sleep(0.5)  # probes go on
            connected = r.is_connected
            await r.stop()
            await client.aclose()
            return before, in_between, id_of_ours, heard, connected

        before, in_between, other, heard, connected = await Child(lambda: run(child()))
        assert before is Status.DISCONNECTED
        assert in_between == parents
        assert other != own
        assert (heard, connected) == ([4], True)
        assert clients(server) == parents  # nothing of the child's is left, nothing of the parent's is gone
        assert await r.run(_connection_id) == own
        await client.publish("news", "x")
        await until(lambda: got)
        assert (r.stats().losses, r.stats().probes_failed, r.generation) == (0, 0, 1)
        await r.stop()
        await client.aclose()

    run(main())


def test_a_child_lets_go_so_that_the_server_sees_the_parents_end(server: RedisServer) -> None:
    """A copy that the child kept open would keep the parent's connections on the server for the child's whole life."""

    async def main() -> None:
        client = aio.Redis(port=server.port)
        r = reconnector(client)
        await r.start()
        await r.run(_connection_id)
        child = Child(lambda: time.sleep(1.5))
        await asyncio.sleep(0.1)  # until it runs
        for connection in client.connection_pool._available_connections:
            assert connection._writer is not None
            connection._writer.transport.abort()
        r._engine.abort(r._engine.handle)
        await until(lambda: clients(server) == set() or r.generation > 1, within=1)
        await r.stop()
        await client.aclose()
        await until(lambda: clients(server) == set(), within=0.5)
        assert await child is None

    asyncio.run(main())


def test_an_idle_busy_and_single_connection_of_the_users_pool_is_not_the_childs(server: RedisServer) -> None:
    async def main() -> None:
        pool = aio.BlockingConnectionPool(port=server.port, max_connections=2, timeout=1)
        client, single = (
            aio.Redis(connection_pool=pool),
            aio.Redis(port=server.port, single_connection_client=True),
        )
        r, other = reconnector(client), reconnector(single)
        await r.start()
        await other.start()
        ids = {await _connection_id(client), await _connection_id(single)}
        waiting = [asyncio.create_task(_pop(client)) for _ in range(2)]  # all are busy
        await until(lambda: len(pool._in_use_connections) == 2)
        in_queue = asyncio.create_task(_connection_id(client))
        await asyncio.sleep(0.05)

        async def child() -> list[int]:
            found = []
            for member, own in ((r, client), (other, single)):
                await member.start()
                found.append(await member.run(_connection_id))
                await member.stop()
                await own.aclose()
            return found

        assert not ids & set(await Child(lambda: asyncio.run(child())))
        pusher = aio.Redis(port=server.port)
        await pusher.rpush("queue", "a", "b")
        assert {value for _, value in await asyncio.gather(*waiting)} == {b"a", b"b"}
        assert await in_queue in ids
        assert (r.stats().losses, other.stats().losses) == (0, 0)
        await asyncio.gather(r.stop(), other.stop())
        for own in (client, single, pusher):
            await own.aclose()
        await pool.disconnect()

    asyncio.run(main())


async def _pop(client: Any) -> Any:
    return await client.blpop("queue", timeout=5)


@pytest.mark.parametrize("kind", ["unix", "tls"])
def test_connections_of_other_kinds_end_without_a_word(
    server: RedisServer, tmp_path: Path, kind: str
) -> None:
    """Through a relay that writes down every byte that the client sends after the fork."""

    async def main() -> None:
        said: list[bytes] = []
        client, listening = await (_by_tls if kind == "tls" else _by_unix)(server, tmp_path, said)
        r = reconnector(client)
        await r.start()
        await r.run(_connection_id)
        r.pause()  # the parent is silent now
        await asyncio.sleep(0.1)
        said.clear()

        def child() -> str:
            fork._left.clear()
            gc.collect()
            return r.status.value

        assert await Child(child) == "disconnected"
        await asyncio.sleep(0.1)
        assert said == []
        r.resume()
        await r.run(_connection_id)
        assert r.stats().losses == 0
        assert said  # it does write down what it hears
        await r.stop()
        await client.aclose()
        for each in listening:
            each.close()

    asyncio.run(main())


async def _by_unix(
    server: RedisServer, directory: Path, said: list[bytes]
) -> tuple[Any, list[asyncio.Server]]:
    path = str(directory / "redis.sock")
    relay = await asyncio.start_unix_server(_relay_to(server.port, said), path)
    return aio.Redis(unix_socket_path=path), [relay]


async def _by_tls(
    server: RedisServer, directory: Path, said: list[bytes]
) -> tuple[Any, list[asyncio.Server]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    inner = await asyncio.start_server(_relay_to(server.port, []), "127.0.0.1", 0, ssl=context)
    outer = await asyncio.start_server(_relay_to(_port(inner), said), "127.0.0.1", 0)
    client = aio.Redis(host="localhost", port=_port(outer), ssl=True, ssl_ca_certs=str(directory / "ca.pem"))
    return client, [inner, outer]


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def _relay_to(port: int, said: list[bytes]) -> Callable[..., Awaitable[None]]:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, back, said), _copy(other, writer, []), return_exceptions=True)

    return relay


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: list[bytes]) -> None:
    while chunk := await reader.read(4096):
        said.append(chunk)
        writer.write(chunk)
    said.append(b"end of file")
    writer.close()


class Parent(threading.Thread):
    """A reconnector of the parent in an event loop on a thread, as an application that forks has it."""

    def __init__(self, r: RedisReconnector) -> None:
        super().__init__()
        self._r, self.up, self._end = r, threading.Event(), threading.Event()
        self.losses = -1

    def run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        async with self._r as r:
            await r.run(_connection_id)
            self.up.set()
            await asyncio.to_thread(self._end.wait)
            await r.run(_connection_id)
            self.losses = r.stats().losses

    def __enter__(self) -> Self:
        self.start()
        assert self.up.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join(5)


async def _serve(r: RedisReconnector) -> Any:
    """What a worker does: start its own, work, stop."""
    async with r:
        return await r.run(_connection_id), str(r.status)


def test_preloaded_as_by_gunicorn(server: RedisServer) -> None:
    """Made at import, started in the parent too, and each of two workers starts its own."""
    r = reconnector(None, f"redis://127.0.0.1:{server.port}")
    with Parent(r) as parent:
        before = clients(server)
        workers = [Child(lambda: asyncio.run(_serve(r))) for _ in range(2)]
        told = [worker.join() for worker in workers]
        assert {status for _, status in told} == {"connected"}
        assert len({str(number) for number, _ in told} | before) == len(before) + 2
        assert clients(server) == before
    assert parent.losses == 0
    assert clients(server) == set()


def test_preloaded_and_never_started_in_the_parent(server: RedisServer) -> None:
    r = reconnector(None, f"redis://127.0.0.1:{server.port}")
    told = [worker.join() for worker in [Child(lambda: asyncio.run(_serve(r))) for _ in range(2)]]
    assert [status for _, status in told] == ["connected"] * 2
    assert told[0] != told[1]
    assert clients(server) == set()


def _worker(r: RedisReconnector, answers: Any) -> None:
    try:
        asyncio.run(r.run(_connection_id))
    except UsageError as error:
        answers.put(str(error))
    answers.put(asyncio.run(_serve(r))[1])


def test_multiprocessing_by_fork(server: RedisServer) -> None:
    r = reconnector(None, f"redis://127.0.0.1:{server.port}")
    context = multiprocessing.get_context("fork")
    with Parent(r) as parent:
        before, answers = clients(server), context.SimpleQueue()
        worker = context.Process(target=_worker, args=(r, answers))
        worker.start()
        told = [answers.get(), answers.get()]
        worker.join(10)
        assert told == ["cache was started in another process; call start() here", "connected"]
        assert (worker.exitcode, clients(server)) == (0, before)
    assert parent.losses == 0


EXITS = """
import asyncio, os, sys, threading
from tether.storage import RedisReconnector

r = RedisReconnector(None, sys.argv[1], health_check_interval=0.2)

async def main():
    await r.start()
    await r.run(lambda c: c.ping())
    print("up", flush=True)
    ready.set()
    await asyncio.to_thread(done.wait)
    await r.run(lambda c: c.ping())
    print(r.stats().losses, r.stats().probes_failed, flush=True)
    await r.stop()

def child():
    if sys.argv[2] == "starts":
        async def life():
            async with r:
                await r.run(lambda c: c.ping())
        asyncio.run(life())
    sys.exit(3)

ready, done = threading.Event(), threading.Event()
thread = threading.Thread(target=asyncio.run, args=(main(),))
thread.start()
ready.wait()  # forked while the other thread prints, the child would wait for stdout's lock for ever: Python's own trap
if (pid := os.fork()) == 0:
    child()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
done.set()
thread.join()
"""


@pytest.mark.parametrize("how", ["starts", "does nothing"])
def test_a_child_that_exits_as_usual_is_silent_and_harmless(server: RedisServer, how: str) -> None:
    """``sys.exit`` runs the interpreter's whole clean-up, over all that came from the parent."""
    quiet = ["-W", "always", "-W", "ignore::DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *quiet, "-c", EXITS, f"redis://127.0.0.1:{server.port}", how],
        input="\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["up", "0", "0"], "")
    assert clients(server) == set()
