"""What the kernel's messages mean; and the kernel itself, in a network namespace of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.netlink import address, link, route
from tether.runtime.network_watch import Uplink, Uplinks

GAINED, LOST, NOTHING = {Uplink.GAINED}, {Uplink.LOST}, set[Uplink]()

CAPTURED_ADDRESS = bytes.fromhex(
    # What Linux 6.18 tells of `ip address add 10.9.0.1/24 dev veth0` …
    "4c00000014000000e894016b113100000218800003000000080001000a090001080002000a090001"
    "0700030076300000080008008000000014000600ffffffffffffffffe6a31c00e6a31c00"
)
CAPTURED_NEIGHBOURHOOD = bytes.fromhex(
    # … and of the route to 10.9.0.0/24 that comes with it,
    "3c00000018000006000000000000000002180000fe02fd010000000008000f00fe00000008000100"
    "0a090000080007000a0900010800040003000000"
)
CAPTURED_ROUTE = bytes.fromhex(
    # and of `ip route add default via 10.9.0.2`.
    "3400000018000006e894016b1231000002000000fe0300010000000008000f00fe000000080005000a0900020800040003000000"
)


class TestNews:
    @pytest.mark.parametrize(
        ("message", "news"),
        [
            (address("192.0.2.7"), GAINED),
            (address("2001:db8::7"), GAINED),
            (address("192.0.2.7", gone=True), LOST),
            (address("2001:db8::7", gone=True), LOST),
            (address("fe80::1", scope=253), NOTHING),
            (address("127.0.0.1", scope=254), NOTHING),
            (address("fe80::1", scope=253, gone=True), NOTHING),
            (address("2001:db8::7", flags=0x40), NOTHING),  # tentative: it cannot be used yet
            (route("192.0.2.1"), GAINED),
            (route(None), GAINED),  # by a tunnel
            (route("192.0.2.1", gone=True), LOST),
            (route("192.0.2.1", bits=24), NOTHING),
            (route("192.0.2.1", table=255), NOTHING),
            (route(None, kind=7), NOTHING),  # unreachable
            (CAPTURED_ADDRESS, GAINED),
            (CAPTURED_NEIGHBOURHOOD, NOTHING),
            (CAPTURED_ROUTE, GAINED),
        ],
    )
    def test_of_one_message(self, message: bytes, news: set[Uplink]) -> None:
        assert Uplinks([2]).read(message) == news

    def test_what_is_announced_again_is_none(self) -> None:
        uplinks = Uplinks([2])
        for message in (address("2001:db8::7"), route("192.0.2.1")):
            assert [uplinks.read(message) for _ in range(3)] == [GAINED, NOTHING, NOTHING]

    def test_an_address_that_becomes_usable_is_told_then(self) -> None:
        uplinks = Uplinks([2])
        assert uplinks.read(address("2001:db8::7", flags=0x40)) == NOTHING
        assert uplinks.read(address("2001:db8::7")) == GAINED

    def test_what_went_and_came_back_is_told_again(self) -> None:
        uplinks = Uplinks([2])
        come, gone = address("192.0.2.7"), address("192.0.2.7", gone=True)
        assert [uplinks.read(m) for m in (come, gone, come)] == [GAINED, LOST, GAINED]

    def test_an_interface_takes_along_what_led_out_by_it(self) -> None:
        """The kernel tells neither of its routes nor, for IPv4, of its addresses."""
        uplinks = Uplinks([2, 3])
        elsewhere = address("198.51.100.7", index=3)
        for message in (address("192.0.2.7"), route("192.0.2.1"), elsewhere):
            uplinks.read(message)
        assert uplinks.read(link(2, running=False)) == LOST
        assert uplinks.read(link(2, running=False)) == NOTHING
        assert uplinks.read(link(2, running=True)) == GAINED
        assert uplinks.read(route("192.0.2.1")) == GAINED
        assert uplinks.read(elsewhere) == NOTHING

    def test_the_last_address_takes_its_routes_along(self) -> None:
        uplinks = Uplinks([2])
        for message in (address("192.0.2.7"), route("192.0.2.1"), address("192.0.2.7", gone=True)):
            uplinks.read(message)
        assert uplinks.read(route("192.0.2.1")) == GAINED

    def test_a_new_interface_leads_nowhere_yet(self) -> None:
        uplinks = Uplinks([2])
        assert uplinks.read(link(9, running=False)) == NOTHING
        assert uplinks.read(link(9, running=True)) == GAINED
        assert uplinks.read(link(9, running=True, gone=True)) == LOST
        assert uplinks.read(link(9, running=True)) == NOTHING  # another of the same number

    def test_several_messages_of_one_datagram_count_together(self) -> None:
        both = address("192.0.2.7") + address("192.0.2.8", gone=True) + link(7, running=True)
        assert Uplinks().read(both) == GAINED | LOST


class TestRubbish:
    @given(st.binary(max_size=300))
    def test_any_bytes_can_be_read(self, datagram: bytes) -> None:
        assert Uplinks([2]).read(datagram) <= GAINED | LOST

    @given(
        st.integers(0, 200),
        st.sampled_from([address("192.0.2.7"), route("192.0.2.1"), link(2, running=True)]),
    )
    def test_a_message_may_be_cut_off_anywhere(self, length: int, message: bytes) -> None:
        assert Uplinks([2]).read(message[:length]) <= GAINED

    def test_a_length_of_nothing_ends_it(self) -> None:
        assert Uplinks().read(bytes(64)) == NOTHING


REAL = """
import asyncio, errno, json, logging, subprocess, sys
from tether import Reconnector
from tether.backoff import fixed_interval
from tether.ports import Connector
from tether.runtime.dialing import open_stream

