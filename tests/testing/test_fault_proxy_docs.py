"""The guide's tests pass as they stand on the page, and the reference names all there is."""

import inspect
import os
import re
from pathlib import Path

import pytest

import tether
from tether.testing.proxy import FaultProxy, Toxic
from tether.testing.proxy.toxics import TOXICS

pytest_plugins = ["pytester"]

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "how-to" / "test-your-service.md").read_text("utf-8")
REFERENCE = (DOCS / "reference" / "fault-proxy.md").read_text("utf-8")
FILES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", GUIDE, re.DOTALL))


def test_every_piece_of_code_of_the_guide_is_a_file_and_is_run():
    assert len(FILES) == GUIDE.count("```python") == 7


@pytest.mark.needs_server
def test_the_guides_tests_pass(pytester, monkeypatch):
    pytest.importorskip("redis")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(tether.__file__).parents[1]))
    for name, content in FILES.items():
        pytester.path.joinpath(name).write_text(content, "utf-8")
    done = pytester.runpytest_subprocess("-p", "tether.testing.plugin", "-rs", "-W", "error", timeout=60)
    outcomes = done.parseoutcomes()
    assert outcomes.get("failed", 0) == outcomes.get("errors", 0) == 0
    # Without root there is no blackhole, and the page says so.
    assert outcomes["passed"] + outcomes.get("skipped", 0) == len(FILES)
    if os.environ.get("TETHER_REQUIRE_SERVERS"):
        assert outcomes["passed"] >= len(FILES) - 1


@pytest.mark.parametrize("kind", TOXICS.values(), ids=TOXICS)
def test_every_toxic_is_in_the_reference_with_its_attributes(kind: type[Toxic]):
    found = re.search(rf"^\| `{kind.type}` \|(.*)$", REFERENCE, re.MULTILINE)
    assert found is not None
    row = found[1]
    unit = {1e-3: "ms", 1e-6: "µs", 1e3: "KB/s", 1: "bytes"}
    for name, size in kind.units.items():
        assert re.search(rf"`{name}`( {unit[size]})?( |,)", row)
    parameters = [
        name if one.default is one.empty else f"{name}={one.default}"
        for name, one in inspect.signature(kind).parameters.items()
    ]
    assert f"`{kind.__name__}({', '.join(parameters)})`" in row


def test_every_method_of_the_proxy_is_in_the_reference():
    public = {name for name in vars(FaultProxy) if not name.startswith("_")}
    unnamed = {name for name in public if not re.search(rf"\b{name}\b", REFERENCE)}
    assert unnamed <= {"is_up", "port", "toxics"}  # what they are is in their names
