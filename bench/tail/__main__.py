"""Where the slowest submissions spend their time: `python -m bench.tail [--nodes 3] [--count 10000] [--big]`.

A cluster as in `bench.figures`, whose daemons note what they do (`bench/tail/noting`). Jobs are submitted one after
the other; of the slowest hundredth it is told what was going on meanwhile, in all daemons, and how that differs from
the others. The notes cost some hundredths of the time themselves.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from bench.figures import load, machine
from bench.figures.__main__ import cluster, filled, stop
from tests.live import Live, wait_until

Note = tuple[int, int, str]
Span = tuple[int, int]

NOTING = Path(__file__).parent / "noting"
WIDEST = 200_000_000
"""Nothing that is looked for takes longer (nanoseconds)."""


@contextmanager
def noting(directory: str) -> Iterator[None]:
    """Have the daemons that are started meanwhile note what they do."""
    environ = Live.environ

    def noted(live: Live, node: str) -> dict[str, str]:
        return {**environ(live, node), "PYTHONPATH": str(NOTING), "GNT_NOTES": directory}

    with patch.object(Live, "environ", noted):
        yield


def submitted(live: Live, count: int) -> list[Span]:
    """Submit jobs one after the other; give when each was begun and acknowledged."""
    spans = []
    with load.client_of(live) as client:
        for _ in range(count):
            begin = time.monotonic_ns()
            number = client.submit_job([load.NOTHING])
            spans.append((begin, time.monotonic_ns()))
        load.wait(client, number)
    return spans


def read(directory: str) -> dict[str, list[Note]]:
    """Give what each daemon has noted, by its name and node, in order."""
    found: dict[str, list[Note]] = defaultdict(list)
    for path in sorted(Path(directory).glob("*.json")):
        daemon, node, _ = path.stem.split("-")
        found[f"{node} {daemon}"] += [tuple(json.loads(line)) for line in path.read_text().splitlines()]
    return {name: sorted(notes) for name, notes in found.items()}


def meanwhile(notes: list[Note], begins: list[int], span: Span) -> dict[str, float]:
    """Give the milliseconds of a span during which each of these went on."""
    begin, end = span
    found: dict[str, float] = defaultdict(float)
    for at in range(bisect_left(begins, begin - WIDEST), len(notes)):
        first, last, what = notes[at]
        if first >= end:
            break
        if last > begin:
            found[what.partition(" (")[0]] += (min(last, end) - max(first, begin)) / 1e6
    return found


def table(spans: list[Span], notes: dict[str, list[Note]], *, longest: int) -> None:
    """Print what the slowest hundredth has more of than the others, and the slowest of all one by one."""
    spans = sorted(spans, key=lambda span: span[1] - span[0])
    cut = int(len(spans) * 0.99)
    took = [(end - begin) / 1e6 for begin, end in spans]
    print(
        f"{len(spans)} submissions: median {took[len(took) // 2]:.2f} ms, p99 {took[cut]:.2f}, longest {took[-1]:.2f}"
    )
    begins = {name: [note[0] for note in some] for name, some in notes.items()}
    usual, slow = spans[len(spans) // 4 : len(spans) * 3 // 4 : 7], spans[cut:]

    def each(some: list[Span]) -> list[dict[str, float]]:
        return [
            {f"{name}: {what}": ms for name in notes for what, ms in meanwhile(notes[name], begins[name], span).items()}
            for span in some
        ]

    of_usual, of_slow = each(usual), each(slow)
    names = sorted({what for one in (*of_usual, *of_slow) for what in one})
    print(f"{'what, in ms':58}{'usual':>8}{'slow':>8}{'in % of the slow':>18}")
    for what in names:
        mean = [statistics.fmean(one.get(what, 0.0) for one in some) for some in (of_usual, of_slow)]
        share = sum(what in one for one in of_slow) / len(of_slow)
        print(f"{what:58}{mean[0]:8.2f}{mean[1]:8.2f}{share:18.0%}")
    for span, one in list(zip(slow, of_slow, strict=True))[-longest:]:
        print(
            f"{(span[1] - span[0]) / 1e6:.2f} ms: " + ", ".join(f"{what} {ms:.2f}" for what, ms in sorted(one.items()))
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.tail", description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1, help="master candidates (default: 1)")
    parser.add_argument("--count", type=int, default=10_000, help="jobs (default: 10000)")
    parser.add_argument("--instances", type=int, default=0, help="instances that there are")
    parser.add_argument("--archived", type=int, default=0, help="archived jobs that there are")
    parser.add_argument("--first", action="store_true", help="as in bench.figures")
    parser.add_argument("--longest", type=int, default=5, help="of how many everything is told (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, noting(directory), cluster(options.nodes) as live:
        if options.instances or options.archived:
            filled(live, instances=options.instances, archived=options.archived)
        machine.wait_for_rest(live.pid("node1", "gnt-masterd"))
        load.many_at_once(live, 1000)
        load.tidy(live)
        if options.first:
            machine.before_others(live)
        spans = submitted(live, options.count)
        daemons = live.processes()
        stop(live)
        # The last thing that they do.
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in daemons), "the daemons do not end")
        table(spans, read(directory), longest=options.longest)


if __name__ == "__main__":
    main()
