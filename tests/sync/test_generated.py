"""``tether.sync`` is written by a tool, from the async classes: it must be current."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_sync", ROOT / "tools/generate_sync.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_current() -> None:
    written = (ROOT / "src/tether/sync.py").read_text("utf-8")
    assert ast.dump(ast.parse(tool().source())) == ast.dump(ast.parse(written)), (
        "run: python tools/generate_sync.py"
    )


def test_a_change_would_be_seen() -> None:
    made = tool()
    node = ast.parse("class A:\n async def wait(self, timeout: float = 1) -> bool:\n  'Wait.'\n").body[0]
    assert isinstance(node, ast.ClassDef)
    assert "def wait(self, timeout: float=1) -> bool:" in made.methods(node)[0]
    assert "return self._await(self._inner.wait(timeout))" in made.methods(node)[0]


def test_every_public_method_is_there() -> None:
    import tether
    import tether.storage
    import tether.sync

    for plain, blocking in (
        (tether.Reconnector, tether.sync.Reconnector),
        (tether.storage.RedisReconnector, tether.sync.RedisReconnector),
        (tether.ReconnectManager, tether.sync.ReconnectManager),
    ):
        missing = {name for name in dir(plain) if not name.startswith("_")} - set(dir(blocking))
        assert missing == set()
