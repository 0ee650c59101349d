"""Block devices that others made, against the contract."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.storage.blockdev import BlockDevices
from tests.noded.places import place_below
from tests.noded.storage.contract import TemplateContract, read, refusal, write
from tests.noded.storage.drive import Driven


@pytest.fixture
def template(tmp_path: Path) -> Driven:
    """Give the template under test."""
    return Driven(BlockDevices(place_below(tmp_path)))


def device(path: str, uuid: str = "u1", size: int = 4) -> DiskSpec:
    """Describe a disk that is a device."""
    return DiskSpec(index=0, uuid=uuid, dev_type=DiskTemplate.BLOCKDEV, size=size, logical_id=("manual", path))


@pytest.fixture
def disk() -> DiskSpec:
    """Give one that is not there."""
    return device("/dev/disk/by-id/gnt-test-none")


@pytest.fixture
def other() -> DiskSpec:
    """Give another that is not there."""
    return device("/dev/disk/by-id/gnt-test-other", "u2")


class TestBlockDevices(TemplateContract):
    """The contract of every disk template."""


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """Give a block device of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root for loop devices")
    (tmp_path / "image").write_bytes(bytes(4 << 20))
    made = subprocess.run(
        ["losetup", "-f", "--show", str(tmp_path / "image")], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("this machine has no loop devices to give")
    yield made.stdout.strip()
    subprocess.run(["losetup", "-d", made.stdout.strip()], check=True)


@pytest.mark.root
def test_life_of_a_device(template: Driven, loop: str) -> None:
    """Adopted, found, opened, and left with its data when the disk is removed."""
    disk = device(loop)
    template.rename(msgspec.structs.replace(disk, uuid=""), disk)
    template.create(disk)
    assert (template.find(disk).size, template.find(disk).path) == (4, loop)
    assert template.assemble(disk, True) == template.assemble(disk, False)
    write(template, disk, b"payload")
    template.release(disk)
    template.remove(disk)
    assert template.find(disk) is not None
    assert read(template, disk, 7) == b"payload"


@pytest.mark.root
@pytest.mark.parametrize(
    "work",
    [
        lambda template, disk: template.grow(disk, 8, True),
        lambda template, disk: template.check_grow(disk, 8),
        lambda template, disk: template.rename(disk, device("/dev/disk/by-id/gnt-test-other")),
        lambda template, disk: template.snapshot(disk, device("/dev/disk/by-id/gnt-test-other")),
    ],
)
def test_what_devices_cannot_do(template: Driven, loop: str, work: Callable[[Driven, DiskSpec], None]) -> None:
    """Refused, with what can."""
    assert refusal(work, template, device(loop)) == "unsupported"


@pytest.mark.root
def test_a_device_that_is_too_small(template: Driven, loop: str) -> None:
    """Not taken for a disk of that size."""
    assert refusal(template.create, device(loop, size=5)) == "exists"


@pytest.mark.parametrize("path", ["/etc/passwd", "relative", "/dev/../etc/passwd", "/dev/x\0y", "/dev/fd/../../etc"])
def test_paths_elsewhere(template: Driven, path: str) -> None:
    """No device of another place is opened, whatever its name looks like."""
    for work in (template.create, template.find, template.remove, template.release):
        with pytest.raises(NodeFailure) as caught:
            work(device(path))
        assert caught.value.code == "not_allowed"


def test_what_is_no_block_device(template: Driven) -> None:
    """A character device is not found."""
    assert template.find(device("/dev/null")) is None
    assert refusal(template.create, device("/dev/null")) == "not_found"
