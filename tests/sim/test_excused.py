"""Which guests need not run though they should, as the client of a simulated cluster sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gnt.sim.client import Client, JobEnd
from gnt.sim.exhaust import count, strike
from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.story import read_story
from gnt.sim.world import SimWorld

STORIES = Path(__file__).resolve().parents[1] / "scenarios"
STOPPED = ({"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "web1"}, "error")
STARTED = ({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}, "success")
DISK_ADDED = ({"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1", "disks": [["add", -1, {}]]}, "success")
ANOTHER = ({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web2"}, "success")
HALTED = ({"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"}, "success")
KEPT_UP = ({"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"}, "error")
MOVED = ({"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web1"}, "success")
VERIFIED = ({"OP_ID": "OP_CLUSTER_VERIFY"}, "error")


@pytest.mark.parametrize(
    ("story", "excused"),
    [
        ([STOPPED], {"web1"}),
        ([STOPPED, STARTED], set()),
        ([STARTED, STOPPED], {"web1"}),
        ([STOPPED, DISK_ADDED], {"web1"}),
        ([STOPPED, DISK_ADDED, STARTED], set()),
        ([STOPPED, ANOTHER], {"web1"}),
        ([VERIFIED], set()),
    ],
)
def test_only_a_job_that_starts_the_guest_ends_the_excuse(
    tmp_path: Path, story: list[tuple[dict[str, Any], str]], excused: set[str]
) -> None:
    """A guest whose job was cut off may be down until a job that has it run ends well; new disks do not start it."""
    world = SimWorld(1, tmp_path / "world", names=("node1",))
    client = Client(world)
    for number, (op, status) in enumerate(story, 1):
        client.asked[number] = [op]
        client.ends[number] = JobEnd(number, status, [])
        client.log.order.append(number)
    assert client.excused() == excused
    world.close()


@pytest.mark.parametrize(
    ("story", "killed", "unstopped"),
    [
        ([KEPT_UP], {1}, {"web1"}),
        ([KEPT_UP], set(), set()),
        ([STOPPED], {1}, set()),
        ([KEPT_UP, MOVED, ANOTHER], {1}, {"web1"}),
        ([KEPT_UP, HALTED], {1}, set()),
        ([KEPT_UP, STARTED], {1}, set()),
    ],
)
def test_only_a_killed_stop_is_an_excuse_for_running(
    tmp_path: Path, story: list[tuple[dict[str, Any], str]], killed: set[int], unstopped: set[str]
) -> None:
    """A guest that is wanted down may run where its stop was killed, until another one, or a start, ends well."""
    world = SimWorld(1, tmp_path / "world", names=("node1",))
    client = Client(world, killed=killed)
    for number, (op, status) in enumerate(story, 1):
        client.asked[number] = [op]
        client.ends[number] = JobEnd(number, status, [])
        client.log.order.append(number)
    assert client.unstopped() == unstopped
    world.close()


@pytest.mark.parametrize("template", ["sharedfile", "drbd snode=node3"])
@pytest.mark.parametrize("faults", ["", "kill masterd node1\n"])
def test_a_killed_stop_leaves_the_guest_with_its_disks(tmp_path: Path, template: str, faults: str) -> None:
    """It runs on its own node, its mirror is open there and counts as in use; another stop ends it for good."""
    story = tmp_path / "killed.txt"
    story.write_text(
        "cluster nodes=3 alone=true\n"
        "ready\n"
        f"do OP_INSTANCE_CREATE instance_name=web1 mode=create disk_template={template}"
        ' disks=[{"size":64}] nics=[] os_type=noop pnode=node2 ignore_ipolicy=true\n'
        "deaf web1\n"
        "submit stop OP_INSTANCE_SHUTDOWN instance_name=web1 timeout=30\n"
        "wait 5\n"
        'ask CancelJob ["stop",true]\n'
        f"{faults}"
        "end stop error\n"
        "expect runs web1 node2\n"
        "check\n"
        "job OP_INSTANCE_SHUTDOWN instance_name=web1 timeout=0\n"
        "expect down web1\n"
    )
    assert strike(read_story(story), 1, None).problems == ()


def test_a_guest_that_went_down_with_its_machine_is_known_under_its_new_name(tmp_path: Path) -> None:
    """It need not run until it is started, however it is called by then."""
    story = tmp_path / "renamed.txt"
    story.write_text(
        "cluster nodes=2 alone=true\n"
        "ready\n"
        "do OP_INSTANCE_CREATE instance_name=web1 mode=create disk_template=diskless disks=[] nics=[] os_type=noop"
        " pnode=node2 ignore_ipolicy=true\n"
        "off node2\n"
        "on node2\n"
        "wait 120\n"
        "do OP_INSTANCE_RENAME instance_name=web1 new_name=web2\n"
        "check\n"
    )
    assert strike(read_story(story), 1, None).problems == ()


def test_a_node_that_is_flagged_offline_has_not_heard_of_that() -> None:
    """It was a candidate: when it is switched on again it has what candidates have, until it is taken in."""
    story = read_story(STORIES / "planned_absence.txt")
    number = count(story, 1).points[Kind.SEND].index("node1 node2 rights")
    assert strike(story, 1, Strike(Kind.SEND, number, Fault.REQUEST_LOST)).problems == ()
