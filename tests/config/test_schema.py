"""The schema and the loader agree."""

from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from ruamel.yaml import YAML

from tests.config.broken import BROKEN, GOOD
from tests.config.test_load import FULL
from tether.config.models import NOT_YET
from tether.config.schema import schema

ROOT = Path(__file__).parents[2]
STRUCTURAL = [broken for broken in BROKEN if broken.structural]
CONTRACT = """\
api: {host: 127.0.0.1, port: 8321, read_token: "${TETHER_READ_TOKEN:-}", operate_token: "${file:/run/secrets/tether}"}
connections:
  cache:
    type: redis
    url: redis://localhost:6379/0
    health_check_interval: 5s
    health_check_timeout: 2s
    max_retries: null            # for ever; the default in the daemon
    retry: {strategy: exponential, base: 1s, factor: 2.0, maximum: 30s, jitter: 0.1}
    required: true
"""
GOOD_ONES = {
    "least": GOOD,
    "full": FULL,
    "contract": CONTRACT,
    "example": (ROOT / "examples" / "tether.yaml").read_text("utf-8"),
    "empty sections": "api:\nconnections:\n",
    "variables everywhere": """\
api: {host: "${X}", port: "${X}", read_token: "${X}", trusted_hosts: ["${X}"], base_path: "${X}", "${X}": 1}
connections:
  ${X}:
    {type: "${X}", url: "${X}", health_check: "${X}", health_check_interval: "${X}", failure_threshold: "${X}",
     max_retries: "${X}", retry: {strategy: "${X}", maximum: "${X}", factor: "${X}", jitter: "${X}"},
     depends_on: ["${X}"]}
""",
    "text for everything": """\
connections:
  a: {type: redis, url: redis://h, health_check: "true", failure_threshold: "3", max_retries: "null"}
  b: {type: redis, url: redis://h, stable_after: "1.5", max_retries: "", retry: {factor: "2", maximum: "null"}}
""",
    "strategies": "connections:\n" + "".join(
        f"  a{at}: {{type: redis, url: redis://h, retry: {retry}}}\n" for at, retry in enumerate((
            "{}", "{base: 5}", "{strategy: linear}", "{strategy: fixed, base: 5s}",
            "{strategy: jittered, max_jitter: 0}", "{strategy: full_jitter, factor: 1.5}",
            "{strategy: decorrelated, maximum: 5m}", "{strategy: grpc}",
        ))
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft7Validator(schema())


def as_data(text):
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("text", GOOD_ONES.values(), ids=GOOD_ONES)
def test_what_is_good_is_valid(validator, text):
    assert [error.message for error in validator.iter_errors(as_data(text))] == []


def test_there_are_structural_ones():
    assert len(STRUCTURAL) > 40


@pytest.mark.parametrize("broken", STRUCTURAL, ids=lambda broken: broken.name)
def test_what_the_loader_refuses_by_its_structure_is_invalid(validator, broken):
    assert not validator.is_valid(as_data(broken.content))


@pytest.mark.parametrize("kind", NOT_YET)
def test_types_that_are_not_there_yet_are_invalid(validator, kind):
    assert not validator.is_valid({"connections": {"a": {"type": kind, "url": "redis://h"}}})


def models():
    whole = schema()
    return [("root", whole), *whole["definitions"].items()]


@pytest.mark.parametrize(("name", "model"), models(), ids=lambda one: one if isinstance(one, str) else "")
def test_every_key_is_described_and_has_a_default_that_is_valid(validator, name, model):
    assert model["additionalProperties"] is False
    for key, described in model["properties"].items():
        assert described["description"].endswith("."), key
        if key != "url":
            full = {**described, "definitions": schema()["definitions"]}
            assert jsonschema.Draft7Validator(full).is_valid(described["default"]), key
