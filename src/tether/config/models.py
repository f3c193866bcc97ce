"""The settings, as the file has them. A new type of connection is one more model in ``CONNECTIONS``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tether.config.backoffs import Exponential, RetrySettings
from tether.config.durations import PositiveSeconds, Seconds
from tether.config.leaves import Port, Positive, Retries, Truth
from tether.config.model import Model
from tether.config.redis_url import RedisUrl
from tether.config.texts import BasePath, Host, Hosts, Names, Options, Token


class ApiSettings(Model):
    """``api:``, the HTTP interface of the daemon."""

    host: Host = Field(
        default="127.0.0.1", description="The address to listen on. Another than loopback needs a token."
    )
    port: Port = Field(default=8321, description="The port to listen on.")
    read_token: Token = Field(
        default=None, description="Lets its bearer read; null or empty for none. 8 characters or more."
    )
    operate_token: Token = Field(
        default=None,
        description="Lets its bearer read, reconnect and pause; null or empty for none. 8 characters or more.",
    )
    trusted_hosts: Hosts = Field(
        default=(), description="Further names under which the API may be asked (the Host header)."
    )
    base_path: BasePath = Field(
        default="", description="The path under which a reverse proxy serves it, such as /tether."
    )


class RedisSettings(Model):
    """A connection of ``type: redis``: Redis or Valkey. Durations in seconds, or text such as 500ms or 1m30s."""

    type: Literal["redis"] = Field(default="redis", description="The kind of the connection.")
    url: RedisUrl = Field(
        repr=False,
        description="redis://[user:password@]host:port/db; rediss:// with TLS; unix:///path?db=0 for a socket.",
        examples=["redis://localhost:6379/0"],
    )
    health_check: Truth = Field(
        default=True, description="Whether to probe; without it only errors tell of a loss."
    )
    health_check_interval: PositiveSeconds = Field(default=5.0, description="The time between two probes.")
    health_check_timeout: PositiveSeconds = Field(default=2.0, description="How long a probe may take.")
    failure_threshold: Positive = Field(default=1, description="Failed probes in a row that make a loss.")
    connect_timeout: PositiveSeconds = Field(
        default=10.0, description="How long an attempt may take: DNS, TCP, TLS, login and a first round trip."
    )
    stable_after: Seconds = Field(
        default=10.0, description="How long a connection must live before its backoff forgets."
    )
    max_retries: Retries = Field(
        default=None, description="Failed attempts after which it gives up; null for never."
    )
    retry: RetrySettings = Field(
        default=Exponential(), description="How long to wait before the next attempt."
    )
    required: Truth = Field(
        default=False, description="Whether the daemon is ready only while this is connected."
    )
    depends_on: Names = Field(default=(), description="Connections to start before this one.")
    options: Options = Field(
        default={},
        repr=False,
        description="Keyword arguments of redis-py's client, such as client_name; what the URL says goes before.",
    )


CONNECTIONS: dict[str, type[RedisSettings]] = {"redis": RedisSettings}
"""What ``type`` may be."""

NOT_YET = ("mysql", "elasticsearch", "websocket", "nats", "kafka", "http")
"""Types that the documents name and this version does not have."""

SECTIONS_NOT_YET = ("network", "alerts", "gateway")
"""Sections that the documents name and this version does not have."""


class Settings(Model):
    """The whole file."""

    api: ApiSettings = Field(default=ApiSettings(), description="The HTTP interface of the daemon.")
    connections: Mapping[str, RedisSettings] = Field(
        default={}, description="What to keep alive, by name. A name has 1 to 64 letters, digits and _ - ."
    )


def example_of(model: type[Model]) -> dict[str, Any]:
    """Return a value for each key that has no default: what stands in for a value that is not known."""
    return {
        name: (field.examples or [None])[0]
        for name, field in model.model_fields.items()
        if field.is_required()
    }
