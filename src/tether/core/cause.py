"""Causes: why a connection was lost or an attempt failed, and what follows from it.

Causes are found by type, code and phase, never by the text of a message. The rules for the network live in
``tether.runtime.classify``; each connector adds the ones of its driver, and users can add theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from tether.core.hint import RetryHint


class Phase(StrEnum):
    """How far a connection had come: name lookup, connect, TLS, login, restore, or in use."""

    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    AUTH = "auth"
    RESTORE = "restore"
    READY = "ready"


class Recovery(StrEnum):
    """What a cause asks for."""

    NONE = "none"
    BACKOFF = "backoff"
    REAUTHENTICATE = "reauthenticate"
    WAIT_FOR_SERVICE = "wait_for_service"


class Code(StrEnum):
    """The stable codes of causes."""

    CLOSED = "closed"
    GOING_AWAY = "going_away"
    TIMEOUT = "timeout"
    RESET = "reset"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    DNS = "dns"
    TLS = "tls"
    EOF = "eof"
    AUTH = "auth"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    PROTOCOL = "protocol"
    UNKNOWN = "unknown"


RECOVERY: dict[Code, Recovery] = {
    **dict.fromkeys(Code, Recovery.BACKOFF),
    Code.CLOSED: Recovery.NONE,
    Code.AUTH: Recovery.REAUTHENTICATE,
    Code.OVERLOADED: Recovery.WAIT_FOR_SERVICE,
}

LABELS: dict[str, dict[str, str]] = {
    "closed": {"en": "closed normally", "zh": "正常关闭"},
    "going_away": {"en": "server is shutting down", "zh": "服务器关闭"},
    "timeout": {"en": "network timeout", "zh": "网络超时"},
    "reset": {"en": "connection reset", "zh": "连接被重置"},
    "refused": {"en": "connection refused", "zh": "连接被拒绝"},
    "unreachable": {"en": "host unreachable", "zh": "主机不可达"},
    "dns": {"en": "name lookup failed", "zh": "域名解析失败"},
    "tls": {"en": "TLS failed", "zh": "TLS 握手失败"},
    "eof": {"en": "connection dropped", "zh": "网络异常断开"},
    "auth": {"en": "authentication refused", "zh": "认证失败"},
    "overloaded": {"en": "service overloaded", "zh": "服务过载"},
    "server_error": {"en": "server error", "zh": "服务端错误"},
    "protocol": {"en": "protocol error", "zh": "协议错误"},
    "unknown": {"en": "unknown error", "zh": "未知错误"},
    # Finer than a code: the same cause, told more exactly.
    "reset_by_peer": {"en": "connection reset by peer", "zh": "对端重置连接"},
    "abnormal_closure": {"en": "abnormal closure", "zh": "异常关闭"},
    "forced": {"en": "reconnect was requested", "zh": "主动重连"},
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a connection was lost or an attempt failed.

    Attributes:
        code: the stable code (``refused``, ``timeout``, …); compares equal to its text.
        phase: how far the connection had come.
        error: the original exception, if there was one.
        hint: when the peer wants to see us again, if it said so.
        detail: a finer label than the code's own (``reset_by_peer``), or ''.
    """

    code: Code
    phase: Phase = Phase.READY
    error: BaseException | None = field(default=None, compare=False, repr=False)
    hint: RetryHint | None = None
    detail: str = ""

    @property
    def recovery(self) -> Recovery:
        """What this cause asks for."""
        return RECOVERY[self.code]

    def label(self, language: str = "en") -> str:
        """Return what to show people, in English (``en``) or Chinese (``zh``, ``zh-CN``, …)."""
        labels = LABELS.get(self.detail) or LABELS[self.code]
        return labels["zh" if language.lower().startswith("zh") else "en"]

    def __str__(self) -> str:
        return self.code.value


Verdict: TypeAlias = "Cause | Code | str | None"
Rule: TypeAlias = "Callable[[BaseException, Phase], Verdict]"
"""``rule(error, phase)`` returns a cause, a code, or ``None`` for 'not mine'."""


def find_cause(error: BaseException, phase: Phase, rules: Iterable[Rule]) -> Cause | None:
    """Return the verdict of the first rule that knows ``error``, or ``None``: then it is not a loss."""
    for rule in rules:
        verdict = rule(error, phase)
        if verdict:  # not merely 'is not None': a rule may well be `isinstance(error, X) and "timeout"`
            return as_cause(verdict, error, phase)
    return None


def as_cause(verdict: Cause | Code | str, error: BaseException, phase: Phase) -> Cause:
    """Return a rule's verdict as a full cause; a code that does not exist is ``unknown``."""
    if isinstance(verdict, Cause):
        return verdict
    try:
        return Cause(Code(verdict), phase, error)
    except ValueError:
        return Cause(Code.UNKNOWN, phase, error)
