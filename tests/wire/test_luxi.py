"""LUXI messages: framing, requests of clients of any age, responses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnt.model.errors import WRONG_STATE, Failed, GntError, NodeFailure, Refused
from gnt.wire.errors import to_job_error
from gnt.wire.luxi import (
    Request,
    decode_request,
    decode_response,
    encode_failure,
    encode_request,
    encode_response,
    unknown_method,
)
from gnt.wire.luxi_frames import FrameSplitter, parse_job_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OP = {"OP_ID": "OP_CLUSTER_QUERY"}


@given(st.lists(JSON, max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_messages_survive_any_cutting(messages: list[Any], sizes: list[int]) -> None:
    """However the bytes arrive, the same messages come out, in order."""
    stream = b"".join(encode_response(message) for message in messages)
    splitter, found, turn = FrameSplitter(), [], 0
    while stream:
        size = sizes[turn % len(sizes)]
        found += splitter.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert [decode_response(frame) for frame in found] == messages
    assert splitter.pending == 0


@given(st.text())
def test_the_end_byte_never_stands_inside(text: str) -> None:
    """The byte 0x03 in a text is escaped, in both directions."""
    for frame in (encode_request("Query", [text + "\x03"]), encode_response(text + "\x03")):
        assert frame.count(b"\x03") == 1
        assert frame.endswith(b"\x03")
    assert decode_response(encode_response(text + "\x03")[:-1]) == text + "\x03"


def test_a_newline_before_the_end_is_fine() -> None:
    """Some clients send one, others do not."""
    (frame,) = FrameSplitter().feed(b'{"method": "QueryClusterInfo", "args": []}\n\x03')
    assert decode_request(frame) == Request(method="QueryClusterInfo", args=[])


def test_too_long_messages_are_refused_before_they_are_complete() -> None:
    """The limit holds for complete and for endless messages, and is exact."""
    assert FrameSplitter(limit=3).feed(b"abc\x03abc\x03ab") == [b"abc", b"abc"]
    with pytest.raises(GntError, match="more than 3 bytes"):
        FrameSplitter(limit=3).feed(b"abcd\x03")
    endless = FrameSplitter(limit=3)
    assert endless.feed(b"abc") == []
    with pytest.raises(GntError, match="more than 3 bytes"):
        endless.feed(b"d")


@pytest.mark.parametrize(
    ("method", "args", "wanted"),
    [
        ("SubmitJob", [[OP]], [[OP]]),
        ("SubmitJob", [OP, OP], [[OP, OP]]),
        ("SubmitJob", [[]], [[]]),
        ("SubmitJob", [], [[]]),
        ("SubmitManyJobs", [[[OP], [OP]]], [[[OP], [OP]]]),
        ("SubmitManyJobs", [[OP], [OP]], [[[OP], [OP]]]),
        ("SubmitManyJobs", [[]], [[]]),
        ("CancelJob", [5], [5]),
        ("CancelJob", "5", ["5"]),
        ("CancelJob", [5, True], [5, True]),
        ("ArchiveJob", 5, [5]),
        ("SetDrainFlag", True, [True]),
        ("SetDrainFlag", [False], [False]),
        ("QueryConfigValues", ["cluster_name"], [["cluster_name"]]),
        ("QueryConfigValues", [["cluster_name"]], [["cluster_name"]]),
        ("QueryClusterInfo", [], []),
        ("QueryClusterInfo", None, []),
        ("AutoArchiveJobs", [3600, 10], [3600, 10]),
        ("Query", ["node", ["name"], None], ["node", ["name"], None]),
    ],
)
def test_arguments_bare_or_in_a_list(method: str, args: Any, wanted: list[Any]) -> None:
    """Clients up to 2.5 send a single argument bare; both forms are the same request."""
    text = json.dumps({"method": method, "args": args, "version": 2_010_000})
    assert decode_request(text.encode()) == Request(method=method, args=wanted)


@given(st.text(min_size=1), st.lists(JSON, min_size=1, max_size=4))
def test_requests_round_trip(method: str, args: list[Any]) -> None:
    """What the client encodes is what the server reads."""
    frame = encode_request(f"X{method}", args)
    assert decode_request(frame[:-1]) == Request(method=f"X{method}", args=args)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"args": []}',
        b'{"method": "Query"}',
        b'{"method": 5, "args": []}',
        b'{"method": "Query", "args": {}}',
        b'{"method": "Query", "args": 5}',
        b'\xff{"method": "Query", "args": []}',
        b'{"method": "\xff", "args": []}',
        b'{"method": "Query", "args": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_unreadable_requests_are_answered_in_words(frame: bytes) -> None:
    """What is no request is refused, and the answer is plain text as clients expect."""
    with pytest.raises(GntError) as refused:
        decode_request(frame)
    answer = json.loads(encode_failure(refused.value)[:-1])
    assert answer["success"] is False
    assert answer["result"].startswith("Failed to parse request: ")


def test_an_unknown_method_is_answered_in_words() -> None:
    """The text is the one clients know; a very long name is cut."""
    answer = json.loads(encode_failure(unknown_method("Explode" * 100))[:-1])
    assert answer["result"].startswith("Caught exception: Invalid operation 'Explode")
    assert len(answer["result"]) < 200


def test_a_failure_keeps_code_and_hint_for_our_clients() -> None:
    """Old clients find the hint in the message, ours find code, text and hint apart."""
    error = Refused(WRONG_STATE, "web1 is marked offline", hint="gnt-instance modify --online")
    frame = encode_failure(error)[:-1]
    message = "web1 is marked offline (gnt-instance modify --online)"
    assert json.loads(frame)["result"] == ["OpPrereqError", [message, "wrong_state"]]
    with pytest.raises(Refused) as raised:
        decode_response(frame)
    assert (raised.value.code, raised.value.text, raised.value.hint) == (error.code, error.text, error.hint)
    assert str(raised.value) == error.text


@pytest.mark.parametrize(
    "error",
    [
        Failed("a guest has the image open", hint="shut it down"),
        NodeFailure("busy", "a guest has the image open", hint="shut it down"),
    ],
)
def test_a_job_that_failed_keeps_the_remedy(error: GntError) -> None:
    """The result of a job has no room for a hint: it stands behind the message."""
    assert to_job_error(error) == ["OpExecError", ["a guest has the image open (shut it down)"]]


@pytest.mark.parametrize("frame", [b"", b"[]", b'{"success": true}', b'{"success": 1, "result": 2}', b"[" * 100_000])
def test_what_is_no_response(frame: bytes) -> None:
    """An answer that cannot be read is an error of its own code."""
    with pytest.raises(GntError) as raised:
        decode_response(frame)
    assert raised.value.code == "luxi_error"


def test_text_that_is_no_unicode_is_still_sent() -> None:
    """Output of programs with stray bytes does not break the answer."""
    frame = encode_response({"output": ["caf\udce9", ("x",)]})
    assert decode_response(frame[:-1]) == {"output": ["caf?", ["x"]]}


@pytest.mark.parametrize("value", [0, -1, True, None, "", "x", "-1", "1.0", 1.0, "²", [1], "9" * 50])
def test_no_job_number(value: Any) -> None:
    """Only positive whole numbers and their digits name a job."""
    with pytest.raises(Refused, match="no job number"):
        parse_job_id(value)


def test_job_numbers_as_digits() -> None:
    """Clients up to 2.6 send strings."""
    assert parse_job_id("17") == parse_job_id(17) == 17
