"""Logical volumes against the contract, on real LVM, and what only LVM can get wrong.

The metadata on loop devices of this machine; the data where `GNT_TEST_VG` names a group that can be activated.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.internet import reactor

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.processes import Finished, Processes
from gnt.noded.storage import plain
from gnt.noded.storage.lvm import tag_text
from gnt.noded.storage.plain import LogicalVolumes
from gnt.noded.storage.programs import Programs, said
from tests.noded.places import ThreadPool, place_below
from tests.noded.storage.contract import DataContract, Untouched, VolumeContract, refusal
from tests.noded.storage.drive import Driven, on_reactor
from tests.noded.storage.lvm_room import LvmRoom, loop_group, real_group, skip_without_lvm

pytestmark = pytest.mark.root

UUID = "6a1cd4c5-0f0e-4d3c-8f55-3f3f0e1c7a10"
OTHER = "0e2b8a54-7a54-4c43-8f0b-6a4c5be1d2c3"
NOBODYS = "gnt-test-none"
LVREMOVE = shutil.which("lvremove", path="/usr/sbin:/sbin") or "lvremove"


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LvmRoom]:
    """Give the volume group for all tests of this module."""
    skip_without_lvm()
    real = real_group()
    if real is not None:
        yield real
        return
    yield from loop_group(tmp_path_factory.mktemp("lvm"), "gnt-test-plain")


@pytest.fixture
def room(group: LvmRoom) -> Iterator[LvmRoom]:
    """Give the volume group, empty before and after."""
    group.clear()
    yield group
    group.clear()


def template_in(place: Path, room: LvmRoom, kind: Any = LogicalVolumes) -> Driven:
    """Give a template of volumes that sees the group."""
    where = place_below(place, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
    processes: Any = Processes(where, reactor, grace=0.3)  # type: ignore[arg-type]
    return Driven(kind(where, Programs(processes, room.environ)), on_reactor)


@pytest.fixture
def template(tmp_path: Path, room: LvmRoom) -> Driven:
    """Give the template under test."""
    return template_in(tmp_path, room)


def volume(room: LvmRoom, name: str, uuid: str, **changes: Any) -> DiskSpec:
    """Describe a disk of 8 MiB, two extents."""
    disk = DiskSpec(
        index=0,
        uuid=uuid,
        dev_type=DiskTemplate.PLAIN,
        size=8,
        logical_id=(room.group, name),
        instance_name="web1.example.com",
        instance_uuid="i-1",
        params={"stripes": 1},
    )
    return msgspec.structs.replace(disk, **changes)


@pytest.fixture
def disk(room: LvmRoom) -> DiskSpec:
    """Give a disk."""
    return volume(room, f"{UUID}.disk0", UUID)


@pytest.fixture
def other(room: LvmRoom) -> DiskSpec:
    """Give another disk of the instance."""
    return volume(room, f"{OTHER}.disk1", OTHER)


@pytest.fixture
def plant(room: LvmRoom) -> Callable[[DiskSpec], Untouched]:
    """Somebody else's volume exactly where the disk would be, with a tag of its owner's."""

    def planting(disk: DiskSpec) -> Untouched:
        name = str(disk.logical_id[1])
        room.run("lvcreate", "-Wn", "-Zn", "-L12m", "-n", name, "--addtag", "mine", room.group)
        before = room.run("lvs", "-o", "lv_all", f"{room.group}/{name}")
        return lambda: room.run("lvs", "-o", "lv_all", f"{room.group}/{name}") == before

    return planting


class TestVolumes(VolumeContract):
    """The contract of every disk template, as far as it asks for no device."""

    @pytest.fixture(autouse=True)
    def _only_what_goes(self, group: LvmRoom, request: pytest.FixtureRequest) -> None:
        """Without device-mapper LVM makes no snapshots."""
        if "snapshot" in request.node.name and "foreign" not in request.node.name and not group.activates:
            pytest.skip(f"snapshots need device-mapper: set GNT_TEST_VG on a machine that has it ({group.group})")

    def test_an_adoption_that_is_undone_gives_the_volume_back(
        self, template: Driven, disk: DiskSpec, other: DiskSpec, plant: Callable[[DiskSpec], Untouched]
    ) -> None:
        """With its own name, and nobody's again: twice the same, and it may be adopted anew."""
        template.remove(disk)
        plant(disk)
        foreign = msgspec.structs.replace(disk, uuid="")
        template.rename(foreign, other)
        template.rename(other, foreign)
        template.rename(other, foreign)
        assert template.find(other) is None
        template.rename(foreign, other)
        assert template.find(other) is not None


