"""The calls about storage units, volumes and devices, on real LVM (metadata only) and real directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor

from gnt.model.errors import NodeFailure
from gnt.noded.processes import Finished, Processes
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.units import StorageUnits
from gnt.noded.storage_units import Storage
from gnt.wire.calls import NodeCall, StorageUnit
from gnt.wire.disk_calls import (
    DeviceSizes,
    StorageList,
    StorageModify,
    StorageRepair,
    StorageRow,
    VolumeList,
)
from tests.noded.places import ThreadPool, begin, context, place_below
from tests.noded.storage.drive import at_once, on_reactor
from tests.noded.storage.lvm_room import LvmRoom, loop_group, skip_without_lvm
from tests.noded.storage.test_units import Scripted

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LvmRoom]:
    """Give a volume group of two physical volumes."""
    skip_without_lvm()
    yield from loop_group(tmp_path_factory.mktemp("lvm"), "gnt-test-units")


@pytest.fixture
def room(group: LvmRoom) -> Iterator[LvmRoom]:
    """Give the group, empty before and after."""
    group.clear()
    yield group
    group.clear()


@pytest.fixture
def programs(tmp_path: Path, room: LvmRoom) -> Programs:
    """Give programs that see the group."""
    place = place_below(tmp_path, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
    processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
    return Programs(processes, room.environ)


@pytest.fixture
def part(tmp_path: Path, programs: Programs) -> Storage:
    """Give the part under test."""
    return Storage(place_below(tmp_path), programs)


def ask(part: Storage, call: NodeCall[Any]) -> Any:
    """Let the part answer."""
    return on_reactor(begin(part, call))


def code(part: Storage, call: NodeCall[Any]) -> str:
    """Let the part refuse; gives the code."""
    with pytest.raises(NodeFailure) as caught:
        ask(part, call)
    return caught.value.code


def test_groups_and_physical_volumes(part: Storage, room: LvmRoom) -> None:
    """Sizes in whole MiB that add up; one unit when it is named, none when there is no such."""
    room.run("lvcreate", "-Wn", "-Zn", "-L40m", "-n", "a", room.group, room.devices[0])
    assert ask(part, StorageList(kind="lvm-vg")) == [
        StorageRow(kind="lvm-vg", name=room.group, size=1016, used=40, free=976)
    ]
    rows = {row.name: row for row in ask(part, StorageList(kind="lvm-pv"))}
    assert set(rows) == set(room.devices)
    first = rows[room.devices[0]]
    assert (first.size, first.used, first.free, first.allocatable) == (508, 40, 468, True)
    assert ask(part, StorageList(kind="lvm-pv", name=room.devices[1])) == [rows[room.devices[1]]]
    assert ask(part, StorageList(kind="lvm-vg", name="other")) == []
    assert ask(part, StorageList(kind="lvm-thin")) == []


def test_a_physical_volume_is_shut_and_opened(part: Storage, room: LvmRoom) -> None:
    """Each twice; one that is not there is named."""
    device = room.devices[1]
    for allocatable in (False, False, True, True):
        ask(part, StorageModify(name=device, allocatable=allocatable))
        (row,) = ask(part, StorageList(kind="lvm-pv", name=device))
        assert row.allocatable is allocatable
    assert code(part, StorageModify(name="/dev/none", allocatable=True)) == "not_found"


def test_repair(part: Storage, room: LvmRoom) -> None:
    """A whole group is left as it is; one that does not exist is named; a bad name is refused."""
    ask(part, StorageRepair(name=room.group))
    assert code(part, StorageRepair(name="gnt-test-none")) == "not_found"
    assert code(part, StorageRepair(name="--all")) == "wrong_input"


def test_repair_of_a_group_that_lost_a_disk(part: Storage, room: LvmRoom, programs: Programs) -> None:
    """The physical volume is dropped with what was on it; what is on others stays."""
    group, (kept, lost) = "gnt-test-lost", room.devices
    room.run("vgremove", "-q", room.group)
    try:
        room.run("vgcreate", "-q", group, kept, lost)
        room.run("lvcreate", "-Wn", "-Zn", "-L12m", "-n", "stays", group, kept)
        room.run("lvcreate", "-Wn", "-Zn", "-L12m", "-n", "goes", group, lost)
        programs._env["LVM_SYSTEM_DIR"] = only_one(Path(room.environ["LVM_SYSTEM_DIR"]), kept)
        ask(part, StorageRepair(name=group))
        assert [one.name for one in ask(part, VolumeList(groups=(group,)))] == ["stays"]
        ask(part, StorageRepair(name=group))
    finally:
        for device in room.devices:
            room.run("pvremove", "-q", "-ff", "-y", device)
        room.run("vgcreate", "-q", room.group, *room.devices)


def only_one(system: Path, device: str) -> str:
    """Make a place for LVM's settings in which it sees one device only."""
    other = system.with_name("lvm-without")
    other.mkdir()
    (other / "lvm.conf").write_text(
        f'global {{ activation = 0 }}\ndevices {{ filter = [ "a|^{device}$|", "r|.*|" ]\n use_devicesfile = 0 }}\n'
        "backup { backup = 0\n archive = 0 }\n"
    )
    return str(other)


