"""What the resources answer, and what they ask of the master."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError

from gnt.model.errors import GntError, JobLost, NoMajority, QueueDrained, Refused
from gnt.opcodes.instance_create import InstanceCreate
from gnt.opcodes.registry import decode_opcode
from gnt.rapi.luxi import PATIENCE
from gnt.rapi.resources import instance, node
from tests.rapi.room import HANG_UP, PLAIN, Room, objects, request

WEB: dict[str, Any] = {
    "name": "web1",
    "status": "running",
    "oper_state": True,
    "beparams": {"maxmem": 512, "minmem": 256},
    "serial_no": 7,
    "tags": [],
    "console": {"instance": "web1", "kind": "ssh", "host": "node1", "user": "root", "command": ["true"]},
}
DB: dict[str, Any] = {"name": "db1", "oper_state": False, "console": None}
NODE: dict[str, Any] = {"name": "node1", "role": "M", "sip": "192.0.2.1", "mtotal": 1024}
CREATION: dict[str, Any] = {
    "__version__": 1,
    "name": "web1",
    "os": "busybox",
    "mode": "create",
    "disk_template": "sharedfile",
    "disks": [{"size": "1g"}],
    "nics": [{}],
    "pnode": "node1",
    "beparams": {"memory": "256M"},
}


def test_version_and_features(room: Room) -> None:
    """The version is a bare number that anybody may read; features are what clients rely on."""
    version = room.ask("GET", "/version", user=None)
    assert (version.status, version.body) == (200, b"2\n")
    assert version.headers["content-type"] == "application/json"
    assert room.ask("GET", "/").body == b"null\n"
    assert room.ask("GET", "/2").body == b"null\n"
    assert "instance-create-reqv1" in room.ask("GET", "/2/features").json
    assert room.master.asked == []


def test_info_has_the_newer_names(room: Room) -> None:
    """The cluster's description has two more names for clients since 2.11."""
    room.master.answers["QueryClusterInfo"] = {"name": "demo", "volume_group_name": "xenvg"}
    assert room.ask("GET", "/2/info").json == {
        "name": "demo",
        "volume_group_name": "xenvg",
        "vg_name": "xenvg",
        "drbd_helper": None,
    }


def test_lists(room: Room) -> None:
    """Lists give names and URIs, bulk lists the fields; what has no value is null."""
    room.master.answers["Query"] = objects(instance=[WEB, DB], node=[NODE], group=[{"name": "default"}])
    assert room.ask("GET", "/2/instances").json == [
        {"id": "web1", "uri": "/2/instances/web1"},
        {"id": "db1", "uri": "/2/instances/db1"},
    ]
    assert room.ask("GET", "/2/nodes").json == [{"id": "node1", "uri": "/2/nodes/node1"}]
    assert room.ask("GET", "/2/groups").json == [{"name": "default", "uri": "/2/groups/default"}]
    bulk = room.ask("GET", "/2/instances?bulk=1").json
    assert list(bulk[0]) == list(instance.FIELDS)
    assert bulk[0]["beparams"] == {"maxmem": 512, "minmem": 256, "memory": 512}
    assert bulk[1]["beparams"] is None
    assert list(room.ask("GET", "/2/nodes?bulk=1").json[0]) == list(node.FIELDS)


def test_single_objects(room: Room) -> None:
    """One object is asked for by name; one that there is not is 404."""
    room.master.answers["Query"] = objects(instance=[WEB, DB], node=[NODE])
    assert room.ask("GET", "/2/instances/web1").json["beparams"]["memory"] == 512
    assert room.master.asked[-1][1][2] == ["|", ["=", "name", "web1"]]
    assert room.ask("GET", "/2/nodes/node1").json["secondary_ip"] == "192.0.2.1"
    assert room.ask("GET", "/2/nodes/node1/role").json == "master"
    missing = room.ask("GET", "/2/instances/nosuch")
    assert missing.status == 404
    assert missing.json == {
        "code": 404,
        "message": "There is no instance named nosuch",
        "explain": "Nothing matches the given URI",
    }


def test_a_role_is_a_word(room: Room) -> None:
    """It stands for the flags; what is left out stays as it is."""
    room.master.answers["SubmitJob"] = 7
    assert room.ask("PUT", "/2/nodes/node2/role?auto-promote=1", "offline").status == 200
    opcode = room.master.submitted()
    assert (opcode["OP_ID"], opcode["node_name"]) == ("OP_NODE_SET_PARAMS", "node2")
    assert (opcode["offline"], opcode["auto_promote"], opcode.get("drained")) == (True, True, None)
    answer = room.ask("PUT", "/2/nodes/node2/role", "master")
    assert answer.status == 400
    assert "'master-candidate'" in answer.json["message"]


