"""The parameters of gnt as tables: name, type, default, first release, and whether only the cluster may set it.

Facts of `spec/params.json`, compared with it by a test. Sizes are MiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class ParamType(StrEnum):
    """What values a parameter takes."""

    INT = "int"
    SIZE = "size"
    STRING = "string"
    BOOL = "bool"
    MAYBE_STRING = "maybe-string"
    FLOAT = "float"


@dataclass(frozen=True)
class Parameter:
    """One parameter. `cluster_only` ones cannot be set where others override: on instances, on nodes."""

    type: ParamType
    default: Any
    since: str
    cluster_only: bool = False


Table = dict[str, Parameter]


def _integer(default: int, since: str, *, cluster_only: bool = False) -> Parameter:
    return Parameter(ParamType.INT, default, since, cluster_only)


def _size(default: int, since: str) -> Parameter:
    return Parameter(ParamType.SIZE, default, since)


def _text(default: str, since: str, *, cluster_only: bool = False) -> Parameter:
    return Parameter(ParamType.STRING, default, since, cluster_only)


def _maybe_text(default: str | None, since: str) -> Parameter:
    return Parameter(ParamType.MAYBE_STRING, default, since)


def _boolean(default: bool, since: str, *, cluster_only: bool = False) -> Parameter:
    return Parameter(ParamType.BOOL, default, since, cluster_only)


def _real(default: float, since: str) -> Parameter:
    return Parameter(ParamType.FLOAT, default, since)


BACKEND: Final[Table] = {
    "always_failover": _boolean(False, "2.6"),
    "auto_balance": _boolean(True, "2.0"),
    "maxmem": _size(128, "2.6"),
    "minmem": _size(128, "2.6"),
    "spindle_use": _integer(1, "2.6"),
    "vcpus": _integer(1, "2.0"),
}
NIC: Final[Table] = {
    "link": _text("xen-br0", "2.1"),
    "mode": _text("bridged", "2.1"),
    "vlan": _text("", "2.10"),
}
NODE: Final[Table] = {
    "cpu_speed": _real(1.0, "2.12"),
    "exclusive_storage": _boolean(False, "2.7", cluster_only=True),
    "oob_program": _text("", "2.4"),
    "ovs": _boolean(False, "2.10"),
    "ovs_link": _maybe_text("", "2.10"),
    "ovs_name": _maybe_text("switch1", "2.10"),
    "spindle_count": _integer(1, "2.6"),
    "ssh_port": _integer(22, "2.11"),
}
DISK: Final[dict[str, Table]] = {
    "diskless": {},
    "file": {},
    "sharedfile": {},
    "plain": {
        "stripes": _integer(1, "2.6"),
    },
    "thin": {
        "pool": _text("gnt-thin", "3.1"),
    },
    "qcow2": {
        "backing": _text("", "3.1"),
    },
    "blockdev": {},
    "drbd": {
        "c-delay-target": _integer(1, "2.6"),
        "c-fill-target": _integer(0, "2.6"),
        "c-max-rate": _integer(61440, "2.6"),
        "c-min-rate": _integer(4096, "2.6"),
        "c-plan-ahead": _integer(20, "2.6"),
        "data-stripes": _integer(1, "2.6"),
        "disk-barriers": _text("n", "2.6"),
        "disk-custom": _text("", "2.6"),
        "dynamic-resync": _boolean(False, "2.6"),
        "meta-barriers": _boolean(False, "2.6"),
        "meta-stripes": _integer(1, "2.6"),
        "metavg": _text("xenvg", "2.5"),
        "net-custom": _text("", "2.6"),
        "protocol": _text("C", "2.9"),
        "resync-rate": _integer(61440, "2.6"),
    },
    "rbd": {
        "access": _text("kernelspace", "2.8"),
        "pool": _text("rbd", "2.2"),
    },
    "ext": {
        "access": _text("kernelspace", "2.8"),
    },
    "gluster": {
        "access": _text("kernelspace", "2.8"),
        "host": _text("127.0.0.1", "2.11"),
        "port": _integer(24007, "2.10"),
        "volume": _text("gv0", "2.11"),
    },
}
HYPERVISOR: Final[dict[str, Table]] = {
    "kvm": {
        "acpi": _boolean(True, "2.0"),
        "boot_order": _text("disk", "2.0"),
        "cdrom2_image_path": _text("", "2.5"),
        "cdrom_disk_type": _text("", "2.5"),
        "cdrom_image_path": _text("", "2.0"),
        "cpu_cores": _integer(0, "2.7"),
        "cpu_mask": _text("all", "2.2"),
        "cpu_sockets": _integer(0, "2.7"),
        "cpu_threads": _integer(0, "2.7"),
        "cpu_type": _text("", "2.7"),
        "disk_aio": _text("threads", "2.12"),
        "disk_cache": _text("default", "2.1"),
        "disk_discard": _text("ignore", "2.16"),
        "disk_type": _text("paravirtual", "2.0"),
        "floppy_image_path": _text("", "2.5"),
        "initrd_path": _text("", "2.0"),
        "kernel_args": _text("ro", "2.0"),
        "kernel_path": _text("/boot/vmlinuz-3-kvmU", "2.0"),
        "keymap": _text("", "2.5"),
        "kvm_extra": _text("", "2.7"),
        "kvm_flag": _text("", "2.2"),
        "kvm_path": _text("/usr/bin/kvm", "2.7"),
        "kvm_pci_reservations": _integer(12, "2.16"),
        "machine_version": _text("", "2.7"),
        "mem_path": _text("", "2.3"),
        "migration_bandwidth": _integer(32, "2.2", cluster_only=True),
        "migration_caps": _text("", "2.12"),
        "migration_downtime": _integer(30, "2.2"),
        "migration_mode": _text("live", "2.2", cluster_only=True),
        "migration_port": _integer(8102, "2.1", cluster_only=True),
        "nic_type": _text("paravirtual", "2.0"),
        "reboot_behavior": _text("reboot", "2.5"),
        "root_path": _maybe_text("/dev/vda1", "2.0"),
        "scsi_controller_type": _text("lsi", "2.16"),
        "security_domain": _text("", "2.2"),
        "security_model": _text("none", "2.2"),
        "serial_console": _boolean(True, "2.0"),
        "serial_speed": _integer(38400, "2.7"),
        "soundhw": _text("", "2.7"),
        "spice_bind": _text("", "2.5"),
        "spice_image_compression": _text("", "2.6"),
        "spice_ip_version": _integer(0, "2.5"),
        "spice_jpeg_wan_compression": _text("", "2.6"),
        "spice_password_file": _text("", "2.6"),
        "spice_playback_compression": _boolean(True, "2.6"),
        "spice_streaming_video": _text("", "2.6"),
        "spice_tls_ciphers": _text("HIGH:-DES:-3DES:-EXPORT:-DH", "2.6"),
        "spice_use_tls": _boolean(False, "2.6"),
        "spice_use_vdagent": _boolean(True, "2.6"),
        "spice_zlib_glz_wan_compression": _text("", "2.6"),
        "usb_devices": _text("", "2.7"),
        "usb_mouse": _text("", "2.0"),
        "use_chroot": _boolean(False, "2.2"),
        "use_guest_agent": _boolean(False, "2.16"),
        "use_localtime": _boolean(False, "2.1"),
        "user_shutdown": _boolean(False, "2.11"),
        "vga": _text("", "2.7"),
        "vhost_net": _boolean(True, "2.2"),
        "virtio_net_queues": _integer(1, "2.12"),
        "vnc_bind_address": _text("", "2.0"),
        "vnc_password_file": _text("", "2.1"),
        "vnc_tls": _boolean(False, "2.0"),
        "vnc_x509_path": _text("", "2.0"),
        "vnc_x509_verify": _boolean(False, "2.0"),
        "vnet_hdr": _boolean(True, "2.8"),
    },
    "xen-pvm": {
        "blockdev_prefix": _text("sd", "2.4"),
        "bootloader_args": _text("", "2.1"),
        "bootloader_path": _text("", "2.1"),
        "cpu_cap": _integer(0, "2.7"),
        "cpu_mask": _text("all", "2.2"),
        "cpu_weight": _integer(256, "2.7"),
        "cpuid": _text("", "2.10"),
        "initrd_path": _text("", "2.0"),
        "kernel_args": _text("ro", "2.0"),
        "kernel_path": _text("/boot/vmlinuz-3-xenU", "2.0"),
        "migration_mode": _text("live", "2.2", cluster_only=True),
        "migration_port": _integer(8002, "2.1", cluster_only=True),
        "reboot_behavior": _text("reboot", "2.5"),
        "root_path": _maybe_text("/dev/xvda1", "2.0"),
        "soundhw": _text("", "2.7"),
        "use_bootloader": _boolean(False, "2.1"),
        "vif_script": _text("", "2.9"),
    },
    "chroot": {
        "init_script": _text("/ganeti-chroot", "2.1"),
    },
    "xen-hvm": {
        "acpi": _boolean(True, "2.0"),
        "blockdev_prefix": _text("hd", "2.4"),
        "boot_order": _text("cd", "2.0"),
        "cdrom_image_path": _text("", "2.0"),
        "cpu_cap": _integer(0, "2.7"),
        "cpu_mask": _text("all", "2.2"),
        "cpu_weight": _integer(256, "2.7"),
        "cpuid": _text("", "2.10"),
        "device_model": _text("/usr/lib/xen/bin/qemu-dm", "2.1"),
        "disk_type": _text("paravirtual", "2.0"),
        "kernel_path": _text("/usr/lib/xen/boot/hvmloader", "2.0"),
        "migration_mode": _text("non-live", "2.2", cluster_only=True),
        "migration_port": _integer(8002, "2.1", cluster_only=True),
        "nic_type": _text("rtl8139", "2.0"),
        "pae": _boolean(True, "2.0"),
        "pci_pass": _text("", "2.7"),
        "reboot_behavior": _text("reboot", "2.5"),
        "soundhw": _text("", "2.7"),
        "use_localtime": _boolean(False, "2.1"),
        "vif_script": _text("", "2.9"),
        "vif_type": _text("ioemu", "2.7"),
        "viridian": _boolean(False, "2.8"),
        "vnc_bind_address": _text("0.0.0.0", "2.0"),  # noqa: S104  # the documented default
        "vnc_password_file": _text("/etc/ganeti/vnc-cluster-password", "2.1"),
    },
    "lxc": {
        "cpu_mask": _text("", "2.2"),
        "devices": _text(
            "c 1:3 rw,c 1:5 rw,c 1:7 rw,c 1:8 rw,c 1:9 rw,c 1:10 rw,c 5:0 rw,c 5:1 rw,c 5:2 rw,c 136:* rw", "2.13"
        ),
        "drop_capabilities": _text("mac_override,sys_boot,sys_module,sys_time,sys_admin", "2.13"),
        "extra_cgroups": _text("", "2.13"),
        "extra_config": _text("", "2.13"),
        "num_ttys": _integer(6, "2.13"),
        "startup_timeout": _integer(30, "2.13"),
    },
    "fake": {
        "migration_mode": _text("live", "2.2", cluster_only=True),
    },
}

REMOVED: Final[dict[str, str]] = {"xen_cmd": "xl is always used now"}
"""Hypervisor parameters of older releases that are refused by name, with the reason."""

SPEC_KEYS: Final = ("memory-size", "cpu-count", "disk-count", "disk-size", "nic-count", "spindle-use")
"""What an instance policy bounds; sizes in MiB."""

_MIN: Final = {
    "cpu-count": 1,
    "disk-count": 1,
    "disk-size": 1024,
    "memory-size": 128,
    "nic-count": 1,
    "spindle-use": 1,
}
_MAX: Final = {
    "cpu-count": 8,
    "disk-count": 16,
    "disk-size": 1048576,
    "memory-size": 32768,
    "nic-count": 8,
    "spindle-use": 12,
}

IPOLICY: Final[dict[str, Any]] = {
    "disk-templates": [
        "blockdev",
        "diskless",
        "drbd",
        "ext",
        "file",
        "gluster",
        "plain",
        "qcow2",
        "rbd",
        "sharedfile",
        "thin",
    ],
    "minmax": [{"max": _MAX, "min": _MIN}],
    "spindle-ratio": 32.0,
    "std": _MIN,
    "vcpu-ratio": 4.0,
}

HV_STATE: Final = {"cpu_node": 1, "cpu_total": 1, "mem_hv": 0, "mem_node": 0, "mem_total": 0}
DISK_STATE: Final = {"disk_overhead": 0, "disk_reserved": 0, "disk_total": 0}
