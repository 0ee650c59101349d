"""How many changes a second the journal makes durable, beside what the disk's fsync allows.

`python bench/commit.py [seconds] [candidates] [directory]`: real threads, real files, changes of the size of a small
job. Figures are for one caller after the other, and for 100 and 1000 callers at once. Candidates live in this process
and share its disk, without a network; each has its own file.
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
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gnt.daemon.runtime import Runtime
from gnt.masterd.journal import Journal
from gnt.masterd.local_log import LocalLog
from gnt.model.cluster import Cluster
from gnt.model.epoch import START, Epoch, Position
from gnt.model.layout import Layout
from gnt.model.objects import ClusterSettings, Node, NodeGroup
from gnt.noded.handler import CallContext, Place
from gnt.noded.replica import Replica
from gnt.store.changes import Entry, Put, Space
from gnt.store.configuration import initial_changes
from gnt.store.vault import FileVault
from gnt.wire.log_calls import AskLog

loop: Any = reactor
EPOCH = Epoch(number=1, node="a")


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


class _Peers:
    """Candidates in this process."""

    def __init__(self, replicas: dict[str, Replica]) -> None:
        self._replicas = replicas

    async def call(self, node: str, call: Any) -> Any:
        replica = self._replicas[node]
        if isinstance(call, AskLog):
            return await replica.refresh()
        return await replica.handlers()[type(call)](call, CallContext("1", EPOCH, lambda _line: None))

    def when_connected(self, node: str) -> Deferred[None]:  # noqa: ARG002
        return succeed(None)


def fsync_times(directory: Path, seconds: float) -> list[float]:
    """Give how long it takes, in seconds, until 4 KiB more of a file are on the disk; sorted."""
    path = directory / "fsync"
    times, start = [], time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while (begin := time.perf_counter()) - start < seconds:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    path.unlink()
    return sorted(times)


def fsync_rate(directory: Path, seconds: float) -> float:
    """Give how often a second 4 KiB more of a file come to the disk."""
    times = fsync_times(directory, seconds)
    return len(times) / sum(times)


def make_journal(directory: Path, candidates: int) -> Journal:
    """Give the journal of a cluster of one master and so many candidates more."""
    runtime = Runtime(clock=loop, pools=_Pools(), random=random.Random(1))  # noqa: S311
    settings = ClusterSettings(uuid="c", cluster_name="cluster.example.com", master_node="a")
    names = ["a", *(f"b{number}" for number in range(candidates))]
    nodes = [Node(uuid=name, name=name, primary_ip="192.0.2.1", group="g", master_candidate=True) for name in names]
    cluster = Cluster.of(settings, [NodeGroup(uuid="g", name="default"), *nodes])
    changes = initial_changes(cluster)
    entry = Entry(Position(epoch=EPOCH, serial=1), time.time(), changes, (0,) * len(changes))
    replicas = {}
    for name in names:
        place = directory / name
        place.mkdir()
        vault = FileVault(place / "config.db")
        database = vault.create("uuid")
        database.append(START, [entry], epoch=EPOCH, committed=1)
        if name != "a":
            database.close()
            own = Runtime(clock=loop, pools=_Pools(), random=runtime.random)
            replicas[name] = Replica(Place(layout=Layout(place), name=name, runtime=own), vault)
    vault = FileVault(directory / "a" / "config.db")
    local = LocalLog(runtime, vault, vault.open(), EPOCH)
    return Journal(runtime, local, _Peers(replicas), epoch=EPOCH, cluster=cluster)


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


async def main(directory: Path, seconds: float, candidates: int) -> None:
    """Print the figures."""
    print(f"fsync of 4 KiB         {fsync_rate(directory, 1.0):8.0f} /s")
    journal = make_journal(directory, candidates)
    for callers in (1, 100, 1000):
        rate, median, slow = await measure(journal, callers, seconds)
        print(f"{callers:5d} callers at once {rate:10.0f} changes/s   median {median:6.2f} ms   p99 {slow:6.2f} ms")
    await journal.stop()
    print(f"threads: {threading.active_count()}")


def run() -> None:
    """Measure in a directory of its own."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    candidates = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    below = sys.argv[3] if len(sys.argv) > 3 else None
    with tempfile.TemporaryDirectory(dir=below) as directory:

        def begin() -> None:
            done = Deferred.fromCoroutine(main(Path(directory), seconds, candidates))
            done.addErrback(lambda failure: failure.printTraceback())
            done.addBoth(lambda _: loop.stop())

        loop.callWhenRunning(begin)
        loop.run()


if __name__ == "__main__":
    run()
