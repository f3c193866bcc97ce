"""The pages about metrics and traces: every series is listed, the queries are queries, the programs run."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from textwrap import indent

import pytest

from tether import ReconnectManager
from tether.observe.metrics import MetricsCollector
from tether.testing import free_port

DOCS = Path(__file__).parents[2] / "docs"
METRICS = (DOCS / "reference" / "metrics.md").read_text("utf-8")
OBSERVE = (DOCS / "how-to" / "observe.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def programs(word: str) -> list[str]:
    return [block for block in blocks(OBSERVE, "python") if word in block and "asyncio.run(" in block]


def fetch(url: str, *, within: float = 20.0) -> str:
    """Return what is there, as soon as anybody answers."""
    deadline = time.monotonic() + within
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                body: str = answer.read().decode()
                return body
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_every_series_is_listed_with_its_kind() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS, re.MULTILINE))
    families = MetricsCollector(ReconnectManager()).describe()
    there = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}
    assert listed == there


@pytest.mark.needs_server
def test_the_queries_are_queries(promtool: str, tmp_path: Path) -> None:
    queries = blocks(METRICS, "promql")
    assert len(queries) > 3
    rules = "".join(
        f"  - record: query:number:{number}\n    expr: |\n{indent(query.strip(), '      ')}\n"
        for number, query in enumerate(queries)
    )
    path = tmp_path / "rules.yml"
    path.write_text(f"groups:\n- name: queries\n  rules:\n{rules}", "utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


def test_the_program_for_prometheus_serves_its_metrics() -> None:
    (program,) = programs("start_http_server")
    port, nobody = free_port(), free_port()
    program = program.replace("9100", str(port)).replace(":6379/", f":{nobody}/")
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    try:
        body = fetch(f"http://127.0.0.1:{port}/metrics")
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert re.search(r'network_connection_state\{connection="cache",state="\w+",type="redis"\} 1\.0', body)
    assert "python_info" in body  # beside what was in the registry already


def test_the_program_for_opentelemetry_exports_its_spans() -> None:
    (program,) = programs("OpenTelemetryTracing")
    program = program.replace("3600", "0.2").replace(":6379/", f":{free_port()}/")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"name": "tether.start"' in done.stdout
    assert '"name": "tether.connect"' in done.stdout
    assert '"error.type": "refused"' in done.stdout
