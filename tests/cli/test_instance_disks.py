"""gnt-instance, the commands about disks, against a fake master."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "activate": (
        ["activate-disks", "--ignore-size", "--wait-for-sync", "web1"],
        {"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": "web1", "ignore_size": True, "wait_for_sync": True},
    ),
    "deactivate": (
        ["deactivate-disks", "-f", "web1"],
        {"OP_ID": "OP_INSTANCE_DEACTIVATE_DISKS", "instance_name": "web1", "force": True},
    ),
    "grow": (
        ["grow-disk", "--no-wait-for-sync", "web1", "1", "2g"],
        {"OP_ID": "OP_INSTANCE_GROW_DISK", "disk": 1, "amount": 2048, "absolute": False, "wait_for_sync": False},
    ),
    "grow to": (
        ["grow-disk", "--absolute", "web1", "0", "512"],
        {"OP_ID": "OP_INSTANCE_GROW_DISK", "disk": 0, "amount": 512, "absolute": True},
    ),
    "recreate all": (
        ["recreate-disks", "-n", "node2:node3", "web1"],
        {"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "disks": [], "nodes": ["node2", "node3"]},
    ),
    "recreate some": (
        ["recreate-disks", "--disk", "0", "--disk", "2", "web1"],
        {"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "disks": [0, 2]},
    ),
    "recreate larger": (
        ["recreate-disks", "--disk", "0:size=2g", "--disk", "2", "web1"],
        {"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "disks": [[0, {"size": 2048}], [2, {}]]},
    ),
    "replace on primary": (
        ["replace-disks", "-p", "--disks", "0,2", "web1"],
        {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "mode": "replace_on_primary", "disks": [0, 2]},
    ),
    "replace on secondary": (
        ["replace-disks", "-s", "--early-release", "web1"],
        {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "mode": "replace_on_secondary", "early_release": True},
    ),
    "replace by another": (
        ["replace-disks", "-n", "node3", "web1"],
        {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "mode": "replace_new_secondary", "remote_node": "node3"},
    ),
    "replace what is faulty": (
        ["replace-disks", "-a", "web1"],
        {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "mode": "replace_auto", "disks": []},
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_options_become_an_opcode(gnt: Run, master: FakeMaster, case: str) -> None:
    """What the words stand for."""
    words, expected = CASES[case]
    ran = gnt("instance", *words)
    assert ran.status == 0, ran.err
    sent = master.opcode()
    assert {key: sent.get(key) for key in expected} == expected


def test_devices_of_attached_disks_are_printed(gnt: Run, master: FakeMaster) -> None:
    """A line for each disk: node, name, device."""
    master.plans = [Job([["node1", "disk/0", "/dev/drbd0"], ["node1", "disk/1", None]])]
    assert gnt("instance", "activate-disks", "web1").out == "node1:disk/0:/dev/drbd0\nnode1:disk/1:None\n"


BAD: dict[str, tuple[list[str], str]] = {
    "no mode": (["replace-disks", "web1"], "exactly one of -p, -s, -n, -I and -a"),
    "two modes": (["replace-disks", "-p", "-a", "web1"], "exactly one of"),
    "index": (["grow-disk", "web1", "first", "2g"], "the disk's index 'first'"),
    "amount": (["grow-disk", "web1", "0", "much"], "amount 'much' is not a size"),
    "below nothing": (["grow-disk", "web1", "0", "--", "-5"], "amount '-5' is not a size"),
    "disk": (["recreate-disks", "--disk", "x", "web1"], "--disk 'x'"),
    "value": (["recreate-disks", "--disk", "0:colour=red", "web1"], "there is no 'colour'"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_words_are_refused(gnt: Run, master: FakeMaster, case: str) -> None:
    """In one line, and nothing is submitted."""
    words, expected = BAD[case]
    ran = gnt("instance", *words)
    assert ran.status == 1
    assert expected in ran.err
    assert not master.called("SubmitJob")
