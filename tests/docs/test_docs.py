"""The documents say what is so: pages drawn from tables are current, links lead somewhere, code can be run."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL), 1)
]


def test_pages_drawn_from_tables_are_current():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.stale() == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("block", BLOCKS)
def test_code_is_python(block):
    compile(block, "<docs>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_readme_shows_the_example_as_it_is():
    example = (ROOT / "examples" / "redis_service.py").read_text("utf-8")
    assert example in (ROOT / "README.md").read_text("utf-8")


def test_the_connector_of_the_guide_keeps_the_contract():
    page = (ROOT / "docs" / "how-to" / "write-a-connector.md").read_text("utf-8")
    namespace = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], namespace)
    echo = """
import asyncio
from tether.testing import check_connector

async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line)
    writer.close()

async def check(connector):
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await check_connector(lambda: connector("127.0.0.1", port))
    server.close()
"""
    exec(echo, namespace)
    import asyncio

    asyncio.run(namespace["check"](namespace["EchoConnector"]))


@pytest.mark.needs_server
def test_the_tutorials_program_runs():
    page = (ROOT / "docs" / "tutorial" / "first-connection.md").read_text("utf-8")
    program = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1].replace(
        "asyncio.sleep(2)", "asyncio.sleep(0.3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "status: reconnecting because:" in done.stdout
    assert "status: connected" in done.stdout
