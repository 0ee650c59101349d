"""The data of disks: zeros, copies, and its way to another node over real TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from gnt.daemon.pools import ThreadPools
from gnt.model.epoch import START
from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.disk_data import DiskData
from gnt.noded.disks import Disks
from gnt.noded.handler import CallContext
from gnt.noded.membership import MembershipFile
from gnt.noded.processes import Finished, Processes
from gnt.noded.storage import raw
from gnt.noded.storage.marked_tree import mark_name
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.registry import real_templates
from gnt.wire import certificates
from gnt.wire.calls import DiskCreate, DiskRelease, Membership
from gnt.wire.certificates import Identity
from gnt.wire.disk_calls import DiskCopy, DiskOffer, DiskPull, DiskWipe
from tests.noded.places import ask, begin, context, place_below, refused
from tests.noded.storage.drive import on_reactor
from tests.noded.storage.test_units import Scripted
from tests.wire.cluster_keys import authority, node

MIB = 1 << 20


class NodeRoom:
    """One node with file disks; `real` on the reactor's time, else on a false clock with inline pools."""

    def __init__(self, root: Path, name: str = "node1.example.com", by: Identity | None = None) -> None:
        self.pools = ThreadPools(reactor)
        real: Any = {"clock": reactor, "pools": self.pools}
        self.place = place_below(root, **(real if by is not None else {}))
        layout = self.place.layout
        layout.default_file_storage().mkdir(parents=True)
        layout.data.mkdir(parents=True)
        self.uuid = f"uuid-of-{name.partition('.')[0]}"
        processes: Any = Scripted(Finished(status=127, signal=None))
        if by is not None:
            processes = Processes(self.place, reactor, grace=0.3)  # type: ignore[arg-type]
            certificates.save_identity(layout.node_pem, node(by, name, self.uuid))
            certificates.save_public(layout.authority_certificate, by.certificate)
        membership = MembershipFile(layout)
        membership.store(
            Membership(
                cluster_name="c",
                cluster_uuid="cu",
                node_uuid=self.uuid,
                node_name=name,
                position=START,
                candidates={},
            )
        )
        self.disks = Disks(self.place, real_templates(self.place, processes))
        self.data = DiskData(self.place, self.disks, Programs(processes, {}), membership)

    def disk(self, name: str, size: int = 3, kind: str = "file") -> DiskSpec:
        """Describe a disk."""
        path = self.place.layout.default_file_storage() / "web1" / name
        return DiskSpec(
            index=0,
            uuid=f"u-{name}",
            dev_type=DiskTemplate(kind),
            size=size,
            logical_id=("loop", str(path)),
            instance_name="web1",
            instance_uuid="i1",
        )


def path_of(disk: DiskSpec) -> Path:
    """Give a disk's file."""
    return Path(str(disk.logical_id[1]))


@pytest.fixture
def room(tmp_path: Path) -> NodeRoom:
    """Give a node on a false clock."""
    return NodeRoom(tmp_path)


def made(room: NodeRoom, name: str, size: int = 3, data: bytes = b"") -> DiskSpec:
    """Make a disk with some data at its beginning."""
    disk = room.disk(name, size)
    ask(room.disks, DiskCreate(disk=disk))
    with path_of(disk).open("r+b") as file:
        file.write(data)
    return disk


def test_wiping_a_part(room: NodeRoom) -> None:
    """Zeros exactly where they were asked for, whatever else was there."""
    disk = made(room, "a", data=b"x" * (3 * MIB))
    for _ in range(2):
        ask(room.data, DiskWipe(disk=disk, offset=1, size=1))
    assert path_of(disk).read_bytes() == b"x" * MIB + bytes(MIB) + b"x" * MIB


def test_wiping_what_a_disk_has_grown_by(room: NodeRoom) -> None:
    """The size that it has now counts, also while the caller still has the old one on record."""
    disk = made(room, "a", data=b"x" * (3 * MIB))
    with path_of(disk).open("ab") as file:
        file.write(b"y" * MIB)
    ask(room.data, DiskWipe(disk=disk, offset=3, size=1))
    assert path_of(disk).read_bytes() == b"x" * (3 * MIB) + bytes(MIB)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, 4), (3, 1), (2, -1)])
