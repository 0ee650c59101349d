"""HTTP: limits, odd requests, several at once, what comes between; errors are JSON throughout."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gnt.rapi.body import LIMIT
from gnt.rapi.http import MOST_SWALLOWED, PATIENCE
from tests.rapi.room import Room, objects, request
from tests.rapi.test_resources import CREATION, WEB


def is_error(answer: Any, status: int) -> None:
    """Check that an answer is an error in the form that clients read."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"code", "message", "explain"}
    assert answer.json["code"] == status
    assert answer.json["explain"]


@pytest.mark.parametrize(
    "path",
    [
        "/nosuch",
        "/2/",
        "/2/nodes/",
        "//2/nodes",
        "/2//nodes",
        "/2/nodes/a%62c",
        "/2/nodes/a%2Fb",
        "/2/nodes/a b".replace(" ", "%20"),
        "/2/jobs/abc",
        "/2/jobs/-1",
        "/2/Nodes",
        "/3/nodes",
        "/2/instances/x/disk/y/grow",
        "*",
        "http://localhost/2/info",
        "/2/nodes/../info",
        "/2/info;x",
    ],
)
def test_paths_that_are_not_there(room: Room, path: str) -> None:
    """Exact, case sensitive, nothing decoded and nowhere redirected."""
    is_error(room.ask("GET", path), 404)


@pytest.mark.parametrize(("method", "path"), [("POST", "/2/info"), ("DELETE", "/2/nodes"), ("PATCH", "/version")])
def test_methods_that_a_path_does_not_have(room: Room, method: str, path: str) -> None:
    """They are named, and those that there are."""
    answer = room.ask(method, path)
    is_error(answer, 501)
    assert answer.json["message"] == f"Method {method} is unsupported for path {path}"
    assert answer.headers["allow"] == "GET"


def test_head_has_no_body(room: Room) -> None:
    """HEAD is not served, and its answer has no body all the same."""
    client = room.client()
    client.send(request("HEAD", "/version"))
    head, _, rest = client.value().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 501")
    assert rest == b""


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON", 200),
        ("application/json; charset=utf-8", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data", 415),
        ("", 415),
    ],
)
def test_content_types(room: Room, content_type: str, status: int) -> None:
    """A body is JSON and says so; without a body nobody asks."""
    room.master.answers["SubmitJob"] = 1
    headers = {"Content-Type": content_type}
    assert room.ask("POST", "/2/instances", CREATION, headers=headers).status == status
    assert room.ask("PUT", "/2/instances/web1/startup", headers=headers).status == 200


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "Unable to parse JSON data"),
        (b"{} {}", "trailing"),
        (b"\xff", "Unable to parse JSON data"),
        (b'{"name": "\xff"}', "not UTF-8"),
        (b"[1]", "Type is 'list', but 'dict' is expected"),
        (b"null", "Type is 'NoneType'"),
        (b"[" * 5000 + b"]" * 5000, "levels deep"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "levels deep"),
        (b'{"__version__": 1' + b"0" * 5000 + b"}", ""),
        (b'{"__version__": 1e999}', ""),
    ],
)
def test_bodies_that_are_not_understood(room: Room, raw: bytes, said: str) -> None:
    """400 says why, and what the body holds is not repeated."""
    answer = room.ask("POST", "/2/instances", raw=raw)
    is_error(answer, 400)
    assert said in answer.json["message"]
    assert room.master.asked == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"disks": [{"size": {}}]}, "$.disks[0].size"),
        ({"disks": "1g"}, "$.disks"),
        ({"name": 5}, "$.name"),
        ({"os": ["x"]}, "$.os"),
        ({"nosuch": 1}, "$.nosuch"),
        ({"OP_ID": "OP_CLUSTER_DESTROY"}, "$.OP_ID"),
        ({"reason": []}, "$.reason"),
        ({"os_type": "x"}, "$.os"),
        ({"dry_run": True}, "static parameters"),
        ({"hvparams": 3}, "$.hvparams"),
        ({"disk_template": "floppy"}, "$.disk_template"),
        ({"priority": 3}, "$.priority"),
    ],
)
def test_parameters_that_are_wrong(room: Room, change: dict[str, Any], path: str) -> None:
    """400 names the place, in the names that the body has."""
    answer = room.ask("POST", "/2/instances", {**CREATION, **change})
    is_error(answer, 400)
    assert path in answer.json["message"]
    assert room.master.asked == []


@pytest.mark.parametrize("value", ["x", "1.5", "1_0", "true", "%ff", "0x1", "9" * 50])
def test_query_parameters_that_are_wrong(room: Room, value: str) -> None:
    """Yes and no are numbers."""
    answer = room.ask("GET", f"/2/instances?bulk={value}")
    is_error(answer, 400)
    assert answer.json["message"] == "Invalid value for the 'bulk' parameter"


