"""Whatever comes over the LUXI socket: one answer for each request, in words, no fault of ours, and the next is served.

The server, the queue and the queries are the real ones; there are no sockets, so thousands of clients take no time.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.testing import StringTransport

from gnt.masterd.luxi_methods import LuxiMethods
from gnt.masterd.luxi_server import LuxiConnection, LuxiServer
from gnt.masterd.queries.answers import RESOURCES
from gnt.masterd.queries.filters import Operator
from gnt.model.layout import Layout
from gnt.wire.luxi import decode_response
from tests.masterd.fake_rules import FakeRules
from tests.masterd.jobs.fakes import Brain
from tests.masterd.queries.conftest import Desk
from tests.masterd.test_luxi_server import FakeTokens

END: Final = b"\x03"
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


class Room:
    """A master that answers, and clients of it. `faults` are what should not have happened."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.brain = Brain().start()
        rules, tokens = FakeRules(), FakeTokens()
        methods = LuxiMethods(
            self.brain.queue,
            self.brain.locks,
            self.desk.answers,
            tokens,
            filters=rules,
            pause=rules,
            plans=rules,
            forcing=tokens,
        )
        self.methods = sorted(methods._methods)
        self.server = LuxiServer(methods, Layout(Path("/nowhere")))
        self.faults: list[object] = []
        self.server.fault = self.faults.append  # type: ignore[method-assign]

    def client(self) -> tuple[LuxiConnection, StringTransport]:
        """Connect."""
        connection, transport = LuxiConnection(self.server), StringTransport()
        connection.makeConnection(transport)
        return connection, transport

    def ask(self, data: bytes) -> list[Any]:
        """Send bytes of whole messages, wait as long as any request may take, and give the answers."""
        connection, transport = self.client()
        connection.dataReceived(data)
        for _ in range(data.count(END)):
            self.brain.clock.advance(100)
            self.desk.clock.advance(100)
        connection.connectionLost(None)
        *frames, rest = transport.value().split(END)
        assert rest == b""
        return [json.loads(frame) for frame in frames]

    def is_well(self) -> None:
        """Check that nothing of ours went wrong, and that the next client is served."""
        assert self.faults == []
        (answer,) = self.ask(b'{"method":"QueryClusterInfo","args":[]}\x03')
        assert answer["success"] is True


@pytest.fixture(scope="module")
def room() -> Room:
    """Give a master that all examples talk to: one client must not harm the next."""
    return Room()


def is_civil(answer: Any) -> None:
    """Check that an answer is one that clients can read, and that a refusal is in words."""
    assert set(answer) in ({"success", "result"}, {"success", "result", "detail"})
    if answer["success"]:
        return
    assert "Traceback" not in str(answer["result"])
    assert "log of the master daemon" not in str(answer["result"]), answer
    match answer["result"]:
        case str(text):
            assert text
        case [str(name), list(arguments)]:
            assert name
            assert arguments
        case other:
            raise AssertionError(other)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["web1", "node1", "\x03", "ä\x00", "\ud800", "name", "watermark", "1", "-1", 10**30, 1e308])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)
kinds = st.sampled_from([*RESOURCES, "nonsense", ""])
FIELDS: Final = sorted({name for known in RESOURCES.values() for name in known.by_name})
field_names = st.sampled_from([*FIELDS, "disk.size/0", "nic.ip/9999", "nope"]) | st.text(max_size=8)
regexes = st.sampled_from(["^web", "(a+)+$", "[", "(?i)WEB", ".*.*.*.*x", "(?P<a>.)(?P=a)", "\\d{1,9999}"]) | st.text(
    max_size=8
)
leaves = st.tuples(st.sampled_from([*map(str, Operator), "==", "~", ""]), field_names, scalars | regexes | values).map(
    list
) | st.tuples(st.just("?"), field_names).map(list)
filters = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from("&|!"), st.lists(inner, max_size=3)).map(lambda both: [both[0], *both[1]]),
    max_leaves=8,
)


def request(method: Any, args: Any, **more: Any) -> bytes:
    """Encode a request as clients do; a lone surrogate is escaped."""
    return json.dumps({"method": method, "args": args, **more}).encode() + END


@FUZZ
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 220), max_size=6))
@example(data=b'{"method":"QueryTags","args":["cluster",""]}\x03' * 3, cuts=[1, 50, 51])
@example(data=b"[" * 200, cuts=[])
@example(data=b'{"method":"Query","args":' + b"[" * 150 + b"\x03", cuts=[7])
def test_any_bytes_in_any_pieces(room: Room, data: bytes, cuts: list[int]) -> None:
    """As many answers as end bytes, wherever the pieces are cut."""
    connection, transport = room.client()
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    for begin, end in itertools.pairwise(places):
        connection.dataReceived(data[begin:end])
    answers = transport.value().split(END)
    assert answers.pop() == b""
    assert len(answers) == data.count(END)
    for answer in answers:
        is_civil(json.loads(answer))
    connection.connectionLost(None)
    room.is_well()


