"""The doors: what is imported from where, and with which parameters and defaults."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tether
from tether import ReconnectManager, Reconnector, errors
from tether.backoff import exponential_backoff
from tether.storage import RedisReconnector

ROOT = Path(__file__).resolve().parents[1]

# Section 9 of the specification, and the reason for every name beyond it.
SPECIFIED = {
    "tether": {
        "Status", "Cause", "Recovery", "RetryHint", "ReconnectEvent", "Reconnector", "ReconnectManager", "TetherError",
        "NotConnected", "IndeterminateError", "ConfigError", "__version__",
    },
    "tether.backoff": {
        "exponential_backoff", "linear_backoff", "fixed_interval", "jittered_backoff", "full_jitter",
        "decorrelated_jitter", "grpc_backoff",
    },
    "tether.storage": {"MySQLReconnector", "DatabaseReconnector", "RedisReconnector", "ElasticsearchReconnector"},
    "tether.testing": {"FaultProxy", "VirtualTimeLoop", "ScriptedConnector", "check_connector", "check_event_bus"},
}  # fmt: skip
NOT_YET = {
    "tether.storage": {"MySQLReconnector", "DatabaseReconnector", "ElasticsearchReconnector"},
    "tether.testing": {"check_event_bus"},
}
BEYOND = {
    "tether": {"IllegalTransition", "MissingDriver", "NoVerdict", "UsageError"},  # 'and its children'
    "tether.backoff": {"Backoff"},  # the type that users' own backoffs have
    "tether.testing": {
        # the script of a ScriptedConnector, and what it opens
        "Accept", "Hang", "ScriptedConnection",
        # what VirtualTimeLoop and check_connector are used with
        "Deadlock", "run_virtual", "RecordingAttempt",
        # what a FaultProxy does to connections, and a true blackhole
        "Bandwidth", "Latency", "LimitData", "Placed", "ResetPeer", "Slicer", "SlowClose", "Timeout", "Toxic",
        "ToxicError", "handshake_cuts", "Blackhole", "BlackholeUnavailable",
        # servers that can be killed, frozen and made to misbehave
        "BacklogServer", "FlappingServer", "MuteServer", "PortTaken", "RedisServer", "ServerFailed", "ServerMissing",
        "ServerProcess", "find_redis", "free_port", "port_is_free", "refused_port",
    },
}  # fmt: skip


@pytest.fixture(params=SPECIFIED)
def door(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


class TestDoors:
    def test_a_door_exports_exactly_the_documented_names(self, door: ModuleType) -> None:
        name = door.__name__
        assert set(door.__all__) == SPECIFIED[name] - NOT_YET.get(name, set()) | BEYOND.get(name, set())

    def test_what_is_not_there_yet_is_not_there(self, door: ModuleType) -> None:
        there = {name for name in NOT_YET.get(door.__name__, set()) if hasattr(door, name)}
        assert not there, "take them out of NOT_YET"

    def test_its_list_is_sorted_and_without_repeats(self, door: ModuleType) -> None:
        assert list(door.__all__) == sorted(set(door.__all__))

    def test_its_list_is_true(self, door: ModuleType) -> None:
        for name in door.__all__:
            assert getattr(door, name) is not None

    def test_it_has_no_public_name_beside_its_list(self, door: ModuleType) -> None:
        is_package = Path(door.__file__ or "").name == "__init__.py"
        public = {
            name
            for name, value in vars(door).items()
            if not name.startswith("_")
            and not isinstance(value, ModuleType)
            and (is_package or getattr(value, "__module__", "") == door.__name__)
        }
        assert public - set(door.__all__) <= {"annotations"}

    def test_a_star_brings_exactly_its_list(self, door: ModuleType) -> None:
        namespace: dict[str, Any] = {}
        exec(f"from {door.__name__} import *", namespace)
        assert set(namespace) - {"__builtins__"} == set(door.__all__)

    def test_nothing_is_defined_twice(self, door: ModuleType) -> None:
        for name in door.__all__:
            value = getattr(door, name)
            home = getattr(value, "__module__", "")
            if home.startswith("tether"):
                assert vars(importlib.import_module(home))[name] is value

    def test_everything_it_exports_is_explained(self, door: ModuleType) -> None:
        for name in door.__all__:
            value = getattr(door, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert inspect.getdoc(value), name


class TestErrors:
    def test_every_error_of_tether_can_be_imported_from_tether(self) -> None:
        tree = {
            error
            for error in vars(errors).values()
            if inspect.isclass(error) and issubclass(error, Exception)
        }
        assert {error.__name__ for error in tree} == set(errors.__all__) <= set(tether.__all__)
        assert all(issubclass(error, tether.TetherError) for error in tree)

    @pytest.mark.parametrize(
        ("error", "kinds"),
        [
            ("NotConnected", (tether.TetherError,)),
            ("IndeterminateError", (tether.TetherError,)),
            ("NoVerdict", (tether.TetherError,)),
            ("UsageError", (tether.TetherError, RuntimeError)),
            ("IllegalTransition", (tether.UsageError,)),
            ("ConfigError", (tether.TetherError, ValueError)),
            ("MissingDriver", (tether.ConfigError, ImportError)),
        ],
    )
    def test_it_can_be_caught_as_what_it_is(self, error: str, kinds: tuple[type[Exception], ...]) -> None:
        assert getattr(tether, error).__bases__ == kinds

    def test_the_tree_in_the_docstring_is_the_real_one(self) -> None:
        assert errors.__doc__ is not None
        drawn = [line for line in errors.__doc__.splitlines() if "──" in line]
        assert [line.split("──")[1].split()[0] for line in drawn] == [
            "NotConnected",
            "IndeterminateError",
            "NoVerdict",
            "UsageError",
            "IllegalTransition",
            "ConfigError",
            "MissingDriver",
        ]
        assert len(drawn) + 1 == len(errors.__all__)


def defaults(function: Any) -> dict[str, Any]:
    """Return the parameters with their defaults; those without one are left out."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def kinds(function: Any) -> dict[str, inspect._ParameterKind]:
    return {name: parameter.kind for name, parameter in inspect.signature(function).parameters.items()}


