"""A cluster as administrators and programs use it: real daemons, real commands, real sockets."""

from __future__ import annotations

import shutil
import signal
import stat
from pathlib import Path

from gnt.bootstrap.daemons import ALL
from tests.live import Live, add_rapi_user, init, live_cluster, trees, wait_until

DISKLESS = ("-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")


def add(live: Live, name: str, node: str = "node1", *more: str) -> None:
    """Make an instance without disks and interfaces."""
    live.command("node1", "gnt-instance", "add", *DISKLESS, "-n", node, *more, name)


def test_nodes_come_in_with_a_token_and_over_ssh(live: Live) -> None:
    """Both ways make full nodes; the token is in no argument, and the node's key has not left it."""
    names = [row["name"] for row in live.json("gnt-node", "list")]
    assert names == ["node1", "node2", "node3"]
    called = (live.base / "ssh.log").read_text().splitlines()
    assert len(called) == 1
    assert called[0].endswith("root@node3 gnt-node join --readd")
    keys = {live.layout(node).node_pem.read_text() for node in live.names}
    assert len(keys) == 3
    assert "candidate" in live.command("node1", "gnt-node", "info", "node2").stdout


def test_what_a_cluster_says_of_itself(live: Live) -> None:
    """The master by name, the version, the parameters."""
    assert live.command("node1", "gnt-cluster", "getmaster").stdout == "node1\n"
    assert live.command("node2", "gnt-cluster", "getmaster").stdout == "node1\n"
    assert "Software version" in live.command("node1", "gnt-cluster", "version").stdout
    info = live.json("gnt-cluster", "info")
    assert (info["name"], info["master"], info["enabled_hypervisors"]) == ("cluster", "node1", ["fake"])


