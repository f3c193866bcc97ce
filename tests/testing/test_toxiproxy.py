"""Toxiproxy's HTTP API, asked as its documentation says, and by a client of its own."""

import contextlib
import json
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from tether.testing.proxy import FaultProxy, Latency
from tether.testing.tcp import free_port, port_is_free, refused_port
from tether.testing.toxiproxy import ToxiproxyApi

HOST = "127.0.0.1"


@pytest.fixture
def upstream():
    """An echo server; its address."""

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                while data := peer.recv(1000):
                    peer.sendall(data)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"{HOST}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def api():
    before = threading.active_count()
    with ToxiproxyApi(port=0, seed=1) as running:
        yield running
    assert threading.active_count() <= before


@pytest.fixture
def http(api):
    with httpx.Client(base_url=api.url, timeout=10, verify=False) as client:
        yield client


@pytest.fixture
def redis(http, upstream):
    """A proxy named redis, as the API shows it."""
    answer = http.post("/proxies", json={"name": "redis", "listen": "127.0.0.1:0", "upstream": upstream})
    assert answer.status_code == 201
    return answer.json()


def connect(listen):
    host, _, port = listen.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def echoes(listen):
    with connect(listen) as client:
        client.sendall(b"hello")
        return client.recv(5, socket.MSG_WAITALL) == b"hello"


def error_of(answer):
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["error"]


class TestProxies:
    def test_the_version_is_one_that_clients_accept(self, http):
        assert http.get("/version").json()["version"].split(".")[0] == "2"

    def test_a_proxy_is_created_listed_shown_and_deleted(self, http, redis, upstream):
        port = int(redis["listen"].rpartition(":")[2])
        assert redis == {
            "name": "redis",
            "listen": f"127.0.0.1:{port}",
            "upstream": upstream,
            "enabled": True,
            "toxics": [],
        }
        assert port > 0
        assert http.get("/proxies").json() == {"redis": redis}
        assert http.get("/proxies/redis").json() == redis
        assert echoes(redis["listen"])
        deleted = http.delete("/proxies/redis")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert http.get("/proxies").json() == {}
        assert port_is_free(port)

    def test_disabled_refuses_and_enabled_works_again(self, http, redis):
        for method in (http.post, http.patch):
            assert method("/proxies/redis", json={"enabled": False}).json()["enabled"] is False
            with pytest.raises(ConnectionRefusedError):
                connect(redis["listen"])
            assert method("/proxies/redis", json={"enabled": True}).json() == redis
            assert echoes(redis["listen"])

    def test_it_may_be_created_disabled(self, http, upstream):
        shown = http.post("/proxies", json={"name": "late", "upstream": upstream, "enabled": False}).json()
        assert shown["enabled"] is False
        with pytest.raises(ConnectionRefusedError):
            connect(shown["listen"])

    def test_new_addresses_drop_connections_and_keep_toxics(self, http, redis, upstream):
        http.post("/proxies/redis/toxics", json={"type": "latency", "attributes": {"latency": 1}})
        listen = f"127.0.0.1:{free_port()}"
        with connect(redis["listen"]) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            changed = http.post("/proxies/redis", json={"listen": listen}).json()
            assert client.recv(1) == b""
        assert changed["listen"] == listen
        assert [toxic["name"] for toxic in changed["toxics"]] == ["latency_downstream"]
        assert echoes(listen)

    def test_a_new_address_that_cannot_be_leaves_the_old_one(self, http, redis):
        with refused_port() as port:
            answer = http.post("/proxies/redis", json={"listen": f"127.0.0.1:{port}"})
        assert answer.status_code == 500
        assert http.get("/proxies/redis").json() == redis
        assert echoes(redis["listen"])

    def test_populate_creates_replaces_and_leaves_alone(self, http, redis, upstream):
        http.post("/proxies/redis/toxics", json={"type": "timeout"})
        same = {"name": "redis", "listen": redis["listen"], "upstream": upstream}
        new = {"name": "other", "listen": "127.0.0.1:0", "upstream": upstream}
        answer = http.post("/populate", json=[same, new])
        assert answer.status_code == 201
        shown = answer.json()["proxies"]
        assert [(one["name"], len(one["toxics"])) for one in shown] == [("redis", 1), ("other", 0)]
        replaced = http.post("/populate", json=[same | {"upstream": "127.0.0.1:1"}]).json()["proxies"]
        assert replaced[0]["upstream"] == "127.0.0.1:1"
        assert replaced[0]["toxics"] == []

    def test_reset_enables_all_and_removes_all_toxics(self, http, redis):
        http.post("/proxies/redis/toxics", json={"type": "timeout"})
        http.post("/proxies/redis", json={"enabled": False})
        assert http.post("/reset").status_code == 204
        assert http.get("/proxies/redis").json() == redis
        assert echoes(redis["listen"])

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("/proxies", "{", (400, "bad request body: it is not JSON")),
            ("/proxies", "[]", (400, "bad request body: a JSON object is needed")),
            ("/proxies", '{"upstream": "a:1"}', (400, "missing required field: name")),
            ("/proxies", '{"name": "a"}', (400, "missing required field: upstream")),
            ("/proxies", '{"name": 1, "upstream": "a:1"}', (400, "bad request body: name must be text")),
            ("/proxies", '{"name": "redis", "upstream": "a:1"}', (409, "proxy already exists")),
            (
                "/proxies",
                '{"name": "a", "upstream": "a"}',
                (400, "bad request body: 'a' is no address like 127.0.0.1:6379"),
            ),
            (
                "/proxies",
                '{"name": "a", "upstream": "a:1", "enabled": 1}',
                (400, "bad request body: enabled must be true or false"),
            ),
            ("/populate", "{}", (400, "bad request body: a JSON array of objects is needed")),
            ("/populate", '[{"name": "a"}]', (400, "missing required field: upstream at proxy 1")),
            ("/proxies/nothing", "{}", (404, "proxy not found")),
            ("/proxies/nothing/toxics", "{}", (404, "proxy not found")),
            ("/elsewhere", "{}", (404, "no such page")),
            ("/proxies/redis/elsewhere", "{}", (404, "no such page")),
        ],
    )
    def test_bad_requests_say_what_is_wrong(self, http, redis, path, body, expected):
        assert error_of(http.post(path, content=body)) == expected
        assert http.get("/proxies").json() == {"redis": redis}

    def test_a_taken_address_is_an_error(self, http, upstream):
        with refused_port() as port:
            answer = http.post(
                "/proxies", json={"name": "a", "listen": f"127.0.0.1:{port}", "upstream": upstream}
            )
        assert answer.status_code == 500
        assert "in use" in answer.json()["error"]
        assert http.get("/proxies").json() == {}


