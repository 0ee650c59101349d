"""The machines themselves: what is proved on them is worth what they are."""

from __future__ import annotations

import pytest

from gnt.wire.calls import NodeInfo, StorageUnit
from tests.real_disks.cluster import GROUP, RealCluster


def test_the_master_asks_a_machine_for_its_volume_group(real: RealCluster) -> None:
    """Our node daemon runs in the machine, and what it tells comes from the LVM there."""
    facts = real.ask("node2", NodeInfo(storage=[StorageUnit(kind="lvm-vg", key=GROUP)], hypervisors={}))
    [group] = facts.storage
    assert facts.problems == {}
    assert group.size == group.free
    assert group.size is not None
    assert 24000 < group.size < 24 << 10


@pytest.mark.long_disks
def test_a_machine_that_loses_its_power_keeps_its_disk(real: RealCluster) -> None:
    """What LVM wrote is there after the next boot, and the node daemon is one of the cluster again."""
    machine = real.machines["node2"]
    before = machine.shell("cat /proc/sys/kernel/random/boot_id")
    machine.shell(f"lvcreate -qq -Wn -L 8m -n kept {GROUP}")
    machine.lose_power()
    assert not machine.is_on
    real.reboot("node2")
    real.wait_for_noded("node2")
    assert machine.shell("cat /proc/sys/kernel/random/boot_id") != before
    assert machine.shell("lvs --noheadings -o lv_name,lv_size --units m").split() == ["kept", "8.00m"]


@pytest.mark.long_disks
def test_cables_can_be_pulled_out_one_by_one(real: RealCluster) -> None:
    """Without the mirrors' cable the calls go on."""
    one, other = real.machines["node2"], real.machines["node3"]
    ping = "busybox ping -c 1 -W 5 {} >/dev/null && echo there || echo away"
    assert one.shell(ping.format(other.mirror_address)).strip() == "there"
    with one.without_mirrors():
        assert one.shell(ping.format(other.mirror_address).replace("-W 5", "-W 1")).strip() == "away"
        assert one.shell(ping.format(other.address)).strip() == "there"
    assert one.shell(ping.format(other.mirror_address)).strip() == "there"
