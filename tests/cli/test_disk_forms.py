"""Every command that does something with disks, in every form: for programs, planned, checked only, not waited for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gnt.cli.main import load
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job
from tests.cli.test_queue import PLAN

COMMANDS = (
    "instance add -t drbd -n node1:node2 --disk 0:size=1g --no-install -o none web1",
    "instance activate-disks web1",
    "instance deactivate-disks web1",
    "instance grow-disk web1 0 1g",
    "instance recreate-disks --disk 0:size=2g web1",
    "instance replace-disks -s web1",
    "instance replace-disks -n node3 web1",
    "instance modify --disk add:size=1g web1",
    "instance modify -t drbd -n node2 web1",
    "instance move -f -n node2 web1",
    "instance reinstall -f web1",
    "instance rename web1 web2",
    "instance failover -f web1",
    "instance migrate -f web1",
    "instance remove -f web1",
    "node modify-storage --allocatable=no node1 lvm-pv /dev/sdb",
    "node repair-storage node1 lvm-vg xenvg",
    "node evacuate -p -f node1",
    "node evacuate -s -n node3 -f node1",
    "node migrate -f node1",
    "node failover -f node1",
    "cluster verify-disks",
    "cluster repair-disk-sizes web1",
)
LISTS = ("node volumes node1", "node list-storage node1")


@pytest.fixture
def shown(gnt: Run, master: FakeMaster) -> Run:
    """Give a way to run a command on a node with one instance on each side."""
    master.rows["node"] = [{"name": "node1", "offline": False, "pinst_list": ["web1"], "sinst_list": ["web2"]}]
    master.rows["instance"] = [{"name": "web1", "pnode": "node1", "disk_template": "drbd"}]
    master.answers["PlanJob"] = lambda ops: [PLAN for _ in ops]

    def run(line: str, *form: str) -> Any:
        program, command, *words = line.split()
        return gnt(program, command, *form, *words)

    return run


def has(line: str, flag: str) -> bool:
    """Say whether a command takes an option."""
    program, name, *_ = line.split()
    command = load(f"gnt-{program}").command(name)
    assert command is not None
    return any(flag in option.flags and not option.unsupported for option in command.options)


@pytest.mark.parametrize("line", [*COMMANDS, *LISTS])
def test_programs_get_one_document(shown: Run, master: FakeMaster, line: str) -> None:
    """On standard output, and nothing else there; messages of the job go to standard error."""
    handed_over = " evacuate " in line or line.startswith(("node migrate", "cluster verify-disks"))
    master.plans = [Job({"jobs": []} if handed_over else [], log=("working",))]
    ran = shown(line, "--json")
    assert ran.status == 0, ran.err
    json.loads(ran.out)
    assert "working" in ran.err or line in LISTS


@pytest.mark.parametrize("line", COMMANDS)
def test_programs_are_told_of_a_failure(shown: Run, master: FakeMaster, line: str) -> None:
    """Status 1, and text and remedy apart; what is on standard output is a document too."""
    master.plans = [Job(["OpExecError", ["it is full (make room)"]], status="error")]
    ran = shown(line, "--json")
    assert ran.status == 1
    if ran.out:
        (end,) = json.loads(ran.out)["jobs"]
        error = end["error"]
    else:
        error = json.loads(ran.err.splitlines()[-1])["error"]
    assert (error["text"], error["hint"]) == ("it is full", "make room")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_plan_changes_nothing(shown: Run, master: FakeMaster, line: str) -> None:
    """For people and for programs."""
    ran = shown(line, "--plan")
    assert ran.status == 0, ran.err
    assert "job would take: instance web1 (exclusive)" in ran.out
    ran = shown(line, "--plan", "--json")
    assert ran.status == 0, ran.err
    plans = json.loads(ran.out)["plans"]
    assert plans
    assert all(opcode["steps"] for plan in plans for opcode in plan["opcodes"])
    assert not master.opcodes()


@pytest.mark.parametrize("line", [line for line in COMMANDS if has(line, "--dry-run")])
def test_a_check_is_a_dry_run(shown: Run, master: FakeMaster, line: str) -> None:
    """The master is told so in every opcode."""
    ran = shown(line, "--dry-run")
    assert ran.status == 0, ran.err
    assert master.opcodes()
    assert all(op["dry_run"] is True for op in master.opcodes())


@pytest.mark.parametrize("line", [line for line in COMMANDS if has(line, "--submit")])
def test_who_does_not_wait_gets_the_number(shown: Run, master: FakeMaster, line: str) -> None:
    """For people and for programs; the job is not asked for."""
    ran = shown(line, "--submit")
    assert ran.status == 0, ran.err
    assert "11" in ran.out + ran.err
    ran = shown(line, "--submit", "--json")
    assert ran.status == 0, ran.err
    told = json.loads(ran.out)
    (first,) = told.get("jobs", [told])
    assert (first["job"], first["status"]) == (12, "submitted")
    assert not master.called("WaitForJobChange")
