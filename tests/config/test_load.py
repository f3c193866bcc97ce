"""What a good file means: values, variables, secrets, merges; and reconnectors made of it."""

import asyncio
import os

import pytest
from pydantic import SecretStr, ValidationError

from tests.config.broken import GOOD
from tests.config.support import load_text
from tether import ConfigError, MissingDriver, Reconnector
from tether.config import (
    ApiSettings,
    ConfigFileError,
    Problem,
    RedisSettings,
    Settings,
    load,
    make_reconnector,
)
from tether.core.redact import redact

FULL = """\
api:
  {host: "::1", port: 9000, read_token: "${READ:-}", operate_token: "${file:operate}", trusted_hosts: [a.example],
   base_path: /t}
connections:
  zebra:
    type: redis
    url: rediss://app:${PASSWORD}@db.example:6380/2
    health_check: false
    health_check_interval: 250ms
    health_check_timeout: 1
    failure_threshold: 3
    connect_timeout: 1m30s
    stable_after: 0
    max_retries: 7
    retry: {strategy: full_jitter, base: 0.5, maximum: null}
    required: true
    depends_on: [ant]
    options: {client_name: tether, socket_timeout: "2.5"}
  ant: {type: redis, url: "unix:///run/redis.sock?db=1"}
"""


@pytest.fixture
def full(tmp_path):
    (tmp_path / "operate").write_text("operate-token\r\n")
    return load_text(tmp_path, FULL, {"PASSWORD": "pa%73sword"})


def one(tmp_path, line, environ=None):
    """Return the one connection of a file with ``line`` in it."""
    return load_text(tmp_path, f"{GOOD}    {line}\n", environ).settings.connections["cache"]


class TestSettings:
    def test_everything_is_read(self, full):
        api, zebra = full.settings.api, full.settings.connections["zebra"]
        assert (api.host, api.port, api.base_path, api.trusted_hosts) == ("::1", 9000, "/t", ("a.example",))
        assert api.read_token is None
        assert api.operate_token == SecretStr("operate-token")
        assert zebra.url == "rediss://app:pa%73sword@db.example:6380/2"
        assert (zebra.health_check, zebra.required, zebra.depends_on) == (False, True, ("ant",))
        assert (zebra.health_check_interval, zebra.health_check_timeout) == (0.25, 1.0)
        assert (zebra.connect_timeout, zebra.stable_after) == (90.0, 0.0)
        assert (zebra.failure_threshold, zebra.max_retries) == (3, 7)
        assert zebra.retry.model_dump() == {
            "strategy": "full_jitter",
            "base": "500ms",
            "factor": 2.0,
            "maximum": None,
        }

    def test_connections_keep_their_order(self, full):
        assert list(full.settings.connections) == ["zebra", "ant"]

    def test_the_defaults(self, tmp_path):
        settings = load_text(tmp_path, GOOD).settings
        cache = settings.connections["cache"]
        assert settings.api == ApiSettings(
            host="127.0.0.1", port=8321, read_token=None, operate_token=None, trusted_hosts=(), base_path=""
        )
        assert (cache.health_check, cache.health_check_interval, cache.health_check_timeout) == (True, 5, 2)
        assert (cache.failure_threshold, cache.connect_timeout, cache.stable_after) == (1, 10, 10)
        assert (cache.max_retries, cache.required, cache.depends_on, cache.options) == (None, False, (), {})
        assert cache.retry.model_dump() == {
            "strategy": "exponential", "base": "1s", "factor": 2.0, "maximum": "1m", "jitter": 0.1
        }  # fmt: skip

    def test_they_are_frozen(self, full):
        with pytest.raises(ValidationError):
            full.settings.api.port = 1

    def test_no_repr_shows_a_secret(self, full):
        shown = repr(full) + repr(full.settings) + str(full.settings.connections)
        assert not any(secret in shown for secret in full.secrets)

    def test_equal_files_are_equal(self, tmp_path):
        assert (
            load_text(tmp_path, GOOD).settings == load_text(tmp_path, GOOD + "    required: false\n").settings
        )

    def test_settings_can_be_made_in_code(self):
        made = Settings(
            connections={"a": RedisSettings(url="redis://h", depends_on=["b"])}, api=ApiSettings(port=1)
        )
        assert made.connections["a"].depends_on == ("b",)
        with pytest.raises(ValidationError) as caught:
            ApiSettings(read_token="hunter2")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        ("strategy", "delays"),
        [
            ("{strategy: linear, base: 2}", (2, 4, 6)),
            ("{strategy: fixed, base: 3s}", (3, 3, 3)),
            ("{strategy: jittered, base: 1s, max_jitter: 0}", (1, 2, 4)),
            ("{base: 1s, factor: 3, maximum: 5s, jitter: 0}", (1, 3, 5)),
        ],
    )
    def test_each_strategy_is_the_backoff_of_its_name(self, tmp_path, strategy, delays):
        backoff = one(tmp_path, f"retry: {strategy}").retry.backoff()
        assert tuple(backoff(count) for count in range(3)) == delays

    @pytest.mark.parametrize(
        ("strategy", "low", "high"),
        [
            ("{strategy: full_jitter, base: 4s, maximum: 5s}", 0, 5),
            ("{strategy: decorrelated, base: 4s, maximum: 5s}", 4, 5),
            ("{strategy: grpc}", 1, 3.1),
            ("{jitter: 0.5}", 1, 3),
        ],
    )
    def test_those_with_chance_stay_in_their_bounds(self, tmp_path, strategy, low, high):
        backoff = one(tmp_path, f"retry: {strategy}").retry.backoff()
        delays = [backoff(1) for _ in range(50)]
        assert low <= min(delays) < max(delays) <= high

    def test_yaml_1_2_is_what_is_read(self, tmp_path):
        options = one(
            tmp_path, "options: {username: yes, client_name: 010, db: 0x10, socket_timeout: 1e1}"
        ).options
        assert options == {"username": "yes", "client_name": 10, "db": 16, "socket_timeout": 10.0}

    def test_a_byte_order_mark_is_no_harm(self, tmp_path):
        assert load_text(tmp_path, "\ufeff" + GOOD).settings.connections.keys() == {"cache"}


