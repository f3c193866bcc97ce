"""The API's description: what generators and people read."""

import json

from tether.surfaces.api import create_app
from tether.surfaces.supervisor import Supervisor

OPERATIONS = {
    "connections",
    "connection",
    "reconnect",
    "pause",
    "resume",
    "events",
    "metrics",
    "livez",
    "readyz",
}


def described():
    return create_app(Supervisor()).openapi()


def operations():
    return [operation for methods in described()["paths"].values() for operation in methods.values()]


def test_operation_ids_are_words():
    assert {operation["operationId"] for operation in operations()} == OPERATIONS
    assert len(operations()) == len(OPERATIONS)


def test_each_has_a_summary_a_description_and_a_tag_that_is_explained():
    tags = {tag["name"] for tag in described()["tags"]}
    for operation in operations():
        assert operation["summary"]
        assert operation["description"]
        assert len(operation["tags"]) == 1
        assert set(operation["tags"]) <= tags


def test_every_parameter_is_described():
    for operation in operations():
        for parameter in operation.get("parameters", []):
            assert parameter.get("description")


def test_errors_are_problems_and_only_where_they_can_occur():
    for operation in operations():
        for status, response in operation["responses"].items():
            if status >= "400" and operation["operationId"] != "readyz":
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
        assert ("422" in operation["responses"]) == (operation["operationId"] == "events")
        is_probe = operation["operationId"] == "livez"
        assert ({"401", "403"} <= operation["responses"].keys()) is not is_probe


def test_every_reference_leads_somewhere_and_no_shape_is_unused():
    schema = described()
    text = json.dumps(schema)
    for name in schema["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names == set(schema["components"]["schemas"])


def test_who_needs_a_token_says_so():
    for operation in operations():
        probe = operation["operationId"] in {"livez", "readyz"}
        assert operation.get("security") == (None if probe else [{"token": []}])
    assert described()["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_describing_twice_gives_the_same():
    app = create_app(Supervisor())

    assert app.openapi() == app.openapi()
