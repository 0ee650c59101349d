"""A real guest on disks that our templates made: it writes, and what it wrote is on the disk afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet import reactor

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.processes import Processes
from gnt.noded.storage.registry import real_templates
from gnt.wire.calls import DiskDevice
from tests.noded.hypervisors.attached import answer_of
from tests.noded.hypervisors.libvirt_room import KvmHouse
from tests.noded.places import ThreadPool, place_below
from tests.noded.storage.contract import read
from tests.noded.storage.drive import Driven, on_reactor

pytestmark = [pytest.mark.guest, pytest.mark.xdist_group("libvirt")]


@pytest.mark.parametrize("kind", ["file", "qcow2"])
def test_a_guest_writes_to_its_disk(kvm_house: KvmHouse, tmp_path: Path, kind: str) -> None:
    """The guest sees a disk of its size, also when that grows under it, whatever the file behind it looks like."""
    place = place_below(tmp_path, clock=reactor, pools=lambda _name: ThreadPool())  # type: ignore[arg-type]
    place.layout.default_file_storage().mkdir(parents=True)
    processes: Any = Processes(place, reactor, grace=0.3)  # type: ignore[arg-type]
    template = Driven(real_templates(place, processes)[kind], on_reactor)
    instance = kvm_house.instance()
    path = place.layout.default_file_storage() / instance.name / f"u.{kind}.disk0"
    disk = DiskSpec(
        index=0,
        uuid=instance.uuid,
        dev_type=DiskTemplate(kind),
        size=8,
        logical_id=("loop", str(path)),
        instance_name=instance.name,
        instance_uuid=instance.uuid,
    )
    instance = replace(instance, disks=(disk,))
    template.create(disk)
    driver = kvm_house.driver()
    driver.start(instance, [template.assemble(disk, True)], False)
    kvm_house.booted(instance)
    command = driver.console(instance, "node1").command
    assert command is not None
    said = answer_of(command, "cat /sys/block/vda/size; echo so large: $?", "so large: 0")
    assert said
    assert "16384" in kvm_house.console_text(instance)
    words = "printf 'by the %s' guest | dd of=/dev/vda conv=sync,fsync 2>/dev/null; echo written: $?"
    assert answer_of(command, words, "written: 0")
    if kind == "qcow2":
        with pytest.raises(NodeFailure) as caught:
            template.grow(disk, 16, True)
        assert caught.value.code == "busy"
    else:
        template.grow(disk, 16, True)
    for _ in range(2):
        driver.resize_disk(instance.name, instance.uuid, disk.uuid, 16)
    assert template.find(disk).size == 16
    # What is left to do of the growth is nothing: a master that died in between may ask for it again.
    template.grow(disk, 16, True)
    kvm_house.wait(lambda: kvm_house.sees(instance)[0] == [16])
    words = "printf 'at the %s' end | dd of=/dev/vda bs=512 seek=32767 conv=sync,fsync 2>/dev/null; echo written: $?"
    assert answer_of(command, words, "written: 0")
    driver.pull_plug(instance.name, instance.uuid)
    kvm_house.wait(lambda: driver.find(instance.name, instance.uuid) is None)
    assert template.find(disk).size == 16
    grown = replace(disk, size=16)
    assert read(template, grown, 12) == b"by the guest"
    assert read(template, grown, 10, at=16 * 2**20 - 512) == b"at the end"
    template.grow(disk, 24, True)
    assert template.find(disk).size == 24
    template.remove(disk)
    assert not path.parent.exists()


def test_a_guest_on_a_block_device_sees_it_grow(kvm_house: KvmHouse, tmp_path: Path) -> None:
    """As a logical volume grows: the device first, whoever has it open; then the guest is told."""
    image = tmp_path / "device"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"this machine has no loop devices to give: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        instance = kvm_house.instance()
        disk = DiskSpec(index=0, uuid=instance.uuid, dev_type=DiskTemplate.PLAIN, size=8, instance_name=instance.name)
        instance = replace(instance, disks=(disk,))
        driver = kvm_house.driver()
        driver.start(instance, [DiskDevice(path=device)], False)
        kvm_house.booted(instance)
        kvm_house.wait(lambda: kvm_house.sees(instance)[0] == [8])
        os.truncate(image, 16 << 20)
        subprocess.run(["losetup", "-c", device], check=True)
        driver.resize_disk(instance.name, instance.uuid, disk.uuid, 16)
        kvm_house.wait(lambda: kvm_house.sees(instance)[0] == [16])
        driver.pull_plug(instance.name, instance.uuid)
        kvm_house.wait(lambda: driver.find(instance.name, instance.uuid) is None)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
