"""Prometheus: what a scrape says during an outage, that it is bounded, and that promtool has nothing to say."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.runtime.support import REFUSED, Notes, settle, supervise, virtual
from tether import MissingDriver, ReconnectManager
from tether.core.cause import Code
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.observe.metrics import MetricsCollector, exposition
from tether.observe.tally import LATENCY_BUCKETS
from tether.observe.version import installed_version
from tether.runtime.stats import Stats
from tether.testing import Accept, Hang, ScriptedConnector


class Scrape:
    """One scrape, sample by sample."""

    def __init__(self, manager: Any, **options: Any) -> None:
        registry = CollectorRegistry()
        registry.register(MetricsCollector(manager, **options))
        body, self.content_type = exposition(registry)
        self.text = body.decode()
        self.families = {family.name: family for family in text_string_to_metric_families(self.text)}

    def value(self, name: str, connection: str = "db", **labels: str) -> float | None:
        """Return one sample of a connection; its type is not looked at."""
        wanted = {"connection": connection, **labels}
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and {**sample.labels, "type": ""} == {**wanted, "type": ""}
        ]
        assert len(found) <= 1, "a series was told twice"
        return found[0] if found else None

    def states(self, connection: str = "db") -> dict[str, float | None]:
        return {
            state.value: self.value("network_connection_state", connection, state=state) for state in Status
        }

    def connections(self) -> set[str]:
        samples = (sample for family in self.families.values() for sample in family.samples)
        return {sample.labels["connection"] for sample in samples if "connection" in sample.labels}


class Made:
    """A manager of made-up figures."""

    def __init__(self, figures: Mapping[str, Stats]) -> None:
        self._figures = figures

    def status(self) -> Mapping[str, Stats]:
        return self._figures


def figures(**changes: Any) -> Stats:
    """Return the figures of a connection that has been up for a minute and was never lost, but for ``changes``."""
    blank: dict[str, Any] = dict.fromkeys(Stats._fields, 0)
    blank |= {"type": "redis", "status": Status.CONNECTED, "session_uptime": 60.0, "reconnect_failures": {}}
    blank |= {"paused": False, "degraded": False, "flapping": False, "last_reconnect": None, "latencies": ()}
    return Stats(**{**blank, **changes})


def only(**states: float) -> dict[str, float]:
    """Return these states' values, and 0 for all others."""
    return {**{status.value: 0.0 for status in Status}, **states}


def managing(connector: ScriptedConnector, **options: Any) -> tuple[ReconnectManager, Any]:
    manager, reconnector = ReconnectManager(), supervise(connector, **options)
    manager.register("db", reconnector)
    return manager, reconnector


