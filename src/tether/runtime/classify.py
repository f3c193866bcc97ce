"""Rules that tell what an error of the network means: by type, errno and phase, never by its text."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from functools import lru_cache

from tether.core.cause import Cause, Code, Phase, Rule, Verdict

_logger = logging.getLogger("tether.classify")

_BY_ERRNO: dict[int, tuple[Code, str]] = {
    errno.ECONNREFUSED: (Code.REFUSED, ""),
    errno.ECONNRESET: (Code.RESET, "reset_by_peer"),
    errno.ECONNABORTED: (Code.RESET, ""),
    errno.EPIPE: (Code.RESET, ""),
    errno.ESHUTDOWN: (Code.RESET, ""),
    errno.ENOTCONN: (Code.RESET, ""),
    errno.EBADF: (Code.RESET, ""),
    errno.ETIMEDOUT: (Code.TIMEOUT, ""),
    errno.EHOSTUNREACH: (Code.UNREACHABLE, ""),
    errno.ENETUNREACH: (Code.UNREACHABLE, ""),
    errno.ENETDOWN: (Code.UNREACHABLE, ""),
    errno.ENETRESET: (Code.UNREACHABLE, ""),
    errno.EADDRNOTAVAIL: (Code.UNREACHABLE, ""),
    getattr(errno, "EHOSTDOWN", errno.EHOSTUNREACH): (Code.UNREACHABLE, ""),
}
_EXACT_TYPES: tuple[tuple[type[BaseException], Code], ...] = (
    (socket.gaierror, Code.DNS),
    (ssl.SSLEOFError, Code.EOF),
    (ssl.SSLZeroReturnError, Code.EOF),
    (ssl.SSLError, Code.TLS),
    (EOFError, Code.EOF),  # asyncio.IncompleteReadError is one
)
_WITHOUT_ERRNO: tuple[tuple[type[BaseException], Code], ...] = (
    (TimeoutError, Code.TIMEOUT),
    (ConnectionRefusedError, Code.REFUSED),
    (ConnectionError, Code.RESET),
)
_TRANSPORTS = {
    f"asyncio.{part}"
    for part in (
        "base_events",
        "selector_events",
        "proactor_events",
        "sslproto",
        "streams",
        "transports",
        "unix_events",
    )
}
"""Where asyncio raises on closed handles. Its locks, task groups and runners raise on misuse: that is no loss."""

_UNIX_SOCKET_GONE = {errno.ENOENT, errno.EACCES}


def network_rule(error: BaseException, phase: Phase) -> Verdict:
    """Classify what sockets, TLS and asyncio raise. Since 3.11 every timeout is an OSError: errno tells them apart."""
    for kind, code in _EXACT_TYPES:
        if isinstance(error, kind):
            return Cause(code, Phase.DNS if code is Code.DNS else phase, error)
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        code, detail = _BY_ERRNO[error.errno]
        return Cause(code, phase, error, detail=detail)
    for kind, code in _WITHOUT_ERRNO:
        if isinstance(error, kind):
            return Cause(code, phase, error)
    if isinstance(error, OSError) and phase is Phase.TCP and error.errno in _UNIX_SOCKET_GONE:
        return Cause(Code.REFUSED, phase, error)
    return None


@lru_cache(maxsize=64)
def dead_handle_rule(driver_modules: tuple[str, ...]) -> Rule:
    """Return a rule for the bare ``RuntimeError`` that drivers and loops raise on closed handles.

    Only when it was raised inside one of them: a ``RuntimeError`` of the user's own code is never a loss.
    """
    packages = {"uvloop", *driver_modules}

    def rule(error: BaseException, phase: Phase) -> Verdict:
        if type(error) is not RuntimeError:
            return None
        module = _raised_in(error)
        if module in _TRANSPORTS or module.partition(".")[0] in packages:
            return Cause(Code.RESET, phase, error)
        return None

    return rule


def _raised_in(error: BaseException) -> str:
    """Return the module whose frame raised ``error``, or ''."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", ""))


def through_chain(rule: Rule) -> Rule:
    """Return a rule that also asks ``rule`` about what ``error`` was raised from: drivers wrap socket errors."""

    def chained(error: BaseException, phase: Phase) -> Verdict:
        for link in _chain(error):
            verdict = rule(link, phase)
            if verdict is not None:
                return verdict
        return None

    return chained


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def all_rules(user: Sequence[Rule], driver: Sequence[Rule], modules: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules in the order in which they are asked: the user's, the driver's, the network's."""
    return (*map(_shielded, user), *driver, network_rule, dead_handle_rule(tuple(modules)))


def _shielded(rule: Rule) -> Rule:
    """Return a user's rule that, when it raises, counts as 'not mine': it must not stop reconnection."""

    def shielded(error: BaseException, phase: Phase) -> Verdict:
        try:
            return rule(error, phase)
        except Exception:
            _logger.exception("a classification rule failed")
            return None

    return shielded
