"""docs/reference/api.md: what it shows is what happens."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.surfaces.api.support import CONNECTIONS, client_of, eventually, real, serving
from tether import Reconnector
from tether.surfaces.api import create_app, server, shapes, stream
from tether.surfaces.api.app import READERS
from tether.surfaces.supervisor import Supervisor
from tether.testing.scripted import ScriptedConnector

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text("utf-8")
EXAMPLES = re.findall(r"^    \$ (curl .+)\n((?:    .*\n)+)", PAGE, re.MULTILINE)


class Redis(ScriptedConnector):
    kind = "redis"


def pattern(shown):
    """Return a pattern for what is shown; '…' stands for anything."""
    text = "\n".join(line[4:] for line in shown.rstrip("\n").split("\n"))
    return re.compile(re.escape(text).replace("…", ".*"), re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
@real
async def test_the_curl_examples_answer_as_shown(command, shown):
    supervisor = Supervisor()
    supervisor.add("cache", Reconnector(Redis(), name="cache", health_check=False))
    supervisor.start()
    await eventually(lambda: supervisor.manager.get("cache").is_connected)
    async with serving(supervisor) as (api, _):
        process = await asyncio.create_subprocess_shell(
            command, env=os.environ | {"TETHER": api.url, "no_proxy": "*"}, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
    await supervisor.stop()

    assert pattern(shown).match(printed.decode()), printed.decode()


@real
async def test_the_application_of_ones_own_works():
    namespace = {}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], namespace)
    app = namespace["app"]
    token = {"authorization": "Bearer change-me"}
    async with namespace["lifespan"](app), client_of(app, base_url="https://service.example") as client:
        assert (await client.get(f"/tether{CONNECTIONS}")).status_code == 401
        listed = await client.get(f"/tether{CONNECTIONS}", headers=token)
        assert list(listed.json()["connections"]) == ["cache"]
        assert (await client.get("/tether/docs")).status_code == 200
        accepted = await client.post(f"/tether{CONNECTIONS}/cache/pause", headers=token)
        assert (accepted.status_code, accepted.headers["location"]) == (202, f"/tether{CONNECTIONS}/cache")


def test_every_route_is_in_the_table_and_every_row_is_a_route():
    routes = {
        f"{method.upper()} {path}"
        for path, methods in create_app(Supervisor()).openapi()["paths"].items()
        for method in methods
    }
    rows = set(re.findall(r"^\| `((?:GET|POST) [^`]+)`", PAGE, re.MULTILINE))

    assert rows == routes | {"GET /readyz?verbose"}


def test_every_key_of_a_connection_is_in_the_table():
    table = PAGE.partition("| key | |")[2].partition("\n\n")[0]
    for key in shapes.Connection.model_fields:
        assert f"`{key}`" in table


def test_the_figures_are_those_of_the_code():
    for said in (
        f"after {stream.KEEP_ALIVE:.0f} s without an event",
        f"{READERS} readers",
        f"for {stream.STALL_TIMEOUT:.0f} s is dropped",
        f"has {server.REQUEST_TIMEOUT:.0f} s to send a request, and {server.ANSWER_TIMEOUT:.0f} s to read",
    ):
        assert said in PAGE
