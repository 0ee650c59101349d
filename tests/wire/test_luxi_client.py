"""The blocking LUXI client against a socket that a thread answers."""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gnt.model.errors import GntError, JobLost, Refused
from gnt.opcodes.cluster import ClusterQuery
from gnt.opcodes.registry import encode_opcode
from gnt.wire import luxi_client, luxi_frames
from gnt.wire.luxi import decode_request, encode_failure, encode_response
from gnt.wire.luxi_client import JobChange, LuxiClient

Script = Callable[..., "Served"]


class Served:
    """A server that sends the given bytes for each request, and remembers the requests. Empty bytes hang up."""

    def __init__(self, path: Path, answers: list[bytes]) -> None:
        self.path = path
        self.requests: list[Any] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(5)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        splitter = luxi_frames.FrameSplitter()
        while self._answers and (data := connection.recv(65536)):
            for frame in splitter.feed(data):
                self.requests.append(json.loads(frame))
                answer = self._answers.pop(0)
                if not answer:
                    return
                connection.sendall(answer)

    def stop(self) -> None:
        """Close the listener and wait for the thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Script]:
    """Start servers that are stopped after the test."""
    started: list[Served] = []

    def start(*answers: bytes) -> Served:
        started.append(Served(tmp_path / "luxi", list(answers)))
        return started[-1]

    yield start
    for served in started:
        served.stop()


def test_a_job_is_submitted_with_every_parameter(serve: Script) -> None:
    """Opcodes go out as complete objects, the number comes back; one connection serves several calls."""
    served = serve(encode_response(42), encode_response("43"), encode_response([[True, "44"], [False, "full"]]))
    opcode = ClusterQuery(comment="hello")
    with LuxiClient(served.path) as client:
        assert client.submit_job([opcode]) == 42
        assert client.submit_job([opcode], even_if_drained=True) == 43
        assert client.submit_many_jobs([[opcode], [opcode]]) == [(True, 44), (False, "full")]
    encoded = encode_opcode(opcode)
    assert served.requests == [
        {"method": "SubmitJob", "args": [[encoded]], "client": "gnt"},
        {"method": "SubmitJobToDrainedQueue", "args": [[encoded]], "client": "gnt"},
        {"method": "SubmitManyJobs", "args": [[[encoded], [encoded]]], "client": "gnt"},
    ]


@pytest.mark.parametrize(
    ("answer", "change"),
    [
        ([["running"], [[1, [5, 6], "message", "hi"]]], JobChange(["running"], [[1, [5, 6], "message", "hi"]])),
        ("nochange", None),
    ],
)
def test_waiting_for_a_job(serve: Script, answer: Any, change: JobChange | None) -> None:
    """A change is given as a struct, its absence as None; no wait is longer than a server grants."""
    served = serve(encode_response(answer))
    with LuxiClient(served.path) as client:
        assert client.wait_for_job_change(5, ["status"], ["queued"], 0, wait=500) == change
    assert served.requests[0]["args"] == [5, ["status"], ["queued"], 0, 89.0]


def test_a_job_that_is_not_there(serve: Script) -> None:
    """Null for a job is a lost job, as is the error of this name."""
    served = serve(encode_response(None), encode_failure(JobLost("no job 5")))
    with LuxiClient(served.path) as client:
        for _ in range(2):
            with pytest.raises(JobLost, match="no job 5"):
                client.wait_for_job_change(5, ["status"])


def test_reading(serve: Script) -> None:
    """Queries give definitions and cells; the other reading methods what they answer."""
    field = {"name": "name", "title": "Node", "kind": "text", "doc": "its name"}
    served = serve(
        encode_response({"fields": [field], "data": [[[0, "node1"]], [[2, None]]]}),
        encode_response({"fields": [field]}),
        encode_response([[5, "success"], None]),
        encode_response({"name": "cluster"}),
        encode_response(["node1", None]),
        encode_response(["web"]),
    )
    with LuxiClient(served.path) as client:
        answer = client.query("node", ["name"], ["=", "name", "node1"])
        assert answer.data == [[[0, "node1"]], [[2, None]]]
        assert client.query_fields("node") == answer.fields
        assert answer.fields[0].doc == "its name"
        assert client.query_jobs([5, 6], ["id", "status"]) == [[5, "success"], None]
        assert client.query_cluster_info() == {"name": "cluster"}
        assert client.query_config_values(["master_node", "x"]) == ["node1", None]
        assert client.query_tags("cluster") == ["web"]
    assert [request["args"] for request in served.requests] == [
        ["node", ["name"], ["=", "name", "node1"]],
        ["node", None],
        [[5, 6], ["id", "status"]],
        [],
        [["master_node", "x"]],
        ["cluster", ""],
    ]


def test_the_queue(serve: Script) -> None:
    """Jobs are cancelled, archived and moved; the queue is drained and the watcher paused."""
    served = serve(*map(encode_response, [[True, "gone"], [True, "killed"], True, [3, 4], [False, "no"], True, 1.5e9]))
    with LuxiClient(served.path) as client:
        assert client.cancel_job(5) == (True, "gone")
        assert client.cancel_job(5, kill=True) == (True, "killed")
        assert client.archive_job(5)
        assert client.auto_archive_jobs(-1, 10) == (3, 4)
        assert client.change_job_priority(5, -10) == (False, "no")
        client.set_drain_flag(drained=True)
        client.set_watcher_pause(1.5e9)
    assert [request["method"] for request in served.requests] == [
        "CancelJob",
        "CancelJob",
        "ArchiveJob",
        "AutoArchiveJobs",
        "ChangeJobPriority",
        "SetDrainFlag",
        "SetWatcherPause",
    ]
    assert [request["args"] for request in served.requests[:2]] == [[5], [5, True]]


def test_a_refusal_leaves_the_connection_usable(serve: Script) -> None:
    """An error that the master answers is raised with its code and hint; the next call goes on."""
    served = serve(encode_failure(Refused("unknown_entity", "no node9", hint="try node1")), encode_response([]))
    with LuxiClient(served.path) as client:
        with pytest.raises(Refused) as refused:
            client.call("QueryNodes", ["node9"], ["name"], False)
        assert (refused.value.code, refused.value.hint) == ("unknown_entity", "try node1")
        assert client.query_config_values([]) == []


@pytest.mark.parametrize("answer", ["text", [1], {"fields": 5}, {"data": []}])
def test_an_answer_of_another_shape(serve: Script, answer: Any) -> None:
    """What a method cannot have answered is refused with the path to it."""
    served = serve(encode_response(answer))
    with LuxiClient(served.path) as client, pytest.raises(GntError, match="answered Query with") as refused:
        client.query("node", ["name"])
    assert refused.value.code == "luxi_error"


def test_an_answer_too_many(serve: Script) -> None:
    """Two answers to one request cannot be told apart, and none is believed."""
    served = serve(encode_response(1) + encode_response(2))
    with LuxiClient(served.path) as client, pytest.raises(GntError, match="more than was asked"):
        client.call("X")


def test_a_connection_that_breaks(serve: Script) -> None:
    """It is in doubt whether a submission arrived, and the error says where to look; later calls connect anew."""
    served = serve(b"", encode_response([]))
    client = LuxiClient(served.path)
    with pytest.raises(GntError) as broken:
        client.submit_job([ClusterQuery()])
    assert broken.value.code == "connection_lost"
    assert "gnt-job list" in broken.value.hint
    assert client.query_config_values([]) == []
    client.close()


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (lambda client: client.delete_filter("u"), "gnt-filter list"),
        (lambda client: client.replace_filter(None, 0, [], "PAUSE", []), "gnt-filter list"),
        (lambda client: client.cancel_job(7), "gnt-job info"),
        (lambda client: client.set_drain_flag(drained=True), "gnt-cluster queue info"),
        (lambda client: client.set_watcher_pause(None), "gnt-cluster watcher info"),
        (lambda client: client.call("RevokeApiToken", "x"), ""),
    ],
)
def test_a_change_whose_answer_is_lost_is_not_told_as_undone(
    serve: Script, change: Callable[[LuxiClient], Any], shows: str
) -> None:
    """It may be done all the same, and what shows whether it was is named."""
    client = LuxiClient(serve(b"").path)
    with pytest.raises(GntError, match=r"; it may be done all the same$") as broken:
        change(client)
    assert broken.value.in_doubt
    assert broken.value.hint.startswith(shows)
    assert bool(broken.value.hint) is bool(shows)


def test_a_question_whose_answer_is_lost_was_only_a_question(serve: Script) -> None:
    """Nobody has to wonder what it has changed."""
    with pytest.raises(GntError, match="broke during QueryClusterInfo") as broken:
        LuxiClient(serve(b"").path).query_cluster_info()
    assert not broken.value.in_doubt
    assert "all the same" not in broken.value.text


def test_no_answer_in_time(tmp_path: Path) -> None:
    """A master that is silent for too long is reported as that."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "luxi"))
        listener.listen(5)
        with (
            LuxiClient(tmp_path / "luxi", timeout=0.01) as client,
            pytest.raises(GntError, match="did not answer QueryClusterInfo in time") as late,
        ):
            client.query_cluster_info()
    assert late.value.code == "timeout"


