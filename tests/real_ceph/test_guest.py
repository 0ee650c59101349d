"""A guest whose disk is an image of a real Ceph cluster, through libvirt and QEMU's own way to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.noded.hypervisors.attached import answer_of
from tests.noded.hypervisors.libvirt_room import KvmHouse
from tests.noded.storage.contract import read
from tests.real_ceph.ceph import Ceph
from tests.real_ceph.test_images import disk_of, template_of

pytestmark = [pytest.mark.long_disks, pytest.mark.guest]


def test_a_guest_writes_to_its_image(ceph: Ceph, kvm_house: KvmHouse, tmp_path: Path) -> None:
    """It sees a disk of its size, and what it wrote is in the image; under it, it is not removed."""
    template, instance = template_of(ceph, tmp_path), kvm_house.instance()
    disk = replace(disk_of(instance.uuid, size=8), instance_name=instance.name, instance_uuid=instance.uuid)
    instance = replace(instance, disks=(disk,))
    template.create(disk)
    driver = kvm_house.driver()
    try:
        driver.start(instance, [template.assemble(disk, True)], False)
        kvm_house.booted(instance)
        command = driver.console(instance, "node1").command
        assert command is not None
        assert answer_of(command, "cat /sys/block/vda/size; echo so large: $?", "so large: 0")
        assert "16384" in kvm_house.console_text(instance)
        words = "printf 'by the %s' guest | dd of=/dev/vda conv=sync,fsync 2>/dev/null; echo written: $?"
        assert answer_of(command, words, "written: 0")
        driver.pull_plug(instance.name, instance.uuid)
        kvm_house.wait(lambda: driver.find(instance.name, instance.uuid) is None)
        assert read(template, disk, 12) == b"by the guest"
    finally:
        driver.pull_plug(instance.name, instance.uuid)
        template.remove(disk)
    assert template.find(disk) is None
