"""RedisReconnector against a real server that is killed, frozen and restarted."""

import asyncio
import gc
import logging
import re
import time
from typing import Any

import pytest
import redis.asyncio as aio
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.storage.redis.conftest import ask, until
from tether import IndeterminateError, NotConnected, Status, UsageError
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.storage import RedisReconnector
from tether.testing.contract import check_connector
from tether.testing.servers import RedisServer
from tether.testing.tcp import MuteServer

pytestmark = pytest.mark.needs_server

QUICK: dict[str, Any] = {
    "health_check_interval": 0.3,
    "health_check_timeout": 0.2,
    "retry_interval": fixed_interval(0.05),
    "max_retries": None,
}


def no_retry(port, **options):
    return aio.Redis(port=port, retry=aio.retry.Retry(NoBackoff(), 0), **options)


def test_the_connector_keeps_the_contract(server):
    def make():
        from tether.storage.redis.connector import RedisConnector

        return RedisConnector(aio.Redis(port=server.port))

    asyncio.run(check_connector(make, cut=server.kill, mend=server.restart))


def test_a_killed_server_is_noticed_at_once_and_everything_comes_back(server):
    async def main():
        client, got = aio.Redis(port=server.port, decode_responses=True), []
        async with RedisReconnector(client, **QUICK) as reconnector:
            await reconnector.subscribe("news", handler=got.append)
            server.kill()
            await until(lambda: not reconnector.is_connected, within=0.25)  # sooner than any probe
            assert reconnector.stats().cause.code == "eof"
            await until(lambda: reconnector.retry_count >= 1)
            assert reconnector.stats().cause.code == "refused"
            server.restart()
            await reconnector.wait_connected(2)
            assert await reconnector.run(lambda c: c.set("a", 1)) is True
            await client.publish("news", "again")
            await until(lambda: got)
            assert got == [{"type": "message", "pattern": None, "channel": "news", "data": "again"}]
        await client.aclose()

    asyncio.run(main())


def test_a_frozen_server_is_noticed_while_only_listening(server):
    """redis-py #2417: pub/sub with a health-check interval sees None for ever."""

    async def main():
        client, got = aio.Redis(port=server.port), []
        async with RedisReconnector(client, **QUICK) as reconnector:
            await reconnector.subscribe("news", handler=got.append)
            server.freeze()
            await until(lambda: not reconnector.is_connected, within=2.0)
            assert reconnector.stats().cause.code == "timeout"
            server.thaw()
            await reconnector.wait_connected(2)
            await client.publish("news", "thawed")
            await until(lambda: got)
        await client.aclose()

    asyncio.run(main())


def test_the_bound_for_a_freeze_is_interval_plus_timeout(server):
    async def main():
        client = aio.Redis(port=server.port)
        async with RedisReconnector(client, **QUICK) as reconnector:
            loop, lost = asyncio.get_running_loop(), []
            frozen_at = loop.time()
            server.freeze()
            events = reconnector.events()
            async for event in events:
                if event.kind is Kind.LOST:
                    lost.append(loop.time() - frozen_at)
                    break
            # The bound that users rely on; a tenth of a second for a busy machine.
            assert lost[0] <= 0.3 + 0.2 + 0.1
            server.thaw()
        await client.aclose()

    asyncio.run(main())


def test_unsubscribed_during_the_outage_stays_unsubscribed(server):
    async def main():
        client, kept, gone = aio.Redis(port=server.port), [], []
        async with RedisReconnector(client, **QUICK) as reconnector:
            await reconnector.subscribe("kept", handler=kept.append)
            subscription = await reconnector.subscribe("gone", handler=gone.append)
            server.kill()
            await until(lambda: not reconnector.is_connected)
            await subscription.unsubscribe()
            assert not subscription.is_active
            server.restart()
            await reconnector.wait_connected(2)
            assert await client.pubsub_numsub("kept", "gone") == [(b"kept", 1), (b"gone", 0)]
            await client.publish("gone", "x")
            await client.publish("kept", "y")
            await until(lambda: kept)
            assert gone == []
        await client.aclose()

    asyncio.run(main())


