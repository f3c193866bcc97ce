"""What is in force, value by value, and where each came from. Secrets are masked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from tether.config.loading import Loaded
from tether.config.node import Node, Scalar, Sequence, find
from tether.config.redis_url import looks_secret
from tether.core.redact import MASK, redact


@dataclass(frozen=True, slots=True)
class Effective:
    """One value in force.

    Attributes:
        path: its keys.
        value: as YAML has it; durations as ``5s``, secrets as ``***``.
        origin: ``default``, or ``tether.yaml:5`` and what was substituted: ``tether.yaml:5, $REDIS_URL``.
    """

    path: tuple[str, ...]
    value: Any
    origin: str


def effective(loaded: Loaded) -> list[Effective]:
    """Return all values in force, in the order of the models."""
    return [
        Effective(path, _masked(path, value, loaded.secrets), _origin(loaded, path))
        for path, value in _leaves((), loaded.settings.model_dump())
    ]


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves((*path, key), below)
    elif path != ("connections",):  # no connections are no value
        yield path, value


def _origin(loaded: Loaded, path: tuple[str, ...]) -> str:
    found = find(loaded.tree, path)
    if found is None:
        return "default"
    key, node = found
    # Where a list or a mapping begins may be the line below its key.
    line = (node if key is None or isinstance(node, Scalar) else key).mark.line
    return ", ".join([f"{loaded.path.name}:{line}", *dict.fromkeys(_substituted(node))])


def _substituted(node: Node) -> Iterator[str]:
    if isinstance(node, Scalar):
        yield from node.origins
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _substituted(item)
    else:
        for key, value in node.entries:
            yield from key.origins
            yield from _substituted(value)


# --- masking --------------------------------------------------------------------------------------------------------


def _masked(path: tuple[str, ...], value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if path[:1] == ("connections",) and path[2:] == ("url",):
        return mask_url(str(value))
    if "options" in path[2:3]:
        hidden = any(looks_secret(key) for key in path[3:])
        return MASK if hidden and value is not None else _masked_option(value, secrets)
    if isinstance(value, tuple):
        return list(value)
    return value


def _masked_option(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, list):
        return [_masked_option(item, secrets) for item in value]
    if isinstance(value, dict):
        return {
            key: MASK if looks_secret(key) else _masked_option(below, secrets) for key, below in value.items()
        }
    return value


def mask_url(url: str) -> str:
    """Return a URL without its password and the secrets of its query; ``url`` is one that ``RedisUrl`` takes."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:{MASK}"
    query = re.sub(r"([^&=]+)=([^&]*)", _masked_pair, parts.query)
    scheme = url[: len(parts.scheme)]
    return f"{scheme}://{user}{at}{host}{parts.path}" + (f"?{query}" if query else "")


def _masked_pair(pair: re.Match[str]) -> str:
    return f"{pair[1]}={MASK}" if looks_secret(pair[1]) else pair[0]
