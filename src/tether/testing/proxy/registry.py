"""Proxies by name, and what Toxiproxy's HTTP API does to them.

Here: the requests and answers, as values. Not here: HTTP itself (``tether.testing.toxiproxy``).
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any

from tether.testing.proxy.fault_proxy import FaultProxy
from tether.testing.proxy.toxics import STREAMS, TOXICS, Placed, ToxicError, toxic_from

__all__ = ["ApiError", "Registry", "split_address"]

# What clients look for is a version of 2 or later; this is the one whose API is played here.
_VERSION = "2.12.0"

Answer = tuple[int, Any]
"""A status, and what the body says as JSON; None: no body."""


class ApiError(Exception):
    """A request that cannot be done.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Registry:
    """Running proxies by name. One request is answered at a time; any thread may ask.

    Args:
        seed: for the draws of proxies that are made by request; None: each has a new one.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        self._seed = seed
        self._proxies: dict[str, FaultProxy] = {}
        self._own: set[str] = set()
        self._lock = threading.Lock()

    def adopt(self, name: str, proxy: FaultProxy) -> None:
        """Let requests drive a proxy that runs already; its owner stops it.

        Raises:
            ValueError: there is one of that name.
        """
        with self._lock:
            if name in self._proxies:
                raise ValueError(f"there is a proxy {name!r} already")
            self._proxies[name] = proxy

    def close(self) -> None:
        """Stop every proxy that was made by request."""
        with self._lock:
            for name in tuple(self._proxies):
                self._drop(name)

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Do what a request asks.

        Args:
            method: as ``POST``.
            path: without the query, decoded.
            body: as it came.

        Raises:
            ApiError: it cannot be done.
        """
        with self._lock:
            try:
                return self._route(method, [part for part in path.split("/") if part], body)
            except ToxicError as error:
                raise ApiError(400, f"bad request body: {error}") from error
            except OSError as error:
                raise ApiError(500, str(error)) from error

    def _route(self, method: str, parts: list[str], body: bytes) -> Answer:
        match method, *parts:
            case "GET", "version":
                return 200, {"version": _VERSION}
            case "POST", "reset":
                return self._reset()
            case "POST", "populate":
                return self._populate(_list(body))
            case "GET", "proxies":
                return 200, {name: self._shown(name) for name in self._proxies}
            case "POST", "proxies":
                return 201, self._create(_object(body))
            case _, "proxies", name, *rest:
                return self._route_one(method, name, rest, body)
        raise ApiError(404, "no such page")

    def _route_one(self, method: str, name: str, rest: list[str], body: bytes) -> Answer:
        proxy = self._proxy(name)
        match method, *rest:
            case ("GET",):
                return 200, self._shown(name)
            case ("POST" | "PATCH",):
                return 200, self._update(name, _object(body))
            case ("DELETE",):
                self._drop(name)
                return 204, None
            case "GET", "toxics":
                return 200, _toxics(proxy)
            case "POST", "toxics":
                return 200, _add_toxic(proxy, _object(body))
            case "GET", "toxics", toxic:
                return 200, _toxic(_placed(proxy, toxic))
            case (("POST" | "PATCH"), "toxics", toxic):
                return 200, _change_toxic(proxy, toxic, _object(body))
            case "DELETE", "toxics", toxic:
                _placed(proxy, toxic)
                proxy.remove(toxic)
                return 204, None
        raise ApiError(404, "no such page")

    def _reset(self) -> Answer:
        for proxy in self._proxies.values():
            proxy.heal()
        return 204, None

    def _populate(self, wanted: list[dict[str, Any]]) -> Answer:
        for number, fields in enumerate(wanted, 1):
            for field in ("name", "upstream"):
                if not _text(fields, field):
                    raise ApiError(400, f"missing required field: {field} at proxy {number}")
        for fields in wanted:
            self._put(fields)
        return 201, {"proxies": [self._shown(fields["name"]) for fields in wanted]}

    def _put(self, fields: dict[str, Any]) -> None:
        """Create a proxy, or replace it if its addresses differ."""
        name = fields["name"]
        if name in self._proxies:
            listen = _text(fields, "listen")
            shown = self._shown(name)
            if fields["upstream"] == shown["upstream"] and listen == shown["listen"]:
                return
            self._drop(name)
        self._create(fields)

    def _create(self, fields: dict[str, Any]) -> dict[str, Any]:
        for field in ("name", "upstream"):
            if not _text(fields, field):
                raise ApiError(400, f"missing required field: {field}")
        name = fields["name"]
        if name in self._proxies:
            raise ApiError(409, "proxy already exists")
        enabled = _flag(fields, default=True)
        proxy = self._started(fields["upstream"], _text(fields, "listen"))
        if not enabled:
            proxy.down()
        self._proxies[name] = proxy
        self._own.add(name)
        return self._shown(name)

    def _started(self, upstream: str, listen: str) -> FaultProxy:
        host, port = split_address(upstream)
        listen_host, listen_port = split_address(listen or ":0")
        proxy = FaultProxy(
            host or "127.0.0.1",
            port,
            host=listen_host or "127.0.0.1",
            port=listen_port or None,
            seed=self._seed,
        )
        proxy.start()
        return proxy

    def _update(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Take it up or down; another address stops the old one, drops its connections, and keeps its toxics."""
        before = self._shown(name)
        listen, upstream = _text(fields, "listen"), _text(fields, "upstream")
        enabled = _flag(fields, default=before["enabled"])
        if (listen or before["listen"], upstream or before["upstream"]) != (
            before["listen"],
            before["upstream"],
        ):
            self._replace(name, upstream or before["upstream"], listen or before["listen"])
        proxy = self._proxies[name]
        (proxy.up if enabled else proxy.down)()
        return self._shown(name)

    def _replace(self, name: str, upstream: str, listen: str) -> None:
        if name not in self._own:
            raise ApiError(409, f"the addresses of {name!r} cannot be changed: it was not made by request")
        for address in (upstream, listen):
            split_address(address)  # before the old one is gone
        old = self._proxies[name]
        old.stop()  # first: the new one may listen on the same port
        try:
            proxy = self._started(upstream, listen)
        except OSError:
            old.start()
            raise
        for placed in old.toxics:
            proxy.add(placed.toxic, stream=placed.stream, toxicity=placed.toxicity, name=placed.name)
        self._proxies[name] = proxy

    def _drop(self, name: str) -> None:
        proxy = self._proxies.pop(name)
        if name in self._own:
            self._own.remove(name)
            proxy.stop()

    def _proxy(self, name: str) -> FaultProxy:
        if name not in self._proxies:
            raise ApiError(404, "proxy not found")
        return self._proxies[name]

    def _shown(self, name: str) -> dict[str, Any]:
        proxy = self._proxies[name]
        return {
            "name": name,
            "listen": _address(proxy.host, proxy.port),
            "upstream": _address(*proxy.upstream),
            "enabled": proxy.is_up,
            "toxics": _toxics(proxy),
        }


def split_address(text: str) -> tuple[str, int]:
    """Take ``host:port`` or ``[address]:port`` apart; the host may be missing.

    Raises:
        ApiError: it is no such thing.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ApiError(400, f"bad request body: {text!r} is no address like 127.0.0.1:6379")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _toxics(proxy: FaultProxy) -> list[dict[str, Any]]:
    return [_toxic(placed) for placed in proxy.toxics]


def _toxic(placed: Placed) -> dict[str, Any]:
    return {
        "name": placed.name,
        "type": placed.toxic.type,
        "stream": placed.stream,
        "toxicity": placed.toxicity,
        "attributes": placed.toxic.attributes(),
    }


def _placed(proxy: FaultProxy, name: str) -> Placed:
    for placed in proxy.toxics:
        if placed.name == name:
            return placed
    raise ApiError(404, "toxic not found")


def _add_toxic(proxy: FaultProxy, fields: dict[str, Any]) -> dict[str, Any]:
    stream: Any = fields.get("stream") or "downstream"
    if stream not in STREAMS:
        raise ApiError(400, "stream was invalid, can be either upstream or downstream")
    kind = _text(fields, "type")
    if kind not in TOXICS:
        raise ApiError(400, f"invalid toxic type: {kind!r}; there are: {', '.join(TOXICS)}")
    name = _text(fields, "name") or f"{kind}_{stream}"
    if any(placed.name == name for placed in proxy.toxics):
        raise ApiError(409, "toxic already exists")
    toxic = toxic_from(kind, _attributes(fields))
    proxy.add(toxic, stream=stream, toxicity=fields.get("toxicity", 1.0), name=name)
    return _toxic(_placed(proxy, name))


def _change_toxic(proxy: FaultProxy, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    placed = _placed(proxy, name)
    toxic = type(placed.toxic).from_attributes(_attributes(fields), base=placed.toxic)
    proxy.change(name, toxic, toxicity=fields.get("toxicity"))
    return _toxic(_placed(proxy, name))


def _attributes(fields: dict[str, Any]) -> Mapping[str, Any]:
    attributes = fields.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise ApiError(400, "bad request body: attributes must be an object")
    return attributes


def _text(fields: dict[str, Any], field: str) -> str:
    value = fields.get(field) or ""
    if not isinstance(value, str):
        raise ApiError(400, f"bad request body: {field} must be text")
    return value


def _flag(fields: dict[str, Any], *, default: bool) -> bool:
    value = fields.get("enabled", default)
    if not isinstance(value, bool):
        raise ApiError(400, "bad request body: enabled must be true or false")
    return value


def _object(body: bytes) -> dict[str, Any]:
    value = _json(body)
    if not isinstance(value, dict):
        raise ApiError(400, "bad request body: a JSON object is needed")
    return value


def _list(body: bytes) -> list[dict[str, Any]]:
    value = _json(body)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ApiError(400, "bad request body: a JSON array of objects is needed")
    return value


def _json(body: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(body)
    raise ApiError(400, "bad request body: it is not JSON")
