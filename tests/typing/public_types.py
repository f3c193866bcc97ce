"""The types that users rely on. Nothing here is ever run: ``mypy --strict`` reads it, and that is the test.

``assert_type`` says what a type must be; a ``type: ignore`` says what must be an error (mypy is told to complain about
one that is not needed).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, assert_type

import tether.backoff
from tether import (
    Cause,
    IllegalTransition,
    IndeterminateError,
    MissingDriver,
    ReconnectEvent,
    ReconnectManager,
    Reconnector,
    Recovery,
    RetryHint,
    Status,
    TetherError,
)
from tether.backoff import Backoff
from tether.core.cause import Code, Phase
from tether.ports import Attempt, Connector
from tether.runtime.stats import Stats
from tether.storage import RedisReconnector


class Client:
    """What a user calls."""

    async def get(self, key: str) -> bytes:
        return key.encode()

    def ping(self) -> bool:
        return True


class Mine(Connector[Client]):
    """A connector of a user's own, with the least that is needed."""

    async def open(self, attempt: Attempt) -> Client:
        assert_type(attempt.generation, int)
        assert_type(attempt.phase, Phase)
        return Client()

    async def probe(self, handle: Client) -> None:
        handle.ping()

    def abort(self, handle: Client) -> None: ...


async def get(client: Client) -> bytes:
    return await client.get("k")


def ping(client: Client) -> bool:
    return client.ping()


async def nothing(client: Client) -> None: ...


async def run_keeps_the_operations_type(reconnector: Reconnector[Client]) -> None:
    assert_type(await reconnector.run(get), bytes)
    assert_type(await reconnector.run(get, idempotent=True, timeout="1s"), bytes)
    assert_type(await reconnector.run(get, timeout=timedelta(seconds=1)), bytes)
    assert_type(await reconnector.run(nothing), None)
    assert_type(await reconnector.run(ping), bool)
    assert_type(await reconnector.run(lambda client: client.ping()), bool)

    await reconnector.run(len)  # type: ignore[arg-type]
    await reconnector.run(lambda client: client.no_such_method())  # type: ignore[attr-defined]
    await reconnector.run(ping, True)  # type: ignore[call-overload]
    await reconnector.run()  # type: ignore[call-overload]


async def guard_gives_the_client(reconnector: Reconnector[Client]) -> None:
    async with reconnector.guard() as client:
        assert_type(client, Client)
        assert_type(await client.get("k"), bytes)


def hooks_keep_the_callbacks_type(reconnector: Reconnector[Client]) -> None:
    @reconnector.on_connect
    def greet() -> int:
        return 1

    @reconnector.on_disconnect
    async def mourn(error: BaseException | None) -> str:
        return str(error)

    @reconnector.on_reconnect_failed
    def count(error: BaseException | None, retry_count: int) -> float:
        return retry_count / 2

    @reconnector.on_reconnect
    @reconnector.on_give_up
    def anything(*args: Any) -> None: ...

    assert_type(greet(), int)
    same_mourn: Callable[[BaseException | None], Coroutine[Any, Any, str]] = reconnector.on_disconnect(mourn)
    print(same_mourn)
    assert_type(count(None, 1), float)
    greet("too much")  # type: ignore[call-arg]
    print(mourn(5))  # type: ignore[arg-type]
    same: Callable[[], int] = reconnector.on_connect(greet)
    assert_type(same, Callable[[], int])
    reconnector.on_connect(5)  # type: ignore[type-var]


async def its_life_is_typed(reconnector: Reconnector[Client]) -> None:
    async with reconnector as same:
        assert_type(same, Reconnector[Client])
    assert_type(await reconnector.reconnect(), bool)
    await reconnector.wait_connected("5s")
    await reconnector.wait_connected(None)
    await reconnector.wait_connected([])  # type: ignore[arg-type]
    await reconnector.start(require_initial=True)
    await reconnector.start(True)  # type: ignore[call-arg]
    async for event in reconnector.events():
        assert_type(event, ReconnectEvent)
        break


