"""OpenTelemetry: one trace per outage, one span per attempt, nothing open that should not be, no secrets."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.runtime.support import REFUSED, settle, supervise, virtual
from tether import MissingDriver
from tether.core.cause import Cause, Code, Phase
from tether.core.events import Kind, ReconnectEvent
from tether.core.lifecycle import Status
from tether.observe.tracing import ATTEMPTS_PER_TRACE, OpenTelemetryTracing, server_of
from tether.testing import Accept, Hang, ScriptedConnector

WHEN = datetime(2026, 11, 21, 12, tzinfo=UTC)
NANOSECONDS = int(WHEN.timestamp()) * 10**9


class Recording:
    """A tracer provider that keeps what was exported, and knows what is still open."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider.add_span_processor(Counting(self))
        self.open = self.most_open = 0
        self.tracing = OpenTelemetryTracing(self.provider)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def of(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]


class Counting(SpanProcessor):
    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._recording.open += 1
        self._recording.most_open = max(self._recording.most_open, self._recording.open)

    def on_end(self, span: ReadableSpan) -> None:
        self._recording.open -= 1


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    number: int = span.context.trace_id
    return number


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def tell(recording: Recording) -> Callable[..., None]:
    """Return a function that tells an event, ``after`` seconds from the beginning."""

    def say(kind: Kind, after: float = 0.0, code: Code | None = None, **more: Any) -> None:
        recording.tracing(
            ReconnectEvent(
                kind=kind,
                status=Status.RECONNECTING,
                timestamp=WHEN + timedelta(seconds=after),
                cause=None if code is None else Cause(code, Phase.TCP),
                **{"connection": "db", **more},
            )
        )

    return say


class TestAnOutage:
    @virtual
    async def test_is_one_trace_with_a_span_for_each_attempt(self) -> None:
        recording = Recording()
        connector = ScriptedConnector([Accept(lasts=20), REFUSED, Hang(), Accept(after=2)])
        async with supervise(connector, subscribers=[recording.tracing]):
            await asyncio.sleep(100)
        assert recording.names == [
            "tether.start", "tether.connect",
            "tether.lost", "tether.connect", "tether.connect", "tether.connect",
        ]  # fmt: skip
        start, first, lost, *attempts = recording.spans
        assert trace_id(start) == trace_id(first) != trace_id(lost)
        assert {trace_id(span) for span in attempts} == {trace_id(lost)}
        for parent, children in ((start, [first]), (lost, attempts)):
            assert parent.parent is None
            assert [child.parent for child in children] == [parent.context] * len(children)
        outcomes = [attributes(span)["tether.outcome"] for span in (first, *attempts)]
        assert outcomes == ["connected", "failed", "failed", "connected"]
        assert (recording.open, recording.most_open) == (0, 1)

    @virtual
    async def test_can_be_found_while_it_lasts(self) -> None:
        recording = Recording()
        async with supervise(
            ScriptedConnector([Accept(lasts=20)], then=Hang()), subscribers=[recording.tracing]
        ):
            await asyncio.sleep(25)
            (lost,) = recording.of("tether.lost")
            assert recording.open == 1  # the attempt under way
        assert lost.status.status_code is StatusCode.ERROR
        assert lost.status.description == "ConnectionResetError: [Errno 104] scripted reset"
        assert attributes(lost)["error.type"] == "reset"
        assert attributes(lost)["tether.uptime"] == 20.0

    @virtual
    async def test_that_is_given_up_says_so_in_its_trace_and_goes_on_when_it_is_revived(self) -> None:
        recording = Recording()
        connector = ScriptedConnector([Accept(lasts=20), REFUSED, REFUSED])
        async with supervise(connector, max_retries=2, subscribers=[recording.tracing]) as r:
            await asyncio.sleep(30)
            (given_up,) = recording.of("tether.give_up")
            assert given_up.status.status_code is StatusCode.ERROR
            await r.reconnect()
        (lost,) = recording.of("tether.lost")
        attempts = recording.of("tether.connect")[1:]
        assert len(attempts) == 3
        assert {trace_id(span) for span in (lost, given_up, *attempts)} == {trace_id(lost)}

    def test_of_very_many_attempts_goes_on_in_a_linked_trace(self, recording: Recording, tell: Any) -> None:
        tell(Kind.LOST, code=Code.RESET)
        for number in range(ATTEMPTS_PER_TRACE * 2 + 1):
            tell(Kind.ATTEMPT_STARTED, number)
            tell(Kind.ATTEMPT_FAILED, number + 0.5, Code.REFUSED)
        (lost,) = recording.of("tether.lost")
        further = recording.of("tether.still_down")
        assert [[link.context for link in span.links] for span in further] == [
            [lost.context],
            [further[0].context],
        ]
        sizes = Counter(map(trace_id, recording.of("tether.connect")))
        assert [sizes[trace_id(span)] for span in (lost, *further)] == [500, 500, 1]

    @virtual
    async def test_the_next_one_is_another_trace(self) -> None:
        recording = Recording()
        connector = ScriptedConnector([Accept(lasts=20), Accept(lasts=20), Accept()])
        async with supervise(connector, subscribers=[recording.tracing]):
            await asyncio.sleep(100)
        first, second = recording.of("tether.lost")
        assert trace_id(first) != trace_id(second)

    @virtual
    async def test_a_reconnect_that_was_asked_for_is_no_error(self) -> None:
        recording = Recording()
        async with supervise(ScriptedConnector(), subscribers=[recording.tracing]) as r:
            await r.reconnect()
        (lost,) = recording.of("tether.lost")
        assert (lost.status.status_code, attributes(lost)["error.type"]) == (StatusCode.UNSET, "closed")

    @virtual
    async def test_belongs_to_no_span_that_happens_to_be_current(self) -> None:
        recording = Recording()
        tracer = recording.provider.get_tracer("a web service")
        r = supervise(ScriptedConnector(), subscribers=[recording.tracing])
        with tracer.start_as_current_span("request"):
            await r.start()
        await r.stop()
        assert recording.of("tether.start")[0].parent is None
        (request,) = recording.of("request")
        assert trace_id(request) not in {trace_id(span) for span in recording.spans if span is not request}


