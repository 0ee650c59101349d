"""The same on ordinary kernels, in emulated machines: what user-mode-linux shows is not of its own making."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real_disks.cluster import RealCluster, real_cluster
from tests.real_disks.commands import (
    ADD,
    ADD_DRBD,
    IN_STEP,
    device,
    gnt,
    nothing_is_left,
    read,
    roles,
    until_true,
    write,
)
from tests.real_disks.emulated import Emulated, why_not_emulated
from tests.real_disks.room import why_not

pytestmark = pytest.mark.long_disks


@pytest.fixture(scope="module")
def emulated() -> Iterator[RealCluster]:
    """Give a cluster with two emulated machines."""
    reason = why_not() or why_not_emulated()
    if reason:
        pytest.skip(f"no emulated machines with real disks: {reason}")
    with real_cluster(2, Emulated) as cluster:
        yield cluster


def test_a_mirror_lives_through_failover_and_the_loss_of_power(emulated: RealCluster) -> None:
    """Made, written to, failed over, its secondary cut off and back: the data is on both sides, and then nowhere."""
    real = emulated
    gnt(real, *ADD_DRBD, "--disk", "0:size=16m", *ADD, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    written = write(real, "node2", device(real, "web1", "node2"))
    gnt(real, "gnt-instance", "failover", "-f", "web1")
    assert read(real, "node3", device(real, "web1", "node3")) == written
    assert device(real, "web1", "node2") == ""
    real.machines["node2"].lose_power()
    written = write(real, "node3", device(real, "web1", "node3"))
    real.reboot("node2")
    real.wait_for_noded("node2")
    gnt(real, "gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    assert roles(real, "node3") == [IN_STEP]
    gnt(real, "gnt-instance", "migrate", "-f", "web1")
    assert read(real, "node2", device(real, "web1", "node2")) == written
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    until_true(real)
    nothing_is_left(real)