def test_subscribed_while_down_or_before_the_start_works_from_the_first_connection_on(server):
    async def main():
        client, early, late = aio.Redis(port=server.port), [], []
        reconnector = RedisReconnector(client, **QUICK)
        await reconnector.subscribe("early.*", handler=early.append, pattern=True)
        async with reconnector:
            assert await client.publish("early.bird", "x") == 1
            await until(lambda: early)  # acknowledged is not yet delivered: a kill in between would lose it
            server.kill()
            await until(lambda: not reconnector.is_connected)
            await reconnector.subscribe("late", handler=late.append)
            server.restart()
            await reconnector.wait_connected(2)
            assert await client.publish("late", "z") == 1
            await until(lambda: late)
            assert early[0]["pattern"] == b"early.*"
            assert early[0]["channel"] == b"early.bird"
        await client.aclose()

    asyncio.run(main())


def test_a_gap_is_told_after_the_reconnect_with_its_length_and_channels(server):
    async def main():
        client = aio.Redis(port=server.port)
        async with RedisReconnector(client, **QUICK) as reconnector:
            await reconnector.subscribe("news", handler=lambda _: None)
            events = reconnector.events()
            server.kill()
            await until(lambda: not reconnector.is_connected)
            server.restart()
            await reconnector.wait_connected(2)
            await asyncio.sleep(0)
            kinds = []
            async for event in events:
                kinds.append(event.kind)
                if event.kind is Kind.GAP:
                    assert event.detail["channels"] == ["news"]
                    assert event.elapsed > 0
                    break
            assert kinds[-2:] == [Kind.RECONNECTED, Kind.GAP]
        await client.aclose()

    asyncio.run(main())


def test_a_channel_that_the_server_refuses_degrades_and_the_others_come_back(server):
    async def main():
        admin = no_retry(server.port)
        await admin.acl_setuser("app", enabled=True, passwords=["+pw-of-app"], commands=["+@all"], keys=["*"])
        await admin.execute_command("ACL", "SETUSER", "app", "allchannels")
        client, good, bad = no_retry(server.port, username="app", password="pw-of-app"), [], []
        async with RedisReconnector(client, **QUICK) as reconnector:
            await reconnector.subscribe("bad", handler=bad.append)
            await reconnector.subscribe("good", handler=good.append)
            await admin.execute_command("ACL", "SETUSER", "app", "resetchannels", "&good")
            await reconnector.reconnect()
            await until(lambda: reconnector.stats().degraded)
            assert await admin.publish("good", "1") == 1
            await until(lambda: good)
            await admin.execute_command("ACL", "SETUSER", "app", "allchannels")
            await until(lambda: not reconnector.stats().degraded and reconnector.is_connected)
            await admin.publish("bad", "2")
            await until(lambda: bad)
        await client.aclose()
        await admin.aclose()

    asyncio.run(main())


def test_a_subscription_refused_at_once_is_raised_and_not_kept(server):
    async def main():
        admin = no_retry(server.port)
        await admin.execute_command(
            "ACL", "SETUSER", "app", "on", ">pw-of-app", "+@all", "~*", "resetchannels", "&good"
        )
        client = no_retry(server.port, username="app", password="pw-of-app")
        async with RedisReconnector(client, **QUICK) as reconnector:
            with pytest.raises(ResponseError):
                await reconnector.subscribe("bad", handler=print)
            await reconnector.reconnect()
            assert not reconnector.stats().degraded
        await client.aclose()
        await admin.aclose()

    asyncio.run(main())


def test_a_slow_handler_loses_its_oldest_messages_counted_and_never_the_connection(server):
    async def main():
        client, got, release, told = aio.Redis(port=server.port), [], asyncio.Event(), []

        async def slow(message):
            await release.wait()
            got.append(int(message["data"]))

        async with RedisReconnector(client, subscribers=[told.append], **QUICK) as reconnector:
            subscription = await reconnector.subscribe("flood", handler=slow)
            for first in range(0, 1500, 100):
                async with client.pipeline(transaction=False) as pipe:
                    for number in range(first, first + 100):
                        pipe.publish("flood", number)
                    await pipe.execute()
            await until(lambda: subscription.dropped == 499)  # 1 with the handler, 1 000 kept
            await asyncio.sleep(0.6)  # two probes go by: a slow consumer is no dead peer
            assert reconnector.stats().losses == 0
            assert reconnector.stats().dropped == 499
            release.set()
            await until(lambda: len(got) == 1001)
            assert got == [0, *range(500, 1500)]
        drops = [event.detail for event in told if event.kind is Kind.DROPPED]
        assert {drop["callback"] for drop in drops} == {"subscription(flood)"}
        assert sum(drop["dropped"] for drop in drops) == 499
        assert drops[0]["dropped"] == 1
        assert len(drops) < 5  # in bunches, not one by one
        await client.aclose()

    asyncio.run(main())