def test_wiping_beyond_the_disk_is_refused(room: NodeRoom, offset: int, size: int) -> None:
    """Nothing is written."""
    disk = made(room, "a", data=b"x" * (3 * MIB))
    assert refused(room.data, DiskWipe(disk=disk, offset=offset, size=size)).code == "wrong_input"
    assert path_of(disk).read_bytes() == b"x" * (3 * MIB)


def test_what_is_not_there_is_not_wiped(room: NodeRoom) -> None:
    """Nor made on the way."""
    assert refused(room.data, DiskWipe(disk=room.disk("a"), offset=0, size=1)).code == "not_found"


def test_copying(room: NodeRoom) -> None:
    """Everything, also over old data; what is larger than the source keeps its rest; zeros stay holes."""
    source = made(room, "a", data=b"x" * 5000)
    target = made(room, "b", size=4, data=b"y" * (4 * MIB))
    fresh = made(room, "c")
    ask(room.data, DiskCopy(source=source, disk=target))
    ask(room.data, DiskCopy(source=source, disk=fresh))
    assert path_of(target).read_bytes() == b"x" * 5000 + bytes(3 * MIB - 5000) + b"y" * MIB
    assert path_of(fresh).read_bytes() == b"x" * 5000 + bytes(3 * MIB - 5000)
    assert path_of(fresh).stat().st_blocks * 512 <= 1 << 16


def test_copying_onto_a_smaller_disk_is_refused(room: NodeRoom) -> None:
    """Before anything is written."""
    source, target = made(room, "a", data=b"x"), made(room, "b", size=2, data=b"y")
    assert refused(room.data, DiskCopy(source=source, disk=target)).code == "no_space"
    assert path_of(target).read_bytes()[:1] == b"y"


def test_progress_and_abort(room: NodeRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """The master hears how far it is every ten seconds; an abort ends the work between two pieces."""
    monkeypatch.setattr("gnt.noded.disk_data.PIECE", MIB)
    disk = made(room, "a", data=b"x" * (3 * MIB))
    lines: list[str] = []
    within = CallContext(id="c", epoch=None, progress=lines.append)
    clock: Any = room.place.runtime.clock
    pieces: list[int] = []

    def slowly(target: raw.Raw, offset: int, length: int) -> None:
        pieces.append(offset)
        clock.advance(7)
        if len(pieces) == 2:
            within.on_abort[0]()

    monkeypatch.setattr("gnt.noded.disk_data.write_zeros", slowly)
    failures: list[Any] = []
    begin(room.data, DiskWipe(disk=disk, offset=0, size=3), within).addErrback(failures.append)
    assert pieces == [0, MIB]
    assert failures[0].value.code == "aborted"
    assert lines == ["* wiping: 66.7 %"]


# Between nodes


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[NodeRoom, NodeRoom, NodeRoom]]:
    """Give three nodes of one cluster, on the real reactor."""
    by = authority()
    names = ("node1.example.com", "node2.example.com", "node3.example.com")
    with ExitStack() as ends:
        rooms = []
        for name in names:
            room = NodeRoom(tmp_path / name, name, by)
            rooms.append(room)
            # Each is stopped whatever becomes of the others: threads that are left keep a run that is over from ending.
            ends.callback(lambda pools=room.pools: on_reactor(pools.stop()))
            ends.callback(room.data.stop)
        one, two, three = rooms
        yield one, two, three


def real(work: Awaitable[Any]) -> Any:
    """Let the reactor run until there is an answer."""
    return on_reactor(work)


def filled(room: NodeRoom, name: str, size: int = 9) -> tuple[DiskSpec, bytes]:
    """Make a disk with data here and there, on a real node."""
    disk = room.disk(name, size)
    real(begin(room.disks, DiskCreate(disk=disk)))
    with path_of(disk).open("r+b") as file:
        file.write(os.urandom(3 * MIB + 100))
        file.seek(7 * MIB)
        file.write(b"end")
    return disk, path_of(disk).read_bytes()


