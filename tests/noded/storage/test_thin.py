"""Thin volumes against the contract where volumes can be activated (`GNT_TEST_VG`); elsewhere what needs no pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.storage.thin import ThinVolumes
from tests.noded.storage.contract import DataContract, Untouched, refusal
from tests.noded.storage.drive import Driven
from tests.noded.storage.lvm_room import LvmRoom, loop_group, real_group, skip_without_lvm
from tests.noded.storage.test_plain import OTHER, UUID, template_in, volume

pytestmark = pytest.mark.root
POOL = "gnt-thin"


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LvmRoom]:
    """Give the volume group for all tests of this module."""
    skip_without_lvm()
    real = real_group()
    if real is not None:
        yield real
        return
    yield from loop_group(tmp_path_factory.mktemp("lvm"), "gnt-test-thin")


@pytest.fixture
def room(group: LvmRoom) -> Iterator[LvmRoom]:
    """Give the volume group with nothing but a pool of 128 MiB, where pools can be."""
    group.clear()
    if group.activates:
        group.run("lvcreate", "-qq", "-Zn", "--type", "thin-pool", "-L128m", "-n", POOL, group.group)
    yield group
    group.clear()


@pytest.fixture
def template(tmp_path: Path, room: LvmRoom) -> Driven:
    """Give the template under test."""
    return template_in(tmp_path, room, ThinVolumes)


def thin(room: LvmRoom, uuid: str) -> DiskSpec:
    """Describe a disk of 8 MiB."""
    return volume(room, f"{uuid}.thin.disk0", uuid, dev_type=DiskTemplate.THIN, params={"pool": POOL})


@pytest.fixture
def disk(room: LvmRoom) -> DiskSpec:
    """Give a disk."""
    return thin(room, UUID)


@pytest.fixture
def other(room: LvmRoom) -> DiskSpec:
    """Give another disk."""
    return thin(room, OTHER)


@pytest.fixture
def plant(room: LvmRoom) -> Callable[[DiskSpec], Untouched]:
    """Somebody else's thin volume exactly where the disk would be."""

    def planting(disk: DiskSpec) -> Untouched:
        name = str(disk.logical_id[1])
        room.run("lvcreate", "-qq", "-V12m", "-n", name, "--thinpool", POOL, "--addtag", "mine", room.group)
        before = room.run("lvs", "-o", "lv_uuid,lv_name,lv_size,lv_tags", f"{room.group}/{name}")
        return lambda: room.run("lvs", "-o", "lv_uuid,lv_name,lv_size,lv_tags", f"{room.group}/{name}") == before

    return planting


class TestThinVolumes(DataContract):
    """The contract of every disk template."""

    @pytest.fixture(autouse=True)
    def _activation(self, group: LvmRoom) -> None:
        """Skip by name elsewhere."""
        if not group.activates:
            pytest.skip("thin pools need device-mapper: set GNT_TEST_VG on a machine that has it")


def test_more_may_be_promised_than_there_is(template: Driven, room: LvmRoom) -> None:
    """Volumes take room as they are written; only one that is larger than its pool is refused."""
    if not room.activates:
        pytest.skip("thin pools need device-mapper: set GNT_TEST_VG on a machine that has it")
    for number in range(3):
        template.create(msgspec.structs.replace(thin(room, f"u{number}"), size=100))
    with pytest.raises(NodeFailure, match="larger than its pool") as caught:
        template.create(msgspec.structs.replace(thin(room, "u9"), size=200))
    assert caught.value.code == "no_space"


def test_a_pool_that_is_not_there(template: Driven, disk: DiskSpec, room: LvmRoom) -> None:
    """Named, with the command that makes it; a volume that is no pool does not count."""
    room.run("lvcreate", "-Wn", "-Zn", "-L8m", "-n", "nopool", room.group)
    for name in ("none", "nopool"):
        with pytest.raises(NodeFailure) as caught:
            template.create(msgspec.structs.replace(disk, params={"pool": name}))
        assert caught.value.code == "not_found"
        assert caught.value.text == f"Thin pool {room.group}/{name} does not exist on this node"
        assert caught.value.hint == f"lvcreate --type thin-pool -L SIZE -n {name} {room.group}"
    assert refusal(template.create, msgspec.structs.replace(disk, params={"pool": ""})) == "wrong_input"