def test_queries_take_no_locks(room: Room) -> None:
    """`lock=1` was for masters of old."""
    answer = room.ask("GET", "/2/instances/web1?lock=1")
    assert (answer.status, answer.json["message"]) == (400, "Sync queries are not allowed")


def test_console(room: Room) -> None:
    """The console of a guest that runs; of another there is none."""
    room.master.answers["Query"] = objects(instance=[WEB, DB])
    assert room.ask("GET", "/2/instances/web1/console").json["host"] == "node1"
    answer = room.ask("GET", "/2/instances/db1/console")
    assert (answer.status, answer.json["message"]) == (503, "Instance console unavailable")


def test_creation(room: Room) -> None:
    """A creation becomes the opcode, with the names that RAPI has for two parameters; the number comes back bare."""
    room.master.answers["SubmitJob"] = 42
    answer = room.ask("POST", "/2/instances?dry-run=1&reason=because", CREATION)
    assert (answer.status, answer.body) == (200, b"42\n")
    sent = room.master.submitted()
    opcode = decode_opcode(sent)
    assert isinstance(opcode, InstanceCreate)
    assert (opcode.instance_name, opcode.os_type, opcode.dry_run) == ("web1", "busybox", True)
    moment = 1_700_000_000 * 10**9
    assert sent["reason"] == [["gnt:user", "because", moment], ["gnt:library:rlib2:instances", "", moment]]


@pytest.mark.parametrize("version", [None, 0, 2, "1", True, [1]])
def test_creation_needs_its_version(room: Room, version: Any) -> None:
    """Only version 1 of the body is understood."""
    body = {**CREATION, "__version__": version}
    if version is None:
        del body["__version__"]
    answer = room.ask("POST", "/2/instances", body)
    assert answer.status == 400
    assert "__version__" in answer.json["message"]
    assert room.master.asked == []


def test_usb_devices_get_commas(room: Room) -> None:
    """Clients separate USB devices by spaces."""
    room.master.answers["SubmitJob"] = 1
    room.ask("POST", "/2/instances", {**CREATION, "hvparams": {"usb_devices": "a b"}})
    assert room.master.submitted()["hvparams"] == {"usb_devices": "a,b"}


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("PUT", "/2/instances/web1/startup", None, {"OP_ID": "OP_INSTANCE_STARTUP", "force": False}),
        ("PUT", "/2/instances/web1/startup?force=1&no_remember=1", {}, {"force": True, "no_remember": True}),
        ("PUT", "/2/instances/web1/startup", {"surprise": [1]}, {"OP_ID": "OP_INSTANCE_STARTUP"}),
        ("PUT", "/2/instances/web1/shutdown", {"timeout": 5}, {"OP_ID": "OP_INSTANCE_SHUTDOWN", "timeout": 5}),
        ("PUT", "/2/instances/web1/shutdown?no_remember=7", {}, {"no_remember": True, "dry_run": False}),
        ("DELETE", "/2/instances/web1?dry-run=1", None, {"OP_ID": "OP_INSTANCE_REMOVE", "dry_run": True}),
        ("DELETE", "/2/instances/web1", {"shutdown_timeout": 3}, {"ignore_failures": False, "shutdown_timeout": 3}),
        ("PUT", "/2/instances/web1/migrate", {"mode": "live"}, {"OP_ID": "OP_INSTANCE_MIGRATE", "mode": "live"}),
    ],
)
def test_changes(room: Room, method: str, path: str, body: Any, expected: dict[str, Any]) -> None:
    """Path, query and body together make the opcode; a body where none is wanted is ignored."""
    room.master.answers["SubmitJob"] = "17"
    answer = room.ask(method, path, body)
    assert (answer.status, answer.body) == (200, b"17\n")
    sent = room.master.submitted()
    assert sent["instance_name"] == "web1"
    assert expected.items() <= sent.items()


def test_instance_details_are_a_job(room: Room) -> None:
    """The name in the path becomes a list of one."""
    room.master.answers["SubmitJob"] = 5
    assert room.ask("GET", "/2/instances/web1/info?static=1").json == 5
    assert room.master.submitted()["instances"] == ["web1"]
    assert room.master.submitted()["static"] is True


def test_jobs(room: Room) -> None:
    """Jobs are listed by number, and given one by one; a row of nothing is no job."""
    rows = {3: ["success"], 12: ["running"]}

    def query(numbers: list[int] | None, fields: list[str]) -> Any:
        wanted = list(rows) if numbers is None else numbers
        values = [{"id": number, "status": rows[number][0]} if number in rows else {"id": number} for number in wanted]
        return [[value.get(field) for field in fields] for value in reversed(values)]

    room.master.answers["QueryJobs"] = query
    assert room.ask("GET", "/2/jobs").json == [{"id": 3, "uri": "/2/jobs/3"}, {"id": 12, "uri": "/2/jobs/12"}]
    assert {row["status"] for row in room.ask("GET", "/2/jobs?bulk=1").json} == {"success", "running"}
    assert room.ask("GET", "/2/jobs/12").json["status"] == "running"
    assert room.ask("GET", "/2/jobs/13").status == 404
    assert room.ask("GET", f"/2/jobs/{'9' * 30}").status == 404
    assert room.ask("GET", "/2/jobs/0").status == 404
    room.master.answers["QueryJobs"] = lambda *_: [None]
    assert room.ask("GET", "/2/jobs/12").status == 404