class TestToxics:
    def test_a_toxic_is_created_shown_changed_and_removed(self, http, redis):
        made = http.post("/proxies/redis/toxics", json={"type": "latency", "attributes": {"latency": 1000}})
        assert made.status_code == 200
        latency = {
            "name": "latency_downstream",
            "type": "latency",
            "stream": "downstream",
            "toxicity": 1.0,
            "attributes": {"latency": 1000, "jitter": 0},
        }
        assert made.json() == latency
        assert http.get("/proxies/redis/toxics").json() == [latency]
        assert http.get("/proxies/redis").json()["toxics"] == [latency]
        path = "/proxies/redis/toxics/latency_downstream"
        assert http.get(path).json() == latency
        for method in (http.post, http.patch):
            changed = method(path, json={"attributes": {"jitter": 5}, "toxicity": 0.5}).json()
            assert changed == latency | {"attributes": {"latency": 1000, "jitter": 5}, "toxicity": 0.5}
        deleted = http.delete(path)
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert http.get("/proxies/redis/toxics").json() == []

    @pytest.mark.parametrize(
        ("type", "attributes"),
        [
            ("latency", {"latency": 10, "jitter": 1}),
            ("bandwidth", {"rate": 100}),
            ("slow_close", {"delay": 10}),
            ("timeout", {"timeout": 60_000}),
            ("reset_peer", {"timeout": 60_000}),
            ("slicer", {"average_size": 2, "size_variation": 1, "delay": 10}),
            ("limit_data", {"bytes": 1000}),
        ],
    )
    @pytest.mark.parametrize("stream", ["upstream", "downstream"])
    def test_every_toxic_of_the_documentation_is_there(self, http, redis, type, attributes, stream):
        made = http.post(
            "/proxies/redis/toxics",
            json={"name": "mine", "type": type, "stream": stream, "toxicity": 1, "attributes": attributes},
        ).json()
        assert made == {
            "name": "mine",
            "type": type,
            "stream": stream,
            "toxicity": 1,
            "attributes": attributes,
        }

    def test_a_toxic_is_done_to_connections(self, http, redis):
        http.post("/proxies/redis/toxics", json={"type": "limit_data", "attributes": {"bytes": 3}})
        with connect(redis["listen"]) as client:
            client.sendall(b"hello")
            assert client.recv(5, socket.MSG_WAITALL) == b"hel"
        http.delete("/proxies/redis/toxics/limit_data_downstream")
        assert echoes(redis["listen"])

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"type": "latncy"}, (400, "invalid toxic type")),
            ({}, (400, "invalid toxic type")),
            ({"type": "latency", "stream": "sideways"}, (400, "stream was invalid")),
            ({"type": "latency", "attributes": {"latncy": 1}}, (400, "Did you mean 'latency'?")),
            ({"type": "latency", "attributes": {"latency": "1"}}, (400, "must be a number")),
            ({"type": "latency", "attributes": {"latency": -1}}, (400, "from 0")),
            ({"type": "latency", "attributes": [1]}, (400, "must be an object")),
            ({"type": "latency", "toxicity": 2}, (400, "share from 0 to 1")),
            ({"type": "slicer"}, (400, "at least 1 byte")),
            ({"type": "timeout"}, (409, "toxic already exists")),
        ],
    )
    def test_bad_toxics_say_what_is_wrong(self, http, redis, body, expected):
        there = http.post("/proxies/redis/toxics", json={"type": "timeout"}).json()
        status, message = error_of(http.post("/proxies/redis/toxics", json=body))
        assert status == expected[0]
        assert expected[1] in message
        assert http.get("/proxies/redis/toxics").json() == [there]

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_a_toxic_that_is_not_there_is_not_found(self, http, redis, method):
        answer = http.request(method, "/proxies/redis/toxics/nothing", content="{}")
        assert error_of(answer) == (404, "toxic not found")


