"""What must hold of one connection whenever nothing more can happen at this moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Any

from tests.simulation.calls import SPARED, Call, Waiter
from tests.simulation.connector import SimulatedConnector
from tests.simulation.story import TINY, Story
from tether import Reconnector, Status
from tether.core.events import Kind

COUNTED = {
    "attempts": (Kind.ATTEMPT_STARTED,),
    "connects": (Kind.CONNECTED, Kind.RECONNECTED),
    "losses": (Kind.LOST,),
    "failed_attempts": (Kind.ATTEMPT_FAILED,),
    "probes_failed": (Kind.PROBE_FAILED,),
    "stalls": (Kind.STALLED,),
    "callbacks_failed": (Kind.CALLBACK_FAILED,),
}
"""Which events each figure of ``stats()`` counts."""


def check(r: Reconnector[Any], connector: SimulatedConnector, story: Story) -> None:
    """Compare what the runtime says with what has happened."""
    story.must(r.status is story.status, "the status is the one told", f"{r.status}, told {story.status}")
    story.must(r.is_connected == (story.live is not None), "is_connected", f"{r.is_connected}, {story.live}")
    story.must(r.generation == story.generation, "generation", f"{r.generation}")
    story.must(r.retry_count == story.retry_count, "retry_count", f"{r.retry_count}")
    _check_handles(connector, story)
    _check_progress(story)
    _check_stats(r, story)


def _check_handles(connector: SimulatedConnector, story: Story) -> None:
    connector.handles = [handle for handle in connector.handles if not handle.ended]
    opened = [handle.generation for handle in connector.handles if not handle.closing]
    if story.live is not None:
        story.must(opened == [story.live], "one live connection", f"open: {opened}, live: {story.live}")
    else:
        alone = not opened or opened == [story.dialing]
        story.must(alone, "nothing open is left", f"open: {opened}, dialing: {story.dialing}")


def _check_progress(story: Story) -> None:
    """Whoever is to be connected dials, or will at a known time, which has not passed."""
    if story.status in {Status.DISCONNECTED, Status.FAILED, Status.CONNECTED} or story.paused:
        story.must(story.dialing is None and story.due is None, "nothing dials while down", story.status)
        return
    going_on = story.dialing is not None or story.due is not None
    story.must(going_on, "it goes on trying", f"{story.status}, neither dialing nor due")


def _check_stats(r: Reconnector[Any], story: Story) -> None:
    stats = r.stats()
    for figure, kinds in COUNTED.items():
        real = sum(story.counts.get(kind, 0) for kind in kinds)
        story.must(getattr(stats, figure) == real, "stats", f"{figure}: {getattr(stats, figure)} of {real}")
    up = story.uptime + (story.now() - story.live_since if story.live is not None else 0.0)
    story.must(math.isclose(stats.uptime, up, abs_tol=1e-3), "stats", f"uptime: {stats.uptime} of {up}")
    story.must(stats.paused == story.paused, "stats", "paused")
    story.must(stats.degraded == story.missing or story.live is None, "stats", f"degraded: {stats.degraded}")
    left = stats.next_attempt_in
    real_left = None if story.due is None else max(0.0, story.due - story.now())
    same = (left is None) == (real_left is None) and math.isclose(left or 0, real_left or 0, abs_tol=1e-6)
    story.must(same, "stats", f"next_attempt_in: {left} of {real_left}")


def check_times(story: Story, connector: SimulatedConnector) -> None:
    """Check what must have happened by now; the clock is about to move on."""
    now, options = story.now(), story.options
    if story.due is not None:
        story.must(story.due >= now - TINY, "a dial that is due begins", f"due {story.due}")
    if story.dialing is not None:
        stalled = story.stalled - story.stalled_at_dial
        bound = options.connect_timeout * (1.25 if stalled else 1) + 2 * stalled
        took = now - story.dialing_since
        story.must(took <= bound + TINY, "an attempt ends at its deadline", f"{took} > {bound}")
    handle = story.live_handle
    if handle is None or story.paused or not options.health_check:
        return
    since = min(
        (at for at in (handle.doomed_at, connector.server.silent_since) if at is not None), default=None
    )
    if since is not None:
        noticed = max(since, story.watched_since) + detection(story) + 3 * story.stalled
        story.must(now <= noticed + TINY, "a dead peer is noticed", f"dead since {since}")


def detection(story: Story) -> float:
    """Return within how many seconds a dead peer is noticed by probes."""
    options = story.options
    return options.threshold * (options.interval + options.timeout)


def check_users(story: Story, calls: Iterable[Call], waiters: Iterable[Waiter]) -> None:
    """Check that nobody waits for what can no longer come."""
    for call in calls:
        cut = call.running is not None and call.running != story.live and call.ends not in SPARED
        spared = call.connector.driver_retries or call.cancelled
        story.must(not cut or spared, "calls end with their connection", f"{call.how} on {call.running}")
    for waiter in waiters:
        if waiter.cancelled:
            continue
        if waiter.what == "wait":
            hangs = story.status in {Status.CONNECTED, Status.FAILED, Status.DISCONNECTED}
        else:
            hangs = waiter.what in {"start", "reconnect"} and story.dialing is None
        story.must(not hangs, "nobody is left waiting", f"{waiter.what} while {story.status}")


def check_nothing_left(r: Reconnector[Any], connector: SimulatedConnector, story: Story) -> None:
    """Check that ``stop()`` has left no connection, timer or callback."""
    engine: Any = r._engine
    story.must(r.status is Status.DISCONNECTED, "stop() stops", str(r.status))
    story.must(all(handle.ended for handle in connector.handles), "stop() leaves no connection")
    timers = [engine._timer, engine.watcher._timer, engine.watcher._probe, engine._dialing, engine._restoring]
    alive = [timer for timer in timers if timer is not None and not _is_over(timer, story.now())]
    story.must(not alive, "stop() leaves no timer", repr([type(timer).__name__ for timer in alive]))
    busy = [box.name for box in r._hooks.mailboxes() if not box.is_idle and not box.is_stopping]
    story.must(not busy, "stop() leaves no callback", repr(busy))


def _is_over(timer: object, now: float) -> bool:
    """Whether a timer was cancelled, or has gone off."""
    return isinstance(timer, asyncio.TimerHandle) and (timer.cancelled() or timer.when() <= now)
