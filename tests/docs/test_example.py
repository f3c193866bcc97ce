"""The example in the README heals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tether.testing import RedisServer

pytestmark = pytest.mark.needs_server

EXAMPLE = Path(__file__).parents[2] / "examples" / "redis_service.py"


def read_until(process, text):
    for line in process.stdout:
        if text in line:
            return line
    pytest.fail(f"{text!r} was never printed")


def test_the_example_serves_before_and_after_a_kill_and_ends_on_ctrl_c():
    with RedisServer() as server:
        process = subprocess.Popen(
            [sys.executable, EXAMPLE],
            env={**os.environ, "REDIS_URL": server.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert read_until(process, "visits:").strip() == "visits: 1"
            server.kill()
            server.restart()
            assert "visits: " in read_until(process, "visits: 1")  # a fresh server counts from one again
            process.send_signal(signal.SIGINT)
            assert process.wait(5) != 0
            assert "never awaited" not in process.stderr.read()
        finally:
            process.kill()
            process.communicate()
