"""Starting the daemons of a node."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gnt.daemon.control import ALL, MASTERD, RAPI, DaemonControl
from gnt.model.errors import Failed
from gnt.model.layout import Layout


class Starting(DaemonControl):
    """Starts nothing; a start ends when all have begun, and those named in `failing` fail."""

    def __init__(self, root: Path, *failing: str) -> None:
        super().__init__(Layout(root), {})
        self.failing = failing
        self.begun = threading.Barrier(len(ALL), timeout=20)
        self.ended: set[str] = set()

    def start(self, name: str) -> None:
        """Wait for the others to begin."""
        self.begun.wait()
        self.ended.add(name)
        if name in self.failing:
            raise Failed(f"{name} does not start")


def test_all_daemons_start_side_by_side(tmp_path: Path) -> None:
    """None waits for another one's start to end."""
    control = Starting(tmp_path)
    control.start_all()
    assert control.ended == set(ALL)


def test_the_first_that_does_not_start_is_told_of(tmp_path: Path) -> None:
    """First in their order; the others have had their try, so whoever undoes it meets no start under way."""
    control = Starting(tmp_path, RAPI, MASTERD)
    with pytest.raises(Failed, match=f"{MASTERD} does not start"):
        control.start_all()
    assert control.ended == set(ALL)
