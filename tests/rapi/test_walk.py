"""Every resource and method of the specification is asked for: what is there works, what is not there says so."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gnt.opcodes.registry import ALL, decode_opcode
from tests.rapi.room import Room, objects
from tests.rapi.test_resources import CREATION
from tests.rapi.test_table import EVERY, SPECIFIED

NAMES = {
    "instance_name": "web1",
    "node_name": "node1",
    "group_name": "default",
    "network_name": "lan",
    "job_id": "7",
    "disk_index": "0",
    "uuid": "4bd5b7b6-0000-4000-8000-000000000001",
    "resource": "node",
}
# What has to be said, where something has to.
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/2/instances"): CREATION,
    ("POST", "/2/instances-multi-alloc"): {"instances": [CREATION]},
    ("POST", "/2/filters"): {"action": "PAUSE"},
    ("PUT", "/2/filters/[uuid]"): {"action": "REJECT"},
    ("GET", "/2/jobs/[job_id]/wait"): {"fields": ["status"]},
    ("PUT", "/2/nodes/[node_name]/role"): "offline",
    ("POST", "/2/nodes/[node_name]/evacuate"): {"mode": "all"},
    ("POST", "/2/instances/[instance_name]/replace-disks"): {"mode": "replace_on_primary", "disks": "0,1"},
    ("POST", "/2/instances/[instance_name]/disk/[disk_index]/grow"): {"amount": 1024},
    ("PUT", "/2/instances/[instance_name]/export"): {"destination": "node2", "mode": "local"},
    ("PUT", "/2/instances/[instance_name]/rename"): {"new_name": "web2"},
    ("POST", "/2/networks"): {"name": "lan", "network": "192.0.2.0/24"},
    ("PUT", "/2/networks/[network_name]/connect"): {
        "group_name": "default",
        "network_mode": "bridged",
        "network_link": "br0",
    },
    ("PUT", "/2/networks/[network_name]/disconnect"): {"group_name": "default"},
    ("PUT", "/2/networks/[network_name]/rename"): {"new_name": "net"},
    ("POST", "/2/groups"): {"name": "second"},
    ("PUT", "/2/groups/[group_name]/rename"): {"new_name": "first"},
    ("PUT", "/2/groups/[group_name]/assign-nodes"): {"nodes": ["node2"]},
    ("PUT", "/2/query/[resource]"): {"fields": ["name"]},
}
QUERIES = {
    ("GET", "/2/nodes/[node_name]/storage"): "?storage_type=lvm-vg&output_fields=name,size",
    ("PUT", "/2/nodes/[node_name]/storage/modify"): "?storage_type=lvm-pv&name=sda&allocatable=0",
    ("PUT", "/2/nodes/[node_name]/storage/repair"): "?storage_type=lvm-vg&name=xenvg",
    ("PUT", "/2/instances/[instance_name]/prepare-export"): "?mode=remote",
    ("GET", "/2/query/[resource]"): "?fields=name",
}
IDS = [f"{method} {path}" for path, method, _ in EVERY]


def there(room: Room) -> None:
    """Let there be one of everything."""
    room.master.answers |= everything()


def everything() -> dict[str, Any]:
    """Give the answers of a master that has one of everything."""
    fields = SPECIFIED["_fields"]
    made = {kind: [dict.fromkeys(fields[kind]) | {"name": name}] for kind, name in _KINDS}
    made["node"][0] |= {"role": "M"}
    made["instance"][0] |= {"oper_state": True, "console": {"kind": "ssh"}}
    return {
        "SubmitJob": 17,
        "CancelJob": [True, "done"],
        "Query": objects(filter=[{"name": "f", "uuid": NAMES["uuid"]}], **made),
        "QueryFields": {"fields": []},
        "QueryFilters": [[NAMES["uuid"], 1, 0, [], "PAUSE", []]],
        "QueryTags": ["a"],
        "QueryClusterInfo": {"name": "demo"},
        "QueryJobs": lambda numbers, fields: [[_JOB.get(field) for field in fields] for _ in numbers or [7]],
        "WaitForJobChange": [["success"], []],
        "ReplaceFilter": NAMES["uuid"],
        "DeleteFilter": None,
    }


_KINDS = (("instance", "web1"), ("node", "node1"), ("group", "default"), ("network", "lan"))
_JOB = {"id": 7, "status": "success", "opresult": [[]]}


def where(method: str, path: str) -> str:
    """Give a path of the specification as a client writes it."""
    return re.sub(r"\[([a-z_]+)\]", lambda part: NAMES[part[1]], path) + QUERIES.get((method, path), "")


@pytest.mark.parametrize(("path", "method", "about"), EVERY, ids=IDS)
def test_what_there_is(room: Room, path: str, method: str, about: dict[str, Any]) -> None:
    """With a master that carries out everything each answers, in JSON; where jobs are made of it, of that opcode."""
    there(room)
    answer = room.ask(method, where(method, path), BODIES.get((method, path)))
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.endswith(b"\n")
    named = re.findall(r"OP_[A-Z_]+", about.get("opcode", ""))
    if not named:
        assert about["result"] != "job_id"
        return
    assert answer.body == b"17\n"
    ops, _ = next(args for asked, args in room.master.asked if asked == "SubmitJob")
    assert [op["OP_ID"] for op in ops] == named
    for op in ops:
        decode_opcode(op)
        assert op["reason"][-1][0].startswith("gnt:library:rlib2:")


@pytest.mark.parametrize(("path", "method", "about"), EVERY, ids=IDS)
def test_what_there_is_not(room: Room, path: str, method: str, about: dict[str, Any]) -> None:
    """With a master that carries out nothing: 501 with the opcode's name; nothing is submitted."""
    there(room)
    room.master.answers["Abilities"] = {"opcodes": []}
    answer = room.ask(method, where(method, path), BODIES.get((method, path)))
    named = re.findall(r"OP_[A-Z_]+", about.get("opcode", "")) or (["OP_OS_DIAGNOSE"] if path == "/2/os" else [])
    if not named:
        assert answer.status == 200, answer.body
        return
    assert answer.status == 501
    assert answer.json["message"].split()[0] in named
    assert "is not supported by this version" in answer.json["message"]
    assert room.master.asked == []


@pytest.mark.parametrize(("path", "method", "about"), EVERY, ids=IDS)
def test_who_may(room: Room, path: str, method: str, about: dict[str, Any]) -> None:
    """Users without options read what is open, and nothing else; what needs `write` is not for readers."""
    there(room)
    plain = room.ask(method, where(method, path), BODIES.get((method, path)), user="plain:secret3")
    assert (plain.status == 403) is bool(about["access"]), plain.body
    reader = room.ask(method, where(method, path), BODIES.get((method, path)), user="reader:secret2")
    assert (reader.status == 403) is (about["access"] == ["write"]), reader.body


def test_what_the_master_carries_out_is_asked_again_after_a_new_start(room: Room) -> None:
    """A master that ended may be another version when it is back: what it has learnt is live without further ado."""
    room.master.answers |= {"SubmitJob": 1, "Abilities": {"opcodes": []}, "QueryClusterInfo": {}}
    assert room.ask("PUT", "/2/instances/web1/startup").status == 501
    room.master.answers["Abilities"] = {"opcodes": sorted(ALL)}
    assert room.ask("PUT", "/2/instances/web1/startup").status == 501
    for wire in room.master.wires:
        wire.abortConnection()
    assert room.ask("PUT", "/2/instances/web1/startup").status == 200