def test_a_handler_that_hangs_does_not_outlive_stop_even_when_it_was_unsubscribed(server):
    async def main():
        client, entered = aio.Redis(port=server.port), asyncio.Event()

        async def hang(message):
            entered.set()
            await asyncio.get_running_loop().create_future()

        async with RedisReconnector(client, **QUICK) as reconnector:
            subscription = await reconnector.subscribe("news", handler=hang)
            await client.publish("news", "one")
            await entered.wait()
            await subscription.unsubscribe()
            assert not subscription.is_active
        assert [task for task in asyncio.all_tasks() if "subscription" in task.get_name()] == []
        await client.aclose()

    asyncio.run(main())


def test_a_reader_of_events_sees_all_drops_also_those_of_the_end(server):
    async def main():
        client, entered = aio.Redis(port=server.port), asyncio.Event()

        async def hang(message):
            entered.set()
            await asyncio.get_running_loop().create_future()

        reconnector = RedisReconnector(client, **QUICK)
        await reconnector.start()
        events = reconnector.events()
        subscription = await reconnector.subscribe("news", handler=hang)
        for number in range(8):
            await client.publish("news", number)
        await entered.wait()
        await until(lambda: len(subscription.mailbox._queue) == 7)
        await reconnector.stop()
        drops = [event.detail["dropped"] async for event in events if event.kind is Kind.DROPPED]
        assert drops == [7]
        assert reconnector.stats().dropped == 7
        await client.aclose()

    asyncio.run(main())


def test_an_attempt_tells_its_phases_in_order_and_a_failed_one_how_far_it_came(server):
    async def main():
        told = []
        client = no_retry(server.port)
        async with RedisReconnector(client, subscribers=[told.append], **QUICK) as reconnector:
            server.kill()
            await until(lambda: reconnector.retry_count >= 1)
            server.restart()
            await reconnector.wait_connected(2)
        ends = {Kind.CONNECTED, Kind.RECONNECTED, Kind.ATTEMPT_FAILED}
        courses = {event.kind: event.detail for event in told if event.kind in ends}
        assert set(courses) == ends
        for kind, course in courses.items():
            whole = ["dns", "tcp", "auth", "restore", "ready"]
            assert list(course["phases"]) == (whole[:2] if kind is Kind.ATTEMPT_FAILED else whole)
            assert sum(course["phases"].values()) == pytest.approx(course["duration"], abs=1e-5)
            assert 0 < course["duration"] < 2
        await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_no_pooled_connection_of_before_the_loss_is_used_again(server, fault):
    """All slots are in use when it happens; the busy ones must not come back either."""

    async def main():
        client = no_retry(server.port, max_connections=4)
        async with RedisReconnector(client, **QUICK) as reconnector:
            before = set(await asyncio.gather(*(client.client_id() for _ in range(4))))
            started = ask(server.port, "INFO server").split("run_id:")[1][:40]
            busy = [asyncio.ensure_future(client.blpop("never", timeout=0)) for _ in range(4)]
            await until(lambda: len(client.connection_pool._in_use_connections) == 4)
            getattr(server, fault)()
            await until(lambda: not reconnector.is_connected)
            server.thaw() if fault == "freeze" else server.restart()
            await reconnector.wait_connected(2)
            if fault == "freeze":
                assert started in ask(
                    server.port, "INFO server"
                )  # the same server: ids of before are comparable
                ask(server.port, *["LPUSH never x"] * 4)  # the busy calls end well, on the old connections
                await asyncio.gather(*busy)
            else:
                outcomes = await asyncio.gather(*busy, return_exceptions=True)
                assert all(isinstance(outcome, RedisConnectionError) for outcome in outcomes)
            after = set(await asyncio.gather(*(client.client_id() for _ in range(4))))
            if fault == "freeze":
                assert not before & after
                assert min(after) > max(before)
            assert len(after) == 4
        await client.aclose()

    asyncio.run(main())


def test_the_users_client_is_neither_closed_nor_reconfigured(server):
    async def main():
        client = aio.Redis(port=server.port)
        retries, settings = client.get_retry().get_retries(), dict(client.connection_pool.connection_kwargs)
        await client.ping()
        async with RedisReconnector(client, **QUICK):
            await client.set("a", 1)
        assert client.connection_pool._available_connections[0].is_connected
        assert client.get_retry().get_retries() == retries
        assert client.connection_pool.connection_kwargs == settings
        assert await client.get("a") == b"1"
        await client.aclose()

    asyncio.run(main())


