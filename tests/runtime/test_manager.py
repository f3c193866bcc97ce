"""Many connections: started and stopped together, each healing by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.runtime.support import (
    REFUSED,
    STOP_BOUND,
    Misbehaving,
    Notes,
    forever,
    now,
    settle,
    supervise,
    virtual,
)
from tether import ConfigError, NotConnected, ReconnectManager, Status, UsageError
from tether.ports import Attempt
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector


def managed(**connectors: ScriptedConnector) -> ReconnectManager:
    manager = ReconnectManager()
    for name, connector in connectors.items():
        manager.register(name, supervise(connector, name=name))
    return manager


def member(manager: ReconnectManager, name: str) -> Any:
    found = manager.get(name)
    assert found is not None
    return found


class TestRegistering:
    def test_what_is_registered_is_found_by_name_in_order(self) -> None:
        manager = ReconnectManager()
        first, second = supervise(ScriptedConnector()), supervise(ScriptedConnector())
        manager.register("b", first)
        manager.register("a", second)
        assert (manager.names(), manager.get("b"), manager.get("a")) == (["b", "a"], first, second)
        assert manager.get("c") is None

    def test_a_name_that_is_taken_is_refused_and_the_first_stays(self) -> None:
        manager = managed(a=ScriptedConnector())
        first = manager.get("a")
        with pytest.raises(ConfigError, match="name: 'a' is registered already"):
            manager.register("a", supervise(ScriptedConnector()))
        assert manager.get("a") is first

    def test_what_is_unregistered_is_returned_and_its_name_is_free(self) -> None:
        manager = managed(a=ScriptedConnector())
        old = manager.get("a")
        assert manager.unregister("a") is old
        assert manager.unregister("a") is None
        manager.register("a", supervise(ScriptedConnector()))
        assert manager.get("a") is not old

    @pytest.mark.parametrize("name", ["", None, 3])
    def test_a_name_must_be_a_text(self, name: Any) -> None:
        with pytest.raises(ConfigError, match=r"^name: "):
            ReconnectManager().register(name, supervise(ScriptedConnector()))

    def test_only_reconnectors_are_held(self) -> None:
        connector: Any = ScriptedConnector()
        with pytest.raises(ConfigError, match="a: ScriptedConnector is not a Reconnector"):
            ReconnectManager().register("a", connector)

    def test_dependencies_in_a_circle_are_refused_and_named_and_nothing_is_registered(self) -> None:
        manager = ReconnectManager()
        manager.register("a", supervise(ScriptedConnector()), depends_on=["b"])
        manager.register("b", supervise(ScriptedConnector()), depends_on=["c"])
        with pytest.raises(ConfigError, match=r"circle: .*a.*; remove one"):
            manager.register("c", supervise(ScriptedConnector()), depends_on=["a"])
        assert manager.names() == ["a", "b"]
        manager.register("c", supervise(ScriptedConnector()))

    def test_depending_on_oneself_is_a_circle(self) -> None:
        with pytest.raises(ConfigError, match="circle: a → a"):
            ReconnectManager().register("a", supervise(ScriptedConnector()), depends_on=["a"])

    def test_a_single_text_as_dependencies_is_refused_with_the_mend(self) -> None:
        with pytest.raises(ConfigError, match=r"such as \['db'\]"):
            ReconnectManager().register("a", supervise(ScriptedConnector()), depends_on="db")

    @virtual
    async def test_unregistering_does_not_stop(self) -> None:
        manager = managed(a=ScriptedConnector())
        await manager.start_all()
        r = manager.unregister("a")
        assert r is not None
        assert r.is_connected
        await manager.stop_all()
        assert r.is_connected
        await r.stop()


class TestStartingAndStopping:
    @virtual
    async def test_all_are_started_side_by_side_and_an_unreachable_one_is_no_error(self) -> None:
        manager = managed(
            a=ScriptedConnector([Accept(after=2)]),
            b=ScriptedConnector([Accept(after=2)]),
            c=ScriptedConnector([REFUSED]),
        )
        assert await manager.start_all() == {"a": None, "b": None, "c": None}
        assert now() == 2.0
        assert {name: stats.status for name, stats in manager.status().items()} == {
            "a": Status.CONNECTED,
            "b": Status.CONNECTED,
            "c": Status.CONNECTED,
        }
        assert await manager.stop_all() == {"a": None, "b": None, "c": None}
        assert {stats.status for stats in manager.status().values()} == {Status.DISCONNECTED}

    @virtual
    async def test_one_that_cannot_be_started_does_not_stop_the_others(self) -> None:
        manager = managed(a=ScriptedConnector(), b=ScriptedConnector(), c=ScriptedConnector())
        await member(manager, "b").start()
        results = await manager.start_all()
        assert isinstance(results["b"], UsageError)
        assert (results["a"], results["c"]) == (None, None)
        assert all(stats.status is Status.CONNECTED for stats in manager.status().values())
        await manager.stop_all()

    @virtual
    async def test_one_that_cannot_be_stopped_does_not_keep_the_others(self) -> None:
        manager = managed(a=ScriptedConnector(), b=ScriptedConnector(), c=ScriptedConnector())
        await manager.start_all()
        b = member(manager, "b")
        error = RuntimeError("no")
        original = b.stop

        async def stop() -> None:
            raise error

        b.stop = stop
        assert await manager.stop_all() == {"a": None, "b": error, "c": None}
        assert member(manager, "c").status is Status.DISCONNECTED
        await original()

    @virtual
    async def test_dependencies_are_started_first_and_stopped_last(self) -> None:
        notes = Notes()

        def make(name: str) -> Any:
            async def dial(attempt: Attempt) -> ScriptedConnection:
                notes("start", name, now())
                await asyncio.sleep(1)
                return await connector.scripted_open(attempt)

            async def close(connection: ScriptedConnection) -> None:
                notes("stop", name)
                connection.closed = True

            connector = Misbehaving(open=dial, close=close)
            return supervise(connector, name=name)

        manager = ReconnectManager()
        manager.register("app", make("app"), depends_on=["cache", "db"])
        manager.register("cache", make("cache"), depends_on=["net"])
        manager.register("db", make("db"), depends_on=["net"])
        manager.register("net", make("net"))
        await manager.start_all()
        await manager.stop_all()
        assert notes == [
            ("start", "net", 0.0),
            ("start", "cache", 1.0),
            ("start", "db", 1.0),
            ("start", "app", 2.0),
            ("stop", "app"),
            ("stop", "cache"),
            ("stop", "db"),
            ("stop", "net"),
        ]

    @virtual
    async def test_a_dependency_that_is_down_does_not_keep_the_others_from_starting(self) -> None:
        manager = ReconnectManager()
        manager.register("app", supervise(ScriptedConnector()), depends_on=["db"])
        manager.register("db", supervise(ScriptedConnector(then=REFUSED)))
        assert await manager.start_all() == {"db": None, "app": None}
        assert member(manager, "app").is_connected
        await manager.stop_all()

    @virtual
    async def test_one_that_depends_on_nobody_registered_is_not_started_and_the_others_are(self) -> None:
        manager = ReconnectManager()
        manager.register("app", supervise(ScriptedConnector()), depends_on=["cahce", "db"])
        manager.register("web", supervise(ScriptedConnector()), depends_on=["app"])
        manager.register("cache", supervise(ScriptedConnector()))
        manager.register("db", supervise(ScriptedConnector()), depends_on=["zebra"])
        results = await manager.start_all()
        assert {name: str(error) for name, error in results.items() if error is not None} == {
            "app": "app: depends_on names 'cahce', which is not registered; did you mean 'cache'?",
            "db": (
                "db: depends_on names 'zebra', which is not registered; register it, or take it out of depends_on"
            ),
        }
        assert all(isinstance(results[name], ConfigError) for name in ("app", "db"))
        assert {name: member(manager, name).is_started for name in manager.names()} == {
            "app": False,
            "web": True,
            "cache": True,
            "db": False,
        }
        manager.register("cahce", supervise(ScriptedConnector()))
        manager.register("zebra", supervise(ScriptedConnector()))
        again = await manager.start_all()
        assert (again["app"], again["db"]) == (None, None)
        await manager.stop_all()

    @virtual
    async def test_one_that_is_unregistered_meanwhile_does_not_break_the_start_of_the_others(self) -> None:
        manager = ReconnectManager()
        manager.register("net", supervise(ScriptedConnector([Accept(after=1)])))
        manager.register("app", supervise(ScriptedConnector()), depends_on=["net"])
        manager.register("web", supervise(ScriptedConnector()), depends_on=["net"])
        starting = asyncio.create_task(manager.start_all())
        await asyncio.sleep(0.5)
        manager.unregister("app")
        assert await starting == {"net": None, "web": None}
        await manager.stop_all()

    @virtual
    async def test_a_fleet_stops_within_the_bound_of_one(self) -> None:
        connectors = {f"c{n}": Misbehaving(close=forever) for n in range(100)}
        manager = managed(**connectors)
        await manager.start_all()
        began = now()
        await manager.stop_all()
        assert now() - began <= STOP_BOUND
        assert all(connector.live == [] for connector in connectors.values())

    @virtual
    async def test_async_with_starts_and_stops_all(self) -> None:
        manager = managed(a=ScriptedConnector(), b=ScriptedConnector())
        async with manager as entered:
            assert entered is manager
            assert member(manager, "a").is_connected
            assert member(manager, "b").is_connected
        assert {stats.status for stats in manager.status().values()} == {Status.DISCONNECTED}

    @virtual
    async def test_async_with_that_is_cancelled_while_entering_leaves_nothing_running(self) -> None:
        manager = managed(a=ScriptedConnector(), b=ScriptedConnector(then=Hang()))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                async with manager:
                    pytest.fail("entered")
        await asyncio.sleep(100)
        assert {stats.status for stats in manager.status().values()} == {Status.DISCONNECTED}

    @virtual
    async def test_an_empty_manager_starts_waits_and_stops(self) -> None:
        async with ReconnectManager() as manager:
            await manager.wait_all_connected(1)
            assert (manager.status(), manager.names()) == ({}, [])
            manager.network_changed()


class TestWaiting:
    @virtual
    async def test_it_returns_once_all_are_connected(self) -> None:
        async with managed(a=ScriptedConnector([REFUSED] * 3), b=ScriptedConnector([REFUSED])) as manager:
            await manager.wait_all_connected()
            assert now() == 3.0
            await manager.wait_all_connected(0)

    @virtual
    async def test_when_time_is_up_it_names_those_that_are_down(self) -> None:
        async with managed(
            a=ScriptedConnector(),
            b=ScriptedConnector(then=REFUSED),
            c=ScriptedConnector([Accept(lasts=1)], then=REFUSED),
        ) as manager:
            await asyncio.sleep(2)
            with pytest.raises(TimeoutError) as caught:
                await manager.wait_all_connected("2500ms")
            assert now() == 4.5
            assert str(caught.value) == "not connected within 2.5 s: b is connecting, c is reconnecting"

    @virtual
    async def test_one_that_was_given_up_is_told_at_once_and_by_name(self) -> None:
        manager = managed(a=ScriptedConnector(), c=ScriptedConnector(then=REFUSED))
        manager.register("b", supervise(ScriptedConnector(then=REFUSED), name="b", max_retries=0))
        async with manager:
            with pytest.raises(NotConnected, match=r"^b is failed \(refused"):
                await manager.wait_all_connected(60)
            assert now() == 0.0

    @virtual
    async def test_one_that_is_stopped_is_told_at_once_and_by_name(self) -> None:
        async with managed(a=ScriptedConnector(), b=ScriptedConnector()) as manager:
            await member(manager, "b").stop()
            with pytest.raises(NotConnected, match=r"b is disconnected; call start\(\)"):
                await manager.wait_all_connected(60)

    @virtual
    async def test_one_that_was_never_started_is_told_at_once_and_by_name(self) -> None:
        async with managed(a=ScriptedConnector()) as manager:
            manager.register("b", supervise(ScriptedConnector(), name="b"))
            with pytest.raises(NotConnected, match="b is"):
                await manager.wait_all_connected(60)

    @virtual
    async def test_two_that_are_given_up_are_both_named(self) -> None:
        manager = ReconnectManager()
        for name in "ab":
            manager.register(name, supervise(ScriptedConnector(then=REFUSED), name=name, max_retries=0))
        async with manager:
            with pytest.raises(NotConnected, match=r"a is failed .*; b is failed"):
                await manager.wait_all_connected(60)

    @virtual
    async def test_a_cancelled_wait_leaves_nothing(self) -> None:
        async with managed(a=ScriptedConnector(then=REFUSED)) as manager:
            waiting = asyncio.create_task(manager.wait_all_connected())
            await asyncio.sleep(0.5)
            waiting.cancel()
            await asyncio.wait({waiting})
            assert waiting.cancelled()
            assert asyncio.all_tasks() == {asyncio.current_task()}


class TestTogether:
    @virtual
    async def test_a_network_change_reaches_all_that_are_started(self) -> None:
        down = ScriptedConnector([REFUSED])
        up, off = ScriptedConnector(), ScriptedConnector()
        manager = managed(up=up, off=off)
        manager.register("down", supervise(down, retry_interval=lambda n: 300.0))
        await manager.start_all()
        await member(manager, "off").stop()
        await asyncio.sleep(20.1)
        probes = up.probes
        manager.network_changed()
        await settle()
        assert (down.dials, up.probes) == ([0.0, 20.1], probes + 1)
        assert len(off.dials) == 1
        await manager.stop_all()

    @virtual
    async def test_the_loss_of_one_leaves_the_others_alone(self) -> None:
        broken, well = ScriptedConnector(then=Accept(lasts=0.5)), ScriptedConnector()
        async with managed(broken=broken, well=well) as manager:
            await asyncio.sleep(100)
            assert manager.status()["well"].losses == 0
            assert manager.status()["broken"].losses > 10

    @virtual
    async def test_one_that_hangs_in_a_callback_does_not_delay_the_stop_of_the_others(self) -> None:
        manager = managed(a=ScriptedConnector(), b=ScriptedConnector())
        member(manager, "a").on_connect(forever)
        await manager.start_all()
        await settle()
        began = now()
        await manager.stop_all()
        assert now() - began <= STOP_BOUND
