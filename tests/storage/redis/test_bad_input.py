"""Bad input gives one clear error that names what, where and the mend; nothing is started by it."""

import asyncio
import subprocess
import sys
from datetime import timedelta

import pytest
import redis
import redis.asyncio as aio

from tether import ConfigError, MissingDriver, TetherError, UsageError
from tether.backoff import exponential_backoff
from tether.storage import RedisReconnector

URL = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connect_timeout": "soon"}, ["connect_timeout", "'soon'", "500ms"]),
        ({"connect_timeout": 0}, ["connect_timeout", "longer than zero"]),
        ({"connect_timeout": None}, ["connect_timeout", "None"]),
        ({"health_check_interval": -1}, ["health_check_interval", "-1", "not negative"]),
        ({"health_check_timeout": float("nan")}, ["health_check_timeout", "nan"]),
        ({"health_check_timeout": timedelta(seconds=-2)}, ["health_check_timeout", "not negative"]),
        ({"stable_after": True}, ["stable_after", "True"]),
        ({"max_retries": -1}, ["max_retries", "-1", "at least 0", "None"]),
        ({"max_retries": 2.5}, ["max_retries", "2.5", "whole number"]),
        ({"failure_threshold": 0}, ["failure_threshold", "at least 1"]),
        ({"retry_interval": 5}, ["retry_interval", "5", "exponential_backoff"]),
        ({"retry_interval": lambda n: -1}, ["retry_interval", "-1"]),
        ({"retry_interval": lambda: 1}, ["retry_interval", "f(retry_count)"]),
        ({"credentials": "password"}, ["credentials", "cannot be called"]),
    ],
)
def test_a_value_that_cannot_work_names_itself_and_the_mend(options, words):
    with pytest.raises(ConfigError) as caught:
        RedisReconnector(None, URL, **options)
    assert [word for word in words if word not in str(caught.value)] == []
    if "credentials" in options:
        assert "read_password" in str(caught.value)


@pytest.mark.parametrize(
    ("client", "options", "words"),
    [
        (None, None, ["client", "redis://"]),
        (None, "http://localhost", ["options", "redis://"]),
        (None, "redis://:top-secret@localhost:notaport", ["options", "redis://"]),
        (None, 6379, ["options", "int", "URL"]),
        (None, {"hots": "localhost"}, ["options", "hots", "redis.asyncio.Redis"]),
        (redis.Redis(), None, ["blocking", "redis.asyncio"]),
        (aio.Redis(), URL, ["options", "not both"]),
        ("redis://localhost", None, ["client", "second argument", "RedisReconnector(None"]),
    ],
    ids=["nothing", "scheme", "port", "number", "typo", "blocking", "both", "swapped"],
)
def test_a_client_or_url_that_cannot_work(client, options, words):
    with pytest.raises(ConfigError) as caught:
        RedisReconnector(client, options)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "top-secret" not in str(caught.value)
    assert caught.value.__cause__ is None or "top-secret" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("hook", "callback", "words"),
    [
        ("on_connect", lambda error: None, ["on_connect", "callback()", "(error)"]),
        ("on_disconnect", lambda: None, ["on_disconnect", "callback(error)", "()"]),
        ("on_reconnect_failed", lambda error: None, ["on_reconnect_failed", "callback(error, retry_count)"]),
        ("on_give_up", "beep", ["on_give_up", "cannot be called"]),
    ],
)
def test_a_callback_that_will_not_do_is_refused_before_the_next_outage(hook, callback, words):
    reconnector = RedisReconnector(None, URL)
    with pytest.raises(ConfigError) as caught:
        getattr(reconnector, hook)(callback)
    assert [word for word in words if word not in str(caught.value)] == []


def test_bad_values_are_refused_while_running_and_change_nothing():
    reconnector = RedisReconnector(None, URL)
    with pytest.raises(ConfigError, match="max_retries"):
        reconnector.max_retries = -3
    with pytest.raises(ConfigError, match="retry_interval"):
        reconnector.retry_interval = "1s"
    assert reconnector.max_retries == 5
    assert 0.9 <= reconnector.retry_interval(0) <= 1.1


def test_a_missing_driver_names_the_extra_that_installs_it():
    program = """
import sys
sys.modules["redis"] = None
import tether.storage
try:
    tether.storage.RedisReconnector(None, "redis://localhost")
except ImportError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == (
        "MissingDriver the package 'redis' is not installed; install it with: pip install 'tether[redis]'"
    )
    assert issubclass(MissingDriver, ConfigError)


def test_starting_twice_and_using_it_from_another_loop():
    reconnector = RedisReconnector(None, URL, retry_interval=exponential_backoff(60))

    async def elsewhere():
        for use in (reconnector.stop, reconnector.reconnect, reconnector.wait_connected, reconnector.start):
            with pytest.raises(UsageError, match=r"event loop|started already"):
                await use()
        for use in (reconnector.pause, reconnector.resume, reconnector.network_changed):
            with pytest.raises(UsageError, match="belongs to the event loop"):
                use()

    async def main():
        await reconnector.start()
        with pytest.raises(UsageError, match="started already"):
            await reconnector.start()
        await asyncio.to_thread(asyncio.run, elsewhere())
        await reconnector.stop()

    asyncio.run(main())


def test_before_the_start_every_method_says_to_start():
    async def main():
        reconnector = RedisReconnector(None, URL)
        for use in (reconnector.reconnect, reconnector.wait_connected):
            with pytest.raises(UsageError, match=r"call start\(\)"):
                await use()
        with pytest.raises(TetherError, match=r"call start\(\)"):
            await reconnector.run(lambda c: c.ping())
        with pytest.raises(UsageError, match=r"call start\(\)"):
            reconnector.pause()
        await reconnector.stop()  # nothing to stop is no error

    asyncio.run(main())


@pytest.mark.parametrize(
    ("channels", "handler"), [((), print), (("",), print), ((7,), print), (("news",), None)]
)
def test_a_subscription_that_cannot_work(channels, handler):
    async def main():
        reconnector = RedisReconnector(None, URL)
        with pytest.raises(ConfigError, match=r"channels|handler"):
            await reconnector.subscribe(*channels, handler=handler)

    asyncio.run(main())