def test_cancelling_a_job(room: Room) -> None:
    """What the master says about it is the answer."""
    room.master.answers["CancelJob"] = [False, "Job 3 is no longer waiting"]
    assert room.ask("DELETE", "/2/jobs/3").json == [False, "Job 3 is no longer waiting"]
    assert room.master.asked == [("CancelJob", [3])]


def test_waiting_for_a_job(room: Room) -> None:
    """A change is given at once, nothing for ten seconds is null, a job that there is not is 404."""
    body = {"fields": ["status"], "previous_job_info": None, "previous_log_serial": 2}
    room.master.answers["WaitForJobChange"] = [["running"], [[3, [1, 2], "message", "x"]]]
    assert room.ask("GET", "/2/jobs/3/wait", body).json == {
        "job_info": ["running"],
        "log_entries": [[3, [1, 2], "message", "x"]],
    }
    assert room.master.asked[-1] == ("WaitForJobChange", [3, ["status"], None, 2, 10.0])
    room.master.answers["WaitForJobChange"] = "nochange"
    assert room.ask("GET", "/2/jobs/3/wait", body).json is None
    room.master.answers["WaitForJobChange"] = JobLost("Job 3 not found")
    assert room.ask("GET", "/2/jobs/3/wait", body).status == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (None, "$.fields"),
        ({"fields": "status"}, "$.fields"),
        ({"fields": [1]}, "$.fields"),
        ({"fields": [], "previous_job_info": {}}, "$.previous_job_info"),
        ({"fields": [], "previous_log_serial": True}, "$.previous_log_serial"),
        ({"fields": [], "more": 1}, "$.more"),
    ],
)
def test_what_to_wait_for_is_checked(room: Room, body: Any, path: str) -> None:
    """Values of wrong types are named."""
    answer = room.ask("GET", "/2/jobs/3/wait", body)
    assert answer.status == 400
    assert path in answer.json["message"]


def os_answers(room: Room, status: str, result: Any) -> None:
    """Let a job end like that."""
    room.master.answers |= {
        "SubmitJob": 9,
        "WaitForJobChange": lambda _job, _fields, last, *_: [["running"] if last is None else [status], []],
        "QueryJobs": [[status, [result]]],
        "CancelJob": [True, "canceled"],
    }


def test_guest_systems(room: Room) -> None:
    """Definitions come with their variants; invalid, hidden and blacklisted ones are left out."""
    found = [
        ["busybox", True, False, False, []],
        ["debootstrap", True, False, False, ["default", "minimal"]],
        ["broken", False, False, False, []],
        ["hidden", True, True, False, []],
        ["bad", True, False, True, []],
    ]
    os_answers(room, "success", found)
    assert room.ask("GET", "/2/os").json == ["busybox", "debootstrap+default", "debootstrap+minimal"]
    assert room.master.submitted()["OP_ID"] == "OP_OS_DIAGNOSE"


def test_guest_systems_that_cannot_be_listed(room: Room) -> None:
    """The job failed: 502 names it."""
    os_answers(room, "error", ["OpExecError", ["no node answers"]])
    answer = room.ask("GET", "/2/os")
    assert answer.status == 502
    assert "job 9" in answer.json["message"]


def test_a_client_that_leaves_cancels_its_list_of_guest_systems(room: Room) -> None:
    """Nobody waits for that job any more."""
    os_answers(room, "success", [])
    room.master.answers["WaitForJobChange"] = Deferred()
    client = room.client()
    client.send(request("GET", "/2/os"))
    client.hang_up()
    assert room.master.methods() == ["SubmitJob", "WaitForJobChange", "CancelJob"]


