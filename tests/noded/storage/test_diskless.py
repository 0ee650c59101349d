"""The template without disks."""

from __future__ import annotations

import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.storage.diskless import Diskless
from tests.noded.storage.contract import TemplateContract
from tests.noded.storage.drive import Driven


@pytest.fixture
def template() -> Driven:
    """Give the template under test."""
    return Driven(Diskless())


@pytest.fixture
def disk() -> DiskSpec:
    """Give a disk that cannot be."""
    return DiskSpec(index=0, uuid="u", dev_type=DiskTemplate.DISKLESS, size=1)


@pytest.fixture
def other() -> DiskSpec:
    """Give another one."""
    return DiskSpec(index=1, uuid="v", dev_type=DiskTemplate.DISKLESS, size=1)


class TestDiskless(TemplateContract):
    """The contract of every disk template."""


def test_a_disk_is_refused(template: Driven, disk: DiskSpec) -> None:
    """There is no such thing as a disk of a diskless instance."""
    for work in (lambda: template.create(disk), lambda: template.assemble(disk, True)):
        with pytest.raises(NodeFailure) as caught:
            work()
        assert caught.value.code == "wrong_input"