def test_no_master(tmp_path: Path) -> None:
    """A missing socket and one that nobody listens on mean the same, with a hint where to look."""
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(tmp_path / "stale"))
    for path in (tmp_path / "missing", tmp_path / "stale"):
        with pytest.raises(GntError, match="no master daemon answers") as nobody:
            LuxiClient(path).connect()
        assert nobody.value.code == "no_master"
        assert "gnt-cluster getmaster" in nobody.value.hint


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    """The limit of the system is said in words, and counts bytes."""
    with pytest.raises(GntError, match="longer than 107 bytes") as refused:
        LuxiClient(tmp_path / ("é" * 60)).connect()
    assert "GNT_ROOTDIR" in refused.value.hint


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "permission"), (errno.EPERM, "permission")])
def test_not_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, code: str) -> None:
    """A socket that is not for this user is not a missing master."""

    def refuse(connection: socket.socket, path: bytes) -> None:
        raise PermissionError(number, "no")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(GntError) as refused:
        LuxiClient(tmp_path / "luxi").connect()
    assert refused.value.code == code


def test_a_full_backlog_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system says that the queue is full at once; the client tries again until its time is over."""

    def refuse(connection: socket.socket, path: bytes) -> None:
        raise BlockingIOError(errno.EAGAIN, "full")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    pauses: list[float] = []
    with pytest.raises(GntError) as refused:
        LuxiClient(tmp_path / "luxi", connect_timeout=1.0, pause=pauses.append).connect()
    assert refused.value.code == "timeout"
    assert sum(pauses) == pytest.approx(0.9)


def test_a_request_over_the_limit_is_not_sent(monkeypatch: pytest.MonkeyPatch, serve: Script) -> None:
    """The server would hang up; the client says why beforehand."""
    served = serve(encode_response([]))
    monkeypatch.setattr(luxi_client, "MAX_REQUEST", 100)
    with LuxiClient(served.path) as client:
        with pytest.raises(Refused, match="allowed are 100"):
            client.call("X", "y" * 100)
        assert client.query_config_values([]) == []
    assert len(served.requests) == 1


def test_the_client_needs_no_twisted() -> None:
    """A list must answer before a person notices: nothing heavy is imported."""
    import subprocess
    import sys

    code = "import sys, gnt.wire.luxi; sys.exit(any(m.split('.')[0] in ('twisted', 'OpenSSL') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


NAME = {"name": "name", "title": "Node", "kind": "text", "doc": "its name"}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"data": []},
        {"fields": None, "data": []},
        {"fields": [NAME | {"title": 5}], "data": []},
        {"fields": [{"name": "name"}], "data": []},
        {"fields": ["name"], "data": []},
        {"fields": [NAME]},
        {"fields": [NAME], "data": None},
        {"fields": [NAME], "data": {"a": 1}},
        {"fields": [NAME], "data": [None]},
        {"fields": [NAME], "data": [[[0, "a"], [0, "b"]]]},
        {"fields": [NAME], "data": [[[0, "a"]], []]},
        {"fields": [NAME], "data": [["ab"]]},
        {"fields": [NAME], "data": [[[0]]]},
        {"fields": [NAME], "data": [[[0, "a", 1]]]},
    ],
)
def test_an_answer_that_is_no_list(serve: Script, answer: Any) -> None:
    """A query's answer of another shape is an error of the protocol, never one of the program."""
    served = serve(encode_response(answer))
    with LuxiClient(served.path) as client, pytest.raises(GntError) as refused:
        client.query("node", ["name"])
    assert refused.value.code == "luxi_error"


@pytest.mark.parametrize("frame", [b"", b"nonsense", b"\xff", b"[" * 100_000, b"[]", b'{"success": 1, "result": 2}'])
def test_what_is_no_response(frame: bytes) -> None:
    """Bytes that are no JSON, or JSON that is no response, are named as such."""
    with pytest.raises(GntError, match="what is no LUXI response") as refused:
        luxi_client.decode_answer(frame)
    assert refused.value.code == "luxi_error"


def test_questions_as_bytes() -> None:
    """The end byte occurs once; text is Unicode, and what is none is made so."""
    frame = luxi_client.encode_question("Query", ["a\x03b", "käse", "\udce4"])
    assert frame.count(b"\x03") == 1
    assert decode_request(frame[:-1]).args == ["a\x03b", "käse", "?"]
