"""Forked children for tests: one runs a function, reports its value through a pipe, and is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import select
import signal
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

LONGEST = 20.0
"""Seconds that a child may take; then it is killed, and the test fails."""

Runner = Callable[[Coroutine[Any, Any, Any]], Any]


def run_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    """``asyncio.run`` on the other loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


class Child:
    """A forked child that runs ``function()``; its value, or what it raised, is ``await``ed or ``join()``ed.

    Args:
        function: called in the child; what it returns can be pickled.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._pipe, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            _report(function, write)
        os.close(write)

    def join(self) -> Any:
        """Wait for the child's end, and return what it reported."""
        chunks: list[bytes] = []
        try:
            while True:
                if not select.select([self._pipe], [], [], LONGEST)[0]:
                    raise AssertionError("the child hangs")
                chunk = os.read(self._pipe, 65536)
                if not chunk:
                    break
                chunks.append(chunk)
        finally:
            os.close(self._pipe)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        ok, value = pickle.loads(b"".join(chunks))
        assert ok, f"the child failed:\n{value}"
        return value

    def __await__(self) -> Any:
        return asyncio.to_thread(self.join).__await__()


def _report(function: Callable[[], Any], pipe: int) -> None:
    try:
        answer = (True, function())
    except BaseException:  # told to the parent
        answer = (False, traceback.format_exc())
    try:
        os.write(pipe, pickle.dumps(answer))
    finally:
        os._exit(0)
