"""What a power failure leaves on simulated disks: what was flushed, and of the rest any part."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnt.noded.hypervisors.fake import FakeGuest
from gnt.sim.caches import SECTOR, WRITTEN_BACK, WriteCache
from gnt.sim.checkers.storage import _check_in_step
from gnt.sim.content import PIECE, differing_pieces, read_at, write_at
from gnt.sim.mirror_sides import Side
from gnt.sim.mirror_writing import flush, write
from gnt.sim.world import SimWorld, simulated_world
from gnt.wire.calls import DiskAssemble, DiskRelease
from gnt.wire.disk_calls import MirrorDetach
from tests.noded.storage.drbd_spec import mirror_spec
from tests.sim.storage_kit import SimPair

OLD, NEW = b"o" * SECTOR, b"n" * SECTOR
COUNT = 64


# One machine


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Give a file of some sectors."""
    path = tmp_path / "volume"
    path.write_bytes(OLD * COUNT)
    return path


def sectors(path: Path) -> list[bytes]:
    """Give the sectors of a file."""
    data = path.read_bytes()
    return [data[at : at + SECTOR] for at in range(0, len(data), SECTOR)]


def test_what_was_not_flushed_is_there_sector_by_sector(volume: Path) -> None:
    """Each is the old one or the new one, and both come about; until then whoever reads finds what was written."""
    cache = WriteCache()
    cache.write(str(volume), 0, NEW * COUNT)
    assert sectors(volume) == [NEW] * COUNT
    cache.lose_power(random.Random(1))  # noqa: S311
    assert set(sectors(volume)) == {OLD, NEW}
    assert len(sectors(volume)) == COUNT


def test_what_was_flushed_stays(volume: Path) -> None:
    """Under another name as well; and so does what is older than the kernel keeps anything."""
    now = 0.0
    cache = WriteCache(lambda: now)
    cache.write(str(volume), 0, NEW * COUNT)
    other = volume.rename(volume.with_name("other"))
    cache.moved(str(volume), str(other))
    cache.flush(str(other))
    cache.lose_power(random.Random(1))  # noqa: S311
    assert sectors(other) == [NEW] * COUNT
    cache.write(str(other), 0, OLD * COUNT)
    now = WRITTEN_BACK + 1
    cache.lose_power(random.Random(1))  # noqa: S311
    assert sectors(other) == [OLD] * COUNT


def test_what_somebody_else_wrote_since_stays(volume: Path) -> None:
    """A mirror that comes into step writes past the cache."""
    cache = WriteCache()
    cache.write(str(volume), 0, NEW * COUNT)
    write_at(volume, 0, b"m" * SECTOR * COUNT)
    cache.lose_power(random.Random(1))  # noqa: S311
    assert sectors(volume) == [b"m" * SECTOR] * COUNT


# Mirrors


@pytest.fixture
def pair(tmp_path: Path) -> SimPair:
    """Give two machines whose mirror is in step, and open on the first one, with something flushed in each MiB."""
    found = SimPair(tmp_path, mirror_spec(), ("node-a", "node-b"))
    found.start()
    for piece in range(8):
        assert write(side_of(found, "node-a"), piece * PIECE, OLD * 8)
    assert flush(side_of(found, "node-a"))
    return found


def side_of(pair: SimPair, node: str) -> Side:
    """Give the side of a machine."""
    return pair.storage[node].machine.sides[pair.minors[node]]


def difference(pair: SimPair) -> set[int]:
    """Give the MiB in which the two volumes differ."""
    group, name = map(str, pair.spec.children[0].logical_id)
    one, other = (pair.storage[node].devices / group / name for node in pair.nodes)
    return differing_pieces(one, other, pair.spec.size)


def begin_to_write(pair: SimPair) -> None:
    """Write to each MiB, and do not have it flushed."""
    for piece in range(8):
        assert write(side_of(pair, "node-a"), piece * PIECE, NEW * 8)


def test_after_a_crash_of_the_primary_both_sides_are_the_same(pair: SimPair) -> None:
    """What was in its activity log comes into step, whatever of it had come to the disk; what was flushed is there."""
    begin_to_write(pair)
    assert difference(pair) == set()
    pair.lose_power("node-a")
    assert difference(pair)
    pair.connect()
    pair.in_sync()
    assert difference(pair) == set()


def test_a_side_that_went_on_has_the_last_word(pair: SimPair) -> None:
    """The primary crashes, the other side is opened and writes little: all that the crashed one began is put right."""
    begin_to_write(pair)
    pair.lose_power("node-a")
    pair.open("node-b")
    assert write(side_of(pair, "node-b"), 0, OLD * 8)
    pair.connect("node-a")
    pair.until("node-b", lambda now: (now.disk, now.peer_disk) == ("UpToDate", "UpToDate"))
    assert difference(pair) == set()
    data = pair.storage["node-a"].devices / "xenvg/data"
    assert read_at(data, PIECE, SECTOR) == NEW


def test_after_a_crash_of_the_other_side_it_gets_what_it_had_not_flushed(pair: SimPair) -> None:
    """Though nobody has written to that since."""
    begin_to_write(pair)
    pair.lose_power("node-b")
    assert difference(pair)
    pair.connect("node-b")
    pair.in_sync()
    assert difference(pair) == set()


def test_volumes_that_were_taken_away_are_old_when_they_are_back(pair: SimPair) -> None:
    """The other side began a new generation when the primary one went on over it: nobody takes them for the data."""
    pair.ask("node-a", MirrorDetach(disk=pair.spec))
    begin_to_write(pair)
    assert flush(side_of(pair, "node-a"))
    pair.lose_power("node-a")
    assert difference(pair)
    pair.connect("node-a")
    pair.in_sync()
    assert difference(pair) == set()
    assert read_at(pair.storage["node-a"].devices / "xenvg/data", PIECE, SECTOR) == NEW


