"""Requests that come in more than one form."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rapi.room import Room
from tests.rapi.test_resources import CREATION

HERE = "/2/instances/web1"


@pytest.fixture(autouse=True)
def submits(room: Room) -> None:
    """Take jobs."""
    room.master.answers["SubmitJob"] = 3


def sent(room: Room) -> list[dict[str, Any]]:
    """Give the opcodes of the last job."""
    return next(args[0] for method, args in reversed(room.master.asked) if method == "SubmitJob")


@pytest.mark.parametrize(
    ("query", "body", "os", "starts"),
    [
        ("", None, None, True),
        ("?os=busybox", None, "busybox", True),
        ("?os=busybox&nostartup=1", None, "busybox", False),
        ("", {}, None, True),
        ("", {"os": "busybox", "start": False}, "busybox", False),
        ("?reason=because", {"osparams": {"x": "y"}}, None, True),
    ],
)
def test_reinstalling(room: Room, query: str, body: Any, os: str | None, starts: bool) -> None:
    """The guest is stopped, installed and, unless one says otherwise, started; in one job."""
    assert room.ask("POST", f"{HERE}/reinstall{query}", body).status == 200
    ops = sent(room)
    names = ["OP_INSTANCE_SHUTDOWN", "OP_INSTANCE_REINSTALL", *(["OP_INSTANCE_STARTUP"] if starts else [])]
    assert [op["OP_ID"] for op in ops] == names
    assert {op["instance_name"] for op in ops} == {"web1"}
    assert ops[1]["os_type"] == os
    assert ops[1]["osparams"] == (body or {}).get("osparams")


@pytest.mark.parametrize(
    ("query", "body", "said"),
    [
        ("?os=a", {"os": "b"}, "Can't combine"),
        ("?nostartup=1", {}, "Can't combine"),
        ("?nostartup=x", None, "'nostartup'"),
        ("", {"start": "no"}, "$.start: expected bool, got str"),
        ("", {"startup": False}, "$.startup: no such parameter"),
        ("", {"os": ""}, "$.os: "),
        ("", ["busybox"], "Type is 'list'"),
    ],
)
def test_reinstalling_that_is_refused(room: Room, query: str, body: Any, said: str) -> None:
    """Both forms at once, and values of wrong types."""
    answer = room.ask("POST", f"{HERE}/reinstall{query}", body)
    assert answer.status == 400
    assert said in answer.json["message"]
    assert room.master.asked == []


@pytest.mark.parametrize(
    ("query", "body", "disks", "mode"),
    [
        ("?mode=replace_auto", None, [], "replace_auto"),
        ("?mode=replace_auto&disks=0,%202", {}, [0, 2], "replace_auto"),
        ("?mode=replace_auto&disks=7", {"mode": "replace_on_primary", "disks": [1]}, [1], "replace_on_primary"),
        ("", {"mode": "replace_on_primary", "disks": "0,1"}, [0, 1], "replace_on_primary"),
    ],
)
def test_replacing_disks(room: Room, query: str, body: Any, disks: list[int], mode: str) -> None:
    """The query counts only without a body; disks may be text."""
    assert room.ask("POST", f"{HERE}/replace-disks{query}", body).status == 200
    (op,) = sent(room)
    assert (op["disks"], op["mode"]) == (disks, mode)


@pytest.mark.parametrize(
    ("query", "body", "said"),
    [
        ("", None, "$.mode: required"),
        ("?mode=sideways", None, "$.mode"),
        ("?mode=replace_auto&disks=a", None, "expected numbers"),
        ("", {"mode": "replace_auto", "disks": {}}, "$.disks"),
    ],
)
def test_replacing_disks_that_is_refused(room: Room, query: str, body: Any, said: str) -> None:
    """What is wrong is named."""
    answer = room.ask("POST", f"{HERE}/replace-disks{query}", body)
    assert answer.status == 400
    assert said in answer.json["message"]


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ("", {"mode": "live", "target_node": "node2"}, {"mode": "live", "target_node": "node2"}),
        ("?live=1", {"mode": "non-live"}, {"mode": "live"}),
        ("?live=0", None, {"mode": "non-live"}),
        ("?mode=live", {"target_node": "node2"}, {"mode": "live", "target_node": None}),
        ("?reason=because", {"target_node": "node2"}, {"target_node": "node2"}),
        ("", None, {"mode": None}),
    ],
)
def test_migrating_a_node(room: Room, query: str, body: Any, expected: dict[str, Any]) -> None:
    """The older form is in the query, and then the body does not count; a reason alone is no older form."""
    assert room.ask("POST", f"/2/nodes/node1/migrate{query}", body).status == 200
    (op,) = sent(room)
    assert expected.items() <= op.items()


def test_both_older_forms_of_migrating_a_node(room: Room) -> None:
    """They exclude each other."""
    assert room.ask("POST", "/2/nodes/node1/migrate?live=1&mode=live").status == 400


def test_changing_a_storage_unit(room: Room) -> None:
    """What the query says of it becomes the changes."""
    here = "/2/nodes/node1/storage/modify?storage_type=lvm-pv"
    assert room.ask("PUT", f"{here}&name=sda&allocatable=0").status == 200
    assert sent(room)[0]["changes"] == {"allocatable": False}
    assert room.ask("PUT", f"{here}&name=sda").status == 200
    assert sent(room)[0]["changes"] == {}
    assert room.ask("PUT", here).status == 400
    assert room.ask("PUT", f"{here}&name=sda&allocatable=yes").status == 400


def test_several_instances_at_once(room: Room) -> None:
    """Each is a creation with the names of a body of its own."""
    second = {**CREATION, "name": "web2", "hvparams": {"usb_devices": "a b"}}
    del second["__version__"]
    body = {"instances": [CREATION, second], "iallocator": "hail"}
    assert room.ask("POST", "/2/instances-multi-alloc?dry-run=1", body).status == 200
    (op,) = sent(room)
    assert (op["OP_ID"], op["iallocator"], op["dry_run"]) == ("OP_INSTANCE_MULTI_ALLOC", "hail", True)
    made = [(one["OP_ID"], one["instance_name"], one["os_type"]) for one in op["instances"]]
    assert made == [("OP_INSTANCE_CREATE", "web1", "busybox"), ("OP_INSTANCE_CREATE", "web2", "busybox")]
    assert op["instances"][1]["hvparams"] == {"usb_devices": "a,b"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (None, "$.instances: expected a list"),
        ({"instances": {}}, "$.instances: expected a list"),
        ({"instances": [CREATION, 1]}, "$.instances[1]: expected an object"),
        ({"instances": [{**CREATION, "__version__": 0}]}, "$.instances[0].__version__"),
        ({"instances": [{**CREATION, "OP_ID": "OP_CLUSTER_DESTROY"}]}, "$.instances[0].OP_ID"),
        ({"instances": [{**CREATION, "disk_template": "floppy"}]}, "$.instances[0].disk_template"),
        ({"instances": [], "more": 1}, "$.more"),
    ],
)
def test_several_instances_that_are_refused(room: Room, body: Any, said: str) -> None:
    """The fault has its place."""
    answer = room.ask("POST", "/2/instances-multi-alloc", body)
    assert answer.status == 400
    assert said in answer.json["message"]
    assert room.master.asked == []


def test_what_cannot_be_set_from_afar(room: Room) -> None:
    """Compression tools are programs that nodes run as root."""
    answer = room.ask("PUT", "/2/modify", {"compression_tools": ["/root/mine"]})
    assert answer.status == 403
    assert "$.compression_tools" in answer.json["message"]
    assert room.master.asked == []
