"""``tether run`` as a user has it: the real process, a real Redis that is killed and frozen, the API, signals."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.surfaces.daemon.process import CONNECTIONS, DEADLINE, Daemon, Reader, eventually
from tether.testing.servers import RedisServer
from tether.testing.tcp import free_port

pytestmark = pytest.mark.needs_server

PASSWORD = "correct-horse-battery"

KEYS = {
    "id",
    "url",
    "status",
    "last_connected",
    "reconnect_attempts",
    "consecutive_failures",
    "total_uptime",
    "last_reconnect_latency",
}
"""The shape that scripts rely on; there are more keys beside them."""


def config(server: RedisServer, more: str = "") -> str:
    return f"""
api: {{port: {{port}}}}
connections:
  cache:
    type: redis
    url: redis://:${{REDIS_PASSWORD}}@127.0.0.1:{server.port}/0
    required: true
    health_check_interval: 200ms
    health_check_timeout: 300ms
    connect_timeout: 500ms
    stable_after: 500ms
    retry: {{strategy: fixed, base: 200ms}}
{more}"""


ENVIRON = {"REDIS_PASSWORD": PASSWORD}


def test_an_outage_from_the_outside(server: RedisServer, tmp_path: Path) -> None:
    with Daemon(tmp_path, config(server), ENVIRON) as daemon:
        # Redis is down: the API is up, and says so.
        down = daemon.until("cache", status="connecting", cause="refused")
        assert set(down) >= KEYS
        assert (down["last_connected"], down["last_reconnect_latency"], down["total_uptime"]) == (
            None,
            None,
            "0s",
        )
        assert down["url"] == f"redis://:***@127.0.0.1:{server.port}/0"
        assert daemon.api.get("/readyz").status_code == 503
        assert "[-]cache connecting: refused" in daemon.api.get("/readyz?verbose").text
        reader = Reader(daemon)

        server.start()
        up = daemon.until("cache", status="connected")
        assert (up["cause"], up["consecutive_failures"], up["next_attempt_in"]) == (None, 0, None)
        assert up["last_connected"].endswith("Z")
        assert daemon.api.get("/readyz").status_code == 200

        server.kill()
        lost = daemon.until("cache", status="reconnecting", cause="refused")
        assert lost["reconnect_attempts"] > up["reconnect_attempts"]
        assert lost["losses"] == 1
        eventually(lambda: "lost" in reader.kinds(), what="the reader hears of the loss")
        reader.close()  # and misses what follows

        server.start()
        back = daemon.until("cache", status="connected")
        assert back["last_reconnect_latency"].endswith("s")
        server.freeze()
        frozen = daemon.until("cache", status="reconnecting")
        assert frozen["cause"] == "timeout"
        server.thaw()
        daemon.until("cache", status="connected", losses=2)

        resumed = Reader(daemon, reader.last_event_id)
        eventually(lambda: resumed.kinds().count("reconnected") == 2, what="the reader catches up")
        assert resumed.names == []
        ids = reader.ids + resumed.ids
        assert ids == list(range(ids[0], ids[0] + len(ids)))  # nothing lost, nothing twice
        resumed.close()

        metrics = daemon.api.get("/metrics").text
        assert 'network_reconnect_success_total{connection="cache",type="redis"} 3.0' in metrics
        assert 'network_connection_state{connection="cache",state="connected",type="redis"} 1.0' in metrics

        assert daemon.end() == 0
        assert "Traceback" not in daemon.said()
        assert "Warning" not in daemon.said()
    with socket.socket() as again:  # the port is free
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", daemon.port))


def test_reconnect_pause_and_resume(server: RedisServer, tmp_path: Path) -> None:
    patient = config(server).replace("base: 200ms", "base: 1h")
    with Daemon(tmp_path, patient, ENVIRON) as daemon:
        daemon.until("cache", cause="refused")
        server.start()
        answer = daemon.post("cache", "reconnect")  # or it would sleep for an hour
        assert answer.status_code == 202
        assert set(answer.json()) >= KEYS
        assert answer.headers["location"] == f"{CONNECTIONS}/cache"
        generation = daemon.until("cache", status="connected")["generation"]

        assert daemon.post("cache", "reconnect").status_code == 202  # legal while connected, too
        eventually(lambda: daemon.get("cache")["generation"] == generation + 1, what="the next generation")
        daemon.until("cache", status="connected")

        assert daemon.post("cache", "pause").status_code == 202
        assert daemon.until("cache", paused=True)["status"] == "connected"
        refused = daemon.post("cache", "reconnect")
        assert refused.status_code == 409
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"] == "cache is paused; resume it first"
        assert daemon.post("cache", "resume").status_code == 202
        daemon.until("cache", paused=False, status="connected")

        missing = daemon.post("cahce", "reconnect")
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
        assert daemon.end(signal.SIGINT) == 0


def test_one_that_cannot_log_in_does_not_stop_the_other(server: RedisServer, tmp_path: Path) -> None:
    server.start()
    wrong = f"""
  locked:
    type: redis
    url: redis://:wrong-password-1@127.0.0.1:{server.port}/0
    depends_on: [nobody-home]
  nobody-home:
    type: redis
    url: redis://127.0.0.1:{free_port()}/0
    retry: {{strategy: fixed, base: 100ms}}
