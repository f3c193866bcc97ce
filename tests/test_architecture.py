"""The shape of the house: what may import what, what the core must not touch, and that nothing needs a driver.

``script/lint`` checks the layers too (import-linter); here they are checked without any tool, on the source as it is.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"

LAYERS = {
    "errors": 0,
    "core": 0,
    "backoff": 1,
    "ports": 1,
    "observe": 2,
    "runtime": 3,
    "storage": 4,
    "eventbus": 4,
    "network": 4,
    "fleet": 4,
    "failover": 4,
    "testing": 5,
    "config": 6,
    "surfaces": 7,
}
"""An import points to the left: to a lower number, or inside of its own part."""

SYSTEMS = {"storage", "eventbus", "network", "fleet", "failover"}

DOORS = {"tether", "tether.sync", "tether.alerts"}
"""They only re-export. Of all that is inside, nothing but the surfaces may come in through them."""

PURE = {
    "__future__",
    "collections",
    "collections.abc",
    "dataclasses",
    "datetime",
    "email.utils",
    "enum",
    "functools",
    "itertools",
    "math",
    "re",
    "types",
    "typing",
}
"""What of the standard library the core and the ports may use: no loop, socket, thread, clock, dice or log."""

CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "localtime", "gmtime"}
OUTSIDE = {"open", "print", "input", "exec", "eval", "__import__"}


def name_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted((SRC / "tether").rglob("*.py"))}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text("utf-8"))


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def running_code(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if is_for_types_only(node):
            continue
        yield node
        yield from running_code(node)


def imports(tree: ast.AST, module: str, *, is_package: bool = False, types_too: bool = True) -> set[str]:
    """Return the absolute names of all that ``module`` imports, also inside of functions."""
    found = set()
    for node in ast.walk(tree) if types_too else running_code(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[
                    : None if is_package and node.level == 1 else -node.level + is_package
                ]
                base = ".".join([*above, *([base] if base else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= (
                names if names <= set(SOURCES) else names | {base}
            )  # submodules need nothing of their package
    return found


def own_imports(module: str, *, types_too: bool = True) -> set[str]:
    """Return the modules of tether that ``module`` imports, packages on the way included."""
    is_package = SOURCES[module].name == "__init__.py"
    names = imports(tree_of(module), module, is_package=is_package, types_too=types_too)
    return {name for name in names if name in SOURCES} - {module}


def part_of(module: str) -> str:
    return (*module.split("."), "")[1]


def wrong_directions(module: str, imported: set[str]) -> set[str]:
    """Return what of ``imported`` lies to the right of ``module``, or in another of the five systems."""
    part = part_of(module)
    wrong = set()
    for name in imported:
        other = part_of(name)
        if name in DOORS:
            wrong |= {name} - (DOORS if part == "surfaces" else set())
        elif other != part and ({part, other} <= SYSTEMS or LAYERS[other] > LAYERS[part]):
            wrong.add(name)
    return wrong


def impurities(tree: ast.AST, module: str = "tether.core.x") -> set[str]:
    """Return what a module of the core must not have: impure imports, clocks, the outside world."""
    found = {
        name
        for name in imports(tree, module)
        if not (name in PURE or name.rpartition(".")[0] in PURE or name.split(".")[0] == "tether")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            found.add(f".{node.func.attr}()")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OUTSIDE:
            found.add(f"{node.func.id}()")
        elif isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.Global)) and module.startswith(
            "tether.core"
        ):
            found.add(type(node).__name__)
    return found


def the_core() -> list[str]:
    return [name for name in SOURCES if name == "tether.ports" or part_of(name) == "core"]


class TestPurity:
    def test_there_is_a_core(self) -> None:
        assert len(the_core()) > 10

    @pytest.mark.parametrize("module", the_core())
    def test_the_core_and_the_ports_touch_neither_loop_nor_clock_nor_dice_nor_log(self, module: str) -> None:
        assert impurities(tree_of(module), module) == set()

    @pytest.mark.parametrize("module", the_core())
    def test_the_core_knows_nothing_of_the_rest(self, module: str) -> None:
        known = {name for name in own_imports(module) if part_of(name) not in {"core", "errors"}}
        assert known - {"tether"} == set()

    @pytest.mark.parametrize(
        ("planted", "found"),
        [
            ("import asyncio", {"asyncio"}),
            ("import time", {"time"}),
            ("from time import monotonic", {"time", "time.monotonic"}),
            ("import os.path", {"os.path"}),
            ("def f():\n    import random", {"random"}),
            ("from logging import getLogger", {"logging", "logging.getLogger"}),
            ("import redis", {"redis"}),
            ("x = datetime.now(UTC)", {".now()"}),
            ("x = date.today()", {".today()"}),
            ("x = clock.monotonic()", {".monotonic()"}),
            ("print('x')", {"print()"}),
            ("x = open('f')", {"open()"}),
            ("async def f(): ...", {"AsyncFunctionDef"}),
            (
                "import math, re\nfrom datetime import UTC\nfrom tether.errors import ConfigError\nnow = work.now",
                set(),
            ),
        ],
    )
    def test_what_is_impure_would_be_found(self, planted: str, found: set[str]) -> None:
        assert impurities(ast.parse(planted)) == found


class TestLayers:
    @pytest.mark.parametrize("module", [name for name in SOURCES if name not in DOORS])
    def test_imports_point_one_way(self, module: str) -> None:
        assert part_of(module) in LAYERS, "a new part needs a layer"
        assert wrong_directions(module, own_imports(module)) == set()

    @pytest.mark.parametrize(
        ("module", "imported", "wrong"),
        [
            ("tether.core.machine", "tether.runtime.engine", True),
            ("tether.core.machine", "tether.backoff", True),
            ("tether.ports", "tether.runtime.engine", True),
            ("tether.observe.logs", "tether.runtime.engine", True),
            ("tether.runtime.engine", "tether.storage", True),
            ("tether.runtime.engine", "tether.observe.logs", False),
            ("tether.storage.redis.connector", "tether.failover.handler", True),
            ("tether.storage.redis.connector", "tether.storage.redis.connection", False),
            ("tether.storage.redis.connector", "tether.runtime.engine", False),
            ("tether.testing.proxy", "tether.surfaces.cli", True),
            ("tether.surfaces.cli", "tether.testing.proxy", False),
            ("tether.runtime.engine", "tether", True),
            ("tether.surfaces.cli", "tether", False),
        ],
    )
    def test_what_points_the_other_way_would_be_found(self, module: str, imported: str, wrong: bool) -> None:
        assert bool(wrong_directions(module, {imported})) is wrong

    def test_relative_and_hidden_imports_are_seen(self) -> None:
        tree = ast.parse("from . import a\nfrom .b import c\nfrom ..d import e\ndef f():\n    import g.h\n")
        module = imports(tree, "tether.core.machine")
        assert {"tether.core.a", "tether.core.b.c", "tether.d.e", "g.h"} <= module
        package = imports(tree, "tether.core", is_package=True)
        assert {"tether.core.a", "tether.core.b.c", "tether.d.e", "g.h"} <= package

    def test_no_module_imports_itself_in_a_circle(self) -> None:
        graph = {
            module: own_imports(module, types_too=False) - {"tether"}
            for module in SOURCES
            if module != "tether"
        }
        order = list(TopologicalSorter(graph).static_order())
        assert set(order) == set(graph)
        assert order.index("tether.core.lifecycle") < order.index("tether.core.machine")

    def test_a_circle_would_be_found(self) -> None:
        graph = {
            module: own_imports(module, types_too=False) - {"tether"}
            for module in SOURCES
            if module != "tether"
        }
        graph["tether.core.cause"] = graph["tether.core.cause"] | {"tether.core.machine"}
        with pytest.raises(CycleError):
            tuple(TopologicalSorter(graph).static_order())


class TestEveryModule:
    @pytest.mark.parametrize("module", SOURCES)
    def test_says_what_it_is_for(self, module: str) -> None:
        assert ast.get_docstring(tree_of(module)), f"{module} has no docstring"

    @pytest.mark.parametrize(
        "module", [n for n in SOURCES if part_of(n) not in {"config", "testing", "surfaces"}]
    )
    def test_leaves_the_environment_to_the_configuration(self, module: str) -> None:
        names = {node.attr for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute)}
        assert not names & {"environ", "getenv"}


def run_without_drivers(code: str) -> str:
    """Run ``code`` in an interpreter that sees the standard library and tether, and nothing else."""
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-W",
            "error",
            "-c",
            f"import sys\nsys.path.insert(0, {str(SRC)!r})\n{code}",
        ],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestWithoutDrivers:
    """Drivers are extras: imported when a connection is opened, and not before."""

    def test_the_interpreter_of_these_tests_sees_none(self) -> None:
        seen = "import importlib.util as u; print([n for n in ('redis', 'typer', 'rich', 'pytest') if u.find_spec(n)])"
        assert run_without_drivers(seen) == "[]"

    @pytest.mark.parametrize(
        "door", ["tether", "tether.backoff", "tether.errors", "tether.ports", "tether.storage"]
    )
    def test_it_can_be_imported(self, door: str) -> None:
        assert run_without_drivers(f"import {door}; print({door}.__name__)") == door

    def test_nothing_but_the_standard_library_is_loaded(self) -> None:
        code = """
        import tether, tether.storage
        tops = {name.partition(".")[0] for name in sys.modules}
        print(sorted(tops - set(sys.stdlib_module_names) - {"tether", "__main__"}))
        """
        assert run_without_drivers("if True:" + code) == "[]"

    def test_a_missing_driver_is_named_with_what_installs_it(self) -> None:
        code = """
        import tether.storage
        try:
            tether.storage.RedisReconnector(None, "redis://localhost")
        except tether.MissingDriver as error:
            print(error)
        """
        told = run_without_drivers("if True:" + code)
        assert "'redis'" in told
        assert "pip install 'tether[redis]'" in told

    def test_one_can_have_a_reconnector_of_ones_own(self) -> None:
        code = """
        import tether, tether.ports
        class Mine(tether.ports.Connector):
            kind = "mine"
        print(repr(tether.Reconnector(Mine(), name="m")))
        """
        assert run_without_drivers("if True:" + code) == "<Reconnector 'm' disconnected>"


def test_tether_needs_nothing_to_be_installed() -> None:
    text = (SRC.parent / "pyproject.toml").read_text("utf-8")
    assert re.search(r"^dependencies = \[\]$", text, re.MULTILINE)
