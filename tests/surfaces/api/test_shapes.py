"""What the API answers: the shapes of the specification, for a connection in every state."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.support import virtual
from tests.surfaces.api.support import CONNECTIONS, SECRET, STATES, asking, scripted, world
from tether import ReconnectManager
from tether.surfaces.api.encoding import encode
from tether.surfaces.api.shapes import Connection, Connections, decimal, utc
from tether.surfaces.supervisor import Supervisor

SPECIFIED = (
    "id",
    "url",
    "status",
    "last_connected",
    "reconnect_attempts",
    "consecutive_failures",
    "total_uptime",
    "last_reconnect_latency",
)


async def answers():
    async with world() as supervisor, asking(supervisor) as client:
        response = await client.get(CONNECTIONS)
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        assert SECRET not in response.text
        return response.json()["connections"]


@virtual
async def test_the_whole_answer_is_what_the_models_say():
    async with world() as supervisor, asking(supervisor) as client:
        body = (await client.get(CONNECTIONS)).content

        parsed = Connections.model_validate_json(body, strict=True, extra="forbid")

        assert set(parsed.connections) == set(STATES)


@virtual
async def test_one_connection_is_the_bare_object_of_the_list():
    async with world() as supervisor, asking(supervisor) as client:
        listed = (await client.get(CONNECTIONS)).json()["connections"]
        for name in STATES:
            response = await client.get(f"{CONNECTIONS}/{name}")
            Connection.model_validate_json(response.content, strict=True, extra="forbid")
            moving = {"total_uptime", "session_uptime", "next_attempt_in"}
            assert {k: v for k, v in response.json().items() if k not in moving} == {
                k: v for k, v in listed[name].items() if k not in moving
            }


@virtual
async def test_every_key_of_the_specification_is_there_for_every_state():
    for name, connection in (await answers()).items():
        assert connection["id"] == name
        for key in SPECIFIED:
            assert key in connection


@virtual
async def test_a_connected_one_shows_no_cause():
    up = (await answers())["up"]

    assert up["status"] == "connected"
    assert up["url"] == "redis://user:***@cache:6379/0"
    assert up["required"] is True
    assert up["consecutive_failures"] == up["reconnect_attempts"] == up["losses"] == 0
    assert up["last_reconnect_latency"] is None
    assert up["cause"] is up["cause_label"] is up["phase"] is up["next_attempt_in"] is None
    assert up["last_error"] is None
    assert up["last_connected"].endswith("Z")
    assert up["total_uptime"] == up["session_uptime"]


@virtual
async def test_one_that_came_back_shows_the_latency_and_no_cause():
    back = (await answers())["back"]

    assert (back["status"], back["losses"], back["reconnect_attempts"]) == ("connected", 1, 1)
    assert back["last_reconnect_latency"] not in {None, "0s"}
    assert back["cause"] is back["cause_label"] is back["phase"] is None
    assert back["last_error"].startswith("ConnectionResetError")


@virtual
async def test_one_that_was_never_connected_has_no_time_and_no_figures():
    dialing = (await answers())["dialing"]

    assert dialing["status"] == "connecting"
    assert dialing["last_connected"] is None
    assert dialing["last_reconnect_latency"] is None
    assert (dialing["total_uptime"], dialing["session_uptime"]) == ("0s", "0s")
    assert dialing["depends_on"] == ["up"]


@virtual
async def test_one_that_sleeps_tells_why_and_until_when_without_secrets():
    sleeping = (await answers())["sleeping"]

    assert sleeping["status"] == "reconnecting"
    assert sleeping["cause"] == "reset"
    assert sleeping["phase"] == "ready"
    assert "token=***" in sleeping["last_error"]
    assert float(sleeping["next_attempt_in"].removesuffix("s")) > 50
    assert sleeping["session_uptime"] == "0s"


@virtual
async def test_one_that_was_given_up_has_no_next_attempt():
    failed = (await answers())["failed"]

    assert (failed["status"], failed["cause"], failed["consecutive_failures"]) == ("failed", "refused", 1)
    assert failed["next_attempt_in"] is None


@virtual
async def test_a_paused_one_stays_connected():
    paused = (await answers())["paused"]

    assert (paused["status"], paused["paused"]) == ("connected", True)


@virtual
async def test_one_that_could_not_be_made_says_why_without_secrets():
    broken = (await answers())["broken"]

    assert (broken["status"], broken["type"]) == ("failed", "redis")
    assert broken["problem"].startswith("ValueError: no such option")
    assert broken["url"] == "redis://:***@nowhere"
    assert broken["generation"] == 0


@virtual
async def test_one_that_is_not_started_is_disconnected():
    idle = (await answers())["idle"]

    assert (idle["status"], idle["problem"], idle["url"]) == ("disconnected", None, "scripted://memory")


@virtual
async def test_an_hour_of_uptime_is_3600s():
    supervisor = Supervisor()
    supervisor.add("feed", scripted("feed"))
    supervisor.start()
    await asyncio.sleep(3600)
    async with asking(supervisor) as client:
        feed = (await client.get(f"{CONNECTIONS}/feed")).json()
    await supervisor.stop()

    assert feed["total_uptime"] == "3600s"


@virtual
async def test_what_was_registered_in_the_manager_is_shown_and_what_was_unregistered_is_not():
    manager = ReconnectManager()
    manager.register("one", scripted("own name"))
    async with asking(manager) as client:
        assert list((await client.get(CONNECTIONS)).json()["connections"]) == ["one"]
        manager.unregister("one")
        manager.register("two", scripted("own name"))
        assert list((await client.get(CONNECTIONS)).json()["connections"]) == ["two"]


@virtual
async def test_names_that_are_no_unicode_do_not_break_the_answer():
    manager = ReconnectManager()
    manager.register("bad \udcff", scripted("x"))
    async with asking(manager) as client:
        for path in (CONNECTIONS, "/readyz?verbose"):
            response = await client.get(path)
            assert response.status_code < 500 or response.text.endswith("not ready\n")
            assert "bad \\udcff" in response.text.replace("\\\\", "\\")


@pytest.mark.parametrize(
    ("seconds", "printed"),
    [
        (3600, "3600s"),
        (1.5, "1.5s"),
        (0, "0s"),
        (0.0004, "0s"),
        (-1e-9, "0s"),
        (100, "100s"),
        (0.25, "0.25s"),
        (1 / 3, "0.333s"),
        (12345678.9, "12345678.9s"),
    ],
)
def test_durations_are_decimal_seconds(seconds, printed):
    assert decimal(seconds) == printed


@given(st.floats(0, 1e9))
def test_durations_read_back_to_the_millisecond(seconds):
    assert float(decimal(seconds).removesuffix("s")) == pytest.approx(seconds, abs=0.00051)


def test_times_are_utc_and_end_in_z():
    east = timezone(timedelta(hours=8))

    assert utc(datetime(2026, 1, 1, 8, 0, 0, 1500, tzinfo=east)) == "2026-01-01T00:00:00.001Z"
    assert utc(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
    assert utc(None) is None


def test_anything_can_be_encoded():
    loop = {}
    loop["self"] = loop
    odd = {"nan": float("nan"), "inf": float("-inf"), "text": "\udcff", "raw": b"\xff", ("a", 1): object}

    assert encode({"nan": float("nan")}) == b'{"nan":null}'
    assert b'"\\\\udcff"' in encode(odd)
    assert encode(loop).startswith(b"{")
