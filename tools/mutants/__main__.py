"""`python -m tools.mutants [NAME...]`: put each fault into a copy of the code, and demand that the simulator finds it.

First the searches are made on the code as it is, where they must find nothing. Exit status 1 if a fault is not found,
if it is found for another reason than its own, or if a search goes wrong without a fault.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tools.mutants.faults import MUTANTS, Mutant

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 600.0
"""Seconds for one search."""


def mutated(mutant: Mutant, directory: Path) -> None:
    """Write the code with a fault into `directory`. Raises `ValueError` where it does not fit the code any more."""
    for edit in mutant.edits:
        path = directory / edit.path
        text = path.read_text(encoding="utf-8")
        if text.count(edit.before) != 1:
            raise ValueError(f"{mutant.name}: what it replaces stands {text.count(edit.before)} times in {edit.path}")
        path.write_text(text.replace(edit.before, edit.after), encoding="utf-8")


def copy_of_the_code(directory: Path) -> None:
    """Put the code and the stories into `directory`; what is compiled already holds for all but the changed modules."""
    shutil.copytree(ROOT / "gnt", directory / "gnt")
    shutil.copytree(ROOT / "tests/scenarios", directory / "tests/scenarios")


def search(words: Sequence[str], directory: Path) -> tuple[int, str]:
    """Search with the code in `directory`; gives the exit status and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "gnt.sim", *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout


def healthy(words: tuple[str, ...]) -> str:
    """Search in the code as it is; gives what is wrong, empty if nothing is."""
    with tempfile.TemporaryDirectory(prefix="gnt-mutant-") as name:
        copy_of_the_code(Path(name))
        status, said = search(words, Path(name))
    return "" if status == 0 else f"{' '.join(words)}: goes wrong without a fault:\n{said[-2000:]}"


def hunted(mutant: Mutant) -> tuple[str, float]:
    """Search for a fault; gives what is wrong with the search, empty if the fault is found, and the seconds it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gnt-mutant-") as name:
        copy_of_the_code(Path(name))
        mutated(mutant, Path(name))
        status, said = search(mutant.search, Path(name))
    seconds = time.monotonic() - began
    if status == 0:
        return "NOT FOUND", seconds
    if mutant.found not in said:
        return f"found for another reason than {mutant.found!r}:\n{said[-2000:]}", seconds
    return "", seconds


def main(names: Iterable[str]) -> int:
    """Hunt all, or those that are named; gives the exit status."""
    wanted = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    status = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for problem in pool.map(healthy, sorted({mutant.search for mutant in wanted})):
            if problem:
                print(problem, flush=True)
                status = 1
        for mutant, (problem, seconds) in zip(wanted, pool.map(hunted, wanted), strict=True):
            print(f"{mutant.name:<44} {problem or 'found'}  ({seconds:.0f} s)", flush=True)
            status |= bool(problem)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