def figures_are_typed(reconnector: Reconnector[Client]) -> None:
    assert_type(reconnector.is_connected, bool)
    assert_type(reconnector.status, Status)
    assert_type(reconnector.last_error, BaseException | None)
    assert_type(reconnector.retry_count, int)
    assert_type(reconnector.generation, int)
    assert_type(reconnector.client, Client)
    assert_type(reconnector.max_retries, int | None)
    assert_type(reconnector.retry_interval, Backoff)
    assert_type(reconnector.stats(), Stats)
    assert_type(reconnector.stats().next_attempt_in, float | None)


def only_what_may_change_can_be_set(reconnector: Reconnector[Client]) -> None:
    reconnector.max_retries = None
    reconnector.max_retries = 5
    reconnector.retry_interval = lambda retry_count: 0.5 * (retry_count + 1)
    reconnector.retry_interval = tether.backoff.grpc_backoff()

    reconnector.max_retries = "5"  # type: ignore[assignment]
    reconnector.retry_interval = 5  # type: ignore[assignment]
    reconnector.status = Status.CONNECTED  # type: ignore[misc]
    reconnector.generation = 3  # type: ignore[misc]


def constructors_take_durations_in_every_form() -> None:
    made: Reconnector[Client] = Reconnector(Mine(), connect_timeout=5, health_check_interval="1m30s")
    made = Reconnector(Mine(), stable_after=timedelta(seconds=3), max_retries=None)
    assert_type(made, Reconnector[Client])
    assert_type(RedisReconnector(None, "redis://localhost"), RedisReconnector)
    RedisReconnector(None, {"host": "db"}, health_check_timeout=0.5)

    Reconnector(Mine(), connect_timeout=None)  # type: ignore[arg-type]
    RedisReconnector(None, None, "name")  # type: ignore[call-arg]
    RedisReconnector(no_such_option=1)  # type: ignore[call-arg]


def rules_answer_a_cause_a_code_or_nothing(error: BaseException, phase: Phase) -> str | None:
    Reconnector(Mine(), rules=[rules_answer_a_cause_a_code_or_nothing])
    Reconnector(Mine(), rules=[lambda e, p: Code.AUTH, lambda e, p: Cause(Code.EOF), lambda e, p: None])
    Reconnector(Mine(), rules=[lambda e: "auth"])  # type: ignore[misc, list-item]
    return None


async def the_manager_is_typed(manager: ReconnectManager, reconnector: Reconnector[Client]) -> None:
    manager.register("db", reconnector)
    manager.register("cache", reconnector, depends_on=["db"])
    assert_type(await manager.start_all(), dict[str, Exception | None])
    assert_type(await manager.stop_all(), dict[str, Exception | None])
    assert_type(manager.names(), list[str])
    assert_type(manager.get("db"), Reconnector[Any] | None)
    assert_type(manager.unregister("db"), Reconnector[Any] | None)
    assert_type(manager.status(), dict[str, Stats])
    await manager.wait_all_connected("5s")
    async with manager as same:
        assert_type(same, ReconnectManager)
    manager.register(reconnector, "db")  # type: ignore[arg-type]


def a_backoff_is_any_callable_from_count_to_seconds() -> None:
    mine: Backoff = lambda retry_count: 0.5 * (retry_count + 1)  # noqa: E731
    assert_type(mine(3), float)
    assert_type(tether.backoff.exponential_backoff(1, 2, maximum="1m", jitter=0.1), Backoff)
    wrong: Backoff = lambda: 1.0  # type: ignore[misc, assignment]  # noqa: E731
    wrong(0)


def causes_and_hints_are_typed(event: ReconnectEvent) -> None:
    assert_type(event.cause, Cause | None)
    assert_type(event.as_dict(), dict[str, Any])
    assert_type(event.without_error(), ReconnectEvent)
    if event.cause is not None:
        assert_type(event.cause.recovery, Recovery)
        assert_type(event.cause.hint, RetryHint | None)
        assert_type(event.cause.label("zh"), str)
    event.status = Status.FAILED  # type: ignore[misc]


def errors_are_what_they_are_caught_as(
    misuse: IllegalTransition, missing: MissingDriver, lost: IndeterminateError
) -> None:
    runtime: RuntimeError = misuse
    value: ValueError = missing
    imported: ImportError = missing
    root: TetherError = lost
    assert_type(lost.cause, Cause | None)
    wrong: ValueError = lost  # type: ignore[assignment]
    print(runtime, value, imported, root, wrong)
