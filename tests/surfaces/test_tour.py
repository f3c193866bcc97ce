"""The tour, on a virtual clock: a scripted server is broken, and what the connection makes of it is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tether import Reconnector, Status
from tether.backoff import fixed_interval
from tether.surfaces.demo.board import Board
from tether.surfaces.demo.ledger import Ledger
from tether.surfaces.demo.model import Entry, Progress, Result, RoundEnded
from tether.surfaces.demo.report import exit_code
from tether.surfaces.demo.stage import first_of
from tether.surfaces.demo.tour import FAST, FAULTS, Action, Tour
from tether.testing.clock import run_virtual
from tether.testing.scripted import Accept, Hang, ScriptedConnector


class ScriptedServer:
    """A server that lives in a ScriptedConnector; it may refuse to recover."""

    def __init__(self, *, comes_back: bool = True) -> None:
        self.connector = ScriptedConnector()
        self.comes_back = comes_back
        self.done: list[str] = []

    def start(self) -> None:
        self.done.append("start")
        if self.comes_back:
            self.connector.then = Accept()

    def kill(self) -> None:
        self.done.append("kill")
        self.connector.then = ConnectionRefusedError
        for connection in self.connector.live:
            connection.lose()

    def terminate(self) -> None:
        self.kill()
        self.done[-1] = "terminate"

    def freeze(self) -> None:
        self.done.append("freeze")
        self.connector.then = Hang()
        for connection in self.connector.live:
            connection.mute = True

    def thaw(self) -> None:
        self.done.append("thaw")
        self.connector.then = Accept()
        for connection in self.connector.live:
            connection.mute = False


class Scene:
    """The demo without a server and without Redis."""

    def __init__(self, server: ScriptedServer, *, endless: bool = False, **options: Any) -> None:
        self.server, self.ledger, self.delivers = server, Ledger(), True
        loop = asyncio.get_running_loop()
        names = [fault.name for fault in FAULTS]
        self.board = Board(self.ledger, names, now=loop.time, endless=endless)
        self.reconnector: Reconnector[Any] = Reconnector(
            server.connector,
            retry_interval=fixed_interval(0.5),
            connect_timeout=1.0,
            health_check_interval=1.0,
            health_check_timeout=0.5,
            subscribers=[self.board.hear],
            **options,
        )
        self.tour = Tour(self._do, self.board, self.ledger, FAST)
        self.news: list[Entry | RoundEnded] = []
        self.board.listen(self.news.append)

    async def _do(self, action: Action) -> float:
        action(self.server)
        return asyncio.get_running_loop().time()

    async def _messages(self) -> None:
        loop, number = asyncio.get_running_loop(), 0
        while True:
            await asyncio.sleep(0.05)
            number += 1
            if not self.reconnector.is_connected:
                self.ledger.refused(number)
                continue
            self.ledger.acknowledged(number, loop.time())
            if self.delivers:
                self.ledger.received(number, loop.time())

    async def play(self, *, more: Callable[[], Coroutine[Any, Any, None]] | None = None) -> list[Result]:
        async with self.reconnector:
            await first_of(self.tour.once(), self._messages(), *([more()] if more else []))
        return self.board.results

    def texts(self) -> list[str]:
        return [news.text for news in self.news if isinstance(news, Entry)]


def test_three_faults_are_noticed_named_and_healed() -> None:
    async def main() -> None:
        server = ScriptedServer()
        kill, freeze, stop = results = await Scene(server).play()

        assert server.done == ["kill", "start", "freeze", "thaw", "terminate", "start"]
        assert all(result.healed and result.finished for result in results)
        assert exit_code(results, len(FAULTS)) == 0
        assert [str(result.cause) for result in results] == ["reset", "timeout", "reset"]
        assert kill.noticed_after == stop.noticed_after == 0
        assert freeze.noticed_after is not None
        assert 0.5 <= freeze.noticed_after <= 1.5
        assert kill.then == ("refused",)
        assert freeze.then == ("timeout",)
        for result in results:
            assert result.attempts >= 2
            assert result.back_after is not None
            assert 0 <= result.back_after <= 1.5
            assert result.counts.sent == result.counts.received > 0
            assert result.counts.refused > 0
            assert result.counts.missed == 0

    run_virtual(main())


def test_one_round_of_the_fast_tour_leaves_room_below_25_seconds() -> None:
    async def main() -> None:
        began = asyncio.get_running_loop().time()
        await Scene(ScriptedServer()).play()

        assert asyncio.get_running_loop().time() - began < 22

    run_virtual(main())


def test_a_server_that_does_not_come_back_is_not_called_healed() -> None:
    async def main() -> None:
        scene = Scene(ScriptedServer(comes_back=False))
        results = await scene.play()

        assert [result.healed for result in results] == [False, False, False]
        assert results[0].noticed_after == 0
        assert results[0].back_after is None
        assert exit_code(results, len(FAULTS)) == 1
        assert "NOT HEALED: noticed after <1ms · not back · no messages since" in scene.texts()

    run_virtual(main())


def test_a_fault_that_is_not_noticed_is_not_called_healed() -> None:
    async def main() -> None:
        kill, freeze, stop = results = await Scene(ScriptedServer(), health_check=False).play()

        assert kill.healed
        assert stop.healed
        assert not freeze.healed
        assert freeze.noticed_after is None
        assert exit_code(results, len(FAULTS)) == 1

    run_virtual(main())


def test_a_connection_on_which_nothing_comes_any_more_is_not_called_healed() -> None:
    async def main() -> None:
        scene = Scene(ScriptedServer())

        async def fall_silent() -> None:
            await asyncio.sleep(2.0)
            scene.delivers = False
            await asyncio.Event().wait()

        kill, *_ = results = await scene.play(more=fall_silent)

        assert kill.noticed_after == 0
        assert kill.back_after is not None
        assert not kill.flowed
        assert kill.counts.received == 0
        assert kill.counts.missed > 0
        assert exit_code(results, len(FAULTS)) == 1

    run_virtual(main())


def test_a_fault_that_is_broken_off_keeps_what_is_known_of_it() -> None:
    async def main() -> None:
        scene = Scene(ScriptedServer())

        async def interrupt() -> None:
            await asyncio.sleep(2.5)

        await scene.play(more=interrupt)
        assert scene.board.results == []
        scene.board.break_off()
        (result,) = scene.board.results

        assert not result.finished
        assert result.noticed_after == 0
        assert result.back_after is None
        scene.board.break_off()
        assert len(scene.board.results) == 1

    run_virtual(main())


def test_what_happens_is_told_line_by_line_and_late_listeners_hear_it_too() -> None:
    async def main() -> None:
        scene = Scene(ScriptedServer())
        await scene.play()
        late: list[Entry | RoundEnded] = []
        scene.board.listen(late.append)

        texts = scene.texts()
        lost = "lost: reset (connection reset by peer)"
        order = ["connected", "kill -9 → server", lost, "server restarted, accepts again"]
        assert sorted(order, key=texts.index) == order
        assert late == scene.news[-len(late) :]
        assert not any(isinstance(news, RoundEnded) for news in scene.news), (
            "the closing table shows the only round"
        )

    run_virtual(main())


def test_an_endless_tour_tells_the_end_of_every_round() -> None:
    async def main() -> None:
        scene = Scene(ScriptedServer(), endless=True)
        await scene.play()
        await scene.play()
        ends = [news for news in scene.news if isinstance(news, RoundEnded)]

        assert [len(end.results) for end in ends] == [3, 3]
        assert [result.round for end in ends for result in end.results] == [1, 1, 1, 2, 2, 2]
        assert scene.board.earlier == list(ends[0].results)

    run_virtual(main())


@pytest.mark.parametrize("at", [2.0, 6.5])
def test_a_snapshot_in_mid_tour(at: float) -> None:
    async def main() -> None:
        scene = Scene(ScriptedServer())

        async def look() -> None:
            await asyncio.sleep(at)

        async def beats() -> None:
            while True:
                await asyncio.sleep(0.25)
                scene.board.beat()

        async with scene.reconnector:
            await first_of(look(), beats(), scene.tour.once(), scene._messages())
            seen = scene.board.snapshot(scene.reconnector.stats())

        first, *others = seen.steps
        assert seen.counts.sent > 0
        assert [step.progress for step in others] == [Progress.WAITING, Progress.WAITING]
        assert {beat.mark for beat in seen.beats} >= {"", "kill -9"}
        if at == 2.0:
            assert seen.status is Status.RECONNECTING
            assert seen.server == "kill -9 → server"
            assert not seen.server_ok
            assert seen.mend_in == pytest.approx(3.0, abs=0.1)
            assert str(seen.cause) == "refused"
            assert seen.attempt == 2
            assert seen.next_in is not None
            assert seen.next_of == 0.5
            assert first.progress is Progress.RUNNING
            assert first.text.startswith("noticed after <1ms · ")
            assert seen.beats[-1].flow.value == "down"
        else:
            assert seen.status is Status.CONNECTED
            assert seen.cause is None
            assert seen.last_outage is not None
            assert seen.server == "server restarted, accepts again"
            assert seen.mend_in is None
            assert "back after" in first.text
            assert seen.beats[-1].flow.value == "flowing"

    run_virtual(main())