def test_queries_about_anything(room: Room) -> None:
    """Fields from the query or the body, a filter from the body."""
    room.master.answers["Query"] = objects(node=[NODE])
    assert room.ask("GET", "/2/query/node?fields=name,%20role").json["data"] == [[[0, "node1"], [0, "M"]]]
    room.ask("PUT", "/2/query/node", {"fields": ["name"], "qfilter": ["|", ["=", "name", "node1"]]})
    assert room.master.asked[-1] == ("Query", ["node", ["name"], ["|", ["=", "name", "node1"]]])
    assert room.ask("GET", "/2/query/node").status == 400
    assert room.ask("PUT", "/2/query/node", {"fields": "name"}).status == 400
    assert room.ask("PUT", "/2/query/node", {"fields": [], "qfilter": "x"}).status == 400
    wanted = ["|", ["=", "name", "node1"]]
    for body in ({"filter": wanted}, {"filter": wanted, "qfilter": wanted}, {"filter": ["?", "x"], "qfilter": wanted}):
        assert room.ask("PUT", "/2/query/node", {"fields": ["name"], **body}).status == 200
        assert room.master.asked[-1][1][2] == wanted
    room.master.answers["QueryFields"] = {"fields": []}
    assert room.ask("GET", "/2/query/node/fields", user=PLAIN).json == {"fields": []}
    assert room.master.asked[-1] == ("QueryFields", ["node", None])


def test_tags_are_read_without_a_job(room: Room) -> None:
    """Kind and name go to the master; the cluster has no name."""
    room.master.answers["QueryTags"] = ["a", "b"]
    assert room.ask("GET", "/2/instances/web1/tags").json == ["a", "b"]
    assert room.ask("GET", "/2/tags").json == ["a", "b"]
    assert room.master.asked == [("QueryTags", ["instance", "web1"]), ("QueryTags", ["cluster", ""])]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (QueueDrained(), 503, "Job queue is drained"),
        (GntError("job_queue_full", "full"), 503, "Job queue is full, needs archiving"),
        (NoMajority("1 of 3 voters", hint="node2"), 503, "1 of 3 voters (node2)"),
        (NoMajority("1 of 3 voters; then it is job 7", in_doubt=True), 504, "1 of 3 voters; then it is job 7"),
        (Refused("wrong_input", "$.x: <no>"), 400, "$.x: &lt;no&gt;"),
        (Refused("unknown_entity", "no such"), 404, "no such"),
        (Refused("environment_error", "disk"), 500, "disk"),
        (HANG_UP, 502, "broke during SubmitJob; what was asked for may be done all the same"),
        (b"garbage\x03", 502, "no LUXI response"),
        (b'{"success": true, "result": "x"}\x03', 502, "something else"),
    ],
)
def test_errors_of_the_master(room: Room, error: Any, status: int, said: str) -> None:
    """Each has its status and its sentence, HTML escaped, in the form that clients read."""
    room.master.answers["SubmitJob"] = lambda *_: error
    answer = room.ask("PUT", "/2/instances/web1/startup")
    assert answer.status == status
    assert answer.json["code"] == status
    assert said in answer.json["message"]


@pytest.mark.parametrize(("number", "status"), [(2, 502), (111, 502), (13, 500)])
def test_no_master(room: Room, number: int, status: int) -> None:
    """No socket, nobody behind it, no permission."""
    room.master.down = ConnectError(number)
    answer = room.ask("GET", "/2/info")
    assert answer.status == status
    assert "master daemon" in answer.json["message"]


def test_a_master_that_does_not_answer(room: Room) -> None:
    """After a minute it is 504, and the connection is given up."""
    room.master.answers["QueryClusterInfo"] = Deferred()
    client = room.client()
    client.send(request("GET", "/2/info"))
    assert client.received() == []
    room.clock.advance(61)
    (answer,) = client.received()
    assert answer.status == 504
    assert room.master.wires[0].aborted


@pytest.mark.parametrize(("in_doubt", "again"), [(False, "10"), (True, None)])
def test_only_what_changed_nothing_is_to_be_tried_again(room: Room, in_doubt: bool, again: str | None) -> None:
    """A client library that tried again what may still come true would have two jobs."""
    room.master.answers["SubmitJob"] = lambda *_: NoMajority("1 of 3 voters", in_doubt=in_doubt)
    assert room.ask("PUT", "/2/instances/web1/startup").headers.get("retry-after") == again


def test_a_submission_has_patience_for_a_while_only(room: Room) -> None:
    """The master is told how long its client waits for a majority."""
    room.master.answers["SubmitJob"] = 7
    room.ask("PUT", "/2/instances/web1/startup")
    assert room.master.asked[-1][1][1] == PATIENCE


def test_a_change_that_is_not_answered_may_be_done(room: Room) -> None:
    """Nobody takes it for undone; what only reads says nothing of the kind."""
    late: Deferred[Any] = Deferred()
    room.master.answers |= {"SubmitJob": late, "QueryFields": late}
    client = room.client()
    client.send(request("PUT", "/2/instances/web1/startup"))
    room.clock.advance(61)
    (answer,) = client.received()
    assert (answer.status, "may be done all the same" in answer.body.decode()) == (504, True)
    reader = room.client()
    reader.send(request("GET", "/2/query/node/fields"))
    room.clock.advance(61)
    (answer,) = reader.received()
    assert (answer.status, "may be done" in answer.body.decode()) == (504, False)
