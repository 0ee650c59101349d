"""What every disk template promises, whatever serves it: each test module gives it a template to try.

`TemplateContract` holds for all, `DataContract` for those that keep data; `VolumeContract` is that part of it which
asks for no device, for storage whose devices this machine cannot make. A subclass gives the fixtures `template` (a
`Driven`), `disk` and `other` (two disks of one instance), and `plant`, which puts something foreign where a disk would
be and gives a function that says whether it is untouched. What a template cannot do, its class says: `can_grow`,
`can_rename`, `can_snapshot`.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from zope.interface.verify import verifyObject

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.storage.interface import IDiskTemplate
from tests.noded.storage.drive import Driven

Untouched = Callable[[], bool]
_QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL}


def refusal(work: Callable[..., Any], *args: Any) -> str:
    """Give the code with which something is refused."""
    with pytest.raises(NodeFailure) as caught:
        work(*args)
    assert "\n" not in caught.value.text
    return caught.value.code


def write(template: Driven, disk: DiskSpec, data: bytes) -> None:
    """Write at the beginning of an assembled disk, as its user does."""
    contents = template.contents(disk)
    if contents.plain:
        with open(contents.place, "r+b") as opened:  # noqa: PTH123 - opened as its user opens it
            opened.write(data)
        return
    with tempfile.NamedTemporaryFile() as source:
        source.write(data + read(template, disk, 512)[len(data) :])
        source.flush()
        command = f"write -s {source.name} 0 512"
        subprocess.run(["qemu-io", "-f", contents.format, "-c", command, contents.place], check=True, **_QUIET)


def read(template: Driven, disk: DiskSpec, size: int, *, at: int = 0) -> bytes:
    """Read from an assembled disk, 512 bytes at most; `at`: the byte to begin with, at the beginning of a block."""
    contents = template.contents(disk)
    if contents.plain:
        with open(contents.place, "rb") as opened:  # noqa: PTH123
            opened.seek(at)
            return opened.read(size)
    with tempfile.TemporaryDirectory() as room:
        blocks = ["bs=512", f"skip={at // 512}", f"count={at // 512 + 1}"]
        words = ["-f", contents.format, "-O", "raw", *blocks, f"if={contents.place}", f"of={room}/block"]
        subprocess.run(["qemu-img", "dd", *words], check=True, **_QUIET)
        return Path(room, "block").read_bytes()[:size]


class TemplateContract:
    """Holds for every template."""

    def test_provides_the_interface(self, template: Driven) -> None:
        """All methods are there with the agreed signatures."""
        assert verifyObject(IDiskTemplate, template.template)

    def test_what_is_not_there_is_not_found(self, template: Driven, disk: DiskSpec) -> None:
        """Looking for a disk that was never made gives None, alone and among many."""
        assert template.find(disk) is None
        (state,) = template.find_many([disk])
        assert (state.facts, state.problem) == (None, "")

    def test_removing_what_is_not_there_is_done_already(self, template: Driven, disk: DiskSpec) -> None:
        """Undo may run before the step had any effect."""
        template.remove(disk)
        template.remove(disk)

    def test_releasing_what_is_not_there_is_done_already(self, template: Driven, disk: DiskSpec) -> None:
        """A release may arrive twice, or for a disk that is gone."""
        template.release(disk)
        template.release(disk)
        template.demote(disk)

    def test_nothing_is_done_with_what_is_not_there(self, template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
        """A missing disk is not made on the way, whatever is asked of it."""
        for work in (
            lambda: template.assemble(disk, True),
            lambda: template.promote(disk, False),
            lambda: template.grow(disk, disk.size + 1, True),
            lambda: template.check_grow(disk, disk.size + 1),
            lambda: template.rename(disk, other),
            lambda: template.snapshot(disk, other),
            lambda: template.label(disk, "originstname+web1"),
            lambda: template.contents(disk),
        ):
            assert refusal(work) in {"not_found", "wrong_input", "unsupported"}
        assert template.find(disk) is None
        assert template.find(other) is None


class VolumeContract(TemplateContract):
    """Holds for every template that keeps data; opens no device."""

    can_grow: ClassVar[bool] = True
    can_rename: ClassVar[bool] = True
    can_snapshot: ClassVar[bool] = True

    def test_a_made_disk_is_found_with_its_size(self, template: Driven, disk: DiskSpec) -> None:
        """Created, then found: exactly the size that was asked for."""
        template.create(disk)
        found = template.find(disk)
        assert found is not None
        assert (found.size, found.degraded, found.sync_percent) == (disk.size, False, None)

    def test_many_are_found_in_order(self, template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
        """One look for all, each as if it were asked for alone."""
        template.create(disk)
        states = template.find_many([other, disk, other])
        assert [state.facts for state in states] == [None, template.find(disk), None]
        template.create(other)
        states = template.find_many([other, disk])
        assert [state.facts for state in states] == [template.find(other), template.find(disk)]

    def test_creating_twice_is_done_already(self, template: Driven, disk: DiskSpec) -> None:
        """A call that arrives twice has the same effect."""
        template.create(disk)
        first = template.find(disk)
        template.create(disk)
        assert template.find(disk) == first

    def test_another_size_is_refused(self, template: Driven, disk: DiskSpec) -> None:
        """Creation never resizes: what is there with another size stays as it is."""
        template.create(disk)
        assert refusal(template.create, msgspec.structs.replace(disk, size=disk.size + 1)) == "exists"
        assert template.find(disk).size == disk.size

    def test_a_removed_disk_is_gone(self, template: Driven, disk: DiskSpec) -> None:
        """Removed, then not found and not assembled; it can be made again."""
        template.create(disk)
        template.remove(disk)
        assert template.find(disk) is None
        assert refusal(template.assemble, disk, True) == "not_found"
        template.create(disk)
        assert template.find(disk) is not None

    @pytest.mark.parametrize("primary", [True, False])
    def test_assembling_may_be_repeated(self, template: Driven, disk: DiskSpec, primary: bool) -> None:
        """The same device each time; a release keeps the disk."""
        template.create(disk)
        assert template.assemble(disk, primary) == template.assemble(disk, primary)
        template.release(disk)
        assert template.find(disk) is not None

    def test_a_disk_that_is_assembled_is_promoted_and_demoted(self, template: Driven, disk: DiskSpec) -> None:
        """Each may be repeated, in any order; the disk stays assembled and is found as before."""
        template.create(disk)
        template.assemble(disk, False)
        before = template.find(disk)
        for shared in (False, True):
            template.promote(disk, shared)
            template.promote(disk, shared)
            template.demote(disk)
            template.demote(disk)
        assert template.find(disk) == before

    @pytest.mark.parametrize("size", [0, -1])
    def test_a_size_below_one_is_refused(self, template: Driven, disk: DiskSpec, size: int) -> None:
        """A disk of nothing is a mistake of the caller."""
        assert refusal(template.create, msgspec.structs.replace(disk, size=size)) == "wrong_input"
        assert template.find(disk) is None

    @pytest.mark.parametrize("size", [1 << 40, 1 << 62])
    def test_an_exbibyte_is_refused(self, template: Driven, disk: DiskSpec, size: int) -> None:
        """No storage of ours holds 1 EiB: a definite failure, nothing left behind."""
        assert refusal(template.create, msgspec.structs.replace(disk, size=size)) == "no_space"
        assert template.find(disk) is None

    def test_something_foreign_is_left_alone(
        self, template: Driven, disk: DiskSpec, other: DiskSpec, plant: Callable[[DiskSpec], Untouched]
    ) -> None:
        """Not overwritten by creation, not opened, not changed, not removed by the undo of the failed creation."""
        untouched = plant(disk)
        assert refusal(template.create, disk) == "exists"
        for work in (
            lambda: template.assemble(disk, True),
            lambda: template.contents(disk),
            lambda: template.promote(disk, False),
            lambda: template.label(disk, "originstname+web1"),
        ):
            assert refusal(work) == "foreign"
        for work in (
            lambda: template.grow(disk, disk.size + 1, True),
            lambda: template.rename(disk, other),
            lambda: template.snapshot(disk, other),
        ):
            assert refusal(work) in {"foreign", "unsupported"}
        assert template.find(disk) is None
        template.release(disk)
        template.remove(disk)
        assert untouched()

    def test_a_disk_bears_a_label(self, template: Driven, disk: DiskSpec) -> None:
        """It may be given again, and replaced; the disk is found as before."""
        template.create(disk)
        before = template.find(disk)
        for text in ("originstname+web1", "originstname+web1", "originstname+web2.example.com"):
            template.label(disk, text)
        assert template.find(disk) == before

    # Growing

    def test_growing(self, template: Driven, disk: DiskSpec) -> None:
        """At least the size that is wanted, at most once; never smaller, and not without `backing`."""
        self._needs(self.can_grow, template, lambda: template.grow(disk, disk.size * 2, True), disk)
        template.check_grow(disk, disk.size * 2)
        template.grow(disk, disk.size * 2, False)
        assert template.find(disk).size == disk.size
        template.grow(disk, disk.size * 2, True)
        template.grow(disk, disk.size * 2, True)
        assert template.find(disk).size == disk.size * 2
        template.grow(disk, disk.size, True)
        template.grow(disk, 1, True)
        assert template.find(disk).size == disk.size * 2

    def test_growing_beyond_all_room_changes_nothing(self, template: Driven, disk: DiskSpec) -> None:
        """The check says so beforehand, the growth itself as well."""
        self._needs(self.can_grow, template, lambda: template.check_grow(disk, 1 << 40), disk)
        assert refusal(template.check_grow, disk, 1 << 40) == "no_space"
        assert refusal(template.grow, disk, 1 << 40, True) == "no_space"
        assert template.find(disk).size == disk.size

    # Names

    def test_renaming(self, template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
        """The disk is found under the new name as the new disk, and no longer under the old one; twice the same."""
        self._needs(self.can_rename, template, lambda: template.rename(disk, other), disk)
        template.rename(disk, other)
        template.rename(disk, other)
        assert template.find(disk) is None
        assert template.find(other).size == disk.size
        template.remove(disk)
        assert template.find(other) is not None
        template.create(disk)
        assert template.find(disk) is not None

    def test_a_new_owner_under_the_same_name(self, template: Driven, disk: DiskSpec) -> None:
        """Only the UUID changes: the disk is then the new one, and not the old one any more."""
        self._needs(self.can_rename, template, lambda: template.rename(disk, disk), disk)
        heir = msgspec.structs.replace(disk, uuid="9b3e4f60-90b5-44d5-9b57-2d8b0f2c9c11")
        template.rename(disk, heir)
        template.rename(disk, heir)
        assert template.find(disk) is None
        assert template.find(heir).size == disk.size
        template.remove(disk)
        assert template.find(heir) is not None
        template.remove(heir)

    def test_a_name_that_is_taken(self, template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
        """Renaming never overwrites: both disks stay."""
        self._needs(self.can_rename, template, lambda: template.rename(disk, other), disk)
        template.create(other)
        assert refusal(template.rename, disk, other) == "exists"
        assert template.find(disk) is not None
        assert template.find(other) is not None

    def test_a_name_that_something_foreign_has(
        self, template: Driven, disk: DiskSpec, other: DiskSpec, plant: Callable[[DiskSpec], Untouched]
    ) -> None:
        """Renaming never overwrites what is not ours either."""
        self._needs(self.can_rename, template, lambda: template.rename(disk, other), disk)
        untouched = plant(other)
        assert refusal(template.rename, disk, other) == "exists"
        assert template.find(disk) is not None
        assert untouched()

    def test_adopting(
        self, template: Driven, disk: DiskSpec, other: DiskSpec, plant: Callable[[DiskSpec], Untouched]
    ) -> None:
        """What is nobody's yet becomes ours only when that is said; twice the same; what is ours is not adopted."""
        self._needs(self.can_rename, template, lambda: template.rename(disk, other), disk)
        template.remove(disk)
        plant(disk)
        template.rename(msgspec.structs.replace(disk, uuid=""), other)
        template.rename(msgspec.structs.replace(disk, uuid=""), other)
        assert template.find(other) is not None
        third = msgspec.structs.replace(disk, uuid="9b3e4f60-90b5-44d5-9b57-2d8b0f2c9c11")
        owned = msgspec.structs.replace(other, uuid="")
        assert refusal(template.rename, owned, third) == "foreign"
        assert template.find(other) is not None

    # Snapshots

    def test_a_snapshot_is_a_disk(self, template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
        """Made once, found, removed like any disk; the disk itself stays."""
        self._needs(self.can_snapshot, template, lambda: template.snapshot(disk, other), disk)
        template.snapshot(disk, other)
        template.snapshot(disk, other)
        assert template.find(other).size == disk.size
        template.remove(other)
        template.remove(other)
        assert template.find(other) is None
        assert template.find(disk) is not None

    def test_a_snapshot_takes_nobodys_place(
        self, template: Driven, disk: DiskSpec, other: DiskSpec, plant: Callable[[DiskSpec], Untouched]
    ) -> None:
        """What is where the snapshot would be is left alone."""
        self._needs(self.can_snapshot, template, lambda: template.snapshot(disk, other), disk)
        untouched = plant(other)
        assert refusal(template.snapshot, disk, other) == "exists"
        assert untouched()

    def _needs(self, able: bool, template: Driven, work: Callable[[], Any], disk: DiskSpec) -> None:
        """Make the disk; where the template cannot do the work, see that it says so and changes nothing."""
        template.create(disk)
        if able:
            return
        before = template.find(disk)
        assert refusal(work) == "unsupported"
        assert template.find(disk) == before
        pytest.skip("this template cannot do it, and says so")


class DataContract(VolumeContract):
    """Holds for every template whose data this machine can read and write at a path, or its class elsewhere."""

    def write(self, template: Driven, disk: DiskSpec, data: bytes) -> None:
        """Write at the beginning of an assembled disk, as its user does."""
        write(template, disk, data)

    def read(self, template: Driven, disk: DiskSpec, size: int) -> bytes:
        """Read from the beginning of an assembled disk."""
        return read(template, disk, size)

    def test_creating_twice_keeps_the_data(self, template: Driven, disk: DiskSpec) -> None:
        """A call that arrives twice does not wipe what was written in between."""
        template.create(disk)
        template.assemble(disk, True)
        self.write(template, disk, b"payload")
        template.create(disk)
        assert self.read(template, disk, 7) == b"payload"

    def test_data_survives_release_and_growth(self, template: Driven, disk: DiskSpec) -> None:
        """What was written is there after the disk was assembled anew, and after it has grown."""
        template.create(disk)
        template.assemble(disk, True)
        self.write(template, disk, b"payload")
        template.release(disk)
        if self.can_grow:
            template.grow(disk, disk.size * 2, True)
        template.assemble(disk, True)
        assert self.read(template, disk, 7) == b"payload"

    def test_data_goes_with_the_name(self, template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
        """Renaming moves the data."""
        self._needs(self.can_rename, template, lambda: template.rename(disk, other), disk)
        template.assemble(disk, True)
        self.write(template, disk, b"payload")
        template.release(disk)
        template.rename(disk, other)
        template.assemble(other, True)
        assert self.read(template, other, 7) == b"payload"

    def test_a_snapshot_keeps_what_was(self, template: Driven, disk: DiskSpec, other: DiskSpec) -> None:
        """What is written to the disk afterwards is not in the snapshot, and removing that harms nothing."""
        self._needs(self.can_snapshot, template, lambda: template.snapshot(disk, other), disk)
        template.assemble(disk, True)
        self.write(template, disk, b"before")
        template.snapshot(disk, other)
        self.write(template, disk, b"afterw")
        template.assemble(other, True)
        assert self.read(template, other, 6) == b"before"
        template.release(other)
        template.remove(other)
        assert self.read(template, disk, 6) == b"afterw"
