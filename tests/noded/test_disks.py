"""The calls about disks, on real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.disks import Disks
from gnt.noded.processes import Finished
from gnt.noded.storage.links import DeviceLinks
from gnt.noded.storage.registry import real_templates
from gnt.wire.calls import (
    DiskAssemble,
    DiskCreate,
    DiskDevice,
    DiskFacts,
    DiskFind,
    DiskRelease,
    DiskRemove,
    StorageCheck,
)
from gnt.wire.disk_calls import (
    DiskDemote,
    DiskGrow,
    DiskGrowCheck,
    DiskPromote,
    DiskRename,
    DiskState,
    DiskStates,
)
from tests.noded.places import ask, place_below, refused
from tests.noded.storage.drive import at_once
from tests.noded.storage.test_units import Scripted

NO_PROGRAMS: Any = Scripted(Finished(status=127, signal=None))


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    """Give the part under test, with the built-in directory for file disks."""
    place = place_below(tmp_path)
    place.layout.default_file_storage().mkdir(parents=True)
    return Disks(place, real_templates(place, NO_PROGRAMS))


@pytest.fixture
def disk(tmp_path: Path) -> DiskSpec:
    """Give a file disk of 2 MiB."""
    path = tmp_path / "srv/ganeti/file-storage/web1/u1.file.disk0"
    return DiskSpec(
        index=0,
        uuid="u1",
        dev_type=DiskTemplate.FILE,
        size=2,
        logical_id=("loop", str(path)),
        instance_name="web1",
        instance_uuid="i1",
    )


def test_life_of_a_disk(disks: Disks, disk: DiskSpec, tmp_path: Path) -> None:
    """Made, assembled with its link, released without, removed: each call twice."""
    link = tmp_path / "var/run/ganeti/instance-disks/web1:0"
    path = str(disk.logical_id[1])
    for _ in range(2):
        ask(disks, DiskCreate(disk=disk))
    for _ in range(2):
        answer = ask(disks, DiskAssemble(disk=disk, primary=True))
        assert answer == DiskDevice(path=path, link=str(link))
    assert str(link.readlink()) == path
    assert at_once(disks.devices([disk])) == [DiskDevice(path=path, link=str(link))]
    for _ in range(2):
        ask(disks, DiskRelease(disk=disk))
    assert not link.is_symlink()
    assert ask(disks, DiskFind(disk=disk)).size == 2
    for _ in range(2):
        ask(disks, DiskRemove(disk=disk))
    assert ask(disks, DiskFind(disk=disk)) is None


def test_a_secondary_has_no_link(disks: Disks, disk: DiskSpec) -> None:
    """Only the primary node's guests open the disk."""
    ask(disks, DiskCreate(disk=disk))
    assert ask(disks, DiskAssemble(disk=disk, primary=False)).link is None


def test_a_wrong_link_is_put_right(disks: Disks, disk: DiskSpec, tmp_path: Path) -> None:
    """A link left by an earlier disk of this index points to the new one afterwards; removal takes it away."""
    link = tmp_path / "var/run/ganeti/instance-disks/web1:0"
    link.parent.mkdir(parents=True)
    link.symlink_to("/nowhere")
    ask(disks, DiskCreate(disk=disk))
    ask(disks, DiskAssemble(disk=disk, primary=True))
    assert str(link.readlink()) == str(disk.logical_id[1])
    ask(disks, DiskRemove(disk=disk))
    assert not link.is_symlink()


@pytest.mark.parametrize("name", ["disk0_data_replaced-1", "disk0_meta"])
def test_a_part_of_a_mirror_has_no_link(tmp_path: Path, disk: DiskSpec, name: str) -> None:
    """A volume that was replaced in a mirror is removed while the mirror's guest runs: its link stays."""
    links = DeviceLinks(Layout(tmp_path))
    link = Path(links.make(disk, "/dev/drbd0"))
    volume = msgspec.structs.replace(disk, uuid="u2", dev_type=DiskTemplate.PLAIN, logical_id=("xenvg", name))
    links.remove(volume)
    assert str(link.readlink()) == "/dev/drbd0"
    links.make(volume, f"/dev/xenvg/{name}")
    links.remove(volume)
    assert not link.is_symlink()


@pytest.mark.parametrize("kind", ["gluster"])
def test_templates_that_come_later_are_refused_by_name(disks: Disks, disk: DiskSpec, kind: str) -> None:
    """Never ignored, and the text says which."""
    other = msgspec.structs.replace(disk, dev_type=DiskTemplate(kind))
    for call in (DiskCreate(disk=other), DiskRemove(disk=other), DiskFind(disk=other), DiskRelease(disk=other)):
        failure = refused(disks, call)
        assert failure.code == "unsupported"
        assert kind in failure.text


def test_a_device_that_is_not_there(disks: Disks, disk: DiskSpec) -> None:
    """The text names disk and instance."""
    with pytest.raises(NodeFailure, match=r"'disk/0' of web1 is not set up"):
        at_once(disks.devices([disk]))


