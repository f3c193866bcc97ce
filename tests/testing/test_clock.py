"""The virtual clock: what it promises about order, jumps, real I/O, threads and deadlocks.

None of these tests waits for a timer in real time, and none looks at a real clock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tether.testing import clock as clock_module
from tether.testing.clock import Deadlock, VirtualTimeLoop, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOUR = 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


class TestJumps:
    def test_time_begins_at_zero_and_a_sleep_lands_exactly(self) -> None:
        async def main() -> list[float]:
            times = [now()]
            for seconds in (0.1, 0.2, HOUR, 1e-10):
                await asyncio.sleep(seconds)
                times.append(now())
            return times

        assert run_virtual(main()) == [0.0, 0.1, 0.1 + 0.2, 0.1 + 0.2 + HOUR, 0.1 + 0.2 + HOUR + 1e-10]

    @pytest.mark.parametrize("start", [-5.0, 0.25, 1.7e9, 1e15])
    def test_time_begins_where_told_and_timers_fire_even_where_a_nanosecond_is_too_small(
        self, start: float
    ) -> None:
        async def main() -> tuple[float, float]:
            began = now()
            await asyncio.sleep(1)
            return began, now()

        assert run_virtual(main(), start=start) == (start, start + 1)

    def test_a_timer_beyond_the_longest_select_fires(self) -> None:
        async def main() -> float:
            await asyncio.sleep(400 * 24 * HOUR)
            return now()

        assert run_virtual(main()) == 400 * 24 * HOUR

    def test_a_timeout_of_an_hour_fires_after_an_hour(self) -> None:
        async def main() -> float:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(HOUR):
                    await asyncio.Event().wait()
            return now()

        assert run_virtual(main()) == HOUR

    def test_a_cancelled_timer_does_not_move_the_clock(self) -> None:
        async def main() -> float:
            asyncio.get_running_loop().call_later(1, print).cancel()
            async with asyncio.timeout(HOUR):
                await asyncio.sleep(2)
            return now()

        assert run_virtual(main()) == 2

    def test_the_clock_stands_while_something_is_ready(self) -> None:
        async def main() -> float:
            asyncio.get_running_loop().call_later(1, print, "the clock moved")
            for _ in range(1000):
                await asyncio.sleep(0)
            return now()

        assert run_virtual(main()) == 0

    def test_every_jump_is_one_turn_of_the_loop(self) -> None:
        loop = VirtualTimeLoop()
        turns = 0
        real_select = loop._real.select

        def count(timeout: float | None = None) -> list[tuple[object, int]]:
            nonlocal turns
            turns += 1
            return list(real_select(timeout))

        loop._real.select = count  # type: ignore[method-assign, assignment]
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(sleep_in_steps(100))
            assert turns < 100 * 3 + 20

    def test_ten_thousand_sleepers_wake_in_order(self) -> None:
        woken: list[int] = []

        async def sleeper(number: int) -> None:
            await asyncio.sleep((number * 7919) % 10_000)
            woken.append(int(now()))

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(10_000):
                    group.create_task(sleeper(number))

        run_virtual(main())
        assert woken == list(range(10_000))


async def sleep_in_steps(steps: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0.1)


class TestOrder:
    @settings(deadline=None)  # a loaded machine is no bug
    @given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 1.0, 7.5]), max_size=40))
    def test_timers_run_in_order_of_time_and_ties_in_order_of_calls(self, delays: list[float]) -> None:
        ran: list[tuple[float, int]] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for number, delay in enumerate(delays):
                loop.call_later(delay, lambda n: ran.append((loop.time(), n)), number)
            await asyncio.sleep(10)

        run_virtual(main())
        assert ran == sorted(zip(delays, range(len(delays)), strict=True))

    def test_a_timer_in_the_past_runs_at_once_and_time_does_not_go_back(self) -> None:
        async def main() -> list[float]:
            seen: list[float] = []
            await asyncio.sleep(5)
            asyncio.get_running_loop().call_at(1.0, lambda: seen.append(now()))
            await asyncio.sleep(0.5)
            return [*seen, now()]

        assert run_virtual(main()) == [5.0, 5.5]

    def test_call_at_takes_arguments_and_a_context_and_can_be_cancelled(self) -> None:
        async def main() -> list[str]:
            loop = asyncio.get_running_loop()
            seen: list[str] = []
            loop.call_at(2, seen.append, "later")
            loop.call_at(1, seen.append, "sooner")
            gone = loop.call_at(1.5, seen.append, "never")
            gone.cancel()
            await asyncio.sleep(3)
            return seen

        assert run_virtual(main()) == ["sooner", "later"]

    def test_cancelled_timers_are_cleared_away(self) -> None:
        async def main() -> int:
            loop = VirtualTimeLoop.current()
            loop.call_later(HOUR / 2, print)  # hides the others from the look at the head of the queue
            for _ in range(1000):
                loop.call_later(HOUR, print).cancel()
            await asyncio.sleep(1)
            return len(loop._scheduled)

        assert run_virtual(main()) == 1

    def test_in_debug_mode_call_at_refuses_another_thread(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_debug(True)
            with pytest.raises(RuntimeError, match=r"[Nn]on-thread-safe"):
                await asyncio.to_thread(loop.call_at, 1.0, print)

        run_virtual(main())


class TestStall:
    def test_a_stall_passes_time_and_runs_nothing_until_the_caller_gives_way(self) -> None:
        async def main() -> list[object]:
            seen: list[object] = []
            loop = VirtualTimeLoop.current()
            loop.call_later(2, seen.append, "second")
            loop.call_later(1, seen.append, "first")
            loop.stall(10)
            seen.append(loop.time())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return [*seen, loop.time()]

        assert run_virtual(main()) == [10.0, "first", "second", 10.0]

    def test_a_stall_longer_than_a_timeout_lets_the_timeout_fire(self) -> None:
        async def main() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    VirtualTimeLoop.current().stall(5)
                    await asyncio.sleep(1)

        run_virtual(main())

    @pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
    def test_a_stall_is_finite_and_not_negative(self, seconds: float) -> None:
        async def main() -> None:
            with pytest.raises(ValueError, match="a stall takes"):
                VirtualTimeLoop.current().stall(seconds)

        run_virtual(main())

    def test_current_refuses_a_real_loop(self) -> None:
        async def main() -> None:
            with pytest.raises(RuntimeError, match="run_virtual"):
                VirtualTimeLoop.current()

        asyncio.run(main())


class TestSockets:
    @pytest.mark.parametrize("grace", [0.0, 0.02])
    def test_an_echo_on_loopback_takes_no_virtual_time(self, grace: float) -> None:
        assert run_virtual(echo_rounds(50), grace=grace) == 0

    def test_a_silent_peer_is_left_at_the_timeout(self) -> None:
        async def main() -> float:
            left, right = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=left)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await reader.read(1)
            writer.close()
            right.close()
            return now()

        assert run_virtual(main()) == 30

    def test_with_nothing_scheduled_the_loop_really_waits_for_a_socket(self) -> None:
        async def main() -> bytes:
            left, right = socket.socketpair()
            left.setblocking(False)
            going = asyncio.get_running_loop().sock_recv(left, 10)
            sender = threading.Timer(0.02, right.sendall, [b"late"])
            sender.start()
            try:
                return await going
            finally:
                sender.join()
                left.close()
                right.close()

        assert run_virtual(main()) == b"late"

    def test_a_child_process_is_heard_before_the_clock_jumps(self) -> None:
        async def main() -> tuple[bytes, int | None, float]:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "print(input()[::-1])", stdin=-1, stdout=-1
            )
            async with asyncio.timeout(HOUR):
                out, _ = await child.communicate(b"abc\n")
            return out, child.returncode, now()

        assert run_virtual(main(), grace=60) == (b"cba\n", 0, 0.0)


async def echo_rounds(rounds: int) -> float:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    async with asyncio.timeout(5):
        for number in range(rounds):
            writer.write(b"%d\n" % number)
            assert await reader.readline() == b"%d\n" % number
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return now()


class TestThreads:
    def test_the_clock_waits_for_a_job(self) -> None:
        async def main() -> tuple[str, float]:
            go = threading.Event()

            def job() -> str:
                go.wait(10)
                return "done"

            # The timer is due first in virtual time, and yet the job that outlasts it is waited for.
            threading.Timer(0.05, go.set).start()
            async with asyncio.timeout(0.001):
                return await asyncio.to_thread(job), now()

        assert run_virtual(main()) == ("done", 0.0)

    def test_a_name_lookup_holds_the_clock(self) -> None:
        async def main() -> float:
            async with asyncio.timeout(0.001):
                await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            return now()

        assert run_virtual(main()) == 0

    def test_a_job_that_nobody_waits_for_any_more_does_not_hold_the_clock(self) -> None:
        async def main() -> float:
            go = threading.Event()
            job = asyncio.get_running_loop().run_in_executor(None, go.wait, 10)
            job.cancel()
            await asyncio.sleep(5)
            go.set()
            return now()

        assert run_virtual(main()) == 5

    def test_leftover_threads_are_joined_without_a_deadlock_or_a_jump(self) -> None:
        loops: list[VirtualTimeLoop] = []
        go = threading.Event()

        async def main() -> None:
            loops.append(VirtualTimeLoop.current())
            loops[0].run_in_executor(None, go.wait, 10).cancel()
            threading.Timer(0.05, go.set).start()

        run_virtual(main())
        assert loops[0].time() == 0

    def test_a_clock_that_is_held_for_long_says_by_whom(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(clock_module, "_PATIENCE", 0.01)
        go = threading.Event()

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                del record
                go.set()

        async def main() -> None:
            await asyncio.to_thread(go.wait, 10)

        logger = logging.getLogger("tether.testing")
        logger.addHandler(listener := Listener())
        try:
            run_virtual(main())
        finally:
            logger.removeHandler(listener)
        assert "held by functools.partial" in caplog.text

    def test_with_a_grace_a_thread_of_its_own_is_heard(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            called = asyncio.Event()
            caller = threading.Timer(0.02, loop.call_soon_threadsafe, [called.set])
            caller.start()
            await called.wait()
            caller.join()
            return loop.time()

        assert run_virtual(main(), grace=60) == 0

    def test_a_grace_is_never_longer_than_the_jump(self) -> None:
        # With a grace of a year this test would end only if the real wait is cut to the timer.
        async def main() -> float:
            await asyncio.sleep(0.001)
            return now()

        assert run_virtual(main(), grace=365 * 24 * HOUR) == 0.001


class TestDeadlock:
    def test_it_surfaces_and_names_the_tasks_and_the_lines_where_they_wait(self) -> None:
        async def waits_for_nobody() -> None:
            await asyncio.Event().wait()

        async def main() -> None:
            await asyncio.sleep(2.5)
            async with asyncio.TaskGroup() as group:
                group.create_task(waits_for_nobody(), name="forgotten")

        with pytest.raises(Deadlock) as caught:
            run_virtual(main())
        text = str(caught.value)
        assert "at virtual time 2.5 nothing is scheduled" in text
        assert "forgotten: waits_for_nobody (test_clock.py:" in text
        assert " > wait (locks.py:" in text
        assert "forgotten" in caught.value.tasks
        assert len(caught.value.tasks) == 2

    def test_it_is_a_runtime_error(self) -> None:
        assert issubclass(Deadlock, RuntimeError)

    def test_sleeping_for_ever_is_a_deadlock_too(self) -> None:
        with pytest.raises(Deadlock):
            run_virtual(asyncio.sleep(math.inf))

    def test_sleeping_for_ever_beside_others_does_not_break_the_clock(self) -> None:
        async def main() -> float:
            forever = asyncio.create_task(asyncio.sleep(math.inf))
            await asyncio.sleep(HOUR)
            forever.cancel()
            return now()

        assert run_virtual(main()) == HOUR

    def test_the_tasks_are_cancelled_and_may_clean_up(self) -> None:
        log: list[str] = []

        async def main() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)
                log.append("cleaned up")

        with pytest.raises(Deadlock):
            run_virtual(main())
        assert log == ["cleaned up"]

    def test_of_many_tasks_a_few_are_described_and_all_are_listed(self) -> None:
        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(50):
                    group.create_task(asyncio.Event().wait())

        with pytest.raises(Deadlock, match=r"and 31 more") as caught:
            run_virtual(main())
        assert len(caught.value.tasks) == 51

    def test_a_loop_without_any_task_says_so(self) -> None:
        loop = VirtualTimeLoop()
        try:
            with pytest.raises(Deadlock, match="no task at all"):
                loop.run_forever()
        finally:
            loop.close()

    def test_a_signal_handler_is_something_that_may_still_come(self) -> None:
        async def main() -> None:
            called = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, called.set)
            sender = threading.Timer(0.01, signal.raise_signal, [signal.SIGUSR1])
            sender.start()
            await called.wait()
            sender.join()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)

        run_virtual(main())


class TestRunner:
    def test_it_returns_the_result_and_raises_the_error(self) -> None:
        async def good() -> str:
            return "result"

        async def bad() -> None:
            raise KeyError("x")

        assert run_virtual(good()) == "result"
        with pytest.raises(KeyError):
            run_virtual(bad())

    def test_it_cancels_leftovers_closes_generators_and_the_loop(self) -> None:
        log: list[str] = []
        loops: list[asyncio.AbstractEventLoop] = []

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                log.append("generator")

        async def leftover() -> None:
            try:
                await asyncio.sleep(HOUR)
            finally:
                log.append("task")

        async def main() -> object:
            loops.append(asyncio.get_running_loop())
            task = asyncio.create_task(leftover())
            await asyncio.sleep(1)
            open_generator = numbers()
            await anext(open_generator)
            return task, open_generator

        run_virtual(main())
        assert log == ["task", "generator"]
        assert loops[0].is_closed()
        assert loops[0].time() == 1

    @pytest.mark.parametrize(("grace", "start"), [(-1.0, 0.0), (math.nan, 0.0), (0.0, math.inf)])
    def test_nonsense_is_refused_without_a_leak(self, grace: float, start: float) -> None:
        with pytest.raises(ValueError, match="grace must be"):
            VirtualTimeLoop(grace=grace, start=start)
