"""The table: what was promised, what the original does on two quiet cores, what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Runs = Sequence[Mapping[str, float]]
"""What each run found, by the names of the figures; a run may lack some."""


@dataclass(frozen=True)
class Row:
    """One figure: its name in the raw data, the goal, in words what the original does. `more`: more is better.

    `fsyncs`, `wakings`: how many it waits for, one after the other, at least; they alone take so long on this machine.
    """

    key: str
    what: str
    unit: str
    goal: float
    original: str = ""
    more: bool = False
    fsyncs: int = 0
    wakings: int = 0
    slowest: bool = False

    def floor(self, runs: Runs) -> str:
        """Say what the machine alone takes of it."""
        one = median(runs, "machine.fsync_p99_ms" if self.slowest else "machine.fsync_ms")
        if not self.fsyncs or one is None:
            return ""
        # There and back are two. The slowest hundredth has one slow sync, or one slow waking, but hardly all of them.
        waking = (median(runs, "machine.wake_process_ms") or 0.0) / 2
        of_what = [
            _counted(self.fsyncs, "fsync"),
            *([_counted(self.wakings, "waking")] if self.wakings and waking else []),
        ]
        return f"{_number(one * self.fsyncs + waking * self.wakings)} {self.unit}: {', '.join(of_what)}"

    def met(self, value: float) -> bool:
        """Say whether a value is as good as was promised."""
        return value >= self.goal if self.more else value <= self.goal


LOAD: Final = (
    Row(
        "one.jobs_per_second",
        "no-op jobs/s, 1,000 submitted at once, one node",
        "/s",
        2500,
        "4.1 (50 at once)",
        more=True,
    ),
    Row(
        "three.jobs_per_second", "the same, three candidates on this machine", "/s", 1000, "1.6 (50 at once)", more=True
    ),
    Row("one.job_ms", "one no-op job, submit to final, median", "ms", 4, "228 to 323", fsyncs=2, wakings=8),
    Row("one.submit_p99_ms", "SubmitJob acknowledged, p99, one node", "ms", 2, fsyncs=1, wakings=4, slowest=True),
    Row("three.submit_p99_ms", "the same, three candidates", "ms", 5, fsyncs=1, wakings=6, slowest=True),
    Row("one.cpu_ms", "processor time of masterd for a no-op job", "ms", 0.4, "300"),
)
BIG: Final = "big."
AGAINST_EMPTY: Final = 1.2

REST: Final = (
    Row("one.add_ms", "instance add (fake, diskless)", "ms", 25, "838", fsyncs=3),
    Row("one.start_ms", "instance start", "ms", 25, "591", fsyncs=6),
    Row("one.stop_ms", "instance stop", "ms", 25, "534", fsyncs=5),
    Row("one.remove_ms", "instance remove", "ms", 25, "523", fsyncs=5),
    Row("three.init_s", "cluster init", "s", 2, "7.9"),
    Row("three.node_add_s", "node add", "s", 1.5, "7"),
    Row("three.failover_s", "masterfailover", "s", 3, "15 to 35"),
    Row("verify.verify_s", "cluster verify, 1,000 instances", "s", 0.8, "8.4"),
    Row("big.one.ready_s", "masterd ready, {jobs:,} jobs and {instances:,} instances", "s", 2),
    Row("big.one.ready_cpu_s", "processor time of that", "s", 2),
    Row("big.one.ready_s_live", "the same, none of the jobs archived", "s", 2),
    Row("big.one.ready_cpu_s_live", "processor time of that", "s", 2),
    Row(
        "big.one.memory_mib",
        "masterd memory, {jobs:,} archived jobs and {instances:,} instances",
        "MiB",
        150,
        "313 (1,000 instances)",
    ),
)
MACHINE: Final = (
    Row("machine.fsync", "fsync of 4 KiB, one after the other", "/s", 0, more=True),
    Row("machine.fsync_ms", "one fsync of 4 KiB, median", "ms", 0),
    Row("machine.fsync_p99_ms", "one fsync of 4 KiB, p99", "ms", 0),
    Row("machine.wake_process_ms", "a byte to another process that sleeps, and back, median", "ms", 0),
    Row("machine.wake_process_p99_ms", "the same, p99", "ms", 0),
    Row("machine.wake_thread_ms", "a byte to another thread that sleeps, and back, median", "ms", 0),
    Row("machine.wake_thread_p99_ms", "the same, p99", "ms", 0),
    Row("machine.pb_one", "calls to a node (PB over TLS), one after the other", "/s", 0, more=True),
    Row("machine.pb_several", "the same, 8 at once", "/s", 0, more=True),
    Row("machine.load", "load of the machine before the run, by others", "", 0),
)


def against_empty() -> list[Row]:
    """Give the rows that compare a big cluster with an empty one."""
    return [Row(f"ratio.{row.key}", f"{row.what}", "x", AGAINST_EMPTY) for row in LOAD]


def with_ratios(run: Mapping[str, float]) -> dict[str, float]:
    """Give a run with what its big cluster needed in times of what its empty one did."""
    found = dict(run)
    for row in LOAD:
        empty, big = run.get(row.key), run.get(BIG + row.key)
        if empty and big:
            found[f"ratio.{row.key}"] = empty / big if row.more else big / empty
    return found


def median(runs: Runs, key: str) -> float | None:
    """Give the median of a figure; None if no run has it."""
    values = [run[key] for run in runs if key in run]
    return statistics.median(values) if values else None


def lines(runs: Runs, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Give the cells of the table, row by row, the names of the columns first."""
    rows: list[tuple[str, ...]] = [("what", "median", "lowest to highest", "goal", "", "the machine alone", "original")]
    runs = [with_ratios(run) for run in runs]
    for title, some in (
        ("", [*LOAD, *REST]),
        ("{instances:,} instances and {jobs:,} archived jobs, in times of empty:", against_empty()),
        ("this machine:", list(MACHINE)),
    ):
        if title:
            rows.append((title.format(**sizes), "", "", "", "", "", ""))
        rows += [_line(row, runs, sizes) for row in some]
    return rows


def _line(row: Row, runs: Runs, sizes: Mapping[str, int]) -> tuple[str, ...]:
    what = row.what.format(**sizes)
    middle = median(runs, row.key)
    if middle is None:
        return (what, "-", "", _goal(row), "not measured", "", row.original)
    values = [run[row.key] for run in runs if row.key in run]
    spread = f"{_number(min(values))} to {_number(max(values))}"
    verdict = "" if not row.goal else "met" if row.met(middle) else "NOT MET"
    measured = f"{_number(middle)} {row.unit}".strip()
    return (what, measured, spread, _goal(row), verdict, row.floor(runs), row.original)


def _goal(row: Row) -> str:
    if not row.goal:
        return ""
    return f"{'at least' if row.more else 'at most'} {_number(row.goal)} {row.unit}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def text(cells: Sequence[tuple[str, ...]]) -> str:
    """Lay the table out for a terminal."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def markdown(cells: Sequence[tuple[str, ...]]) -> str:
    """Lay the table out for a page."""
    head, *rest = cells
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, tuple("---" for _ in head), *rest))
