"""How many changes a second the journal makes durable, beside what the disk's fsync allows.

`python bench/commit.py [seconds] [directory]`: a lone master, real threads, a real file; changes of the size of a
small job. Figures are for one caller after the other, and for 100 and 1000 callers at once.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gnt.daemon.runtime import Runtime
from gnt.masterd.journal import Journal
from gnt.masterd.local_log import LocalLog
from gnt.model.cluster import Cluster
from gnt.model.epoch import START, Epoch, Position
from gnt.model.objects import ClusterSettings, Node, NodeGroup
from gnt.store.changes import Entry, Put, Space
from gnt.store.configuration import initial_changes
from gnt.store.vault import FileVault

loop: Any = reactor


class _Pool:
    def __init__(self, name: str) -> None:
        self._pool = ThreadPool(0, 1, name)
        self._pool.start()
        loop.addSystemEventTrigger("during", "shutdown", self._pool.stop)

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        return deferToThreadPool(loop, self._pool, work, *args, **kwargs)


class _Pools:
    def __init__(self) -> None:
        self._pools: dict[str, _Pool] = {}

    def __call__(self, name: str) -> _Pool:
        if name not in self._pools:
            self._pools[name] = _Pool(name)
        return self._pools[name]


class _NoPeers:
    async def call(self, node: str, call: Any) -> Any:
        raise AssertionError(f"{call} to {node}")

    def when_connected(self, node: str) -> Deferred[None]:
        raise AssertionError(node)


def fsync_rate(directory: Path, seconds: float) -> float:
    """Give how often a second 4 KiB more of a file come to the disk."""
    path = directory / "fsync"
    count, start = 0, time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while time.perf_counter() - start < seconds:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return count / (time.perf_counter() - start)


def make_journal(directory: Path) -> Journal:
    """Give the journal of a cluster of one node."""
    runtime = Runtime(clock=loop, pools=_Pools(), random=random.Random(1))  # noqa: S311
    epoch = Epoch(number=1, node="a")
    settings = ClusterSettings(uuid="c", cluster_name="cluster.example.com", master_node="a")
    node = Node(uuid="a", name="a.example.com", primary_ip="192.0.2.1", group="g", master_candidate=True)
    cluster = Cluster.of(settings, [node, NodeGroup(uuid="g", name="default")])
    vault = FileVault(directory / "config.db")
    database = vault.create("uuid")
    changes = initial_changes(cluster)
    entry = Entry(Position(epoch=epoch, serial=1), time.time(), changes, (0,) * len(changes))
    database.append(START, [entry], epoch=epoch, committed=1)
    local = LocalLog(runtime, vault, database, epoch)
    return Journal(runtime, local, _NoPeers(), epoch=epoch, cluster=cluster)


def job(number: int) -> Put:
    """Give a job as it is stored, about 600 bytes."""
    ops = [{"OP_ID": "OP_TEST_DELAY", "duration": 0, "reason": [["gnt:client", "bench", 1]], "comment": "x" * 300}]
    value = {"id": number, "status": "queued", "ops": ops, "received": 1.0, "log": []}
    return Put(Space.JOB, str(number), msgspec.json.encode(value))


async def measure(journal: Journal, callers: int, seconds: float) -> tuple[float, float, float]:
    """Give changes a second, and the median and 99th percentile of the time that one takes, in milliseconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            await journal.enqueue([job(number)], number)
            times.append(time.perf_counter() - start)

    start = time.perf_counter()
    await gatherResults([Deferred.fromCoroutine(caller(n + 1)) for n in range(callers)])
    elapsed = time.perf_counter() - start
    times.sort()
    return len(times) / elapsed, times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000


async def main(directory: Path, seconds: float) -> None:
    """Print the figures."""
    print(f"fsync of 4 KiB         {fsync_rate(directory, 1.0):8.0f} /s")
    journal = make_journal(directory)
    for callers in (1, 100, 1000):
        rate, median, slow = await measure(journal, callers, seconds)
        print(f"{callers:5d} callers at once {rate:10.0f} changes/s   median {median:6.2f} ms   p99 {slow:6.2f} ms")
    await journal.stop()
    print(f"threads: {threading.active_count()}")


def run() -> None:
    """Measure in a directory of its own."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    below = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=below) as directory:

        def begin() -> None:
            done = Deferred.fromCoroutine(main(Path(directory), seconds))
            done.addErrback(lambda failure: failure.printTraceback())
            done.addBoth(lambda _: loop.stop())

        loop.callWhenRunning(begin)
        loop.run()


if __name__ == "__main__":
    run()
