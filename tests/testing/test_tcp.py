"""Ports and misbehaving servers, on a virtual clock: the waits cost nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from tether.testing import tcp
from tether.testing.clock import run_virtual
from tether.testing.tcp import (
    BacklogServer,
    FlappingServer,
    MuteServer,
    free_port,
    port_is_free,
    refused_port,
)

HOST = "127.0.0.1"


def now() -> float:
    return asyncio.get_running_loop().time()


class TestPorts:
    def test_a_free_port_can_be_listened_on_and_is_no_port_of_outgoing_connections(self) -> None:
        port = free_port()
        assert 20_000 <= port < 32_000
        with socket.create_server((HOST, port)):
            assert not port_is_free(port)
        assert port_is_free(port)

    def test_without_a_free_port_there_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tcp, "port_is_free", lambda port: False)
        with pytest.raises(OSError, match="no free port"):
            free_port()

    def test_a_listener_on_all_addresses_takes_the_port_too(self) -> None:
        with socket.create_server(("", 0)) as everywhere:
            assert not port_is_free(everywhere.getsockname()[1])

    def test_the_rest_of_a_closed_connection_does_not_take_the_port(self) -> None:
        with socket.create_server((HOST, 0)) as listener:
            port: int = listener.getsockname()[1]
            with socket.create_connection((HOST, port)) as client:
                accepted, _ = listener.accept()
                accepted.close()  # first, so that TIME_WAIT falls to the server's port
                client.recv(1)
        assert port_is_free(port)

    def test_a_refused_port_refuses_and_cannot_be_taken(self) -> None:
        with refused_port() as port:
            for _ in range(3):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((HOST, port), timeout=5)
            assert not port_is_free(port)
            with pytest.raises(OSError, match="in use"):
                socket.create_server((HOST, port))
        assert port_is_free(port)


class TestMuteServer:
    def test_it_accepts_and_says_nothing(self) -> None:
        async def main() -> tuple[float, int]:
            async with MuteServer() as server:
                reader, writer = await asyncio.open_connection(HOST, server.port)
                writer.write(b"PING\r\n")
                await writer.drain()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(3600):
                        await reader.read(1)
                writer.close()
                return now(), server.connections

        assert run_virtual(main()) == (3600, 1)

    def test_it_counts_every_connection_and_closes_them_at_the_end(self) -> None:
        async def main() -> list[bytes]:
            async with MuteServer() as server:
                peers = [await asyncio.open_connection(HOST, server.port) for _ in range(20)]
                await until(lambda: server.connections == 20)
            ends = [await reader.read() for reader, _ in peers]
            for _, writer in peers:
                writer.close()
            return ends

        assert run_virtual(main()) == [b""] * 20

    def test_after_its_end_the_port_refuses(self) -> None:
        async def main() -> None:
            async with MuteServer() as server:
                port = server.port
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, port)

        run_virtual(main())

    def test_it_listens_where_told_and_may_come_back(self) -> None:
        async def main() -> int:
            server = MuteServer(port=(port := free_port()))
            for _ in range(2):
                async with server:
                    assert server.port == port
                    _, writer = await asyncio.open_connection(HOST, port)
                    writer.close()
                    await asyncio.sleep(1)
            return server.connections

        assert run_virtual(main()) == 2

    def test_a_taken_port_is_an_error_without_a_leak(self) -> None:
        async def main() -> None:
            with refused_port() as port, pytest.raises(OSError, match="in use"):
                async with MuteServer(port=port):
                    pass

        run_virtual(main())

    @pytest.mark.parametrize("server", [MuteServer(), FlappingServer(), BacklogServer()], ids=repr)
    def test_outside_of_with_there_is_no_port(self, server: MuteServer | BacklogServer) -> None:
        with pytest.raises(RuntimeError, match="async with"):
            _ = server.port


class TestFlappingServer:
    @pytest.mark.parametrize("after", [0.0, 0.05, 30.0])
    def test_it_closes_every_connection_after_a_while(self, after: float) -> None:
        async def main() -> list[float]:
            lives = []
            async with FlappingServer(after=after) as server:
                for _ in range(3):
                    began = now()
                    reader, writer = await asyncio.open_connection(HOST, server.port)
                    assert await reader.read() == b""
                    lives.append(now() - began)
                    writer.close()
                assert server.connections == 3
            return lives

        assert run_virtual(main()) == pytest.approx([after] * 3)

    def test_what_the_client_sent_does_not_turn_the_end_into_a_reset(self) -> None:
        async def main() -> bytes:
            async with FlappingServer(after=1) as server:
                reader, writer = await asyncio.open_connection(HOST, server.port)
                writer.write(b"x" * 100_000)
                try:
                    return await reader.read()
                finally:
                    writer.close()

        assert run_virtual(main()) == b""

    def test_a_reset_can_be_asked_for(self) -> None:
        async def main() -> None:
            async with FlappingServer(after=1, reset=True) as server:
                reader, writer = await asyncio.open_connection(HOST, server.port)
                with pytest.raises(ConnectionResetError):
                    await reader.read()
                writer.close()

        run_virtual(main())

    @pytest.mark.parametrize("reset", [False, True])
    def test_leaving_before_the_time_closes_at_once(self, reset: bool) -> None:
        errors: list[object] = []

        async def main() -> float:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
            async with FlappingServer(after=3600, reset=reset) as server:
                reader, writer = await asyncio.open_connection(HOST, server.port)
                await until(lambda: server.connections == 1)
            assert await reader.read() == b""
            writer.close()
            left = now()
            await asyncio.sleep(7200)  # the timer for the closed connection must do no harm
            return left

        assert run_virtual(main()) == 0
        assert errors == []


class TestBacklogServer:
    def test_dialling_hangs_until_the_clients_own_timeout(self) -> None:
        async def main() -> float:
            async with BacklogServer() as server:
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(20):
                            await asyncio.open_connection(HOST, server.port)
                assert server.connections == 0
            return now()

        assert run_virtual(main()) == 60

    def test_after_its_end_the_port_refuses(self) -> None:
        async def main() -> None:
            async with BacklogServer() as server:
                port = server.port
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, port)

        run_virtual(main())

    def test_a_kernel_that_lets_everybody_in_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tcp, "_MOST_FILLERS", 1)

        async def main() -> None:
            with pytest.raises(OSError, match="backlog"):
                async with BacklogServer():
                    pass

        run_virtual(main())


async def until(condition: Callable[[], bool]) -> None:
    """Give way until the loop has seen what the kernel already knows."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never happened")