def test_query_parameters_that_do_not_matter(room: Room) -> None:
    """Empty and unknown ones are ignored, of several the first counts."""
    room.master.answers["Query"] = objects(instance=[WEB])
    assert room.ask("GET", "/2/instances?bulk=&x=%zz&&=;&y").json[0].keys() == {"id", "uri"}
    assert "status" in room.ask("GET", "/2/instances?bulk=2&bulk=0").json[0]
    is_error(room.ask("GET", "/2/instances?" + "&".join(f"a{n}=1" for n in range(1500))), 400)


def test_a_body_that_is_too_large(room: Room) -> None:
    """One byte over the limit is too much, and the connection is still of use."""
    client = room.client()
    client.send(request("POST", "/2/instances", raw=b" " * LIMIT) + request("GET", "/version"))
    assert [answer.status for answer in client.received()] == [400, 200]
    client.send(request("POST", "/2/instances", raw=b" " * (LIMIT + 1)) + request("GET", "/version"))
    large, version = client.received()
    is_error(large, 413)
    assert version.status == 200


def test_a_body_that_is_much_too_large(room: Room) -> None:
    """It is not waited for, whether its size is told or not."""
    client = room.client()
    client.send(request("POST", "/2/instances", headers={"Content-Length": str(MOST_SWALLOWED + 1)}))
    (answer,) = client.received()
    is_error(answer, 413)
    assert client.disconnecting
    client.send(b"x" * 100_000)
    assert client.received() == []
    client.hang_up()

    client = room.client()
    head = b"POST /2/instances HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head)
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b"x" * (1 << 20))
    for _ in range(10):
        client.send(chunk)
    (answer,) = client.received()
    is_error(answer, 413)
    assert client.disconnecting
    client.hang_up()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /2/nodes/ä HTTP/1.1\r\n\r\n".encode(),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http(room: Room, data: bytes) -> None:
    """It is answered in JSON too, once, and the connection closed."""
    client = room.client()
    client.send(data)
    (answer,) = client.received()
    is_error(answer, 400)
    assert client.disconnecting
    client.hang_up()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_headers_without_end(room: Room, data: bytes) -> None:
    """They are not waited for."""
    client = room.client()
    client.send(data)
    client.send(b"x")
    (answer,) = client.received()
    is_error(answer, 431)
    assert client.disconnecting
    client.hang_up()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /version HTTP/1.1\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", 200),
        (b"GET /version HTTP/1.1\r\nHost: a]b[:x\r\n\r\n", 200),
        (b"GET /version HTTP/1.0\r\n\r\n", 200),
        (b"G\xc3\xa9T /version HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"get /version HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ],
)
def test_hosts_and_versions(room: Room, head: bytes, status: int) -> None:
    """HTTP/1.1 names the host, once; what it is called does not matter."""
    client = room.client()
    client.send(head)
    (answer,) = client.received()
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    client.hang_up()


def test_requests_in_a_row(room: Room) -> None:
    """Several requests at once on one connection are answered in order, also when the first has to wait."""
    late: Deferred[Any] = Deferred()
    room.master.answers |= {"QueryClusterInfo": late, "Query": objects(node=[])}
    client = room.client()
    client.send(request("GET", "/2/info") + request("GET", "/2/nodes") + request("GET", "/version"))
    assert client.received() == []
    late.callback({"name": "demo"})
    assert [answer.json for answer in client.received()] == [
        {"name": "demo", "vg_name": None, "drbd_helper": None},
        [],
        2,
    ]


def test_a_request_has_to_come_whole_in_time(room: Room) -> None:
    """Who sends a byte now and then is not waited for; who rests is let go."""
    client = room.client()
    for _ in range(4):
        client.send(b"G")
        room.clock.advance(PATIENCE / 3)
    assert client.disconnecting
    client.hang_up()


def test_waiting_takes_its_time(room: Room) -> None:
    """The time for sending a request does not bound its answer."""
    late: Deferred[Any] = Deferred()
    room.master.answers["QueryClusterInfo"] = late
    client = room.client()
    client.send(request("GET", "/2/info"))
    room.clock.advance(PATIENCE + 1)
    late.callback({})
    (answer,) = client.received()
    assert answer.status == 200


def test_too_many_clients(tmp_path: Path) -> None:
    """One more takes the place of who rests or dawdles, the oldest first; who waits for an answer keeps it."""
    room = Room(tmp_path, most_clients=2)
    late: Deferred[Any] = Deferred()
    room.master.answers["QueryClusterInfo"] = late
    waiting, dawdling = room.client(), room.client()
    waiting.send(request("GET", "/2/info"))
    dawdling.send(b"GET /version HTTP/1.1\r\nHost: ")
    third = room.client()
    assert third.channel is not None
    assert dawdling.gone
    assert not waiting.gone
    late.callback({})
    assert waiting.received()[0].status == 200
    for client in (waiting, third):
        client.hang_up()
    room.api.stop()