class TestAnAttempt:
    def test_lasts_from_its_first_event_to_its_last(self, recording: Recording, tell: Any) -> None:
        tell(Kind.ATTEMPT_STARTED, 1)
        tell(Kind.CONNECTED, 3.5)
        (span,) = recording.spans
        assert (span.start_time, span.end_time) == (NANOSECONDS + 10**9, NANOSECONDS + 3_500_000_000)
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET

    def test_says_what_it_was_about(self, recording: Recording, tell: Any) -> None:
        about = {"type": "redis", "generation": 7, "endpoint": "cache.internal:6379/0"}
        tell(Kind.ATTEMPT_STARTED, retry_count=2, **about)
        tell(Kind.ATTEMPT_FAILED, 1, Code.REFUSED, retry_count=3, message="ConnectionRefusedError", **about)
        (span,) = recording.spans
        assert attributes(span) == {
            "server.address": "cache.internal",
            "server.port": 6379,
            "tether.connection": "db",
            "tether.type": "redis",
            "tether.generation": 7,
            "tether.retry_count": 3,
            "tether.outcome": "failed",
            "tether.phase": "tcp",
            "error.type": "refused",
        }
        assert (span.status.status_code, span.status.description) == (
            StatusCode.ERROR,
            "ConnectionRefusedError",
        )

    def test_has_an_event_for_each_phase_when_it_was_entered(self, recording: Recording, tell: Any) -> None:
        tell(Kind.ATTEMPT_STARTED, 10)
        tell(Kind.CONNECTED, 12, detail={"entered": [["dns", 0.0], ["tcp", 0.25], ["auth", 1.5]]})
        (span,) = recording.spans
        began = NANOSECONDS + 10 * 10**9
        assert [(event.name, event.timestamp - began) for event in span.events] == [
            ("dns", 0), ("tcp", 250_000_000), ("auth", 1_500_000_000),
        ]  # fmt: skip

    def test_never_ends_before_it_began_when_the_time_of_day_is_set_back(
        self, recording: Recording, tell: Any
    ) -> None:
        tell(Kind.ATTEMPT_STARTED, 10)
        tell(Kind.CONNECTED, -3600, detail={"entered": [["dns", 0.0], ["tcp", 0.25]]})
        (span,) = recording.spans
        assert span.start_time == span.end_time
        assert {event.timestamp for event in span.events} == {span.start_time}

    @pytest.mark.parametrize(
        "cut", [Kind.STOPPED, Kind.PAUSED, Kind.ATTEMPT_STARTED, Kind.STARTED, Kind.LOST], ids=str
    )
    def test_that_is_cut_short_ends_as_cancelled(self, recording: Recording, tell: Any, cut: Kind) -> None:
        tell(Kind.ATTEMPT_STARTED)
        tell(cut, 2)
        span = recording.of("tether.connect")[0]
        assert attributes(span)["tether.outcome"] == "cancelled"
        assert (span.status.status_code, span.end_time) == (StatusCode.UNSET, NANOSECONDS + 2 * 10**9)
        assert "error.type" not in attributes(span)
        assert recording.most_open == 1

    @virtual
    async def test_cut_short_by_stop_pause_and_a_new_start(self) -> None:
        recording = Recording()
        r = supervise(ScriptedConnector(then=Hang()), subscribers=[recording.tracing])
        starting = asyncio.ensure_future(r.start())
        await settle()
        r.pause()
        await starting
        r.resume()
        await settle()
        await r.stop()
        outcomes = [attributes(span)["tether.outcome"] for span in recording.of("tether.connect")]
        assert outcomes == ["cancelled", "cancelled"]
        assert recording.open == 0

    def test_of_one_connection_says_nothing_of_anothers(self, recording: Recording, tell: Any) -> None:
        tell(Kind.ATTEMPT_STARTED, connection="a")
        tell(Kind.ATTEMPT_STARTED, connection="b")
        tell(Kind.STOPPED, 1, connection="b")
        assert recording.open == 1
        tell(Kind.CONNECTED, 2, connection="a")
        told = {attributes(s)["tether.connection"]: attributes(s)["tether.outcome"] for s in recording.spans}
        assert told == {"a": "connected", "b": "cancelled"}