def test_there_is_one_connection_and_one_login_of_tethers_own_and_none_after_stop(server):
    def connections():
        return ask(server.port, "CLIENT LIST").count("cmd=") - 1  # without the asking one

    async def main():
        reconnector = RedisReconnector(None, f"redis://127.0.0.1:{server.port}/3", **QUICK)
        async with reconnector:
            await reconnector.subscribe("news", handler=print)
            assert connections() == 1
            assert "db=3" in ask(server.port, "CLIENT LIST")
            assert await reconnector.run(lambda c: c.set("a", 1)) is True
        assert reconnector.status is Status.DISCONNECTED
        await until(lambda: connections() == 0, within=1)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


# A loop that ends without stop() leaves open sockets behind, and Python says so; that is the user's, not tether's.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_event_loop_after_the_other_with_and_without_stop(server):
    """asyncmy #111: the pool outlives its loop."""

    async def use(client, reconnector, *, stop):
        await reconnector.start()
        assert reconnector.is_connected
        assert await reconnector.run(lambda c: c.incr("runs"))
        await client.connection_pool.disconnect()
        if stop:
            await reconnector.stop()

    def use_three_times():
        client = aio.Redis(port=server.port)
        reconnector = RedisReconnector(client, **QUICK)
        for stop in (True, False, True):
            asyncio.run(use(client, reconnector, stop=stop))
        assert reconnector.stats().losses == 0

    use_three_times()
    gc.collect()


def test_a_blocked_event_loop_is_no_loss(server):
    async def main():
        client = aio.Redis(port=server.port)
        async with RedisReconnector(client, **QUICK) as reconnector:
            reconnector._engine.watcher.probe_now()
            time.sleep(0.6)  # noqa: ASYNC251 - longer than the probe's timeout, in the middle of a probe
            await asyncio.sleep(0.3)
            assert reconnector.stats().losses == 0
            assert reconnector.stats().stalls >= 1
        await client.aclose()

    asyncio.run(main())


def test_a_call_under_way_ends_as_indeterminate(server):
    async def main():
        client = no_retry(server.port)
        async with RedisReconnector(client, **QUICK) as reconnector:
            call = asyncio.ensure_future(reconnector.run(lambda c: c.blpop("never", timeout=0)))
            await asyncio.sleep(0.05)
            server.freeze()
            with pytest.raises(IndeterminateError) as caught:
                await call
            assert caught.value.cause.code == "timeout"
            with pytest.raises(NotConnected, match="reconnecting"):
                await reconnector.run(lambda c: c.get("a"))
            server.thaw()
            assert await reconnector.run(lambda c: c.set("a", 1), timeout=2) is True
        await client.aclose()

    asyncio.run(main())


def test_a_cancelled_call_leaves_no_answer_for_the_next_caller(server):
    """redis-py #2624: the next caller got another caller's answer."""

    async def main():
        client = no_retry(server.port, max_connections=1)
        async with RedisReconnector(client, **QUICK) as reconnector:
            await client.mset({f"key{n}": n for n in range(50)})
            for number in range(50):
                call = asyncio.ensure_future(reconnector.run(lambda c: c.get("key0")))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait({call})
                key = f"key{number}"
                assert await reconnector.run(lambda c, key=key: c.get(key)) == str(number).encode()
        await client.aclose()

    asyncio.run(main())


def test_a_reply_that_is_an_error_is_no_loss(server):
    async def main():
        client = no_retry(server.port)
        async with RedisReconnector(client, **QUICK) as reconnector:
            await client.set("text", "x")
            with pytest.raises(ResponseError):
                await reconnector.run(lambda c: c.incr("text"))
            assert reconnector.stats().losses == 0
        await client.aclose()

    asyncio.run(main())


class CountingServer:
    """A peer that logs in, answers PING, counts GETs, and drops the connection on each of them."""

    def __init__(self):
        self.gets = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self._server.close()

    async def _serve(self, reader, writer):
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip().upper())
            if words[0] == b"GET":
                self.gets += 1
                break
            writer.write(
                b"+PONG\r\n"
                if words[0] == b"PING"
                else b"%1\r\n+proto\r\n:3\r\n"
                if words[0] == b"HELLO"
                else b"+OK\r\n"
            )
        writer.transport.abort()


