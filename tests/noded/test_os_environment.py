"""The environment of guest OS scripts, variable by variable."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.noded.os_environment import (
    core_environment,
    create_environment,
    export_environment,
    import_environment,
    instance_environment,
    rename_environment,
)
from gnt.wire.calls import DiskDevice, OsFacts
from tests.noded.os_kit import web1

OS = OsFacts(name="try", path="/x", valid=True, variants=["small", "big"], api_versions=[20, 10])
OLD = OsFacts(name="old", path="/x", valid=True, api_versions=[10])
DEVICES = (DiskDevice(path="/dev/a", link="/run/l"), DiskDevice(path="/dev/b", uri="rbd:p/b"))
INSTANCE = web1(Path("/disks"))

EVERYTHING = {
    "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
    "OS_API_VERSION": "20",
    "OS_NAME": "try",
    "OS_VARIANT": "small",
    "DEBUG_LEVEL": "0",
    "OSP_FILESYSTEM": "ext4",
    "OSP_SWAP_SIZE": "12",
    "OSP_ROOT_PASSWORD": "s3cret-word",
    "INSTANCE_NAME": "web1.example.com",
    "INSTANCE_OS": "try+small",
    "INSTANCE_UUID": "inst-uuid",
    "INSTANCE_CTIME": "1700000000.5",
    "INSTANCE_MTIME": "1700000001.0",
    "INSTANCE_PRIMARY_NODE": "node1.example.com",
    "INSTANCE_SECONDARY_NODES": "node2.example.com node3.example.com",
    "HYPERVISOR": "kvm",
    "DISK_COUNT": "2",
    "DISK_0_PATH": "/dev/a",
    "DISK_0_ACCESS": "rw",
    "DISK_0_UUID": "disk-uuid-0",
    "DISK_0_NAME": "root",
    "DISK_0_SIZE": "1",
    "DISK_0_FRONTEND_TYPE": "paravirtual",
    "DISK_0_BACKEND_TYPE": "file:loop",
    "DISK_1_PATH": "/dev/b",
    "DISK_1_URI": "rbd:p/b",
    "DISK_1_ACCESS": "ro",
    "DISK_1_UUID": "disk-uuid-1",
    "DISK_1_SIZE": "1",
    "DISK_1_FRONTEND_TYPE": "paravirtual",
    "DISK_1_BACKEND_TYPE": "file:loop",
    "NIC_COUNT": "2",
    "NIC_0_MAC": "aa:00:00:00:00:01",
    "NIC_0_IP": "10.0.0.7",
    "NIC_0_MODE": "bridged",
    "NIC_0_LINK": "br0",
    "NIC_0_BRIDGE": "br0",
    "NIC_0_UUID": "n0",
    "NIC_0_FRONTEND_TYPE": "e1000",
    "NIC_0_NETWORK_NAME": "net1",
    "NIC_0_NETWORK_UUID": "net-uuid",
    "NIC_0_NETWORK_TAGS": "a b",
    "NIC_0_NETWORK_SUBNET": "10.0.0.0/24",
    "NIC_0_NETWORK_GATEWAY": "10.0.0.1",
    "NIC_0_NETWORK_MAC_PREFIX": "aa:01:00",
    "NIC_1_MAC": "aa:00:00:00:00:02",
    "NIC_1_MODE": "routed",
    "NIC_1_UUID": "n1",
    "NIC_1_NAME": "lan",
    "NIC_1_FRONTEND_TYPE": "e1000",
    "INSTANCE_BE_maxmem": "128",
    "INSTANCE_BE_always_failover": "False",
    "INSTANCE_HV_disk_type": "paravirtual",
    "INSTANCE_HV_nic_type": "e1000",
    "INSTANCE_HV_serial_console": "True",
    "INSTANCE_HV_kernel_path": "",
}


def test_the_whole_environment_of_create() -> None:
    """Every variable that the specification lists, and no other."""
    assert create_environment(OS, INSTANCE, DEVICES, reinstall=False) == EVERYTHING


def test_reinstall_is_told() -> None:
    """Only on reinstall, and only `1`."""
    found = create_environment(OS, INSTANCE, DEVICES, reinstall=True, debug_level=2)
    assert found == EVERYTHING | {"INSTANCE_REINSTALL": "1", "DEBUG_LEVEL": "2"}


def test_the_first_variant_is_the_default() -> None:
    """For API 15 and later with variants; otherwise it is empty."""
    assert core_environment(OS, "try", {})["OS_VARIANT"] == "small"
    assert core_environment(OS, "try+big", {})["OS_VARIANT"] == "big"
    assert core_environment(OLD, "old", {})["OS_VARIANT"] == ""


def test_verify_gets_the_core_and_the_parameters_only() -> None:
    """Nothing about an instance."""
    assert core_environment(OS, "try+small", {"a-b": "c"}) == {
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
        "OS_API_VERSION": "20",
        "OS_NAME": "try",
        "OS_VARIANT": "small",
        "DEBUG_LEVEL": "0",
        "OSP_A_B": "c",
    }


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("a=b", "x"), ("a", "x\0y"), ("a\0", "x")])
def test_parameters_that_are_no_variables(name: str, value: str) -> None:
    """They would become other variables."""
    with pytest.raises(NodeFailure):
        core_environment(OS, "try", {name: value})


def test_block_devices_and_userspace_disks() -> None:
    """A block device is told as such; a disk with userspace access only has no path."""
    disks = tuple(msgspec.structs.replace(disk, dev_type=DiskTemplate.PLAIN) for disk in INSTANCE.disks)
    instance = msgspec.structs.replace(INSTANCE, disks=disks)
    devices = (DiskDevice(path="/dev/a"), DiskDevice(path="", uri="rbd:p/b"))
    found = instance_environment(OS, instance, devices)
    assert found["DISK_0_BACKEND_TYPE"] == "block"
    assert "DISK_1_PATH" not in found
    assert found["DISK_1_URI"] == "rbd:p/b"


def test_hypervisors_without_device_types() -> None:
    """What the hypervisor does not have is not told."""
    found = instance_environment(OS, msgspec.structs.replace(INSTANCE, hvparams={}), DEVICES)
    assert not [name for name in found if name.endswith("FRONTEND_TYPE")]


def test_rename() -> None:
    """The old name in addition."""
    found = rename_environment(OS, INSTANCE, DEVICES, old_name="old.example.com")
    assert found == EVERYTHING | {"OLD_INSTANCE_NAME": "old.example.com"}


def test_export() -> None:
    """The disk's device, its index, and where the size may be written."""
    found = export_environment(OS, INSTANCE, DEVICES, index=0, size_fd=11)
    assert found == EVERYTHING | {
        "EXPORT_DEVICE": "/dev/a",
        "EXPORT_DISK_PATH": "/dev/a",
        "EXPORT_INDEX": "0",
        "EXP_SIZE_FD": "11",
    }


def test_import() -> None:
    """The same the other way; a userspace URI where there is one."""
    found = import_environment(OS, INSTANCE, DEVICES, index=1)
    assert found == EVERYTHING | {
        "IMPORT_DEVICE": "/dev/b",
        "IMPORT_DISK_PATH": "/dev/b",
        "IMPORT_DISK_URI": "rbd:p/b",
        "IMPORT_INDEX": "1",
    }
