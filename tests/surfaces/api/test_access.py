"""Who may do what: tokens, names of this machine, pages of other origins; and that no route escapes."""

import functools
import itertools

import pytest
from starlette.routing import Mount

from tests.runtime.support import virtual
from tests.surfaces.api.support import CONNECTIONS, EVENTS, client_of, real, scripted
from tether.errors import ConfigError
from tether.surfaces.api import Access, create_app
from tether.surfaces.api.access import check_exposure, is_loopback
from tether.surfaces.supervisor import Supervisor

READ, OPERATE = "read-token-1234", "operate-token-5678"
LOCAL = {"host": "127.0.0.1:8000"}
TRUSTING = Access(trusted_hosts=["Trusted.example", "[fd00::1]"])
COMMAND = f"{CONNECTIONS}/one/pause"


@functools.cache
def app_of(access):
    """Return the API over one connection that is not started; made once for each, for that is what takes time."""
    supervisor = Supervisor()
    supervisor.add("one", scripted("one"))
    return create_app(supervisor, access=access)


@functools.cache
def access_of(is_exposed, has_read, has_operate):
    return Access(READ * has_read, OPERATE * has_operate, is_exposed=is_exposed)


async def ask(access, method, path, headers):
    async with client_of(app_of(access)) as client:
        return await client.request(method, path, headers=LOCAL | headers)


def refusal(is_exposed, has_read, has_operate, sent, operate):
    """Return the status that a request is refused with, 0 if it is not: the documents' words, said anew."""
    if operate and not has_operate:
        return 403 if has_read or is_exposed else 0
    if not operate and not has_read and not is_exposed:
        return 0
    if sent == "operate" and has_operate:
        return 0
    if sent == "read" and has_read:
        return 403 if operate else 0
    return 401


@pytest.mark.parametrize(
    ("is_exposed", "has_read", "has_operate", "sent", "operate"),
    list(
        itertools.product(
            [False, True],
            [False, True],
            [False, True],
            ["nothing", "bad", "empty", "read", "operate"],
            [False, True],
        )
    ),
)
@virtual
async def test_the_table_of_tokens(is_exposed, has_read, has_operate, sent, operate):
    access = access_of(is_exposed, has_read, has_operate)
    token = {"bad": "wrong", "empty": "", "read": READ, "operate": OPERATE}
    headers = {"authorization": f"Bearer {token[sent]}"} if sent in token else {}
    method, path = ("POST", COMMAND) if operate else ("GET", CONNECTIONS)

    response = await ask(access, method, path, headers)

    # 409: the command came through, and the connection is not started.
    expected = refusal(is_exposed, has_read, has_operate, sent, operate) or (409 if operate else 200)
    assert response.status_code == expected
    assert READ not in response.text
    assert OPERATE not in response.text
    assert ("www-authenticate" in response.headers) == (expected == 401)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"bearer",
        READ.encode(),
        f"Basic {READ}".encode(),
        f"Digest {READ}".encode(),
        f"Bearer {READ}x".encode(),
        f"Bearer {READ[:-1]}".encode(),
        f"Bearer {READ} {READ}".encode(),
        f"Bearer:{READ}".encode(),
        "Bearer gehe\u00efm".encode(),
        "Bearer ge\u00efm".encode("latin-1"),
        b"Bearer \xff\xfe",
        b"Bearer " + b"a" * 15_000,
        b"\x00" * 10,
    ],
)
@virtual
async def test_odd_authorization_is_401_and_nothing_worse(value):
    response = await ask(access_of(False, True, True), "GET", CONNECTIONS, {"authorization": value})

    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"


@pytest.mark.parametrize("value", [f"Bearer {READ}", f"bearer {READ}", f"BEARER   {READ} "])
@virtual
async def test_the_scheme_is_written_in_any_case(value):
    assert (await ask(Access(READ), "GET", CONNECTIONS, {"authorization": value})).status_code == 200


@virtual
async def test_a_token_may_hold_any_text():
    header = {"authorization": "Bearer пароль".encode()}

    assert (await ask(Access("пароль"), "GET", CONNECTIONS, header)).status_code == 200


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("127.1.2.3:1", True),
        ("localhost", True),
        ("LocalHost:8000", True),
        ("localhost.", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("trusted.example", True),
        ("Trusted.Example:443", True),
        ("trusted.example.", True),
        ("[fd00::1]:8000", True),
        ("", False),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil@127.0.0.1", False),
        ("127.0.0.1/evil", False),
        ("127.0.0.1#evil", False),
        ("127.0.0.1?evil", False),
        ("127.0.0.1\\evil", False),
        ("[::1", False),
        ("::1", False),
        ("[::2]", False),
        ("0.0.0.0", False),
        ("2130706433", False),
        ("sub.trusted.example", False),
    ],
)
@pytest.mark.parametrize(("method", "path", "status"), [("GET", CONNECTIONS, 200), ("POST", COMMAND, 409)])
@virtual
async def test_an_open_api_answers_only_to_names_of_this_machine(host, passes, method, path, status):
    response = await ask(TRUSTING, method, path, {"host": host})

    assert response.status_code == (status if passes else 403)