@pytest.mark.parametrize(
    ("retries", "idempotent", "expected"), [(0, False, 1), (3, False, 4), (3, True, 4), (0, True, 2)]
)
def test_attempts_do_not_multiply_with_the_drivers_own(retries, idempotent, expected):
    """stamina #19: nested retries multiply."""

    async def main():
        async with CountingServer() as peer:
            client = aio.Redis(port=peer.port, retry=aio.retry.Retry(NoBackoff(), retries))
            async with RedisReconnector(client, **QUICK) as reconnector:
                with pytest.raises(IndeterminateError):
                    await reconnector.run(lambda c: c.get("a"), idempotent=idempotent)
            assert peer.gets == expected
            await client.aclose()

    asyncio.run(main())


def test_a_wrong_password_is_tried_twice_and_parked(server):
    async def main():
        admin = no_retry(server.port)
        await admin.config_set("requirepass", "right-password")
        client = no_retry(server.port, password="wrong-password")
        reconnector = RedisReconnector(client, reauth_delay=0.05, **QUICK)
        gave_up = []
        reconnector.on_give_up(lambda error, count: gave_up.append(count))
        await reconnector.start()
        await until(lambda: reconnector.status is Status.FAILED)
        await asyncio.sleep(0.3)
        assert gave_up == [2]
        assert reconnector.stats().cause.code == "auth"
        assert reconnector.stats().cause.label("zh") == "认证失败"
        refused = re.search(
            r"errorstat_WRONGPASS:count=(\d+)", ask(server.port, "AUTH right-password", "INFO errorstats")
        )
        assert refused is not None
        assert refused[1] == "2"  # what the server has seen
        assert reconnector.stats().attempts == 2
        await reconnector.stop()
        await client.aclose()
        await admin.aclose()

    asyncio.run(main())


def test_a_rotated_password_is_asked_for_once_and_used_by_the_built_client_too(server):
    async def main():
        admin = no_retry(server.port)
        await admin.config_set("requirepass", "old-password")
        asked = []

        async def password():
            asked.append(1)
            return "new-password"

        reconnector = RedisReconnector(
            None,
            f"redis://:old-password@127.0.0.1:{server.port}",
            credentials=password,
            reauth_delay=0.05,
            **QUICK,
        )
        async with reconnector:
            assert asked == []
            await admin.config_set("requirepass", "new-password")
            await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await until(lambda: reconnector.stats().losses == 1)
            await reconnector.wait_connected(2)
            assert asked == [1]
            assert await reconnector.run(lambda c: c.set("a", 1)) is True
        await admin.aclose()

    asyncio.run(main())


def test_too_many_clients_is_overloaded_and_does_not_use_up_the_retries(server):
    async def main():
        ask(server.port, "CONFIG SET maxclients 1")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PING\r\n")
        await reader.readline()
        reconnector = RedisReconnector(
            None, f"redis://127.0.0.1:{server.port}", **{**QUICK, "max_retries": 1}
        )
        await reconnector.start()
        await until(lambda: reconnector.retry_count >= 5)
        assert reconnector.stats().cause.code == "overloaded"
        writer.close()
        await writer.wait_closed()
        await reconnector.wait_connected(2)
        await reconnector.stop()

    asyncio.run(main())


def test_a_peer_that_accepts_and_never_answers_fails_within_the_connect_timeout():
    async def main():
        async with MuteServer() as peer:
            reconnector = RedisReconnector(
                None, f"redis://:password@127.0.0.1:{peer.port}", connect_timeout=0.2, **QUICK
            )
            await reconnector.start()
            assert reconnector.stats().cause.code == "timeout"
            assert reconnector.stats().cause.phase == "auth"
            began = time.monotonic()
            await reconnector.stop()
            assert time.monotonic() - began < 0.5

    asyncio.run(main())


def test_no_secret_is_shown_anywhere(server, caplog):
    async def main():
        caplog.set_level(logging.DEBUG, "tether")
        ask(server.port, "CONFIG SET requirepass sup3r-s3cret")
        url = f"redis://app:sup3r-s3cret@127.0.0.1:{server.port}/0"
        seen = []
        reconnector = RedisReconnector(None, url, subscribers=[seen.append], reauth_delay=0.01, **QUICK)

        @reconnector.on_reconnect_failed
        def leaky(error, retry_count):
            raise RuntimeError(f"cannot log in with {url}") from error

        await reconnector.start()
        await until(lambda: reconnector.status is Status.FAILED)
        with pytest.raises(NotConnected) as refused:
            await reconnector.run(lambda c: c.get("a"))
        await reconnector.stop()
        shown = [
            repr(reconnector),
            reconnector.name,
            str(refused.value),
            str(reconnector.stats()),
            caplog.text,
        ]
        shown += [repr(event) + str(event.as_dict()) for event in seen]
        assert any("callback_failed" in text for text in shown)
        assert not [text for text in shown if "sup3r-s3cret" in text]

    asyncio.run(main())


