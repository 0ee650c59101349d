"""Mirrors of DRBD on two machines, by node calls as the master makes them."""

from __future__ import annotations

import pytest

from gnt.model.errors import NodeFailure
from gnt.wire.calls import DiskRemove
from gnt.wire.disk_calls import DiskDemote, DiskPromote, MirrorConnect, MirrorDisconnect, MirrorList
from tests.real_disks.cluster import GROUP, RealCluster
from tests.real_disks.commands import READ, WRITE
from tests.real_disks.mirrors import mirror


def test_what_is_written_on_one_side_is_read_on_the_other(real: RealCluster) -> None:
    """Create, write, fail over: the checksum is the same; removed, nothing is left."""
    disk = mirror(real)
    one, other = (real.machines[node] for node in disk.nodes)
    device = disk.start()
    assert device == "/dev/drbd0"
    facts = disk.facts("node2")
    assert facts is not None
    assert (facts.size, facts.degraded, facts.local_status, facts.sync_percent) == (32, False, "ok", None)
    written = one.shell(WRITE.format(device))
    with pytest.raises(NodeFailure) as refused:
        disk.open("node3")
    assert refused.value.code == "busy"
    assert "drbd20 is open for writing on its other node" in refused.value.text
    disk.ask("node2", DiskDemote(disk=disk.spec))
    assert disk.open("node3") == "/dev/drbd20"
    assert other.shell(READ.format("/dev/drbd20")) == written

    overview = real.ask("node3", MirrorList())
    assert overview.version.startswith("8.4.")
    assert overview.helper == "/bin/true"
    assert [(found.minor, found.role, found.peer_role) for found in overview.minors] == [(20, "Primary", "Secondary")]
    disk.release()
    lying = disk.facts("node2")
    assert lying is not None
    assert (lying.path, lying.size, lying.degraded) == ("", 32, True)
    disk.together(DiskRemove(disk=disk.spec))
    assert [disk.facts(node) for node in disk.nodes] == [None, None]
    assert one.shell("lvs --noheadings") == other.shell("lvs --noheadings") == ""


@pytest.mark.long_disks
def test_each_call_may_come_twice(real: RealCluster) -> None:
    """And late: what was written in between stays."""
    disk = mirror(real, 6)
    one = real.machines["node2"]
    device = disk.start()
    written = one.shell(WRITE.format(device))
    disk.create()
    disk.connect()
    assert disk.open("node2") == device
    assert one.shell(READ.format(device)) == written
    for _ in range(2):
        disk.ask("node2", DiskDemote(disk=disk.spec))
    for _ in range(2):
        disk.release()
    for _ in range(2):
        disk.together(DiskRemove(disk=disk.spec))
    assert [disk.facts(node) for node in disk.nodes] == [None, None]


@pytest.mark.long_disks
def test_a_split_brain_is_refused_and_told(real: RealCluster) -> None:
    """Both sides wrote while they were apart: they do not come together, are not opened, and keep what they have."""
    disk = mirror(real, 1)
    one, other = (real.machines[node] for node in disk.nodes)
    disk.start()
    with other.without_mirrors():
        disk.until("node2", lambda now: now.connection != "Connected")
        disk.until("node3", lambda now: now.connection != "Connected")
        first = one.shell(WRITE.format("/dev/drbd1"))
        # What nobody should do: the other side is opened although the first one lives.
        assert disk.open("node3") == "/dev/drbd21"
        second = other.shell(WRITE.format("/dev/drbd21"))
    for node in disk.nodes:
        disk.until(node, lambda now: now.connection == "StandAlone")
    for node in disk.nodes:
        disk.ask(node, DiskDemote(disk=disk.spec))
    with pytest.raises(NodeFailure) as refused:
        disk.connect()
    assert refused.value.code == "diverged"
    assert "split brain" in refused.value.text
    assert "\n" not in refused.value.text
    for node in disk.nodes:
        disk.until(node, lambda now: (now.connection, now.role) == ("StandAlone", "Secondary"))
        facts = disk.facts(node)
        assert facts is not None
        assert (facts.degraded, facts.local_status) == (True, "faulty")
        with pytest.raises(NodeFailure) as refused:
            disk.ask(node, DiskPromote(disk=disk.spec))
        assert refused.value.code == "diverged"
    # Nothing was resolved: each side has its own. (By its volume: a side that stands alone is not opened.)
    disk.release()
    assert one.shell(READ.format(f"/dev/{GROUP}/mirror1.disk0_data")) == first
    assert other.shell(READ.format(f"/dev/{GROUP}/mirror1.disk0_data")) == second


@pytest.mark.long_disks
def test_two_writers_only_while_a_guest_migrates(real: RealCluster) -> None:
    """The dance of spec/storage.md, section 4.5: dual in the middle of it, and neither before nor afterwards."""
    disk = mirror(real, 2)
    one, other = (real.machines[node] for node in disk.nodes)
    disk.start()

    def refused_on_the_other() -> str:
        with pytest.raises(NodeFailure) as refused:
            disk.ask("node3", DiskPromote(disk=disk.spec, shared=True))
        return refused.value.code

    assert refused_on_the_other() == "busy"
    for dual in (True, False):
        for node in disk.nodes:
            disk.ask(node, MirrorDisconnect(disk=disk.spec))
            disk.until(node, lambda now: now.connection == "StandAlone")
        for node in disk.nodes:
            for _ in range(2):
                disk.ask(node, MirrorConnect(disk=disk.spec, dual=dual))
        disk.in_sync()
        if dual:
            disk.ask("node2", DiskPromote(disk=disk.spec, shared=True))
            disk.ask("node3", DiskPromote(disk=disk.spec, shared=True))
            disk.until("node2", lambda now: (now.role, now.peer_role) == ("Primary", "Primary"))
            written = one.shell(WRITE.format("/dev/drbd2"))
            assert other.shell(READ.format("/dev/drbd22")) == written
            disk.ask("node2", DiskDemote(disk=disk.spec))
    disk.until("node3", lambda now: (now.role, now.peer_role) == ("Primary", "Secondary"))
    with pytest.raises(NodeFailure) as refused:
        disk.ask("node2", DiskPromote(disk=disk.spec, shared=True))
    assert refused.value.code == "busy"
    assert other.shell(READ.format("/dev/drbd22")) == written
