"""The feed, without any I/O: what a reader is sent, where it resumes, and what it is told that it has missed."""

import asyncio
import json
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.support import settle, virtual
from tests.surfaces.api.support import SECRET, frames, scripted
from tether import ReconnectEvent, ReconnectManager
from tether.core.cause import Cause, Code, Phase
from tether.core.events import Kind
from tether.core.lifecycle import Status
from tether.observe.history import History
from tether.surfaces.api import feed as feeds
from tether.surfaces.api.feed import BATCH, FRAMES_KEPT, Feed
from tether.surfaces.supervisor import Supervisor

NAMES = {"a": "a", "b": "b"}


def event(connection="a", **fields):
    known = {
        "kind": Kind.LOST,
        "connection": connection,
        "status": Status.RECONNECTING,
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return ReconnectEvent(**(known | fields))


def make(limit=100, names=None):
    history = History(limit)
    return history, Feed(history, lambda: NAMES if names is None else names)


def fill(history, count, connection="a"):
    for _ in range(count):
        history.append(event(connection))


class Reader:
    """A browser's side: remembers the last id, and what it was told."""

    def __init__(self):
        self.last_event_id = None
        self.seen = []
        self.missed = []
        self.position = None

    def connect(self, feed, replay=0, connection=""):
        self.position, hello = feed.begin(self.last_event_id, replay, connection)
        self.hear(hello)

    def read(self, feed):
        while chunk := feed.take(self.position):
            self.hear(chunk)

    def hear(self, raw):
        for frame in frames(raw):
            self.last_event_id = frame.get("id", self.last_event_id)
            if frame.get("event") == "missed":
                self.missed.append(json.loads(frame["data"]))
            elif "data" in frame:
                self.seen.append(int(frame["id"].partition("-")[2]))


def test_an_event_is_one_frame_with_id_and_data():
    history, feed = make()
    reader = Reader()
    reader.connect(feed)
    cause = Cause(Code.RESET, Phase.READY)
    history.append(event(cause=cause, message="ConnectionResetError", detail={"x": 1}, retry_count=2))

    raw = feed.take(reader.position)

    assert raw.startswith(f"id: {feed.epoch}-1\ndata: {{".encode())
    assert raw.endswith(b"}\n\n")
    data = json.loads(frames(raw)[0]["data"])
    plain = history.since(0)[0].event.as_dict()
    assert data == plain | {"timestamp": "2026-01-01T00:00:00Z"}
    assert (data["connection"], data["cause"], data["retry_count"], data["detail"]) == (
        "a",
        "reset",
        2,
        {"x": 1},
    )


def test_a_new_reader_hears_nothing_of_the_past_and_can_resume_at_once():
    history, feed = make()
    fill(history, 7)
    reader = Reader()
    reader.connect(feed)
    reader.read(feed)
    assert (reader.seen, reader.missed, reader.last_event_id) == ([], [], f"{feed.epoch}-7")

    fill(history, 2)
    reader.connect(feed)
    reader.read(feed)
    assert (reader.seen, reader.missed) == ([8, 9], [])


@pytest.mark.parametrize(
    ("replay", "seen"), [(0, []), (1, [10]), (3, [8, 9, 10]), (10, [*range(1, 11)]), (99, [*range(1, 11)])]
)
def test_replay_begins_with_so_many(replay, seen):
    history, feed = make()
    fill(history, 10)
    reader = Reader()
    reader.connect(feed, replay)
    reader.read(feed)

    assert (reader.seen, reader.missed) == (seen, [])


def test_replay_counts_events_of_the_connection_asked_for_and_a_new_reader_has_missed_nothing():
    history, feed = make(limit=8)
    for number in range(20):
        history.append(event("a" if number % 4 == 0 else "b"))
    reader = Reader()
    reader.connect(feed, 1, "a")
    reader.read(feed)
    assert (reader.seen, reader.missed) == ([17], [])

    reader = Reader()
    reader.connect(feed, 1000, "a")
    reader.read(feed)
    assert (reader.seen, reader.missed) == ([13, 17], [])


def test_the_last_event_id_goes_before_replay():
    history, feed = make()
    fill(history, 10)
    reader = Reader()
    reader.last_event_id = f"{feed.epoch}-8"
    reader.connect(feed, replay=5)
    reader.read(feed)

    assert reader.seen == [9, 10]


GARBAGE = [
    "x",
    "-",
    "1",
    "-1",
    "00000000-5",
    "{epoch}",
    "{epoch}-",
    "{epoch}--1",
    "{epoch}-x",
    "{epoch}-1.5",
    "{epoch}- 1",
    "{epoch}-\u0663",
    "{epoch}-\u00b2",
    "{epoch}-" + "9" * 18,
    "{epoch}-" + "9" * 5000,
    "{epoch}-11",
    "{epoch}-1\n",
    "a" * 10_000,
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_an_id_that_is_not_ours_gives_all_there_is_and_says_so(garbage):
    history, feed = make()
    fill(history, 10)
    reader = Reader()
    reader.last_event_id = garbage.replace("{epoch}", feed.epoch)
    reader.connect(feed)
    reader.read(feed)

    assert reader.missed == [{"missed": None, "reason": "restarted"}]
    assert reader.seen == [*range(1, 11)]


def test_an_empty_id_is_none():
    history, feed = make()
    fill(history, 10)
    reader = Reader()
    reader.last_event_id = ""
    reader.connect(feed)
    reader.read(feed)

    assert (reader.seen, reader.missed) == ([], [])


def test_what_the_ring_has_dropped_is_counted_exactly():
    history, feed = make(limit=10)
    reader = Reader()
    reader.connect(feed)
    fill(history, 25)
    reader.read(feed)

    assert reader.missed == [{"missed": 15, "reason": "too_slow"}]
    assert reader.seen == [*range(16, 26)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("happen"), st.sampled_from("ab"), st.integers(1, 15)),
        st.tuples(st.just("read")),
        st.tuples(st.just("reconnect")),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(limit=st.integers(1, 20), steps=STEPS)
def test_whatever_happens_a_reader_hears_everything_once_or_is_told_how_much_it_has_missed(limit, steps):
    history, feed = make(limit)
    reader = Reader()
    reader.connect(feed)
    for step, *details in steps:
        match step:
            case "happen":
                fill(history, details[1], details[0])
            case "read":
                reader.read(feed)
            case "reconnect":
                reader.connect(feed)
            case "restart":  # another process: its numbers begin anew, and the reader's mean nothing to it
                history, feed = make(limit)
                fill(history, 3)
                reader.seen, reader.missed = [], []
                reader.connect(feed)
                assert reader.missed == [{"missed": None, "reason": "restarted"}]
                reader.missed = []
                if history.since(0)[0].seq > 1:  # dropped before it came
                    reader.missed.append({"missed": history.since(0)[0].seq - 1})
    reader.read(feed)

    assert reader.seen == sorted(set(reader.seen)), "none twice, in order"
    first = reader.seen[0] if reader.seen else 1
    told = sum(missed["missed"] for missed in reader.missed)
    assert len(reader.seen) + told == history.last_seq
    assert first >= 1


@settings(max_examples=100, deadline=None)
@given(limit=st.integers(1, 20), happen=st.lists(st.sampled_from("ab"), max_size=60), data=st.data())
def test_a_reader_of_one_connection_hears_all_of_it_and_nothing_else(limit, happen, data):
    history, feed = make(limit)
    reader = Reader()
    reader.connect(feed, connection="a")
    ours = []
    for seq, name in enumerate(happen, 1):
        history.append(event(name))
        ours += [seq] if name == "a" else []
        if data.draw(st.booleans()):
            reader.read(feed)
            reader.hear(feed.keep_alive(reader.position))
        if data.draw(st.booleans()):
            reader.connect(feed, connection="a")
    reader.read(feed)

    assert reader.seen == sorted(set(reader.seen))
    assert set(reader.seen) <= set(ours)
    if not reader.missed:
        assert reader.seen == ours


def test_a_reader_that_was_spared_the_events_of_others_has_not_missed_them():
    history, feed = make(limit=5)
    reader = Reader()
    reader.connect(feed, connection="a")
    for _ in range(100):
        history.append(event("b"))
        assert feed.take(reader.position) == b""
    assert feed.keep_alive(reader.position).startswith(b": keep-alive\nid: ")
    reader.hear(feed.keep_alive(reader.position))
    assert feed.keep_alive(reader.position) == b": keep-alive\n\n"

    reader.last_event_id = f"{feed.epoch}-100"  # as a browser takes it from the frame without data
    reader.connect(feed, connection="a")
    history.append(event("a"))
    reader.read(feed)
    assert (reader.seen, reader.missed) == ([101], [])


def test_one_write_is_bounded():
    history, feed = make(limit=1000)
    fill(history, 1000)
    position, _ = feed.begin(None, 1000)

    assert [len(frames(feed.take(position))) for _ in range(5)] == [BATCH, BATCH, BATCH, 1000 - 3 * BATCH, 0]


# -- names ------------------------------------------------------------------------------------------------------------


def supervised(**registered):
    manager = ReconnectManager()
    for name, own in registered.items():
        manager.register(name, scripted(own))
    return manager, Supervisor(manager)


def heard(feed, connection=""):
    position, _ = feed.begin(None, 1000, connection)
    return [json.loads(frame["data"])["connection"] for frame in frames(feed.take(position))]


def test_events_carry_the_name_that_the_connection_is_registered_under():
    _, supervisor = supervised(cache="redis://cache:6379/0", plain="plain")
    history = History(10)
    feed = Feed(history, supervisor.event_names)
    for own in ("redis://cache:6379/0", "plain", "of another manager", "cache"):
        history.append(event(own))

    assert heard(feed) == ["cache", "plain"]
    assert heard(feed, "cache") == ["cache"]
    assert heard(feed, "redis://cache:6379/0") == []


def test_of_two_with_one_name_of_their_own_the_first_is_told_of():
    _, supervisor = supervised(first="same", second="same")

    assert supervisor.event_names() == {"same": "first"}


def test_one_that_is_registered_later_is_heard_from_then_on():
    manager, supervisor = supervised()
    history = History(10)
    feed = Feed(history, supervisor.event_names)
    position, _ = feed.begin(None, 0)
    history.append(event("late"))
    assert feed.take(position) == b""

    manager.register("late", scripted("late"))
    history.append(event("late"))
    assert len(frames(feed.take(position))) == 1


def test_secrets_are_not_shown():
    history = History(10)
    feed = Feed(history, lambda: NAMES)
    error = ConnectionResetError(f"redis://user:{SECRET}@cache")
    history.append(event(error=error, cause=Cause(Code.RESET, Phase.TCP, error)))
    position, _ = feed.begin(None, 10)

    assert SECRET.encode() not in feed.take(position)


def test_an_event_that_json_cannot_hold_does_not_end_the_feed():
    history, feed = make()
    history.append(event(detail={"bad": "\udcff", "n": float("nan"), "o": object()}, message="\udcff"))
    fill(history, 1)
    position, _ = feed.begin(None, 10)

    parsed = [json.loads(frame["data"]) for frame in frames(feed.take(position))]

    assert [data["kind"] for data in parsed] == ["lost", "lost"]
    assert parsed[0]["message"] == "\\udcff"
    assert parsed[0]["detail"]["n"] is None


# -- cost -------------------------------------------------------------------------------------------------------------


def test_twenty_readers_cost_one_encoding(monkeypatch):
    encoded = []
    monkeypatch.setattr(feeds, "encode", lambda value: encoded.append(value) or b"{}")
    history, feed = make(limit=1000)
    positions = [feed.begin(None, 0)[0] for _ in range(20)]
    for _ in range(10):
        fill(history, 20)
        for position in positions:
            feed.take(position)

    assert len(encoded) == 200


def test_events_of_others_are_not_even_encoded(monkeypatch):
    encoded = []
    monkeypatch.setattr(feeds, "encode", lambda value: encoded.append(value) or b"{}")
    history, feed = make()
    position, _ = feed.begin(None, 0)
    fill(history, 50, "somebody else's")

    assert feed.take(position) == b""
    assert encoded == []


def test_memory_is_bounded():
    history, feed = make(limit=FRAMES_KEPT * 3)
    quick, _ = feed.begin(None, 0)
    fill(history, FRAMES_KEPT * 3)
    slow, _ = feed.begin(None, FRAMES_KEPT * 3)
    while feed.take(quick) or feed.take(slow):
        assert len(feed._frames) <= FRAMES_KEPT


# -- waiting ----------------------------------------------------------------------------------------------------------


@virtual
async def test_readers_are_woken_together_and_a_bunch_of_events_wakes_once():
    history, feed = make()
    feed.join()
    waits = [asyncio.create_task(feed.news(feed.begin(None, 0)[0], 60)) for _ in range(3)]
    await settle()
    woken = []
    loop = asyncio.get_running_loop()
    original = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda *args: woken.append(args) or original(*args)
    fill(history, 50)

    assert await asyncio.gather(*waits) == [True, True, True]
    assert len(woken) == 1
    feed.leave()


@virtual
async def test_silence_ends_with_the_timeout():
    _, feed = make()
    feed.join()
    assert await feed.news(feed.begin(None, 0)[0], 5) is False
    assert asyncio.get_running_loop().time() == pytest.approx(5)
    feed.leave()


@virtual
async def test_what_has_happened_already_is_not_waited_for():
    history, feed = make()
    position, _ = feed.begin(None, 0)
    fill(history, 1)

    assert await feed.news(position, 5) is True
    assert asyncio.get_running_loop().time() == 0


@virtual
async def test_closing_wakes_all_readers_and_they_hear_of_no_news():
    history, feed = make()
    feed.join()
    position, _ = feed.begin(None, 0)
    waiting = asyncio.create_task(feed.news(position, 60))
    await settle()
    feed.close()
    feed.close()
    fill(history, 1)

    assert await waiting is False
    assert await feed.news(position, 60) is False
    assert not feed.is_open


def test_events_on_other_threads_wake_readers():
    history, feed = make(limit=5000)

    async def read():
        feed.join()
        position, _ = feed.begin(None, 0)
        thread = threading.Thread(target=fill, args=(history, 2000))
        thread.start()
        count = 0
        while count < 2000:
            assert await feed.news(position, 5), "a wake-up was lost"
            count += len(frames(feed.take(position)))
        thread.join()
        feed.leave()
        return count

    assert asyncio.run(read()) == 2000


def test_without_readers_the_history_is_not_listened_to():
    history, feed = make()
    assert history._listeners == ()
    feed.join()
    feed.join()
    assert len(history._listeners) == 1
    feed.leave()
    assert len(history._listeners) == 1
    feed.leave()
    assert history._listeners == ()


def test_a_feed_whose_loop_has_ended_disturbs_nobody_and_serves_the_next_loop():
    history, feed = make()
    feed.join()
    position, _ = feed.begin(None, 0)
    asyncio.run(feed.news(position, 0.01))
    fill(history, 1)

    assert asyncio.run(feed.news(position, 0.01)) is True
    position, _ = feed.begin(None, 0)
    assert asyncio.run(feed.news(position, 0.01)) is False
    feed.close()
