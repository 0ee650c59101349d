"""A guest whose disk is an image of a real Ceph cluster, through libvirt and QEMU's own way to it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.noded.hypervisors.attached import answer_of
from tests.noded.hypervisors.libvirt_room import KvmHouse
from tests.real_ceph.ceph import POOL, Ceph
from tests.real_ceph.test_images import disk_of, template_of

pytestmark = [pytest.mark.long_disks, pytest.mark.guest]


@pytest.mark.parametrize("user", ["admin", "gnt"])
def test_a_guest_writes_to_its_image(ceph: Ceph, kvm_house: KvmHouse, tmp_path: Path, user: str) -> None:
    """It sees a disk of its size, and what it wrote is in the image; also under a user whose key libvirt keeps."""
    arguments = ""
    driver = kvm_house.driver()
    if user != "admin":
        rights = ["mon", "profile rbd", "osd", f"profile rbd pool={POOL}"]
        keyring = tmp_path / "keyring"
        keyring.write_text(ceph.ceph("auth", "get-or-create", f"client.{user}", *rights))
        arguments = f"--id {user} --keyring {keyring}"
        entrust(kvm_house, user, ceph.ceph("auth", "get-key", f"client.{user}"))
    template, instance = template_of(ceph, tmp_path, arguments), kvm_house.instance()
    disk = replace(disk_of(instance.uuid, size=8), instance_name=instance.name, instance_uuid=instance.uuid)
    instance = replace(instance, disks=(disk,))
    template.create(disk)
    try:
        driver.start(instance, [template.assemble(disk, True)], False)
        kvm_house.booted(instance)
        assert kvm_house.sees(instance)[0] == [8]
        command = driver.console(instance, "node1").command
        assert command is not None
        words = "printf 'by the %s' guest | dd of=/dev/vda conv=sync,fsync 2>/dev/null; echo written: $?"
        assert answer_of(command, words, "written: 0")
        template.grow(disk, 16, True)
        driver.resize_disk(instance.name, instance.uuid, disk.uuid, 16)
        kvm_house.wait(lambda: kvm_house.sees(instance)[0] == [16])
        driver.pull_plug(instance.name, instance.uuid)
        kvm_house.wait(lambda: driver.find(instance.name, instance.uuid) is None)
        assert ceph.rbd("export", "--no-progress", f"{POOL}/{disk.logical_id[1]}", "-").startswith("by the guest")
    finally:
        driver.pull_plug(instance.name, instance.uuid)
        template.remove(disk)
    assert template.find(disk) is None


def entrust(house: KvmHouse, user: str, key: str) -> None:
    """Give a user's key to libvirt, as an administrator does with virsh."""
    connection = house.drivers[-1]._connection.get()
    xml = f"<secret private='yes' ephemeral='yes'><usage type='ceph'><name>client.{user} secret</name></usage></secret>"
    connection.secretDefineXML(xml).setValue(base64.b64decode(key), 0)