class TestText:
    """What a variable brings is text; a key that wants something else reads it from that."""

    @pytest.mark.parametrize(
        ("line", "text", "read"),
        [
            ("max_retries: ${X}", "3", 3),
            ("max_retries: ${X}", "null", None),
            ("max_retries: ${X}", "", None),
            ("required: ${X}", "true", True),
            ("required: ${X}", "False", False),
            ("connect_timeout: ${X}", "1m", 60.0),
            ("connect_timeout: ${X}", "1.5", 1.5),
            ("connect_timeout: ${X}s", "5", 5.0),
            ("failure_threshold: '4'", "", 4),
            ("failure_threshold: 4.0", "", 4),
        ],
    )
    def test_it_becomes_what_its_key_wants(self, tmp_path, line, text, read):
        found = getattr(one(tmp_path, line, {"X": text}), line.partition(":")[0])
        assert (found, type(found)) == (read, type(read))

    def test_none_for_a_maximum(self, tmp_path):
        assert one(tmp_path, "retry: {maximum: '${X}'}", {"X": "null"}).retry.maximum is None

    def test_options_keep_it(self, tmp_path):
        assert one(tmp_path, "options: {password: '${X}'}", {"X": "0123"}).options == {"password": "0123"}


class TestVariables:
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("${A}", "a"),
            ("x${A}y${A}", "xaya"),
            ("${UNSET:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY}", ""),
            ("${A:-d}", "a"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${UNSET:-$$}", "$"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$$$", "$$"),
            ("$", "$"),
            ("$A", "$A"),
            ("a$", "a$"),
            ("${file:secret}", "s3cret\n"),
            ("${file:deep/secret}", "deep"),
        ],
    )
    def test_what_is_substituted(self, tmp_path, written, read):
        (tmp_path / "deep").mkdir()
        (tmp_path / "secret").write_text("s3cret\n\n")
        (tmp_path / "deep" / "secret").write_text("deep")
        options = one(tmp_path, f"options: {{client_name: '{written}'}}", {"A": "a", "EMPTY": ""}).options
        assert options == {"client_name": read}

    def test_an_absolute_path(self, tmp_path):
        (tmp_path / "secret").write_text("s3cret")
        line = f"options: {{password: '${{file:{tmp_path}/secret}}'}}"
        assert one(tmp_path, line).options == {"password": "s3cret"}

    def test_what_is_substituted_is_not_read_again(self, tmp_path):
        assert one(tmp_path, "options: {password: '${A}'}", {"A": "${A}$$"}).options == {"password": "${A}$$"}

    def test_it_cannot_bring_structure(self, tmp_path):
        with pytest.raises(ConfigFileError) as caught:
            one(tmp_path, "${A}", {"A": "required: true"})
        assert len(caught.value.problems) == 1

    def test_in_keys(self, tmp_path):
        loaded = load_text(tmp_path, "connections:\n  ${N}-1: {type: redis, url: redis://h}\n", {"N": "web"})
        assert list(loaded.settings.connections) == ["web-1"]

    def test_keys_that_become_the_same_are_told(self, tmp_path):
        with pytest.raises(ConfigFileError, match="on line 2"):
            load_text(tmp_path, GOOD + "  ${N}: {type: redis, url: redis://h}\n", {"N": "cache"})

    def test_a_variable_that_is_not_text(self, tmp_path):
        with pytest.raises(ConfigFileError, match="A is not UTF-8"):
            one(tmp_path, "options: {password: '${A}'}", {"A": os.fsdecode(b"\xff")})

    def test_a_path_that_is_none(self, tmp_path):
        with pytest.raises(ConfigFileError, match=r"the file a\\x00b: this is no path"):
            one(tmp_path, 'options: {password: "${file:a\\0b}"}')

    def test_much_text_is_refused_before_it_takes_the_memory(self, tmp_path):
        (tmp_path / "large").write_text("x" * 65_536)
        with pytest.raises(ConfigFileError, match="more than 1 MiB"):
            one(tmp_path, "options: {password: '" + "${file:large}" * 2000 + "'}")

    def test_without_the_environment_nothing_is_looked_up(self, tmp_path):
        loaded = load_text(
            tmp_path, GOOD + "    options: {password: '${A}${file:b}'}\n", {"A": "x"}, use_environment=False
        )
        assert loaded.settings.connections["cache"].options == {}
        assert loaded.unjudged == {("connections", "cache", "options", "password")}


