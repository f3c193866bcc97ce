"""``tether chaos``: what it prints, what it does to connections, and how it ends."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from tether.surfaces.cli.chaos import chaos
from tether.testing.tcp import port_is_free, refused_port

HOST = "127.0.0.1"
PROGRAM = "import typer; from tether.surfaces.cli.chaos import chaos; typer.run(chaos)"


@pytest.fixture
def upstream():
    """An echo server; its address."""

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                while data := peer.recv(1000):
                    peer.sendall(data)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"{HOST}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def tether_chaos():
    """Start the command in a process of its own, and wait for some lines; its process is ended by the test's end."""
    with contextlib.ExitStack() as processes:

        def start(*arguments, lines):
            process = processes.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, *arguments],
                    env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            processes.callback(process.kill)
            return process, [process.stdout.readline() for _ in range(lines)]

        yield start


def port_in(line):
    return int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])


def ask(port, data, size):
    with socket.create_connection((HOST, port), timeout=10) as client:
        client.sendall(data)
        return client.recv(size, socket.MSG_WAITALL)


def invoke(*arguments):
    app = typer.Typer()
    app.command()(chaos)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_what_it_does_does_it_and_ends_cleanly(tether_chaos, upstream, number):
    toxics = [
        "-t",
        "limit_data:bytes=3",
        "--toxic",
        "latency:latency=20,jitter=5,stream=upstream,toxicity=0.5",
    ]
    process, (first, *rest) = tether_chaos("0", upstream, "--seed", "7", *toxics, lines=3)
    port = port_in(first)
    assert first == f"127.0.0.1:{port} to {upstream}, seed 7\n"
    assert rest == [
        "  limit_data_downstream: bytes 3\n",
        "  latency_upstream: latency 20, jitter 5, 50% of connections\n",
    ]
    assert ask(port, b"hello", 5) == b"hel"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out == "1 connections, 5 bytes up, 3 bytes down\n"
    assert port_is_free(port)


def test_it_ends_cleanly_while_connections_are_open(tether_chaos, upstream):
    process, (first,) = tether_chaos("0", upstream, lines=1)
    with socket.create_connection((HOST, port_in(first)), timeout=10) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        process.terminate()
        assert client.recv(1) == b""
    assert process.wait(30) == 0


def test_the_api_drives_it(tether_chaos, upstream):
    process, (first, second) = tether_chaos(f"{HOST}:0", upstream, "--api-port", "0", lines=2)
    url = re.fullmatch(r"Toxiproxy's API on (http://127\.0\.0\.1:\d+)\n", second)[1]
    with httpx.Client(base_url=url, timeout=10) as http:
        shown = http.get("/proxies/chaos").json()
        assert shown["listen"] == f"{HOST}:{port_in(first)}"
        http.post("/proxies/chaos/toxics", json={"type": "limit_data", "attributes": {"bytes": 2}})
        assert ask(port_in(first), b"hello", 5) == b"he"
        http.post("/proxies", json={"name": "more", "upstream": upstream})
    process.terminate()
    assert process.wait(30) == 0


def test_a_file_of_toxiproxys_makes_proxies(tether_chaos, upstream, tmp_path):
    config = tmp_path / "toxiproxy.json"
    config.write_text(
        json.dumps(
            [
                {"name": "web", "listen": "127.0.0.1:0", "upstream": upstream},
                {"name": "db", "listen": "127.0.0.1:0", "upstream": upstream, "enabled": False},
            ]
        )
    )
    process, (web, db) = tether_chaos("--config", str(config), lines=2)
    assert re.fullmatch(rf"127\.0\.0\.1:\d+ to {upstream}: web\n", web)
    assert re.fullmatch(rf"127\.0\.0\.1:\d+ to {upstream}: db, down\n", db)
    assert ask(port_in(web), b"hello", 5) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        ask(port_in(db), b"hello", 5)
    process.terminate()
    assert process.wait(30) == 0


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "name LISTEN and UPSTREAM"),
            (["16379"], "name UPSTREAM too"),
            (["--toxic", "timeout", "--api-port", "0"], "name LISTEN and UPSTREAM"),
            (["here", "6379"], "'here' is no address like 127.0.0.1:6379"),
            (["0", "localhost"], "'localhost' is no address"),
            (["0", "70000"], "'70000' is no address"),
            (["0", "0"], "names no port"),
            (["0", "1", "-t", "latncy:latency=1"], "Did you mean 'latency'?"),
            (
                ["0", "1", "-t", "fire"],
                "there are: latency, bandwidth, slow_close, timeout, reset_peer, slicer",
            ),
            (["0", "1", "-t", "latency:latncy=1"], "there are: latency, jitter. Did you mean 'latency'?"),
            (["0", "1", "-t", "latency:latency"], "'latency' is not KEY=VALUE"),
            (["0", "1", "-t", "latency:latency=200ms"], "'200ms' is no number"),
            (["0", "1", "-t", "latency:latency=-1"], "from 0"),
            (["0", "1", "-t", "latency:latency=nan"], "from 0"),
            (["0", "1", "-t", "limit_data:bytes=1.5"], "whole number of bytes"),
            (["0", "1", "-t", "timeout:stream=upsteam"], "Did you mean 'upstream'?"),
            (["0", "1", "-t", "timeout:toxicity=7"], "share from 0 to 1"),
        ],
    )
    def test_wrong_usage_is_2_and_says_what_there_is(self, arguments, says):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert says in done.stderr
        assert done.stderr.startswith("tether: ")
        assert "Traceback" not in done.stderr

    def test_the_same_toxic_twice_needs_names(self, tether_chaos, upstream):
        process, _ = tether_chaos("0", upstream, "-t", "timeout", "-t", "timeout", lines=2)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 2
        assert "there is a toxic 'timeout_downstream' already" in err
        process, (_, *rest) = tether_chaos("0", upstream, "-t", "timeout", "-t", "timeout:name=b", lines=3)
        assert rest == ["  timeout_downstream: timeout 0\n", "  b: timeout 0\n"]
        process.terminate()
        assert process.wait(30) == 0

    def test_a_taken_address_is_69(self, tmp_path):
        with refused_port() as port:
            config = tmp_path / "toxiproxy.json"
            config.write_text(json.dumps([{"name": "a", "listen": f"{HOST}:{port}", "upstream": "a:1"}]))
            for arguments in (
                [str(port), "6379"],
                ["0", "6379", "--api-port", str(port)],
                ["--config", str(config)],
            ):
                done = invoke(*arguments)
                assert done.exit_code == 69
                assert "in use" in done.stderr

    @pytest.mark.parametrize(
        ("content", "says"),
        [("{", "it is not JSON"), ('[{"name": "a"}]', "missing required field: upstream")],
    )
    def test_a_bad_file_is_78(self, tmp_path, content, says):
        config = tmp_path / "toxiproxy.json"
        config.write_text(content)
        done = invoke("--config", str(config))
        assert done.exit_code == 78
        assert done.stderr.startswith(f"tether: {config}: ")
        assert says in done.stderr


def test_the_help_names_the_toxics():
    done = invoke("--help")
    assert done.exit_code == 0
    for name in ("latency", "bandwidth", "slow_close", "timeout", "reset_peer", "slicer", "limit_data"):
        assert name in done.stdout
