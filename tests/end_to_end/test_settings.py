"""Changing a running cluster's parameters with the commands, on real daemons."""

from __future__ import annotations

import json

from tests.live import Live, wait_until


def modify(live: Live, *options: str) -> None:
    """Change the cluster's parameters."""
    live.command("node1", "gnt-cluster", "modify", *options)


def test_parameters_are_changed_shown_and_known_to_all_nodes(live: Live) -> None:
    """Info tells the new values, the nodes' own files too; a bad one changes nothing."""
    modify(live, "-B", "vcpus=2", "-N", "link=br9", "--reserved-lvs", "xenvg/keep.*", "--uid-pool", "100-110,120")
    modify(live, "--user-shutdown=yes", "--data-collector-interval", "lv=2.5", "--enabled-data-collectors", "lv=no")
    info = live.json("gnt-cluster", "info")
    assert info["beparams"]["default"]["vcpus"] == 2
    assert info["nicparams"]["default"]["link"] == "br9"
    assert info["reserved_lvs"] == ["xenvg/keep.*"]
    assert (info["data_collector_interval"]["lv"], info["enabled_data_collectors"]["lv"]) == (2_500_000, False)
    ssconf = live.layout("node3").ssconf("uid_pool")
    wait_until(lambda: ssconf.read_text() == "100-110\n120\n", "node3 does not know the new pool of users")
    assert "not a MAC prefix" in live.refused("gnt-cluster", "modify", "-m", "zz")
    assert "at least one parameter" in live.refused("gnt-cluster", "modify")
    said = live.refused("gnt-cluster", "modify", "--shared-file-storage-dir", "/proc/x")
    assert "forbidden" in said
    assert live.json("gnt-cluster", "info") == info


def test_more_jobs_run_at_once_as_soon_as_they_may(live: Live) -> None:
    """All that waited for room start when the limit is raised, while a job that had the room runs on."""
    modify(live, "--max-running-jobs", "2")
    jobs = [
        json.loads(live.command("node1", "gnt-debug", "delay", "--submit", "--json", "60").stdout)["job"]
        for _ in range(5)
    ]

    def running() -> list[int]:
        rows = live.luxi("QueryJobs", jobs, ["id", "status"])
        return [number for number, status in rows if status == "running"]

    wait_until(lambda: running() == jobs[:2], "not as many run as may")
    raising = live.spawn("node1", "gnt-cluster", "modify", "--priority", "high", "--max-running-jobs", "20")
    wait_until(
        lambda: live.luxi("QueryJobs", None, ["status"]).count(["queued"]) == 4, "the change does not stand in line"
    )
    live.command("node1", "gnt-job", "cancel", "--kill", "--yes-do-it", str(jobs[0]))
    assert raising.wait(30) == 0
    wait_until(lambda: running() == jobs[1:], "those that waited do not start")
    for number in jobs[1:]:
        live.command("node1", "gnt-job", "cancel", "--kill", "--yes-do-it", str(number))


def test_the_pool_grows_and_shrinks(live: Live) -> None:
    """Raised, it is filled at once; lowered, nobody is demoted, and the job says so."""
    modify(live, "-C", "1")
    live.command("node1", "gnt-node", "modify", "-C", "no", "node3")
    modify(live, "-C", "3")
    assert {row["role"] for row in live.json("gnt-node", "list", "-o", "role")} == {"M", "C"}
    said = live.command("node1", "gnt-cluster", "modify", "-C", "2").stdout
    assert "1 more master candidates than wanted" in said
    modify(live, "-C", "10")


def test_plan_and_dry_run_of_a_change(live: Live) -> None:
    """The plan names what would be kept; neither changes anything."""
    before = live.json("gnt-cluster", "info")
    assert "keep" in live.command("node1", "gnt-cluster", "modify", "--plan", "-m", "aa:00:77").stdout
    live.command("node1", "gnt-cluster", "modify", "--dry-run", "-m", "aa:00:77")
    assert live.json("gnt-cluster", "info") == before
