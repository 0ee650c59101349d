"""What the machine itself does: how often a second its disk syncs, and how often a call goes to a node and back.

`python -m bench.figures.machine ROOT NODE ADDRESS` prints the rate of calls from the node whose tree is ROOT.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from bench.commit import fsync_times
from gnt.model.layout import Layout
from gnt.store.reading import Reader
from gnt.wire.calls import Version
from gnt.wire.envelope import Request
from gnt.wire.pb_client import NodeLink
from gnt.wire.tls import ClientTls, NodeCredentials
from tests.live import Live

SECONDS = 1.0
AT_ONCE = 8
NODED_PORT = 1811


def fsyncs(directory: Path) -> dict[str, float]:
    """Give how often a second 4 KiB come to the disk, one after the other, and how long one takes."""
    times = fsync_times(directory, SECONDS)
    return {
        "fsync": len(times) / sum(times),
        "fsync_ms": times[len(times) // 2] * 1000,
        "fsync_p99_ms": times[int(len(times) * 0.99)] * 1000,
    }


def pb_calls(live: Live, node: str) -> dict[str, float]:
    """Give how many calls a second the master's node makes to another, one after the other and several at once."""
    command = [sys.executable, "-m", "bench.figures.machine", str(live.root("node1")), node, live.address(node)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _rate(link: NodeLink, callers: int) -> float:
    count = 0
    begin = time.perf_counter()

    async def caller(number: int) -> None:
        nonlocal count
        turn = 0
        while time.perf_counter() - begin < SECONDS:
            turn += 1
            await link.call(Request(id=f"bench-{callers}-{number}-{turn}", epoch=None, deadline=10.0, call=Version()))
            count += 1

    await gatherResults([Deferred.fromCoroutine(caller(number)) for number in range(callers)])
    return count / (time.perf_counter() - begin)


async def _measure(root: Path, name: str, address: str) -> None:
    layout = Layout(root)
    reader = Reader.open(layout.config_db)
    node = reader.load_cluster().node(name)
    reader.close()
    credentials = NodeCredentials(layout.node_pem, layout.authority_certificate)
    clock: Any = reactor
    link = NodeLink(
        name,
        node.uuid,
        address,
        NODED_PORT,
        ClientTls(credentials, (node.uuid,)),
        clock=clock,
        source=random.Random(1),  # noqa: S311
    )
    link.start()
    await link.when_connected()
    print(json.dumps({"one": await _rate(link, 1), "several": await _rate(link, AT_ONCE)}))
    await link.stop()


def before_others(live: Live) -> None:
    """Let this process, what it starts and a cluster's daemons run before everything else on this machine.

    Only root may. On a machine that others load, it shows what a quiet one would do, but for the disk.
    """
    for pid in (os.getpid(), *live.processes()):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # it has ended
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))


def like_others() -> None:
    """Take the precedence back from this process and what it starts."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def cpu_seconds(pid: int) -> float:
    """Give the processor time that the threads of a process have used, to the nanosecond (not by the clock's ticks)."""
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def wait_for_rest(pid: int) -> None:
    """Wait until a process uses less than a twentieth of a processor, no longer than a minute, and the disk has all.

    Clusters are filled before they are loaded: what that left for the system to write is no part of the load.
    """
    os.sync()
    end = time.monotonic() + 60
    busy = True
    while busy and time.monotonic() < end:
        before = cpu_seconds(pid)
        time.sleep(0.5)
        busy = cpu_seconds(pid) - before > 0.025


def resident_mib(pid: int) -> float:
    """Give the memory that a process has in use, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the process has no memory")


def main() -> None:
    """Print the rate of calls as JSON."""
    loop: Any = reactor
    failed: list[Any] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(_measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
        done.addErrback(failed.append)
        done.addBoth(lambda _: loop.stop())

    loop.callWhenRunning(begin)
    loop.run()
    if failed:
        failed[0].raiseException()


if __name__ == "__main__":
    main()
