"""RADOS images against the contract: on a stand-in that keeps images as Ceph's `rbd` command shows them.

Where `GNT_TEST_CEPH_POOL` names a pool (and CEPH_CONF its cluster), the same tests run against that.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet import reactor

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.processes import Processes
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.rbd import RadosImages
from tests.noded.places import ThreadPool, place_below
from tests.noded.storage.contract import DataContract, Untouched, VolumeContract, refusal
from tests.noded.storage.drive import Driven, on_reactor

UUID = "6a1cd4c5-0f0e-4d3c-8f55-3f3f0e1c7a10"
OTHER = "0e2b8a54-7a54-4c43-8f0b-6a4c5be1d2c3"
POOL = os.environ.get("GNT_TEST_CEPH_POOL", "")
STAND_IN = Path(__file__).with_name("stand_in_rbd.py")


class RbdRoom:
    """A pool, and the `rbd` command to work on it."""

    def __init__(self, root: Path) -> None:
        self.pool = POOL or "rbd"
        self.root = root
        (root / "bin").mkdir()
        self.images = root / "images"
        self.images.mkdir()
        path = os.environ["PATH"]
        if not POOL:
            command = root / "bin/rbd"
            command.write_text(f'#!/bin/sh\nIMAGES={self.images} exec python3 -I -S {STAND_IN} "$@"\n')
            command.chmod(0o755)
            path = f"{root}/bin:{path}"
        place = place_below(root, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
        processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
        self.programs = Programs(processes, dict(os.environ))
        self.programs._env["PATH"] = path
        self.template = Driven(RadosImages(self.programs), on_reactor)

    def run(self, *words: str) -> str:
        """Run the command as an administrator would."""
        done = subprocess.run(
            ["rbd", *words], env={**os.environ, **self.programs._env}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def disk(self, uuid: str, access: str = "kernelspace", **changes: Any) -> DiskSpec:
        """Describe a disk of 4 MiB."""
        disk = DiskSpec(
            index=0,
            uuid=uuid,
            dev_type=DiskTemplate.RBD,
            size=4,
            logical_id=("rbd", f"{uuid}.rbd.disk0"),
            instance_name="web1",
            instance_uuid="i1",
            params={"pool": self.pool, "access": access},
        )
        return msgspec.structs.replace(disk, **changes)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[RbdRoom]:
    """Give a pool; what the tests made in a real one goes."""
    found = RbdRoom(tmp_path)
    yield found
    if POOL:
        for name in found.run("ls", found.pool).split():
            found.run("rm", "--no-progress", f"{found.pool}/{name}")


@pytest.fixture
def template(room: RbdRoom) -> Driven:
    """Give the template under test."""
    return room.template


@pytest.fixture
def plant(room: RbdRoom) -> Callable[[DiskSpec], Untouched]:
    """Somebody else's image exactly where the disk would be."""

    def planting(disk: DiskSpec) -> Untouched:
        where = f"{room.pool}/{disk.logical_id[1]}"
        room.run("create", "--size", "7", where)
        room.run("image-meta", "set", where, "mine", "yes")

        def told() -> tuple[str, str]:
            return room.run("info", where), room.run("image-meta", "list", where)

        before = told()
        return lambda: told() == before

    return planting


class TestMapped(DataContract):
    """The contract of every disk template, with images that are mapped; the real kernel may not be able to."""

    @pytest.fixture
    def disk(self, room: RbdRoom) -> DiskSpec:
        """Give a disk."""
        if POOL:
            pytest.skip("mapping needs the kernel's rbd module")
        return room.disk(UUID)

    @pytest.fixture
    def other(self, room: RbdRoom) -> DiskSpec:
        """Give another disk."""
        return room.disk(OTHER)


class TestOpenedByQemu(VolumeContract):
    """The contract as far as it asks for no device: QEMU opens these images by itself. On a real pool."""

    @pytest.fixture
    def disk(self, room: RbdRoom) -> DiskSpec:
        """Give a disk."""
        if not POOL:
            pytest.skip("set GNT_TEST_CEPH_POOL to a pool of a Ceph cluster")
        return room.disk(UUID, "userspace")

    @pytest.fixture
    def other(self, room: RbdRoom) -> DiskSpec:
        """Give another disk."""
        return room.disk(OTHER, "userspace")


