"""From a name to a stream, on loopback: every address tried, the fastest wins, and no socket is left behind.

Warnings are errors here: a socket that nobody closed is a ``ResourceWarning``.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
import uvloop

from tests.runtime.support import forever, now, settle, virtual
from tether.core.cause import Phase
from tether.runtime import dialing
from tether.runtime.dialing import Address, open_stream, race, resolve
from tether.testing.clock import VirtualTimeLoop, run_virtual
from tether.testing.tcp import MuteServer, refused_port

HOST = "127.0.0.1"


class Trying:
    """The attempt that ``open_stream`` tells its phase."""

    generation, is_reconnect, credential = 1, False, None

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self._moved = asyncio.Event()

    async def reached(self, phase: Phase) -> None:
        while phase not in self.phases:
            await self._moved.wait()
            self._moved.clear()

    @property
    def phase(self) -> Phase:
        return self.phases[-1]

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self.phases.append(phase)
        self._moved.set()

    def lost(self, error: BaseException) -> None:
        raise AssertionError(error)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Every socket that dialing makes; afterwards none may be open."""
    made: list[socket.socket] = []
    original = socket.socket

    def make(*args: Any, **kwargs: Any) -> socket.socket:
        sock = original(*args, **kwargs)
        made.append(sock)
        return sock

    fake = type("Module", (), {**{n: getattr(socket, n) for n in dir(socket)}, "socket": staticmethod(make)})
    monkeypatch.setattr(dialing, "socket", fake)
    yield made
    gc.collect()
    left = [sock for sock in made if sock.fileno() != -1]
    shown = list(map(repr, left))
    for sock in left:
        sock.close()  # so that only this test fails
    assert shown == []


