"""What every disk template promises, whatever serves it: each test module gives it a template to try.

`TemplateContract` holds for all, `DataContract` for those that keep data. A subclass gives the fixtures `template` and
`disk`, and `plant`, which puts something foreign where a disk would be and gives a function that says whether it is
untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from zope.interface.verify import verifyObject

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.storage.interface import IDiskTemplate

Untouched = Callable[[], bool]


class TemplateContract:
    """Holds for every template."""

    def test_provides_the_interface(self, template: Any) -> None:
        """All methods are there with the agreed signatures."""
        assert verifyObject(IDiskTemplate, template)

    def test_what_is_not_there_is_not_found(self, template: Any, disk: DiskSpec) -> None:
        """Looking for a disk that was never made gives None."""
        assert template.find(disk) is None

    def test_removing_what_is_not_there_is_done_already(self, template: Any, disk: DiskSpec) -> None:
        """Undo may run before the step had any effect."""
        template.remove(disk)
        template.remove(disk)

    def test_releasing_what_is_not_there_is_done_already(self, template: Any, disk: DiskSpec) -> None:
        """A release may arrive twice, or for a disk that is gone."""
        template.release(disk)
        template.release(disk)


class DataContract(TemplateContract):
    """Holds for every template that keeps data."""

    def test_a_made_disk_is_found_with_its_size(self, template: Any, disk: DiskSpec) -> None:
        """Created, then found: exactly the size that was asked for."""
        template.create(disk)
        found = template.find(disk)
        assert found is not None
        assert (found.size, found.degraded, found.sync_percent) == (disk.size, False, None)

    def test_creating_twice_keeps_the_data(self, template: Any, disk: DiskSpec) -> None:
        """A call that arrives twice has the same effect, and does not wipe what was written in between."""
        template.create(disk)
        device = template.assemble(disk, True)
        with open(device.path, "r+b") as opened:  # noqa: PTH123 - a device is opened as its user opens it
            opened.write(b"payload")
        template.create(disk)
        with open(device.path, "rb") as opened:  # noqa: PTH123
            assert opened.read(7) == b"payload"

    def test_another_size_is_refused(self, template: Any, disk: DiskSpec) -> None:
        """Creation never resizes: what is there with another size stays as it is."""
        template.create(disk)
        with pytest.raises(NodeFailure) as caught:
            template.create(msgspec.structs.replace(disk, size=disk.size + 1))
        assert caught.value.code == "exists"
        assert template.find(disk).size == disk.size

    def test_a_removed_disk_is_gone(self, template: Any, disk: DiskSpec) -> None:
        """Removed, then not found and not assembled; it can be made again."""
        template.create(disk)
        template.remove(disk)
        assert template.find(disk) is None
        with pytest.raises(NodeFailure) as caught:
            template.assemble(disk, True)
        assert caught.value.code == "not_found"
        template.create(disk)
        assert template.find(disk) is not None

    @pytest.mark.parametrize("primary", [True, False])
    def test_assembling_may_be_repeated(self, template: Any, disk: DiskSpec, primary: bool) -> None:
        """The same device each time; a release keeps the disk."""
        template.create(disk)
        assert template.assemble(disk, primary) == template.assemble(disk, primary)
        template.release(disk)
        assert template.find(disk) is not None

    def test_assembling_what_is_not_there_fails(self, template: Any, disk: DiskSpec) -> None:
        """A missing disk is not made on the way."""
        with pytest.raises(NodeFailure) as caught:
            template.assemble(disk, True)
        assert caught.value.code == "not_found"
        assert template.find(disk) is None

    @pytest.mark.parametrize("size", [0, -1])
    def test_a_size_below_one_is_refused(self, template: Any, disk: DiskSpec, size: int) -> None:
        """A disk of nothing is a mistake of the caller."""
        with pytest.raises(NodeFailure) as caught:
            template.create(msgspec.structs.replace(disk, size=size))
        assert caught.value.code == "wrong_input"
        assert template.find(disk) is None

    @pytest.mark.parametrize("size", [1 << 40, 1 << 62])
    def test_an_exbibyte_is_refused(self, template: Any, disk: DiskSpec, size: int) -> None:
        """No storage of ours holds 1 EiB: a definite failure, nothing left behind."""
        with pytest.raises(NodeFailure) as caught:
            template.create(msgspec.structs.replace(disk, size=size))
        assert caught.value.code == "no_space"
        assert template.find(disk) is None

    def test_something_foreign_is_left_alone(
        self, template: Any, disk: DiskSpec, plant: Callable[[DiskSpec], Untouched]
    ) -> None:
        """Not overwritten by creation, not opened, not removed by the undo of the failed creation."""
        untouched = plant(disk)
        with pytest.raises(NodeFailure) as caught:
            template.create(disk)
        assert caught.value.code == "exists"
        with pytest.raises(NodeFailure) as caught:
            template.assemble(disk, True)
        assert caught.value.code == "foreign"
        assert template.find(disk) is None
        template.remove(disk)
        assert untouched()
