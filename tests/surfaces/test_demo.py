"""The demo itself, as a stranger starts it, with a real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tether.testing.servers import ServerMissing, find_redis

pytestmark = pytest.mark.needs_server

COMMAND = [sys.executable, "-m", "tether.surfaces.cli", "demo"]


@pytest.fixture(autouse=True)
def a_server() -> None:
    try:
        find_redis(prefer="wheel")
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[Path]:
    """The directory for the demo's temporary files: nothing may be left there."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def environment(traces: Path) -> dict[str, str]:
    unwanted = {"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {
        **kept,
        "TMPDIR": str(traces),
        "TERM": "xterm-256color",
        "COLUMNS": "80",
        "LINES": "24",
        "PYTHONIOENCODING": "utf-8",
    }


def test_one_round_heals_everything(traces: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--once"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=55,
        check=False,
        env=environment(traces),
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    changes = [line for line in lines if re.match(r" *\d+\.\d{3}  (demo|tether)  ", line)]
    assert lines[: len(changes)] == changes, "first the changes, one per line, and then the table"
    for said in ("kill -9 → server", "frozen", "clean stop", "lost: timeout", "connected again", "refused"):
        assert any(said in change for change in changes)
    rows = [line for line in lines if line.endswith("  yes")]
    assert [row.split("  ")[0] for row in rows] == ["kill -9, restart", "freeze, thaw", "clean stop, restart"]
    assert "timeout (network timeout)" in rows[1]
    assert "All 3 faults healed." in lines


def test_ctrl_c_in_an_outage_puts_the_terminal_and_the_server_away(traces: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        COMMAND, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(traces), start_new_session=True
    ) as demo:
        os.close(theirs)
        seen = b""
        while b"R E C O N N E C T I N G" not in seen:
            seen += os.read(ours, 65536)
        (home,) = traces.iterdir()
        demo.send_signal(signal.SIGINT)
        while chunk := _read(ours):
            seen += chunk
    os.close(ours)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).decode()

    assert demo.returncode == 130
    assert home.name.startswith("tether-")
    assert "cut short" in text
    assert "Traceback" not in text
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l"), "the cursor is there again"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the other side is closed
        return b""


def test_a_reader_who_has_seen_enough_ends_it_quietly(traces: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--once"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(traces)
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.readline()
        demo.stdout.close()
        said = demo.stderr.read()

    assert demo.returncode == 141
    assert said == b""
