"""What the simulator sees of disks: two writers, stale copies, volumes and mirrors that are nobody's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gnt.noded.hypervisors.fake import FakeGuest
from gnt.sim.checkers.storage import check_ledger, check_storage
from gnt.sim.client import Client
from gnt.sim.ledger import Lost
from gnt.sim.mirror_sides import KernelRefusal, Side
from gnt.sim.mirrors import two_writers
from gnt.sim.world import SimWorld, simulated_world
from gnt.wire.disk_calls import MirrorConnect, MirrorDisconnect
from tests.masterd.fakes import cluster_of_three
from tests.noded.storage.drbd_spec import mirror_spec
from tests.sim.storage_kit import SimPair


@pytest.fixture
def pair(tmp_path: Path) -> SimPair:
    """Give two machines whose mirror is in step, and open on the first one."""
    found = SimPair(tmp_path, mirror_spec(), ("node-a", "node-b"))
    found.start()
    return found


def test_two_sides_open_without_each_other_are_told(pair: SimPair) -> None:
    """One writer is fine; a second one is not, though it is the product's own command that opened it."""
    assert list(two_writers(pair.mirrors)) == []
    with pair.apart():
        pair.open("node-b")
        (found,) = two_writers(pair.mirrors)
        assert "drbd0 of node-a and drbd4 of node-b are open for writing" in found


def test_two_sides_open_for_a_migration_are_fine(pair: SimPair) -> None:
    """As long as they are in touch, and connected so that both may write."""
    for node in pair.nodes:
        pair.ask(node, MirrorDisconnect(disk=pair.spec))
    for node in pair.nodes:
        pair.ask(node, MirrorConnect(disk=pair.spec, dual=True))
    pair.in_sync()
    pair.mirrors.promote(pair.storage["node-b"].machine.sides[4], force=False)
    assert list(two_writers(pair.mirrors)) == []
    with pair.apart():
        assert len(list(two_writers(pair.mirrors))) == 1


def test_what_a_guest_has_open_is_not_taken_down(tmp_path: Path) -> None:
    """Nor closed, by whatever name the guest has it, and though that name is gone."""
    with simulated_world(1, base=tmp_path / "world") as found:
        node = found.nodes["node1"]
        machine = node.storage.machine
        machine.sides[0] = Side(machine, 0, "resource0", primary=True)
        link = node.layout.run / "instance-disks/web1:0"
        link.parent.mkdir(parents=True)
        link.symlink_to(machine.device(0))
        guest = FakeGuest(name="web1", uuid="i1", state="running", memory=1, vcpus=1, disks=(str(link),))
        node.hypervisor._held[node.hypervisor._path("web1")] = guest
        for _ in range(2):
            with pytest.raises(KernelRefusal, match="-12"):
                found.mirrors.down(machine.sides[0])
            link.unlink(missing_ok=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SimWorld]:
    """Give three machines without a cluster, with a volume on the first that a guest has written to."""
    with simulated_world(1, base=tmp_path / "world") as found:
        storage = found.nodes["node1"].storage
        assert storage.run(["lvcreate", "-L4m", "-n", "a", "--addtag", "gnt.disk.u1", "xenvg"]).ok
        _run_guest(found)
        found.ledger.turn(found)
        yield found


def _run_guest(world: SimWorld) -> None:
    node = world.nodes["node1"]
    disks = (str(node.storage.devices / "xenvg/a"),)
    guest = FakeGuest(name="web1", uuid="i1", state="running", memory=1, vcpus=1, disks=disks)
    node.hypervisor._held[node.hypervisor._path("web1")] = guest


def _later(world: SimWorld) -> None:
    world.clock.run_for(1.0)
    world.clock.callLater(1.0, lambda: None)
    world.clock.run_for(2.0)


def test_a_guest_finds_what_it_has_written(world: SimWorld) -> None:
    """It counts on, and nothing is wrong."""
    before = world.ledger.disks[1].number
    _later(world)
    assert world.problems == []
    assert world.ledger.disks[1].number > before


def test_a_copy_that_is_older_is_told(world: SimWorld) -> None:
    """The guest finds a write that was not its last one."""
    path = world.nodes["node1"].storage.devices / "xenvg/a"
    old = path.read_bytes()
    _later(world)
    path.write_bytes(old)
    _later(world)
    assert any("disk/0 of web1 on node1 has write 1, and " in problem for problem in world.problems)


def test_an_emptied_disk_is_remembered(world: SimWorld) -> None:
    """Whether somebody asked for that is for the check at rest to say."""
    path = world.nodes["node1"].storage.devices / "xenvg/a"
    path.write_bytes(bytes(4 << 20))
    _later(world)
    assert [(one.guest, one.index) for one in world.ledger.lost] == [("web1", 0)]


def test_an_emptied_disk_needs_somebody_who_asked_for_that(world: SimWorld) -> None:
    """Neither its making nor its replacement excuses it, though both name disks; that it was made again does."""
    world.ledger.lost.append(Lost("web1", 0))
    client = Client(world)
    client.asked[1] = [{"OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web1", "disks": [{"size": 64}]}]
    client.asked[3] = [{"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web1", "disks": [0]}]
    assert check_ledger(client) == ["disk/0 of web1 is empty, and its guest had written to it"]
    client.asked[2] = [{"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": "web1"}]
    assert check_ledger(client) == []


def test_a_disk_that_is_gone_under_its_guest_is_told(world: SimWorld) -> None:
    """A volume has no excuse."""
    world.nodes["node1"].storage.lvm.lose("gnt.disk.u1")
    _later(world)
    assert any("is used and is not there" in problem for problem in world.problems)


def test_what_is_nobodys_is_told(world: SimWorld) -> None:
    """A volume of ours that no configuration has, and a mirror."""
    storage = world.nodes["node1"].storage
    assert storage.run(["drbdsetup", "new-resource", "resource7"]).ok
    assert storage.run(["drbdsetup", "new-minor", "resource7", "7", "0"]).ok
    found = check_storage(world, cluster_of_three())
    assert any("a volume without an owner on node1: xenvg/a" in problem for problem in found)
    assert any("a mirror without an owner: drbd7 of node1" in problem for problem in found)
