"""Runs the daemon from its configuration to its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Iterator
from typing import Any

import tether
from tether import Reconnector
from tether.config import ApiSettings, Loaded, RedisSettings, make_reconnector
from tether.surfaces.api.access import Access, is_loopback
from tether.surfaces.api.app import create_app
from tether.surfaces.api.server import ApiServer, CannotListen
from tether.surfaces.supervisor import Supervisor

logger = logging.getLogger("tether.daemon")

CANNOT_RUN = 69
"""EX_UNAVAILABLE: the address of the API cannot be used."""

BROKE = 70
"""EX_SOFTWARE: the API ended by itself, which it should not."""


def run(loaded: Loaded) -> int:
    """Supervise what the file names until SIGINT or SIGTERM, and return the exit code."""
    return asyncio.run(_run(loaded))


async def _run(loaded: Loaded) -> int:
    api = loaded.settings.api
    server = ApiServer(api.host, api.port)
    with _stop_signals() as stop:
        try:
            await server.bind()
        except CannotListen as error:
            logger.error("%s: %s", loaded.path.name, error)
            return CANNOT_RUN
        supervisor = supervise(loaded)
        app = create_app(supervisor, access=access_of(api), base_path=api.base_path, abort=server.abort)
        try:
            await server.start(app)
            logger.info("tether %s: %s; API on %s", tether.__version__, _what(loaded), server.url)
            for note in loaded.notes:
                logger.warning("%s: %s", loaded.path.name, note)
            # What has been made so far stays: the collector need not go through it again and again, at 10 ms a time.
            gc.collect()
            gc.freeze()
            supervisor.start()
            broke = await _until(stop, server)
        finally:
            supervisor.is_stopping = True
            app.state.close()
            await supervisor.stop()
            await server.stop()
        logger.info("stopped")
        return BROKE if broke else 0


def supervise(loaded: Loaded) -> Supervisor:
    """Make every connection of the file; one that cannot be made is shown as such, and holds up no other."""
    supervisor = Supervisor()
    wanted = loaded.settings.connections
    made = {name: _make(name, settings) for name, settings in wanted.items()}
    for name, settings in wanted.items():
        outcome, needs = made[name], settings.depends_on
        if isinstance(outcome, Exception):
            supervisor.add_broken(
                name,
                outcome,
                type=settings.type,
                url=settings.url,
                required=settings.required,
                depends_on=needs,
            )
        else:
            supervisor.add(
                name,
                outcome,
                url=settings.url,
                required=settings.required,
                depends_on=needs,
                start_after=[need for need in needs if isinstance(made[need], Reconnector)],
            )
    return supervisor


def _make(name: str, settings: RedisSettings) -> Reconnector[Any] | Exception:
    try:
        return make_reconnector(name, settings)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, the other connections are to run
        return error


def access_of(api: ApiSettings) -> Access:
    """Return who may do what, by the file."""
    read, operate = (
        "" if token is None else token.get_secret_value() for token in (api.read_token, api.operate_token)
    )
    return Access(read, operate, is_exposed=not is_loopback(api.host), trusted_hosts=api.trusted_hosts)


def _what(loaded: Loaded) -> str:
    count = len(loaded.settings.connections)
    return f"{count or 'no'} connection{'' if count == 1 else 's'} from {loaded.path.name}"


async def _until(stop: asyncio.Event, server: ApiServer) -> bool:
    """Wait for a signal. Returns whether the API ended before one came."""
    waiting = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(server.ended())
    await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
    broke = not waiting.done()
    for task in (waiting, ended):
        task.cancel()
    await asyncio.gather(waiting, ended, return_exceptions=True)
    if broke:
        logger.error("the API ended by itself")
    return broke


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Give an event that is set by SIGINT, SIGTERM and SIGHUP; a second one changes nothing, for the end is quick."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):
        signals.append(signal.SIGHUP)
    for number in signals:
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: from the interpreter's own handler
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    yield stop
    # The handlers stay: what follows is the end of the process, and nothing may cut it.