COMMON = {
    "name": None,
    "retry_interval": exponential_backoff(1, 2, maximum=60, jitter=0.1),
    "connect_timeout": 10.0,
    "stable_after": 10.0,
    "health_check": True,
    "failure_threshold": 1,
    "callback_timeout": 30.0,
    "credentials": None,
    "reauth_delay": 1.0,
    "rules": (),
    "subscribers": (),
    "logger": None,
    "rng": None,
}


class TestConstructors:
    def test_the_defaults_of_a_redis_reconnector_are_those_of_the_specification(self) -> None:
        assert defaults(RedisReconnector) == {
            **COMMON,
            "client": None,
            "options": None,
            "max_retries": 5,
            "health_check_interval": 5.0,
            "health_check_timeout": 2.0,
        }

    def test_the_defaults_of_a_reconnector_of_ones_own_are_for_ever(self) -> None:
        assert defaults(Reconnector) == {
            **COMMON,
            "max_retries": None,
            "health_check_interval": 10.0,
            "health_check_timeout": 3.0,
            "quick_first_retry": True,
        }

    @pytest.mark.parametrize(
        ("constructor", "positional"),
        [(RedisReconnector, ["client", "options"]), (Reconnector, ["connector"])],
    )
    def test_every_option_is_a_keyword_that_can_be_seen(
        self, constructor: Any, positional: list[str]
    ) -> None:
        seen = kinds(constructor)
        plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert [name for name, kind in seen.items() if kind is plain] == positional
        assert set(seen.values()) == {plain, inspect.Parameter.KEYWORD_ONLY}

    @pytest.mark.parametrize("constructor", [RedisReconnector, Reconnector], ids=lambda c: c.__name__)
    def test_every_option_is_explained(self, constructor: Any) -> None:
        text = inspect.getdoc(constructor) or ""
        for name in kinds(constructor):
            assert name in text.replace(",", " ").replace(":", " ").split(), name

    def test_a_redis_reconnector_needs_no_loop_and_no_server(self) -> None:
        for made in (
            RedisReconnector(None, "redis://127.0.0.1:1/0"),
            RedisReconnector(None, {"host": "127.0.0.1", "port": 1}),
        ):
            assert made.status is tether.Status.DISCONNECTED
            assert made.is_connected is False
            assert made.last_error is None
            assert (made.retry_count, made.generation, made.max_retries) == (0, 0, 5)

    def test_the_second_of_the_two_may_be_none(self) -> None:
        import redis.asyncio  # an extra

        client = redis.asyncio.Redis()
        assert RedisReconnector(client, None).client is client

    def test_its_password_is_not_in_its_repr(self) -> None:
        made = RedisReconnector(None, "redis://app:hunter22@127.0.0.1:1/0")
        assert "hunter22" not in repr(made) + made.name + repr(made.stats())


