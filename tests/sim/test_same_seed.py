"""One seed, one history: whatever the process, the directory, the hash seed of Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def trace(seed: int, hash_seed: str) -> str:
    """Tell the longer story in a process of its own, with a fault in it, and give what was printed."""
    command = [sys.executable, "-m", "gnt.sim", "run", "tests/scenarios/guest_life.txt", "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--strike", "commit 20: master dies after"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    """To the byte; so a seed is a bug report."""
    first, second = trace(7, "1"), trace(7, "4711")
    assert first == second
    assert len(first.splitlines()) > 200


def test_another_seed_gives_another_trace() -> None:
    """Or there would be no point in trying many."""
    assert trace(7, "1") != trace(8, "1")
