"""The supervisor: what the surfaces see of connections, and what they can have done."""

import asyncio
import logging

import pytest

from tests.runtime.support import settle, virtual
from tests.surfaces.api.support import SECRET, connector_of, eventually, scripted, world
from tether import ReconnectManager
from tether.errors import ConfigError
from tether.surfaces.supervisor import NoSuchConnection, NotNow, Supervisor
from tether.testing.scripted import Accept, Hang


def test_members_are_in_the_order_in_which_they_were_added_and_then_those_of_the_manager():
    manager = ReconnectManager()
    manager.register("early", scripted("early"))
    supervisor = Supervisor(manager)
    supervisor.add("b", scripted("b"))
    supervisor.add_broken("x", ValueError("no"), type="redis")
    supervisor.add("a", scripted("a"))
    manager.register("late", scripted("late"))

    assert supervisor.names() == ["b", "x", "a", "early", "late"]
    assert [member.name for member in supervisor.members()] == supervisor.names()
    assert "late" in supervisor
    assert "nobody" not in supervisor


def test_the_manager_has_the_last_word():
    supervisor = Supervisor()
    supervisor.add("one", scripted("old"), url="redis://old", required=True)
    supervisor.manager.unregister("one")
    assert supervisor.names() == []

    supervisor.manager.register("one", scripted("new"))
    assert supervisor.member("one").url == "scripted://memory"
    assert not supervisor.member("one").required


@pytest.mark.parametrize("taken", ["one", "broken", "elsewhere"])
def test_a_name_is_taken_once(taken):
    supervisor = Supervisor()
    supervisor.add("one", scripted("one"))
    supervisor.add_broken("broken", ValueError("no"), type="redis")
    supervisor.manager.register("elsewhere", scripted("elsewhere"))

    with pytest.raises(ConfigError, match=f"'{taken}' is registered already"):
        supervisor.add(taken, scripted("x"))
    with pytest.raises(ConfigError, match=f"'{taken}' is registered already"):
        supervisor.add_broken(taken, ValueError("no"), type="redis")
    assert supervisor.names() == ["one", "broken", "elsewhere"]


def test_secrets_are_masked_whatever_way_they_come(caplog):
    supervisor = Supervisor()
    supervisor.add("one", scripted("one"), url=f"redis://user:{SECRET}@h?token={SECRET}")
    supervisor.add_broken(
        "two", ValueError(f"bad redis://:{SECRET}@h"), type="redis", url=f"redis://:{SECRET}@h"
    )
    endpoint = scripted("three")
    endpoint._engine.connector.endpoint = f"https://user:{SECRET}@h/"
    supervisor.add("three", endpoint)
    supervisor.manager.register("four", scripted("four"))
    supervisor.manager.get("four")._engine.connector.endpoint = f"https://user:{SECRET}@h/"

    urls = [member.url for member in supervisor.members()]
    assert urls == ["redis://user:***@h?token=***", "redis://:***@h", *["https://user:***@h/"] * 2]
    assert supervisor.problem("two") == "ValueError: bad redis://:***@h"
    assert SECRET not in caplog.text + repr(list(supervisor.members()))


def test_unknown_names():
    supervisor = Supervisor()
    with pytest.raises(NoSuchConnection, match="there are: none"):
        supervisor.member("x")
    supervisor.add("cache", scripted("cache"))
    with pytest.raises(NoSuchConnection, match="did you mean 'cache'"):
        supervisor.reconnect("cashe")
    with pytest.raises(NoSuchConnection, match="there are: cache"):
        supervisor.pause("x" * 10_000)


@virtual
async def test_start_begins_all_and_waits_for_none():
    supervisor = Supervisor()
    supervisor.add("slow", scripted("slow", then=Hang()))
    supervisor.add("quick", scripted("quick"))
    supervisor.start()
    await eventually(lambda: supervisor.is_up(supervisor.member("quick")))

    assert not supervisor.is_up(supervisor.member("slow"))
    await supervisor.stop()
    await supervisor.stop()
    assert supervisor.is_stopping
    assert connector_of(supervisor, "quick").live == []


@virtual
async def test_what_cannot_be_started_is_told_and_holds_up_nobody(caplog):
    supervisor = Supervisor()
    supervisor.add("orphan", scripted("orphan"), depends_on=["nobody"])
    supervisor.add("well", scripted("well"))
    supervisor.start()
    await eventually(lambda: supervisor.is_up(supervisor.member("well")))

    assert "depends_on names 'nobody'" in supervisor.problem("orphan")
    assert "orphan: cannot be started" in caplog.text
    with pytest.raises(NotNow, match="orphan is not started: ConfigError") as caught:
        supervisor.resume("orphan")
    assert caught.value.code == "not_started"
    await supervisor.stop()


@virtual
async def test_dependencies_are_shown_as_declared_and_started_as_they_can_be():
    supervisor = Supervisor()
    supervisor.add_broken("base", ValueError("no"), type="redis")
    supervisor.add("top", scripted("top"), depends_on=["base"], start_after=[])
    supervisor.start()
    await eventually(lambda: supervisor.is_up(supervisor.member("top")))

    assert supervisor.member("top").depends_on == ("base",)
    await supervisor.stop()


@virtual
async def test_a_stop_in_the_midst_of_everything_leaves_nothing():
    async with world() as supervisor:
        connector_of(supervisor, "sleeping").then = Accept(after=100)
        for name in ("up", "sleeping", "failed", "dialing", "back"):
            supervisor.reconnect(name)
    assert all(supervisor.manager.get(name).status == "disconnected" for name in supervisor.manager.names())


@virtual
async def test_a_reconnect_that_is_cut_short_is_one_line_in_the_log(caplog):
    supervisor = Supervisor()
    supervisor.add("one", scripted("one", Accept(), then=Accept(after=5)))
    supervisor.start()
    await eventually(lambda: supervisor.is_up(supervisor.member("one")))
    caplog.set_level(logging.WARNING, "tether.supervisor")
    supervisor.reconnect("one")
    supervisor.reconnect("one")
    supervisor.pause("one")
    await settle()
    assert len(supervisor._forced) <= 1
    await supervisor.stop()

    assert supervisor._forced == {}
    told = [record for record in caplog.records if record.name == "tether.supervisor"]
    assert len(told) <= 1
    assert all("\n" not in record.getMessage() for record in told)


@virtual
async def test_stopping_before_starting_is_nothing():
    supervisor = Supervisor()
    supervisor.add("one", scripted("one"))
    await supervisor.stop()
    await asyncio.sleep(0)

    assert connector_of(supervisor, "one").dials == []