class TestAnOutage:
    @virtual
    async def test_before_anything_happened_all_counters_are_there_and_zero(self) -> None:
        manager, _ = managing(ScriptedConnector())
        scrape = Scrape(manager)
        for name in (
            "network_reconnect_attempts_total",
            "network_reconnect_success_total",
            "network_connection_losses_total",
            "network_probe_failures_total",
            "network_dropped_total",
            "network_callback_failures_total",
            "network_loop_stalls_total",
            "network_connection_uptime_seconds",
            "network_reconnect_latency_seconds_count",
            "network_reconnect_latency_seconds_sum",
        ):
            assert scrape.value(name) == 0, name
        assert scrape.value("network_last_reconnect_timestamp") is None
        assert scrape.families["network_reconnect_failures"].samples == []
        assert scrape.states() == only(disconnected=1.0)

    @virtual
    async def test_every_sample_carries_the_name_and_the_type(self) -> None:
        manager, _ = managing(ScriptedConnector())
        samples = [sample for family in Scrape(manager).families.values() for sample in family.samples]
        labelled = [sample for sample in samples if not sample.name.startswith("tether_")]
        assert len(labelled) > 20
        assert {(s.labels["connection"], s.labels["type"]) for s in labelled} == {("db", "scripted")}

    @virtual
    async def test_a_first_connect_is_no_reconnect(self) -> None:
        manager, reconnector = managing(ScriptedConnector())
        async with reconnector:
            await asyncio.sleep(42)
            scrape = Scrape(manager)
            assert scrape.value("network_reconnect_attempts_total") == 0
            assert scrape.value("network_reconnect_success_total") == 0
            assert scrape.value("network_connection_uptime_seconds") == 42
            assert scrape.states()["connected"] == 1

    @virtual
    async def test_it_is_seen_while_it_lasts_and_when_it_is_over(self) -> None:
        notes = Notes()
        connector = ScriptedConnector([Accept(lasts=20), REFUSED, TimeoutError, REFUSED])
        manager, reconnector = managing(connector, subscribers=[notes])
        async with reconnector:
            await asyncio.sleep(23.5)  # lost at 20; failed at 21, 22, 23
            down = Scrape(manager)
            assert down.value("network_connection_losses_total") == 1
            assert down.value("network_reconnect_attempts_total") == 3
            assert down.value("network_reconnect_success_total") == 0
            assert down.value("network_reconnect_failures_total", reason="refused") == 2
            assert down.value("network_reconnect_failures_total", reason="timeout") == 1
            assert down.value("network_connection_uptime_seconds") == 0
            assert down.states() == only(reconnecting=1.0)
            await asyncio.sleep(10.5)  # connected at 24
            up = Scrape(manager)
            assert up.value("network_reconnect_attempts_total") == 4
            assert up.value("network_reconnect_success_total") == 1
            assert up.value("network_connection_uptime_seconds") == 10
            assert up.states() == only(connected=1.0)
            when = notes.of(Kind.RECONNECTED)[0].timestamp.timestamp()
            assert up.value("network_last_reconnect_timestamp") == when
            assert up.value("network_last_reconnect_timestamp_seconds") == when

    @virtual
    async def test_its_length_falls_into_a_bucket_and_all_above(self) -> None:
        manager, reconnector = managing(ScriptedConnector([Accept(lasts=20), REFUSED, Accept(after=1.5)]))
        async with reconnector:
            await asyncio.sleep(30)  # lost at 20, failed at 21, connected at 23.5
            scrape = Scrape(manager)
        name = "network_reconnect_latency_seconds"
        buckets = {
            bound: scrape.value(f"{name}_bucket", le=str(bound)) for bound in (*LATENCY_BUCKETS, "+Inf")
        }
        assert buckets == {
            bound: float(bound == "+Inf" or float(bound) >= 3.5) for bound in (*LATENCY_BUCKETS, "+Inf")
        }
        assert max(LATENCY_BUCKETS) == 600
        assert (scrape.value(f"{name}_sum"), scrape.value(f"{name}_count")) == (3.5, 1)

    @virtual
    async def test_the_flags(self) -> None:
        names = [f"network_connection_{flag}" for flag in ("paused", "degraded", "flapping")]
        manager, reconnector = managing(
            ScriptedConnector([Accept(lasts=1)] * 4, then=Hang()), stable_after=10
        )
        async with reconnector:
            assert [Scrape(manager).value(name) for name in names] == [0, 0, 0]
            await asyncio.sleep(9)
            reconnector.pause()
            assert [Scrape(manager).value(name) for name in names] == [1, 0, 1]

    @virtual
    async def test_a_connection_that_is_unregistered_is_gone(self) -> None:
        manager, _ = managing(ScriptedConnector())
        registry = CollectorRegistry()
        registry.register(MetricsCollector(manager))
        assert b'connection="db"' in exposition(registry)[0]
        manager.unregister("db")
        assert b'connection="db"' not in exposition(registry)[0]

    @virtual
    async def test_scraping_twice_says_the_same(self) -> None:
        manager, reconnector = managing(ScriptedConnector([Accept(lasts=1), REFUSED]))
        async with reconnector:
            await asyncio.sleep(20)
            assert Scrape(manager).text == Scrape(manager).text


