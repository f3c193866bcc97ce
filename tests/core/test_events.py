"""Events: frozen facts that can be kept, compared and sent as JSON, without holding on to exceptions."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tether.core.cause import Cause, Code, Phase
from tether.core.events import Kind, ReconnectEvent
from tether.core.hint import RetryHint
from tether.core.lifecycle import Status

WHEN = datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)


class Lost(Exception):
    """An exception that one can refer to weakly."""


def event(error: BaseException | None = None, **changes: Any) -> ReconnectEvent:
    plain = ReconnectEvent(
        kind=Kind.ATTEMPT_FAILED,
        connection="cache",
        type="redis",
        status=Status.RECONNECTING,
        timestamp=WHEN,
        generation=7,
        retry_count=3,
        cause=Cause(Code.AUTH, Phase.AUTH, error, RetryHint(9.0)),
        error=error,
        message="AuthenticationError: refused",
        endpoint="db:6379/0",
        delay=1.5,
        elapsed=20.0,
        detail={"channels": ["a", "b"], "dropped": 1},
    )
    return replace(plain, **changes)


def parts(value: Any) -> list[Any]:
    """Return everything inside of a plain value."""
    if isinstance(value, Mapping):
        return [value, *(part for pair in value.items() for item in pair for part in parts(item))]
    if isinstance(value, (list, tuple)):
        return [value, *(part for item in value for part in parts(item))]
    return [value]


class TestFrozen:
    @pytest.mark.parametrize("name", [field.name for field in fields(ReconnectEvent)])
    def test_it_cannot_be_changed(self, name: str) -> None:
        with pytest.raises(FrozenInstanceError):
            setattr(event(), name, None)

    def test_its_empty_detail_cannot_be_changed_for_all_others(self) -> None:
        plain = ReconnectEvent(kind=Kind.STARTED, connection="c", status=Status.CONNECTING, timestamp=WHEN)
        with pytest.raises(TypeError):
            plain.detail["x"] = 1  # type: ignore[index]

    def test_its_arguments_are_named(self) -> None:
        with pytest.raises(TypeError):
            ReconnectEvent(Kind.STARTED, "c", Status.CONNECTING, WHEN)  # type: ignore[call-arg]

    def test_kinds_are_in_the_past_tense_and_unique(self) -> None:
        names = [kind.value for kind in Kind]
        assert len(set(names)) == len(names) == len(Kind)
        nouns = {"evidence", "gap", "lost"}
        assert [name for name in names if not name.endswith(("ed", "up")) and name not in nouns] == []

    def test_the_fields_are_those_of_the_specification_and_more(self) -> None:
        named = [
            "status",
            "error",
            "retry_count",
            "timestamp",
            "connection",
            "cause",
            "endpoint",
            "generation",
            "delay",
        ]
        assert set(named) <= {field.name for field in fields(ReconnectEvent)}


class TestAsDict:
    def test_it_has_every_field_but_the_exception(self) -> None:
        shown = event(Lost("x")).as_dict()
        assert shown == {
            "kind": "attempt_failed",
            "connection": "cache",
            "type": "redis",
            "status": "reconnecting",
            "timestamp": "2026-11-21T08:00:00.123456+00:00",
            "generation": 7,
            "retry_count": 3,
            "cause": "auth",
            "cause_detail": "",
            "phase": "auth",
            "message": "AuthenticationError: refused",
            "endpoint": "db:6379/0",
            "delay": 1.5,
            "elapsed": 20.0,
            "detail": {"channels": ["a", "b"], "dropped": 1},
        }
        assert set(shown) == {field.name for field in fields(ReconnectEvent)} - {"error"} | {
            "phase",
            "cause_detail",
        }

    def test_without_a_cause_it_says_so(self) -> None:
        shown = event(cause=None).as_dict()
        assert (shown["cause"], shown["phase"]) == (None, None)

    @pytest.mark.parametrize("kind", Kind, ids=str)
    def test_it_is_plain_json_for_every_kind_and_cause(self, kind: Kind) -> None:
        error = Lost("hunter22")
        for cause in (None, *(Cause(code, phase, error) for code in Code for phase in Phase)):
            shown = event(kind=kind, cause=cause, error=error).as_dict()
            assert json.loads(json.dumps(shown)) == shown
            assert "hunter22" not in json.dumps(shown)
            plain = {str, int, float, bool, type(None), dict, list}
            assert {type(part) for part in parts(shown)} <= plain

    def test_its_detail_is_a_copy(self) -> None:
        told = event()
        told.as_dict()["detail"]["dropped"] = 99
        assert told.detail["dropped"] == 1


class TestWithoutError:
    def test_it_is_the_same_event_without_the_exception(self) -> None:
        told = event(Lost("x"))
        kept = told.without_error()
        assert kept == told
        assert kept.error is None
        assert kept.cause is not None
        assert kept.cause.error is None
        assert kept.cause.hint == RetryHint(9.0)
        assert told.error is not None

    def test_what_has_no_cause_stays_without(self) -> None:
        assert event(cause=None).without_error().cause is None

    def test_it_lets_the_exception_go(self) -> None:
        error = Lost("x")
        gone = weakref.ref(error)
        kept = event(error).without_error()
        del error
        gc.collect()
        assert gone() is None
        assert kept.cause is not None


class TestShown:
    def test_events_are_equal_whatever_their_exceptions(self) -> None:
        assert event(Lost("a")) == event(Lost("b"))
        assert event() != event(retry_count=4)

    def test_its_repr_holds_no_exception(self) -> None:
        assert "hunter22" not in repr(event(Lost("hunter22")))
