"""The commands that ask a running daemon: what they print, where, and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.surfaces.client.conftest import Served
from tether.surfaces.api import Access
from tether.surfaces.cli.app import app


@pytest.fixture
def served() -> Iterator[Served]:
    api = Served()
    yield api
    api.close()


def tether(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"TETHER_URL": "", "TETHER_TOKEN": "", **environ})


def test_status(served: Served) -> None:
    said = tether("status", "--url", served.url)
    assert (said.exit_code, said.stderr) == (0, "")
    first, _, heads, orders, cache = (" ".join(line.split()) for line in said.stdout.splitlines())
    assert first.startswith("1 of 2 up. orders is connecting: refused (connection refused); next attempt in ")
    assert heads == "name state for to tries next why"
    assert orders.startswith("orders ◐ connecting ")
    assert " scripted://memory 1 " in orders
    assert cache.startswith("cache ● connected ")


def test_status_as_json_is_the_apis_answer(served: Served) -> None:
    said = tether("status", "--json", TETHER_URL=served.url)
    assert said.exit_code == 0
    assert set(json.loads(said.stdout)["connections"]) == {"cache", "orders"}


def test_status_can_be_checked_by_its_exit_code(served: Served) -> None:
    assert tether("status", "--check", "--url", served.url).exit_code == 1
    served.call(lambda: served.supervisor.manager.unregister("orders"))


@pytest.mark.parametrize(
    ("verb", "state"), [("reconnect", "reconnecting now"), ("pause", "paused"), ("resume", "resumed")]
)
def test_commands(served: Served, verb: str, state: str) -> None:
    said = tether(verb, "cache", "--url", served.url)
    assert (said.exit_code, said.stdout) == (0, f"cache: {state}\n")


def test_a_refusal_is_one_line(served: Served) -> None:
    said = tether("pause", "odrers", "--url", served.url)
    wanted = "tether: there is no connection 'odrers'; did you mean 'orders'?\n"
    assert (said.exit_code, said.stdout, said.stderr) == (1, "", wanted)


def test_a_token_from_the_environment() -> None:
    api = Served(Access("read-token-1", "operate-token-1"))
    try:
        assert tether("status", "--url", api.url).exit_code == 77
        assert tether("status", "--url", api.url, TETHER_TOKEN="read-token-1").exit_code == 0
        refused = tether("pause", "cache", "--url", api.url, TETHER_TOKEN="read-token-1")
        assert refused.exit_code == 77
        assert "read-token-1" not in refused.output
        assert tether("pause", "cache", "--url", api.url, "--token", "operate-token-1").exit_code == 0
    finally:
        api.close()


@pytest.mark.parametrize("command", [("status",), ("tail",), ("reconnect", "cache")], ids=lambda c: c[0])
def test_nobody_there(command: tuple[str, ...]) -> None:
    said = tether(*command, "--url", "http://127.0.0.1:9")
    assert (said.exit_code, said.stdout) == (69, "")
    assert said.stderr.startswith("tether: nothing answers on http://127.0.0.1:9 (")
    assert said.stderr.count("\n") == 1


def test_a_bad_url_is_wrong_usage() -> None:
    said = tether("status", "--url", "localhost")
    assert (said.exit_code, said.stderr.count("\n")) == (2, 1)
    assert "write it like http://127.0.0.1:8321" in said.stderr


def test_a_file_and_a_url_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("api: {port: 9, read_token: config-token-1}\nconnections: {}\n")
    said = tether("status", "-c", str(tmp_path / "t.yaml"), "--url", "http://127.0.0.1:8")
    assert (said.exit_code, said.stderr) == (2, "tether: --url: give it or --config, not both\n")
    # The file's token goes to the file's address, whatever the environment says.
    said = tether("status", "-c", str(tmp_path / "t.yaml"), TETHER_URL="http://127.0.0.1:8")
    assert said.exit_code == 69
    assert "nothing answers on http://127.0.0.1:9 " in said.stderr


def test_tail_of_a_name_that_is_not_there(served: Served) -> None:
    said = tether("tail", "--connection", "cashe", "--url", served.url)
    assert (said.exit_code, said.stderr) == (
        1,
        "tether: there is no connection 'cashe'; did you mean 'cache'?\n",
    )


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tether.surfaces.cli", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


def test_tail_ends_with_ctrl_c(served: Served) -> None:
    tail = started("tail", "--url", served.url)
    assert tail.stdout is not None
    while "orders  try 1 failed" not in tail.stdout.readline():
        pass
    tail.send_signal(signal.SIGINT)
    _, talk = tail.communicate(timeout=10)
    assert (tail.returncode, talk) == (130, "")


def test_tail_ends_as_soon_as_nobody_reads(served: Served) -> None:
    tail = started("tail", "--url", served.url)
    assert tail.stdout is not None
    tail.stdout.readline()
    tail.stdout.close()  # and nothing happens any more that could be told
    assert tail.wait(10) == 141
    assert tail.stderr is not None
    assert tail.stderr.read() == ""
    tail.stderr.close()