def test_old_volumes_that_are_taken_again_come_into_step(pair: SimPair) -> None:
    """Also by a primary side that is in use over the other one, and with what it knew of them."""
    pair.ask("node-a", MirrorDetach(disk=pair.spec))
    begin_to_write(pair)
    pair.open("node-a")
    pair.in_sync()
    assert difference(pair) == set()
    assert read_at(pair.storage["node-a"].devices / "xenvg/data", PIECE, SECTOR) == NEW


def test_who_closes_in_order_has_nothing_to_bring_into_step(pair: SimPair) -> None:
    """Closing flushes, and empties the activity log."""
    begin_to_write(pair)
    pair.release()
    for node in pair.nodes:
        pair.lose_power(node)
    assert difference(pair) == set()
    pair.connect()
    assert side_of(pair, "node-a").known.behind == set()


def test_volumes_are_not_taken_before_the_activity_log_was_looked_at(pair: SimPair) -> None:
    """The kernel refuses metadata that is as a crash left it, as the real one does."""
    pair.lose_power("node-a")
    storage = pair.storage["node-a"]
    data, meta = (f"{storage.devices}/{'/'.join(map(str, part.logical_id))}" for part in pair.spec.children)
    assert storage.run(["drbdsetup", "new-resource", "resource0"]).ok
    assert storage.run(["drbdsetup", "new-minor", "resource0", "0", "0"]).ok
    refused = storage.run(["drbdsetup", "attach", "0", data, meta, "flexible"])
    assert "(165) Unclean meta-data found" in refused.errors
    assert pair.ask("node-a", DiskAssemble(disk=pair.spec, primary=False)).path
    pair.ask("node-a", DiskRelease(disk=pair.spec))


# Images


def test_a_copy_that_was_not_synced_is_lost(tmp_path: Path) -> None:
    """`qemu-img convert` leaves what it writes in memory, unless it is told how to write."""
    pair = SimPair(tmp_path, mirror_spec(), ("node-a", "node-b"))
    storage = pair.storage["node-a"]
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(NEW * COUNT)
    for words, kept in (([], False), (["-t", "writeback"], True)):
        target.write_bytes(OLD * COUNT)
        done = storage.run(["qemu-img", "convert", "-n", *words, "-f", "raw", str(source), "-O", "raw", str(target)])
        assert done.ok
        assert sectors(target) == [NEW] * COUNT
        storage.lose_power()
        assert (sectors(target) == [NEW] * COUNT) is kept


# Guests


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SimWorld]:
    """Give three machines without a cluster, with a guest on the first that has written for a while."""
    with simulated_world(1, base=tmp_path / "world") as found:
        node = found.nodes["node1"]
        assert node.storage.run(["lvcreate", "-L64m", "-n", "a", "--addtag", "gnt.disk.u1", "xenvg"]).ok
        run_guest(found)
        go_on(found, 20.0)
        yield found


def run_guest(world: SimWorld) -> None:
    """Have the guest run on the first machine."""
    node = world.nodes["node1"]
    guest = FakeGuest(
        name="web1", uuid="i1", state="running", memory=1, vcpus=1, disks=(str(node.storage.devices / "xenvg/a"),)
    )
    node.hypervisor._held[node.hypervisor._path("web1")] = guest


def go_on(world: SimWorld, seconds: float) -> None:
    """Let time pass, with an event every now and then."""
    for _ in range(int(seconds / 0.25)):
        world.clock.callLater(0.25, lambda: None)
        world.clock.run_for(0.25)


@pytest.mark.parametrize("seed", range(4))
def test_a_guest_finds_what_it_had_flushed(world: SimWorld, seed: int) -> None:
    """Torn or not at all is what it wrote last, and that is no fault of the disk; it counts on from there."""
    node = world.nodes["node1"]
    world.go_on_with(seed)
    for _ in range(4):
        written = world.ledger.disks[1]
        before = written.number
        assert written.flushed == before - 1
        node.power_cut(off=None)
        node.power_on()
        run_guest(world)
        go_on(world, 3.0)
        assert world.ledger.disks[1].number > before
    assert world.problems == []
    assert world.ledger.lost == []


def test_a_flushed_write_that_is_lost_is_told(world: SimWorld) -> None:
    """After a power failure as well, be it where it was written last or where it was written long ago."""
    node = world.nodes["node1"]
    path = node.storage.devices / "xenvg/a"
    before = path.read_bytes()
    go_on(world, 20.0)
    now = path.read_bytes()
    node.power_cut(off=None)
    path.write_bytes(before[:PIECE] + now[PIECE:])
    node.power_on()
    run_guest(world)
    go_on(world, 1.0)
    assert any("was flushed before the power failed" in problem for problem in world.problems)
    world.problems.clear()
    node.power_cut(off=None)
    path.write_bytes(now[:PIECE] + before[PIECE:])
    node.power_on()
    run_guest(world)
    go_on(world, 1.0)
    assert any("at MiB" in problem and "was acknowledged" in problem for problem in world.problems)


def test_sides_that_are_not_the_same_are_told(tmp_path: Path) -> None:
    """Both say that they are in step."""
    pair = SimPair(tmp_path, mirror_spec(), ("node-a", "node-b"))
    pair.start()

    class Node:
        storage = pair.storage["node-a"]

    node: object = Node()
    assert list(_check_in_step(node)) == []  # type: ignore[arg-type]
    write_at(pair.storage["node-b"].devices / "xenvg/data", 3 * PIECE, NEW)
    (found,) = _check_in_step(node)  # type: ignore[arg-type]
    assert "are in step and differ at MiB [3]" in found
