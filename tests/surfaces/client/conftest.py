"""An API over scripted connections, served on a thread of its own: the commands under test block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tether import Reconnector
from tether.backoff import fixed_interval
from tether.surfaces.api import Access, create_app
from tether.surfaces.api.server import ApiServer
from tether.surfaces.supervisor import Supervisor
from tether.testing.scripted import Accept, ScriptedConnector


class Served:
    """A running API.

    Attributes:
        url: where it is.
        supervisor: what it shows.
    """

    def __init__(self, access: Access | None = None, port: int = 0) -> None:
        self.supervisor = Supervisor()
        self._access, self._port = access, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())

    def do(self, work: Any) -> Any:
        """Run a coroutine in the server's loop, and return what it answers."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def call(self, act: Callable[[], object]) -> None:
        """Run a function in the server's loop."""

        async def run() -> None:
            act()

        self.do(run())

    async def _start(self) -> None:
        def keeper(name: str, connector: ScriptedConnector) -> None:
            made: Reconnector[Any] = Reconnector(connector, name=name, retry_interval=fixed_interval(60))
            self.supervisor.add(name, made)

        keeper("cache", ScriptedConnector([Accept()]))
        keeper("orders", ScriptedConnector([ConnectionRefusedError] * 10))
        await self.supervisor.manager.start_all()
        self._server = ApiServer("127.0.0.1", self._port)
        await self._server.bind()
        self._app = create_app(self.supervisor, access=self._access, abort=self._server.abort)
        await self._server.start(self._app)
        self.url = self._server.url

    async def _stop(self) -> None:
        self._app.state.close()
        await self._server.stop()
        await self.supervisor.stop()

    def close(self) -> None:
        """End it. Idempotent."""
        if self._loop.is_closed():
            return
        self.do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    api = Served()
    yield api
    api.close()


@pytest.fixture
def guarded() -> Iterator[Served]:
    api = Served(Access("read-token-1", "operate-token-1"))
    yield api
    api.close()
