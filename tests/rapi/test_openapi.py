"""The description of the API: valid, complete, true to what is asked and answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from gnt.opcodes.registry import ALL
from gnt.rapi.openapi import describe
from gnt.rapi.resources.base import Stream
from gnt.rapi.resources.shapes import _TYPES
from gnt.rapi.resources.table import ROWS
from tests.rapi.room import Room
from tests.rapi.test_table import EVERY, SPECIFIED
from tests.rapi.test_walk import BODIES, IDS, QUERIES, there, where

DESCRIBED: dict[str, Any] = json.loads(json.dumps(describe(ROWS)))
FIELDS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data/query-fields.json").read_text(encoding="utf-8")
)
KINDS = {"text": "string", "bool": "boolean", "unit": "integer", "number": "integer", "timestamp": "number"}


def operation(method: str, path: str) -> dict[str, Any]:
    """Give what is said of a resource."""
    found: dict[str, Any] = DESCRIBED["paths"][re.sub(r"\[([a-z_]+)\]", r"{\1}", path)][method.lower()]
    return found


def check(schema: dict[str, Any], value: Any) -> None:
    """Check a value; references lead into the description."""
    whole = {**schema, "components": DESCRIBED["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def test_it_is_valid() -> None:
    """As the authors of OpenAPI check it."""
    validate(DESCRIBED)


def test_it_is_complete() -> None:
    """Every resource and method, each under a name of its own; every opcode that is served."""
    said = {(path, method.upper()) for path, methods in DESCRIBED["paths"].items() for method in methods}
    assert said == {(re.sub(r"\[([a-z_]+)\]", r"{\1}", row.path), row.method) for row in ROWS}
    names = [one["operationId"] for methods in DESCRIBED["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    used = {name for methods in DESCRIBED["paths"].values() for one in methods.values() for name in _opcodes(one)}
    assert used <= ALL.keys()
    assert len(used) > 40


def _opcodes(one: dict[str, Any]) -> list[str]:
    return list(one.get("x-gnt-opcodes", ()))


@pytest.mark.parametrize(("path", "method", "about"), EVERY, ids=IDS)
def test_the_query_is_described(path: str, method: str, about: dict[str, Any]) -> None:
    """The parameters of the specification, but for the reason, which every resource takes."""
    said = {one["name"] for one in operation(method, path)["parameters"] if one["in"] == "query"}
    assert said == about["query"].keys() - {"reason"}


@pytest.mark.parametrize(("path", "method", "about"), EVERY, ids=IDS)
def test_what_is_asked_and_answered_is_as_described(room: Room, path: str, method: str, about: dict[str, Any]) -> None:
    """Bodies and answers of the walk through the specification."""
    there(room)
    said = operation(method, path)
    body = BODIES.get((method, path))
    if body is not None:
        check(said["requestBody"]["content"]["application/json"]["schema"], body)
    for query in ("", "bulk=1"):
        whole = where(method, path)
        if query and ("bulk" not in about["query"] or (method, path) in QUERIES):
            continue
        answer = room.ask(method, f"{whole}?{query}" if query else whole, body)
        check(said["responses"]["200"]["content"]["application/json"]["schema"], answer.json)
    refused = room.ask(method, where(method, path), user=None)
    if refused.status != 200:
        check(said["responses"]["default"]["content"]["application/json"]["schema"], refused.json)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/2/instances", {}),
        ("POST", "/2/instances", {**BODIES["POST", "/2/instances"], "__version__": 0}),
        ("POST", "/2/instances", {**BODIES["POST", "/2/instances"], "surprise": 1}),
        ("PUT", "/2/nodes/[node_name]/role", "master"),
        ("POST", "/2/instances/[instance_name]/disk/[disk_index]/grow", {"amount": -1}),
        ("PUT", "/2/instances/[instance_name]/rename", {"instance_name": "x", "new_name": "y"}),
        ("GET", "/2/jobs/[job_id]/wait", {}),
        ("POST", "/2/filters", {"priority": "x"}),
    ],
)
def test_what_is_refused_is_not_as_described(room: Room, method: str, path: str, body: Any) -> None:
    """The description refuses what the API does."""
    there(room)
    assert room.ask(method, where(method, path), body).status == 400
    with pytest.raises(jsonschema.ValidationError):
        check(operation(method, path)["requestBody"]["content"]["application/json"]["schema"], body)


def test_types_of_fields() -> None:
    """Are those that queries have."""
    for kind in ("instance", "node", "group", "network", "job", "filter"):
        for field in SPECIFIED["_fields"][kind]:
            wanted = KINDS.get(FIELDS[kind]["fields"][field]["kind"])
            if wanted is not None:
                assert _TYPES[field] == wanted, field


@pytest.mark.parametrize("path", ["/3/openapi.json", "/openapi.json"])
def test_it_is_served(room: Room, path: str) -> None:
    """To anybody: it says what could be asked, and nothing of this cluster."""
    answer = room.ask("GET", path, user=None)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == DESCRIBED
    again = room.ask("GET", path, user=None, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304


def test_the_stream_is_text() -> None:
    """And the metrics are."""
    streams = [row.path for row in ROWS if isinstance(row.does, Stream)]
    assert streams == ["/3/events"]
    assert list(operation("GET", "/3/events")["responses"]["200"]["content"]) == ["text/event-stream"]
    assert list(operation("GET", "/metrics")["responses"]["200"]["content"]) == ["text/plain"]
