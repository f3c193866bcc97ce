"""The fixtures, in pytest runs of their own: plain tests, async ones, and nothing but pytest needed."""

from pathlib import Path

import pytest

import tether

pytest_plugins = ["pytester"]

PLUGIN = ["-p", "tether.testing.plugin"]


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file with our plugin, and no other, in a process of its own; return the outcome."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(tether.__file__).parents[1]))

    def run(source, *options):
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess(*PLUGIN, "-W", "error", "-rs", *options, timeout=60)

    return run


def test_a_plain_test_breaks_a_connection_and_the_proxy_ends_with_it(run):
    done = run(
        """
        import socket, threading
        import pytest

        PORTS = []

        def test_it(fault_proxy):
            with socket.create_server(("127.0.0.1", 0)) as server:
                proxy = fault_proxy(server.getsockname()[1], seed=1)
                PORTS.append(proxy.port)
                with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
                    peer, _ = server.accept()
                    with peer:
                        client.sendall(b"hello")
                        assert peer.recv(5) == b"hello"
                        proxy.reset_all()
                        with pytest.raises(ConnectionResetError):
                            client.recv(1)

        def test_it_is_over():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", PORTS[0]), timeout=10)
            assert threading.active_count() == 1
        """
    )
    done.assert_outcomes(passed=2)


@pytest.mark.needs_server
def test_a_redis_of_the_tests_own_behind_a_proxy(run):
    pytest.importorskip("redis")
    done = run(
        """
        import pytest, redis

        def test_it(redis_server, fault_proxy):
            proxy = fault_proxy(redis_server)
            with redis.Redis(port=proxy.port, socket_timeout=5, retry=None) as client:
                client.set("key", "value")
                proxy.down()
                with pytest.raises(redis.ConnectionError):
                    client.get("key")
                proxy.up()
                assert client.get("key") == b"value"

        def test_another_has_an_empty_one(redis_server):
            with redis.Redis(port=redis_server.port) as client:
                assert client.get("key") is None
        """
    )
    outcomes = done.parseoutcomes()
    assert outcomes in ({"passed": 2}, {"skipped": 2})


def test_async_tests_use_the_same_fixtures(run):
    pytest.importorskip("anyio.pytest_plugin")
    done = run(
        """
        import asyncio
        import pytest
        from tether.testing import Latency

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_it(fault_proxy, free_port):
            async def echo(reader, writer):
                writer.write(await reader.read(100))
                writer.close()

            server = await asyncio.start_server(echo, "127.0.0.1", free_port)
            proxy = fault_proxy(f"127.0.0.1:{free_port}")
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            with proxy.toxic(Latency(0.01)):
                writer.write(b"hello")
                assert await reader.read() == b"hello"
            writer.close()
            server.close()
        """,
        "-p",
        "anyio.pytest_plugin",
    )
    done.assert_outcomes(passed=1)


def test_what_cannot_be_here_is_a_skip_with_a_reason_or_a_failure_if_it_must_be(run, monkeypatch):
    source = """
        import tether.testing.servers as servers
        import tether.testing.blackhole as blackhole

        def missing(*args, **kwargs):
            raise servers.ServerMissing("no redis-server here")

        def unavailable():
            raise blackhole.BlackholeUnavailable("a blackhole needs root")

        servers.find_redis = missing
        blackhole._check_machine = unavailable

        def test_redis(redis_server):
            raise AssertionError

        def test_blackhole(blackhole):
            raise AssertionError
        """
    monkeypatch.delenv("TETHER_REQUIRE_SERVERS", raising=False)
    done = run(source)
    done.assert_outcomes(skipped=2)
    done.stdout.fnmatch_lines(["*no redis-server here*", "*a blackhole needs root*"])
    monkeypatch.setenv("TETHER_REQUIRE_SERVERS", "1")
    run(source).assert_outcomes(skipped=1, errors=1)


def test_upstreams_are_named_in_many_ways(run):
    done = run(
        """
        import pytest

        @pytest.mark.parametrize(
            ("upstream", "expected"),
            [
                (6379, ("127.0.0.1", 6379)),
                ("db.example:5432", ("db.example", 5432)),
                ("redis://:secret@cache:6379/0", ("cache", 6379)),
                ("[::1]:80", ("::1", 80)),
                (("db", 3306), ("db", 3306)),
            ],
        )
        def test_good(fault_proxy, upstream, expected):
            assert fault_proxy(upstream).upstream == expected

        def test_bad(fault_proxy):
            with pytest.raises(ValueError, match="names no port"):
                fault_proxy("redis://cache/0")
        """
    )
    done.assert_outcomes(passed=6)


def test_the_fixtures_are_described(run):
    done = run("", "--fixtures")
    for name in ("fault_proxy", "redis_server", "free_port", "blackhole"):
        done.stdout.re_match_lines([rf"{name} -- .*"])


def test_nothing_but_pytest_is_needed(run):
    done = run(
        """
        import sys

        def test_it(fault_proxy, free_port):
            assert not {"redis", "fastapi", "uvicorn", "typer", "rich", "yaml", "httpx"} & set(sys.modules)
        """
    )
    done.assert_outcomes(passed=1)