@FUZZ
@given(data=st.data())
def test_any_arguments_for_any_method(room: Room, data: st.DataObject) -> None:
    """Every method answers whatever it is given; a version is no matter."""
    method = data.draw(st.sampled_from(room.methods) | st.text(max_size=8) | values)
    args = data.draw(st.lists(values, max_size=5) | values)
    (answer,) = room.ask(request(method, args, version=data.draw(values)))
    is_civil(answer)
    room.is_well()


@FUZZ
@given(what=kinds, fields=st.lists(field_names, max_size=4), query_filter=filters | values)
@example(what="instance", fields=["name"], query_filter=["=~", "name", "(a+)+$"])
@example(what="job", fields=["ops"], query_filter=["|", ["=", "id", 10**30], ["=", "id", 1]])
@example(what="node", fields=["name"], query_filter=["!", ["!", ["=", "name", "\ud800"]]])
@example(what="instance", fields=["name"], query_filter=["<", "tags", "a"])
@example(what="lock", fields=["pending"], query_filter=["=[]", "pending", None])
def test_any_filter(room: Room, what: str, fields: list[str], query_filter: Any) -> None:
    """Rows with a cell for each field, or a refusal that says what is wrong with the question."""
    (answer,) = room.ask(request("Query", [what, fields, query_filter]))
    is_civil(answer)
    if answer["success"]:
        assert [field["name"] for field in answer["result"]["fields"]] == fields
        assert all(len(row) == len(fields) for row in answer["result"]["data"])
    else:
        assert isinstance(answer["result"], str) or answer["result"][0] in {"ParameterError", "OpPrereqError"}
    room.is_well()


CLASSIC: Final = ("QueryInstances", "QueryNodes", "QueryGroups", "QueryNetworks", "QueryJobs", "QueryFilters")


@FUZZ
@given(method=st.sampled_from(CLASSIC), names=values, fields=st.lists(field_names, max_size=3) | values)
def test_any_classic_question(room: Room, method: str, names: Any, fields: Any) -> None:
    """The older forms refuse as well as they answer."""
    (answer,) = room.ask(request(method, [names, fields] if method in CLASSIC[4:] else [names, fields, False]))
    is_civil(answer)
    room.is_well()


WAITS = st.tuples(
    st.integers(-2, 20) | values,
    st.lists(st.sampled_from(["status", "id", "oplog", "nope"]), max_size=2) | values,
    values,
    st.integers(-5, 5) | values,
    st.floats(-5, 200) | values,
)


@FUZZ
@given(args=WAITS)
def test_any_wait_for_a_job(room: Room, args: tuple[Any, ...]) -> None:
    """Waiting ends, whatever is waited for."""
    room.ask(request("SubmitJob", [[{"OP_ID": "OP_TEST_DELAY", "duration": 0}]]))
    (answer,) = room.ask(request("WaitForJobChange", args))
    is_civil(answer)
    room.is_well()


@FUZZ
@given(requests=st.lists(st.sampled_from(["QueryClusterInfo", "QueryTags", "nope"]), max_size=30), silent=st.booleans())
def test_many_requests_in_one_packet(room: Room, requests: list[str], *, silent: bool) -> None:
    """They are answered in their order; a newline before the end byte, as some clients write it, is no matter."""
    args: dict[str, list[Any]] = {"QueryTags": ["instance", "web2"]}
    data = b"".join(request(method, args.get(method, [])) for method in requests)
    if silent:
        data = data.replace(END, b"\n" + END)
    answers = room.ask(data)
    assert [answer["success"] for answer in answers] == [method != "nope" for method in requests]
    assert [answer["result"] for answer, method in zip(answers, requests, strict=True) if method == "QueryTags"] == [
        ["prod"] for method in requests if method == "QueryTags"
    ]


def test_large_answers_in_any_script(room: Room) -> None:
    """Names and tags of all the world come out as they are; thousands of rows are one message."""
    desk = room.desk
    before = desk.cluster
    tags = ["käse", "Ωmega", "日本"]
    pattern = replace(before.instance("web2"), disks=(), tags=tags)
    for number in range(2_000):
        desk.cluster = desk.cluster.put(replace(pattern, uuid=f"x{number}", name=f"extra{number}.example.com"))
    try:
        connection, transport = room.client()
        connection.dataReceived(request("Query", ["instance", ["name", "tags", "status"], ["=~", "name", "^extra"]]))
        (frame, rest) = transport.value().split(END)
    finally:
        desk.cluster = before
    assert rest == b""
    rows = decode_response(frame)["data"]
    assert [row[0][1] for row in rows] == [f"extra{number}.example.com" for number in range(2_000)]
    assert all(row[1] == [0, tags] for row in rows)
