"""Domain XML of kvm guests: golden files, libvirt's schema, and that no parameter is ignored."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from msgspec.structs import replace

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.params_tables import HYPERVISOR
from gnt.model.specs import InstanceSpec
from gnt.noded.hypervisors.domain_xml import letters
from gnt.noded.hypervisors.kvm_support import unsupported
from gnt.noded.hypervisors.kvm_xml import KvmHost, kvm_domain
from tests.noded.hypervisors.golden import compare, devices, instance, nic, validate

HOST = KvmHost(serial_log="/var/log/ganeti/kvm/web1.example.com-console.log")
FULL = KvmHost(
    vnc_address="192.0.2.1",
    vnc_password="fifteen letters",
    huge_page_kib=2048,
    owner="+1000:+1000",
    serial_log="/var/log/ganeti/kvm/web1.example.com-console.log",
    memory_free=600,
)
SPICE = KvmHost(kvm=False, vhost=False, spice_address="192.0.2.1", spice_password="open sesame")

GOLDEN: dict[str, tuple[InstanceSpec, KvmHost, str | None]] = {
    "kvm-plain": (instance("kvm"), HOST, None),
    "kvm-emulated": (instance("kvm", disks=0, cpu_type="host"), KvmHost(kvm=False), None),
    "kvm-everything": (
        instance(
            "kvm",
            disks=2,
            nics=(nic(), nic(1, "openvswitch", "switch1", ".5:6:7"), nic(2, "routed", "100", ip="192.0.2.9")),
            be={"maxmem": 1024, "minmem": 512, "vcpus": 4},
            kernel_path="",
            boot_order="cdrom",
            cdrom_image_path="/srv/iso/debian.iso",
            cdrom2_image_path="https://example.com/iso/drivers.iso",
            cdrom_disk_type="ide",
            floppy_image_path="/srv/floppy.img",
            vnc_bind_address="eth0",
            vnc_password_file="/etc/vnc",
            keymap="de",
            usb_devices="keyboard,host:1d6b:0002,host:1.4",
            soundhw="hda",
            use_guest_agent=True,
            use_localtime=True,
            security_model="user",
            security_domain="guest",
            virtio_net_queues=4,
            vnet_hdr=False,
            mem_path="/dev/hugepages",
            reboot_behavior="exit",
            cpu_mask="0-1:all:2:3",
            cpu_type="Haswell,+vmx,-svm,x2apic=on",
            cpu_cores=2,
            cpu_threads=2,
            kvm_extra="-fw_cfg 'name=opt/gnt,string=a b'",
            user_shutdown=True,
            disk_cache="none",
            disk_aio="native",
            disk_discard="unmap",
            kvm_pci_reservations=20,
        ),
        FULL,
        None,
    ),
    "kvm-spice": (
        instance(
            "kvm",
            be={"vcpus": 2},
            cpu_mask="0-3, 5",
            spice_bind="192.0.2.1",
            spice_password_file="/etc/spice",
            spice_use_tls=True,
            spice_image_compression="auto_glz",
            spice_jpeg_wan_compression="auto",
            spice_zlib_glz_wan_compression="never",
            spice_streaming_video="filter",
            spice_playback_compression=False,
            serial_console=False,
            acpi=False,
            machine_version="q35",
        ),
        SPICE,
        None,
    ),
    "kvm-scsi": (
        instance(
            "kvm",
            disks=3,
            kernel_path="",
            disk_type="scsi-block",
            scsi_controller_type="virtio-scsi-pci",
            cdrom_disk_type="scsi-cd",
            cdrom_image_path="/srv/iso/debian.iso",
            nic_type="e1000",
            nics=(nic(),),
        ),
        HOST,
        None,
    ),
    "kvm-rbd": (
        instance("kvm", template=DiskTemplate.RBD, disk_cache="writethrough", disk_discard="default"),
        HOST,
        "rbd:rbd/web1-disk0:conf=/etc/ceph/ceph.conf",
    ),
    "kvm-rbd-user": (
        instance("kvm", template=DiskTemplate.RBD),
        HOST,
        "rbd:rbd/web1-disk0:id=gnt:conf=/etc/ceph/ceph.conf",
    ),
    "kvm-gluster": (instance("kvm", template=DiskTemplate.GLUSTER), HOST, "gluster://192.0.2.7:24007/volume/web1.0"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    """The XML is that of the golden file, and libvirt's schema knows all of it."""
    spec, host, uri = GOLDEN[name]
    xml, _ = kvm_domain(spec, devices(spec, uri=uri), host)
    compare(name, xml)
    validate(xml)


