"""Simulated volumes against the contract of every disk template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.sim.volumes import SimVolume, SimVolumes
from tests.noded.places import place_below
from tests.noded.storage.contract import DataContract, Untouched
from tests.noded.storage.drive import Driven


@pytest.fixture
def template(tmp_path: Path) -> Driven:
    """Give the template under test."""
    return Driven(SimVolumes(place_below(tmp_path), {"xenvg": 64}))


def volume(name: str, uuid: str) -> DiskSpec:
    """Describe a disk of two extents."""
    return DiskSpec(
        index=0,
        uuid=uuid,
        dev_type=DiskTemplate.PLAIN,
        size=8,
        logical_id=("xenvg", name),
        instance_name="web1",
        instance_uuid="i1",
    )


@pytest.fixture
def disk() -> DiskSpec:
    """Give a disk."""
    return volume("a", "u1")


@pytest.fixture
def other() -> DiskSpec:
    """Give another disk."""
    return volume("b", "u2")


@pytest.fixture
def plant(template: Driven) -> Callable[[DiskSpec], Untouched]:
    """Somebody else's volume exactly where the disk would be."""

    def planting(disk: DiskSpec) -> Untouched:
        volumes: SimVolumes = template.template
        theirs = SimVolume(owner="", size=12, label="mine")
        volumes._resize(disk, 12)
        volumes._keep(disk, theirs)
        key = "/".join(map(str, disk.logical_id))
        return lambda: volumes.volumes()[key] == theirs

    return planting


class TestSimVolumes(DataContract):
    """The contract of every disk template."""


def test_a_group_fills_up(template: Driven) -> None:
    """Room is counted over all volumes of the group, and is free again after a removal."""
    disks = [volume(f"v{number}", f"u{number}") for number in range(8)]
    for disk in disks:
        template.create(disk)
    one_more = volume("more", "u-more")
    with pytest.raises(NodeFailure) as caught:
        template.create(one_more)
    assert caught.value.code == "no_space"
    template.remove(disks[3])
    template.create(one_more)


def test_a_group_that_is_not_there(template: Driven, disk: DiskSpec) -> None:
    """As on a real node."""
    with pytest.raises(NodeFailure, match="'other' does not exist"):
        template.create(msgspec.structs.replace(disk, logical_id=("other", "a")))
