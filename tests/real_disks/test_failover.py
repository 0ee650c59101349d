"""Which side may write: a silent primary node, one that is known to be off, a target without memory, a split brain."""

from __future__ import annotations

import pytest

from tests.real_disks.cluster import RealCluster
from tests.real_disks.commands import (
    ADD,
    ADD_DRBD,
    IN_STEP,
    device,
    gnt,
    mirrors,
    nothing_is_left,
    one_writer,
    read,
    roles,
    row,
    until_true,
    write,
)

pytestmark = pytest.mark.long_disks

FAILOVER = ("gnt-instance", "failover", "-f")


def test_a_silent_primary_is_left_only_when_it_is_known_to_be_off(real: RealCluster) -> None:
    """Not while it is only silent, not when it is flagged offline, not with wrong words; then the data is there."""
    gnt(real, *ADD_DRBD, "--disk", "0:size=16m", *ADD, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    written = write(real, "node2", device(real, "web1", "node2"))
    real.machines["node2"].lose_power()

    real.refused(*FAILOVER, "web1")
    assert roles(real, "node3")[0].startswith("ro:Secondary/")
    gnt(real, "gnt-node", "modify", "-O", "yes", "node2")
    for words in ((), ("--ignore-consistency",), ("--confirm-off=node3 is off",)):
        refused = real.command("node1", *FAILOVER, *words, "web1", check=False)
        assert refused.returncode == 1
        assert "'node2 is off'" in refused.stderr
        assert roles(real, "node3")[0].startswith("ro:Secondary/")
    assert row(real, "web1", "pnode") == {"pnode": "node2"}
    gnt(real, *FAILOVER, "--confirm-off=node2 is off", "web1")
    assert row(real, "web1", "pnode,status") == {"pnode": "node3", "status": "running"}
    path = device(real, "web1", "node3")
    assert read(real, "node3", path) == written
    written = write(real, "node3", path)

    real.reboot("node2")
    real.take_back("node2")
    real.wait_for_noded("node2")
    gnt(real, "gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    assert roles(real, "node3") == [IN_STEP]
    gnt(real, *FAILOVER, "web1")
    assert read(real, "node2", device(real, "web1", "node2")) == written
    one_writer(real)
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    until_true(real)
    nothing_is_left(real)


def test_a_target_without_memory_takes_nobody(real: RealCluster) -> None:
    """Refused before anything is stopped or closed, by failover and by migration alike."""
    gnt(real, *ADD_DRBD, "--disk", "0:size=16m", *ADD, "-B", "maxmem=4g,minmem=4g", "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    other = ("gnt-instance", "add", "-t", "diskless", "-n", "node3", *ADD, "-B", "maxmem=14g,minmem=14g", "big")
    gnt(real, *other)
    gnt(real, "gnt-instance", "startup", "big")
    written = write(real, "node2", device(real, "web1", "node2"))
    for command in ("failover", "migrate"):
        said = real.refused("gnt-instance", command, "-f", "web1")
        assert "memory" in said
        assert row(real, "web1", "pnode,status") == {"pnode": "node2", "status": "running"}
        assert roles(real, "node2") == [IN_STEP]
    assert read(real, "node2", device(real, "web1", "node2")) == written
    gnt(real, "gnt-instance", "remove", "-f", "big")
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)


def test_a_split_brain_is_told_by_the_commands(real: RealCluster) -> None:
    """Neither activation nor failover brings the sides together or opens the other one; verify names the disk."""
    gnt(real, *ADD_DRBD, "--disk", "0:size=16m", *ADD, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    one, other = real.machines["node2"], real.machines["node3"]
    with other.without_mirrors():
        first = write(real, "node2", device(real, "web1", "node2"))
        # What nobody should do: by hand, behind the cluster's back.
        other.shell("until drbdsetup primary 0; do sleep 1; done")
        second = write(real, "node3", "/dev/drbd0")
        other.shell("drbdsetup secondary 0")
    one.shell("until grep -q StandAlone /proc/drbd; do sleep 1; done")
    said = real.refused("gnt-instance", "activate-disks", "web1")
    assert "refuse each other" in said
    assert "split brain" in said
    real.refused(*FAILOVER, "web1")
    assert [line.split()[1] for node in ("node2", "node3") for line in mirrors(real, node)] == ["cs:StandAlone"] * 2
    assert roles(real, "node3")[0].startswith("ro:Secondary/")
    verified = real.command("node1", "gnt-cluster", "verify", check=False)
    assert verified.returncode == 1
    assert "disk/0 on node2 is degraded" in verified.stdout + verified.stderr
    assert read(real, "node2", "/dev/drbd0") == first
    other.shell("drbdsetup down resource0")
    [data] = [name for name in other.shell("lvs --noheadings -o lv_name").split() if name.endswith("_data")]
    assert read(real, "node3", f"/dev/xenvg/{data}") == second
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)