class TestFolding:
    def test_what_is_beyond_the_limit_is_added_up_by_type(self) -> None:
        members = {
            "a": figures(reconnect_attempts=1),
            "b": figures(reconnect_attempts=2, dropped=5),
            "c": figures(type="nats", reconnect_attempts=4),
            "d": figures(reconnect_attempts=8, dropped=7, paused=True, status=Status.FAILED),
        }
        scrape = Scrape(Made(members), max_connections=1)
        assert scrape.connections() == {"a", "(other)"}
        attempts = {
            (s.labels["connection"], s.labels["type"]): s.value
            for s in scrape.families["network_reconnect_attempts"].samples
        }
        assert attempts == {("a", "redis"): 1, ("(other)", "redis"): 10, ("(other)", "nats"): 4}
        assert [s.value for s in scrape.families["tether_connections_folded"].samples] == [3]

    def test_of_those_added_up_the_states_are_counted_and_the_worst_uptime_and_latest_reconnect_shown(
        self,
    ) -> None:
        early, late = (datetime(2026, 11, day, tzinfo=UTC) for day in (20, 21))
        bins = len(LATENCY_BUCKETS) + 1
        members = {
            "a": figures(last_reconnect=early, latencies=(1,) * bins, latency_sum=2.0),
            "b": figures(last_reconnect=late, reconnect_failures={Code.REFUSED: 1}),
            "c": figures(status=Status.FAILED, session_uptime=0.0, paused=True),
            "d": figures(paused=True, reconnect_failures={Code.REFUSED: 2, Code.DNS: 1}),
        }
        scrape = Scrape(Made(members), max_connections=0)
        assert scrape.connections() == {"(other)"}
        assert scrape.states("(other)") == only(connected=3.0, failed=1.0)
        assert scrape.value("network_connection_paused", "(other)") == 2
        assert scrape.value("network_connection_uptime_seconds", "(other)") == 0
        assert scrape.value("network_last_reconnect_timestamp", "(other)") == late.timestamp()
        assert scrape.value("network_reconnect_latency_seconds_count", "(other)") == bins
        assert scrape.value("network_reconnect_latency_seconds_sum", "(other)") == 2.0
        assert scrape.value("network_reconnect_failures_total", "(other)", reason="refused") == 3
        assert scrape.value("network_reconnect_failures_total", "(other)", reason="dns") == 1

    def test_within_the_limit_nothing_is_folded(self) -> None:
        scrape = Scrape(Made({"a": figures(), "b": figures()}), max_connections=2)
        assert scrape.connections() == {"a", "b"}
        assert [s.value for s in scrape.families["tether_connections_folded"].samples] == [0]

    def test_a_connection_of_that_very_name_makes_no_series_twice(self) -> None:
        scrape = Scrape(
            Made({"(other)": figures(dropped=1), "a": figures(), "b": figures(dropped=2)}), max_connections=1
        )
        assert scrape.value("network_dropped_total", "(other)") == 3

    def test_many_connections_make_a_bounded_number_of_series(self) -> None:
        few, many = (Scrape(Made({f"c{n}": figures() for n in range(count)})) for count in (1_001, 3_000))
        assert few.text.count("\n") == many.text.count("\n")


class TestText:
    def test_names_with_quotes_and_line_breaks_come_through(self) -> None:
        name = 'a"b\\c\nd — 缓存'
        assert Scrape(Made({name: figures()})).connections() == {name}

    def test_a_name_that_is_no_unicode_does_not_break_the_scrape(self) -> None:
        assert Scrape(Made({"a\udc80": figures(), "b": figures()})).connections() == {"a\\udc80", "b"}

    def test_the_build_is_named(self) -> None:
        sample = Scrape(Made({})).families["tether_build_info"].samples[0]
        assert (sample.labels, sample.value) == ({"version": installed_version()}, 1)

    def test_every_family_is_explained(self) -> None:
        families = Scrape(Made({"a": figures()})).families
        assert len(families) > 15
        assert all(family.documentation for family in families.values())

    def test_what_is_described_is_what_is_collected(self) -> None:
        collector = MetricsCollector(Made({"a": figures(last_reconnect=datetime.now(UTC))}))
        described, collected = list(collector.describe()), list(collector.collect())
        assert [(m.name, m.type) for m in described] == [(m.name, m.type) for m in collected]
        assert sum(len(m.samples) for m in described) == 2  # those that tell of tether itself

    def test_the_content_type_is_prometheus_own(self) -> None:
        assert Scrape(Made({})).content_type.startswith("text/plain; version=")


@virtual
async def test_a_scrape_on_another_thread_sees_connections_come_and_go() -> None:
    manager = ReconnectManager()
    for number in range(300):
        manager.register(f"c{number}", supervise(ScriptedConnector()))
    failures: list[BaseException] = []

    def scrape() -> None:
        try:
            for _ in range(5):
                Scrape(manager)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        manager.register(f"extra{turns}", supervise(ScriptedConnector()))
        manager.unregister(f"extra{turns - 1}")
        await settle()
    thread.join()
    assert failures == []
    assert turns > 0


def test_without_prometheus_client_the_error_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingDriver, match=r"pip install 'tether\[metrics\]'"):
        MetricsCollector(Made({}))


@pytest.mark.needs_server
def test_promtool_has_nothing_to_say(promtool: str) -> None:
    members = {
        "cache": figures(
            last_reconnect=datetime.now(UTC), reconnect_failures={Code.REFUSED: 2, Code.AUTH: 1}
        ),
        'odd "name"\n': figures(type="nats", status=Status.RECONNECTING),
        "folded": figures(),
    }
    text = Scrape(Made(members), max_connections=2).text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_from_a_source_that_is_not_installed_the_version_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("tether.observe.version.version", missing)
    assert installed_version.__wrapped__() == "unknown"
