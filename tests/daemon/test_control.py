"""Starting the daemons of a node."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import cast

import pytest

from gnt.daemon.control import ALL, MASTERD, NODED, RAPI, DaemonControl
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


class Prepared(DaemonControl):
    """Lets a test see the programs that were prepared."""

    @property
    def programs(self) -> list[int]:
        """Give their processes."""
        return [program.pid for program in self._prepared.values()]


def test_a_daemon_that_was_prepared_does_nothing_until_it_is_started(tmp_path: Path) -> None:
    """It is the daemon's own program: started where no cluster is, it says so, as it does when it was not prepared."""
    control = Prepared(Layout(tmp_path), cast("dict[str, str]", os.environ))
    control.prepare(NODED)
    control.prepare(NODED)
    assert len(control.programs) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Failed, match="gnt-noded does not start: ") as prepared:
        control.start(NODED)
    assert control.programs == []
    with pytest.raises(Failed) as usual:
        control.start(NODED)
    assert prepared.value.text == usual.value.text


def test_what_was_prepared_and_is_not_needed_ends(tmp_path: Path) -> None:
    """Whoever prepared it need not know how far it has come."""
    control = Prepared(Layout(tmp_path), cast("dict[str, str]", os.environ))
    control.prepare(NODED)
    (pid,) = control.programs
    control.dismiss()
    assert not Path(f"/proc/{pid}").exists()
    assert control.programs == []
