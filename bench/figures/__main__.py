"""The figures of the job engine and the store, each beside its goal: `python -m bench.figures [--short] [--page FILE]`.

Each run makes clusters of real daemons anew, one of one node and one of three master candidates, loads them, and loads
two more that hold many instances and archived jobs. The median of the runs is printed; what each found goes to
`.cache/bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.figures import load, machine, table, waking
from bench.figures.filling import fill
from bench.figures.load import Figures
from gnt.opcodes.instance_power import InstanceStartup
from tests.live import Live, init, trees

RAW: Final = Path(".cache/bench")
FIRST = False
"""Whether what is measured runs before everything else on the machine (`--first`)."""

DAEMONS: Final = ("gnt-noded", "gnt-masterd")
VERIFIED: Final = 1000

OF_THE_MACHINE: Final = ("one.fsync", "one.wake_", "three.pb_")
"""What begins so says nothing of us."""


class Sizes:
    """How much of everything."""

    def __init__(self, *, short: bool, instances: int, archived: int, in_sequence: int) -> None:
        self.instances = instances
        self.archived = archived
        self.at_once = 1000
        self.one_by_one = 50 if short else 200
        self.in_sequence = in_sequence
        self.in_sequence_big = min(in_sequence, 2_000)


# Clusters


@contextmanager
def measuring(live: Live) -> Iterator[None]:
    """Give what is measured the machine, if that was asked for."""
    if not FIRST:
        yield
        return
    machine.before_others(live)
    try:
        yield
    finally:
        machine.like_others()


@contextmanager
def cluster(nodes: int, found: Figures | None = None) -> Iterator[Live]:
    """Give a running cluster all of whose nodes are master candidates; `found` gets how long its making took."""
    with trees(nodes) as live:
        with measuring(live) if found is not None else nullcontext():
            took = load.timed(lambda: init(live))
            others = live.names[1:]
            adding = [load.timed(partial(live.command, "node1", "gnt-node", "add", node)) for node in others]
        if found is not None:
            found |= {"init_s": took, "node_add_s": min(adding)} if adding else {"init_s": took}
        yield live


def stop(live: Live) -> None:
    """End the daemons that write the stores."""
    for node in live.names:
        for daemon in ("gnt-rapi", "gnt-masterd", "gnt-noded"):
            if live.daemons(node).pid(daemon) is not None:
                live.kill(node, daemon, signal.SIGTERM)


def start(live: Live) -> float:
    """Start the daemons; give how long the master daemon took until it answered."""
    for node in live.names:
        live.start(node, "gnt-noded")
    return load.timed(lambda: live.start("node1", "gnt-masterd"))


def filled(live: Live, **contents: int) -> None:
    """Put instances and jobs into the stores of a cluster."""
    stop(live)
    fill([live.layout(node).config_db for node in live.names], **contents)
    start(live)


# Runs


def under_load(live: Live, sizes: Sizes, *, big: bool) -> Figures:
    """Load a master in every way, once it is at rest: what it does after a start is measured by itself."""
    machine.wait_for_rest(live.pid("node1", "gnt-masterd"))
    found = load.many_at_once(live, sizes.at_once)
    load.tidy(live)
    found |= load.one_by_one(live, sizes.one_by_one)
    found |= load.in_sequence(live, sizes.in_sequence_big if big else sizes.in_sequence)
    load.tidy(live)
    return found


def fail_over(live: Live) -> float:
    """Make node2 the master; how long the command takes that an administrator types there."""
    return load.timed(lambda: live.command("node2", "gnt-cluster", "master-failover"))


def one_node(run: int, sizes: Sizes) -> Figures:
    """Measure on a new cluster of one node."""
    with cluster(1) as live, measuring(live):
        found = under_load(live, sizes, big=False)
        found |= machine.fsyncs(RAW)
        found |= waking.figures()
        lives = [load.life_of_an_instance(live, f"bench{run}-{turn}") for turn in range(5)]
        return found | {name: sorted(life[name] for life in lives)[2] for name in lives[0]}


def three_nodes(_run: int, sizes: Sizes) -> Figures:
    """Measure on a new cluster of three candidates, and let another one become its master."""
    found: Figures = {}
    with cluster(3, found) as live, measuring(live):
        found |= under_load(live, sizes, big=False)
        calls = machine.pb_calls(live, "node2")
        found |= {"pb_one": calls["one"], "pb_several": calls["several"]}
        found["failover_s"] = fail_over(live)
    return found


def again(live: Live, _run: int, sizes: Sizes) -> Figures:
    """Load a big cluster, and start its master anew."""
    with measuring(live):
        found = under_load(live, sizes, big=True)
        found["memory_mib"] = machine.resident_mib(live.pid("node1", "gnt-masterd"))
        return found | started_anew(live)


def started_anew(live: Live) -> Figures:
    """Start a master anew: how long that takes, how much of it on a processor."""
    live.kill("node1", "gnt-masterd", signal.SIGTERM)
    # The program that becomes the daemon is a child of ours until it lets go.
    before = os.times()
    took = load.timed(lambda: live.start("node1", "gnt-masterd"))
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return {"ready_s": took, "ready_cpu_s": spent + machine.cpu_seconds(live.pid("node1", "gnt-masterd"))}


def ready(live: Live, _run: int, _sizes: Sizes) -> Figures:
    """Start a master anew."""
    with measuring(live):
        found = {f"{name}_live": value for name, value in started_anew(live).items()}
    return found | {"memory_live_mib": machine.resident_mib(live.pid("node1", "gnt-masterd"))}


def verify(live: Live, _run: int, _sizes: Sizes) -> Figures:
    """Verify a cluster whose instances all run."""
    with measuring(live):
        return {"verify_s": load.timed(lambda: live.command("node1", "gnt-cluster", "verify"))}


def all_running(live: Live) -> None:
    """Fill a cluster with instances and start them all."""
    filled(live, instances=VERIFIED)
    with load.client_of(live) as client:
        rows = client.query("instance", ["name"]).data
        names = [cells[0][1] for cells in rows]
        ops = [[InstanceStartup(instance_name=name, force=True)] for name in names]
        load.wait_all(client, [int(number) for _, number in client.submit_many_jobs(ops)])


class Bench:
    """All that is measured, run by run."""

    def __init__(self, sizes: Sizes, only: str, stack: ExitStack) -> None:
        self._sizes = sizes
        self._only = only
        self._stack = stack
        self._kept: dict[str, Live] = {}

    def run(self, number: int) -> Figures:
        """Measure everything once."""
        found: Figures = {"machine.load": os.getloadavg()[0]}
        RAW.mkdir(parents=True, exist_ok=True)
        sizes = self._sizes
        every: tuple[tuple[str, Callable[[], Figures]], ...] = (
            ("one.", lambda: one_node(number, sizes)),
            ("big.one.", lambda: again(self._big(1), number, sizes)),
            ("three.", lambda: three_nodes(number, sizes)),
            ("big.three.", lambda: again(self._big(3), number, sizes)),
            ("big.one.", lambda: ready(self._live_jobs(), number, sizes)),
            ("verify.", lambda: verify(self._verified(), number, sizes)),
        )
        for name, measured in every:
            if self._only in name:
                found |= {name + key: value for key, value in measured().items()}
                print(f"    run {number}: {name} done, {time.strftime('%H:%M:%S')}", file=sys.stderr)
        for name in [name for name in found if name.startswith(OF_THE_MACHINE)]:
            found[f"machine.{name.partition('.')[2]}"] = found.pop(name)
        return found

    def _keep(self, name: str, nodes: int, prepare: Callable[[Live], None]) -> Live:
        if name not in self._kept:
            live = self._stack.enter_context(cluster(nodes))
            prepare(live)
            self._kept[name] = live
        return self._kept[name]

    def _big(self, nodes: int) -> Live:
        contents = {"instances": self._sizes.instances, "archived": self._sizes.archived}
        return self._keep(f"big{nodes}", nodes, lambda live: filled(live, **contents))

    def _live_jobs(self) -> Live:
        contents = {"instances": self._sizes.instances, "ended": self._sizes.archived}
        return self._keep("live", 1, lambda live: filled(live, **contents))

    def _verified(self) -> Live:
        return self._keep("verify", 3, all_running)


# What is told


def facts() -> str:
    """Describe the machine in neutral words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    software = f"{platform.system()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores that others share, {memory:.0f} GiB, {software}"


