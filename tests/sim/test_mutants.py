"""The faults of `make mutants` still fit the code that they are put into."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutants.__main__ import copy_of_the_code, mutated
from tools.mutants.faults import MUTANTS, Edit, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_fits(mutant: Mutant, tmp_path: Path) -> None:
    """What it replaces is there once, and what comes of it is Python."""
    copy_of_the_code(tmp_path)
    mutated(mutant, tmp_path)
    for edit in mutant.edits:
        compile((tmp_path / edit.path).read_text(encoding="utf-8"), edit.path, "exec")


def test_a_fault_that_does_not_fit_is_named(tmp_path: Path) -> None:
    """It is not passed over in silence."""
    copy_of_the_code(tmp_path)
    lost = Mutant("lost", (Edit("gnt/masterd/engine.py", "no such line", ""),), ("run",), "")
    with pytest.raises(ValueError, match="lost: what it replaces stands 0 times"):
        mutated(lost, tmp_path)