@pytest.mark.parametrize("name", ["../web1", "", "..", "a/b"])
def test_an_instance_name_cannot_leave_the_directory(disks: Disks, disk: DiskSpec, name: str) -> None:
    """The link's name is built from the instance's."""
    ask(disks, DiskCreate(disk=disk))
    bad = msgspec.structs.replace(disk, instance_name=name)
    assert refused(disks, DiskAssemble(disk=bad, primary=True)).code == "wrong_input"


def test_checking_storage(disks: Disks, tmp_path: Path) -> None:
    """The cluster's own directory passes, another and another kind do not."""
    for kind in ("file", "qcow2"):
        assert ask(disks, StorageCheck(kind=kind, directory=str(tmp_path / "srv/ganeti/file-storage"))) is None
    assert refused(disks, StorageCheck(kind="file", directory=str(tmp_path))).code == "not_allowed"
    assert refused(disks, StorageCheck(kind="rados", directory=str(tmp_path))).code == "unsupported"


# The calls that came with real disks


def elsewhere(disk: DiskSpec, tmp_path: Path) -> DiskSpec:
    """Give another disk of the same instance."""
    path = tmp_path / "srv/ganeti/file-storage/web1/u2.file.disk1"
    return msgspec.structs.replace(disk, uuid="u2", index=1, logical_id=("loop", str(path)))


def test_a_disk_grows(disks: Disks, disk: DiskSpec) -> None:
    """The wanted size is reached, whatever came before; the check changes nothing."""
    ask(disks, DiskCreate(disk=disk))
    ask(disks, DiskGrowCheck(disk=disk, size=3))
    assert ask(disks, DiskFind(disk=disk)).size == 2
    for _ in range(2):
        ask(disks, DiskGrow(disk=disk, size=3, backing=True))
    assert ask(disks, DiskFind(disk=disk)).size == 3


def test_a_disk_is_renamed(disks: Disks, disk: DiskSpec, tmp_path: Path) -> None:
    """The old one is gone, the new one there; a name does not change the template."""
    other = elsewhere(disk, tmp_path)
    ask(disks, DiskCreate(disk=disk))
    ask(disks, DiskRename(disk=disk, target=other))
    assert ask(disks, DiskFind(disk=disk)) is None
    assert ask(disks, DiskFind(disk=other)).size == 2
    stranger = msgspec.structs.replace(other, dev_type=DiskTemplate.SHAREDFILE)
    assert refused(disks, DiskRename(disk=other, target=stranger)).code == "wrong_input"


def test_states_of_many_disks(disks: Disks, disk: DiskSpec, tmp_path: Path) -> None:
    """In the order asked for; what this node does not serve is a problem of its own and hides no other."""
    other = elsewhere(disk, tmp_path)
    strange = msgspec.structs.replace(disk, dev_type=DiskTemplate.GLUSTER)
    ask(disks, DiskCreate(disk=other))
    found = ask(disks, DiskStates(disks=[disk, strange, other]))
    assert [state.facts.size if state.facts else None for state in found] == [None, None, 2]
    assert [state.problem for state in found] == ["", "Disk template gluster is not supported yet", ""]


def test_a_problem_with_one_disk_of_a_guest_is_told(disks: Disks, disk: DiskSpec) -> None:
    """A guest does not start with a disk of which nobody knows."""
    bad = msgspec.structs.replace(disk, logical_id=("loop", "/etc/passwd"))
    with pytest.raises(NodeFailure, match="uses a forbidden prefix"):
        at_once(disks.devices([bad]))


def test_promotion_makes_the_link_and_demotion_takes_it(disks: Disks, disk: DiskSpec, tmp_path: Path) -> None:
    """As a migration needs it on the target and on the source."""
    link = tmp_path / "var/run/ganeti/instance-disks/web1:0"
    ask(disks, DiskCreate(disk=disk))
    ask(disks, DiskAssemble(disk=disk, primary=False))
    ask(disks, DiskPromote(disk=disk, shared=True))
    assert str(link.readlink()) == str(disk.logical_id[1])
    ask(disks, DiskDemote(disk=disk))
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("facts", "fine"),
    [
        (DiskFacts(path="/dev/gnt-test-none/a", size=1), False),
        (DiskFacts(path="", size=1), False),
        (DiskFacts(path="", size=1, uri="rbd:a/b"), True),
        (DiskFacts(path="/dev/null", size=1), True),
    ],
)
def test_a_disk_that_is_there_but_not_assembled(tmp_path: Path, disk: DiskSpec, facts: DiskFacts, fine: bool) -> None:
    """After a boot a volume may be inactive, an image not mapped: its guest does not start, and is told what to do."""

    class Found:
        async def find_many(self, disks: Any, context: Any = None) -> list[DiskState]:
            return [DiskState(facts=facts) for _ in disks]

    template: Any = Found()
    part = Disks(place_below(tmp_path), {"file": template})
    if fine:
        assert at_once(part.devices([disk])) == [DiskDevice(path=facts.path, uri=facts.uri)]
    else:
        with pytest.raises(NodeFailure, match="is not set up") as caught:
            at_once(part.devices([disk]))
        assert caught.value.hint == "gnt-instance activate-disks"
