"""The JSON Schema of the file, for editors: what the loader refuses by its structure, the schema refuses too."""

from __future__ import annotations

import json
from typing import Any

from tether.config.backoffs import DEFAULT, STRATEGIES
from tether.config.building import NAME
from tether.config.leaves import VARIABLE
from tether.config.model import Model
from tether.config.models import CONNECTIONS, ApiSettings, Settings

_MODELS: tuple[type[Model], ...] = (Settings, ApiSettings, *CONNECTIONS.values(), *STRATEGIES.values())
_DRAFT = "http://json-schema.org/draft-07/schema#"


def schema() -> dict[str, Any]:
    """Return the schema, in draft 7, which is what editors know."""
    drawn = Settings.model_json_schema(ref_template="#/definitions/{model}")
    definitions = {name: _definition(name, one) for name, one in sorted(drawn.pop("$defs").items())}
    whole = _definition("Settings", drawn)
    for section in whole["properties"].values():
        _allow_empty(section)
    whole["properties"]["connections"]["propertyNames"] = {
        "anyOf": [{"pattern": f"^{NAME.pattern}$"}, VARIABLE]
    }
    return {
        "$schema": _DRAFT,
        "title": "tether",
        "description": "The configuration of the tether daemon.",
        **{key: value for key, value in whole.items() if key not in {"title", "description"}},
        "definitions": definitions,
    }


def _definition(title: str, model: dict[str, Any]) -> dict[str, Any]:
    """Return one model: closed, and with variables wherever text may stand."""
    defaults = next(one for one in _MODELS if one.__name__ == title).model_construct().model_dump()
    properties = {name: _property(one, name, defaults) for name, one in model["properties"].items()}
    required = list(model.get("required", ()))
    if "type" in properties:
        required.insert(0, "type")
    if "strategy" in properties and properties["strategy"]["default"] != DEFAULT:
        required.append("strategy")  # or any retry would be this one
    closed = {key: value for key, value in model.items() if key not in {"title", "required"}}
    # A variable can be a key too.
    closed |= {"properties": properties, "patternProperties": {VARIABLE["pattern"]: {}}}
    return closed | ({"required": required} if required else {})


def _property(one: dict[str, Any], name: str, defaults: dict[str, Any]) -> dict[str, Any]:
    one = {key: value for key, value in one.items() if key != "title"}
    if name in defaults:
        # With durations as people write them, and lists for tuples.
        one["default"] = json.loads(json.dumps(defaults[name]))
    if "const" in one:
        choice = {"enum": [one.pop("const")]}
        one.pop("type", None)
        one["anyOf"] = [choice, VARIABLE]
    return one


def _allow_empty(section: dict[str, Any]) -> None:
    """Allow a section with all of its lines commented out."""
    kind = {
        key: section.pop(key) for key in ("$ref", "type", "additionalProperties", "allOf") if key in section
    }
    section["anyOf"] = [kind, {"type": "null"}]


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(schema(), indent=2, ensure_ascii=True) + "\n"
