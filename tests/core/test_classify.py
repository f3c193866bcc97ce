"""What an error of the network means: by its type, its errno and the phase, never by its text."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import deterministic
from tether.core.cause import Cause, Code, Phase, Rule, Verdict, find_cause
from tether.runtime.classify import all_rules, dead_handle_rule, network_rule, through_chain

RULES = all_rules((), (), ("driver",))


def code_of(error: BaseException, phase: Phase = Phase.READY) -> str | None:
    """Return the code that the built-in rules find, or ``None`` for 'no loss'."""
    cause = find_cause(error, phase, RULES)
    return None if cause is None else str(cause)


def raised_in(module: str, error: BaseException) -> BaseException:
    """Return ``error`` as raised by a function of ``module``."""
    namespace: dict[str, Any] = {"__name__": module, "error": error}
    exec("def fail():\n    raise error", namespace)
    try:
        namespace["fail"]()
    except BaseException as caught:
        return caught
    raise AssertionError


def wrapped(outer: BaseException, inner: BaseException) -> BaseException:
    """Return ``outer`` raised from ``inner``."""
    outer.__cause__ = inner
    return outer


BY_TYPE = [
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "dns"),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "dns"),
    (ssl.SSLCertVerificationError(1, "certificate verify failed"), "tls"),
    (ssl.SSLError(1, "wrong version number"), "tls"),
    (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "eof"),
    (ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"), "eof"),
    (asyncio.IncompleteReadError(b"", 1), "eof"),
    (EOFError(), "eof"),
    (TimeoutError(), "timeout"),
    (TimeoutError("no answer within 2s"), "timeout"),
    (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "timeout"),
    (asyncio.TimeoutError(), "timeout"),  # noqa: UP041 - the old name, which is an OSError since 3.11
    (socket.timeout("timed out"), "timeout"),  # noqa: UP041
    (ConnectionRefusedError(), "refused"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "refused"),
    (ConnectionResetError(), "reset"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "reset"),
    (ConnectionAbortedError(), "reset"),
    (BrokenPipeError(), "reset"),
    (BrokenPipeError(errno.EPIPE, "broken pipe"), "reset"),
    (ConnectionError("lost"), "reset"),
]

BY_ERRNO = [
    ("ECONNREFUSED", "refused"),
    ("ECONNRESET", "reset"),
    ("ECONNABORTED", "reset"),
    ("EPIPE", "reset"),
    ("ESHUTDOWN", "reset"),
    ("ENOTCONN", "reset"),
    ("EBADF", "reset"),
    ("ETIMEDOUT", "timeout"),
    ("EHOSTUNREACH", "unreachable"),
    ("ENETUNREACH", "unreachable"),
    ("ENETDOWN", "unreachable"),
    ("ENETRESET", "unreachable"),
    ("EHOSTDOWN", "unreachable"),
    ("EADDRNOTAVAIL", "unreachable"),
]

NEVER = [
    KeyError("user:7"),
    ValueError("bad"),
    TypeError("bad"),
    AssertionError(),
    NotImplementedError(),
    RecursionError(),
    RuntimeError("of the user's own"),
    LookupError("IntegrityError and the like"),
    asyncio.CancelledError(),
    asyncio.LimitOverrunError("too long", 0),
    asyncio.InvalidStateError(),
    asyncio.QueueEmpty(),
    StopAsyncIteration(),
    GeneratorExit(),
    KeyboardInterrupt(),
    SystemExit(),
    OSError("without errno"),
    OSError(errno.ENOSPC, "disk full"),
    OSError(errno.EMFILE, "too many open files"),
    FileNotFoundError(errno.ENOENT, "of the user's own"),
    PermissionError(errno.EACCES, "of the user's own"),
    IsADirectoryError(errno.EISDIR, "of the user's own"),
]


class TestByType:
    @pytest.mark.parametrize(("error", "code"), BY_TYPE, ids=repr)
    @pytest.mark.parametrize("phase", Phase, ids=str)
    def test_the_type_decides_in_every_phase(self, error: BaseException, code: str, phase: Phase) -> None:
        assert code_of(error, phase) == code

    @pytest.mark.parametrize("error", [error for error, _ in BY_TYPE], ids=repr)
    def test_the_cause_has_the_error_and_the_phase_that_was_reached(self, error: BaseException) -> None:
        cause = find_cause(error, Phase.TLS, RULES)
        assert cause is not None
        assert cause.error is error
        assert cause.phase is (Phase.DNS if cause.code is Code.DNS else Phase.TLS)

    def test_only_a_reset_with_its_errno_is_the_peers(self) -> None:
        def detail(error: BaseException) -> str:
            cause = find_cause(error, Phase.READY, RULES)
            assert cause is not None
            return cause.detail

        assert detail(ConnectionResetError(errno.ECONNRESET, "reset")) == "reset_by_peer"
        assert detail(OSError(errno.ECONNRESET, "reset")) == "reset_by_peer"
        assert detail(ConnectionResetError()) == ""
        assert detail(BrokenPipeError(errno.EPIPE, "pipe")) == ""


class TestByErrno:
    @pytest.mark.parametrize(("name", "code"), BY_ERRNO)
    def test_the_errno_decides(self, name: str, code: str) -> None:
        number = getattr(errno, name)
        assert code_of(OSError(number, os.strerror(number))) == code

    def test_the_errno_comes_before_the_type(self) -> None:
        error = TimeoutError("a timeout by type")
        error.errno = errno.ECONNREFUSED
        assert code_of(error) == "refused"

    def test_the_codes_of_name_lookup_and_tls_are_no_errnos(self) -> None:
        assert code_of(socket.gaierror(errno.ECONNREFUSED, "x")) == "dns"
        assert code_of(ssl.SSLError(errno.ECONNREFUSED, "x")) == "tls"

    @deterministic
    @given(st.integers(1, 200), st.sampled_from(Phase))
    def test_every_errno_that_is_not_in_the_table_is_no_loss(self, number: int, phase: Phase) -> None:
        known = {getattr(errno, name) for name, _ in BY_ERRNO}
        gone = {errno.ENOENT, errno.EACCES} if phase is Phase.TCP else set()
        assert (code_of(OSError(number, "x"), phase) is not None) is (number in known | gone)

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES])
    def test_a_unix_socket_that_is_gone_refuses_but_only_while_connecting(self, number: int) -> None:
        assert code_of(OSError(number, "x"), Phase.TCP) == "refused"
        for phase in set(Phase) - {Phase.TCP}:
            assert code_of(OSError(number, "x"), phase) is None


class TestNeverALoss:
    @pytest.mark.parametrize("error", NEVER, ids=repr)
    def test_what_is_not_the_networks_is_never_a_loss(self, error: BaseException) -> None:
        assert code_of(error) is None
        assert code_of(raised_in("users.code", error)) is None

    @pytest.mark.parametrize(
        "text", ["Connection reset by peer", "timed out", "[Errno 111] refused", "NOAUTH"]
    )
    def test_the_text_says_nothing(self, text: str) -> None:
        for kind in (Exception, ValueError, RuntimeError, OSError):
            assert code_of(kind(text)) is None
        assert code_of(TimeoutError(text)) == "timeout"

    def test_a_users_error_that_was_raised_from_a_reset_is_the_users(self) -> None:
        assert code_of(wrapped(KeyError("k"), ConnectionResetError())) is None


class TestDeadHandle:
    """Drivers and loops raise a bare ``RuntimeError`` on closed handles."""

    @pytest.mark.parametrize(
        "module",
        [
            "asyncio.base_events",
            "asyncio.selector_events",
            "asyncio.sslproto",
            "asyncio.streams",
            "uvloop.loop",
            "driver",
            "driver.pool.inner",
        ],
    )
    def test_raised_inside_of_them_it_is_a_loss(self, module: str) -> None:
        error = raised_in(module, RuntimeError("unable to perform operation on <TCPTransport closed=True>"))
        assert code_of(error) == "reset"

    @pytest.mark.parametrize(
        "module", ["users.code", "asyncio_tools", "drivers", "my.driver", "__main__", ""]
    )
    def test_raised_anywhere_else_it_is_not(self, module: str) -> None:
        assert code_of(raised_in(module, RuntimeError("closed"))) is None

    def test_never_raised_it_is_not(self) -> None:
        assert code_of(RuntimeError("Event loop is closed")) is None

    def test_asyncios_own_is_a_loss(self) -> None:
        loop = asyncio.new_event_loop()
        loop.close()
        with pytest.raises(RuntimeError) as caught:
            loop.call_soon(print)
        assert code_of(caught.value) == "reset"

    @pytest.mark.parametrize("kind", [NotImplementedError, RecursionError, type("Own", (RuntimeError,), {})])
    def test_other_errors_of_that_family_are_not(self, kind: type[RuntimeError]) -> None:
        assert code_of(raised_in("asyncio.streams", kind("x"))) is None

    def test_the_innermost_frame_decides(self) -> None:
        def users_callback() -> None:
            raise RuntimeError("mine")

        namespace: dict[str, Any] = {"__name__": "asyncio.events", "callback": users_callback}
        exec("def call():\n    callback()", namespace)
        with pytest.raises(RuntimeError) as caught:
            namespace["call"]()
        assert code_of(caught.value) is None

    def test_a_driver_that_was_not_named_is_a_users_module(self) -> None:
        error = raised_in("driver", RuntimeError("closed"))
        assert dead_handle_rule(())(error, Phase.READY) is None
        assert dead_handle_rule(("driver",))(error, Phase.READY) == Cause(Code.RESET)

    @pytest.mark.parametrize(
        "module", ["asyncio.runners", "asyncio.locks", "asyncio.timeouts", "asyncio.taskgroups"]
    )
    def test_the_misuse_of_asyncio_by_users_code_is_no_dead_handle(self, module: str) -> None:
        assert code_of(raised_in(module, RuntimeError("asyncio.run() cannot be called …"))) is None

    def test_the_misuse_of_a_lock_is_no_dead_handle(self) -> None:
        with pytest.raises(RuntimeError) as caught:
            asyncio.Lock().release()
        assert code_of(caught.value) is None


class TestChain:
    chained = staticmethod(through_chain(network_rule))

    def test_a_drivers_wrapper_is_what_it_was_raised_from(self) -> None:
        inner = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        verdict = self.chained(wrapped(Exception("driver"), wrapped(Exception("pool"), inner)), Phase.TCP)
        assert verdict == Cause(Code.REFUSED, Phase.TCP)
        assert isinstance(verdict, Cause)
        assert verdict.error is inner

    def test_what_it_was_raised_while_handling_counts_too(self) -> None:
        error = Exception("driver")
        error.__context__ = TimeoutError()
        assert self.chained(error, Phase.READY) == Cause(Code.TIMEOUT)

    def test_what_it_was_raised_from_comes_before_what_was_being_handled(self) -> None:
        error = wrapped(Exception("driver"), TimeoutError())
        error.__context__ = EOFError()
        assert self.chained(error, Phase.READY) == Cause(Code.TIMEOUT)

    def test_the_outermost_that_is_known_decides(self) -> None:
        assert self.chained(wrapped(TimeoutError(), EOFError()), Phase.READY) == Cause(Code.TIMEOUT)

    def test_a_chain_that_nothing_knows_is_no_loss(self) -> None:
        assert self.chained(wrapped(KeyError(), ValueError()), Phase.READY) is None

    def test_a_chain_that_runs_in_a_circle_ends(self) -> None:
        one, other = Exception("one"), Exception("other")
        one.__cause__, other.__cause__ = other, one
        assert self.chained(one, Phase.READY) is None


class TestOrder:
    def rules(self, *, user: list[Rule], driver: list[Rule]) -> tuple[Rule, ...]:
        return all_rules(user, driver, ())

    def test_the_users_rules_come_before_the_drivers_and_those_before_the_networks(self) -> None:
        def says(code: Code) -> Rule:
            return lambda error, phase: code

        def silent(error: BaseException, phase: Phase) -> Verdict:
            return None

        def code(rules: tuple[Rule, ...]) -> str:
            return str(find_cause(TimeoutError(), Phase.READY, rules))

        assert code(self.rules(user=[says(Code.AUTH)], driver=[says(Code.EOF)])) == "auth"
        assert code(self.rules(user=[silent], driver=[says(Code.EOF)])) == "eof"
        assert code(self.rules(user=[silent], driver=[silent])) == "timeout"

    def test_a_users_rule_that_raises_is_logged_and_not_the_one(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(error: BaseException, phase: Phase) -> Verdict:
            raise KeyError("oops")

        with caplog.at_level(logging.ERROR, "tether"):
            cause = find_cause(TimeoutError(), Phase.READY, self.rules(user=[broken], driver=[]))
        assert cause == Cause(Code.TIMEOUT)
        assert [record.message for record in caplog.records] == ["a classification rule failed"]

    def test_a_users_rule_may_make_anything_a_loss(self) -> None:
        rules = self.rules(
            user=[lambda error, _: "server_error" if isinstance(error, KeyError) else None], driver=[]
        )
        assert find_cause(KeyError(), Phase.READY, rules) == Cause(Code.SERVER_ERROR)
        assert find_cause(ValueError(), Phase.READY, rules) is None
