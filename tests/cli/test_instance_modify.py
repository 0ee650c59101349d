"""gnt-instance modify, against a fake master."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "add a disk": (["--disk", "add:size=2g,mode=ro"], {"disks": [["add", -1, {"size": 2048, "mode": "ro"}]]}),
    "add in a place": (["--disk", "0:add,size=512"], {"disks": [["add", 0, {"size": 512}]]}),
    "remove the last": (["--disk", "remove"], {"disks": [["remove", -1, {}]]}),
    "remove one": (["--disk", "1:remove"], {"disks": [["remove", 1, {}]]}),
    "remove by name": (["--disk", "logs:remove"], {"disks": [["remove", "logs", {}]]}),
    "change one": (["--disk", "0:mode=ro,name=root"], {"disks": [["modify", 0, {"mode": "ro", "name": "root"}]]}),
    "detach": (["--disk", "detach"], {"disks": [["detach", -1, {}]]}),
    "attach": (["--disk", "attach:name=logs"], {"disks": [["attach", -1, {"name": "logs"}]]}),
    "interfaces": (
        ["--net", "add:link=br1", "--net", "0:ip=192.0.2.7"],
        {"nics": [["add", -1, {"link": "br1"}], ["modify", 0, {"ip": "192.0.2.7"}]]},
    ),
    "mirror": (["-t", "drbd", "-n", "node2", "--no-wait-for-sync"], {"disk_template": "drbd", "remote_node": "node2"}),
    "provider": (["-t", "ext", "-e", "provider=san"], {"disk_template": "ext", "ext_params": {"provider": "san"}}),
    "parameters": (["-B", "vcpus=2", "-H", "acpi=true"], {"beparams": {"vcpus": "2"}}),
    "offline": (["--offline"], {"offline": True}),
    "online": (["--online"], {"offline": False}),
    "primary": (["--new-primary", "node2"], {"pnode": "node2"}),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_options_become_an_opcode(gnt: Run, master: FakeMaster, case: str) -> None:
    """What the words stand for."""
    words, expected = CASES[case]
    ran = gnt("instance", "modify", *words, "web1")
    assert ran.status == 0, ran.err
    sent = master.opcode()
    assert sent["OP_ID"] == "OP_INSTANCE_SET_PARAMS"
    assert {key: sent.get(key) for key in expected} == expected


def test_what_was_changed_is_told(gnt: Run, master: FakeMaster) -> None:
    """A line for each parameter; when the guest sees it, the job's log says."""
    master.plans = [Job([["be/vcpus", 2], ["disk/1", "add:size=1024,mode=rw"]])]
    ran = gnt("instance", "modify", "-B", "vcpus=2", "web1")
    assert ran.out == "Modified instance web1\n - be/vcpus -> 2\n - disk/1 -> add:size=1024,mode=rw\n"
    assert ran.err == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--offline", "--online"], "exclude each other"),
        (["--disk", "0:add,remove"], "add and remove exclude each other"),
        (["--disk", "add:colour=red"], "there is no 'colour'"),
        (["--disk", "attach:size=1g"], "there is no 'size'"),
        (["--net", "0:wings=2"], "there is no 'wings'"),
    ],
)
def test_bad_words_are_refused(gnt: Run, master: FakeMaster, words: list[str], expected: str) -> None:
    """In one line, and nothing is submitted."""
    ran = gnt("instance", "modify", *words, "web1")
    assert ran.status == 1
    assert expected in ran.err
    assert not master.called("SubmitJob")