def xml_of(host: KvmHost = HOST, **hvparams: Any) -> ET.Element:
    """Give the domain of an instance with one disk and one interface."""
    spec = instance("kvm", nics=(nic(),), be={"vcpus": 4}, **hvparams)
    return ET.fromstring(kvm_domain(spec, devices(spec), host)[0])  # noqa: S314 - our own text


# A value for every parameter that is not its default, with what it needs beside it.
OTHER: dict[str, dict[str, Any]] = {
    "acpi": {"acpi": False},
    "boot_order": {"boot_order": "network", "kernel_path": ""},
    "cdrom_image_path": {"cdrom_image_path": "/iso"},
    "cdrom2_image_path": {"cdrom2_image_path": "/iso"},
    "cdrom_disk_type": {"cdrom_disk_type": "ide", "cdrom_image_path": "/iso"},
    "cpu_cores": {"cpu_cores": 4},
    "cpu_mask": {"cpu_mask": "0-1"},
    "cpu_sockets": {"cpu_sockets": 2},
    "cpu_threads": {"cpu_threads": 2},
    "cpu_type": {"cpu_type": "host"},
    "disk_aio": {"disk_aio": "io_uring"},
    "disk_cache": {"disk_cache": "none"},
    "disk_discard": {"disk_discard": "unmap"},
    "disk_type": {"disk_type": "ide"},
    "floppy_image_path": {"floppy_image_path": "/floppy"},
    "initrd_path": {"initrd_path": "/initrd"},
    "kernel_args": {"kernel_args": "rw"},
    "kernel_path": {"kernel_path": "/other"},
    "keymap": {"keymap": "de", "vnc_bind_address": "127.0.0.1"},
    "kvm_extra": {"kvm_extra": "-no-hpet"},
    "kvm_flag": {"kvm_flag": "disabled"},
    "kvm_pci_reservations": {"kvm_pci_reservations": 5},
    "machine_version": {"machine_version": "q35"},
    "mem_path": {"mem_path": "/hugepages"},
    "nic_type": {"nic_type": "e1000"},
    "reboot_behavior": {"reboot_behavior": "exit"},
    "root_path": {"root_path": "/dev/vda"},
    "scsi_controller_type": {"scsi_controller_type": "megasas", "disk_type": "scsi-hd"},
    "serial_console": {"serial_console": False},
    "serial_speed": {"serial_speed": 9600},
    "soundhw": {"soundhw": "ac97"},
    "spice_bind": {"spice_bind": "127.0.0.1"},
    "spice_image_compression": {"spice_image_compression": "lz", "spice_bind": "127.0.0.1"},
    "spice_jpeg_wan_compression": {"spice_jpeg_wan_compression": "auto", "spice_bind": "127.0.0.1"},
    "spice_playback_compression": {"spice_playback_compression": False, "spice_bind": "127.0.0.1"},
    "spice_streaming_video": {"spice_streaming_video": "all", "spice_bind": "127.0.0.1"},
    "spice_use_tls": {"spice_use_tls": True, "spice_bind": "127.0.0.1"},
    "spice_use_vdagent": {"spice_use_vdagent": False, "spice_bind": "127.0.0.1"},
    "spice_zlib_glz_wan_compression": {"spice_zlib_glz_wan_compression": "auto", "spice_bind": "127.0.0.1"},
    "usb_devices": {"usb_devices": "tablet"},
    "usb_mouse": {"usb_mouse": "mouse"},
    "use_guest_agent": {"use_guest_agent": True},
    "use_localtime": {"use_localtime": True},
    "user_shutdown": {"user_shutdown": True},
    "vga": {"vga": "cirrus"},
    "vhost_net": {"vhost_net": False},
    "virtio_net_queues": {"virtio_net_queues": 2},
    "vnc_bind_address": {"vnc_bind_address": "127.0.0.1"},
    "vnet_hdr": {"vnet_hdr": False},
}
REFUSED: dict[str, dict[str, Any]] = {
    "vnc_tls": {"vnc_tls": True},
    "vnc_x509_path": {"vnc_x509_path": "/pki"},
    "vnc_x509_verify": {"vnc_x509_verify": True},
    "spice_tls_ciphers": {"spice_tls_ciphers": "HIGH", "spice_use_tls": True},
    "use_chroot": {"use_chroot": True},
    "security_model": {"security_model": "pool"},
    "migration_caps": {"migration_caps": "xbzrle:postcopy-ram"},
}
# Not in the XML: read on the node into what the XML takes from it (test_kvm_host), or for migration alone.
ELSEWHERE = {
    "kvm_path",
    "vnc_password_file",
    "spice_password_file",
    "spice_ip_version",
    "security_domain",
    "migration_port",
    "migration_bandwidth",
    "migration_downtime",
    "migration_mode",
}


