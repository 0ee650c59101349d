"""Domain XML of Xen guests. No Xen runs here: golden files and libvirt's schema are all the proof there is."""

from __future__ import annotations

from typing import Any

import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import InstanceSpec
from gnt.noded.hypervisors.xen_xml import hvm_domain, pvm_domain, refuse_unsupported
from tests.noded.hypervisors.golden import compare, devices, instance, nic, validate

GOLDEN: dict[str, InstanceSpec] = {
    "xen-pvm-plain": instance("xen-pvm"),
    "xen-pvm-bootloader": instance(
        "xen-pvm",
        disks=2,
        template=DiskTemplate.FILE,
        nics=(nic(ip="192.0.2.9"), nic(1, "openvswitch", "switch1", "5"), nic(2, "routed", "100", ip="192.0.2.8")),
        be={"maxmem": 1024, "minmem": 512, "vcpus": 2},
        use_bootloader=True,
        bootloader_path="/usr/lib/xen/bin/pygrub",
        bootloader_args="--quiet",
        blockdev_prefix="xvd",
        cpu_mask="0-1:all",
        reboot_behavior="exit",
        vif_script="/etc/xen/scripts/vif-custom",
    ),
    "xen-pvm-initrd": instance("xen-pvm", initrd_path="/boot/initrd", root_path="", cpu_mask="1,3"),
    "xen-hvm-plain": instance("xen-hvm", nics=(nic(),)),
    "xen-hvm-everything": instance(
        "xen-hvm",
        disks=2,
        nics=(nic(),),
        be={"vcpus": 2},
        cdrom_image_path="/srv/iso/debian.iso",
        boot_order="dcn",
        disk_type="ioemu",
        nic_type="paravirtual",
        use_localtime=True,
        viridian=True,
        acpi=False,
        pci_pass="0000:03:00.0;04:00.1",
        soundhw="ac97",
    ),
}


def drawn(spec: InstanceSpec) -> str:
    """Give the XML of a guest."""
    if spec.hypervisor == "xen-pvm":
        return pvm_domain(spec, devices(spec), 700)
    return hvm_domain(spec, devices(spec), 700, vnc_password="secret")


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    """The XML is that of the golden file, and libvirt's schema knows all of it."""
    spec = GOLDEN[name]
    xml = drawn(spec)
    compare(name, xml)
    validate(xml)


@pytest.mark.parametrize(
    ("hypervisor", "given"),
    [
        ("xen-pvm", {"cpuid": "host,tm=0"}),
        ("xen-pvm", {"soundhw": "ac97"}),
        ("xen-pvm", {"bootloader_path": "", "use_bootloader": True}),
        ("xen-hvm", {"cpuid": "host,tm=0"}),
        ("xen-hvm", {"soundhw": "gus"}),
        ("xen-hvm", {"pci_pass": "03"}),
    ],
)
def test_parameter_is_refused(hypervisor: str, given: dict[str, Any]) -> None:
    """What libvirt cannot express is refused with the parameter's name and a remedy."""
    spec = instance(hypervisor, **given)
    with pytest.raises(NodeFailure) as failure:
        refuse_unsupported(spec.hvparams, hvm=hypervisor == "xen-hvm")
    assert failure.value.code == "unsupported"
    assert f"Parameter '{next(iter(given))}'" in failure.value.text
    assert failure.value.hint


def test_userspace_disk() -> None:
    """Xen opens no disk of a storage system by itself."""
    spec = instance("xen-pvm", template=DiskTemplate.RBD)
    with pytest.raises(NodeFailure, match="disk/0: Xen does not open rbd"):
        pvm_domain(spec, devices(spec, uri="rbd:rbd/web1"), 700)


@pytest.mark.parametrize("name", ["xen-pvm", "xen-hvm"])
def test_an_image_is_no_raw_disk(name: str) -> None:
    """A Xen guest would see the image's own bytes, and write over them."""
    spec = instance(name, template=DiskTemplate.QCOW2)
    with pytest.raises(NodeFailure, match="disk/0: Xen guests have no disks in qcow2 images here") as failure:
        drawn(spec)
    assert failure.value.code == "unsupported"
