"""Operations on disks that really are, by the commands that administrators type: what was written stays what it is."""

from __future__ import annotations

import pytest

from tests.real_disks.cluster import GROUP, RealCluster
from tests.real_disks.commands import (
    ADD,
    ADD_DRBD,
    IN_STEP,
    READ,
    WRITE,
    device,
    gnt,
    mirrors,
    nothing_is_left,
    roles,
    row,
    until_paid,
    volumes,
)

pytestmark = pytest.mark.long_disks


def test_a_plain_instance_is_given_a_mirror_and_loses_it(real: RealCluster) -> None:
    """Its data is the same as a volume, as a mirror, on the other node, and as a volume there."""
    one, other = real.machines["node2"], real.machines["node3"]
    gnt(real, "gnt-instance", "add", "-t", "plain", "-n", "node2", "--disk", "0:size=32m", *ADD, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    path = device(real, "web1", "node2")
    assert path.startswith(f"/dev/{GROUP}/")
    written = one.shell(WRITE.format(path))
    gnt(real, "gnt-instance", "shutdown", "web1")

    gnt(real, "gnt-instance", "modify", "--ignore-ipolicy", "-t", "drbd", "-n", "node3", "web1")
    assert row(real, "web1", "disk_template,pnode,snodes") == {
        "disk_template": "drbd",
        "pnode": "node2",
        "snodes": ["node3"],
    }
    assert (len(volumes(real, "node2")), len(volumes(real, "node3"))) == (2, 2)
    gnt(real, "gnt-instance", "startup", "web1")
    assert roles(real, "node2") == [IN_STEP]
    path = device(real, "web1", "node2")
    assert path.startswith("/dev/drbd")
    assert one.shell(READ.format(path)) == written
    gnt(real, "gnt-instance", "failover", "-f", "web1")
    assert other.shell(READ.format(device(real, "web1", "node3"))) == written
    gnt(real, "gnt-instance", "shutdown", "web1")

    gnt(real, "gnt-instance", "modify", "--ignore-ipolicy", "-t", "plain", "web1")
    assert volumes(real, "node2") == []
    assert len(volumes(real, "node3")) == 1
    gnt(real, "gnt-instance", "startup", "web1")
    path = device(real, "web1", "node3")
    assert path.startswith(f"/dev/{GROUP}/")
    assert other.shell(READ.format(path)) == written
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)


def test_a_plain_instance_is_moved_and_grows(real: RealCluster) -> None:
    """The copy has the same data, nothing is left on the first node, and the guest's volume is as large as wished."""
    one, other = real.machines["node2"], real.machines["node3"]
    disks = ("--disk", "0:size=32m", "--disk", "1:size=16m")
    gnt(real, "gnt-instance", "add", "-t", "plain", "-n", "node2", *disks, *ADD, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    paths = [device(real, "web1", "node2", index) for index in (0, 1)]
    written = [one.shell(WRITE.format(path)) for path in paths]

    gnt(real, "gnt-instance", "move", "-f", "-n", "node3", "web1")
    assert row(real, "web1", "pnode,status") == {"pnode": "node3", "status": "running"}
    assert volumes(real, "node2") == []
    moved = [device(real, "web1", "node3", index) for index in (0, 1)]
    assert [other.shell(READ.format(path)) for path in moved] == written

    gnt(real, "gnt-instance", "grow-disk", "--ignore-ipolicy", "web1", "1", "16m")
    assert [other.shell(f"blockdev --getsize64 {path}").strip() for path in moved] == [str(32 << 20)] * 2
    assert [other.shell(READ.format(path)) for path in moved] == written
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)


@pytest.mark.parametrize("template", ["plain", "drbd"])
def test_disks_come_and_go(real: RealCluster, template: str) -> None:
    """A second disk is added to a guest that runs, and taken away from one that does not: the first keeps its data."""
    where = "node2:node3" if template == "drbd" else "node2"
    holders = ("node2", "node3") if template == "drbd" else ("node2",)
    each = 2 if template == "drbd" else 1
    one = real.machines["node2"]
    gnt(real, "gnt-instance", "add", "-t", template, "-n", where, "--disk", "0:size=32m", *ADD, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    path = device(real, "web1", "node2")
    written = one.shell(WRITE.format(path))

    gnt(real, "gnt-instance", "modify", "--ignore-ipolicy", "--disk", "add:size=16m", "web1")
    assert [len(volumes(real, node)) for node in holders] == [2 * each] * len(holders)
    gnt(real, "gnt-instance", "shutdown", "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    second = device(real, "web1", "node2", 1)
    assert second not in ("", path)
    other = one.shell(WRITE.format(second))
    assert other != written
    gnt(real, "gnt-instance", "shutdown", "web1")

    gnt(real, "gnt-instance", "modify", "--ignore-ipolicy", "--disk", "0:remove", "web1")
    assert [len(volumes(real, node)) for node in holders] == [each] * len(holders)
    gnt(real, "gnt-instance", "activate-disks", "web1")
    assert one.shell(READ.format(device(real, "web1", "node2"))) == other
    gnt(real, "gnt-instance", "deactivate-disks", "web1")
    assert [mirrors(real, node) for node in real.machines] == [[]] * len(real.machines)
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)


def test_a_mirror_has_one_writer_but_for_the_migration(real: RealCluster) -> None:
    """Before and behind it one side is open; what was written before, and on either side behind it, is on both."""
    one, other = real.machines["node2"], real.machines["node3"]
    gnt(real, *ADD_DRBD, "--disk", "0:size=32m", *ADD, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    assert roles(real, "node2") == [IN_STEP]
    path = device(real, "web1", "node2")
    written = one.shell(WRITE.format(path))
    for source, target in ((one, other), (other, one)):
        gnt(real, "gnt-instance", "migrate", "-f", "web1")
        assert roles(real, target.name) == [IN_STEP]
        assert roles(real, source.name) == ["ro:Secondary/Primary ds:UpToDate/UpToDate"]
        minor = mirrors(real, source.name)[0].split(":")[0]
        shown = target.shell("drbdsetup show --show-defaults | grep -w allow-two-primaries")
        assert shown.split()[1].strip(";") == "no"
        # The kernel itself keeps a second writer out.
        assert source.shell(f"dd if=/dev/zero of=/dev/drbd{minor} count=1 status=none 2>&1 || echo refused")
        path = device(real, "web1", target.name)
        assert target.shell(READ.format(path)) == written
        written = target.shell(WRITE.format(path))
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)


def test_disks_are_closed_and_opened_again(real: RealCluster) -> None:
    """A closed mirror is nowhere in a kernel, an opened one has its data; while its guest runs it is not closed."""
    one = real.machines["node2"]
    gnt(real, *ADD_DRBD, "--disk", "0:size=32m", *ADD, "web1")
    said = gnt(real, "gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    path = device(real, "web1", "node2")
    assert path in said
    written = one.shell(WRITE.format(path))
    gnt(real, "gnt-instance", "deactivate-disks", "web1")
    assert mirrors(real, "node2") == mirrors(real, "node3") == []
    gnt(real, "gnt-instance", "startup", "web1")
    assert one.shell(READ.format(device(real, "web1", "node2"))) == written
    assert "web1 is running" in real.refused("gnt-instance", "deactivate-disks", "web1")
    assert roles(real, "node2") == [IN_STEP]

    # The side under a guest that runs is made anew from the other one.
    gnt(real, "gnt-instance", "replace-disks", "-p", "web1")
    until_paid(real, "node2", 2)
    assert one.shell(READ.format(device(real, "web1", "node2"))) == written
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)
