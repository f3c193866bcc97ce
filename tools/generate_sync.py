"""Writes ``src/tether/sync.py``: the public classes without ``await``, as typed one-liners.

``python tools/generate_sync.py`` writes it; ``--check`` only says whether it is current (the tests do that). Signatures
and docstrings come from the async classes, so that they cannot drift apart; what a method does here is said by
``BODIES``, or follows from its kind.
"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src/tether/sync.py"

HEADER = '''"""The reconnectors and the manager without ``await``, for programs without an event loop.

Supervision goes on in one event loop on a thread of its own, which is there only between ``start()`` and ``stop()``.
``run()`` and ``guard()`` stay on the caller's thread; callbacks are called on threads of their own. Everything may be
called from any thread; where an event loop is running, it raises ``UsageError`` (a ``RuntimeError``) instead of
blocking it.

Written by tools/generate_sync.py: change that, or the async classes.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tether.core.backoff import Backoff
from tether.core.cause import Rule
from tether.core.duration import Duration, seconds
from tether.core.lifecycle import Status
from tether.ports import Connector, Subscriber
from tether.runtime import reconnector as _runtime
from tether.runtime.blocking import Blocking, BlockingEvents, BlockingGuard, threaded
from tether.runtime.blocking_manager import BlockingManager
from tether.runtime.reconnector import DEFAULT_INTERVAL
from tether.runtime.stats import Stats
from tether.storage.redis import reconnector as _redis
from tether.storage.redis.blocking import BlockingSubscription
from tether.storage.redis.subscriptions import Handler

__all__ = ["ReconnectManager", "Reconnector", "RedisReconnector"]