class TestAliases:
    def test_an_anchor_is_used_again(self, tmp_path):
        text = "connections:\n  a: &a {type: redis, url: redis://h, required: true}\n  b: *a\n"
        assert load_text(tmp_path, text).settings.connections["b"].required is True

    def test_a_merge_takes_in_what_is_not_there(self, tmp_path):
        text = (
            "connections:\n  a: &a {type: redis, url: redis://h, required: true, stable_after: 1}\n"
            "  b: &b {<<: *a, url: redis://b}\n  c: {<<: [*b, *a], required: false}\n"
        )
        c = load_text(tmp_path, text).settings.connections["c"]
        assert (c.url, c.required, c.stable_after) == ("redis://b", False, 1.0)

    def test_a_mistake_behind_two_aliases_is_told_once(self, tmp_path):
        text = (
            "connections:\n  a: {type: redis, url: redis://h, retry: &r {jitter: 7}}\n"
            "  b: {type: redis, url: redis://h, retry: *r}\n  c: {type: redis, url: redis://h, retry: *r}\n"
        )
        with pytest.raises(ConfigFileError) as caught:
            load_text(tmp_path, text)
        assert [problem.key for problem in caught.value.problems] == ["connections.a.retry.jitter"]


class TestErrors:
    def test_they_are_errors_of_the_configuration(self, tmp_path):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "none.yaml", {})
        assert isinstance(caught.value, ConfigFileError)
        assert caught.value.problems == (
            Problem(str(tmp_path / "none.yaml"), "there is no such file; check the path"),
        )

    def test_a_problem_says_where(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "tether.yaml").write_text("api:\n  prot: 1\n")
        with pytest.raises(ConfigFileError) as caught:
            load("tether.yaml", {})
        (problem,) = caught.value.problems
        assert (problem.file, problem.key) == ("tether.yaml", "api.prot")
        assert (problem.mark.line, problem.mark.column) == (2, 3)
        assert (
            str(problem) == str(caught.value) == "tether.yaml:2:3: api.prot: unknown key; did you mean port?"
        )

    def test_a_key_cannot_break_the_line(self, tmp_path):
        with pytest.raises(ConfigFileError) as caught:
            load_text(tmp_path, '"a\\nb\\e[31m": 1\n')
        assert ": a…: unknown key" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_one_mistake_does_not_hide_the_others_of_its_stage(self, tmp_path):
        with pytest.raises(ConfigFileError) as caught:
            load_text(
                tmp_path, "api: {port: x, host: '${NO}', hst: 1}\nconnections: {a: {type: redis}, a: 1}\n"
            )
        assert [problem.key for problem in caught.value.problems] == [
            "api.port", "api.host", "api.hst", "connections.a.url", "connections.a",
        ]  # fmt: skip


