"""Whatever a client sends: never 500, never a traceback, always an answer in the form that clients read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError

from gnt.opcodes.parameters import opcode_parameters
from gnt.rapi.resources.base import Stream, Submit
from gnt.rapi.resources.table import GANETI as ROWS
from gnt.rapi.resources.table import ROWS as EVERY
from tests.rapi.room import Room, objects, request
from tests.rapi.test_authentication import path_of
from tests.rapi.test_resources import CREATION

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["web1", "../x", "1g", "\x00", "\x03", "kvm", "create"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = sorted(
    {info.name for row in ROWS if isinstance(row.does, Submit) for info in opcode_parameters(row.does.opcode)}
)
bodies = values | st.dictionaries(st.sampled_from([*NAMES, "os", "name", "__version__", "OP_ID"]), values, max_size=6)
queries = st.text(
    alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=60
) | st.lists(
    st.tuples(
        st.sampled_from(["bulk", "dry-run", "force", "reason", "tag", "lock", "fields", "static", "type"]),
        st.sampled_from(["", "0", "1", "-1", "x", "%00", "%ff", "%e2%82%ac", "a,b", "99999999999999999999"]),
    ).map("=".join)
).map("&".join)


@pytest.fixture(scope="module")
def shared() -> Iterator[Room]:
    """Give a room that all examples use: one request must not harm the next."""
    with tempfile.TemporaryDirectory() as directory:
        room = Room(Path(directory))
        room.master.answers |= {
            "SubmitJob": 1,
            "CancelJob": [True, ""],
            "Query": objects_of_any_kind,
            "QueryFields": {"fields": []},
            "QueryTags": [],
            "QueryClusterInfo": {},
            "QueryJobs": lambda numbers, fields: [[1] * len(fields) for _ in numbers or ()],
            "WaitForJobChange": [["success"], []],
            "WaitForEvents": lambda position, within: (
                Deferred() if within else {"position": [9, 9, "a"], "changes": [], "lost": False}
            ),
        }
        yield room
        room.api.stop()


@pytest.fixture(scope="module")
def alone() -> Iterator[Room]:
    """Give a room whose master is away."""
    with tempfile.TemporaryDirectory() as directory:
        room = Room(Path(directory))
        room.master.down = ConnectError(111)
        yield room
        room.api.stop()


def objects_of_any_kind(what: str, fields: list[str], wanted: Any) -> Any:
    """Answer Query about nothing."""
    return objects(**{what: []})(what, fields, None)


def is_civil(answer: Any) -> None:
    """Check an answer: JSON, no fault of ours."""
    assert answer.status in {200, 400, 403, 404, 413, 415, 431, 501, 502, 503}
    if answer.status != 502:
        assert b"Traceback" not in answer.body
    assert json.loads(answer.body) is not None or answer.status == 200
    if answer.status != 200:
        assert set(answer.json) == {"code", "message", "explain"}


@FUZZ
@given(row=st.sampled_from(ROWS), body=bodies, query=queries)
def test_any_body_and_query(shared: Room, row: Any, body: Any, query: str) -> None:
    """On every resource."""
    is_civil(shared.ask(row.method, f"{path_of(row)}?{query}", body))


@settings(FUZZ, max_examples=150)
@given(
    change=st.dictionaries(st.sampled_from([*CREATION, "hvparams", "osparams", "depends", "tags"]), values, max_size=3)
)
def test_any_creation(shared: Room, change: dict[str, Any]) -> None:
    """A creation with some values replaced is taken or refused with a path."""
    answer = shared.ask("POST", "/2/instances", {**CREATION, **change})
    is_civil(answer)
    assert answer.status in {200, 400}
    if answer.status == 400:
        assert "$" in answer.json["message"]


@settings(FUZZ, max_examples=150)
@given(row=st.sampled_from([row for row in EVERY if not isinstance(row.does, Stream)]), body=bodies, query=queries)
def test_any_request_without_a_master(alone: Room, row: Any, body: Any, query: str) -> None:
    """Then too: what needs the master is 502 or 503, the rest as ever."""
    answer = alone.ask(row.method, f"{path_of(row)}?{query}", body)
    if row.path.endswith("openapi.json"):
        assert answer.status == 200
    else:
        is_civil(answer)


@FUZZ
@given(
    query=queries | st.sampled_from(["kind=job", "kind=,", "since=5", "since=x", "kind=x", "since=999999999999999999"])
)
def test_any_way_to_listen(shared: Room, query: str) -> None:
    """The stream begins, or is refused; who leaves leaves nothing behind."""
    client = shared.client()
    client.send(request("GET", f"/3/events?{query}"))
    assert client.value().split(b" ", 2)[1] in {b"200", b"400"}
    client.hang_up()
    assert len(shared.api.application.hub) == 0


@FUZZ
@given(raw=st.binary(max_size=300))
def test_any_bytes_as_a_body(shared: Room, raw: bytes) -> None:
    """JSON or not."""
    is_civil(shared.ask("POST", "/2/instances", raw=raw))


@FUZZ
@given(path=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_any_path(shared: Room, path: str) -> None:
    """With what paths are made of."""
    is_civil(shared.ask("GET", path))
    is_civil(shared.ask("GET", f"/2/{path}"))


@FUZZ
@given(
    header=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
)
def test_any_credentials(shared: Room, header: str) -> None:
    """They are wrong, or none."""
    shared.clock.advance(100)
    answer = shared.ask("GET", "/2/features", user=None, headers={"Authorization": header})
    assert answer.status in {400, 401}
    assert set(answer.json) == {"code", "message", "explain"}


@FUZZ
@given(
    pieces=st.lists(
        st.binary(max_size=60) | st.sampled_from([b"\r\n", b"GET ", b" HTTP/1.1\r\n", b"Host: x"]), max_size=8
    )
)
def test_any_bytes_on_a_connection(shared: Room, pieces: list[bytes]) -> None:
    """Others are served meanwhile and afterwards."""
    client = shared.client()
    for piece in pieces:
        client.send(piece)
    assert b"Traceback" not in client.value()
    assert shared.ask("GET", "/version").status == 200
    client.hang_up()


@FUZZ
@given(data=st.data())
def test_requests_in_any_pieces(shared: Room, data: st.DataObject) -> None:
    """How the network cuts two requests does not matter."""
    whole = request("POST", "/2/instances", CREATION) + request("GET", "/version")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    client = shared.client()
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        client.send(whole[begin:end])
    assert [answer.json for answer in client.received()] == [1, 2]
    client.hang_up()
