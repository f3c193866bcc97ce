"""What must fit together: connections and what they depend on, the address of the API and its tokens."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from tether.config.backoffs import Decorrelated
from tether.config.building import place
from tether.config.models import ApiSettings, Settings
from tether.config.node import Node, Path, dotted
from tether.config.problem import GUESSES, Flaw, near
from tether.core.duration import compact

LONGEST_CIRCLE = 12
"""Names of a circle that are told."""


def check_references(settings: Settings, root: Node, unjudged: set[Path]) -> list[Flaw]:
    """Return what does not fit together. What is not known (``unjudged``) fits."""
    found = [*_api(settings.api, unjudged), *_dependencies(settings, unjudged), *_delays(settings, unjudged)]
    return [Flaw(message, dotted(root, path), place(root, path)) for path, message in found]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``; any other name counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _api(api: ApiSettings, unjudged: set[Path]) -> Iterator[tuple[Path, str]]:
    read, operate = api.read_token, api.operate_token
    is_known = not unjudged & {("api",), ("api", "host"), ("api", "read_token"), ("api", "operate_token")}
    if is_known and not is_loopback(api.host) and read is None and operate is None:
        mend = "set api.operate_token, or use 127.0.0.1"
        yield ("api", "host"), f"others can reach this address, and there is no token; {mend}"
    if read is not None and operate is not None and read.get_secret_value() == operate.get_secret_value():
        yield (
            ("api", "operate_token"),
            "is the same as read_token, so that every reader could operate; use another",
        )


def _dependencies(settings: Settings, unjudged: set[Path]) -> Iterator[tuple[Path, str]]:
    graph: dict[str, list[str]] = {}
    names, unknown = list(settings.connections)[:GUESSES], 0
    has_all_names = not any(path[:1] == ("connections",) and len(path) < 3 for path in unjudged)
    for name, connection in settings.connections.items():
        graph[name] = []
        for at, need in enumerate(connection.depends_on):
            path: Path = ("connections", name, "depends_on", at)
            if need == name:
                yield path, "a connection cannot depend on itself; remove it"
            elif need not in settings.connections:
                if has_all_names:
                    unknown += 1
                    others = [] if unknown > GUESSES else [other for other in names if other != name]
                    yield path, _unknown(need, others)
            else:
                graph[name].append(need)
    if circle := _circle(graph):
        path = ("connections", circle[0], "depends_on")
        ring = circle if len(circle) <= LONGEST_CIRCLE else [*circle[: LONGEST_CIRCLE - 2], "…", circle[-1]]
        yield path, f"runs in a circle, {' → '.join(ring)}; remove one of them"


def _unknown(need: str, names: Sequence[str]) -> str:
    guess = near(need, names)
    mend = f"did you mean {guess}?" if guess else "write the name of another connection of this file"
    return f"there is no such connection; {mend}"


def _circle(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a circle, from the first of its names in the file back to it, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # The sorter lists what comes before; read backwards, each depends on the next.
        ring = error.args[1][:0:-1]
        order = {name: at for at, name in enumerate(graph)}
        first = min(range(len(ring)), key=lambda at: order[ring[at]])
        return [*ring[first:], *ring[:first], ring[first]]
    return []


def _delays(settings: Settings, unjudged: set[Path]) -> Iterator[tuple[Path, str]]:
    for name, connection in settings.connections.items():
        path: Path = ("connections", name, "retry")
        retry = connection.retry
        if not isinstance(retry, Decorrelated) or any(one[:3] == path for one in unjudged):
            continue
        if retry.maximum < retry.base:
            text = f"is shorter than base ({compact(retry.base)}); make it at least as long"
            yield (*path, "maximum"), text