def test_from_node_to_node(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """All bytes arrive, over old data too; the offer is gone afterwards."""
    one, two, _ = cluster
    source, data = filled(one, "a")
    target = two.disk("b", 9)
    real(begin(two.disks, DiskCreate(disk=target)))
    path_of(target).write_bytes(b"old" * 3 * MIB)
    ticket = real(begin(one.data, DiskOffer(disk=source, reader=two.uuid, address="127.0.0.1")))
    real(begin(two.data, DiskPull(source=source, disk=target, ticket=ticket)))
    assert path_of(target).read_bytes() == data
    with pytest.raises(NodeFailure) as caught:
        real(begin(two.data, DiskPull(source=source, disk=target, ticket=ticket)))
    assert caught.value.code == "not_found"


def test_only_the_reader_gets_it(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """Another node of the cluster is turned away, and the offer stays for the one that it is for."""
    one, two, three = cluster
    source, data = filled(one, "a")
    ticket = real(begin(one.data, DiskOffer(disk=source, reader=two.uuid, address="127.0.0.1")))
    for room, told in ((three, ticket), (two, {**ticket, "word": "0" * 32})):
        stolen = room.disk("s", 9)
        real(begin(room.disks, DiskCreate(disk=stolen)))
        with pytest.raises(NodeFailure) as caught:
            real(begin(room.data, DiskPull(source=source, disk=stolen, ticket=told)))
        assert caught.value.code == "storage_error"
        assert not any(path_of(stolen).read_bytes())
    target = two.disk("b", 9)
    real(begin(two.disks, DiskCreate(disk=target)))
    real(begin(two.data, DiskPull(source=source, disk=target, ticket=ticket)))
    assert path_of(target).read_bytes() == data


def test_another_node_in_the_place_of_the_source(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """The reader takes nothing from a node that is not the one of its ticket."""
    one, two, three = cluster
    source, _ = filled(three, "a")
    ticket = real(begin(three.data, DiskOffer(disk=source, reader=two.uuid, address="127.0.0.1")))
    target = two.disk("b", 9)
    real(begin(two.disks, DiskCreate(disk=target)))
    with pytest.raises(NodeFailure) as caught:
        real(begin(two.data, DiskPull(source=source, disk=target, ticket={**ticket, "source": one.uuid})))
    assert caught.value.code == "storage_error"
    three.data.stop()


def test_a_target_that_is_too_small(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """A definite failure, and the target keeps its size."""
    one, two, _ = cluster
    source, _ = filled(one, "a")
    target = two.disk("b", 2)
    real(begin(two.disks, DiskCreate(disk=target)))
    ticket = real(begin(one.data, DiskOffer(disk=source, reader=two.uuid, address="127.0.0.1")))
    with pytest.raises(NodeFailure) as caught:
        real(begin(two.data, DiskPull(source=source, disk=target, ticket=ticket)))
    assert caught.value.code == "no_space"
    assert path_of(target).stat().st_size == 2 * MIB


@pytest.mark.parametrize("end", ["release", "stop", "again"])
def test_an_offer_is_taken_back(cluster: tuple[NodeRoom, NodeRoom, NodeRoom], end: str) -> None:
    """By a release of the disk, the daemon's stop, or a new offer: nobody gets anything for the old ticket."""
    one, two, _ = cluster
    source, _ = filled(one, "a")
    ticket = real(begin(one.data, DiskOffer(disk=source, reader=two.uuid, address="127.0.0.1")))
    if end == "release":
        real(begin(one.disks, DiskRelease(disk=source)))
    elif end == "stop":
        one.data.stop()
    else:
        real(begin(one.data, DiskOffer(disk=source, reader=two.uuid, address="127.0.0.1")))
    target = two.disk("b", 9)
    real(begin(two.disks, DiskCreate(disk=target)))

    async def until_nobody_listens() -> None:
        while True:
            try:
                await begin(two.data, DiskPull(source=source, disk=target, ticket=ticket))
            except NodeFailure as failure:
                if failure.code == "not_found":
                    return
            else:
                raise AssertionError("the ticket was still good")

    real(until_nobody_listens())
    assert not any(path_of(target).read_bytes())
    one.data.stop()


def test_two_disks_at_once(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """Side by side, each its own data."""
    one, two, _ = cluster
    pairs = []
    for name in ("a", "b"):
        source, data = filled(one, name)
        target = two.disk(f"t{name}", 9)
        real(begin(two.disks, DiskCreate(disk=target)))
        ticket = real(begin(one.data, DiskOffer(disk=source, reader=two.uuid, address="127.0.0.1")))
        pairs.append((source, target, data, ticket))
    work: list[Deferred[Any]] = [
        begin(two.data, DiskPull(source=source, disk=target, ticket=ticket)) for source, target, _, ticket in pairs
    ]
    real(gatherResults(work))
    for _, target, data, _ in pairs:
        assert path_of(target).read_bytes() == data


def test_a_ticket_that_is_none(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """Refused in one line."""
    _, two, _ = cluster
    target = two.disk("b", 2)
    real(begin(two.disks, DiskCreate(disk=target)))
    for ticket, code in (({}, "unsupported"), ({"format": "raw"}, "wrong_input")):
        with pytest.raises(NodeFailure) as caught:
            real(begin(two.data, DiskPull(source=target, disk=target, ticket=ticket)))
        assert caught.value.code == code


def test_the_context_is_left_as_it_was(room: NodeRoom) -> None:
    """What ends the work is forgotten with it."""
    within = context()
    disk = msgspec.structs.replace(made(room, "a"))
    begin(room.data, DiskWipe(disk=disk, offset=0, size=1), within)
    assert within.on_abort == []


# Images


def image_of(room: NodeRoom, name: str, size: int = 9) -> DiskSpec:
    """Make a disk that is an image of QEMU's, on a real node."""
    if shutil.which("qemu-img") is None:
        pytest.skip("needs the package qemu-utils")
    disk = room.disk(name, size, "qcow2")
    real(begin(room.disks, DiskCreate(disk=disk)))
    return disk


def data_of(disk: DiskSpec) -> bytes:
    """Read all of an image's disk."""
    raw_copy = path_of(disk).with_name("raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(path_of(disk)), str(raw_copy)], check=True)
    return raw_copy.read_bytes()


def test_between_files_and_images(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """There and back, byte by byte, also over old data; a device that is larger than its disk gives as much as that."""
    one, _, _ = cluster
    source, data = filled(one, "a,b")
    image, back = image_of(one, "i"), one.disk("c", 9)
    real(begin(one.disks, DiskCreate(disk=back)))
    path_of(back).write_bytes(b"old" * 3 * MIB)
    with path_of(source).open("ab") as file:
        file.write(b"beyond")
    real(begin(one.data, DiskCopy(source=source, disk=image)))
    assert data_of(image) == data
    real(begin(one.data, DiskCopy(source=image, disk=back)))
    assert path_of(back).read_bytes() == data


def test_what_was_converted_is_on_disk(room: NodeRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU is told to sync what it writes, which it leaves in memory else: the source may be removed next."""
    ran: list[list[str]] = []

    async def run(argv: list[str], *_others: Any, **_more: Any) -> None:
        ran.append(argv)

    source, image = made(room, "a"), room.disk("i", 3, "qcow2")
    path_of(image).write_bytes(b"QFI\xfb")
    path_of(image).with_name(mark_name("i")).write_text(f"{image.uuid}\n")
    monkeypatch.setattr(room.data._programs, "run", run)
    ask(room.data, DiskCopy(source=source, disk=image))
    [argv] = ran
    assert argv[argv.index("-t") + 1] == "writeback"


def test_wiping_an_image(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """Zeros exactly where they were asked for."""
    one, _, _ = cluster
    source, data = filled(one, "a")
    image = image_of(one, "i")
    real(begin(one.data, DiskCopy(source=source, disk=image)))
    real(begin(one.data, DiskWipe(disk=image, offset=1, size=1)))
    assert data_of(image) == data[:MIB] + bytes(MIB) + data[2 * MIB :]


def test_an_image_from_node_to_node(cluster: tuple[NodeRoom, NodeRoom, NodeRoom]) -> None:
    """The image itself is carried over; into another format it is not."""
    one, two, _ = cluster
    source, data = filled(one, "a")
    image, target = image_of(one, "i"), image_of(two, "t")
    real(begin(one.data, DiskCopy(source=source, disk=image)))
    ticket = real(begin(one.data, DiskOffer(disk=image, reader=two.uuid, address="127.0.0.1")))
    plain = two.disk("p", 9)
    real(begin(two.disks, DiskCreate(disk=plain)))
    with pytest.raises(NodeFailure) as caught:
        real(begin(two.data, DiskPull(source=image, disk=plain, ticket=ticket)))
    assert caught.value.code == "unsupported"
    with path_of(target).open("ab") as file:
        file.write(b"rest of something longer" * MIB)
    real(begin(two.data, DiskPull(source=image, disk=target, ticket=ticket)))
    assert path_of(target).read_bytes() == path_of(image).read_bytes()
    assert data_of(target) == data
    subprocess.run(["qemu-img", "check", "-q", str(path_of(target))], check=True)