class TestData(DataContract):
    """All of the contract, where volumes can be activated."""

    @pytest.fixture(autouse=True)
    def _activation(self, group: LvmRoom) -> None:
        """Skip by name elsewhere."""
        if not group.activates:
            pytest.skip("devices need device-mapper: set GNT_TEST_VG on a machine that has it")


def test_tags_say_whose_volume_it_is(template: Driven, disk: DiskSpec, room: LvmRoom) -> None:
    """The UUID from the first moment; a label beside it, and only one."""
    template.create(disk)
    name = str(disk.logical_id[1])
    assert room.tags(name) == {f"gnt.disk.{UUID}"}
    template.label(disk, "originstname+web1.example.com")
    template.label(disk, "originstname+web2 ä")
    assert room.tags(name) == {f"gnt.disk.{UUID}", "originstname+web2__"}


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("originstname+web1", "originstname+web1"),
        ("-web", "_web"),
        ("a-b c/d", "a-b_c_d"),
        ("é", "_"),
        ("x" * 200, "x" * 128),
        ("", ""),
    ],
)
def test_label_as_tag(text: str, tag: str) -> None:
    """What LVM does not take in a tag becomes an underscore; at most 128 characters."""
    assert tag_text(text) == tag


def test_sizes_are_rounded_up_and_told_truly(template: Driven, disk: DiskSpec) -> None:
    """9 MiB need three extents of 4: that is what is found, and the same wish again is no other size."""
    odd = msgspec.structs.replace(disk, size=9)
    template.create(odd)
    template.create(odd)
    assert template.find(odd).size == 12
    template.grow(odd, 11, True)
    assert template.find(odd).size == 12
    template.grow(odd, 13, True)
    assert template.find(odd).size == 16


def test_stripes(template: Driven, disk: DiskSpec, room: LvmRoom) -> None:
    """As many as wanted, no more than there are physical volumes."""
    template.create(msgspec.structs.replace(disk, params={"stripes": 5}))
    said = room.run("lvs", "--noheadings", "-o", "stripes", f"{room.group}/{disk.logical_id[1]}")
    assert int(said) == len(room.devices) or room.activates


def test_fewer_stripes_where_so_many_do_not_fit(template: Driven, disk: DiskSpec, room: LvmRoom) -> None:
    """One physical volume is nearly full: the volume is made on the other alone."""
    if room.activates:
        pytest.skip("needs two physical volumes of known size")
    room.run("lvcreate", "-Wn", "-Zn", "-L500m", "-n", "filler", room.group, room.devices[0])
    template.create(msgspec.structs.replace(disk, size=64, params={"stripes": 2}))
    said = room.run("lvs", "--noheadings", "-o", "stripes", f"{room.group}/{disk.logical_id[1]}")
    assert int(said) == 1


def test_a_striped_volume_grows_by_whole_rows(template: Driven, disk: DiskSpec, room: LvmRoom) -> None:
    """Two stripes of 4 MiB extents: from 8 MiB to at least 9 is 16."""
    if room.activates:
        pytest.skip("needs two physical volumes")
    template.create(msgspec.structs.replace(disk, params={"stripes": 2}))
    template.grow(disk, 9, True)
    assert template.find(disk).size == 16


def test_a_group_that_is_not_there(template: Driven, disk: DiskSpec) -> None:
    """Named in one line; finding says None, removing is done."""
    lost = msgspec.structs.replace(disk, logical_id=(NOBODYS, "a"))
    with pytest.raises(NodeFailure) as caught:
        template.create(lost)
    assert (caught.value.code, caught.value.text) == (
        "not_found",
        f"Volume group '{NOBODYS}' does not exist on this node",
    )
    assert template.find(lost) is None
    template.remove(lost)
    assert [state.facts for state in template.find_many([lost])] == [None]


def test_a_group_that_is_too_small(template: Driven, disk: DiskSpec, room: LvmRoom) -> None:
    """What was asked for and what there is, in MiB; nothing is made."""
    with pytest.raises(NodeFailure, match=r"Not enough free space: required 900000, available \d+ \(MiB in volume"):
        template.create(msgspec.structs.replace(disk, size=900000))
    assert room.run("lvs", "--noheadings", room.group) == ""