@asynccontextmanager
async def echo(host: str = HOST, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says everything back; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await settle()


async def say(stream: dialing.Stream, text: bytes = b"hello\n") -> bytes:
    reader, writer = stream
    writer.write(text)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


def run_asyncio(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


def run_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


LOOPS = pytest.mark.parametrize("run", [run_asyncio, run_uvloop])


def answer(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> list[tuple[Any, ...]]:
    """Let every lookup answer ``addresses``; returns the questions."""
    asked: list[tuple[Any, ...]] = []

    async def getaddrinfo(self: Any, host: str, port: int, **options: Any) -> list[Any]:
        asked.append((host, port, options))
        return [(Address(*a).family, socket.SOCK_STREAM, 6, "", a[1]) for a in addresses]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def v4(number: int, port: int = 1) -> Address:
    return Address(socket.AF_INET, (f"192.0.2.{number}", port))


def v6(number: int, port: int = 1) -> Address:
    return Address(socket.AF_INET6, (f"2001:db8::{number}", port, 0, 0))


class TestResolve:
    @virtual
    async def test_families_are_interleaved_in_the_resolvers_order(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            asked = answer(patch, v6(1), v6(2), v6(3), v4(1), v4(2))
            assert await resolve("name", 7) == [v6(1), v4(1), v6(2), v4(2), v6(3)]
            assert asked == [("name", 7, {"type": socket.SOCK_STREAM})]

    @virtual
    async def test_the_family_that_the_resolver_prefers_goes_first(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            answer(patch, v4(1), v6(1), v4(2))
            assert await resolve("name", 7) == [v4(1), v6(1), v4(2)]

    @virtual
    async def test_doubles_are_dropped(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            answer(patch, v4(1), v4(1), v4(2), v4(1))
            assert await resolve("name", 7) == [v4(1), v4(2)]

    @virtual
    async def test_a_name_without_addresses_is_an_error_that_names_it(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            answer(patch)
            with pytest.raises(OSError, match="nowhere has no address"):
                await resolve("nowhere", 7)

    @virtual
    async def test_it_is_asked_anew_for_every_dial(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with echo() as port:
                asked = answer(patch, (socket.AF_INET, (HOST, port)))
                for _ in range(2):
                    assert await say(await open_stream("name", port, Trying())) == b"hello\n"
                assert len(asked) == 2

    def test_an_address_is_shown_as_people_write_it(self) -> None:
        assert (str(v4(1, 80)), str(v6(1, 80))) == ("192.0.2.1:80", "[2001:db8::1]:80")


class Net:
    """A scripted network under ``sock_connect``: what becomes of an attempt to connect, by address.

    Args:
        patch: to install it on the virtual loop.
        outcomes: seconds until it answers, an error to raise, or both as a pair; what is not named never answers.
    """

    def __init__(self, patch: pytest.MonkeyPatch, outcomes: dict[Address, Any]) -> None:
        self.outcomes = outcomes
        self.begun: list[tuple[str, float]] = []
        self.given_up: list[str] = []
        net = self

        async def sock_connect(loop: Any, sock: socket.socket, sockaddr: tuple[Any, ...]) -> None:
            await net.connect(Address(sock.family, sockaddr))

        patch.setattr(VirtualTimeLoop, "sock_connect", sock_connect, raising=False)

    async def connect(self, address: Address) -> None:
        self.begun.append((str(address), now()))
        outcome = self.outcomes.get(address)
        try:
            if outcome is None:
                await forever()
            delay, error = outcome if isinstance(outcome, tuple) else (outcome, None)
            if isinstance(delay, BaseException):
                delay, error = 0.0, delay
            await asyncio.sleep(delay)
            if error is not None:
                raise error
        except asyncio.CancelledError:
            self.given_up.append(str(address))
            raise


@pytest.mark.usefixtures("sockets")
class TestRace:
    """On the virtual clock, over a scripted network."""

    @staticmethod
    def _run(
        body: Callable[[Net], Awaitable[None]], outcomes: dict[Address, Any], patch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            await body(Net(patch, outcomes))
            await settle()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        run_virtual(main())

    def test_the_first_that_answers_in_time_is_the_only_one_tried(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def body(net: Net) -> None:
            (await race([v4(1), v4(2)])).close()
            await asyncio.sleep(1)
            assert net.begun == [("192.0.2.1:1", 0.0)]

        self._run(body, {v4(1): 0.2}, monkeypatch)

    def test_while_one_is_silent_the_next_starts_after_250_ms_and_the_fastest_wins(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def body(net: Net) -> None:
            sock = await race([v6(1), v4(1), v6(2), v4(2)])
            assert (sock.family, now()) == (socket.AF_INET6, 0.6)
            sock.close()
            await settle()
            assert net.begun == [("[2001:db8::1]:1", 0.0), ("192.0.2.1:1", 0.25), ("[2001:db8::2]:1", 0.5)]
            assert sorted(net.given_up) == ["192.0.2.1:1", "[2001:db8::1]:1"]

        self._run(body, {v6(2): 0.1}, monkeypatch)

    def test_when_one_fails_the_next_starts_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def body(net: Net) -> None:
            (await race([v4(1), v4(2), v4(3)])).close()
            assert net.begun == [("192.0.2.1:1", 0.0), ("192.0.2.2:1", 0.125), ("192.0.2.3:1", 0.25)]
            assert now() == 0.375

        refused = OSError(errno.ECONNREFUSED, "refused")
        self._run(body, {v4(1): (0.125, refused), v4(2): (0.125, refused), v4(3): 0.125}, monkeypatch)

    def test_an_early_one_that_is_slow_may_still_win(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def body(net: Net) -> None:
            sock = await race([v6(1), v4(1)])
            assert (sock.family, now()) == (socket.AF_INET6, 0.9)
            sock.close()

        self._run(body, {v6(1): 0.9}, monkeypatch)

    def test_two_that_answer_in_one_moment_leave_one_open(
        self, monkeypatch: pytest.MonkeyPatch, sockets: list[socket.socket]
    ) -> None:
        async def body(net: Net) -> None:
            sock = await race([v4(1), v4(2)])
            assert now() == 0.5
            assert [other is sock for other in sockets if other.fileno() != -1] == [True]
            sock.close()

        self._run(body, {v4(1): 0.5, v4(2): 0.25}, monkeypatch)

    def test_when_all_fail_the_most_telling_error_is_raised_with_the_others_as_its_cause(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def body(net: Net) -> None:
            with pytest.raises(ConnectionRefusedError, match=r"no \(192\.0\.2\.2:1\)") as caught:
                await race([v4(1), v4(2), v4(3)])
            assert caught.value.errno == errno.ECONNREFUSED
            group = caught.value.__cause__
            assert isinstance(group, ExceptionGroup)
            errors = [error for error in group.exceptions if isinstance(error, OSError)]
            assert {error.errno for error in errors} == {errno.EHOSTUNREACH, errno.ETIMEDOUT}
            assert any("192.0.2.3:1" in str(error) for error in errors)

        self._run(
            body,
            {
                v4(1): OSError(errno.EHOSTUNREACH, "no route"),
                v4(2): OSError(errno.ECONNREFUSED, "no"),
                v4(3): OSError(errno.ETIMEDOUT, "silent"),
            },
            monkeypatch,
        )

    def test_a_single_failure_is_raised_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def body(net: Net) -> None:
            with pytest.raises(OSError, match=r"no route \(192\.0\.2\.1:1\)") as caught:
                await race([v4(1)])
            assert caught.value.__cause__ is None

        self._run(body, {v4(1): OSError(errno.EHOSTUNREACH, "no route")}, monkeypatch)

    def test_an_error_that_is_none_of_the_networks_comes_through_and_leaves_no_socket(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def body(net: Net) -> None:
            with pytest.raises(ValueError, match="odd"):
                await race([v4(1), v4(2)])
            assert now() == 0.5  # the other one answered in the same moment

        self._run(body, {v4(1): 0.5, v4(2): (0.25, ValueError("odd"))}, monkeypatch)

    @pytest.mark.parametrize("after", [0.0, 0.1, 0.25, 0.3, 0.5, 0.6, 5.0])
    def test_cancelled_at_any_moment_it_leaves_no_socket(
        self, after: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def body(net: Net) -> None:
            racing = asyncio.create_task(race([v4(1), v4(2), v4(3)]))
            await asyncio.sleep(after)
            racing.cancel()
            await asyncio.wait({racing})
            assert racing.cancelled()
            await settle()

        self._run(body, {}, monkeypatch)

    def test_cancelled_in_the_moment_in_which_one_answers_it_leaves_no_socket(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for steps in range(6):

            async def body(net: Net, steps: int = steps) -> None:
                racing = asyncio.create_task(race([v4(1), v4(2)]))
                await asyncio.sleep(0.25)
                for _ in range(steps):
                    await asyncio.sleep(0)
                racing.cancel()
                await asyncio.wait({racing})
                if not racing.cancelled():
                    racing.result().close()
                await settle()

            self._run(body, {v4(1): 0.25, v4(2): 0.0}, monkeypatch)

    def test_a_family_that_this_host_does_not_speak_is_one_address_that_failed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def body(net: Net) -> None:
            (await race([Address(9999, ("odd", 1)), v4(1)])).close()
            assert now() == 0.0

        self._run(body, {v4(1): 0.0}, monkeypatch)


@pytest.mark.usefixtures("sockets")
class TestOnLoopback:
    @LOOPS
    def test_it_connects_and_talks(self, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        async def main() -> None:
            async with echo() as port:
                attempt = Trying()
                assert await say(await open_stream(HOST, port, attempt)) == b"hello\n"
                assert attempt.phases == [Phase.DNS, Phase.TCP]

        run(main())

    @LOOPS
    def test_dead_and_live_addresses_connect_in_one_attempt(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        async def main() -> None:
            with refused_port() as dead:
                async with echo() as port:
                    sock = await race(
                        [Address(socket.AF_INET, (HOST, dead)), Address(socket.AF_INET, (HOST, port))]
                    )
                    with sock:
                        assert sock.getpeername() == (HOST, port)

        run(main())

    def test_a_name_with_a_dead_and_a_live_address_connects_in_the_first_attempt(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            with refused_port() as dead:
                async with echo() as port:
                    answer(monkeypatch, (socket.AF_INET, (HOST, dead)), (socket.AF_INET, (HOST, port)))
                    assert await say(await open_stream("name", 1, Trying())) == b"hello\n"

        asyncio.run(main())

    @LOOPS
    def test_a_refused_port_is_told_with_errno_and_address(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        async def main() -> None:
            with refused_port() as port:
                attempt = Trying()
                with pytest.raises(ConnectionRefusedError, match=f"{HOST}:{port}") as caught:
                    await open_stream(HOST, port, attempt)
                assert (caught.value.errno, attempt.phase) == (errno.ECONNREFUSED, Phase.TCP)

        run(main())

    def test_a_lookup_that_fails_stays_in_its_phase(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def getaddrinfo(self: Any, *args: Any, **options: Any) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")

        monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)

        async def main() -> None:
            attempt = Trying()
            with pytest.raises(socket.gaierror):
                await open_stream("nowhere.invalid", 1, attempt)
            assert attempt.phases == [Phase.DNS]

        asyncio.run(main())

    @pytest.mark.skipif(sys.platform != "linux", reason="the options have other names elsewhere")
    def test_the_kernel_is_asked_to_notice_dead_paths(self) -> None:
        async def main() -> None:
            async with echo() as port:
                stream = await open_stream(HOST, port, Trying())
                sock = stream[1].get_extra_info("socket")
                options = {
                    name: sock.getsockopt(level, option)
                    for name, level, option in [
                        ("nodelay", socket.IPPROTO_TCP, socket.TCP_NODELAY),
                        ("keepalive", socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                        ("idle", socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                        ("interval", socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                        ("count", socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                        ("user timeout", socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                    ]
                }
                assert options == {
                    "nodelay": 1,
                    "keepalive": 1,
                    "idle": 15,
                    "interval": 5,
                    "count": 3,
                    "user timeout": 30_000,
                }
                assert await say(stream) == b"hello\n"

        asyncio.run(main())

    @LOOPS
    def test_cancelled_at_any_step_it_leaves_no_socket(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> None:
        async def main() -> None:
            async with echo() as port:
                for steps in range(12):
                    opening = asyncio.create_task(open_stream(HOST, port, Trying()))
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    opening.cancel()
                    await asyncio.wait({opening})
                    if not opening.cancelled():
                        assert await say(opening.result()) == b"hello\n"
                    await settle()

        run(main())


class Certificates:
    def __init__(self) -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("tether.test").configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.mark.usefixtures("sockets")
class TestTLS:
    @LOOPS
    def test_it_shakes_hands_under_the_name_that_was_asked_for(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any], certificates: Certificates
    ) -> None:
        async def main() -> None:
            async with echo(tls=certificates.server) as port:
                attempt = Trying()
                stream = await open_stream(
                    HOST, port, attempt, ssl=certificates.client, server_hostname="tether.test"
                )
                assert attempt.phases == [Phase.DNS, Phase.TCP, Phase.TLS]
                assert await say(stream) == b"hello\n"

        run(main())

    @LOOPS
    def test_a_certificate_for_another_name_fails_in_the_phase_of_tls(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any], certificates: Certificates
    ) -> None:
        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side complains
            async with echo(tls=certificates.server) as port:
                attempt = Trying()
                with pytest.raises(ssl.SSLCertVerificationError):
                    await open_stream(HOST, port, attempt, ssl=certificates.client)
                assert attempt.phase is Phase.TLS
                await settle()

        run(main())

    @LOOPS
    def test_a_server_without_tls_fails_in_the_phase_of_tls(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any], certificates: Certificates
    ) -> None:
        async def main() -> None:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"220 no TLS here\r\n")
                await reader.read()
                writer.close()

            server = await asyncio.start_server(serve, HOST, 0)
            async with server:
                attempt = Trying()
                with pytest.raises(ssl.SSLError):
                    await open_stream(
                        HOST, server.sockets[0].getsockname()[1], attempt, ssl=certificates.client
                    )
                assert attempt.phase is Phase.TLS
                await settle()

        run(main())

    @LOOPS
    def test_cancelled_in_a_handshake_with_a_mute_server_it_leaves_no_socket(
        self, run: Callable[[Coroutine[Any, Any, Any]], Any], certificates: Certificates
    ) -> None:
        async def main() -> None:
            async with MuteServer() as server:
                attempt = Trying()
                opening = asyncio.create_task(
                    open_stream(HOST, server.port, attempt, ssl=certificates.client)
                )
                await attempt.reached(Phase.TLS)
                await settle()
                opening.cancel()
                await asyncio.wait({opening})
                assert opening.cancelled()
                await settle()

        run(main())
