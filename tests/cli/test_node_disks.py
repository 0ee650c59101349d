"""gnt-node and gnt-cluster, the commands about disks, against a fake master."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gnt.cli import node_leaving
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

VOLUMES = [["node1", "/dev/sda", "xenvg", "a.disk0", "2048", "web1"], ["node1", "/dev/sda", "xenvg", "own", "10", "-"]]


def test_volumes_are_a_table(gnt: Run, master: FakeMaster) -> None:
    """Sizes with their unit; with --json objects."""
    master.plans = [Job(VOLUMES), Job(VOLUMES)]
    assert gnt("node", "volumes").out == (
        "Node  PhysDev  VG    Name    Size Instance\n"
        "node1 /dev/sda xenvg a.disk0 2.0G web1\n"
        "node1 /dev/sda xenvg own      10M -\n"
    )
    assert json.loads(gnt("node", "volumes", "--json", "node1").out)[1]["name"] == "own"
    assert master.opcodes()[-1]["nodes"] == ["node1"]


def test_storage_units_are_a_table(gnt: Run, master: FakeMaster) -> None:
    """Of the kind that is asked for."""
    master.plans = [Job([["node1", "lvm-vg", "xenvg", 4096, 1024, 3072, True]])]
    ran = gnt("node", "list-storage", "-t", "lvm-vg", "--units", "m")
    assert ran.out.splitlines()[1].split() == ["node1", "lvm-vg", "xenvg", "4096", "1024", "3072", "Y"]
    assert master.opcode()["storage_type"] == "lvm-vg"


CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "modify": (
        ["node", "modify-storage", "--allocatable=no", "node1", "lvm-pv", "/dev/sdb"],
        {"OP_ID": "OP_NODE_MODIFY_STORAGE", "name": "/dev/sdb", "changes": {"allocatable": False}},
    ),
    "repair": (
        ["node", "repair-storage", "--ignore-consistency", "node1", "lvm-vg", "xenvg"],
        {"OP_ID": "OP_REPAIR_NODE_STORAGE", "storage_type": "lvm-vg", "ignore_consistency": True},
    ),
    "evacuate": (
        ["node", "evacuate", "-f", "-s", "-n", "node3", "node1"],
        {"OP_ID": "OP_NODE_EVACUATE", "mode": "secondary-only", "remote_node": "node3"},
    ),
    "evacuate primaries": (
        ["node", "evacuate", "-f", "-p", "node1"],
        {"OP_ID": "OP_NODE_EVACUATE", "mode": "primary-only"},
    ),
    "migrate": (
        ["node", "migrate", "-f", "--non-live", "node1"],
        {"OP_ID": "OP_NODE_MIGRATE", "live": False},
    ),
    "failover": (
        ["node", "failover", "-f", "--confirm-off", "node1 is off", "node1"],
        {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "confirm_off": "node1 is off"},
    ),
    "sizes": (
        ["cluster", "repair-disk-sizes", "web1"],
        {"OP_ID": "OP_CLUSTER_REPAIR_DISK_SIZES", "instances": ["web1"]},
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_options_become_an_opcode(gnt: Run, master: FakeMaster, case: str) -> None:
    """What the words stand for."""
    master.rows["node"] = [{"name": "node1", "pinst_list": ["web1"], "sinst_list": ["web1"]}]
    master.rows["instance"] = [{"name": "web1", "disk_template": "drbd"}]
    words, expected = CASES[case]
    ran = gnt(*words)
    assert ran.status == 0, ran.err
    sent = master.opcode()
    assert {key: sent.get(key) for key in expected} == expected


def test_a_node_without_instances_is_left_alone(gnt: Run, master: FakeMaster) -> None:
    """It is said, and nothing is submitted."""
    master.rows["node"] = [{"name": "node1", "pinst_list": [], "sinst_list": []}]
    for words in (["migrate"], ["failover"], ["evacuate", "-p"]):
        ran = gnt("node", *words, "node1")
        assert (ran.status, "nothing is to" in ran.err) == (0, True)
    assert not master.called("SubmitJob")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("plain", "web1: only node1 reaches the disks, so there is no failing over"),
        ("sharedfile", "web1: there is no secondary node, a target must be named"),
    ],
)
def test_a_failover_that_could_only_fail_is_not_begun(gnt: Run, master: FakeMaster, template: str, said: str) -> None:
    """Refused in one line, with what would help; nobody is asked, nothing is submitted."""
    master.rows["node"] = [{"name": "node1", "pinst_list": ["web1", "web2"], "sinst_list": []}]
    master.rows["instance"] = [
        {"name": "web1", "disk_template": template},
        {"name": "web2", "disk_template": "drbd"},
    ]
    ran = gnt("node", "failover", "-f", "node1")
    assert ran.status == 1
    first, hint = ran.err.splitlines()
    assert said in first
    assert "-n NODE" in hint
    assert not master.called("SubmitJob")
    assert not master.called("SubmitManyJobs")


def test_who_says_no_has_moved_nothing(gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """All instances are listed in the question."""
    master.rows["node"] = [{"name": "node1", "pinst_list": ["web1", "web2"], "sinst_list": []}]
    asked: list[list[str]] = []

    def no(names: list[str], **_more: str) -> bool:
        asked.append(names)
        return False

    monkeypatch.setattr(node_leaving, "confirm_many", no)
    assert gnt("node", "migrate", "node1").status == 1
    assert asked == [["web1", "web2"]]
    assert not master.called("SubmitJob")


def test_what_is_to_leave_must_be_said(gnt: Run, master: FakeMaster) -> None:
    """And only one kind at a time."""
    assert "-p, or -s -n NODE" in gnt("node", "evacuate", "node1").err
    assert "-p excludes -s and -n" in gnt("node", "evacuate", "-p", "-s", "node1").err
    assert "--allocatable" in gnt("node", "modify-storage", "node1", "lvm-pv", "/dev/sdb").err
    assert not master.called("SubmitJob")


def test_programs_are_told_what_was_attached(gnt: Run, master: FakeMaster) -> None:
    """With --json the command does the same; what it prints is one document, and the rest goes to standard error."""
    master.plans = [Job({"jobs": [[True, 7]]}), Job([["node1", "disk/0", "/dev/drbd0"]])]
    master.jobs[7] = Job([{}, ["web1"], {"web2": [["node1", "xenvg/a"]]}])
    ran = gnt("cluster", "verify-disks", "--json")
    assert ran.status == 1, "a volume is missing"
    found = json.loads(ran.out)
    assert found["jobs"][0]["result"] == [{}, ["web1"], {"web2": [["node1", "xenvg/a"]]}]
    assert [(end["name"], end["status"]) for end in found["activated"]] == [("web1", "success")]
    assert "/dev/xenvg/a" in ran.err


@pytest.mark.parametrize("command", ["evacuate -p", "evacuate -s -n node2", "migrate", "failover"])
def test_nothing_to_do_is_an_answer_too(gnt: Run, master: FakeMaster, command: str) -> None:
    """Programs get the form that they expect; people a line."""
    master.rows["node"] = [{"name": "node1", "pinst_list": [], "sinst_list": []}]
    ran = gnt("node", *command.split(), "-f", "--json", "node1")
    assert (ran.status, json.loads(ran.out)) == (0, {"jobs": []})
    ran = gnt("node", *command.split(), "-f", "node1")
    assert (ran.status, ran.out) == (0, "")
    assert "nothing is to be" in ran.err


def test_disks_that_are_not_attached_are_attached(gnt: Run, master: FakeMaster) -> None:
    """A job for each instance; one with missing volumes, and a node that fails, are told and make the status 1."""
    jobs = {"jobs": [[True, 7]]}
    master.plans = [Job(jobs)]
    master.jobs[7] = Job([{}, ["web1"], {}])
    ran = gnt("cluster", "verify-disks")
    assert ran.status == 0, ran.err
    assert "Activating disks for instance 'web1'" in ran.err
    assert master.opcodes()[-1]["instance_name"] == "web1"
    master.plans = [Job({"jobs": [[True, 8]]})]
    master.jobs[8] = Job([{"node2": "vgs failed"}, ["web2"], {"web2": [["node1", "xenvg/a"]]}])
    ran = gnt("cluster", "verify-disks")
    assert ran.status == 1
    assert "\tnode1 /dev/xenvg/a" in ran.out
    assert "Error on node node2: vgs failed" in ran.err
    assert "No disks need to be activated." in ran.err
