"""Causes: their codes, what they ask for, what they are called, and in which order rules are asked."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from tether.core.cause import (
    LABELS,
    RECOVERY,
    Cause,
    Code,
    Phase,
    Recovery,
    Rule,
    Verdict,
    as_cause,
    find_cause,
)
from tether.core.hint import RetryHint

# The table of section 1.
RECOVERIES = {
    "closed": "none",
    "going_away": "backoff",
    "timeout": "backoff",
    "reset": "backoff",
    "refused": "backoff",
    "unreachable": "backoff",
    "dns": "backoff",
    "tls": "backoff",
    "eof": "backoff",
    "auth": "reauthenticate",
    "overloaded": "wait_for_service",
    "server_error": "backoff",
    "protocol": "backoff",
    "unknown": "backoff",
}

# The labels that section 1 names, in its order.
CHINESE = {
    "正常关闭": Cause(Code.CLOSED),
    "服务器关闭": Cause(Code.GOING_AWAY),
    "网络超时": Cause(Code.TIMEOUT),
    "异常关闭": Cause(Code.RESET, detail="abnormal_closure"),
    "连接被重置": Cause(Code.RESET),
    "对端重置连接": Cause(Code.RESET, detail="reset_by_peer"),
    "网络异常断开": Cause(Code.EOF),
    "认证失败": Cause(Code.AUTH),
    "服务端错误": Cause(Code.SERVER_ERROR),
    "未知错误": Cause(Code.UNKNOWN),
}


class TestCode:
    def test_the_codes_and_what_they_ask_for_are_those_of_the_specification(self) -> None:
        assert {str(code): str(Cause(code).recovery) for code in Code} == RECOVERIES
        assert {str(code): str(recovery) for code, recovery in RECOVERY.items()} == RECOVERIES

    def test_every_way_to_recover_is_asked_for_by_some_cause(self) -> None:
        assert set(RECOVERY.values()) == set(Recovery)

    def test_the_phases_are_those_of_the_specification(self) -> None:
        assert [str(phase) for phase in Phase] == ["dns", "tcp", "tls", "auth", "restore", "ready"]

    def test_a_code_is_its_text(self) -> None:
        assert Cause(Code.REFUSED).code == "refused"
        assert f"{Cause(Code.REFUSED)}" == "refused"


class TestLabel:
    @pytest.mark.parametrize(("label", "cause"), CHINESE.items(), ids=list(CHINESE))
    def test_the_chinese_labels_are_those_of_the_specification(self, label: str, cause: Cause) -> None:
        assert cause.label("zh") == label

    @pytest.mark.parametrize("code", Code, ids=str)
    def test_every_code_has_a_label_in_both_languages(self, code: Code) -> None:
        english, chinese = Cause(code).label(), Cause(code).label("zh")
        assert english.isascii()
        assert english.strip()
        assert any("\u4e00" <= character <= "\u9fff" for character in chinese)

    def test_no_two_labels_are_the_same(self) -> None:
        for language in ("en", "zh"):
            labels = [by_language[language] for by_language in LABELS.values()]
            assert len(set(labels)) == len(labels)

    @pytest.mark.parametrize(
        ("language", "label"),
        [
            ("en", "authentication refused"),
            ("zh", "认证失败"),
            ("zh-CN", "认证失败"),
            ("zh_TW", "认证失败"),
            ("ZH", "认证失败"),
            ("de", "authentication refused"),
            ("", "authentication refused"),
        ],
    )
    def test_every_chinese_is_chinese_and_the_rest_is_english(self, language: str, label: str) -> None:
        assert Cause(Code.AUTH).label(language) == label

    def test_a_detail_without_a_label_is_called_by_its_code(self) -> None:
        assert Cause(Code.RESET, detail="no such detail").label() == "connection reset"

    def test_a_forced_reconnect_is_called_that(self) -> None:
        assert Cause(Code.CLOSED, detail="forced").label() == "reconnect was requested"


class TestCause:
    def test_two_of_the_same_kind_are_equal_whatever_their_exceptions(self) -> None:
        one, other = Cause(Code.EOF, error=EOFError("a")), Cause(Code.EOF, error=EOFError("b"))
        assert one == other
        assert hash(one) == hash(other)
        assert one != Cause(Code.EOF, Phase.AUTH)
        assert one != Cause(Code.EOF, hint=RetryHint(1.0))

    def test_it_does_not_show_its_exception(self) -> None:
        assert "hunter22" not in repr(Cause(Code.AUTH, error=ValueError("hunter22")))

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            Cause(Code.EOF).code = Code.AUTH  # type: ignore[misc]


ERROR = ConnectionError("gone")


def never(error: BaseException, phase: Phase) -> Verdict:
    return None


def always(verdict: Verdict) -> Rule:
    return lambda error, phase: verdict


class TestFindCause:
    def test_the_first_rule_that_knows_the_error_decides_and_no_other_is_asked(self) -> None:
        asked: list[str] = []

        def rule(name: str, verdict: Verdict) -> Rule:
            def ask(error: BaseException, phase: Phase) -> Verdict:
                assert error is ERROR
                assert phase is Phase.TLS
                asked.append(name)
                return verdict

            return ask

        rules = [rule("a", None), rule("b", Code.TLS), rule("c", Code.EOF)]
        assert find_cause(ERROR, Phase.TLS, rules) == Cause(Code.TLS, Phase.TLS)
        assert asked == ["a", "b"]

    @pytest.mark.parametrize("rules", [[], [never], [never, never]], ids=len)
    def test_what_no_rule_knows_is_no_loss(self, rules: list[Rule]) -> None:
        assert find_cause(ERROR, Phase.READY, rules) is None

    @pytest.mark.parametrize("verdict", [Code.AUTH, "auth"])
    def test_a_code_becomes_a_cause_with_the_phase_and_the_error(self, verdict: Verdict) -> None:
        cause = find_cause(ERROR, Phase.AUTH, [always(verdict)])
        assert cause == Cause(Code.AUTH, Phase.AUTH)
        assert cause is not None
        assert cause.error is ERROR

    def test_a_cause_is_taken_as_it_is(self) -> None:
        verdict = Cause(Code.OVERLOADED, Phase.DNS, hint=RetryHint(7.0))
        assert find_cause(ERROR, Phase.READY, [always(verdict)]) is verdict

    @pytest.mark.parametrize("verdict", ["no_such_code", "AUTH", True, 7, object()], ids=repr)
    def test_a_code_that_does_not_exist_is_unknown(self, verdict: Any) -> None:
        cause = find_cause(ERROR, Phase.READY, [always(verdict)])
        assert cause == Cause(Code.UNKNOWN, Phase.READY)
        assert as_cause(verdict, ERROR, Phase.READY) == cause

    @pytest.mark.parametrize("verdict", [False, ""], ids=repr)
    def test_a_rule_that_answers_no_is_not_the_one(self, verdict: Any) -> None:
        assert find_cause(KeyError("k"), Phase.READY, [always(verdict)]) is None