def test_every_parameter_is_known() -> None:
    """Each kvm parameter is expressed, refused by name, or used where the comment above says."""
    assert set(HYPERVISOR["kvm"]) == set(OTHER) | set(REFUSED) | ELSEWHERE


@pytest.mark.parametrize("name", OTHER)
def test_parameter_is_expressed(name: str) -> None:
    """Another value than the default gives another domain, which libvirt's schema knows."""
    default = HYPERVISOR["kvm"][name].default
    assert OTHER[name][name] != default
    with_default = ET.tostring(xml_of(**{**OTHER[name], name: default}), encoding="unicode")
    changed = ET.tostring(xml_of(**OTHER[name]), encoding="unicode")
    assert changed != with_default
    validate(changed)


@pytest.mark.parametrize(
    "given",
    [
        *REFUSED.values(),
        {"disk_type": "mtd"},
        {"disk_type": "pflash"},
        {"disk_type": "scsi-cd"},
        {"disk_type": "scsi-block", "cdrom_image_path": "/iso"},
        {"cdrom_disk_type": "pflash"},
        {"vga": "tcx"},
        {"soundhw": "gus"},
        {"usb_devices": "braille"},
        {"kvm_pci_reservations": 5, "machine_version": "q35"},
    ],
)
def test_parameter_is_refused(given: dict[str, Any]) -> None:
    """What libvirt cannot express is refused with the parameter's name and a remedy, before anything is made."""
    name = next(iter(given))
    with pytest.raises(NodeFailure) as failure:
        xml_of(**given)
    assert failure.value.code == "unsupported"
    assert f"Parameter '{name}'" in failure.value.text
    assert failure.value.hint
    assert len(list(unsupported(instance("kvm", **given).hvparams))) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cpu_mask": "0:1"}, "2 masks for 4 virtual CPUs"),
        ({"disk_aio": "native"}, "native needs disk_cache none"),
        ({"boot_order": "cdrom", "kernel_path": ""}, "there is no CD"),
        ({"root_path": ""}, "Need a root partition"),
        ({"kvm_extra": "-fw_cfg 'a"}, "No closing quotation"),
    ],
)
def test_values_that_do_not_fit(given: dict[str, Any], words: str) -> None:
    """A value that does not go with the others is refused in words."""
    with pytest.raises(NodeFailure, match=words) as failure:
        xml_of(**given)
    assert failure.value.code == "parameter"


