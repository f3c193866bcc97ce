"""One connection of the simulated world: the reconnector, its connector, its story, and its users."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.calls import Call, Waiter
from tests.simulation.checks import check, check_nothing_left, check_times, check_users
from tests.simulation.connector import SimulatedConnector
from tests.simulation.schedule import Options
from tests.simulation.servers import Server
from tests.simulation.story import TINY, Story
from tether import Reconnector, Status
from tether.backoff import exponential_backoff
from tether.core.events import Kind, ReconnectEvent
from tether.errors import NotConnected, UsageError

STOP_BOUND = 0.61
"""Seconds: the grace of callbacks (0.3 s), and as long again for those that are cancelled."""

quiet = logging.getLogger("tests.simulation")
quiet.addHandler(logging.NullHandler())
quiet.propagate = False
quiet.setLevel(logging.CRITICAL + 1)

_HOOKS = {
    "on_connect": Kind.CONNECTED,
    "on_reconnect": Kind.RECONNECTED,
    "on_disconnect": Kind.LOST,
    "on_reconnect_failed": Kind.ATTEMPT_FAILED,
    "on_give_up": Kind.GAVE_UP,
}


class Member:
    """One connection.

    Attributes:
        mood: what its callbacks do at present.
        is_fresh: whether its credentials provider answers what the server takes.
    """

    def __init__(
        self,
        number: int,
        options: Options,
        server: Server,
        seed: int,
        *,
        broken: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self.story = Story(f"c{number}", options, broken, clock)
        luck = random.Random(seed * 1000 + number)
        self.server = server
        self.connector = SimulatedConnector(server, self.story, luck, options.client)
        self.calls: list[Call] = []
        self.waiters: list[Waiter] = []
        self.mood = "ok"
        self.is_fresh = True
        self._asked: object = 0
        self._expected: dict[Kind, deque[int]] = {kind: deque() for kind in _HOOKS.values()}
        self.r = self._reconnector(options, random.Random(seed * 1000 + 500 + number))
        self.story.engine = self.r._engine
        for hook, kind in _HOOKS.items():
            getattr(self.r, hook)(self._counter(kind))
            getattr(self.r, hook)(self._moody)

    def _reconnector(self, options: Options, rng: random.Random) -> Reconnector[Any]:
        backoff = exponential_backoff(
            options.base, options.factor, maximum=options.maximum, jitter=options.jitter, random=rng
        )
        return Reconnector(
            self.connector,
            name=self.story.name,
            max_retries=options.max_retries,
            retry_interval=backoff,
            connect_timeout=options.connect_timeout,
            stable_after=options.stable_after,
            health_check=options.health_check,
            health_check_interval=options.interval,
            health_check_timeout=options.timeout,
            failure_threshold=options.threshold,
            callback_timeout=5,
            credentials=self._credential if options.provider else None,
            quick_first_retry=options.quick,
            subscribers=[self._expect, self.story.heard],
            logger=quiet,
            rng=rng,
        )

    async def _credential(self) -> object:
        await asyncio.sleep(0.05)
        if self.is_fresh:
            self._asked = self.server.secret
        return self._asked

    # -- callbacks ----------------------------------------------------------------------------------------------------

    def _expect(self, event: ReconnectEvent) -> None:
        if event.kind in self._expected:
            self._expected[event.kind].append(event.retry_count)

    def _counter(self, kind: Kind) -> Callable[..., None]:
        waiting = self._expected[kind]

        def told(*args: Any) -> None:
            self.story.must(bool(waiting), "a callback per event", f"{kind}: one too many")
            count = waiting.popleft() if waiting else 0
            self.story.must(len(args) < 2 or args[1] == count, "arguments of callbacks", kind)

        return told

    async def _moody(self, *_: Any) -> None:
        match self.mood:
            case "raise":
                raise ValueError("a callback's own error")
            case "hang":
                await asyncio.get_running_loop().create_future()
            case "slow":
                await asyncio.sleep(1.0)
            case "stop" | "restart":
                await self.r.stop()
                if self.mood == "restart":
                    await self._calmly(self.r.start)
            case "reconnect":
                self.story.asks("force")
                await self._calmly(self.r.reconnect)
            case "pause":
                await self._calmly(self._pause)

    async def _pause(self) -> None:
        self.r.pause()
        await asyncio.sleep(0.3)
        self.r.resume()

    async def _calmly(self, call: Callable[[], Any]) -> None:
        try:
            await call()
        except (UsageError, NotConnected):  # the user may have been quicker
            pass

    # -- what must hold -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Check all that must hold when nothing more can happen at this moment."""
        check(self.r, self.connector, self.story)
        check_users(self.story, self.calls, self.waiters)
        for kind, waiting in self._expected.items():
            if waiting:
                boxes: Any = self.r._hooks._by_kind
                self.story.must(
                    boxes[kind][0].dropped > 0, "a callback per event", f"{kind}: {len(waiting)} missing"
                )
                waiting.clear()

    def check_times(self) -> None:
        """Check what must have happened by now."""
        check_times(self.story, self.connector)

    async def stop(self) -> None:
        """Stop it, and check how long that takes and what it leaves."""
        story = self.story
        began, stalled, starts = story.now(), story.stalled, story.counts.get(Kind.STARTED, 0)
        await self.r.stop()
        took, late = story.now() - began, story.stalled - stalled
        story.must(took <= STOP_BOUND + late + TINY, "stop() returns in time", f"took {took}")
        if story.counts.get(Kind.STARTED, 0) == starts and self.r.status is Status.DISCONNECTED:
            check_nothing_left(self.r, self.connector, story)

    def forget_loop(self) -> None:
        """The loop has ended under it."""
        story = self.story
        story.note("the loop is gone")
        story.forget_loop()
        for waiting in self._expected.values():
            waiting.clear()