class TestServing:
    def test_an_adopted_proxy_is_driven_and_left_running(self, upstream):
        host, _, port = upstream.rpartition(":")
        with FaultProxy(host, int(port)) as proxy:
            with ToxiproxyApi(port=0) as api, httpx.Client(base_url=api.url, timeout=10) as http:
                api.adopt("mine", proxy)
                with pytest.raises(ValueError, match="already"):
                    api.adopt("mine", proxy)
                http.post("/proxies/mine/toxics", json={"type": "latency", "attributes": {"latency": 1}})
                assert http.post("/proxies/mine", json={"listen": "127.0.0.1:1"}).status_code == 409
            assert [placed.toxic for placed in proxy.toxics] == [Latency(0.001)]
            assert echoes(f"{proxy.host}:{proxy.port}")

    def test_only_loopback_is_served(self):
        with pytest.raises(ValueError, match="loopback only"):
            ToxiproxyApi("0.0.0.0")

    def test_a_taken_port_is_an_error(self):
        with refused_port() as port, pytest.raises(OSError, match="in use"):
            ToxiproxyApi(port=port).start()

    def test_it_may_listen_on_the_other_loopback(self):
        with ToxiproxyApi("::1", 0) as api:
            assert api.url.startswith("http://[::1]:")
            assert httpx.get(f"{api.url}/version").status_code == 200

    @pytest.mark.parametrize("header", [{"User-Agent": "Mozilla/5.0"}, {"Origin": "https://example.org"}])
    def test_browsers_are_refused(self, http, header):
        assert error_of(http.get("/proxies", headers=header)) == (403, "User agent not allowed")

    def test_large_and_unmeasured_bodies_are_refused(self, http):
        assert error_of(http.post("/populate", content=b" " * 2_000_000))[0] == 413
        assert error_of(http.post("/populate", content=iter([b"[]"])))[0] == 411

    def test_half_a_request_does_not_keep_it_from_ending(self, monkeypatch):
        monkeypatch.setattr("tether.testing.toxiproxy._Handler.timeout", 0.2)
        with ToxiproxyApi(port=0) as api:
            stuck = socket.create_connection((HOST, api.port), timeout=10)
            stuck.sendall(b"POST /populate HTTP/1.1\r\nContent-Length: 10\r\n\r\n[")
            assert httpx.get(f"{api.url}/version", timeout=10).status_code == 200
        with stuck:
            assert stuck.recv(1) == b""

    def test_many_clients_at_once_get_whole_answers(self, http, api, redis):
        failures = []

        def drive(number):
            try:
                with httpx.Client(base_url=api.url, timeout=10, verify=False) as client:
                    for _ in range(6):
                        name = f"toxic{number}"
                        client.post(
                            "/proxies/redis/toxics", json={"name": name, "type": "timeout"}
                        ).raise_for_status()
                        client.delete(f"/proxies/redis/toxics/{name}").raise_for_status()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=drive, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failures == []
        assert http.get("/proxies/redis/toxics").json() == []


def test_a_client_made_for_toxiproxy_drives_it(api, upstream):
    toxiproxy = pytest.importorskip("toxiproxy")
    client = toxiproxy.Toxiproxy()
    client.update_api_consumer(HOST, api.port)
    assert client.running()
    assert json.loads(client.version())["version"].startswith("2.")
    proxy = client.create(name="redis", upstream=upstream)
    assert list(client.proxies()) == ["redis"]
    with proxy.down(), pytest.raises(ConnectionRefusedError):
        connect(proxy.listen)
    assert echoes(proxy.listen)
    proxy.add_toxic(type="limit_data", attributes={"bytes": 2})
    with connect(proxy.listen) as plain:
        plain.sendall(b"hello")
        assert plain.recv(5, socket.MSG_WAITALL) == b"he"
    assert proxy.get_toxic("limit_data_downstream").attributes == {"bytes": 2}
    proxy.destroy_toxic("limit_data_downstream")
    assert proxy.toxics() == {}
    with pytest.raises(toxiproxy.exceptions.ProxyExists):
        client.create(name="redis", upstream=upstream)
    client.populate([{"name": "other", "upstream": upstream, "listen": "127.0.0.1:0"}])
    assert set(client.proxies()) == {"redis", "other"}
    assert client.reset()
    client.destroy_all()
    assert client.proxies() == {}


def test_nothing_but_the_standard_library_is_needed():
    program = (
        "import sys, tether.testing.toxiproxy; print({'fastapi', 'uvicorn', 'httpx'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "set()\n"