def test_volumes(part: Storage, room: LvmRoom) -> None:
    """Size, tags and where each volume is; of all groups, or of those named; a group that is not there has none."""
    room.run("lvcreate", "-Wn", "-Zn", "-L12m", "-i2", "-n", "a", "--addtag", "x", room.group)
    room.run("lvcreate", "-Wn", "-Zn", "-L504m", "-n", "b", room.group, *room.devices)
    found = {one.name: one for one in ask(part, VolumeList(groups=(room.group,)))}
    assert (found["a"].size, found["a"].tags, found["a"].group) == (16, ["x"], room.group)
    assert len(found["a"].devices) == 2
    assert found["b"].size == 504
    assert {device.partition("(")[0] for device in found["b"].devices} <= set(room.devices)
    assert [one.name for one in ask(part, VolumeList())] == ["a", "b"]
    assert ask(part, VolumeList(groups=("gnt-test-none",))) == []
    assert code(part, VolumeList(groups=("-a",))) == "wrong_input"


def test_device_sizes(part: Storage, room: LvmRoom) -> None:
    """Block devices only: what is no device, not there or elsewhere is left out."""
    paths = [room.devices[0], "/dev/null", "/dev/none", "/etc/passwd", "relative", "/dev/../etc/passwd"]
    assert ask(part, DeviceSizes(paths=paths)) == {room.devices[0]: 512 << 20}


def test_directories(tmp_path: Path) -> None:
    """What the files take, and the file system around them; a directory that is not allowed is refused."""
    place = place_below(tmp_path)
    base = place.layout.default_file_storage()
    base.mkdir(parents=True)
    (base / "disk").write_bytes(b"x" * (3 << 20))
    with (base / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    nothing: Any = Scripted(Finished(status=127, signal=None))
    part = Storage(place, Programs(nothing, {}))
    (row,) = at_once(begin(part, StorageList(kind="file", directory=str(base))))
    system = os.statvfs(base)
    assert (row.kind, row.name, row.used) == ("file", str(base), 3)
    assert row.size == system.f_frsize * system.f_blocks >> 20
    assert at_once(begin(part, StorageList(kind="file", directory=str(base), name="/other"))) == []
    for call, wanted in (
        (StorageList(kind="file", directory="/etc"), "not_allowed"),
        (StorageList(kind="rados"), "unsupported"),
        (StorageList(kind="lvm-vg"), "missing_program"),
    ):
        with pytest.raises(NodeFailure) as caught:
            at_once(begin(part, call))
        assert caught.value.code == wanted


def test_reports_of_the_new_kinds(tmp_path: Path, programs: Programs, room: LvmRoom) -> None:
    """Physical volumes of a group that may be used; a pool that does not exist is None."""
    place = place_below(tmp_path)
    units = StorageUnits(place, programs._processes)
    units._volumes._programs = units._volumes._lvm._programs = programs
    room.run("pvchange", "--allocatable", "n", room.devices[1])
    try:
        wanted = [StorageUnit(kind="lvm-pv", key=room.group), StorageUnit(kind="lvm-thin", key=f"{room.group}/p")]
        facts, problems = on_reactor(units.facts(wanted, context()))
    finally:
        room.run("pvchange", "--allocatable", "y", room.devices[1])
    assert problems == {}
    assert [(one.free, one.size) for one in facts] == [(508, 508), (None, None)]