class TestNothingGoesWrong:
    @virtual
    async def test_no_span_holds_a_secret_or_an_exception(self) -> None:
        recording = Recording()
        error = ConnectionRefusedError(111, "redis://joe:swordfish@host refused hunter2")
        connector = ScriptedConnector([error, Accept(lasts=5), error], then=error)
        connector.secrets = ("hunter2",)
        async with supervise(connector, max_retries=2, subscribers=[recording.tracing]):
            await asyncio.sleep(30)
        shown = "".join(span.to_json() for span in recording.spans)
        assert "redis://joe:***@host refused ***" in shown
        assert "swordfish" not in shown
        assert "hunter2" not in shown
        assert "exception" not in shown

    def test_a_tracer_that_fails_is_logged_and_raises_nothing(
        self, recording: Recording, tell: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                raise RuntimeError("the collector is on fire")

        recording.provider.add_span_processor(Broken())
        tell(Kind.STARTED)
        tell(Kind.ATTEMPT_STARTED)
        tell(Kind.CONNECTED)
        assert "db: the event started could not be traced" in caplog.text

    def test_what_was_forgotten_takes_no_memory(self, recording: Recording, tell: Any) -> None:
        for number in range(100):
            for kind in (Kind.STARTED, Kind.ATTEMPT_STARTED, Kind.CONNECTED, Kind.LOST, Kind.STOPPED):
                tell(kind, connection=f"db{number}")
        assert recording.tracing._traces == {}

    def test_ends_that_nobody_saw_begin_make_no_span(self, recording: Recording, tell: Any) -> None:
        for kind in (Kind.CONNECTED, Kind.ATTEMPT_FAILED, Kind.PAUSED, Kind.STOPPED):
            tell(kind)
        assert recording.names == []

    def test_without_opentelemetry_the_error_names_what_installs_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        with pytest.raises(MissingDriver, match=r"pip install 'tether\[otel\]'"):
            OpenTelemetryTracing()

    def test_without_a_provider_the_global_one_is_asked(self) -> None:
        tracing = OpenTelemetryTracing()
        assert isinstance(tracing._tracer, trace.ProxyTracer)


@pytest.mark.parametrize(
    ("endpoint", "server"),
    [
        ("localhost:6379/0", ("localhost", 6379)),
        ("10.0.0.1:5432", ("10.0.0.1", 5432)),
        ("::1:6379/0", ("::1", 6379)),
        ("[2001:db8::1]:6379/0", ("2001:db8::1", 6379)),
        ("wss://feed.example:443/ws?x=1", ("feed.example", 443)),
        ("/run/redis.sock", ("/run/redis.sock", None)),
        ("memory", None),
        ("", None),
        ("feed.example/ws", None),
        ("a:9092,b:9092", None),
    ],
)
def test_a_server_is_named_where_the_endpoint_has_one(endpoint: str, server: Any) -> None:
    wanted = {} if server is None else {"server.address": server[0], "server.port": server[1]}
    assert server_of(endpoint) == {key: value for key, value in wanted.items() if value is not None}
