"""``tether run`` as a real process, and a reader of its events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from tether.testing.tcp import free_port

CONNECTIONS = "/api/v1/network/connections"
DEADLINE = 15.0


def eventually(condition: Callable[[], Any], within: float = DEADLINE, *, what: str = "") -> Any:
    """Wait until ``condition()`` is true, and return what it answered."""
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or condition}"
        time.sleep(0.01)
    return answer


class Daemon:
    """A running ``tether run``.

    Args:
        folder: for its file and its output.
        config: the file's text; ``{port}`` stands for the port of the API.
        environ: more of the environment.
        arguments: more of the command line.
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        environ: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.port = free_port()
        self.file = folder / "tether.yaml"
        self.file.write_text(config.replace("{port}", str(self.port)), encoding="utf-8")
        self.out, self.err = folder / "out.log", folder / "err.log"
        command = [
            sys.executable,
            "-X",
            "dev",
            "-m",
            "tether.surfaces.cli",
            "run",
            str(self.file),
            *arguments,
        ]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONWARNINGS": "default", **(environ or {})},
                start_new_session=True,
            )
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=5, trust_env=False)

    def __enter__(self) -> Self:
        eventually(self._answers, what="the API answers")
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.err.read_text()
        try:
            return self.api.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    def __exit__(self, *exc: object) -> None:
        self.api.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def get(self, name: str) -> dict[str, Any]:
        """Return one connection as the API has it."""
        answer: dict[str, Any] = self.api.get(f"{CONNECTIONS}/{name}").json()
        return answer

    def post(self, name: str, verb: str) -> httpx.Response:
        """Give a command."""
        return self.api.post(f"{CONNECTIONS}/{name}/{verb}")

    def until(self, name: str, **wanted: Any) -> dict[str, Any]:
        """Wait until a connection has these values, and return it."""

        def has_them() -> dict[str, Any] | None:
            now = self.get(name)
            return now if all(now[key] == value for key, value in wanted.items()) else None

        found: dict[str, Any] = eventually(has_them, what=f"{name} with {wanted}; it is {self.get(name)}")
        return found

    def end(self, number: signal.Signals = signal.SIGTERM, within: float = 10.0) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(within)

    def said(self) -> str:
        """Return all that it has printed."""
        return self.out.read_text() + self.err.read_text()


class Reader:
    """Reads events on a thread, until it is closed.

    Attributes:
        events: what came, in order.
        ids: their numbers.
        names: of the other frames (``missed``).
    """

    def __init__(self, daemon: Daemon, last_event_id: str = "") -> None:
        self.events: list[dict[str, Any]] = []
        self.ids: list[int] = []
        self.names: list[str] = []
        self.last_event_id = last_event_id
        self.has_ended = False
        headers = {"last-event-id": last_event_id} if last_event_id else {}
        self._client = httpx.Client(base_url=str(daemon.api.base_url), timeout=30, trust_env=False)
        self._response = self._client.send(
            self._client.build_request("GET", "/api/v1/events", headers=headers), stream=True
        )
        assert self._response.headers["content-type"].startswith("text/event-stream")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            self._frames(self._response.iter_lines())
        except (httpx.TransportError, httpx.StreamClosed, OSError, ValueError):
            pass  # closed by one side or the other
        self.has_ended = True

    def _frames(self, lines: Iterator[str]) -> None:
        name = "message"
        for line in lines:
            key, _, value = line.partition(": ")
            if key == "id":
                self.last_event_id = value
            elif key == "event":
                name = value
                self.names.append(value)
            elif key == "data":
                if name == "message":
                    self.events.append(json.loads(value))
                    self.ids.append(int(self.last_event_id.rpartition("-")[2]))
                name = "message"

    def kinds(self) -> list[str]:
        """Return what happened."""
        return [event["kind"] for event in self.events]

    def close(self) -> None:
        """Leave."""
        self._response.close()
        self._client.close()
        self._thread.join(5)