C = TypeVar("C")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
'''

RECONNECTOR = ROOT / "src/tether/runtime/reconnector.py"
REDIS = ROOT / "src/tether/storage/redis/reconnector.py"
MANAGER = ROOT / "src/tether/runtime/manager.py"

BODIES = {
    "start": "self._start(require_initial=require_initial)",
    "stop": "self._stop()",
    "run": "return self._run(operation, idempotent=idempotent, timeout=_limit(timeout))",
    "guard": "return self._guard()",
    "events": "return self._events()",
    "stats": "return self._inner.stats()",
    "subscribe": (
        "work = self._inner.subscribe(*channels, handler=threaded(handler), pattern=pattern)\n"
        "        return BlockingSubscription(self, self._await(work))"
    ),
    "register": "self._register(name, reconnector, depends_on)",
    "unregister": "return self._unregister(name)",
    "get": "return self._faces.get(name)",
    "names": "return self._inner.names()",
    "status": "return self._inner.status()",
    "start_all": "return self._start_all()",
    "stop_all": "return self._stop_all()",
    "network_changed of the manager": "self._do_network_changed()",
}
"""What is more than handing the call over."""

SIGNATURES = {
    "run": "self, operation: Callable[[C], T], *, idempotent: bool = False, timeout: Duration | None = None",
    "register": "self, name: str, reconnector: Blocking[Any], *, depends_on: Iterable[str] = ()",
}
RETURNS = {
    "run": "T",
    "guard": "BlockingGuard[C]",
    "events": "BlockingEvents",
    "subscribe": "BlockingSubscription",
    "get": "Blocking[Any] | None",
    "unregister": "Blocking[Any] | None",
}
WORDS = {
    "await ": "",
    "async with": "with",
    "async for": "for",
    "redis.asyncio.Redis": "redis.Redis",
    "All methods belong to the event loop of ``start()``.": "All methods may be called from any thread.",
}
NOTES = {
    "run": (
        "It is called on this thread, and must not be async. A blocking call cannot be cut off from outside: give\n"
        "your client timeouts of its own; ``timeout`` bounds the waiting for a connection."
    ),
}


LIMIT = """

def _limit(timeout: Duration | None) -> float | None:
    return None if timeout is None else seconds(timeout, what="timeout")
"""


def class_of(file: Path, name: str) -> ast.ClassDef:
    """Return a class of a source file."""
    tree = ast.parse(file.read_text("utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def quoted(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, indent: str, note: str = "") -> str:
    """Return a docstring, for people who do not write ``await``."""
    text = ast.get_docstring(node) or ""
    for here, there in WORDS.items():
        text = text.replace(here, there)
    lines = (text + (f"\n\n{note}" if note else "")).splitlines()
    body = "\n".join(f"{indent}{line}" if line else "" for line in lines[1:])
    end = f"\n{body}\n{indent}" if len(lines) > 1 else ""
    return f'{indent}"""{lines[0]}{end}"""'


def call_of(arguments: ast.arguments) -> str:
    """Return the arguments that hand over one's own."""
    parts = [a.arg for a in arguments.args if a.arg != "self"]
    parts += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    parts += [f"{a.arg}={a.arg}" for a in arguments.kwonlyargs]
    return ", ".join(parts)


def method(node: ast.FunctionDef | ast.AsyncFunctionDef, *, of_manager: bool) -> str:
    """Return one method of the blocking face."""
    decorators = [ast.unparse(one) for one in node.decorator_list]
    name, call = node.name, call_of(node.args)
    signature = SIGNATURES.get(name) or ast.unparse(node.args)
    returns = RETURNS.get(name) or ast.unparse(node.returns or ast.Constant(None))
    body = BODIES.get(f"{name} of the manager") if of_manager else None
    body = body or (None if "property" in decorators else BODIES.get(name))
    back = "" if returns == "None" else "return "
    if body is not None:
        pass
    elif "property" in decorators:
        body = f"return self._inner.{name}"
    elif any(one.endswith(".setter") for one in decorators):
        body = f'self._do(setattr, self._inner, "{name}", value)'
    elif name.startswith("on_"):
        body = f"return self._observe(self._inner.{name}, callback)"
    elif isinstance(node, ast.AsyncFunctionDef):
        body = f"{back}self._await(self._inner.{name}({call}))"
    else:
        body = f"{back}self._do(self._inner.{name}{', ' if call else ''}{call})"
    head = "".join(f"    @{one}\n" for one in decorators)
    has_doc = not any(one.endswith(".setter") for one in decorators)
    doc = quoted(node, " " * 8, NOTES.get(name, "")) + "\n" if has_doc else ""
    return f"{head}    def {name}({signature}) -> {returns}:\n{doc}        {body}\n"


def methods(node: ast.ClassDef, *, of_manager: bool = False, only: set[str] | None = None) -> list[str]:
    """Return the public methods, each once: of overloads, the last."""
    found = {}
    for item in node.body:
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) or item.name.startswith("_"):
            continue
        if only is not None and item.name not in only:
            continue
        decorators = [ast.unparse(one) for one in item.decorator_list]
        if "overload" not in decorators:
            found[item.name, any(one.endswith(".setter") for one in decorators)] = item
    return [method(item, of_manager=of_manager) for item in found.values()]


def constructor(node: ast.ClassDef, make: str) -> str:
    """Return ``__init__`` with the signature of the async class."""
    init = next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    head = f"    def __init__({ast.unparse(init.args)}) -> None:\n"
    handed = call_of(init.args).replace("credentials=credentials", "credentials=threaded(credentials)")
    return f"{head}        super().__init__({make}({handed}))\n"


def source() -> str:
    """Return the whole module, not yet formatted."""
    plain, redis, manager = (
        class_of(RECONNECTOR, "Reconnector"),
        class_of(REDIS, "RedisReconnector"),
        class_of(MANAGER, "ReconnectManager"),
    )
    parts = [
        HEADER,
        "\n\nclass Reconnector(Blocking[C]):\n" + quoted(plain, "    ") + "\n",
        constructor(plain, "_runtime.Reconnector"),
        "    _inner: _runtime.Reconnector[C]\n",
        *methods(plain),
        "\n\nclass RedisReconnector(Reconnector[Any]):\n" + quoted(redis, "    ") + "\n",
        "    _inner: _redis.RedisReconnector\n",
        constructor(redis, "_redis.BlockingRedisReconnector").replace(
            "super().__init__(", "Blocking.__init__(self, "
        ),
        *methods(redis, only={"subscribe"}),
        "\n\nclass ReconnectManager(BlockingManager):\n" + quoted(manager, "    ") + "\n",
        *methods(manager, of_manager=True),
        LIMIT,
    ]
    return "\n".join(parts)


def formatted(text: str) -> str:
    """Return source as ruff formats it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Write the module, or check it."""
    text = formatted(source())
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text("utf-8") != text:
            sys.exit("src/tether/sync.py is not current; run: python tools/generate_sync.py")
        return
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