class TestSecrets:
    def test_all_are_listed(self, full):
        assert set(full.secrets) == {"operate-token", "pa%73sword", "password"}

    def test_those_of_options_and_queries(self, tmp_path):
        text = (
            "connections:\n  a:\n    type: redis\n    url: redis://h?password=in%2Dquery\n"
            "    options: {ssl_password: in-options, password: 12345}\n"
        )
        with pytest.raises(ConfigFileError):  # without TLS there is no ssl_password
            load_text(tmp_path, text)
        loaded = load_text(tmp_path, text.replace("redis://", "rediss://"))
        assert set(loaded.secrets) == {"in%2Dquery", "in-query", "in-options", "12345"}

    def test_a_log_line_is_clean(self, full):
        assert redact("AUTH app password and operate-token", full.secrets) == "AUTH app *** and ***"


class TestReconnectors:
    def test_one_is_made_without_a_loop(self, full):
        zebra = make_reconnector("zebra", full.settings.connections["zebra"])
        assert isinstance(zebra, Reconnector)
        assert (zebra.name, str(zebra.status)) == ("zebra", "disconnected")

    def test_the_url_and_the_options_reach_the_driver(self, full):
        pool = make_reconnector("zebra", full.settings.connections["zebra"])._redis.client.connection_pool
        kwargs = pool.connection_kwargs
        assert (kwargs["host"], kwargs["port"], kwargs["db"]) == ("db.example", 6380, 2)
        assert (kwargs["username"], kwargs["password"]) == ("app", "password")
        assert (kwargs["client_name"], kwargs["socket_timeout"]) == ("tether", 2.5)
        assert kwargs["retry"].get_retries() == 0

    def test_the_settings_reach_the_engine(self, full):
        engine = make_reconnector("zebra", full.settings.connections["zebra"])._engine
        watch, plan = engine.watch, engine.plan
        assert (watch.health_check, watch.interval, watch.timeout) == (False, 0.25, 1.0)
        assert (watch.connect_timeout, watch.failure_threshold) == (90.0, 3)
        assert (plan.max_retries, plan.stable_after) == (7, 0.0)
        assert type(plan.interval).__name__ == "FullJitter"

    def test_subscribers_are_told(self, tmp_path):
        events = []
        made = make_reconnector("x", one(tmp_path, "connect_timeout: 1s"), subscribers=[events.append])

        async def life():
            await made.start()
            await made.stop()

        asyncio.run(life())
        assert events

    def test_what_the_driver_refuses_is_told_without_its_words(self):
        settings = RedisSettings(url="redis://h", options={"hunter2": "hunter2"})
        with pytest.raises(ConfigError) as caught:
            make_reconnector("x", settings)
        assert "hunter2" not in str(caught.value)

    def test_a_missing_driver_is_no_defect_of_the_file(self, tmp_path, monkeypatch):
        def missing():
            raise MissingDriver("redis", "redis")

        monkeypatch.setattr("tether.config.drivers.import_redis", missing)
        loaded = load_text(tmp_path, GOOD)
        with pytest.raises(MissingDriver, match=r"tether\[redis\]"):
            make_reconnector("cache", loaded.settings.connections["cache"])
