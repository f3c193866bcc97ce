"""Log lines: one per transition at the right level, a summary instead of a line per retry, no secrets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.support import REFUSED, Misbehaving, forever, settle, stall, supervise, virtual
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.observe.logs import LogLines
from tether.testing.scripted import Accept, Hang, ScriptedConnection, ScriptedConnector

DEBUG, INFO, WARN, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
Lines = Callable[..., list[tuple[int, str]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Return the lines so far, from a level up, without the name in front; each must begin with it."""
    caplog.set_level(logging.DEBUG, logger="tether.test")

    def read(level: int = INFO) -> list[tuple[int, str]]:
        records = [record for record in caplog.records if record.name == "tether.test"]
        assert all(record.getMessage().startswith("db: ") for record in records)
        return [(r.levelno, r.getMessage().removeprefix("db: ")) for r in records if r.levelno >= level]

    return read


def logged(connector: ScriptedConnector, **options: Any) -> Any:
    return supervise(connector, logger=logging.getLogger("tether.test"), **options)


class TestTransitions:
    @virtual
    async def test_a_life_has_one_line_per_transition(self, lines: Lines) -> None:
        refused = ConnectionRefusedError(111, "nobody listens")
        connector = ScriptedConnector([refused, Accept(lasts=90), refused, refused, Accept()])
        async with logged(connector, health_check=False) as r:
            await asyncio.sleep(100)
            r.pause()
            r.resume()
        why = "refused (connection refused, phase tcp): ConnectionRefusedError: [Errno 111] nobody listens"
        reset = (
            "reset (connection reset by peer, phase ready): ConnectionResetError: [Errno 104] scripted reset"
        )
        assert lines() == [
            (INFO, "connecting to memory"),
            (WARN, f"attempt 1 failed, {why}; next in 1s"),
            (INFO, "connected after 1 failed attempt"),
            (WARN, f"lost after 1m30s up, {reset}"),
            (WARN, f"attempt 1 failed, {why}; next in 1s"),
            (INFO, "connected again after 3s and 2 failed attempts"),
            (INFO, "paused"),
            (INFO, "resumed"),
            (INFO, "stopped"),
        ]

    @virtual
    async def test_giving_up_is_an_error_and_says_what_to_do(self, lines: Lines) -> None:
        async with logged(ScriptedConnector([REFUSED, REFUSED]), max_retries=1) as r:
            await asyncio.sleep(10)
            await r.reconnect()
        why = "refused (connection refused, phase tcp): ConnectionRefusedError"
        assert lines()[2:] == [
            (
                ERROR,
                f"gave up after 2 failed attempts, {why}; reconnect() tries again",
            ),
            (INFO, "revived"),
            (INFO, "connected after 2 failed attempts"),
            (INFO, "stopped"),
        ]

    @virtual
    async def test_degraded_is_a_warning_and_recovered_good_news(self, lines: Lines) -> None:
        async def restore(_: ScriptedConnection) -> list[str]:
            return ["orders"] if connector.restores == 1 else []

        connector = Misbehaving(restore=restore)
        async with logged(connector):
            await asyncio.sleep(5)
        assert lines()[2:4] == [
            (WARN, "degraded: not everything could be restored; trying on"),
            (INFO, "recovered"),
        ]

    @virtual
    async def test_a_stall_is_a_warning_that_blames_ourselves(self, lines: Lines) -> None:
        async def probe(_: ScriptedConnection) -> None:
            if connector.probes > 1:
                await asyncio.sleep(1)

        connector = Misbehaving(probe=probe)
        async with logged(connector, health_check_timeout=2):
            asyncio.get_running_loop().call_at(5.5, stall, 60.0)
            await asyncio.sleep(70)
        (line,) = [text for level, text in lines(WARN) if level == WARN]
        assert line.startswith("this process's event loop was blocked for ")
        assert line.endswith("verdict held back")

    @virtual
    async def test_failed_probes_and_late_errors_are_details(self, lines: Lines) -> None:
        connector = ScriptedConnector()
        async with logged(connector, failure_threshold=5, health_check_interval=1) as r:
            connector.opened[0].die()
            await asyncio.sleep(2.6)
            r.report(EOFError(), 0)
            seen = lines()
            assert seen == [(INFO, "connecting to memory"), (INFO, "connected")]
            details = [text for level, text in lines(DEBUG) if level == DEBUG]
            assert sum(text.startswith("probe_failed, reset") for text in details) == 3
            assert sum(text.startswith("evidence, eof") for text in details) == 1

    @virtual
    async def test_a_first_attempt_after_a_loss_is_announced_as_a_detail(self, lines: Lines) -> None:
        async with logged(ScriptedConnector([Accept(lasts=1)])):
            await asyncio.sleep(10)
        assert (DEBUG, "first attempt in 1s") in lines(DEBUG)

    @virtual
    async def test_a_callback_that_cannot_keep_up_is_told_when_its_drops_double(self, lines: Lines) -> None:
        connector = ScriptedConnector([REFUSED] * 400)
        r = logged(connector, callback_timeout=10_000)
        r.on_reconnect_failed(forever)
        async with r:
            await r.wait_connected()
            told = [text for _, text in lines(WARN) if "cannot keep up" in text]
            assert [int(text.split()[-4]) for text in told] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
            assert all(text.startswith("on_reconnect_failed(forever) cannot keep up") for text in told)

    @virtual
    async def test_bunches_of_drops_are_told_when_their_sum_has_doubled_at_least(self, lines: Lines) -> None:
        async with logged(ScriptedConnector()) as r:
            for count in (1, 499, 100, 399, 1, 5000):
                r._engine.tell(Kind.DROPPED, callback="f", dropped=count)
            told = [text for _, text in lines(WARN)]
        assert [int(text.split()[-4]) for text in told] == [1, 500, 1000, 6000]