@pytest.mark.parametrize(
    "names",
    [("a b", "x"), ("", "x"), ("vg", "-x"), ("vg", ".."), ("vg", "x_mlog0"), ("vg", 'x"y'), ("vg",), ("v/g", "x")],
)
def test_names_that_lvm_would_misread(template: Driven, disk: DiskSpec, names: tuple[str, ...]) -> None:
    """Refused before any command is run."""
    bad = msgspec.structs.replace(disk, logical_id=names)
    for work in (template.create, template.remove, template.find, template.release):
        assert refusal(work, bad) == "wrong_input"


@pytest.mark.parametrize("name", ["snapshots.disk0", "pvmove1", "web_tmeta", "web_rimage_0"])
def test_names_that_lvm_keeps_for_itself(template: Driven, disk: DiskSpec, name: str) -> None:
    """Refused before any command is run, with the part that is at fault; a group may have such a name."""
    with pytest.raises(NodeFailure, match=r"LVM keeps '[a-z_]+' for itself") as caught:
        template.create(msgspec.structs.replace(disk, logical_id=(disk.logical_id[0], name)))
    assert caught.value.code == "wrong_input"
    assert refusal(template.create, msgspec.structs.replace(disk, logical_id=(name, "a"))) == "not_found"


def test_advice_to_read_the_help_is_no_reason() -> None:
    """What LVM says before it is."""
    errors = '  Names starting "snapshot" are reserved.\n  Run `lvcreate --help\' for more information.\n'
    assert said(Finished(status=3, signal=None, errors=errors)) == 'Names starting "snapshot" are reserved.'


def test_another_group_is_no_new_name(template: Driven, disk: DiskSpec) -> None:
    """A volume cannot be renamed out of its group."""
    template.create(disk)
    assert refusal(template.rename, disk, msgspec.structs.replace(disk, logical_id=("other", "a"))) == "wrong_input"


def test_a_rename_cut_short_is_finished(template: Driven, disk: DiskSpec, other: DiskSpec, room: LvmRoom) -> None:
    """After a crash between tag and name the repeated call goes on, and so does the one that undoes it."""
    template.create(disk)
    old = str(disk.logical_id[1])
    room.run("lvchange", "--deltag", f"gnt.disk.{UUID}", "--addtag", f"gnt.disk.{OTHER}", f"{room.group}/{old}")
    template.rename(disk, other)
    assert template.find(other) is not None
    new = str(other.logical_id[1])
    room.run("lvchange", "--deltag", f"gnt.disk.{OTHER}", "--addtag", f"gnt.disk.{UUID}", f"{room.group}/{new}")
    template.rename(disk, other)
    assert template.find(other) is not None
    template.rename(other, disk)
    assert template.find(disk) is not None


@pytest.fixture
def runs(template: Driven) -> list[str]:
    """Note the names of the programs that the template runs."""
    programs = template.template.lvm._programs
    noted: list[str] = []
    run = programs._processes.run

    def counted(argv: Any, **options: Any) -> Any:
        noted.append(argv[0])
        return run(argv, **options)

    programs._processes.run = counted
    return noted


def test_one_lvs_for_many(template: Driven, room: LvmRoom, runs: list[str]) -> None:
    """However many disks are looked for, one command is run."""
    disks = [volume(room, f"v{number}", f"u{number}") for number in range(1000)]
    template.create(disks[7])
    runs.clear()
    states = template.find_many(disks)
    assert runs == ["lvs"]
    assert [place for place, state in enumerate(states) if state.facts] == [7]


def test_the_usual_case_costs_the_commands_that_it_needs(
    template: Driven, disk: DiskSpec, room: LvmRoom, runs: list[str]
) -> None:
    """One look at the room for several that are made; then each costs one command, to activate or remove it too."""
    template.create(disk)
    template.create(msgspec.structs.replace(disk, uuid="another", logical_id=(room.group, "another")))
    assert runs == ["pvs", "lvcreate", "lvcreate"]
    runs.clear()
    if room.activates:
        template.assemble(disk, True)
        assert runs == ["lvs"]
        room.run("lvchange", "-an", f"{room.group}/{disk.logical_id[1]}")
        runs.clear()
        template.assemble(disk, True)
        assert runs == ["lvchange"]
        runs.clear()
    template.remove(disk)
    assert runs == ["lvremove"]


