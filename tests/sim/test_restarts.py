"""Which daemons of a simulated machine are started again."""

from __future__ import annotations

from pathlib import Path

from gnt.sim.machine import MASTERD
from gnt.sim.world import SimWorld


def test_a_master_daemon_without_a_store_is_not_started_for_ever(tmp_path: Path) -> None:
    """A node that was the master, and is no candidate any more, has no store: its master daemon is given up."""
    world = SimWorld(1, tmp_path / "world", names=("node1",))
    node = world.nodes["node1"]
    node.wanted.add(MASTERD)
    node.start_masterd()
    world.clock.run_for(10.0)
    starts = [line for line in world.trace if line.endswith("node1 masterd starts")]
    assert MASTERD not in node.wanted
    assert len(starts) == 1
    assert world.problems == []
    world.close()
