"""Disks that are grown, added, converted, renamed and removed, while anything may fail at any point."""

from __future__ import annotations

from gnt.sim.exhaust import choose, sample
from tests.sim.test_stories import all_is_well, counted


def test_disks_live_through_any_fault() -> None:
    """No disk without an owner, none that is lost, one writer: a part of all faults; `make simulate` has the rest."""
    all_is_well("disk_life", sample(choose(counted("disk_life")), 12))
