"""What happens to the host: it slept, a network came, a network went. Logic on the virtual clock, messages as fed."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
import time
from collections import Counter
from typing import Any

import pytest

from tests.runtime import netlink
from tests.runtime.forking import run_uvloop
from tests.runtime.support import Misbehaving, Notes, forever, now, settle, supervise, timers, virtual
from tether import ReconnectManager, Status
from tether.backoff import fixed_interval
from tether.core.events import Kind
from tether.runtime import host_watch, suspension
from tether.runtime.host_watch import GATHER, LOOK_EVERY, SPACING, HostWatch
from tether.runtime.network_watch import open_socket
from tether.testing.clock import run_virtual
from tether.testing.scripted import Hang, ScriptedConnection, ScriptedConnector

SOON = LOOK_EVERY + 0.01
FIVE_MINUTES = fixed_interval(300)


class FakeHost:
    """A host that sleeps and has networks as the test says. Made inside of the loop that it is for."""

    def __init__(self, *, can_tell: bool = True) -> None:
        self.asleep = 0.0
        self.opened = 0
        self._kernel: socket.socket | None = None
        loop = asyncio.get_running_loop()
        clock = (lambda: self.asleep) if can_tell else None
        self.watch = host_watch.install(loop, HostWatch(loop, asleep=clock, listen=self._listen))

    def _listen(self) -> socket.socket:
        self.opened += 1
        self.close()
        ours, self._kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        return ours

    def tell(self, *messages: bytes) -> None:
        """Have the kernel send each message as a datagram."""
        assert self._kernel is not None
        for message in messages:
            self._kernel.send(message)

    def close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()


class TestSleep:
    @virtual
    async def test_a_live_connection_is_probed_at_once(self) -> None:
        host, notes, connector = FakeHost(), Notes(), ScriptedConnector()
        async with supervise(connector, health_check_interval=3600, subscribers=[notes]):
            await asyncio.sleep(10)
            probes = connector.probes
            host.asleep = 8 * 3600.0
            await asyncio.sleep(SOON)
            assert connector.probes == probes + 1
            (event,) = notes.of(Kind.HOST_RESUMED)
            assert (event.elapsed, event.status) == (8 * 3600.0, Status.CONNECTED)
        host.close()

    @virtual
    async def test_a_dead_connection_is_lost_by_it_and_comes_back(self) -> None:
        async def probe(connection: ScriptedConnection) -> None:
            if connection.generation == 1 and host.asleep:
                await forever()

        host, connector = FakeHost(), Misbehaving(probe=probe)
        async with supervise(connector, health_check_interval=3600, health_check_timeout=2) as r:
            host.asleep = 60.0
            await asyncio.sleep(SOON + 2 + 1)
            assert (r.is_connected, r.generation) == (True, 2)
        host.close()

    @virtual
    async def test_a_backoff_sleep_is_cut_short_though_nothing_is_ever_probed(self) -> None:
        """There is no entry in the timer wheel then: the look at the clocks is the loop's, not the connection's."""
        host, connector = FakeHost(), ScriptedConnector([OSError(errno.ENETUNREACH, "x")])
        async with supervise(connector, health_check=False, retry_interval=FIVE_MINUTES) as r:
            await asyncio.sleep(10)
            assert (r.is_connected, len(connector.dials)) == (False, 1)
            host.asleep = 60.0
            await asyncio.sleep(SOON)
            assert (r.is_connected, connector.dials[1:]) == (True, [11.0])
        host.close()

    @virtual
    async def test_what_was_given_up_is_revived(self) -> None:
        host, connector = FakeHost(), ScriptedConnector([ConnectionRefusedError(111, "x")])
        async with supervise(connector, max_retries=0) as r:
            assert r.status is Status.FAILED
            host.asleep = 60.0
            await asyncio.sleep(SOON)
            assert r.is_connected
        host.close()

    @virtual
    async def test_a_paused_one_is_told_and_left_alone(self) -> None:
        host, notes, connector = FakeHost(), Notes(), ScriptedConnector()
        async with supervise(connector, subscribers=[notes]) as r:
            r.pause()
            probes = connector.probes
            host.asleep = 60.0
            await asyncio.sleep(SOON)
            assert (connector.probes, len(notes.of(Kind.HOST_RESUMED))) == (probes, 1)
        host.close()

    @pytest.mark.parametrize(("gap", "told"), [(0.0, 0), (1.9, 0), (2.0, 0), (2.1, 1), (1e6, 1)])
    def test_a_gap_of_more_than_two_seconds_counts(self, gap: float, told: int) -> None:
        async def main() -> None:
            host, notes = FakeHost(), Notes()
            async with supervise(ScriptedConnector(), subscribers=[notes]):
                host.asleep = gap
                await asyncio.sleep(10)
                assert len(notes.of(Kind.HOST_RESUMED)) == told
            host.close()

        run_virtual(main())

    @virtual
    async def test_each_sleep_is_told_once_and_short_ones_add_up(self) -> None:
        host, notes = FakeHost(), Notes()
        async with supervise(ScriptedConnector(), subscribers=[notes]):
            for total in (5.0, 5.0, 5.0, 10.0, 11.5, 13.0):
                host.asleep = total
                await asyncio.sleep(SOON)
            assert [event.elapsed for event in notes.of(Kind.HOST_RESUMED)] == [5.0, 5.0, 3.0]
        host.close()

    @virtual
    async def test_sleep_before_the_start_is_nobodys(self) -> None:
        host, notes = FakeHost(), Notes()
        host.asleep = 1000.0
        async with supervise(ScriptedConnector(), subscribers=[notes]):
            await asyncio.sleep(10)
        host.asleep = 2000.0
        async with supervise(ScriptedConnector(), subscribers=[notes]):
            await asyncio.sleep(10)
        assert notes.of(Kind.HOST_RESUMED) == []
        host.close()

    @virtual
    async def test_where_nobody_can_tell_nothing_happens(self) -> None:
        host, notes = FakeHost(can_tell=False), Notes()
        async with supervise(ScriptedConnector(), subscribers=[notes]):
            host.asleep = 1000.0
            await asyncio.sleep(10)
        assert notes.of(Kind.HOST_RESUMED) == []
        host.close()

    @virtual
    async def test_it_is_logged_once_for_all(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger="tether.host")
        host, manager = FakeHost(), ReconnectManager()
        for number in range(40):
            manager.register(f"c{number}", supervise(ScriptedConnector(), name=f"c{number}"))
        async with manager:
            host.asleep = 90.0
            await asyncio.sleep(SOON)
        assert [record.message for record in caplog.records] == ["this host was asleep for 1m30s"]
        host.close()

    @virtual
    async def test_ten_thousand_are_told_a_few_at_a_time(self) -> None:
        host, told_in, turn = FakeHost(), Notes(), 0

        class Told:
            def host_resumed(self, gap: float) -> None:
                told_in(turn)

            def network_changed(self) -> None: ...

            def uplink_lost(self) -> None: ...

        members = [Told() for _ in range(1000)]
        for member in members:
            host.watch.join(member)
        host.asleep = 60.0
        await asyncio.sleep(LOOK_EVERY)
        while len(told_in) < 1000 and turn < 1000:
            turn += 1
            await asyncio.sleep(0)
        assert max(Counter(told_in[3 * host_watch.AT_ONCE :]).values()) <= host_watch.AT_ONCE
        assert (len(told_in), now()) == (1000, LOOK_EVERY)
        for member in members:
            host.watch.leave(member)
        assert timers() == []
        host.close()

    def test_the_hosts_own_clock_says_that_it_is_awake(self) -> None:
        clock = suspension.asleep_clock()
        if clock is None:
            assert not hasattr(time, "CLOCK_BOOTTIME")
            return
        before = clock()
        time.sleep(0.01)
        assert abs(clock() - before) < 0.005  # the difference of two clocks that run alike
        assert before >= -0.001

    def test_a_sandbox_without_the_clock_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: int) -> float:
            raise OSError(errno.EINVAL, "x")

        monkeypatch.setattr(time, "clock_gettime", refuse)
        assert suspension.asleep_clock() is None

    def test_elsewhere_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.platform", "win32")
        assert suspension.asleep_clock() is None
        assert open_socket() is None


class TestNetwork:
    @virtual
    async def test_an_uplink_that_comes_back_in_a_five_minute_sleep_has_it_dial_at_once(self) -> None:
        host, connector = FakeHost(), ScriptedConnector([OSError(errno.ENETUNREACH, "x")])
        async with supervise(connector, health_check=False, retry_interval=FIVE_MINUTES) as r:
            await asyncio.sleep(10)
            host.tell(netlink.address("192.0.2.7"))
            await asyncio.sleep(GATHER + 0.01)
            assert (r.is_connected, connector.dials[1:]) == (True, [10 + GATHER])
        host.close()

    @virtual
    async def test_a_storm_of_messages_is_one_piece_of_news(self) -> None:
        host, connector = FakeHost(), ScriptedConnector()
        async with supervise(connector, health_check_interval=3600):
            await asyncio.sleep(10)
            probes = connector.probes
            for number in range(50):
                host.tell(netlink.address(f"192.0.2.{number}"))
                await asyncio.sleep(0.004)
            await asyncio.sleep(5)
            assert connector.probes == probes + 1
        host.close()

    @virtual
    async def test_an_uplink_that_comes_and_goes_all_the_time_is_told_once_a_second(self) -> None:
        host = FakeHost()
        connector = ScriptedConnector(then=OSError(errno.ENETUNREACH, "x"))
        async with supervise(connector, retry_interval=FIVE_MINUTES):
            for _ in range(200):
                host.tell(netlink.address("192.0.2.7"), netlink.address("192.0.2.7", gone=True))
                await asyncio.sleep(0.05)
            assert len(connector.dials) == 1 + int((10 - GATHER) / SPACING) + 1
        host.close()

    @virtual
    async def test_an_uplink_that_goes_has_a_live_connection_probed_and_no_sleeping_one_dial(self) -> None:
        host, live, down = FakeHost(), ScriptedConnector(), ScriptedConnector(then=OSError(101, "x"))
        async with (
            supervise(live, health_check_interval=3600),
            supervise(down, retry_interval=FIVE_MINUTES),
        ):
            await asyncio.sleep(10)
            probes = live.probes
            host.tell(netlink.address("192.0.2.7", gone=True))
            await asyncio.sleep(GATHER + 0.01)
            assert (live.probes, len(down.dials)) == (probes + 1, 1)
        host.close()

    @virtual
    async def test_noise_is_no_news(self) -> None:
        host, connector = FakeHost(), ScriptedConnector()
        async with supervise(connector, health_check_interval=3600):
            await asyncio.sleep(10)
            probes = connector.probes
            host.tell(b"", b"\x00" * 5, b"\xff" * 100, netlink.address("fe80::1", scope=253))
            await asyncio.sleep(5)
            assert connector.probes == probes
        host.close()

    @virtual
    async def test_messages_that_the_kernel_could_not_deliver_are_taken_for_news(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host, connector = FakeHost(), ScriptedConnector()
        async with supervise(connector, health_check_interval=3600):
            probes = connector.probes
            full = _Failing(host.watch._socket, OSError(errno.ENOBUFS, "x"))
            monkeypatch.setattr(host.watch, "_socket", full)
            host.tell(b"x")
            await asyncio.sleep(1)
            assert connector.probes == probes + 1
        host.close()

    @virtual
    async def test_a_socket_that_fails_ends_the_news_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        host, notes = FakeHost(), Notes()
        async with supervise(ScriptedConnector(), subscribers=[notes]) as r:
            broken = _Failing(host.watch._socket, OSError(errno.EBADF, "bad"))
            monkeypatch.setattr(host.watch, "_socket", broken)
            host.tell(b"x")
            await asyncio.sleep(1)
            host.asleep = 60.0
            await asyncio.sleep(SOON)
            assert r.is_connected
        assert [record.message for record in caplog.records] == [
            "the kernel tells no more of network changes: [Errno 9] bad"
        ]
        assert len(notes.of(Kind.HOST_RESUMED)) == 1
        host.close()


class _Failing:
    """A socket whose ``recv`` fails, after taking what is there."""

    def __init__(self, sock: Any, error: OSError) -> None:
        self._sock, self._error, self._failed = sock, error, False
        self.fileno, self.close = sock.fileno, sock.close

    def recv(self, size: int) -> bytes:
        data: bytes = self._sock.recv(size)
        if self._failed:
            return data
        self._failed = True
        raise self._error


class TestLife:
    @virtual
    async def test_it_begins_with_the_first_start_and_ends_with_the_last_stop(self) -> None:
        host = FakeHost()
        first, second = (supervise(ScriptedConnector(), health_check=False) for _ in range(2))
        assert (host.opened, timers()) == (0, [])
        await first.start()
        await second.start()
        assert (host.opened, len(timers())) == (1, 1)
        await first.stop()
        assert len(timers()) == 1
        await second.stop()
        await second.stop()
        assert (timers(), host.watch._socket) == ([], None)
        await first.start()
        assert (host.opened, len(timers())) == (2, 1)
        await first.stop()
        assert timers() == []
        host.close()

    @virtual
    async def test_nothing_is_told_after_stop(self) -> None:
        host, connector = FakeHost(), ScriptedConnector()
        async with supervise(connector):
            host.tell(netlink.address("192.0.2.7"))
            await settle()
            host.asleep = 60.0
        dials = len(connector.dials)
        await asyncio.sleep(60)
        assert len(connector.dials) == dials
        host.close()

    @virtual
    async def test_one_that_stops_another_while_being_told_has_it_not_told(self) -> None:
        host, notes = FakeHost(), Notes()
        members: list[Any] = []

        class Told:
            def host_resumed(self, gap: float) -> None:
                notes("told")
                for member in members:
                    host.watch.leave(member)

            def network_changed(self) -> None: ...

            def uplink_lost(self) -> None: ...

        members += [Told() for _ in range(40)]
        for member in members:
            host.watch.join(member)
        host.asleep = 60.0
        await asyncio.sleep(5)
        assert (notes, timers()) == (["told"], [])
        host.close()

    @virtual
    async def test_a_member_that_is_dropped_is_not_kept_and_ends_the_watch(self) -> None:
        host = FakeHost()

        class Told:
            host_resumed = network_changed = uplink_lost = print

        host.watch.join(Told())
        gc.collect()
        await asyncio.sleep(SOON)
        assert timers() == []
        host.close()

    @virtual
    async def test_a_loop_with_a_clock_of_its_own_is_not_on_this_host(self) -> None:
        async with supervise(ScriptedConnector(), health_check=False):
            assert host_watch._ATTRIBUTE not in vars(asyncio.get_running_loop())
            assert timers() == []

    @pytest.mark.parametrize("run", [asyncio.run, run_uvloop])
    def test_the_real_thing_leaves_nothing_open(self, run: Any) -> None:
        async def main(*, stop: bool) -> None:
            r = supervise(ScriptedConnector())
            await r.start()
            watch: HostWatch = vars(asyncio.get_running_loop())[host_watch._ATTRIBUTE]
            sock = watch._socket
            sockets.append(sock)
            if stop:
                await r.stop()
                assert sock is None or sock.fileno() == -1

        sockets: list[socket.socket | None] = []
        run(main(stop=True))
        run(main(stop=False))
        gc.collect()
        assert [sock is None or sock.fileno() == -1 for sock in sockets] == [True, True]

    @virtual
    async def test_a_dial_under_way_is_left_alone(self) -> None:
        host, connector = FakeHost(), Misbehaving([Hang()])
        starting = asyncio.create_task((r := supervise(connector)).start())
        await asyncio.sleep(1)
        host.asleep = 60.0
        host.tell(netlink.address("192.0.2.7"))
        await asyncio.sleep(SOON)
        assert (len(connector.dials), r.status) == (1, Status.CONNECTING)
        await r.stop()
        await starting
        host.close()
