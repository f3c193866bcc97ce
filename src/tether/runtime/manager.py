"""Many connections, by name: started and stopped together, each healing by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from types import TracebackType
from typing import Any, Self

from tether.core.duration import Duration, seconds
from tether.core.lifecycle import Status
from tether.errors import ConfigError, NotConnected
from tether.runtime.reconnector import Reconnector
from tether.runtime.stats import Stats


class ReconnectManager:
    """Holds reconnectors by name. Only what waits is async."""

    def __init__(self) -> None:
        self._members: dict[str, Reconnector[Any]] = {}
        self._needs: dict[str, frozenset[str]] = {}

    def register(self, name: str, reconnector: Reconnector[Any], *, depends_on: Iterable[str] = ()) -> None:
        """Add a reconnector. It is not started by this.

        Args:
            name: unique in this manager.
            reconnector: what to hold.
            depends_on: names to start before it (and to stop after it); they may be registered later.

        Raises:
            ConfigError: the name is taken or empty, or the dependencies run in a circle.
        """
        if not name or not isinstance(name, str):
            raise ConfigError(f"name: {name!r} must be a text that is not empty")
        if name in self._members:
            raise ConfigError(f"name: {name!r} is registered already; unregister it first, or choose another")
        if not isinstance(reconnector, Reconnector):
            raise ConfigError(f"{name}: {type(reconnector).__name__} is not a Reconnector")
        if isinstance(depends_on, str):
            raise ConfigError(f"{name}: depends_on must be a list of names, such as [{depends_on!r}]")
        needs = frozenset(depends_on)
        _check_circle({**self._needs, name: needs})
        self._members[name] = reconnector
        self._needs[name] = needs

    def unregister(self, name: str) -> Reconnector[Any] | None:
        """Forget a reconnector and return it (``None`` if there is none). It is not stopped by this."""
        self._needs.pop(name, None)
        return self._members.pop(name, None)

    def get(self, name: str) -> Reconnector[Any] | None:
        """Return the reconnector of that name, or ``None``."""
        return self._members.get(name)

    def names(self) -> list[str]:
        """Return the names in the order of registration."""
        return list(self._members)

    def status(self) -> dict[str, Stats]:
        """Return the figures of each connection as they are now. May be called on any thread: a scrape is."""
        return {name: member.stats() for name, member in tuple(self._members.items())}

    def network_changed(self) -> None:
        """Tell every started connection that the uplink changed: it probes, or dials, at once."""
        for member in self._members.values():
            if member.is_started:
                member.network_changed()

    async def start_all(self) -> dict[str, Exception | None]:
        """Start all, dependencies first, the rest side by side.

        Returns:
            What ``start()`` raised, by name; ``None`` where it went well. A server that is unreachable is no error:
            its connection is being healed. One that depends on a name that is not registered is not started, and has
            a ``ConfigError`` here.
        """
        lost = {name: error for name in self._members if (error := self._unknown_need(name)) is not None}
        levels = [[name for name in level if name not in lost] for level in self._levels()]
        return {**lost, **await self._each(lambda member: member.start(), levels)}

    def _unknown_need(self, name: str) -> ConfigError | None:
        """Return what is wrong when a member depends on a name that nobody has."""
        unknown = sorted(self._needs[name] - self._members.keys())
        if not unknown:
            return None
        close = get_close_matches(unknown[0], self._members.keys() - {name}, n=1)
        mend = f"did you mean {close[0]!r}?" if close else "register it, or take it out of depends_on"
        return ConfigError(f"{name}: depends_on names {unknown[0]!r}, which is not registered; {mend}")

    async def stop_all(self) -> dict[str, Exception | None]:
        """Stop all, in the reverse order. Returns what ``stop()`` raised, by name."""
        return await self._each(lambda member: member.stop(), reversed(self._levels()))

    async def wait_all_connected(self, timeout: Duration | None = None) -> None:
        """Return once all are connected.

        Raises:
            TimeoutError: not within ``timeout`` seconds; the message names those that are down.
            NotConnected: one of them is stopped or was given up.
        """
        limit = None if timeout is None else seconds(timeout, what="timeout")
        if all(member.is_connected for member in self._members.values()):
            return
        try:
            async with asyncio.timeout(limit):
                await self._all_connected()
        except TimeoutError:
            down = ", ".join(
                f"{name} is {m.status.value}" for name, m in self._members.items() if not m.is_connected
            )
            raise TimeoutError(f"not connected within {limit:g} s: {down}") from None

    async def _all_connected(self) -> None:
        idle = [name for name, member in self._members.items() if not member.is_started]
        if idle:
            raise NotConnected(
                "; ".join(f"{name} is {Status.DISCONNECTED.value}; call start()" for name in idle)
            )
        try:
            async with asyncio.TaskGroup() as group:
                for member in self._members.values():
                    group.create_task(member.wait_connected())
        except BaseExceptionGroup as errors:
            refused, others = errors.split(NotConnected)
            if refused is None or others is not None:
                raise
            raise NotConnected("; ".join(str(error) for error in refused.exceptions)) from refused

    async def __aenter__(self) -> Self:
        """Start all; see ``status()`` for those that could not be."""
        try:
            await self.start_all()
        except asyncio.CancelledError:  # there will be no __aexit__
            await self.stop_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_all()

    def _levels(self) -> list[list[str]]:
        """Return the names in groups: each depends on earlier groups only."""
        order = TopologicalSorter(self._needs)
        order.prepare()
        levels = []
        while order.is_active():
            ready = order.get_ready()
            levels.append([name for name in self._members if name in ready])
            order.done(*ready)
        return levels

    async def _each(
        self, action: Callable[[Reconnector[Any]], Coroutine[Any, Any, None]], levels: Iterable[list[str]]
    ) -> dict[str, Exception | None]:
        results: dict[str, Exception | None] = {}
        for level in levels:
            members = [(name, self._members[name]) for name in level if name in self._members]
            outcomes = await asyncio.gather(
                *(action(member) for _, member in members), return_exceptions=True
            )
            for (name, _), outcome in zip(members, outcomes, strict=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
                    raise outcome
                results[name] = outcome
        return results


def _check_circle(needs: dict[str, frozenset[str]]) -> None:
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise ConfigError(f"depends_on runs in a circle: {circle}; remove one of them") from None