def test_kvm_flag_enabled_needs_kvm() -> None:
    """Acceleration that is required is not silently left out."""
    with pytest.raises(NodeFailure, match="KVM cannot be used on this node"):
        xml_of(KvmHost(kvm=False), kvm_flag="enabled")
    assert xml_of(KvmHost(kvm=False)).get("type") == "qemu"
    assert xml_of(KvmHost(kvm=True)).get("type") == "kvm"
    assert xml_of(KvmHost(kvm=True), kvm_flag="disabled").get("type") == "qemu"


@pytest.mark.parametrize(
    ("given", "remark"),
    [
        ({"cpu_cores": 3}, "do not make 4 virtual CPUs"),
        ({"cpu_type": "host"}, "needs KVM"),
        ({}, "no usable /dev/vhost-net"),
    ],
)
def test_remarks(given: dict[str, Any], remark: str) -> None:
    """What is not done exactly as asked is said."""
    spec = instance("kvm", nics=(nic(),), be={"vcpus": 4}, **given)
    _, remarks = kvm_domain(spec, devices(spec), KvmHost(kvm=False, vhost=False))
    assert any(remark in found.text for found in remarks)


def test_vnc_without_port() -> None:
    """VNC over a network needs a port above 5900; without one it is off, and that is said."""
    spec = replace(instance("kvm", vnc_bind_address="127.0.0.1"), network_port=None)
    xml, remarks = kvm_domain(spec, devices(spec), HOST)
    assert "graphics" not in xml
    assert [remark.text for remark in remarks] == ["VNC is off: the instance has no port above 5900"]


def test_vnc_on_a_socket() -> None:
    """A path as address is the directory of a socket."""
    graphics = xml_of(vnc_bind_address="/run/vnc").find("devices/graphics/listen")
    assert graphics is not None
    assert graphics.attrib == {"type": "socket", "socket": "/run/vnc/web1.example.com.vnc"}


def test_read_only_disk() -> None:
    """It is refused in the words that clients know."""
    spec = instance("kvm")
    broken = replace(spec, disks=(replace(spec.disks[0], mode="ro"),))
    with pytest.raises(NodeFailure, match="Instance has read-only disks which are not supported by KVM"):
        kvm_domain(broken, devices(broken), HOST)


@pytest.mark.parametrize("template", [DiskTemplate.SHAREDFILE, DiskTemplate.BLOCKDEV, DiskTemplate.EXT])
def test_shared_disks_bypass_the_cache(template: DiskTemplate) -> None:
    """Another node may read them at any time, whatever disk_cache says."""
    spec = instance("kvm", template=template, disk_cache="writeback")
    driver = ET.fromstring(kvm_domain(spec, devices(spec), HOST)[0]).find(  # noqa: S314 - our own text
        "devices/disk/driver"
    )
    assert driver is not None
    assert driver.get("cache") == "none"


def test_own_script_takes_all_interfaces() -> None:
    """With a script of the administrator's every interface is a tap device of which the domain keeps what it needs."""
    domain = xml_of(KvmHost(nic_script=True))
    assert [interface.get("type") for interface in domain.iterfind("devices/interface")] == ["ethernet"]
    assert '"mac":"aa:00:00:00:00:00"' in ET.tostring(domain, encoding="unicode")


@pytest.mark.parametrize("vlan", [".x", ":1:y", "zwei"])
def test_bad_vlan(vlan: str) -> None:
    """A vlan that is none is refused, as is any vlan on a plain bridge."""
    for mode, code in (("openvswitch", "parameter"), ("bridged", "unsupported")):
        spec = instance("kvm", nics=(nic(0, mode, "s", vlan),))
        with pytest.raises(NodeFailure, match="vlan") as failure:
            kvm_domain(spec, devices(spec), HOST)
        assert failure.value.code == code


def test_letters() -> None:
    """Disks are counted a to z, then aa."""
    assert [letters(n) for n in (0, 25, 26, 27, 51, 52, 701, 702)] == ["a", "z", "aa", "ab", "az", "ba", "zz", "aaa"]


def test_passwords_do_not_show() -> None:
    """What holds the passwords does not print them."""
    assert "fifteen" not in repr(FULL)
    assert "sesame" not in str(SPICE)