def test_tls_and_a_wrong_certificate(server):
    trustme = pytest.importorskip("trustme")
    import ssl

    async def main():
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)

        async def forward(reader, writer):
            upstream = await asyncio.open_connection("127.0.0.1", server.port)

            async def pump(source, sink):
                while data := await source.read(65536):
                    sink.write(data)
                sink.close()

            await asyncio.wait(
                {
                    asyncio.ensure_future(pump(reader, upstream[1])),
                    asyncio.ensure_future(pump(upstream[0], writer)),
                }
            )

        proxy = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
        port = proxy.sockets[0].getsockname()[1]
        with authority.cert_pem.tempfile() as trusted:
            options = {"host": "localhost", "port": port, "ssl": True}
            reconnector = RedisReconnector(None, {**options, "ssl_ca_certs": trusted}, **QUICK)
            async with reconnector:
                assert reconnector.is_connected
                assert await reconnector.run(lambda c: c.ping())
            reconnector = RedisReconnector(None, options, **QUICK)
            await reconnector.start()
            assert reconnector.stats().cause.code == "tls"
            assert reconnector.stats().cause.phase == "tls"
            await reconnector.stop()
        proxy.close()

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["up", "killed", "frozen", "mute"])
def test_stop_is_quick_and_leaves_nothing_in_every_state(server, fault):
    async def main():
        client = no_retry(server.port)
        reconnector = RedisReconnector(client, **QUICK)
        await reconnector.subscribe("news", handler=lambda _: None)
        await reconnector.start()
        if fault == "killed":
            server.kill()
            await until(lambda: reconnector.retry_count >= 2)
        elif fault == "frozen":
            server.freeze()
            await until(lambda: not reconnector.is_connected)
        elif fault == "mute":
            server.freeze()
        began = time.monotonic()
        await reconnector.stop()
        assert time.monotonic() - began < 0.6
        assert len(asyncio.all_tasks()) == 1
        assert reconnector.status is Status.DISCONNECTED
        await client.aclose()

    asyncio.run(main())


def test_the_server_class_is_what_the_tests_think_it_is(server):
    assert isinstance(server, RedisServer)
    assert "redis_version" in ask(server.port, "INFO server")


def test_a_call_that_times_out_has_the_server_probed_at_once(server):
    """With probes 30 s apart a frozen server is noticed by the first call that waits in vain."""

    async def main():
        client = no_retry(server.port)
        options = {**QUICK, "health_check_interval": 30, "health_check_timeout": 0.2}
        async with RedisReconnector(client, **options) as reconnector:
            server.freeze()
            with pytest.raises(TimeoutError):
                await reconnector.run(lambda c: c.get("a"), timeout=0.1)
            await until(lambda: not reconnector.is_connected, within=1)
            server.thaw()
        await client.aclose()

    asyncio.run(main())


def test_the_pool_forgets_the_dead_server_at_the_loss_not_only_at_the_return(server):
    """The first call after the restart works, however long the backoff still sleeps."""

    async def main():
        client = no_retry(server.port)
        options = {**QUICK, "retry_interval": fixed_interval(60), "stable_after": 60}
        async with RedisReconnector(client, **options) as reconnector:
            await client.set("a", 1)
            server.kill()
            await until(lambda: not reconnector.is_connected)
            await asyncio.sleep(0.05)
            server.restart()
            assert await client.set("a", 2) is True
            assert not reconnector.is_connected
        await client.aclose()

    asyncio.run(main())


def test_subscribing_from_another_loop_is_misuse(server):
    async def main():
        async with RedisReconnector(None, f"redis://127.0.0.1:{server.port}", **QUICK) as reconnector:

            async def elsewhere():
                with pytest.raises(UsageError, match="another event loop"):
                    await reconnector.subscribe("news", handler=print)
                with pytest.raises(UsageError, match="event loop"):
                    reconnector.events()

            await asyncio.to_thread(asyncio.run, elsewhere())
            assert reconnector.is_connected

    asyncio.run(main())