logging.disable()

def ip(*words):
    subprocess.run(["ip", *words], check=True)

class Echo(Connector):
    kind, probes, dials = "echo", 0, 0
    async def open(self, attempt):
        self.dials += 1
        return await open_stream("10.9.0.1", 7007, attempt)
    async def probe(self, handle):
        self.probes += 1
        handle[1].write(b"x")
        await handle[0].readexactly(1)
    def abort(self, handle):
        handle[1].transport.abort()

async def serve(reader, writer):
    while chunk := await reader.read(100):
        writer.write(chunk)
    writer.close()

async def main():
    told, loop = {}, asyncio.get_running_loop()
    server = await asyncio.start_server(serve, "0.0.0.0", 7007)
    echo = Echo()
    r = Reconnector(echo, health_check=False, retry_interval=fixed_interval(300), quick_first_retry=False)
    await r.start()
    await asyncio.sleep(0.3)
    told["at first"] = [r.status.value, r.last_error.errno == errno.ENETUNREACH, echo.dials]
    began = loop.time()
    ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    ip("link", "set", "veth1", "up")
    ip("addr", "add", "10.9.0.1/24", "dev", "veth0")
    ip("link", "set", "veth0", "up")
    await r.wait_connected(5)
    told["seconds to connect"] = loop.time() - began
    await asyncio.sleep(1.6)
    probes, dials = echo.probes, echo.dials
    lines = "".join(f"addr add 10.8.0.{n}/24 dev veth0\\n" for n in range(1, 51))
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    await asyncio.sleep(1.6)
    told["after a storm"] = [echo.probes - probes, echo.dials - dials]
    probes = echo.probes
    ip("link", "set", "veth0", "down")
    await asyncio.sleep(1.6)
    told["after the uplink went"] = echo.probes - probes > 0
    await r.stop()
    server.close()
    print(json.dumps(told))

factory = None
if sys.argv[1] == "uvloop":
    import uvloop
    factory = uvloop.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""


def _can_have_a_network() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    done = subprocess.run(
        ["unshare", "-rn", "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.skipif(not _can_have_a_network(), reason="no network namespace can be made here")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_real_uplink_that_comes_back_in_a_five_minute_sleep_has_it_dial_at_once(loop: str) -> None:
    done = subprocess.run(
        [
            "unshare",
            "-rn",
            "sh",
            "-c",
            'ip link set lo up; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            REAL,
            loop,
        ],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["at first"] == ["connecting", True, 1]
    assert told["seconds to connect"] < 3
    assert told["after a storm"][0] in {1, 2}  # two, where it takes the storm longer than news are gathered
    assert told["after a storm"][1] == 0
    assert told["after the uplink went"] is True
