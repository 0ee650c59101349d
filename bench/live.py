"""How long a person waits: whole commands against a real cluster of three nodes, with real daemons and real fsync.

`python -m bench.live [rounds]`; the hypervisor is `fake`, the nodes are on this machine.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from tests.live import Live, live_cluster

ADD = ("gnt-instance", "add", "-t", "diskless", "--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")


def timed(work: Callable[[], object]) -> float:
    """Give how many milliseconds something takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def commands(live: Live, turn: int) -> dict[str, Callable[[], object]]:
    """Give what is measured, in order: an instance lives through its whole life in each turn."""
    name, run = f"bench{turn}", live.command
    return {
        "gnt-cluster getmaster": lambda: run("node1", "gnt-cluster", "getmaster"),
        "gnt-node list": lambda: run("node1", "gnt-node", "list"),
        "gnt-instance add (diskless)": lambda: run("node1", *ADD, "-n", "node1", name),
        "gnt-instance startup": lambda: run("node1", "gnt-instance", "startup", name),
        "gnt-instance list": lambda: run("node1", "gnt-instance", "list"),
        "gnt-instance migrate": lambda: run("node1", "gnt-instance", "migrate", "-f", "-n", "node2", name),
        "gnt-instance remove": lambda: run("node1", "gnt-instance", "remove", "-f", name),
        "gnt-cluster verify": lambda: run("node1", "gnt-cluster", "verify"),
        "RAPI GET /2/info": lambda: live.rapi("/2/info"),
        "LUXI QueryClusterInfo": lambda: live.luxi("QueryClusterInfo"),
    }


def main() -> None:
    """Print a table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    begin = time.perf_counter()
    with live_cluster(3) as live:
        print(f"init and two more nodes     {time.perf_counter() - begin:8.1f} s")
        times: dict[str, list[float]] = {}
        for turn in range(rounds):
            for name, work in commands(live, turn).items():
                times.setdefault(name, []).append(timed(work))
        for name, took in times.items():
            print(f"{name:28}{statistics.median(took):8.0f} ms (slowest {max(took):.0f})")


if __name__ == "__main__":
    main()