def test_uris(room: RbdRoom) -> None:
    """Pool and image, and the settings of the administrator's cluster; nothing is mapped."""
    disk = room.disk(UUID, "userspace")
    room.template.create(disk)
    room.programs._env.pop("CEPH_CONF", None) if not POOL else None
    device = room.template.assemble(disk, True)
    assert device.path == ""
    assert device.uri is not None
    assert device.uri.startswith(f"rbd:{room.pool}/{UUID}.rbd.disk0")
    assert room.template.find(disk).uri == device.uri == room.template.contents(disk).place
    assert room.run("showmapped", "--format", "json").strip() in {"[]", "{}"}
    room.programs._env["CEPH_CONF"] = "/etc/other.conf"
    if not POOL:
        assert str(room.template.assemble(disk, True).uri).endswith(":conf=/etc/other.conf")


def test_marks(room: RbdRoom) -> None:
    """Whose image it is, and the label for people, stand in its metadata."""
    disk = room.disk(UUID, "userspace")
    room.template.create(disk)
    room.template.label(disk, "originstname+web1")
    where = f"{room.pool}/{UUID}.rbd.disk0"
    found = msgspec.json.decode(room.run("image-meta", "list", where, "--format", "json"))
    assert found == {"gnt.disk": UUID, "gnt.label": "originstname+web1"}


def test_an_image_that_was_never_finished(room: RbdRoom) -> None:
    """After a crash between creation and name the repeated call makes it anew, and a removal leaves nothing."""
    disk = room.disk(UUID, "userspace")
    room.run("create", "--size", "9", f"{room.pool}/{UUID}.rbd.disk0.new")
    room.template.create(disk)
    assert room.run("ls", room.pool).split() == [f"{UUID}.rbd.disk0"]
    room.run("create", "--size", "9", f"{room.pool}/{UUID}.rbd.disk0.new")
    room.template.remove(disk)
    assert room.run("ls", room.pool).split() == []


def test_a_snapshot_leaves_no_trace(room: RbdRoom) -> None:
    """The disk has no snapshots afterwards, so that it can be removed while its copy stays."""
    disk, copy = room.disk(UUID, "userspace"), room.disk(OTHER, "userspace")
    room.template.create(disk)
    room.template.snapshot(disk, copy)
    room.template.remove(disk)
    assert room.template.find(copy).size == 4


@pytest.mark.parametrize(
    ("pool", "name"), [("a b", "x"), ("-p", "x"), ("rbd", "a/b"), ("rbd", "a@b"), ("rbd", ""), ("rbd", "--size")]
)
def test_names_that_are_none(room: RbdRoom, pool: str, name: str) -> None:
    """Refused before any command is run."""
    bad = room.disk(UUID, logical_id=("rbd", name), params={"pool": pool, "access": "userspace"})
    for work in (room.template.create, room.template.find, room.template.remove, room.template.release):
        assert refusal(work, bad) == "wrong_input"


def test_an_image_that_is_mapped_twice(room: RbdRoom) -> None:
    """Neither device is taken."""
    if POOL:
        pytest.skip("mapping needs the kernel's rbd module")
    disk = room.disk(UUID)
    room.template.create(disk)
    for _ in range(2):
        room.run("map", "-p", room.pool, f"{UUID}.rbd.disk0")
    with pytest.raises(NodeFailure, match="mapped more than once"):
        room.template.assemble(disk, True)


def test_a_missing_package_is_named(room: RbdRoom) -> None:
    """One line: what is missing, and which package has it."""
    room.programs._env["PATH"] = "/nowhere"
    with pytest.raises(NodeFailure) as caught:
        room.template.create(room.disk(UUID))
    assert (caught.value.code, caught.value.hint) == ("missing_program", "install the package ceph-common")
    assert caught.value.text == "rbd is not installed on this node"
