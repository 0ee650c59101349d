"""Instances on real volumes and mirrors, by the commands that administrators type; the hypervisor is `fake`."""

from __future__ import annotations

import pytest

from tests.real_disks.cluster import RealCluster
from tests.real_disks.commands import ADD, READ, WRITE, device, gnt

pytestmark = pytest.mark.long_disks


def test_the_life_of_a_mirrored_instance(real: RealCluster) -> None:
    """Added, written to, failed over, both sides renewed, its secondary moved, grown, migrated: the data stays."""
    gnt(real, "gnt-instance", "add", "-t", "drbd", "-n", "node2:node3", "--disk", "0:size=64m", *ADD, "web1")
    one, other = real.machines["node2"], real.machines["node3"]
    gnt(real, "gnt-instance", "startup", "web1")
    first = device(real, "web1", "node2")
    assert first.startswith("/dev/drbd")
    written = one.shell(WRITE.format(first))

    gnt(real, "gnt-instance", "failover", "-f", "web1")
    second = device(real, "web1", "node3")
    assert other.shell(READ.format(second)) == written
    assert device(real, "web1", "node2") == ""

    gnt(real, "gnt-instance", "replace-disks", "-s", "web1")
    gnt(real, "gnt-instance", "replace-disks", "-p", "web1")
    assert other.shell(READ.format(second)) == written
    gnt(real, "gnt-instance", "replace-disks", "-n", "node4", "web1")
    assert one.shell("lvs --noheadings") == ""
    gnt(real, "gnt-instance", "grow-disk", "--ignore-ipolicy", "web1", "0", "32m")
    assert other.shell(f"blockdev --getsize64 {second}").strip() == str(96 << 20)

    gnt(real, "gnt-instance", "migrate", "-f", "web1")
    third = device(real, "web1", "node4")
    last = real.machines["node4"]
    assert last.shell(READ.format(third)) == written
    assert "ro:Primary/Secondary ds:UpToDate/UpToDate" in last.shell("cat /proc/drbd")

    gnt(real, "gnt-instance", "remove", "-f", "web1")
    assert [machine.shell("lvs --noheadings; cat /proc/drbd | tail -n +3") for machine in real.machines.values()] == [
        ""
    ] * 3
