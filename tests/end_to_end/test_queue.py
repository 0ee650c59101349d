"""The queue as administrators steer it: plans, kills, rules, pauses, on real daemons and across a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gnt.bootstrap.daemons import ALL, NODED
from tests.live import Live, wait_until

ADD = ("-t", "sharedfile", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy", "--disk", "0:size=16m")


def job(live: Live, *words: str) -> int:
    """Submit a job that nobody waits for, and give its number."""
    found: int = json.loads(live.command("node1", words[0], words[1], "--submit", "--json", *words[2:]).stdout)["job"]
    return found


def info(live: Live, number: int) -> dict[str, Any]:
    """Give a job with all its details."""
    (found,) = live.json("gnt-job", "info", str(number))
    assert isinstance(found, dict)
    return found


def test_a_plan_changes_nothing_and_comes_true(live: Live) -> None:
    """What --plan prints is what the job does; a refusal is the one that the job would end in."""
    words = ("gnt-instance", "add", *ADD, "-n", "node2", "plan1")
    before = live.json("gnt-job", "list")
    plan = live.command("node1", *words[:2], "--plan", *words[2:]).stdout
    assert plan.splitlines()[0].startswith("job would take: instance plan1 (exclusive)")
    assert "undoable node2 disk_create plan1: disk/0 sharedfile 16 MiB" in plan
    assert live.json("gnt-job", "list") == before
    assert "plan1" not in live.instances()
    live.command("node1", *words)
    assert live.instances()["plan1"] == "ADMIN_down"
    refused = live.command("node1", *words[:2], "--plan", *words[2:], check=False)
    assert refused.returncode == 1
    assert refused.stderr == live.command("node1", *words, check=False).stderr
    live.command("node1", "gnt-instance", "remove", "-f", "plan1")


def test_a_running_job_is_killed(live: Live) -> None:
    """Its call on the node is aborted at once, its locks are free, and it says what became of it."""
    number = job(live, "gnt-debug", "delay", "-n", "node2", "--no-master", "600")
    wait_until(lambda: info(live, number)["status"] == "running", "the delay does not begin")
    live.command("node1", "gnt-job", "cancel", "--kill", "--yes-do-it", str(number))
    said = live.command("node1", "gnt-job", "wait", str(number), check=False)
    assert said.returncode == 1
    assert "killed by request" in said.stderr
    assert live.json("gnt-debug", "locks") == []


def test_rules_and_pauses_hold_after_a_restart(live: Live) -> None:
    """A paused job stays queued under the next master daemon, and runs when the rule goes."""
    predicates = '[["jobid", [">", "id", "watermark"]]]'
    uuid = live.json("gnt-filter", "add", "--action=PAUSE", f"--predicates={predicates}")["uuid"]
    number = job(live, "gnt-debug", "delay", "0.1")
    live.command("node1", "gnt-cluster", "watcher", "pause", "1h")
    live.command("node1", "gnt-cluster", "queue", "drain")
    live.restart("node1", "gnt-masterd")
    assert live.json("gnt-cluster", "queue", "info") == {"drained": True}
    assert live.json("gnt-cluster", "watcher", "info")["paused_until"] is not None
    held = info(live, number)
    assert (held["status"], held["waits"]["held"]) == ("queued", f"the rule {uuid} pauses it")
    live.command("node1", "gnt-filter", "delete", uuid)
    live.command("node1", "gnt-job", "wait", str(number))
    assert info(live, number)["ops"][0]["reason"][-1][0] == "gnt:daemon:masterd:pickup:test_delay"
    live.command("node1", "gnt-cluster", "queue", "undrain")
    live.command("node1", "gnt-cluster", "watcher", "continue")


def test_a_waiting_job_says_what_it_waits_for(live: Live) -> None:
    """Locks by the names of nodes, who holds them, its place; a more urgent job goes before it."""
    holder = job(live, "gnt-debug", "delay", "600")
    limit = live.json("gnt-filter", "add", "--action=RATE_LIMIT 1")["uuid"]
    waiting = [job(live, "gnt-debug", "delay", "0.1") for _ in range(2)]
    assert info(live, waiting[0])["waits"]["held"] == f"rule {limit}: 1 of at most 1 run"
    live.command("node1", "gnt-job", "change-priority", "--priority=high", str(waiting[1]))
    live.command("node1", "gnt-job", "cancel", "--kill", "--yes-do-it", str(holder))
    for number in waiting:
        live.command("node1", "gnt-job", "wait", str(number))
    starts = [info(live, number)["start_ts"] for number in waiting]
    assert starts[1] < starts[0]
    live.command("node1", "gnt-filter", "delete", limit)
    live.command("node1", "gnt-job", "autoarchive", "all")
    assert live.json("gnt-job", "list") == []


def test_secrets_stand_in_the_store_and_nowhere_else(live: Live, tmp_path: Path) -> None:
    """Neither in what commands and the remote API say, nor in a backup, nor in a file of any node but the store.

    One that was only for its job is gone with it, from the store too.
    """
    kept, passing = "kept-S3CR3T", "passing-S3CR3T"
    secrets = ("--os-parameters-private", f"pw={kept}", "--os-parameters-secret", f"token={passing}")
    live.command("node1", "gnt-instance", "add", *ADD, "-n", "node2", *secrets, "secret1")
    live.command("node1", "gnt-instance", "modify", "--os-parameters-private", f"pw=new-{kept}", "secret1")
    numbers = [str(row["id"]) for row in live.json("gnt-job", "list")]
    said = [
        live.command("node1", *words).stdout
        for words in (
            ("gnt-job", "info", *numbers),
            ("gnt-job", "info", "--json", *numbers),
            ("gnt-cluster", "history", "-n", "1000"),
            ("gnt-cluster", "diff", "--json", "1h"),
            ("gnt-instance", "info", "secret1"),
            ("gnt-instance", "info", "--at", "0s", "--json", "secret1"),
        )
    ]
    said += [json.dumps(live.rapi(path)) for path in ("/2/jobs?bulk=1", "/2/instances/secret1", "/2/instances?bulk=1")]
    assert "S3CR3T" not in "".join(said)
    assert "<redacted>" in said[0]
    backup = tmp_path / "backup"
    live.command("node1", "gnt-cluster", "backup", str(backup))
    assert b"S3CR3T" not in backup.read_bytes()
    assert {path.name for path in holding(live, "S3CR3T")} <= {"config.db", "config.db-wal"}
    for daemon in reversed(ALL):
        for node in live.names:
            live.daemons(node).stop(daemon)
    assert {path.name for path in holding(live, kept)} == {"config.db"}
    assert holding(live, passing) == []
    for daemon in ALL:
        for node in live.names if daemon == NODED else ("node1",):
            live.start(node, daemon)
    live.command("node1", "gnt-instance", "remove", "-f", "secret1")


def holding(live: Live, text: str) -> list[Path]:
    """Give the files of all nodes in which a text stands."""
    files = (path for node in live.names for path in live.layout(node).root.rglob("*") if path.is_file())
    return [path for path in files if text.encode() in path.read_bytes()]
