"""Under a path, behind a proxy, inside another application; and a docs page that asks no other host for anything."""

import re

import pytest
from fastapi import FastAPI

from tests.surfaces.api.support import CONNECTIONS, client_of, real, scripted
from tether import ReconnectManager
from tether.surfaces.api import create_app

TAKES_OFF, LEAVES_ON, MOUNTED, MOUNTED_BEHIND = (
    "proxy takes the path off",
    "proxy leaves it on",
    "mounted",
    "both",
)


def make(way):
    """Return an app, the path under which it is asked, and the path that clients see."""
    manager = ReconnectManager()
    manager.register("one", scripted("one"))
    if way in {MOUNTED, MOUNTED_BEHIND}:
        outer = FastAPI()
        outer.mount("/tether", create_app(manager, base_path="/base" if way == MOUNTED_BEHIND else ""))
        return outer, "/tether", "/base/tether" if way == MOUNTED_BEHIND else "/tether"
    if way == "plain":
        return create_app(manager), "", ""
    return create_app(manager, base_path="/x/tether/"), "" if way == TAKES_OFF else "/x/tether", "/x/tether"


@pytest.mark.parametrize("way", ["plain", TAKES_OFF, LEAVES_ON, MOUNTED, MOUNTED_BEHIND])
@real
async def test_everything_works_under_every_path(way):
    app, asked, seen = make(way)
    async with client_of(app) as client:
        assert (await client.get(f"{asked}{CONNECTIONS}")).json()["connections"]["one"]["id"] == "one"
        refused = await client.post(f"{asked}{CONNECTIONS}/one/pause")
        assert (refused.status_code, refused.json()["instance"]) == (409, f"{seen}{CONNECTIONS}/one/pause")
        assert (await client.get(f"{asked}/")).headers["location"] == f"{seen}/docs"
        assert (await client.get(f"{asked}/livez")).text == "ok\n"
        assert (await client.get(f"{asked}/nothing")).json()["code"] == "not_found"
        page = (await client.get(f"{asked}/docs")).text
        for path in re.findall(r"(?:href|src)=\"([^\"]+)\"|url: '([^']+)'", page):
            loaded = "".join(path)
            assert loaded.startswith(f"{seen}/")
            assert (await client.get(asked + loaded.removeprefix(seen))).status_code == 200
        described = (await client.get(f"{asked}/openapi.json")).json()
        assert [server["url"] for server in described.get("servers", [])] == [seen] * bool(seen)


@pytest.mark.parametrize("way", [TAKES_OFF, LEAVES_ON, MOUNTED])
@real
async def test_where_to_look_after_a_command_can_be_asked_for(way):
    app, asked, seen = make(way)
    manager = ReconnectManager()
    reconnector = scripted("a/b")
    manager.register("a/b", reconnector)
    if way == MOUNTED:
        app = FastAPI()
        app.mount("/tether", create_app(manager))
    else:
        app = create_app(manager, base_path="/x/tether")
    async with reconnector, client_of(app) as client:
        accepted = await client.post(f"{asked}{CONNECTIONS}/a%2Fb/pause")
        location = accepted.headers["location"]
        assert location == f"{seen}{CONNECTIONS}/a%2Fb"
        assert (await client.get(asked + location.removeprefix(seen))).json()["paused"] is True


@real
async def test_the_path_of_the_proxy_alone_leads_to_the_docs_too():
    app, _, _ = make(LEAVES_ON)
    async with client_of(app) as client:
        assert (await client.get("/x/tether")).headers["location"] == "/x/tether/docs"
        assert (await client.get("/x/tetherless")).status_code == 404


@real
async def test_an_app_around_it_keeps_its_own_errors():
    outer, _, _ = make(MOUNTED)
    async with client_of(outer) as client:
        assert (await client.get("/elsewhere")).json() == {"detail": "Not Found"}


@real
async def test_the_docs_page_asks_no_other_host():
    app, _, _ = make("plain")
    async with client_of(app) as client:
        page = (await client.get("/docs")).text
        loads = re.findall(r"(?:href|src)=\"([^\"]+)\"", page)
        assert len(loads) >= 3
        assert all(re.match(r"/[^/]", path) for path in loads)
        assert not re.search(r"https?://", page)
        assert '"validatorUrl": null' in page
        style = (await client.get("/static-offline-docs/swagger-ui.css")).text
        assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", style)
        oauth = (await client.get("/docs/oauth2-redirect")).text
        assert not re.search(r"(?:src|href)=|https?://", oauth)
