"""One request to the API, and what its failure means."""

from __future__ import annotations

import socket

import pytest

from tests.surfaces.client.conftest import Served
from tether.core.lifecycle import Status
from tether.errors import ConfigError
from tether.surfaces.client.ask import AskFailed, command, connections
from tether.surfaces.client.target import DEFAULT_URL, Target, target


def test_connections(served: Served) -> None:
    found = connections(Target(served.url))
    assert {name: c["status"] for name, c in found.items()} == {"cache": "connected", "orders": "connecting"}


def test_a_command(served: Served) -> None:
    assert command(Target(served.url), "cache", "pause")["paused"] is True
    assert command(Target(served.url), "cache", "resume")["paused"] is False
    assert served.supervisor.manager.status()["cache"].status is Status.CONNECTED


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cahce", "there is no connection 'cahce'; did you mean 'cache'?"),
        ("x y?z#1", "there is no connection 'x y?z#1'; there are: cache, orders"),
    ],
)
def test_a_name_that_is_not_there(served: Served, name: str, said: str) -> None:
    with pytest.raises(AskFailed) as failed:
        command(Target(served.url), name, "reconnect")
    assert (str(failed.value), failed.value.exit_code) == (said, 1)


def test_a_refusal_says_why(served: Served) -> None:
    command(Target(served.url), "cache", "pause")
    with pytest.raises(AskFailed, match="cache is paused; resume it first") as failed:
        command(Target(served.url), "cache", "reconnect")
    assert failed.value.exit_code == 1


@pytest.mark.parametrize(
    ("token", "verb", "said"),
    [
        ("", "", "send the read token"),
        ("wrong-token", "", "send the read token"),
        ("read-token-1", "pause", "this token may read, and not give commands"),
        ("", "pause", "set TETHER_TOKEN"),
    ],
)
def test_a_token_that_is_not_enough(guarded: Served, token: str, verb: str, said: str) -> None:
    with pytest.raises(AskFailed) as failed:
        command(Target(guarded.url, token), "cache", verb) if verb else connections(
            Target(guarded.url, token)
        )
    assert failed.value.exit_code == 77
    assert said in str(failed.value)
    assert "token-1" not in str(failed.value)
    assert not token or token not in str(failed.value)


def test_good_tokens(guarded: Served) -> None:
    assert connections(Target(guarded.url, "read-token-1"))
    assert command(Target(guarded.url, "operate-token-1"), "cache", "reconnect")


def test_nothing_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(
            AskFailed, match=f"nothing answers on {url} .*start it with 'tether run'"
        ) as failed:
            connections(Target(url))
    assert failed.value.exit_code == 69


def test_something_else_there(served: Served) -> None:
    with pytest.raises(AskFailed) as failed:
        connections(Target(f"{served.url}/elsewhere"))
    assert failed.value.exit_code in {1, 69}


class TestTarget:
    def test_a_slash_at_the_end_is_nothing(self) -> None:
        assert target("http://h:1/tether/", "").url == "http://h:1/tether"

    @pytest.mark.parametrize(
        "url",
        ["localhost:8321", "ftp://h", "http://", "http://h:99999", "http://h:x", "http://[", "http://h:0"],
    )
    def test_no_url(self, url: str) -> None:
        with pytest.raises(
            ConfigError, match="--url: this is no URL of an API; write it like " + DEFAULT_URL
        ):
            target(url, "")

    @pytest.mark.parametrize("url", ["http://me:hunter2@h", "http://h/?token=hunter2", "http://h/#hunter2"])
    def test_secrets_have_no_place_in_it(self, url: str) -> None:
        with pytest.raises(ConfigError, match="the token goes into TETHER_TOKEN") as refused:
            target(url, "")
        assert "hunter2" not in str(refused.value)

    @pytest.mark.parametrize("token", ["hunter2\r\nx: y", "hünter2"])
    def test_a_token_that_no_header_can_hold(self, token: str) -> None:
        with pytest.raises(ConfigError, match="printable ASCII") as refused:
            target(DEFAULT_URL, token)
        assert "nter2" not in str(refused.value)

    def test_its_repr_hides_the_token(self) -> None:
        assert "hunter2" not in repr(Target(DEFAULT_URL, "hunter2"))