WAITS = {
    Reconnector: ["start", "stop", "wait_connected", "reconnect", "run"],
    ReconnectManager: ["start_all", "stop_all", "wait_all_connected"],
}
WAITS_NOT = {
    Reconnector: [
        "on_connect", "on_disconnect", "on_reconnect", "on_reconnect_failed", "on_give_up",
        "guard", "report", "events", "stats", "pause", "resume",
    ],
    ReconnectManager: ["register", "get", "unregister", "names", "status"],
}  # fmt: skip


class TestMethods:
    """The common interface of section 2."""

    @pytest.mark.parametrize("owner", WAITS, ids=lambda c: c.__name__)
    def test_only_what_waits_is_async(self, owner: type) -> None:
        assert all(inspect.iscoroutinefunction(getattr(owner, name)) for name in WAITS[owner])
        assert not any(inspect.iscoroutinefunction(getattr(owner, name)) for name in WAITS_NOT[owner])

    @pytest.mark.parametrize("owner", WAITS, ids=lambda c: c.__name__)
    def test_it_is_an_async_context_manager(self, owner: type) -> None:
        assert inspect.iscoroutinefunction(owner.__aenter__)  # type: ignore[attr-defined]
        assert inspect.iscoroutinefunction(owner.__aexit__)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("method", "parameters", "options"),
        [
            (Reconnector.wait_connected, ["self", "timeout"], {"timeout": None}),
            (
                Reconnector.run,
                ["self", "operation", "idempotent", "timeout"],
                {"idempotent": False, "timeout": None},
            ),
            (Reconnector.report, ["self", "error", "generation"], {"generation": None}),
            (Reconnector.start, ["self", "require_initial"], {"require_initial": False}),
            (Reconnector.stop, ["self"], {}),
            (Reconnector.reconnect, ["self"], {}),
            (Reconnector.on_connect, ["self", "callback"], {}),
            (ReconnectManager.register, ["self", "name", "reconnector", "depends_on"], {"depends_on": ()}),
            (ReconnectManager.get, ["self", "name"], {}),
            (ReconnectManager.unregister, ["self", "name"], {}),
            (ReconnectManager.wait_all_connected, ["self", "timeout"], {"timeout": None}),
        ],
        ids=lambda value: getattr(value, "__qualname__", None),
    )
    def test_its_parameters_are_the_documented_ones(
        self, method: Any, parameters: list[str], options: dict[str, Any]
    ) -> None:
        assert list(kinds(method)) == parameters
        assert defaults(method) == options

    def test_switches_are_named(self) -> None:
        assert kinds(Reconnector.run)["idempotent"] is inspect.Parameter.KEYWORD_ONLY
        assert kinds(Reconnector.start)["require_initial"] is inspect.Parameter.KEYWORD_ONLY

    def test_figures_are_properties_and_only_two_can_be_set(self) -> None:
        read_only = ["is_connected", "status", "last_error", "retry_count", "generation", "client"]
        named = [*read_only, "max_retries", "retry_interval"]
        properties = {
            name: value for name in named if isinstance(value := getattr(Reconnector, name), property)
        }
        assert set(properties) == set(named)
        assert {name for name, value in properties.items() if value.fset} == {"max_retries", "retry_interval"}


class TestPackage:
    def test_it_says_that_it_is_typed(self) -> None:
        assert Path(tether.__file__).with_name("py.typed").is_file()

    def test_its_version_is_the_projects(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        assert tether.__version__ == project["version"]
