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
        json.loads(live.command("node1", "gnt-debug", "delay", "-l", "--submit", "--json", "60").stdout)["job"]
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


def test_tags_of_everything(live: Live) -> None:
    """Added, listed, searched and removed; from a file too."""
    live.command("node1", "gnt-cluster", "add-tags", "prod", "site:a")
    live.command("node1", "gnt-node", "add-tags", "--from", "-", "node2", given="rack:7\n\n prod \n")
    assert live.command("node1", "gnt-node", "list-tags", "node2").stdout == "prod\nrack:7\n"
    found = live.command("node1", "gnt-cluster", "search-tags", "^pro").stdout
    assert found == "/cluster prod\n/nodes/node2 prod\n"
    assert live.command("node1", "gnt-cluster", "search-tags", "nothing", check=False).returncode == 1
    live.command("node1", "gnt-node", "remove-tags", "node2", "prod")
    assert (
        "There is no tag 'prod'"
        in live.command("node1", "gnt-node", "remove-tags", "node2", "prod", check=False).stderr
    )
    assert "No tags" in live.refused("gnt-cluster", "add-tags")
    assert live.json("gnt-cluster", "list-tags") == ["prod", "site:a"]


def test_the_cluster_gets_another_name(live: Live) -> None:
    """All nodes know it; a name that does not resolve is refused."""
    with (live.root("node1") / "etc/hosts").open("a") as hosts:
        hosts.write(f"{live.address('node1')} other\n")
    assert "resolve" in live.command("node1", "gnt-cluster", "rename", "-f", "nowhere.invalid", check=False).stderr
    said = live.command("node1", "gnt-cluster", "rename", "-f", "other").stdout
    assert said.splitlines()[-1] == "Cluster renamed from 'cluster' to 'other'"
    name = live.layout("node3").ssconf("cluster_name")
    wait_until(lambda: name.read_text() == "other\n", "node3 does not know the new name")
    assert live.command("node1", "gnt-cluster", "master-ping").stdout == ""
    assert "--ipolicy-bounds-specs" in live.command("node1", "gnt-cluster", "show-ispecs-cmd").stdout


def test_files_that_somebody_changed_are_brought_to_the_nodes_again(live: Live) -> None:
    """Also while the queue takes no new jobs, if that is said."""
    name = live.layout("node3").ssconf("master_node")
    name.chmod(0o644)
    name.write_text("nonsense\n")
    live.command("node1", "gnt-cluster", "queue", "drain")
    assert live.command("node1", "gnt-cluster", "redist-conf", check=False).returncode == 1
    live.command("node1", "gnt-cluster", "redist-conf", "--yes-do-it")
    live.command("node1", "gnt-cluster", "queue", "undrain")
    assert name.read_text() == "node1\n"


def test_groups_are_made_filled_and_removed(live: Live) -> None:
    """Nodes move, lists and info tell it, an empty group goes."""
    live.command(
        "node1", "gnt-group", "add", "--alloc-policy", "last_resort", "--node-parameters", "ssh_port=23", "rack7"
    )
    live.command("node1", "gnt-group", "assign-nodes", "rack7", "node3")
    rows = {row["name"]: row["node_cnt"] for row in live.json("gnt-group", "list", "-o", "name,node_cnt")}
    assert rows == {"default": 2, "rack7": 1}
    said = live.command("node1", "gnt-group", "modify", "--alloc-policy", "preferred", "rack7").stdout
    assert said == "Modified node group rack7\n - alloc_policy -> preferred\n"
    assert "has nodes: node3" in live.command("node1", "gnt-group", "remove", "rack7", check=False).stderr
    live.command("node1", "gnt-group", "rename", "rack7", "rack8")
    live.command("node1", "gnt-group", "assign-nodes", "default", "node3")
    assert "plan" not in live.command("node1", "gnt-group", "remove", "--plan", "rack8").stderr
    live.command("node1", "gnt-group", "remove", "rack8")
    assert [row["name"] for row in live.json("gnt-group", "list", "-o", "name")] == ["default"]


def test_networks_are_made_connected_and_removed(live: Live) -> None:
    """Their addresses are counted; while a group is connected they stay."""
    live.command("node1", "gnt-network", "add", "--network", "192.0.2.0/28", "--gateway", "192.0.2.1", "net1")
    live.command("node1", "gnt-network", "connect", "-N", "mode=bridged,link=br7", "net1")
    live.command("node1", "gnt-network", "modify", "--add-reserved-ips", "192.0.2.7,192.0.2.8", "net1")
    shown = live.command("node1", "gnt-network", "info", "net1").stdout
    assert "Free: 11 (68.75%)" in shown
    assert "default (mode:bridged link:br7 vlan:)" in shown
    assert "still connected" in live.command("node1", "gnt-network", "remove", "net1", check=False).stderr
    live.command("node1", "gnt-network", "disconnect", "net1", "default")
    live.command("node1", "gnt-network", "rename", "net1", "net2")
    live.command("node1", "gnt-network", "remove", "net2")
    assert live.json("gnt-network", "list", "-o", "name") == []


def test_file_disks_lie_below_the_root_of_their_own_node(live: Live) -> None:
    """The cluster records one directory; on one machine each node has its own place for it."""
    add = ("gnt-instance", "add", "-t", "file", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")
    for node in ("node1", "node2"):
        live.command("node1", *add, "--disk", "0:size=16m", "-n", node, f"on{node}")
    for node in ("node1", "node2"):
        disks = live.layout(node).default_file_storage()
        assert [path.name for path in disks.iterdir()] == [f"on{node}"]
    recorded = live.json("gnt-cluster", "info")["file_storage_dir"]
    assert recorded == "/srv/ganeti/file-storage"
    found = live.command("node1", "gnt-cluster", "verify", check=False).stdout
    assert "STORAGEPATH" not in found
    assert "file-storage" not in found
    for node in ("node1", "node2"):
        live.command("node1", "gnt-instance", "remove", "-f", f"on{node}")
        assert not list(live.layout(node).default_file_storage().iterdir())