@virtual
async def test_without_a_host_an_open_api_does_not_answer():
    app = create_app(Supervisor())
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": CONNECTIONS,
        "raw_path": CONNECTIONS.encode(),
        "query_string": b"",
        "headers": [],
    }
    await app(scope, None, send)

    assert sent[0]["status"] == 403


@virtual
async def test_with_a_token_the_name_does_not_matter():
    headers = {"host": "evil.example", "authorization": f"Bearer {READ}"}

    assert (await ask(Access(READ), "GET", CONNECTIONS, headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "https://127.0.0.1:8000"}, True),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "http://127.0.0.1:9000"}, False),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "http://localhost:8000"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://[::1"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "nonsense"}, False),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "cross-site"}, False),
    ],
)
@pytest.mark.parametrize("access", [Access(), Access(READ, OPERATE)], ids=["open", "tokens"])
@virtual
async def test_commands_from_pages_of_other_origins_are_refused_also_with_a_token(headers, passes, access):
    headers = headers | {"authorization": f"Bearer {OPERATE}"}

    assert (await ask(access, "POST", COMMAND, headers)).status_code == (409 if passes else 403)
    assert (await ask(access, "GET", CONNECTIONS, headers)).status_code == 200


OPEN = {
    "/livez",
    "/readyz",
    "/",
    "/docs",
    "/docs/oauth2-redirect",
    "/openapi.json",
    "/static-offline-docs/favicon.png",
}


def walk(routes):
    for route in routes:
        if hasattr(route, "original_router"):  # newer versions of FastAPI include routers whole
            yield from walk(route.original_router.routes)
        else:
            yield route


def routes():
    """Return (method, path) of everything that can be asked for, as the router knows it."""
    found = set()
    for route in walk(create_app(Supervisor()).routes):
        if isinstance(route, Mount):
            found.add(("GET", f"{route.path}/favicon.png"))
        else:
            found |= {(method, route.path) for method in route.methods}
    return sorted(found | {("HEAD", path) for method, path in found if method == "GET"})


@pytest.mark.parametrize(("method", "path"), routes())
@pytest.mark.parametrize("access", [Access(READ, OPERATE), Access()], ids=["without token", "rebound name"])
@real  # files are read on a thread
async def test_no_route_escapes_the_check(method, path, access):
    response = await ask(access, method, path.replace("{id}", "one"), {"host": "evil.example"})

    if path in OPEN:
        assert response.status_code in {200, 307}
    else:
        assert response.status_code in {401, 403}


def test_the_routes_are_what_we_think():
    assert {path for _, path in routes()} >= {
        *OPEN,
        "/metrics",
        EVENTS,
        CONNECTIONS,
        CONNECTIONS + "/{id}",
        *(f"{CONNECTIONS}/{{id}}/{command}" for command in ("reconnect", "pause", "resume")),
    }


@pytest.mark.parametrize("path", ["/metrics", "/readyz?verbose", "/readyz?verbose=1", f"{EVENTS}?replay=1"])
@virtual
async def test_what_names_connections_needs_read_access(path):
    assert (await ask(Access(READ, OPERATE), "GET", path, {})).status_code == 401
    assert (await ask(Access(), "GET", path, {"host": "evil.example"})).status_code == 403


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@virtual
async def test_probes_need_no_token(path):
    response = await ask(Access(READ, OPERATE, is_exposed=True), "GET", path, {"host": "10.1.2.3"})

    assert response.status_code == 200
    assert "one" not in response.text


@virtual
async def test_tokens_are_in_no_answer_and_no_line_of_the_log(caplog):
    caplog.set_level(0)
    for sent in (READ, OPERATE, "wrong-token-9"):
        for method, path in (
            ("GET", CONNECTIONS),
            ("POST", COMMAND),
            ("GET", "/openapi.json"),
            ("GET", "/metrics"),
        ):
            response = await ask(
                access_of(False, True, True), method, path, {"authorization": f"Bearer {sent}"}
            )
            for token in (READ, OPERATE, "wrong-token-9"):
                assert token not in response.text
                assert token not in str(response.headers)
    for token in (READ, OPERATE, "wrong-token-9"):
        assert token not in caplog.text
    assert READ not in repr(Access(READ, OPERATE))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.1.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com", ""])
def test_another_address_needs_a_token(host):
    with pytest.raises(ConfigError, match="operate_token"):
        check_exposure(host, "", "")
    check_exposure(host, READ, "")
    check_exposure(host, "", OPERATE)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_none(host):
    check_exposure(host, "", "")
    assert is_loopback(host)
