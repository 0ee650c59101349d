"""Simulated volumes, thin volumes, images and mirrors against the contracts of the real ones."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.sim.lvm import POOL
from gnt.sim.mirrors import SimMirrors
from gnt.sim.storage import SimStorage, sim_templates
from tests.noded.places import place_below
from tests.noded.storage.contract import DataContract, Untouched, VolumeContract
from tests.noded.storage.drbd_spec import mirror_spec
from tests.noded.storage.drive import Driven
from tests.noded.storage.mirror_contract import MirrorContract
from tests.sim.storage_kit import AtOnce, SimPair, Turning


@pytest.fixture
def storage(tmp_path: Path) -> SimStorage:
    """Give a machine with a group of 128 MiB, half of it a thin pool."""
    mirrors = SimMirrors(lambda: 0.0, random.Random(1), lambda _one, _other: True)  # noqa: S311
    return SimStorage("node1", "127.0.77.1", tmp_path, mirrors, groups={"xenvg": 128})


def template_of(storage: SimStorage, root: Path, name: str) -> Driven:
    """Give one of the machine's templates."""
    processes: Any = AtOnce(storage)
    return Driven(sim_templates(place_below(root, clock=Turning()), processes, storage, lambda: "node1")[name])


def volume(name: str, uuid: str, **changes: Any) -> DiskSpec:
    """Describe a disk of two extents."""
    disk = DiskSpec(
        index=0,
        uuid=uuid,
        dev_type=DiskTemplate.PLAIN,
        size=8,
        logical_id=("xenvg", name),
        instance_name="web1",
        instance_uuid="i1",
    )
    return msgspec.structs.replace(disk, **changes)


@pytest.fixture
def plant(storage: SimStorage) -> Callable[[DiskSpec], Untouched]:
    """Somebody else's volume exactly where the disk would be."""

    def planting(disk: DiskSpec) -> Untouched:
        name = str(disk.logical_id[1])
        assert storage.run(["lvcreate", "-L12m", "-n", name, "--addtag", "mine", "xenvg"]).ok
        theirs = storage.lvm.volumes[f"xenvg/{name}"]

        def untouched() -> bool:
            found = storage.lvm.volumes.get(f"xenvg/{name}")
            return found is theirs and (found.size, found.tags) == (12 << 20, ["mine"])

        return untouched

    return planting


class TestVolumes(DataContract):
    """The template `plain`."""

    @pytest.fixture
    def template(self, storage: SimStorage, tmp_path: Path) -> Driven:
        """Give the template under test."""
        return template_of(storage, tmp_path, "plain")

    @pytest.fixture
    def disk(self) -> DiskSpec:
        """Give a disk."""
        return volume("a", "u1")

    @pytest.fixture
    def other(self) -> DiskSpec:
        """Give another disk."""
        return volume("b", "u2")


class TestThinVolumes(DataContract):
    """The template `thin`."""

    @pytest.fixture
    def template(self, storage: SimStorage, tmp_path: Path) -> Driven:
        """Give the template under test."""
        return template_of(storage, tmp_path, "thin")

    @pytest.fixture
    def disk(self) -> DiskSpec:
        """Give a disk."""
        return volume("a", "u1", dev_type=DiskTemplate.THIN, params={"pool": POOL})

    @pytest.fixture
    def other(self) -> DiskSpec:
        """Give another disk."""
        return volume("b", "u2", dev_type=DiskTemplate.THIN, params={"pool": POOL})


class TestImages(VolumeContract):
    """The template `qcow2`; its data is not in clusters, so no real QEMU reads it."""

    @pytest.fixture
    def template(self, storage: SimStorage, tmp_path: Path) -> Driven:
        """Give the template under test."""
        (tmp_path / "srv/ganeti/file-storage").mkdir(parents=True)
        return template_of(storage, tmp_path, "qcow2")

    @pytest.fixture
    def disk(self, tmp_path: Path) -> DiskSpec:
        """Give a disk."""
        return self._image(tmp_path, "u1", "web1")

    @pytest.fixture
    def other(self, tmp_path: Path) -> DiskSpec:
        """Give another disk."""
        return self._image(tmp_path, "u2", "web2")

    @pytest.fixture
    def plant(self, storage: SimStorage) -> Callable[[DiskSpec], Untouched]:
        """Somebody else's image exactly where the disk would be."""

        def planting(disk: DiskSpec) -> Untouched:
            path = Path(str(disk.logical_id[1]))
            path.parent.mkdir(parents=True, exist_ok=True)
            assert storage.run(["qemu-img", "create", "-f", "qcow2", str(path), "12M"]).ok
            before = path.read_bytes()
            return lambda: path.read_bytes() == before and sorted(path.parent.iterdir()) == [path]

        return planting

    def _image(self, root: Path, uuid: str, instance: str) -> DiskSpec:
        path = root / "srv/ganeti/file-storage" / instance / f"{uuid}.qcow2.disk0"
        return volume("", uuid, dev_type=DiskTemplate.QCOW2, logical_id=("loop", str(path)), instance_name=instance)


class TestMirrors(MirrorContract):
    """The template `drbd`, on two machines."""

    @pytest.fixture
    def pair(self, tmp_path: Path) -> SimPair:
        """Give two machines with a mirror described."""
        return SimPair(tmp_path, mirror_spec(), ("node-a", "node-b"))


def test_an_image_is_made_in_the_directory_that_this_process_has_open(storage: SimStorage, tmp_path: Path) -> None:
    """Named by the process that the world was copied from it is this one's all the same."""
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = storage.run(["qemu-img", "create", "-f", "qcow2", "./made", "4M"], Path(f"/proc/1/fd/{handle}"))
    finally:
        os.close(handle)
    assert done.ok
    assert (tmp_path / "made").exists()


def test_a_group_fills_up(storage: SimStorage, tmp_path: Path) -> None:
    """Room is counted over all volumes of the group, and is free again after a removal."""
    template = template_of(storage, tmp_path, "plain")
    disks = [volume(f"v{number}", f"u{number}") for number in range(8)]
    for disk in disks:
        template.create(disk)
    one_more = volume("more", "u-more")
    with pytest.raises(NodeFailure) as caught:
        template.create(one_more)
    assert caught.value.code == "no_space"
    template.remove(disks[3])
    template.create(one_more)


def test_a_group_that_is_not_there(storage: SimStorage, tmp_path: Path) -> None:
    """As on a real node."""
    template = template_of(storage, tmp_path, "plain")
    with pytest.raises(NodeFailure, match="'other' does not exist"):
        template.create(volume("a", "u1", logical_id=("other", "a")))