def test_what_was_seen_of_the_room_is_no_reason_to_refuse(
    template: Driven, disk: DiskSpec, room: LvmRoom, runs: list[str]
) -> None:
    """A group that was full a moment ago has room again; one that has none any more is looked at again, and refused."""
    large = msgspec.structs.replace(disk, uuid="large", logical_id=(room.group, "large"), size=800)
    template.create(large)
    room.run("lvremove", "-f", f"{room.group}/large")
    runs.clear()
    template.create(large)
    assert runs == ["pvs", "lvcreate"]
    assert refusal(template.create, msgspec.structs.replace(disk, size=400)) == "no_space"
    room.run("lvremove", "-f", f"{room.group}/large")
    template.create(disk)
    room.run("lvcreate", "-L900m", "-nforeign", room.group)
    runs.clear()
    big = msgspec.structs.replace(disk, uuid="big", logical_id=(room.group, "big"), size=150)
    assert refusal(template.create, big) == "no_space"
    assert runs == ["lvcreate", "pvs", "lvs"]


def test_a_volume_lies_where_the_most_room_is(template: Driven, disk: DiskSpec, room: LvmRoom) -> None:
    """As if physical volumes were named in that order: they are filled evenly."""
    if len(room.devices) < 2:
        pytest.skip("this group lies on one physical volume")
    # 40 on one, 80 on the other, and so on: each where less has been taken before.
    for number, size in enumerate((40, 80, 40, 8, 8)):
        name = (room.group, f"v{number}")
        template.create(msgspec.structs.replace(disk, uuid=f"u{number}", logical_id=name, size=size))
    rows = room.run("pvs", "--noheadings", "--units", "m", "--nosuffix", "-o", "pv_used", *room.devices).split()
    assert sorted(float(used) for used in rows) == [88.0, 88.0]


def test_what_has_a_device_is_not_ours_for_that(
    template: Driven, disk: DiskSpec, room: LvmRoom, tmp_path: Path, plant: Callable[[DiskSpec], Untouched]
) -> None:
    """A foreign volume is not opened, whether it is active or not."""
    untouched = plant(disk)
    assert refusal(template.assemble, disk, True) == "foreign"
    if not room.activates:
        template.template.lvm._programs.devices = tmp_path
        device = Path(template.template.lvm.path(room.group, str(disk.logical_id[1])))
        device.parent.mkdir()
        device.touch()
        assert refusal(template.assemble, disk, True) == "foreign"
    assert untouched()


# What LVM 2.03 says of a volume that somebody has open, and where udev was in the way for a moment.
_IN_USE = "  Logical volume {name} in use."
_OPEN = "  device-mapper: remove ioctl on  (253:3) failed: Device or resource busy\n  Unable to deactivate open {name}."


@pytest.mark.parametrize("busy", [(_IN_USE, 3), (_IN_USE, 1000), (_OPEN, 3), (_OPEN, 1000)])
def test_a_volume_that_is_held_open(
    tmp_path: Path, room: LvmRoom, disk: DiskSpec, monkeypatch: pytest.MonkeyPatch, busy: tuple[str, int]
) -> None:
    """It is tried for a while, since udev opens what it sees; then one line says so, with who might know."""
    says, times = busy
    monkeypatch.setattr(plain, "BUSY_EVERY", 0.01)
    template = template_in(tmp_path, room)
    template.create(disk)
    (tmp_path / "bin").mkdir()
    (tmp_path / "said").write_text(says.format(name=f"{room.group}/{disk.logical_id[1]}") + "\n")
    stand_in = tmp_path / "bin/lvremove"
    stand_in.write_text(
        f'#!/bin/sh\necho x >>{tmp_path}/tries\n[ $(wc -l <{tmp_path}/tries) -gt {times} ] && exec {LVREMOVE} "$@"\n'
        f"cat {tmp_path}/said >&2\nexit 5\n"
    )
    stand_in.chmod(0o755)
    env = template.template.lvm._programs._env
    env["PATH"] = f"{tmp_path}/bin:{env['PATH']}"
    if times < plain.BUSY_TRIES:
        template.remove(disk)
        assert template.find(disk) is None
        return
    with pytest.raises(NodeFailure) as caught:
        template.remove(disk)
    assert (caught.value.code, caught.value.retry) == ("busy", True)
    assert "\n" not in caught.value.text
    assert "fuser" in caught.value.hint
    assert len((tmp_path / "tries").read_text().splitlines()) == plain.BUSY_TRIES
    assert template.find(disk) is not None


def test_a_missing_package_is_named(tmp_path: Path, room: LvmRoom, disk: DiskSpec) -> None:
    """One line: what is missing, and which package has it."""
    template = template_in(tmp_path, room)
    template.template.lvm._programs._env["PATH"] = "/nowhere"
    with pytest.raises(NodeFailure) as caught:
        template.create(disk)
    assert (caught.value.code, caught.value.hint) == ("missing_program", "install the package lvm2")
    assert caught.value.text == "pvs is not installed on this node"
