"""How long a cluster needs after a daemon was killed, and for another master.

`python -m bench.recovery [ROUNDS] [--first]`: a cluster of three nodes on loopback addresses, as `make cluster` makes
it. Goals: clean within 2 s of the restart of any daemon that was killed (SIGKILL) with jobs under way; another master
within 3 s. Clean means: no job runs that did before, no lock is held, no node owes anything. Prints the table of
`docs/recovery.md`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.figures.machine import before_others
from gnt.bootstrap.daemons import ALL, MASTERD, NODED, RAPI
from gnt.store.changes import Space
from gnt.store.reading import Reader
from gnt.wire.luxi_client import LuxiClient
from tests.live import Live, live_cluster, wait_until

FINAL = ("success", "error", "canceled")
DISKLESS = ("-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")
ROUNDS = 7


def call(live: Live, node: str, method: str, *arguments: Any) -> Any:
    """Ask the master daemon of a node."""
    with LuxiClient(live.layout(node).master_socket) as client:
        return client.call(method, *arguments)


def work(live: Live, node: str) -> list[int]:
    """Have jobs under way: one that holds a node for a minute, instances being made; gives their numbers."""
    delay = {"OP_ID": "OP_TEST_DELAY", "duration": 60.0, "on_nodes": [node], "on_master": False}
    makes = [
        {
            "OP_ID": "OP_INSTANCE_CREATE",
            "instance_name": f"b{time.monotonic_ns()}x{number}",
            "pnode": "node3",
            "mode": "create",
            "disk_template": "diskless",
            "disks": [],
            "nics": [],
            "no_install": True,
            "start": True,
            "ignore_ipolicy": True,
            "ip_check": False,
            "name_check": False,
        }
        for number in range(4)
    ]
    jobs: list[int] = [call(live, "node1", "SubmitJob", [opcode]) for opcode in (delay, *makes)]
    wait_until(lambda: ["running"] in call(live, "node1", "QueryJobs", jobs[:1], ["status"]), "no job runs")
    return jobs


def is_clean(live: Live, node: str, jobs: list[int]) -> bool:
    """Say whether everything is settled."""
    rows = call(live, node, "QueryJobs", jobs, ["status"])
    if any(row is not None and row[0] not in FINAL for row in rows):
        return False
    return not call(live, node, "QueryLocks", ["name"], False) and not owes(live, node)


def owes(live: Live, node: str) -> bool:
    """Say whether any node owes something, by the store of the master."""
    reader = Reader.open(live.layout(node).config_db)
    try:
        return bool(reader.rows(Space.DEBT))
    finally:
        reader.close()


def until_clean(live: Live, daemon: str, node: str) -> float:
    """Kill a daemon with jobs under way; gives the seconds from its start until all is clean."""
    jobs = work(live, node)
    live.kill(node, daemon)
    begin = time.perf_counter()
    live.daemons(node).start(daemon)
    wait_until(lambda: _answers(live) and is_clean(live, "node1", jobs), f"{daemon} on {node}: it does not settle")
    found = time.perf_counter() - begin
    for name in live.instances():
        live.command("node1", "gnt-instance", "remove", "-f", name)
    return found


def _answers(live: Live) -> bool:
    try:
        call(live, "node1", "QueryConfigValues", ["cluster_name"])
    except Exception:  # noqa: BLE001  (whatever it is, there is no answer yet)
        return False
    return True


def until_rapi(live: Live) -> float:
    """Kill the remote API; gives the seconds from its start until it answers."""
    live.kill("node1", RAPI)
    begin = time.perf_counter()
    live.start("node1", RAPI)
    return time.perf_counter() - begin


def until_master(live: Live, here: str, there: str, *, dead: bool) -> float:
    """Make the node `there` the master, where `dead` after all of the old one was killed; gives how long that takes."""
    if dead:
        for daemon in ALL:
            if live.daemons(here).pid(daemon) is not None:
                live.kill(here, daemon)
    begin = time.perf_counter()
    live.command(there, "gnt-cluster", "master-failover")
    call(live, there, "QueryConfigValues", ["cluster_name"])
    found = time.perf_counter() - begin
    if dead:
        live.start(here, NODED)
    master = live.layout(here).ssconf("master_node")
    wait_until(lambda: master.read_text().strip() == there, f"{here} is not told")
    return found


def measure(what: str, goal: float, rounds: int, one: Callable[[int], float]) -> None:
    """Measure so often, and print a row."""
    found = sorted(one(number) for number in range(rounds))
    median = statistics.median(found)
    spread = f"{found[0]:.2f} to {found[-1]:.2f} s"
    verdict = "met" if median <= goal else "NOT MET"
    print(f"| {what} | {median:.2f} s | {spread} | at most {goal:.0f} s | {verdict} |", flush=True)


def main(rounds: int, *, first: bool) -> None:
    """Measure all of it on one cluster."""
    load = os.getloadavg()[0]
    with live_cluster(3) as live:
        if first:
            before_others(live)
        print("| what | median | lowest to highest | goal |  |\n| --- | --- | --- | --- | --- |")
        measure("gnt-masterd killed: clean after", 2, rounds, lambda _: until_clean(live, MASTERD, "node1"))
        measure("gnt-noded of a node killed: clean after", 2, rounds, lambda _: until_clean(live, NODED, "node2"))
        measure("gnt-noded of the master killed: clean after", 2, rounds, lambda _: until_clean(live, NODED, "node1"))
        measure("gnt-rapi killed: answers after", 2, rounds, lambda _: until_rapi(live))
        pair = ("node1", "node2")
        measure(
            "master-failover, the old one hands over",
            3,
            rounds,
            lambda n: until_master(live, pair[n % 2], pair[1 - n % 2], dead=False),
        )
        if rounds % 2:
            until_master(live, "node2", "node1", dead=False)
        measure(
            "master-failover, the old one is dead",
            3,
            rounds,
            lambda n: until_master(live, pair[n % 2], pair[1 - n % 2], dead=True),
        )
    print(f"\n{rounds} rounds; the load of the machine before, by others, was {load:.1f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="how long a cluster needs after a daemon was killed")
    parser.add_argument("rounds", type=int, nargs="?", default=ROUNDS)
    parser.add_argument("--first", action="store_true", help="run before everything else on this machine (root)")
    return parser.parse_args()


if __name__ == "__main__":
    ARGUMENTS = _arguments()
    main(ARGUMENTS.rounds, first=ARGUMENTS.first)