class TestLongOutage:
    @virtual
    async def test_ten_minutes_and_hundreds_of_attempts_make_a_line_a_minute(self, lines: Lines) -> None:
        connector = ScriptedConnector([Accept(lasts=5)] + [REFUSED] * 600)
        async with logged(connector) as r:
            await asyncio.sleep(5.5)
            await r.wait_connected()
            assert len(connector.dials) == 602
            told = lines()
        assert len(told) == 2 + 1 + 1 + 10 + 1  # start, up, lost, first failure, minutes, up again
        summaries = [text for _, text in told if text.startswith("still down")]
        assert [text.split(",")[0] for text in summaries] == [
            f"still down after {minutes}m and {60 * minutes} failed attempts" for minutes in range(1, 11)
        ]
        assert all("refused (connection refused, phase tcp)" in text for text in summaries)
        assert told[-1] == (INFO, "connected again after 10m1s and 600 failed attempts")
        assert (
            sum(text.startswith("attempt ") for level, text in lines(DEBUG) if level == DEBUG) == 600 - 1 - 10
        )

    @virtual
    async def test_attempts_that_take_long_count_towards_the_minute_too(self, lines: Lines) -> None:
        connector = ScriptedConnector([Accept(lasts=5)], then=Hang())
        async with logged(connector, connect_timeout=10):
            await asyncio.sleep(605)
        assert sum(text.startswith("still down") for _, text in lines()) in {8, 9}

    @virtual
    async def test_every_outage_begins_its_summary_anew(self, lines: Lines) -> None:
        connector = ScriptedConnector(
            [Accept(lasts=5)] + [REFUSED] * 90 + [Accept(lasts=5)] + [REFUSED] * 50 + [Accept()]
        )
        async with logged(connector):
            await asyncio.sleep(300)
        assert [text.split(",")[0] for _, text in lines() if text.startswith("still down")] == [
            "still down after 1m and 60 failed attempts"
        ]
        assert sum(text.startswith("attempt 1 failed") for _, text in lines()) == 2

    @virtual
    async def test_a_flapping_server_makes_two_lines_per_round(self, lines: Lines) -> None:
        connector = ScriptedConnector(then=Accept(lasts=1))
        async with logged(connector, retry_interval=fixed_interval(9)):
            await asyncio.sleep(100)
        told = [text.split()[0] for _, text in lines()[1:-1]]
        assert set(told) == {"connected", "lost"}
        assert len(told) == 20


class TestContents:
    @virtual
    async def test_no_line_holds_a_secret(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        error = ConnectionRefusedError(111, "redis://joe:swordfish@host refused hunter2, token=abc123")
        connector = ScriptedConnector([error, Accept(), error, Accept()])
        connector.secrets = ("hunter2",)
        async with logged(connector, max_retries=0) as r:
            await r.reconnect()
            connector.opened[-1].lose(error)
            r.report(error, 0)
            await settle()
        shown = caplog.text + "".join(str(vars(record)) for record in caplog.records)
        assert "redis://joe:***@host refused ***" in shown
        for secret in ("swordfish", "hunter2", "abc123"):
            assert secret not in shown

    @virtual
    async def test_every_line_carries_the_event_as_plain_values(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="tether.test")
        async with logged(ScriptedConnector([REFUSED])) as r:
            await r.wait_connected()
        fields = [vars(record)["tether"] for record in caplog.records]
        assert [field["kind"] for field in fields] == ["started", "retry_scheduled", "connected", "stopped"]
        assert (fields[1]["cause"], fields[1]["retry_count"], fields[1]["delay"]) == ("refused", 1, 1.0)

    @virtual
    async def test_below_the_loggers_level_nothing_is_formatted(self) -> None:
        class Quiet(logging.Logger):
            def isEnabledFor(self, level: int) -> bool:  # noqa: N802
                return False

            def log(self, *args: Any, **kwargs: Any) -> None:
                pytest.fail("formatted")

        r = supervise(ScriptedConnector([REFUSED]), logger=Quiet("quiet"))
        async with r:
            await r.wait_connected()

    @virtual
    async def test_kinds_that_have_no_line_are_silent(self, lines: Lines) -> None:
        async with logged(ScriptedConnector()):
            pass
        assert lines(DEBUG) == [(INFO, "connecting to memory"), (INFO, "connected"), (INFO, "stopped")]


@virtual
async def test_what_was_dropped_elsewhere_is_named_too(lines: Lines) -> None:
    async with logged(ScriptedConnector()) as r:
        engine = r._engine
        engine.tell(Kind.DROPPED, subscription="orders", dropped=3)
        engine.tell(Kind.DROPPED, dropped=1)
        engine.tell(Kind.DROPPED, dropped=2)
        engine.tell(Kind.GAP, elapsed=75.0)
        told = [text for _, text in lines(WARN)]
    assert told == [
        "orders cannot keep up: 3 dropped so far",
        "a full queue cannot keep up: 6 dropped so far",  # doubled
        "messages of 1m15s may be missing",
    ]


def test_a_line_writer_belongs_to_one_connection() -> None:
    logger = logging.getLogger("tether.test")
    assert LogLines(logger) is not LogLines(logger)