"""
    with Daemon(tmp_path, config(server, wrong), ENVIRON) as daemon:
        daemon.until("cache", status="connected")
        assert daemon.until("locked", status="failed")["cause"] == "auth"
        assert daemon.get("nobody-home")["cause"] == "refused"
        assert daemon.api.get("/readyz").status_code == 200  # neither is required
        assert daemon.end() == 0


SIGNALS_BY_STATE = [
    *((state, signal.SIGTERM) for state in ("dialing", "waiting", "connected", "frozen", "paused", "failed")),
    *((state, number) for state in ("dialing", "connected") for number in (signal.SIGINT, signal.SIGHUP)),
]


@pytest.mark.parametrize(("state", "number"), SIGNALS_BY_STATE, ids=str)
def test_a_signal_ends_it_in_every_state(
    server: RedisServer, tmp_path: Path, state: str, number: signal.Signals
) -> None:
    text, environ = config(server), dict(ENVIRON)
    wanted: dict[str, object] = {"status": "connected"}
    if state == "dialing":  # nobody answers: the first dial is under way for a minute
        server.start()
        server.freeze()
        text, wanted = text.replace("connect_timeout: 500ms", "connect_timeout: 60s"), {"generation": 1}
    elif state == "waiting":
        text, wanted = text.replace("base: 200ms", "base: 1h"), {"cause": "refused"}
    else:
        server.start()
    if state == "failed":
        environ["REDIS_PASSWORD"] = "not-the-password"
        wanted = {"status": "failed"}
    with Daemon(tmp_path, text, environ) as daemon:
        daemon.until("cache", **wanted)
        if state == "frozen":
            server.freeze()
            daemon.until("cache", status="reconnecting")
        elif state == "paused":
            daemon.post("cache", "pause")
        reader = Reader(daemon)
        assert daemon.end(number) == 0
        eventually(lambda: reader.has_ended, what="the stream of events ends")
        reader.close()
        assert "Traceback" not in daemon.said()
        assert daemon.said().rstrip().endswith("stopped")


def test_a_port_that_is_taken(server: RedisServer, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, config(server), ENVIRON)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            daemon.process.kill()
            daemon.process.wait()
            thief.bind(("127.0.0.1", daemon.port))
            thief.listen()
            second = Daemon(tmp_path, daemon.file.read_text(), ENVIRON)
            assert second.process.wait(DEADLINE) == 69
            said = second.said()
            assert f"tether.yaml: api.port: port {daemon.port} of 127.0.0.1 is taken" in said
            assert "Traceback" not in said
            second.api.close()
        finally:
            daemon.api.close()


def test_no_secret_shows_anywhere(server: RedisServer, tmp_path: Path) -> None:
    server.start()
    (tmp_path / "operate").write_text("operate-token-0123456789\n")
    text = f"""
api: {{port: {{port}}, read_token: "${{READ}}", operate_token: "${{file:operate}}"}}
connections:
  wrong:
    type: redis
    url: redis://app:${{WRONG}}@127.0.0.1:{server.port}/0
  query:
    type: redis
    url: redis://127.0.0.1:{server.port}/0?password=query-secret-42
  option:
    type: redis
    url: redis://127.0.0.1:{server.port}/0
    options: {{password: option-secret-42}}
  right:
    type: redis
    url: redis://:{PASSWORD}@127.0.0.1:{server.port}/0
"""
    secrets = [
        "read-token-0123456789",
        "operate-token-0123456789",
        "wr0ng/p@ss",
        "wr0ng%2Fp%40ss",
        "query-secret-42",
        "option-secret-42",
        PASSWORD,
    ]
    environ = {"READ": secrets[0], "WRONG": secrets[3]}
    with Daemon(tmp_path, text, environ, ("--log-level", "debug", "--log-format", "json")) as daemon:
        assert daemon.api.get(CONNECTIONS).status_code == 401
        daemon.api.headers["authorization"] = f"Bearer {secrets[0]}"
        for name in ("wrong", "query", "option"):
            daemon.until(name, status="failed", cause="auth")
        daemon.until("right", status="connected")
        assert daemon.post("right", "reconnect").status_code == 403
        daemon.api.headers["authorization"] = f"Bearer {secrets[1]}"
        assert daemon.post("wrong", "reconnect").status_code == 202
        assert daemon.post("right", "reconnect").status_code == 202
        daemon.until("wrong", status="failed")
        with daemon.api.stream("GET", "/api/v1/events?replay=1000") as stream:
            seen = ""
            for line in stream.iter_lines():
                seen += line
                if seen.count('"right"') >= 4:
                    break
        pages = ("/metrics", "/readyz?verbose", CONNECTIONS, "/openapi.json", f"{CONNECTIONS}/wrong")
        seen += "".join(daemon.api.get(page).text for page in pages)
        assert daemon.end() == 0
        seen += daemon.said()
        logged = [json.loads(line) for line in daemon.said().splitlines()]
    assert {"connected", "gave_up"} <= {line["event"]["kind"] for line in logged if "event" in line}
    assert "auth" in seen
    for secret in secrets:
        assert secret not in seen
