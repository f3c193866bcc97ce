"""The fault proxy and its toxics, on a virtual clock: both ends and the proxy live on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tether.testing.clock import run_virtual
from tether.testing.proxy import (
    Bandwidth,
    FaultProxy,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
    ToxicError,
    handshake_cuts,
)
from tether.testing.proxy.toxics import toxic_from
from tether.testing.tcp import FlappingServer, MuteServer, port_is_free, refused_port

HOST = "127.0.0.1"


def now() -> float:
    return asyncio.get_running_loop().time()


class Peer(asyncio.Protocol):
    """A server's side of a connection: says back what it hears, and remembers it."""

    def __init__(self, peers: list[Peer]) -> None:
        self.heard = bytearray()
        self.pieces: list[bytes] = []
        self.end: Any = None
        peers.append(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.pieces.append(data)
        self.transport.write(data)

    def eof_received(self) -> bool:
        self.end = "eof"
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.end = type(exc) if exc else self.end or "closed"


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[tuple[int, list[Peer]]]:
    peers: list[Peer] = []
    server = await asyncio.get_running_loop().create_server(lambda: Peer(peers), HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        server.close()
        for peer in peers:
            peer.transport.abort()
        await asyncio.sleep(0.01)


class Client:
    """A client that counts the bytes it gets, and says how it ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection(HOST, port))

    async def ask(self, data: bytes, *, within: float = 3600.0) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(within):
            return await self.reader.readexactly(len(data))

    async def rest(self) -> tuple[bytes, str]:
        got = bytearray()
        async with asyncio.timeout(3600):
            try:
                while data := await self.reader.read(1):
                    got += data
            except ConnectionResetError:
                return bytes(got), "reset"
        return bytes(got), "eof"


Scene = Callable[[FaultProxy, Callable[[], Awaitable[Client]], list[Peer]], Awaitable[None]]


def play(scene: Scene, *, seed: int = 1) -> None:
    """Run a scene with an echo server behind a proxy; leave nothing behind."""

    async def main() -> None:
        clients: list[Client] = []

        async def connect() -> Client:
            clients.append(await Client.connect(proxy.port))
            return clients[-1]

        async with echo() as (port, peers), FaultProxy(HOST, port, seed=seed) as proxy:
            try:
                await scene(proxy, connect, peers)
            finally:
                for client in clients:
                    client.writer.close()
        await asyncio.sleep(1)
        assert proxy.open_connections == 0
        assert port_is_free(proxy.port)
        mine = asyncio.current_task()
        assert [task for task in asyncio.all_tasks() if task is not mine] == []

    before = open_files()
    run_virtual(main())
    gc.collect()  # an unclosed socket warns here, and warnings are errors
    assert open_files() <= before


def open_files() -> int:
    files = Path("/proc/self/fd")
    return len(list(files.iterdir())) if files.is_dir() else 0


class TestPassingThrough:
    def test_data_passes_both_ways_and_is_counted(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            assert await client.ask(b"hello") == b"hello"
            assert (proxy.connections, proxy.open_connections) == (1, 1)
            assert (proxy.bytes_upstream, proxy.bytes_downstream) == (5, 5)
            assert await (await connect()).ask(b"you") == b"you"
            assert (proxy.connections, proxy.bytes_upstream) == (2, 8)

        play(scene)

    def test_much_data_arrives_whole_and_in_order(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            sent = os.urandom(3_000_000)
            writing = asyncio.create_task(client.ask(sent))
            assert await writing == sent
            assert peers[0].heard == sent

        play(scene)

    def test_a_half_close_is_passed_on_and_the_other_half_lives(self) -> None:
        async def main() -> bytes:
            async def answer_after_the_end(reader, writer):
                asked = await reader.read()
                writer.write(b"you said " + asked)
                writer.close()

            server = await asyncio.start_server(answer_after_the_end, HOST, 0)
            async with FaultProxy(HOST, server.sockets[0].getsockname()[1]) as proxy:
                client = await Client.connect(proxy.port)
                client.writer.write(b"this")
                client.writer.write_eof()
                answer, end = await client.rest()
                assert end == "eof"
                client.writer.close()
            server.close()
            return answer

        assert run_virtual(main()) == b"you said this"

    def test_a_reset_is_passed_on_as_a_reset(self) -> None:
        async def main() -> tuple[bytes, str]:
            async with (
                FlappingServer(after=1.0, reset=True) as server,
                FaultProxy(HOST, server.port) as proxy,
            ):
                client = await Client.connect(proxy.port)
                end = await client.rest()
                client.writer.close()
            return end

        assert run_virtual(main()) == (b"", "reset")

    def test_the_clients_reset_reaches_the_server(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            await client.ask(b"x")
            client.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            client.writer.transport.abort()
            await asyncio.sleep(1)
            assert peers[0].end is ConnectionResetError

        play(scene)

    def test_a_slow_reader_slows_the_sender_down(self) -> None:
        async def main() -> int:
            async with MuteServer() as server, FaultProxy(HOST, server.port) as proxy:
                client = await Client.connect(proxy.port)
                sent = 0
                with pytest.raises(TimeoutError):
                    while sent < 200_000_000:
                        client.writer.write(bytes(1_000_000))
                        async with asyncio.timeout(10):
                            await client.writer.drain()
                        sent += 1_000_000
                client.writer.transport.abort()
            return sent

        assert run_virtual(main()) < 50_000_000

    def test_an_upstream_that_refuses_closes_the_client(self) -> None:
        async def main() -> tuple[bytes, str]:
            with refused_port() as port:
                async with FaultProxy(HOST, port) as proxy:
                    client = await Client.connect(proxy.port)
                    end = await client.rest()
                    client.writer.close()
                    return end

        assert run_virtual(main()) == (b"", "eof")

    def test_an_upstream_may_have_a_name(self) -> None:
        async def main() -> bytes:
            async with echo() as (port, _), FaultProxy("localhost", port) as proxy:
                client = await Client.connect(proxy.port)
                answer = await client.ask(b"hello")
                client.writer.close()
                return answer

        assert asyncio.run(main()) == b"hello"


class TestDown:
    def test_down_refuses_closes_and_keeps_the_port(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            await client.ask(b"x")
            port = proxy.port
            proxy.down()
            assert await client.rest() == (b"", "eof")
            for _ in range(3):
                with pytest.raises(ConnectionRefusedError):
                    await connect()
            assert not proxy.is_up
            proxy.down()
            proxy.up()
            proxy.up()
            assert proxy.port == port
            assert await (await connect()).ask(b"again") == b"again"

        play(scene)

    def test_a_proxy_may_be_started_again_on_its_port_with_its_toxics(self) -> None:
        async def main() -> None:
            async with echo() as (upstream, _):
                proxy = FaultProxy(HOST, upstream)
                async with proxy:
                    port = proxy.port
                    proxy.add(Latency(1.0))
                async with proxy:
                    assert proxy.port == port
                    assert [placed.name for placed in proxy.toxics] == ["latency_downstream"]
                    assert proxy.connections == 0

        run_virtual(main())

    def test_a_taken_port_is_an_error_and_nothing_is_left(self) -> None:
        async def main() -> None:
            with refused_port() as port:
                proxy = FaultProxy(HOST, 1, port=port)
                with pytest.raises(OSError, match="in use"):
                    async with proxy:
                        pass
                threads = threading.active_count()
                with pytest.raises(OSError, match="in use"):
                    proxy.start()
                assert threading.active_count() == threads

        run_virtual(main())

    def test_it_has_to_be_started_and_only_once(self) -> None:
        async def scene(proxy, connect, peers):
            with pytest.raises(RuntimeError, match="running already"):
                proxy.start()

        play(scene)
        with pytest.raises(RuntimeError, match="to be started first"):
            FaultProxy(HOST, 1).cut(1)
        with pytest.raises(RuntimeError, match="first start"):
            _ = FaultProxy(HOST, 1).port

    def test_stopping_closes_what_is_open(self) -> None:
        async def main() -> list[tuple[bytes, str]]:
            async with echo() as (port, _):
                async with FaultProxy(HOST, port) as proxy:
                    clients = [await Client.connect(proxy.port) for _ in range(10)]
                    for client in clients:
                        await client.ask(b"x")
                assert proxy.open_connections == 0
                ends = [await client.rest() for client in clients]
                for client in clients:
                    client.writer.close()
                return ends

        assert run_virtual(main()) == [(b"", "eof")] * 10


class TestFaults:
    def test_freeze_holds_back_and_thaw_delivers(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            await client.ask(b"x")
            proxy.freeze()
            with pytest.raises(TimeoutError):
                await client.ask(b"held", within=100)
            late = await connect()
            with pytest.raises(TimeoutError):
                await late.ask(b"too", within=100)
            assert [bytes(peer.heard) for peer in peers] == [b"x", b""]
            proxy.thaw()
            assert await client.ask(b"!") == b"h"
            assert await client.reader.readexactly(4) == b"eld!"
            assert await late.reader.readexactly(3) == b"too"

        play(scene)

    def test_mute_swallows_and_unmute_closes_what_has_lost_data(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.mute()
            proxy.mute()
            with pytest.raises(TimeoutError):
                await client.ask(b"lost", within=100)
            assert [placed.name for placed in proxy.toxics] == ["mute_upstream", "mute_downstream"]
            proxy.unmute()
            proxy.unmute()
            assert await client.rest() == (b"", "eof")
            assert await (await connect()).ask(b"found") == b"found"
            assert [bytes(peer.heard) for peer in peers] == [b"", b"found"]

        play(scene)

    @pytest.mark.parametrize("after", [0, 1, 4, 5])
    def test_cut_resets_after_exactly_so_many_bytes(self, after: int) -> None:
        async def scene(proxy, connect, peers):
            proxy.cut(after)
            client = await connect()
            client.writer.write(b"hello")
            assert await client.rest() == (b"hello"[:after], "reset")
            assert await (await connect()).ask(b"whole") == b"whole"

        play(scene)

    def test_cut_counts_over_many_pieces_and_many_connections(self) -> None:
        async def scene(proxy, connect, peers):
            proxy.cut(100_000, connections=3)
            for _ in range(3):
                client = await connect()
                client.writer.write(bytes(150_000))
                got, end = await client.rest()
                assert (len(got), end) == (100_000, "reset")
            proxy.cut(0)
            proxy.uncut()
            assert await (await connect()).ask(b"whole") == b"whole"

        play(scene)

    @pytest.mark.parametrize(("after", "connections"), [(-1, 1), (0, 0)])
    def test_a_cut_that_cannot_be_is_an_error(self, after: int, connections: int) -> None:
        async def scene(proxy, connect, peers):
            with pytest.raises(ValueError, match="cannot cut"):
                proxy.cut(after, connections=connections)

        play(scene)

    def test_every_connection_can_be_reset_or_closed_and_new_ones_work(self) -> None:
        async def scene(proxy, connect, peers):
            for act, expected in ((proxy.reset_all, "reset"), (proxy.close_all, "eof")):
                clients = [await connect() for _ in range(3)]
                for client in clients:
                    await client.ask(b"x")
                act()
                assert [await client.rest() for client in clients] == [(b"", expected)] * 3
            assert {peer.end for peer in peers[:3]} == {ConnectionResetError}
            assert await (await connect()).ask(b"new") == b"new"

        play(scene)

    def test_heal_takes_everything_back(self) -> None:
        async def scene(proxy, connect, peers):
            proxy.add(Latency(5.0))
            proxy.add(Bandwidth(0), stream="upstream")
            proxy.cut(1)
            proxy.freeze()
            proxy.down()
            proxy.heal()
            assert proxy.toxics == ()
            began = now()
            assert await (await connect()).ask(b"well") == b"well"
            assert now() == began

        play(scene)


class TestToxics:
    @pytest.mark.parametrize("stream", ["upstream", "downstream"])
    def test_latency_delays_and_does_not_add_up(self, stream: str) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(Latency(2.0), stream=stream)
            began = now()
            for number in range(4):
                client.writer.write(b"%d" % number)
                await asyncio.sleep(0.5)
            assert await client.reader.readexactly(4) == b"0123"
            assert now() - began == pytest.approx(3.5, abs=0.01)

        play(scene)

    def test_latencies_add_up_over_the_chain(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(Latency(1.0))
            proxy.add(Latency(2.0), name="more")
            began = now()
            await client.ask(b"x")
            assert now() - began == pytest.approx(3.0, abs=0.01)

        play(scene)

    def test_jitter_stays_in_its_bounds_and_repeats_with_its_seed(self) -> None:
        def delays(seed: int) -> list[float]:
            found = []

            async def scene(proxy, connect, peers):
                client = await connect()
                proxy.add(Latency(1.0, jitter=0.5))
                for _ in range(30):
                    began = now()
                    await client.ask(b"x")
                    found.append(round(now() - began, 6))

            play(scene, seed=seed)
            return found

        first = delays(1)
        assert min(first) >= 0.5
        assert max(first) <= 1.5
        assert max(first) - min(first) > 0.5
        assert delays(1) == first != delays(2)

    def test_removing_a_latency_delivers_at_once(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            with proxy.toxic(Latency(1000.0)):
                began = now()
                client.writer.write(b"held")
                await asyncio.sleep(1)
            assert await client.reader.readexactly(4) == b"held"
            assert now() - began == pytest.approx(1.0, abs=0.01)
            assert proxy.toxics == ()

        play(scene)

    def test_bandwidth_limits_the_rate(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(Bandwidth(10_000))
            began = now()
            await client.ask(bytes(50_000))
            assert now() - began == pytest.approx(5.0, rel=0.05)

        play(scene)

    def test_bandwidth_0_holds_everything_until_it_is_changed(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(Bandwidth(0))
            with pytest.raises(TimeoutError):
                await client.ask(b"held", within=100)
            proxy.change("bandwidth_downstream", Bandwidth(1000))
            assert await client.reader.readexactly(4) == b"held"

        play(scene)

    def test_slow_close_delays_the_end_only(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(SlowClose(3.0))
            began = now()
            await client.ask(b"x")
            assert now() == began
            peers[0].transport.close()
            assert await client.rest() == (b"", "eof")
            assert now() - began == pytest.approx(3.0, abs=0.01)

        play(scene)

    def test_timeout_swallows_and_closes(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(Timeout(4.0))
            began = now()
            client.writer.write(b"x")
            await asyncio.sleep(3)
            client.writer.write(b"y")
            assert await client.rest() == (b"", "eof")
            assert now() - began == pytest.approx(4.0, abs=0.01)
            assert peers[0].heard == b"xy"

        play(scene)

    def test_timeout_0_swallows_until_it_is_removed_and_then_closes(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(Timeout())
            with pytest.raises(TimeoutError):
                await client.ask(b"x", within=1000)
            proxy.remove("timeout_downstream")
            assert await client.rest() == (b"", "eof")

        play(scene)

    @pytest.mark.parametrize("timeout", [0.0, 2.5])
    def test_reset_peer_resets_some_time_after_the_first_data(self, timeout: float) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(ResetPeer(timeout))
            await asyncio.sleep(10)
            began = now()
            client.writer.write(b"x")
            assert await client.rest() == (b"", "reset")
            assert now() - began == pytest.approx(timeout, abs=0.01)
            assert peers[0].end is ConnectionResetError

        play(scene)

    def test_a_slicer_slices_and_loses_nothing(self) -> None:
        async def scene(proxy, connect, peers):
            client = await connect()
            proxy.add(Slicer(10, size_variation=4, delay=1.0), stream="upstream")
            sent = os.urandom(200)
            began = now()
            assert await client.ask(sent) == sent
            sizes = [len(piece) for piece in peers[0].pieces]
            assert all(6 <= size <= 14 for size in sizes[:-1])
            assert len(set(sizes)) > 1
            assert now() - began == pytest.approx(len(sizes) - 1, abs=0.01)

        play(scene)

    def test_limit_data_closes_after_so_many_bytes(self) -> None:
        async def scene(proxy, connect, peers):
            proxy.add(LimitData(7))
            client = await connect()
            assert await client.ask(b"four") == b"four"
            client.writer.write(b"more")
            assert await client.rest() == (b"mor", "eof")

        play(scene)

    def test_toxicity_is_the_share_of_connections(self) -> None:
        async def scene(proxy, connect, peers):
            proxy.add(LimitData(0), toxicity=0.3)
            spared = 0
            for _ in range(200):
                client = await connect()
                client.writer.write(b"x")
                spared += await client.reader.read(1) == b"x"
            assert 110 < spared < 170  # 140 are expected; a seed makes it the same every time

        play(scene)

    def test_toxics_of_one_name_and_toxics_of_no_name_are_errors(self) -> None:
        async def scene(proxy, connect, peers):
            assert proxy.add(Latency(1.0)) == "latency_downstream"
            with pytest.raises(ToxicError, match="'latency_downstream' already"):
                proxy.add(Latency(2.0))
            for act in (
                lambda: proxy.remove("latecy"),
                lambda: proxy.change("latecy", Latency(1.0)),
            ):
                with pytest.raises(ToxicError, match="there are: latency_downstream"):
                    act()
            with pytest.raises(ToxicError, match="cannot become a timeout"):
                proxy.change("latency_downstream", Timeout())
            with pytest.raises(ToxicError, match="Did you mean 'upstream'"):
                proxy.add(Timeout(), stream="upstraem")
            with pytest.raises(ToxicError, match="share"):
                proxy.add(Timeout(), toxicity=1.5)

        play(scene)

    @pytest.mark.parametrize(
        "build",
        [
            lambda: Latency(-1.0),
            lambda: Latency(float("nan")),
            lambda: Bandwidth(float("inf")),
            lambda: Timeout("1s"),  # type: ignore[arg-type]
            lambda: LimitData(1.5),  # type: ignore[arg-type]
            lambda: LimitData(True),
            lambda: Slicer(0),
            lambda: Slicer(5, size_variation=5),
        ],
    )
    def test_values_that_cannot_work_are_errors(self, build: Callable[[], Toxic]) -> None:
        with pytest.raises(ToxicError):
            build()

    @pytest.mark.parametrize(
        ("toxic", "attributes"),
        [
            (Latency(0.2, 0.05), {"latency": 200, "jitter": 50}),
            (Bandwidth(30_000), {"rate": 30}),
            (SlowClose(0.1), {"delay": 100}),
            (Timeout(), {"timeout": 0}),
            (ResetPeer(0.001), {"timeout": 1}),
            (Slicer(64, 32, 10e-6), {"average_size": 64, "size_variation": 32, "delay": 10}),
            (LimitData(99), {"bytes": 99}),
        ],
    )
    def test_toxiproxys_units_are_translated_there_and_back(
        self, toxic: Toxic, attributes: dict[str, float]
    ) -> None:
        assert toxic.attributes() == attributes
        assert toxic_from(toxic.type, attributes).attributes() == attributes
        ours = vars(toxic_from(toxic.type, attributes))
        assert ours == pytest.approx(vars(toxic))


OTHERS = ["close_all", "heal", "connect", "send", "leave", "wait"]
ACTS = st.lists(
    st.sampled_from(
        [
            "add",
            "remove",
            "change",
            "down",
            "up",
            "freeze",
            "thaw",
            "mute",
            "unmute",
            "cut",
            "reset_all",
            *OTHERS,
        ]
    ),
    max_size=25,
)
TOXICS = [
    Latency(0.5, 0.2),
    Bandwidth(0),
    Bandwidth(100),
    SlowClose(5.0),
    Timeout(),
    Timeout(1.0),
    ResetPeer(1.0),
    Slicer(3, 1, 0.1),
    LimitData(10),
]


@settings(max_examples=30, deadline=None)
@given(ACTS, st.randoms(use_true_random=False))
def test_nothing_is_left_in_whatever_order_things_happen(acts: list[str], dice: Any) -> None:
    async def scene(proxy, connect, peers):
        clients: list[Client] = []
        for act in acts:
            toxic = dice.choice(TOXICS)
            stream = dice.choice(["upstream", "downstream"])
            names = [placed.name for placed in proxy.toxics]
            if act == "connect" and proxy.is_up:
                clients.append(await connect())
            elif act == "send" and clients:
                dice.choice(clients).writer.write(bytes(dice.choice([1, 50, 200_000])))
            elif act == "leave" and clients:
                dice.choice(clients).writer.transport.abort()
            elif act == "wait":
                await asyncio.sleep(dice.choice([0, 0.3, 3]))
            elif act == "add" and f"{toxic.type}_{stream}" not in names:
                proxy.add(toxic, stream=stream, toxicity=dice.choice([1.0, 0.5]))
            elif act == "remove" and names:
                proxy.remove(dice.choice(names))
            elif act == "change" and f"{toxic.type}_{stream}" in names:
                proxy.change(f"{toxic.type}_{stream}", toxic)
            elif act == "cut":
                proxy.cut(dice.choice([0, 1, 1000]))
            elif act in {"down", "up", "freeze", "thaw", "mute", "unmute", "reset_all", "close_all", "heal"}:
                getattr(proxy, act)()
        for client in clients:
            client.writer.transport.abort()
        if dice.random() < 0.5:  # else it is stopped as it is
            proxy.heal()
            assert await (await connect()).ask(b"works") == b"works"

    play(scene)


class TestHandshakeCuts:
    def test_it_cuts_at_every_byte_once(self) -> None:
        async def scene(proxy, connect, peers):
            async def handshake() -> None:
                client = await connect()
                await client.ask(b"hello")
                client.writer.close()

            seen = []
            async for after in handshake_cuts(proxy, handshake):
                client = await connect()
                client.writer.write(b"hello")
                seen.append((after, await client.rest()))
            assert seen == [(after, (b"hello"[:after], "reset")) for after in range(6)]

        play(scene)

    def test_a_cut_that_was_not_met_is_forgotten(self) -> None:
        async def scene(proxy, connect, peers):
            async def handshake() -> None:
                await (await connect()).ask(b"hi")

            assert [after async for after in handshake_cuts(proxy, handshake)] == [0, 1, 2]
            assert await (await connect()).ask(b"whole") == b"whole"

        play(scene)

    def test_a_handshake_without_a_byte_is_an_error(self) -> None:
        async def scene(proxy, connect, peers):
            with pytest.raises(ValueError, match="go through the proxy"):
                async for _ in handshake_cuts(proxy, connect):
                    pass

        play(scene)


class TestOnAThread:
    @pytest.fixture
    def upstream(self):
        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer, contextlib.suppress(OSError):
                    while data := peer.recv(1000):
                        peer.sendall(data)

        with socket.create_server((HOST, 0)) as listener:
            server = threading.Thread(target=serve)
            server.start()
            yield listener.getsockname()[1]
            listener.shutdown(socket.SHUT_RDWR)
            server.join(10)

    def test_plain_code_uses_it_without_a_loop(self, upstream: int) -> None:
        threads = threading.active_count()
        with FaultProxy(HOST, upstream) as proxy:
            with socket.create_connection((HOST, proxy.port), timeout=10) as client:
                client.sendall(b"hello")
                assert client.recv(100) == b"hello"
                assert (proxy.connections, proxy.bytes_downstream) == (1, 5)
                proxy.reset_all()
                with pytest.raises(ConnectionResetError):
                    client.recv(100)
            proxy.cut(2)
            with socket.create_connection((HOST, proxy.port), timeout=10) as client:
                client.sendall(b"hello")
                assert client.recv(2, socket.MSG_WAITALL) == b"he"
                with pytest.raises(ConnectionResetError):
                    client.recv(100)
            proxy.down()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, proxy.port), timeout=10)
            with pytest.raises(ToxicError):
                proxy.remove("nothing")
        assert proxy.connections == 2
        assert threading.active_count() == threads
        proxy.stop()

    def test_one_started_on_a_thread_serves_async_code_too(self, upstream: int) -> None:
        async def main(proxy: FaultProxy) -> bytes:
            client = await Client.connect(proxy.port)
            with proxy.toxic(Slicer(1)):
                answer = await client.ask(b"hello", within=10)
            client.writer.close()
            return answer

        with FaultProxy(HOST, upstream) as proxy:
            assert asyncio.run(main(proxy)) == b"hello"

    def test_one_on_a_loop_obeys_other_threads(self) -> None:
        async def main() -> None:
            async with echo() as (port, _), FaultProxy(HOST, port) as proxy:
                await asyncio.to_thread(proxy.down)
                assert not proxy.is_up
                await asyncio.to_thread(proxy.up)
                client = await Client.connect(proxy.port)
                assert await client.ask(b"hello", within=10) == b"hello"
                client.writer.close()

        asyncio.run(main())