def test_too_many_requests_at_a_time(tmp_path: Path) -> None:
    """When all wait for answers, one more is turned away, until an answer has gone out."""
    room = Room(tmp_path, most_clients=2)
    clients, answers = [room.client(), room.client()], []
    for client in clients:
        late: Deferred[Any] = Deferred()
        answers.append(late)
        room.master.answers["QueryClusterInfo"] = late
        client.send(request("GET", "/2/info"))
    assert room.client().channel is None
    for late in answers:
        late.callback({})
    assert [client.received()[0].status for client in clients] == [200, 200]
    third = room.client()
    third.send(request("GET", "/version"))
    assert third.received()[0].status == 200
    assert [client.gone for client in clients] == [True, False]
    for client in (clients[1], third):
        client.hang_up()
    room.api.stop()


def test_large_answers_are_packed_for_who_takes_it(room: Room) -> None:
    """Gzip by request; small answers, and other clients, get plain JSON."""
    rows = [{"name": f"instance{number}.example.com"} for number in range(200)]
    room.master.answers["Query"] = objects(instance=rows, node=[])
    plain = room.ask("GET", "/2/instances")
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "deflate, GZIP;q=0.5", "*"):
        packed = room.ask("GET", "/2/instances", headers={"Accept-Encoding": accepted})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body)
    for refused in ("gzip;q=0", "deflate", "identity, gzip;q=0.000"):
        assert "content-encoding" not in room.ask("GET", "/2/instances", headers={"Accept-Encoding": refused}).headers
    assert "content-encoding" not in room.ask("GET", "/2/nodes", headers={"Accept-Encoding": "gzip"}).headers


def test_what_has_not_changed_is_not_sent_again(room: Room) -> None:
    """The tag is the master's stamp, and changes with anything in the answer."""
    shown = dict(WEB)
    room.master.answers["Query"] = objects(instance=[shown])
    first = room.ask("GET", "/2/instances/web1")
    tag = first.headers["etag"]
    assert tag == 'W/"1"'
    again = room.ask("GET", "/2/instances/web1", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status, again.body) == (304, b"")
    shown["oper_state"] = False
    assert room.ask("GET", "/2/instances/web1", headers={"If-None-Match": tag}).status == 200


def test_a_client_that_leaves_stops_no_submission(room: Room) -> None:
    """The job is submitted to the end; reading is given up."""
    late: Deferred[Any] = Deferred()
    room.master.answers["SubmitJob"] = late
    client = room.client()
    client.send(request("PUT", "/2/instances/web1/startup"))
    client.hang_up()
    assert not room.master.wires[0].aborted
    late.callback(5)
    assert room.ask("GET", "/version").status == 200

    reading: Deferred[Any] = Deferred()
    room.master.answers["QueryFields"] = reading
    client = room.client()
    client.send(request("GET", "/2/query/node/fields"))
    client.hang_up()
    assert room.master.wires[0].aborted


def test_a_mistake_of_ours_is_logged_and_not_shown(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 without a traceback."""
    secret = "what nobody should see"

    def broken(*_: object) -> None:
        raise ZeroDivisionError(secret)

    monkeypatch.setattr(room.api.master, "call", broken)
    answer = room.ask("GET", "/2/info")
    is_error(answer, 500)
    assert secret not in answer.body.decode()
    assert "Traceback" not in answer.body.decode()


def test_the_access_log(room: Room) -> None:
    """A line for each request in the common format: no query, no body, no password, and nothing that breaks a line."""
    room.ask("GET", "/2/features?secret=hidden1", address="192.0.2.9")
    room.ask("GET", "/2/features", user="writer:hidden2")
    room.ask("GET", '/\x01"x', user=None)
    client = room.client()
    client.send(b"hidden3\r\n\r\n")
    client.hang_up()
    lines = room.access_log.read_text().splitlines()
    assert re.fullmatch(
        r'192\.0\.2\.9 - writer \[14/Nov/2023:22:13:20 \+0000\] "GET /2/features HTTP/1\.1" 200 \d+', lines[0]
    )
    assert lines[1].split('"')[2].split()[0] == "401"
    assert all(line.count('"') == 2 for line in lines)
    assert "hidden" not in room.access_log.read_text()
    assert room.access_log.stat().st_mode & 0o777 == 0o640


def test_the_access_log_that_was_moved_away(room: Room) -> None:
    """Rotation needs no signal."""
    room.ask("GET", "/version")
    room.access_log.rename(room.access_log.with_suffix(".1"))
    room.ask("GET", "/version")
    assert len(room.access_log.read_text().splitlines()) == 1


def test_bytes_are_json_with_a_newline(room: Room) -> None:
    """Every answer ends with a newline, and says how long it is."""
    for answer in (room.ask("GET", "/2/features"), room.ask("GET", "/nosuch")):
        assert answer.body.endswith(b"\n")
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert json.loads(answer.body)
