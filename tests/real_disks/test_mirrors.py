"""Mirrors of DRBD on two machines, by node calls as the master makes them."""

from __future__ import annotations

import pytest

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskRemove
from gnt.wire.disk_calls import DiskDemote, MirrorList
from tests.noded.storage.contract import TemplateContract
from tests.noded.storage.mirror_contract import MirrorContract
from tests.real_disks.cluster import RealCluster
from tests.real_disks.commands import READ, WRITE
from tests.real_disks.mirrors import OneSide, RealPair, mirror


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
class TestRealMirrors(MirrorContract):
    """The contract that the simulator's mirrors pass too."""

    @pytest.fixture
    def pair(self, real: RealCluster) -> RealPair:
        """Give two machines with a mirror described."""
        return mirror(real)


@pytest.mark.long_disks
class TestOneSide(TemplateContract):
    """What every disk template promises of disks that are not there, by node calls; the interface is seen elsewhere."""

    test_provides_the_interface = None  # type: ignore[assignment]

    @pytest.fixture
    def template(self, real: RealCluster) -> OneSide:
        """Give the template of a machine."""
        return OneSide(real, "node2")

    @pytest.fixture
    def disk(self, real: RealCluster) -> DiskSpec:
        """Give a mirror."""
        return mirror(real).spec

    @pytest.fixture
    def other(self, real: RealCluster) -> DiskSpec:
        """Give another."""
        return mirror(real, 1).spec
