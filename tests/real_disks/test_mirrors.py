"""Mirrors of DRBD on two machines, by node calls as the master makes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskRemove
from gnt.wire.disk_calls import DiskDemote, MirrorList
from tests.live import wait_until
from tests.noded.storage.contract import DataContract, TemplateContract, Untouched, refusal
from tests.noded.storage.mirror_contract import MirrorContract
from tests.real_disks.both_sides import BothSides
from tests.real_disks.cluster import GROUP, LOOK_EVERY, RealCluster
from tests.real_disks.commands import READ, WRITE
from tests.real_disks.mirrors import SIZE, SYNC_TIME, OneSide, RealPair, another_uuid, mirror


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


@pytest.mark.long_disks
class TestBothSides(DataContract):
    """What every disk that keeps data promises, of a mirror that the master has made: its data, growth, snapshots."""

    can_rename = False
    test_provides_the_interface = None  # type: ignore[assignment]

    @pytest.fixture
    def template(self, real: RealCluster) -> BothSides:
        """Give both machines."""
        return BothSides(real)

    @pytest.fixture
    def disk(self, real: RealCluster) -> DiskSpec:
        """Give a mirror."""
        return mirror(real).spec

    @pytest.fixture
    def other(self, real: RealCluster, request: pytest.FixtureRequest) -> DiskSpec:
        """Give another; a snapshot of a mirror is a volume on one node."""
        if "snapshot" not in request.node.name:
            return mirror(real, 1).spec
        return DiskSpec(
            index=0,
            uuid=another_uuid(),
            dev_type=DiskTemplate.PLAIN,
            size=SIZE,
            logical_id=(GROUP, "copy.disk0"),
            instance_name="web1",
        )

    @pytest.fixture
    def plant(self, template: BothSides) -> Callable[[DiskSpec], Untouched]:
        """Somebody else's volume and mirror exactly where the disk would be."""
        return template.plant

    def write(self, template: BothSides, disk: DiskSpec, data: bytes) -> None:  # type: ignore[override]
        """Write in the machine."""
        template.write(disk, data)

    def read(self, template: BothSides, disk: DiskSpec, size: int) -> bytes:  # type: ignore[override]
        """Read in the machine."""
        return template.read(disk, size)

    def test_growing(self, template: BothSides, disk: DiskSpec) -> None:  # type: ignore[override]
        """First the volumes of both sides, then the mirror on them; never smaller, and each may come twice."""
        template.create(disk)
        template.assemble(disk, True)
        size = disk.size * 2
        template.check_grow(disk, size)
        assert refusal(template.grow, disk, size, False) == "storage_error"
        assert template.find(disk).size == disk.size
        for _time in range(2):
            template.grow(disk, size, True)
        assert template.find(disk).size == disk.size
        for _time in range(2):
            wait_until(lambda: self._has_grown(template, disk, size), "it does not grow", SYNC_TIME, LOOK_EVERY)
        for smaller in (disk.size, 1):
            template.grow(disk, smaller, True)
            template.grow(disk, smaller, False)
        assert template.find(disk).size == size

    def _has_grown(self, template: BothSides, disk: DiskSpec, size: int) -> bool:
        """Grow the mirror; while its sides come into step it says to try again."""
        try:
            template.grow(disk, size, False)
        except NodeFailure as failure:
            if failure.retry:
                return False
            raise
        return True
