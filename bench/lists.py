"""How long lists take: whole commands, and bare LUXI queries, at a master daemon's real socket.

Run: `python -m bench.lists`. The master's queries, queue and sockets are the real ones, in a process of their own; its
100 nodes are not: each answers at once, with the bytes of a real answer, which the master has to read. Between two
commands lie more than the second for which an answer of the nodes serves, so every list asks them anew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.queries import DEFAULT_LIST, STATIC, build
from gnt.model.cluster import Cluster
from gnt.model.layout import Layout
from gnt.wire.calls import HypervisorFacts, NodeCall, NodeFacts
from gnt.wire.guest_calls import GuestFacts, GuestList
from gnt.wire.luxi_client import LuxiClient

BIN = Path(sys.executable).parent
JOBS = 5_000
PAUSE = 1.1

Row = tuple[str, float, Callable[[], object]]


class Nodes:
    """Nodes that answer at once, with bytes that have to be read."""

    def __init__(self, cluster: Cluster) -> None:
        facts = HypervisorFacts(memory_total=1, memory_free=1, memory_dom0=1, cpu_total=1)
        self._facts = NodeFacts(boot_id="b", hypervisors={"kvm": facts})
        self._guests = {
            node: msgspec.json.encode(
                [
                    GuestFacts(name=each.name, uuid=each.uuid, hypervisor="kvm", state="running", memory=1024, vcpus=1)
                    for each in cluster.instances_on(node)
                ]
            )
            for node in cluster.nodes
        }
        self._decoder = msgspec.json.Decoder(list[GuestFacts])

    async def call(self, node: str, call: NodeCall[Any], *, deadline: float | None = None) -> Any:
        """Answer."""
        del deadline
        return self._decoder.decode(self._guests[node]) if isinstance(call, GuestList) else self._facts


def serve(root: str, instances: int) -> None:
    """Be the master daemon until the process is told to end."""
    from twisted.internet import reactor  # noqa: PLC0415
    from twisted.internet.defer import ensureDeferred  # noqa: PLC0415

    from bench.job_lists import Inline, ended  # noqa: PLC0415
    from gnt.masterd.jobs.queue import JobQueue  # noqa: PLC0415
    from gnt.masterd.luxi_methods import LuxiMethods  # noqa: PLC0415
    from gnt.masterd.luxi_server import LuxiServer  # noqa: PLC0415
    from gnt.masterd.queries.answers import Answers  # noqa: PLC0415
    from gnt.masterd.queries.sightings import Sightings  # noqa: PLC0415
    from gnt.masterd.surroundings import StoredJobs  # noqa: PLC0415
    from gnt.model.epoch import Epoch, Position  # noqa: PLC0415
    from gnt.store.changes import Entry, Put, Space  # noqa: PLC0415
    from gnt.store.database import Database  # noqa: PLC0415

    anything: Any = None
    the_reactor: Any = reactor
    database = Database.create(None, "c")
    changes = tuple(Put(Space.JOB, str(number), ended(number)) for number in range(1, JOBS + 1))
    entry = Entry(Position(epoch=Epoch(number=1, node="a"), serial=1), 1000.0, changes, (0,) * JOBS)
    database.append(database.end, [entry], committed=1)
    stored: Any = StoredJobs(Inline(), database)  # type: ignore[arg-type]
    queue = JobQueue(anything, stored, the_reactor)
    ensureDeferred(stored.live()).addCallback(lambda live: queue.restore(live, {}, last_job=JOBS))

    class Snapshots:
        cluster = build(instances)

    answers = Answers(
        snapshots=Snapshots,
        jobs=queue,
        shelf=stored,
        locks=anything,
        ask_all=Sightings(Nodes(Snapshots.cluster), the_reactor).ask_all,
    )
    methods = LuxiMethods(
        queue, anything, answers, anything, filters=anything, pause=anything, plans=anything, forcing=anything
    )
    LuxiServer(methods, Layout(Path(root))).start(the_reactor)
    the_reactor.run()


@contextmanager
def master(instances: int) -> Iterator[Path]:
    """Give the root directory of a master daemon that serves."""
    with tempfile.TemporaryDirectory(prefix="gnt.", dir="/tmp") as root:
        program = f"from bench.lists import serve; serve({root!r}, {instances})"
        with subprocess.Popen([sys.executable, "-c", program]) as process:
            try:
                while not Layout(Path(root)).query_socket.is_socket():
                    if process.poll() is not None:
                        raise SystemExit("the master of this measurement did not start")
                    time.sleep(0.05)
                yield Path(root)
            finally:
                process.send_signal(signal.SIGKILL)


def command(root: Path, *words: str) -> int:
    """Run a whole command and give the lines that it printed."""
    environ = {**os.environ, "GNT_ROOTDIR": str(root), "GNT_HOSTNAME": "node0.example.com"}
    done = subprocess.run([BIN / words[0], *words[1:]], env=environ, capture_output=True, check=True)
    return done.stdout.count(b"\n")


def best(work: Callable[[], object], rounds: int = 7) -> float:
    """Give the shortest time in milliseconds; between two rounds what the nodes said grows too old to serve."""
    times = []
    for _ in range(rounds):
        time.sleep(PAUSE)
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
    return min(times)


def rows(root: Path, instances: int) -> list[Row]:
    """Give what is measured: name, goal in milliseconds, work."""
    client = LuxiClient(Layout(root).query_socket)
    whole = 100.0 if instances <= 1_000 else 300.0
    found: list[Row] = [
        ("gnt-instance list, live", whole, lambda: command(root, "gnt-instance", "list")),
        ("gnt-instance list --json, live", whole, lambda: command(root, "gnt-instance", "list", "--json")),
    ]
    if instances == 1_000:
        found += [
            (f"gnt-job list, {JOBS} jobs", 150.0, lambda: command(root, "gnt-job", "list")),
            ("LUXI query, 10 static fields", 8.0, lambda: client.query("instance", STATIC.split())),
            ("LUXI query, default list, live", 0.0, lambda: client.query("instance", DEFAULT_LIST.split())),
        ]
    return found


def main() -> None:
    """Print a table."""
    for instances in (1_000, 10_000):
        print(f"{instances} instances on 100 nodes")
        with master(instances) as root:
            assert command(root, "gnt-instance", "list") == instances + 1
            for name, goal, work in rows(root, instances):
                milliseconds = best(work)
                wanted = f"  goal {goal:.0f}{'' if milliseconds <= goal else '  MISSED'}" if goal else ""
                print(f"  {name:34} {milliseconds:8.1f} ms{wanted}")


if __name__ == "__main__":
    main()
