"""Draws ``docs/terminal.svg``: two real servers, one of them killed, and what the commands say of it.

``python docs/terminal.py`` writes it, in some 10 s. A picture of a real run, not a drawing.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.text import Text

from tether.surfaces.svg import as_svg, new_console
from tether.testing.servers import RedisServer
from tether.testing.tcp import free_port

WIDTH = 106
PICTURE = Path(__file__).parent / "terminal.svg"
CONFIG = """
api: {{port: {api}}}
connections:
  cache: {{type: redis, url: "redis://127.0.0.1:{cache}/0", required: true}}
  sessions: {{type: redis, url: "redis://127.0.0.1:{sessions}/1", depends_on: [cache]}}
  queue: {{type: redis, url: "redis://127.0.0.1:{queue}/0"}}
"""


def tether(*arguments: str, api: int) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "tether.surfaces.cli", *arguments, "--url", f"http://127.0.0.1:{api}"]


def main() -> None:
    """Draw."""
    environ = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    with (
        RedisServer() as cache,
        RedisServer() as sessions,
        RedisServer() as queue,
        tempfile.TemporaryDirectory() as folder,
    ):
        api = free_port()
        file = Path(folder) / "tether.yaml"
        file.write_text(CONFIG.format(api=api, cache=cache.port, sessions=sessions.port, queue=queue.port))
        run = [sys.executable, "-m", "tether.surfaces.cli", "run", str(file)]
        with subprocess.Popen(run, stderr=subprocess.DEVNULL) as daemon:
            time.sleep(3)
            sessions.kill()
            time.sleep(4.5)
            status = subprocess.run(
                tether("status", api=api), env=environ, capture_output=True, text=True, check=True
            )
            tail = subprocess.Popen(
                tether("tail", "-n", "30", "--connection", "sessions", api=api),
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
            )
            time.sleep(1)
            sessions.start()
            time.sleep(3)
            tail.send_signal(2)
            told, _ = tail.communicate(timeout=5)
            daemon.terminate()
    console = new_console(width=WIDTH)
    for command, output in (("tether status", status.stdout), ("tether tail", told)):
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(output.rstrip()), soft_wrap=True)
        console.print()
    PICTURE.write_text(as_svg(console, "tether"), encoding="utf-8")


if __name__ == "__main__":
    main()