def test_keys_are_for_root_only_and_the_authority_is_on_candidates(live: Live) -> None:
    """0600 on every key; all three are candidates here."""
    for node in live.names:
        layout = live.layout(node)
        for path in (layout.node_pem, layout.authority_key):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(layout.config_db.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(live.layout("node1").rapi_pem.stat().st_mode) == 0o600


def test_an_instance_from_its_beginning_to_its_end(live: Live) -> None:
    """Added, started, moved while it runs, shut down, removed; the list says so each time."""
    add(live, "web1")
    assert live.instances()["web1"] == "ADMIN_down"
    live.command("node1", "gnt-instance", "startup", "web1")
    assert live.instances()["web1"] == "running"
    live.command("node1", "gnt-instance", "migrate", "-f", "-n", "node3", "web1")
    rows = live.json("gnt-instance", "list", "-o", "name,pnode,status", "web1")
    assert rows == [{"name": "web1", "pnode": "node3", "status": "running"}]
    info = live.command("node1", "gnt-instance", "info", "web1").stdout
    assert "actual state is up" in info
    live.command("node1", "gnt-instance", "shutdown", "web1")
    assert live.instances()["web1"] == "ADMIN_down"
    live.command("node1", "gnt-instance", "remove", "-f", "web1")
    assert "web1" not in live.instances()


def test_a_guest_os_is_installed_on_a_file(live: Live) -> None:
    """Debian's own noop definition works unchanged; the disk goes with the instance."""
    source = Path("/usr/share/ganeti/os/noop")
    for node in live.names:
        target = live.root(node) / "srv/ganeti/os/empty"
        if source.exists():
            shutil.copytree(source, target)
        else:  # the same interface in three lines
            target.mkdir(parents=True)
            for script in ("create", "import", "export", "rename"):
                (target / script).write_text("#!/bin/sh\nexit 0\n")
                (target / script).chmod(0o755)
            (target / "ganeti_api_version").write_text("10\n")
    assert "empty" in live.command("node1", "gnt-os", "list").stdout
    assert "valid" in live.command("node1", "gnt-os", "diagnose").stdout
    live.command(
        *("node1", "gnt-instance", "add", "-o", "empty", "-t", "sharedfile", "--disk", "0:size=1g"),
        *("-n", "node2", "disk1"),
    )
    storage = Path(live.json("gnt-cluster", "info")["shared_file_storage_dir"])
    (disk,) = storage.rglob("*.disk0")
    assert (disk.stat().st_size, disk.stat().st_blocks) == (1 << 30, 0)
    assert live.instances()["disk1"] == "running"
    live.command("node1", "gnt-instance", "migrate", "-f", "-n", "node1", "disk1")
    live.command("node1", "gnt-instance", "remove", "-f", "disk1")
    assert not [path for path in storage.rglob("*") if path.is_file()]


def test_jobs_are_listed_shown_and_watched(live: Live) -> None:
    """A job that ended can be told in detail and watched again."""
    live.command("node1", "gnt-debug", "delay", "0.05")
    job = live.json("gnt-job", "list")[-1]
    assert (job["status"], job["summary"]) == ("success", ["TEST_DELAY(50000000 ns)"])
    assert "OP_TEST_DELAY" in live.command("node1", "gnt-job", "info", str(job["id"])).stdout
    watched = live.command("node1", "gnt-job", "watch", str(job["id"])).stdout
    assert str(job["id"]) in watched


def test_a_queued_job_is_cancelled(live: Live) -> None:
    """What waits for a lock can be taken back, and has changed nothing."""
    add(live, "busy1")
    delay = {"OP_ID": "OP_TEST_DELAY", "duration": 600, "on_nodes": ["node1"], "on_master": False, "no_locks": False}
    holding = live.luxi("SubmitJob", [delay])
    wait_until(lambda: live.rapi(f"/2/jobs/{holding}")[1]["status"] == "running", "the delay does not run")
    said = live.command("node1", "gnt-instance", "remove", "-f", "--submit", "busy1")
    waiting = (said.stdout + said.stderr).strip().rpartition(" ")[2]
    wait_until(lambda: live.rapi(f"/2/jobs/{waiting}")[1]["status"] in ("waiting", "queued"), "it does not wait")
    live.command("node1", "gnt-job", "cancel", waiting)
    assert live.job(waiting)["status"] == "canceled"
    assert "busy1" in live.instances()
    live.command("node1", "gnt-job", "cancel", "--kill", "--yes-do-it", str(holding))
    assert live.job(holding)["status"] == "error"


def test_jobs_of_a_file(live: Live, tmp_path: Path) -> None:
    """`gnt-debug submit-job` takes opcodes as they are."""
    path = tmp_path / "job.json"
    path.write_text('[{"OP_ID": "OP_TEST_DELAY", "duration": 0.01}]')
    live.command("node1", "gnt-debug", "submit-job", str(path))
    assert live.json("gnt-job", "list")[-1]["summary"] == ["TEST_DELAY(10000000 ns)"]


def test_the_remote_api_makes_starts_stops_and_removes(live: Live) -> None:
    """The same life, by HTTP; reading needs a user too, the version nobody."""
    assert live.rapi("/version", user="") == (200, 2)
    assert live.rapi("/2/info", user="")[0] == 401
    assert live.rapi("/2/info")[1]["name"] == "cluster"
    body = {
        "__version__": 1,
        "mode": "create",
        "instance_name": "api1",
        "disk_template": "diskless",
        "disks": [],
        "nics": [],
        "no_install": True,
        "os_type": "none",
        "pnode": "node2",
        "start": False,
        "ignore_ipolicy": True,
    }
    assert live.rapi("/2/instances", "POST", body, user="reader")[0] == 403
    code, job = live.rapi("/2/instances", "POST", body)
    assert code == 200, job
    assert live.job(job)["status"] == "success", live.job(job)
    found = live.rapi("/2/instances?bulk=1")[1]
    assert [(row["name"], row["pnode"]) for row in found if row["name"] == "api1"] == [("api1", "node2")]
    for action, status in (("startup", "running"), ("shutdown", "ADMIN_down")):
        code, job = live.rapi(f"/2/instances/api1/{action}", "PUT", {})
        assert code == 200, job
        assert live.job(job)["status"] == "success"
        assert live.instances()["api1"] == status
    code, job = live.rapi("/2/instances/api1", "DELETE")
    assert code == 200, job
    assert live.job(job)["status"] == "success"
    assert live.rapi("/2/instances/api1")[0] == 404
    assert {row["name"] for row in live.rapi("/2/nodes?bulk=1")[1]} == {"node1", "node2", "node3"}


def test_verify_finds_nothing_and_then_a_guest_that_is_gone(live: Live) -> None:
    """Exit status 0 when all is well, 1 with the instance's name when not."""
    add(live, "lost1", "node2")
    live.command("node1", "gnt-instance", "startup", "lost1")
    live.command("node1", "gnt-cluster", "verify")
    for guest in (live.layout("node2").run / "fake-hypervisor").rglob("*"):
        if guest.is_file() and "lost1" in guest.read_text():
            guest.unlink()
    done = live.command("node1", "gnt-cluster", "verify", check=False)
    assert done.returncode == 1
    assert "lost1" in done.stdout
    live.command("node1", "gnt-instance", "remove", "-f", "lost1")
    live.command("node1", "gnt-cluster", "verify")


def test_output_is_plain_when_nobody_looks(live: Live) -> None:
    """No colour and no progress in a pipe."""
    for words in (("gnt-instance", "list"), ("gnt-node", "list"), ("gnt-job", "list")):
        done = live.command("node1", *words)
        assert "\x1b" not in done.stdout + done.stderr
        assert done.stderr == ""


def test_a_daemon_ends_in_order_and_serves_again(live: Live) -> None:
    """Each of the three, by SIGTERM; no line of a traceback in any log."""
    for daemon in ALL:
        live.restart("node1", daemon)
    live.command("node1", "gnt-cluster", "verify")
    for node in live.names:
        for daemon in ALL:
            assert "Traceback" not in live.log(node, daemon)


def test_a_node_is_removed_and_comes_back() -> None:
    """It forgets the cluster, its daemon ends; added again it is a node again."""
    with live_cluster(2) as two:
        two.command("node1", "gnt-node", "remove", "node2")
        assert [row["name"] for row in two.json("gnt-node", "list")] == ["node1"]
        wait_until(lambda: two.daemons("node2").pid("gnt-noded") is None, "gnt-noded of the removed node goes on")
        left = {path.name for path in two.layout("node2").data.iterdir() if path.is_file()}
        assert not {name for name in left if name.endswith((".pem", ".key", ".db"))}
        two.add_by_token("node2")
        two.command("node1", "gnt-cluster", "verify")
        two.command("node1", "gnt-node", "remove", "node2")
        two.command("node1", "gnt-cluster", "destroy", "--yes-do-it")
        wait_until(lambda: not two.processes(), "daemons go on without their cluster")
        init(two)
        add_rapi_user(two)
        assert two.rapi("/2/info")[0] == 200


def test_a_second_init_is_refused_and_a_stopped_master_is_named() -> None:
    """One line each: there is a cluster already; the master daemon does not answer."""
    with trees(1) as live:
        init(live)
        again = init(live, check=False)
        assert again.returncode == 1
        assert len(again.stderr.splitlines()) <= 2
        assert live.command("node1", "gnt-cluster", "getmaster").stdout == "node1\n"
        live.kill("node1", "gnt-masterd", signal.SIGTERM)
        done = live.command("node1", "gnt-instance", "list", check=False)
        assert done.returncode == 1
        assert "master" in done.stderr