def commit() -> str:
    """Name the version that was measured."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


PAGE: Final = """# Figures

What the job engine and the store do, beside what was promised. Made by

    {command}

on {date}, version {commit}: {facts}. {runs} runs, median of each figure; clusters of real daemons on loopback
addresses, whose disks are one, with the client on the same cores; every acknowledged change is on the disk of a
majority of the candidates (`synchronous = FULL`), which are all on this disk.

{table}

"""


def page(path: Path, cells: list[tuple[str, ...]], runs: int) -> None:
    """Write the table into a page, and leave what stands behind it there."""
    old = path.read_text() if path.exists() else ""
    made = PAGE.format(
        command="python -m bench.figures " + " ".join(sys.argv[1:]),
        date=time.strftime("%Y-%m-%d"),
        commit=commit(),
        facts=facts(),
        runs=runs,
        table=table.markdown(cells),
    )
    _, mark, notes = old.partition("## Notes\n")
    path.write_text(made + (mark + notes if mark else ""))


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.figures", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="one run of small sizes: a few minutes")
    parser.add_argument("--runs", type=int, help="how many runs (default: 7; short: 1)")
    parser.add_argument("--instances", type=int, help="instances of the big clusters (default: 10000; short: 2000)")
    parser.add_argument(
        "--archived", type=int, help="archived jobs of the big clusters (default: 100000; short: 20000)"
    )
    parser.add_argument("--sequence", type=int, help="jobs submitted one after the other (default: 10000; short: 500)")
    parser.add_argument("--only", default="", help="only clusters whose name has this in it: one, three, big, verify")
    parser.add_argument("--page", type=Path, help="write the table into this page too")
    parser.add_argument("--from", dest="raw", type=Path, help="measure nothing: show what a file of raw data holds")
    parser.add_argument(
        "--first",
        action="store_true",
        help="let what is measured run before everything else on the machine, for one that others load; needs root",
    )
    options: Any = parser.parse_args()
    global FIRST  # noqa: PLW0603  (an option of the whole program)
    FIRST = options.first
    if options.raw is not None:
        kept = json.loads(options.raw.read_text())
        runs, contents = kept["runs"], kept["sizes"]
    else:
        short = options.short
        sizes = Sizes(
            short=short,
            instances=options.instances or (2_000 if short else 10_000),
            archived=options.archived or (20_000 if short else 100_000),
            in_sequence=options.sequence or (500 if short else 10_000),
        )
        contents = {"instances": sizes.instances, "jobs": sizes.archived}
        path = RAW / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
        runs = []
        with ExitStack() as stack:
            bench = Bench(sizes, options.only, stack)
            for number in range(1, (options.runs or (1 if short else 7)) + 1):
                runs.append(bench.run(number))
                path.write_text(
                    json.dumps({"facts": facts(), "commit": commit(), "sizes": contents, "runs": runs}, indent=1)
                )
        print(f"raw data: {path}")
    cells = table.lines(runs, contents)
    print(table.text(cells))
    if options.page is not None:
        page(options.page, cells, len(runs))


if __name__ == "__main__":
    main()
