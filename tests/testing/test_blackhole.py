"""The blackhole: packets vanish, in both directions, without an error for anybody."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tether.backoff import fixed_interval
from tether.storage import RedisReconnector
from tether.testing import blackhole as module
from tether.testing.blackhole import Blackhole, BlackholeUnavailable
from tether.testing.servers import RedisServer, ServerMissing


@pytest.fixture
def hole():
    try:
        with Blackhole() as made:
            yield made
    except BlackholeUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def pair(hole):
    """A listener on one side, and a connection to it from the other."""
    with hole.server_side():
        listener = socket.create_server((hole.server_host, 0))
    with listener:
        with hole.client_side():
            client = socket.create_connection(listener.getsockname(), timeout=10)
        with client:
            server, _ = listener.accept()
            server.settimeout(10)
            with server:
                yield client, server, listener.getsockname()


def test_packets_pass_vanish_and_pass_again(hole, pair):
    client, server, _ = pair
    client.sendall(b"one")
    assert server.recv(10) == b"one"
    hole.drop()
    client.sendall(b"two")  # no error: it is on its way, as far as the sender can know
    server.sendall(b"three")
    for side in pair[:2]:
        side.settimeout(0.3)
        with pytest.raises(TimeoutError):
            side.recv(10)
        side.settimeout(10)
    hole.heal()
    assert server.recv(10) == b"two"  # sent again by the kernel
    assert client.recv(10) == b"three"


def test_dialling_hangs(hole, pair):
    address = pair[2]
    hole.drop()
    with hole.client_side(), pytest.raises(TimeoutError):
        socket.create_connection(address, timeout=0.3)
    hole.heal()
    with hole.client_side():
        socket.create_connection(address, timeout=10).close()


def test_neither_side_reaches_anything_else(hole):
    with socket.create_server(("127.0.0.1", 0)) as outside:
        for side in (hole.client_side, hole.server_side):
            with side():
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(outside.getsockname(), timeout=5)
                with pytest.raises(OSError, match="unreachable"):
                    socket.create_connection(("192.0.2.1", 80), timeout=5)
        socket.create_connection(outside.getsockname(), timeout=5).close()  # this thread is back


def test_it_leaves_nothing_behind(hole):
    def spaces():
        return (
            len(list(Path("/proc/self/fd").iterdir())),
            Path("/proc/thread-self/ns/net").readlink(),
            threading.active_count(),
        )

    before = spaces()
    with Blackhole() as another:
        another.drop()
        with pytest.raises(ZeroDivisionError), another.client_side():
            raise ZeroDivisionError
    assert spaces() == before
    for use in (another.drop, another.heal, another.client_side().__enter__):
        with pytest.raises(RuntimeError, match="inside `with`"):
            use()


def test_a_wire_that_cannot_be_made_leaves_nothing_behind(hole, monkeypatch):
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setitem(module._HOSTS, "client", "no address")
    with pytest.raises(BlackholeUnavailable, match="cannot be wired"), Blackhole():
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestUnavailable:
    def test_without_linux(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        with pytest.raises(BlackholeUnavailable, match="Linux"), Blackhole():
            pass

    def test_without_the_program(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(BlackholeUnavailable, match="iproute2"), Blackhole():
            pass

    @pytest.mark.parametrize(
        ("number", "reason"), [(errno.EPERM, "needs root"), (errno.ENOSPC, "makes no network namespace")]
    )
    def test_without_rights_or_room(self, monkeypatch, number, reason):
        def refuse(name, *arguments):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr("shutil.which", lambda name: name)
        monkeypatch.setattr(module, "_call", refuse)
        with pytest.raises(BlackholeUnavailable, match=reason), Blackhole():
            pass

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to give it up")
    def test_without_root_in_a_process_of_its_own(self):
        program = "import os; os.setuid(65534)\nfrom tether.testing.blackhole import Blackhole\nBlackhole().__enter__()"
        done = subprocess.run(
            [sys.executable, "-c", f"import tether.testing.blackhole\n{program}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "BlackholeUnavailable: a blackhole needs" in done.stderr


@pytest.mark.needs_server
def test_redis_behind_it_is_lost_by_timeout_dialled_in_vain_and_found_again(hole):
    try:
        server = RedisServer(extra=["--bind", "127.0.0.1", hole.server_host])
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))

    async def main():
        seen = []
        cache = RedisReconnector(
            None,
            f"redis://{hole.server_host}:{server.port}",
            max_retries=None,
            retry_interval=fixed_interval(0.05),
            connect_timeout=0.3,
            health_check_interval=0.1,
            health_check_timeout=0.3,
            subscribers=[seen.append],
        )
        async with cache, asyncio.timeout(20):
            await cache.wait_connected()
            hole.drop()
            while sum(event.cause is not None for event in seen) < 4:  # noqa: ASYNC110 - the loss, and dials
                await asyncio.sleep(0.01)
            hole.heal()
            await cache.wait_connected()
            assert await cache.run(lambda client: client.ping(), timeout=10) is True
        assert {event.cause.code for event in seen if event.cause is not None} == {"timeout"}

    with contextlib.closing(server):
        with hole.server_side():
            server.start()
        with hole.client_side():
            asyncio.run(main())
