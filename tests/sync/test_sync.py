"""The blocking face: from any thread, with supervision going on meanwhile, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tether import IndeterminateError, NotConnected, Status, UsageError
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.errors import ConfigError
from tether.runtime.portal import portal
from tether.sync import ReconnectManager, Reconnector
from tether.testing.scripted import Accept, ScriptedConnection, ScriptedConnector

R = Reconnector[ScriptedConnection]


def keeper(*script: Any, **options: Any) -> R:
    plan: dict[str, Any] = {
        "retry_interval": fixed_interval(0.01),
        "quick_first_retry": False,
        "health_check": False,
    }
    return Reconnector(ScriptedConnector(list(script) or [Accept()] * 100), name="db", **(plan | options))


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    eventually(lambda: set(threading.enumerate()) <= before)
    assert portal.loop is None


class TestLife:
    def test_start_and_stop(self) -> None:
        made = keeper()
        assert (made.status, made.is_connected) == (Status.DISCONNECTED, False)
        made.start()
        assert (made.status, made.is_connected, made.generation) == (Status.CONNECTED, True, 1)
        made.stop()
        made.stop()  # idempotent
        assert made.status is Status.DISCONNECTED

    def test_as_a_context_twice(self) -> None:
        made = keeper()
        for generation in (1, 2):
            with made:
                assert made.generation == generation
            assert portal.loop is None

    def test_starting_twice_is_misuse_and_leaves_the_first_running(self) -> None:
        with keeper() as made:
            with pytest.raises(UsageError, match="started already"):
                made.start()
            assert made.is_connected

    def test_an_initial_connection_may_be_required(self) -> None:
        made = keeper(*[ConnectionRefusedError] * 9)
        with pytest.raises(NotConnected, match="refused"):
            made.start(require_initial=True)
        assert portal.loop is None

    def test_several_share_one_thread(self) -> None:
        with keeper() as first, keeper() as second:
            names = [thread.name for thread in threading.enumerate()]
            assert names.count("tether") == 1
            first.stop()
            assert second.is_connected

    def test_it_goes_on_while_the_caller_blocks(self) -> None:
        with keeper(Accept(lasts=0.05), ConnectionRefusedError, Accept()) as made:
            time.sleep(0.3)
            assert (made.generation, made.stats().losses, made.stats().failed_attempts) == (3, 1, 1)

    def test_inside_of_an_event_loop_it_refuses(self) -> None:
        made = keeper()

        async def main() -> None:
            for act in (made.start, made.stop, made.pause, made.reconnect, lambda: made.run(str)):
                with pytest.raises(RuntimeError, match="an event loop is running in this thread"):
                    act()

        asyncio.run(main())
        with made:
            asyncio.run(main())
            assert made.is_connected

    @pytest.mark.parametrize(
        "act", [lambda r: r.reconnect(), lambda r: r.wait_connected(1), lambda r: r.pause()]
    )
    def test_before_the_start_it_says_so(self, act: Callable[[R], object]) -> None:
        with pytest.raises(UsageError, match="not started"):
            act(keeper())

    def test_waiting_and_commands(self) -> None:
        with keeper() as made:
            made.wait_connected(timeout=1)
            assert made.reconnect() is True
            assert made.generation == 2
            made.pause()
            assert made.stats().paused
            with pytest.raises(UsageError, match="paused"):
                made.reconnect()
            made.resume()
            made.max_retries = 3
            assert made.max_retries == 3
            made.network_changed()

    def test_waiting_has_an_end(self) -> None:
        with keeper(*[ConnectionRefusedError] * 999) as made, pytest.raises(TimeoutError):
            made.wait_connected(timeout="20ms")

    def test_stopping_frees_who_waits(self) -> None:
        made = keeper(*[ConnectionRefusedError] * 9999)
        made.start()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(made.wait_connected)
            eventually(lambda: made.retry_count > 1)
            made.stop()
            with pytest.raises((NotConnected, UsageError)):
                waiting.result(10)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
    def test_a_forked_child_starts_anew(self) -> None:
        with keeper() as made:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    fresh = keeper()
                    fresh.start()
                    code = 0 if fresh.is_connected else 2
                    fresh.stop()
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert made.reconnect()


class TestRun:
    def test_it_stays_on_the_callers_thread(self) -> None:
        with keeper() as made:
            assert made.run(lambda client: threading.current_thread()) is threading.current_thread()
            with made.guard() as client:
                assert client is made.client

    def test_while_down_it_refuses_or_waits(self) -> None:
        with keeper(*[ConnectionRefusedError] * 9, Accept()) as made:
            with pytest.raises(NotConnected):
                made.run(lambda client: 1)
            with pytest.raises(NotConnected), made.guard():
                pass
            assert made.run(lambda client: 1, timeout=10) == 1

    def test_a_loss_in_mid_call_is_indeterminate(self) -> None:
        with keeper() as made:

            def lose(client: ScriptedConnection) -> None:
                raise ConnectionResetError("gone")

            with pytest.raises(IndeterminateError, match="reset") as caught:
                made.run(lose)
            assert isinstance(caught.value.__cause__, ConnectionResetError)
            eventually(lambda: made.generation == 2 and made.is_connected)
            with pytest.raises(IndeterminateError), made.guard():
                raise ConnectionResetError("gone again")
            eventually(lambda: made.generation == 3 and made.is_connected)

    def test_what_is_no_loss_comes_through(self) -> None:
        with keeper() as made:
            with pytest.raises(KeyError, match="mine"):
                made.run(lambda client: {"yours": 1}["mine"])
            assert made.generation == 1

    def test_an_idempotent_call_is_repeated_on_the_next_connection(self) -> None:
        with keeper() as made:
            seen: list[int] = []

            def once_bad(client: ScriptedConnection) -> str:
                seen.append(made.generation)
                if len(seen) == 1:
                    raise ConnectionResetError
                return "done"

            assert made.run(once_bad, idempotent=True) == "done"
            assert seen == [1, 2]

    def test_an_async_operation_is_misuse(self) -> None:
        async def operation(client: ScriptedConnection) -> None: ...

        with keeper() as made, pytest.raises(UsageError, match="the operation is async"):
            made.run(operation)  # type: ignore[unused-coroutine]

    def test_eight_threads(self) -> None:
        with keeper(*[Accept(lasts=0.05)] * 1000) as made:
            outcomes: dict[str, int] = {"done": 0, "down": 0, "lost": 0}
            lock = threading.Lock()

            def work() -> None:
                for n in range(200):
                    if n % 50 == 0:
                        made.stats()
                    try:
                        made.run(lambda client: time.sleep(0.001))
                        what = "done"
                    except NotConnected:
                        what = "down"
                    except IndeterminateError:
                        what = "lost"
                    with lock:
                        outcomes[what] += 1

            with ThreadPoolExecutor(8) as pool:
                for future in [pool.submit(work) for _ in range(8)]:
                    future.result(30)
            assert sum(outcomes.values()) == 1600
            assert outcomes["done"] > 0
            assert made.stats().losses > 0


class TestCallbacks:
    def test_they_may_block_and_call_back(self) -> None:
        made = keeper()
        told: list[Any] = []

        @made.on_disconnect
        def lost(error: BaseException) -> None:
            time.sleep(0.05)
            told.append((made.run(lambda client: 1, timeout=5), threading.current_thread().name))

        with made:
            made.reconnect()
            eventually(lambda: told)
        assert told == [(1, "tether callback")]

    def test_stopping_in_one_ends_cleanly(self) -> None:
        made = keeper()
        done = threading.Event()

        @made.on_disconnect
        def lost(error: BaseException) -> None:
            made.stop()
            done.set()

        made.start()
        try:
            made.reconnect()
        except UsageError:
            pass  # it was stopped while it was waited for
        assert done.wait(10)
        assert made.status is Status.DISCONNECTED

    def test_one_that_hangs_delays_nothing(self) -> None:
        made = keeper(callback_timeout=60)
        free = threading.Event()
        made.on_connect(lambda: free.wait(30))
        made.start()
        assert made.reconnect()
        made.stop()
        free.set()

    def test_wrong_arguments_are_refused_at_once(self) -> None:
        with pytest.raises(ConfigError, match="it is called as"):
            keeper().on_disconnect(lambda: None)
        with pytest.raises(ConfigError):
            keeper().on_connect("no function")  # type: ignore[type-var]

    def test_events(self) -> None:
        made = keeper()
        events = made.events()
        made.start()
        made.reconnect()
        made.stop()
        kinds = [event.kind for event in events]
        assert kinds[0] is Kind.STARTED
        assert kinds[-1] is Kind.STOPPED
        assert Kind.RECONNECTED in kinds


class TestManager:
    def test_all_together(self) -> None:
        manager = ReconnectManager()
        first, second = keeper(), keeper(*[ConnectionRefusedError] * 999)
        manager.register("first", first)
        manager.register("second", second, depends_on=["first"])
        with manager:
            assert manager.get("first") is first
            assert {name: stats.status for name, stats in manager.status().items()} == {
                "first": Status.CONNECTED,
                "second": Status.CONNECTING,
            }
            with pytest.raises(TimeoutError, match="second is connecting"):
                manager.wait_all_connected(timeout=0.05)
            manager.network_changed()
            assert first.run(lambda client: 1) == 1
        assert not first.is_started

    def test_only_blocking_members(self) -> None:
        import tether

        with pytest.raises(ConfigError, match=r"none of tether\.sync's reconnectors"):
            ReconnectManager().register("x", tether.Reconnector(ScriptedConnector()))  # type: ignore[arg-type]
