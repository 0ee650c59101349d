"""Daemons that die at once: what was acknowledged is there, what was begun is settled, guests go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from gnt.bootstrap.daemons import MASTERD, NODED, RAPI
from tests.live import Live, live_cluster, wait_until

DISKLESS = ("-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Give a cluster of three nodes."""
    with live_cluster(3) as running:
        yield running


def delay(seconds: float, *nodes: str) -> list[dict[str, Any]]:
    """Give a job that holds its nodes for some time."""
    return [
        {"OP_ID": "OP_TEST_DELAY", "duration": seconds, "on_nodes": nodes, "on_master": False, "no_locks": False},
    ]


def started(live: Live, seconds: float, *nodes: str) -> int:
    """Submit such a job and wait until it runs; gives its number."""
    job: int = live.luxi("SubmitJob", delay(seconds, *nodes))
    wait_until(lambda: live.rapi(f"/2/jobs/{job}")[1]["status"] == "running", "the delay does not run")
    return job


def test_a_master_that_dies_in_a_job_settles_it_when_it_returns(live: Live) -> None:
    """The job that ran ends in an error that says so, the one that waited is done, and all locks are free again."""
    running = started(live, 3, "node2")
    waiting = live.luxi("SubmitJob", delay(0.1, "node2"))
    live.kill("node1", MASTERD)
    live.start("node1", MASTERD)
    ended = live.job(running)
    assert ended["status"] == "error"
    assert "interrupted" in str(ended["opresult"])
    assert live.job(waiting)["status"] == "success"
    live.command("node1", "gnt-cluster", "verify")


def test_instances_half_made_are_undone_or_finished(live: Live) -> None:
    """Kill the master at several moments of making instances: each is there as a whole, or not at all."""
    for number in range(4):
        names = [f"cut{number}x{count}" for count in range(4)]
        jobs = [
            live.luxi(
                "SubmitJob",
                [
                    {
                        "OP_ID": "OP_INSTANCE_CREATE",
                        "instance_name": name,
                        "mode": "create",
                        "disk_template": "sharedfile",
                        "disks": [{"size": 1024}],
                        "nics": [],
                        "no_install": True,
                        "os_type": "none",
                        "pnode": f"node{1 + count % 3}",
                        "start": True,
                        "ignore_ipolicy": True,
                    }
                ],
            )
            for count, name in enumerate(names)
        ]
        wait_until(lambda last=jobs[number]: live.rapi(f"/2/jobs/{last}")[1]["status"] != "queued", "no job starts")
        live.kill("node1", MASTERD)
        live.start("node1", MASTERD)
        ends = {name: live.job(job)["status"] for name, job in zip(names, jobs, strict=True)}
        known = live.instances()
        for name, end in ends.items():
            assert (end == "success") <= (name in known), f"{name}: {end}"
        for name in known:
            live.command("node1", "gnt-instance", "remove", "-f", name)
        live.command("node1", "gnt-cluster", "verify")
        storage = live.root("node1") / "srv/ganeti/shared-file-storage"
        assert not list(storage.rglob("*.disk0")), "disks of instances that are not there were left"


def test_a_node_daemon_that_dies_leaves_guests_and_serves_again(live: Live) -> None:
    """A guest runs on; what its node was asked meanwhile fails with the node's name, and works after the restart."""
    live.command("node1", "gnt-instance", "add", *DISKLESS, "-n", "node3", "kept1")
    live.command("node1", "gnt-instance", "startup", "kept1")
    live.kill("node3", NODED)
    done = live.command("node1", "gnt-cluster", "verify", check=False)
    assert done.returncode == 1
    assert "node3" in done.stdout
    live.start("node3", NODED)
    wait_until(
        lambda: live.command("node1", "gnt-cluster", "verify", check=False).returncode == 0, "node3 does not come back"
    )
    assert live.instances()["kept1"] == "running"
    live.command("node1", "gnt-instance", "migrate", "-f", "-n", "node1", "kept1")
    live.command("node1", "gnt-instance", "remove", "-f", "kept1")


def test_a_node_daemon_that_dies_in_a_call_is_in_doubt_and_then_known(live: Live) -> None:
    """The job does not hang: it ends, names the node, and says that nobody knows whether it was done."""
    job = started(live, 2, "node3")
    live.kill("node3", NODED)
    live.start("node3", NODED)
    ended = live.job(job)
    assert ended["status"] == "error"
    assert "node3" in str(ended["opresult"])
    assert "nobody knows" in str(ended["opresult"])
    again = ("node1", "gnt-debug", "delay", "-n", "node3", "--no-master", "0.01")
    wait_until(lambda: live.command(*again, check=False).returncode == 0, "node3 does not return")


def test_the_remote_api_dies_and_returns_alone(live: Live) -> None:
    """The master never notices."""
    master = live.pid("node1", MASTERD)
    live.kill("node1", RAPI)
    assert live.rapi("/version")[0] == 0
    live.start("node1", RAPI)
    assert live.rapi("/2/info")[0] == 200
    assert live.pid("node1", MASTERD) == master


def test_reading_goes_on_without_a_majority_and_changes_wait(live: Live) -> None:
    """With two of three voters away a change is not acknowledged; it is done when one returns."""
    for node in ("node2", "node3"):
        live.kill(node, NODED)
    assert {row["name"] for row in live.json("gnt-node", "list", "--no-headers")} == {"node1", "node2", "node3"}
    trying = live.spawn("node1", "gnt-instance", "add", *DISKLESS, "-n", "node1", "patient1")
    with pytest.raises(Exception, match="timed out"):
        trying.wait(2)
    assert "patient1" not in live.instances()
    live.start("node2", NODED)
    status = trying.wait(30)
    live.start("node3", NODED)
    said = trying.stdout.read() if trying.stdout is not None else ""
    if status:  # it was told that there is no majority; then nothing may have happened
        assert "majority" in said, said
    wait_until(
        lambda: live.command("node1", "gnt-cluster", "verify", check=False).returncode == 0, "the nodes do not return"
    )
    assert status == 0 or "patient1" not in live.instances()


def test_all_daemons_at_once(live: Live) -> None:
    """A power cut: everything is as it was, and in working order."""
    before = live.json("gnt-node", "list", "-o", "name,role,uuid"), live.instances()
    for node in live.names:
        for daemon in (MASTERD, RAPI, NODED) if node == "node1" else (NODED,):
            live.kill(node, daemon, signal.SIGKILL)
    for node in live.names:
        live.start(node, NODED)
    live.start("node1", MASTERD)
    live.start("node1", RAPI)
    live.command("node1", "gnt-debug", "delay", "0.01")
    wait_until(
        lambda: live.command("node1", "gnt-cluster", "verify", check=False).returncode == 0, "the cluster is not well"
    )
    assert (live.json("gnt-node", "list", "-o", "name,role,uuid"), live.instances()) == before
