"""No secret survives in what is shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.core.world import deterministic
from tether.core.redact import MASK, describe, redact

SECRET = "hunter22"

MASKED = [
    # passwords in URLs
    ("redis://user:hunter22@host:6379/0", "redis://user:***@host:6379/0"),
    ("redis://:hunter22@host", "redis://:***@host"),
    ("REDISS://user:hunter22@host", "REDISS://user:***@host"),
    ("redis+sentinel://user:hunter22@host", "redis+sentinel://user:***@host"),
    ("redis://user:p@ss:hunter22@host/0", "redis://user:***@host/0"),
    ("redis://user:@hunter22@host/0", "redis://user:***@host/0"),
    ("redis://user:hun%2Fter22@host", "redis://user:***@host"),
    ("redis://user:hunter22@[::1]:6379", "redis://user:***@[::1]:6379"),
    ("no route to mysql://app:hunter22@db/orders?x=1, sorry", "no route to mysql://app:***@db/orders?x=1, sorry"),
    ("redis://a:hunter22@x redis://b:hunter22@y", "redis://a:***@x redis://b:***@y"),
    ("mysql://user@server:hunter22@db.azure.com/db", "mysql://user@server:***@db.azure.com/db"),
    ("redis://user:hun/hunter22@host", "redis://user:***@host"),  # not encoded as it should be:
    ("redis://user:hun#hunter22@host", "redis://user:***@host"),  # that is when URLs end up in errors
    ("redis://user:hun?hunter22@host", "redis://user:***@host"),
    ("nats://hunter22@host:4222", "nats://***@host:4222"),  # NATS's form of a token
    ("app:hunter22@tcp(db:3306)/orders", "app:***@tcp(db:3306)/orders"),  # Go's form of a DSN
    ("app:hun:ter/22@unix(/tmp/s)/orders", "app:***@unix(/tmp/s)/orders"),
    ("dsn='app:hunter22@tcp(db:3306)/orders' is bad", "dsn='app:***@tcp(db:3306)/orders' is bad"),
    ("a:hunter22@tcp(x) and b:hunter22@tcp(y)", "a:***@tcp(x) and b:***@tcp(y)"),
    ("redis://h1:6379/0,redis://a:hunter22@h2:6379/0", "redis://h1:6379/0,redis://a:***@h2:6379/0"),
    ("http://a:hunter22@es1:9200,http://es2:9200", "http://a:***@es1:9200,http://es2:9200"),
    ("http://host/login?next=redis://a:hunter22@h2", "http://host/login?next=redis://a:***@h2"),
    # tokens in queries
    ("wss://host/ws?token=hunter22", "wss://host/ws?token=***"),
    ("wss://host/ws?a=1&token=hunter22&b=2", "wss://host/ws?a=1&token=***&b=2"),
    ("https://host/?access_token=hunter22", "https://host/?access_token=***"),
    ("https://host/?api_key=hunter22&apikey=hunter22", "https://host/?api_key=***&apikey=***"),
    ("https://host/?TOKEN=hunter22", "https://host/?TOKEN=***"),
    ("wss://host/ws?token=a,hunter22", "wss://host/ws?token=***"),
    ("wss://host/ws?refresh_token=hunter22&a=1", "wss://host/ws?refresh_token=***&a=1"),
    ("wss://host/ws?accessToken=hunter22", "wss://host/ws?accessToken=***"),
    # JSON, Python and configuration
    ('{"accessToken": "hunter22"}', '{"accessToken": "***"}'),
    ('{"clientSecret": "hunter22"}', '{"clientSecret": "***"}'),
    (r'{"password": "a\"hunter22"}', '{"password": "***"}'),
    (r"""{'password': 'a\'b"hunter22'}""", "{'password': '***'}"),
    ("connect(host=db, password=a,hunter22, db=1)", "connect(host=db, password=***, db=1)"),
    ("DB_PASSWORD=hunter22", "DB_PASSWORD=***"),
    ("client_secret=hunter22", "client_secret=***"),
    ("password='my hunter22'", "password='***'"),
    ('"password": "a,hunter22"', '"password": "***"'),
    ("{'password': b'hunter22'}", "{'password': '***'}"),
    ('{"password": "hunter22", "user": "app"}', '{"password": "***", "user": "app"}'),
    ("{'passwd': 'hunter22'}", "{'passwd': '***'}"),
    ("password=hunter22", "password=***"),
    ("password = hunter22", "password = ***"),
    ("pwd: hunter22", "pwd: ***"),
    ("secret=hunter22; path=/", "secret=***; path=/"),
    ("sasl.password=hunter22", "sasl.password=***"),
    ("connect(host='db', password='hunter22')", "connect(host='db', password='***')"),
    ("passphrase: hunter22", "passphrase: ***"),
    # headers
    ("Authorization: Bearer hunter22", "Authorization: Bearer ***"),
    ("authorization: basic hunter22", "authorization: basic ***"),
    ("{'Authorization': 'Bearer hunter22'}", "{'Authorization': 'Bearer ***'}"),
    ("Proxy-Authorization: Basic hunter22", "Proxy-Authorization: Basic ***"),
    ("X-Auth-Token: hunter22", "X-Auth-Token: ***"),
    ("X-Api-Key: hunter22", "X-Api-Key: ***"),
    ("Authorization: ApiKey hunter22", "Authorization: ApiKey ***"),  # Elasticsearch
    ("Authorization: Token hunter22", "Authorization: Token ***"),
    ("('Authorization', 'Bearer hunter22')", "('Authorization', 'Bearer ***')"),
    ("auth=hunter22", "auth=***"),
]  # fmt: skip

LEAKS = [
    '{"dbPassword": "hunter22"}',
    "userPassword=hunter22",
    '{"botToken": "hunter22"}',
]

INNOCENT = [
    "",
    "Connection refused",
    "connect to redis://host:6379/0",
    "redis://user@host:6379/0",
    "[Errno 111] Connect call failed ('127.0.0.1', 6379)",
    "author: someone",
    "tokens: three of them",
    "mail me@example.org: hello",
    "http://host:8080/path@version",
    "no password was given",
]


class TestPatterns:
    @pytest.mark.parametrize(("text", "shown"), MASKED, ids=[text for text, _ in MASKED])
    def test_what_looks_like_a_secret_is_masked_and_the_rest_stays(self, text: str, shown: str) -> None:
        assert redact(text) == shown

    @pytest.mark.parametrize("text", LEAKS)
    def test_rarer_forms_are_masked_too(self, text: str) -> None:
        assert SECRET not in redact(text)

    @pytest.mark.parametrize("text", INNOCENT)
    def test_what_holds_no_secret_stays_as_it_is(self, text: str) -> None:
        assert redact(text) == text

    @pytest.mark.parametrize("text", [text for text, _ in MASKED])
    def test_masking_twice_is_as_once(self, text: str) -> None:
        assert redact(redact(text)) == redact(text)

    @deterministic
    @given(
        password=st.text("abcXYZ019:@!$%&'()*+,;=._~-|<>^`{}\"\\", min_size=4),
        user=st.text("abc019._~-", max_size=6),
    )
    def test_no_password_in_a_url_survives(self, password: str, user: str) -> None:
        shown = redact(f"connecting to redis://{user}:{password}@host:6379/0 failed")
        assert shown == f"connecting to redis://{user}:***@host:6379/0 failed"

    @deterministic
    @given(value=st.text(min_size=1).filter(lambda value: value.strip()))
    def test_no_value_in_json_survives_whatever_it_is(self, value: str) -> None:
        assert redact(json.dumps({"password": value, "a": 1})) == '{"password": "***", "a": 1}'

    @deterministic
    @given(
        name=st.sampled_from(["password", "token", "secret", "api_key", "Authorization", "PASSWORD"]),
        form=st.sampled_from(
            ["{}={}", "{}: {}", "{}:{}", "'{}': '{}'", '"{}": "{}"', "?{}={}&b=1", "{}: Bearer {}"]
        ),
        value=st.text("abcXYZ019:@!$%+=._~-|<>^/?#", min_size=4),
    )
    def test_no_value_of_a_secret_field_survives(self, name: str, form: str, value: str) -> None:
        text = form.format(name, value)
        assert redact(text) == form.format(name, MASK)


class TestLiterals:
    @deterministic
    @given(
        secrets=st.lists(
            st.text(min_size=4, max_size=12).filter(lambda s: "*" not in s), min_size=1, max_size=3
        ),
        between=st.lists(st.text(max_size=8), min_size=4, max_size=4),
    )
    def test_a_secret_that_is_known_never_survives(self, secrets: list[str], between: list[str]) -> None:
        assume(not any(one != other and one in other for one in secrets for other in secrets))
        text = between[0] + "".join(secret + rest for secret, rest in zip(secrets, between[1:], strict=False))
        shown = redact(text, secrets)
        assert all(secret not in shown for secret in secrets)

    def test_one_secret_that_begins_another_leaves_nothing_of_it(self) -> None:
        assert redact("hunter22 and hunter", ["hunter", "hunter22"]) == "*** and ***"

    def test_it_is_masked_wherever_it_stands(self) -> None:
        assert redact("xhunter22x, hunter22hunter22", [SECRET]) == "x***x, ******"

    def test_one_that_is_part_of_every_word_is_left_to_the_patterns(self) -> None:
        assert redact("a banana, password=abc", ["a", "an", "ana"]) == "a banana, password=***"

    def test_four_characters_are_enough(self) -> None:
        assert redact("it is abcd", ["abcd"]) == "it is ***"

    def test_without_secrets_and_patterns_the_text_is_the_same(self) -> None:
        text = "nothing here"
        assert redact(text, ()) is text or redact(text, ()) == text

    def test_secrets_may_come_from_any_iterable(self) -> None:
        def known() -> Iterable[str]:
            yield SECRET

        assert redact("hunter22", known()) == MASK


class Mute(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class TestDescribe:
    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (None, ""),
            (ValueError("too late"), "ValueError: too late"),
            (ConnectionResetError(104, "reset"), "ConnectionResetError: [Errno 104] reset"),
            (TimeoutError(), "TimeoutError"),
            (ValueError("one\n  two\r\n\tthree "), "ValueError: one two three"),
            (Mute(), "Mute"),
            (KeyboardInterrupt("now"), "KeyboardInterrupt: now"),
            (ValueError("redis://:hunter22@host"), "ValueError: redis://:***@host"),
        ],
        ids=repr,
    )
    def test_it_is_one_line_with_type_and_message(self, error: BaseException | None, line: str) -> None:
        assert describe(error) == line

    def test_it_holds_no_secret_that_is_known(self) -> None:
        assert describe(ValueError("AUTH app hunter22"), [SECRET]) == "ValueError: AUTH app ***"

    @pytest.mark.parametrize("secret", ["hunter22\n", "hun  ter22", "\thunter22"], ids=repr)
    def test_a_secret_with_white_space_does_not_survive_the_squeezing(self, secret: str) -> None:
        assert "ter22" not in describe(ValueError(f"AUTH {secret} refused"), [secret])

    @deterministic
    @given(st.text(), st.text())
    def test_whatever_the_text_it_is_one_line(self, before: str, after: str) -> None:
        assert len(describe(ValueError(before + "\n" + after)).splitlines()) == 1


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "password",
        "x://u:",
        "x://u:p@",
        "token= ",
        "token=\n",
        "auth:bearer ",
        "password='",
        "://a:",
        "@tcp(",
        ":@tcp(",
        "?a_",
        "?token=",
        " ",
        "@",
    ],
)
def test_a_long_message_costs_time_in_proportion_to_its_length(unit: str) -> None:
    def cost(length: int) -> float:
        began = time.process_time()
        redact(unit * (length // len(unit)))
        return time.process_time() - began

    assert cost(16_000) < 10 * max(cost(4_000), 0.001)
