"""Whatever is in the file, it is loaded or refused in order; and what is shown of it reads back as the same."""

import math
import random
import string

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.config.broken import GOOD, SECRET
from tests.config.support import load_text
from tests.config.test_load import FULL
from tether.config import ConfigFileError, Loaded, load
from tether.config.building import Builder
from tether.config.effective import effective
from tether.config.parsing import parse
from tether.config.variables import Lookup, expand
from tether.config.writing import as_yaml, flow

QUICK = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ENVIRON = {"PASSWORD": SECRET, "A": "a"}
PIECES = [
    "&a ",
    "*a",
    "!!str ",
    "<<: *a",
    "${A}",
    "${",
    "}",
    "[",
    "{",
    "- ",
    ": ",
    "\n",
    "\t",
    "  ",
    "'",
    '"',
    "|\n",
    "#",
    "null",
    "%",
    "\0",
    "é",
]


def loaded_or_refused(folder, content):
    file = folder / "tether.yaml"
    file.write_bytes(content)
    told = "(nothing)"
    try:
        assert isinstance(load(file, ENVIRON), Loaded)
    except ConfigFileError as error:
        told = str(error)
    assert SECRET not in told
    assert 1 <= len(told.splitlines()) <= 21


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "operate").write_text(SECRET)
    return folder


@QUICK
@given(content=st.binary(max_size=200))
@example(content=b"\xef\xbb\xbf")
@example(content=b"a: !<\xff")
def test_any_bytes(folder, content):
    loaded_or_refused(folder, content)


@QUICK
@given(content=st.text(alphabet=string.printable + "é\u2028", max_size=100))
@example(content="? - : -")
@example(content="<<: ")
@example(content="~: ~")
def test_any_text(folder, content):
    loaded_or_refused(folder, content.encode())


@QUICK
@given(seed=st.integers(0, 2**32), count=st.integers(1, 4))
def test_mutations_of_a_good_file(folder, seed, count):
    rng = random.Random(seed)
    text = FULL
    for _ in range(count):
        start = rng.randrange(len(text))
        end = start + rng.choice((0, 0, 1, 2, 10))
        text = text[:start] + rng.choice((*PIECES, "", text[end : end + 20])) + text[end:]
    loaded_or_refused(folder, text.encode())


NAMES = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}", fullmatch=True)
DURATIONS = st.one_of(
    st.integers(1, 10**6), st.floats(0.001, 1e6), st.integers(1, 999).map("{}ms".format), st.just("1m30s")
)
RETRIES = st.one_of(
    st.builds(lambda b, f, m, j: {"base": b, "factor": f, "maximum": m, "jitter": j},
              DURATIONS, st.floats(1, 1e6), st.none() | DURATIONS, st.floats(0, 1)),
    st.builds(lambda b: {"strategy": "linear", "base": b}, DURATIONS),
    st.builds(lambda b, m: {"strategy": "jittered", "base": b, "max_jitter": m}, DURATIONS, DURATIONS),
    st.just({"strategy": "grpc"}),
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONNECTIONS = st.fixed_dictionaries(
    {"type": st.just("redis"), "url": st.sampled_from(["redis://h", "rediss://h:1/2?client_name=x", "unix:///a/b?db=1"])},
    optional={
        "health_check": st.booleans(),
        "health_check_interval": DURATIONS,
        "stable_after": DURATIONS,
        "failure_threshold": st.integers(1, 100),
        "max_retries": st.none() | st.integers(0, 100),
        "retry": RETRIES,
        "required": st.booleans(),
        "options": st.fixed_dictionaries({}, optional={
            "client_name": TEXTS, "encoding": TEXTS, "db": st.integers(0, 15), "decode_responses": st.booleans(),
            "socket_timeout": st.floats(0.001, 100),
        }),
    },
)  # fmt: skip
FILES = st.fixed_dictionaries(
    {"connections": st.dictionaries(NAMES, CONNECTIONS, max_size=3)},
    optional={
        "api": st.fixed_dictionaries(
            {}, optional={"port": st.integers(1, 65535), "trusted_hosts": st.lists(st.just("a.b"))}
        )
    },
)


@QUICK
@given(content=FILES)
def test_what_is_shown_reads_back_as_the_same(folder, content):
    first = load_text(folder, flow(content))
    again = load_text(folder, as_yaml(effective(first)))
    assert again.settings == first.settings


FINITE = st.floats(allow_nan=False, allow_infinity=False)
KEYS = TEXTS.filter(lambda text: text != "<<")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | FINITE | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
)


@QUICK
@given(value=VALUES)
@example(value="yes")
@example(value="1e3")
@example(value="a: b #c")
@example(value="\x85\u2028\ufeff\U0001f600")
@example(value="$${A}")
def test_any_value_is_written_so_that_it_reads_back(folder, value):
    tree, flaws = expand(parse(f"a: {flow(value)}\n"), Lookup({}, folder))
    assert flaws == []
    read = Builder(tree).plain(tree, ())["a"]
    assert read == value
    assert type(read) is type(value)


def test_numbers_that_are_none():
    assert (flow(math.inf), flow(-math.inf), flow(math.nan)) == (".inf", "-.inf", ".nan")


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "{a: " * 100_000, "? " * 100_000, "- " * 300_000, "!" * 500_000, "a\n" * 300_000, "'" * 900_000,
     "*a " * 100_000, "a: " + "x " * 400_000, "\n" * 1_000_000, "a: |\n" + "  b\n" * 200_000],
    ids=lambda content: repr(content[:6]),
)  # fmt: skip
@pytest.mark.slow
def test_a_large_file_is_refused_soon(folder, content):
    loaded_or_refused(folder, content.encode())


def test_the_good_file_is_good(folder):
    assert isinstance(load_text(folder, GOOD), Loaded)
