"""Runs by chance: one seed decides what is done and what befalls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import gnt.sim.operations.all  # noqa: F401
from gnt.sim.faults import Kind
from gnt.sim.mishaps import MISHAPS
from gnt.sim.operations import OPERATIONS
from gnt.sim.seeds import run_seeds

CHECKOUT = Path(__file__).resolve().parents[2]
SEEDS = range(1, 41)


def story(seed: int, hash_seed: str) -> subprocess.CompletedProcess[str]:
    """Have the story of a seed told in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gnt.sim", "seed", str(seed)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_seed_tells_the_same_story_every_time() -> None:
    """To the byte, with nothing in it of the process or the machine that tells it; and all went well."""
    first, second = story(9, "1"), story(9, "4711")
    assert first.stdout == second.stdout
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-2000:]
    assert str(CHECKOUT) not in first.stdout
    assert "/dev/shm" not in first.stdout  # noqa: S108
    assert len(first.stdout.splitlines()) > 500


def test_runs_by_chance_go_well(record_property: Callable[[str, object], None]) -> None:
    """A hundred operations and twenty faults in each; `make simulate SEEDS=n` makes as many as one likes."""
    outcomes = list(run_seeds(SEEDS, processes=2))
    assert not [(one.seed, one.problems) for one in outcomes if one.problems]
    assert len(outcomes) == len(SEEDS)
    total = sum((one.happened for one in outcomes), Counter[str]())
    record_property(
        "simulated",
        f"{len(outcomes)} seeds: {sum(sum(one.operations.values()) for one in outcomes)} operations, {total['fault']}"
        f" faults, {total[Kind.COMMIT]} commits, {total[Kind.SEND]} calls",
    )
    assert all(sum(one.operations.values()) >= 100 for one in outcomes)
    assert all(one.happened["fault"] >= 20 for one in outcomes)


def test_all_kinds_of_operations_and_mishaps_are_in_the_tables() -> None:
    """What is not in them never happens."""
    assert {"instance add", "instance migrate", "node remove", "master failover", "job kill"} <= set(OPERATIONS)
    assert {"a disk is full", "a clock jumps", "a machine is cut off", "a way goes silent"} <= set(MISHAPS)
