"""Which values hypervisor parameters may have: `spec/hypervisors.md`, sections 1 and 2.

Syntax only: whether a file exists is for the nodes to say.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gnt.model.params_tables import HYPERVISOR, Parameter, ParamType

Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Rule:
    """What a value must be: `error` says it in words. Empty values are only wrong where `required`."""

    test: Test
    error: str
    required: bool = False


SERIAL_SPEEDS: Final = frozenset(
    {75, 110, 300, 600, 1200, 1800, 2400, 4800, 9600, 14400, 19200, 28800}
    | {38400, 57600, 115200, 230400, 345600, 460800}
)

_CPU_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_URL = re.compile(r"(https?|ftp)://[^\s/]+(/\S*)?", re.ASCII)
_WORD_LIST = re.compile(r"[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)*", re.ASCII)


def is_normal_path(value: Any) -> bool:
    """Say whether a text is an absolute path without `..`, `.`, doubled or final slashes."""
    return isinstance(value, str) and value.startswith("/") and posixpath.normpath(value) == value and "\0" not in value


def is_cpu_mask(value: Any) -> bool:
    """Say whether a text lists CPUs: numbers and ranges joined by commas, such as `0-2,5`."""
    if not isinstance(value, str):
        return False
    for part in value.split(","):
        match = _CPU_RANGE.fullmatch(part.strip())
        if match is None or (match.group(2) is not None and int(match.group(1)) > int(match.group(2))):
            return False
    return True


def is_multi_cpu_mask(value: Any) -> bool:
    """Say whether a text gives CPU masks, one for all virtual CPUs or one for each, joined by colons."""
    return isinstance(value, str) and all(part == "all" or is_cpu_mask(part) for part in value.split(":"))


def cpu_mask_size(mask: str) -> int:
    """Give the number of CPUs that a single mask (not `all`) names."""
    cpus: set[int] = set()
    for part in mask.split(","):
        first, _, last = part.strip().partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return len(cpus)


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_ipv4(value: str) -> bool:
    return _is_ip(value) and ":" not in value


def _one_of(*values: object, required: bool = False) -> Rule:
    return Rule(lambda value: value in values, f"must be one of: {', '.join(map(str, values))}", required)


def _path(*, required: bool = False) -> Rule:
    return Rule(is_normal_path, "must be an absolute normalized path", required)


def _between(low: int, high: int, *, required: bool = False) -> Rule:
    return Rule(lambda value: low <= value <= high, f"must be between {low} and {high}", required)


_PATH = _path()
_REQUIRED_PATH = _path(required=True)
_PATH_OR_URL = Rule(
    lambda value: is_normal_path(value) or _URL.fullmatch(value) is not None,
    "must be an absolute normalized path or an http, https or ftp URL",
)
_MULTI_MASK = Rule(is_multi_cpu_mask, "Multiple CPU mask definition is not well-formed", required=True)
_PORT = Rule(lambda value: 0 < value < 65535, "must be a port number", required=True)
_NOT_NEGATIVE = Rule(lambda value: value >= 0, "must not be negative")
_NEEDED_NOT_NEGATIVE = Rule(lambda value: value >= 0, "must not be negative", required=True)
_MIGRATION_MODE = _one_of("live", "non-live", required=True)
_REBOOT = _one_of("reboot", "exit", required=True)
_WAN = _one_of("auto", "never", "always")
_KVM_DISKS = ("ide", "mtd", "paravirtual", "pflash", "scsi", "sd", "scsi-block", "scsi-cd", "scsi-generic", "scsi-hd")

_XEN: Final[dict[str, Rule]] = {
    "migration_port": _PORT,
    "migration_mode": _MIGRATION_MODE,
    "reboot_behavior": _REBOOT,
    "cpu_mask": _MULTI_MASK,
    "cpu_cap": _NOT_NEGATIVE,
    "cpu_weight": Rule(lambda value: 0 < value < 65536, "must be between 1 and 65535"),
    "vif_script": _PATH,
    "kernel_path": _REQUIRED_PATH,
}

RULES: Final[dict[str, dict[str, Rule]]] = {
    "kvm": {
        "kvm_path": _REQUIRED_PATH,
        "kernel_path": _PATH,
        "initrd_path": _PATH,
        "vnc_x509_path": _PATH,
        "vnc_password_file": _PATH,
        "spice_ip_version": _one_of(0, 4, 6),
        "spice_password_file": _PATH,
        "spice_image_compression": _one_of("auto_glz", "auto_lz", "quic", "glz", "lz", "off"),
        "spice_jpeg_wan_compression": _WAN,
        "spice_zlib_glz_wan_compression": _WAN,
        "spice_streaming_video": _one_of("off", "all", "filter"),
        "floppy_image_path": _PATH,
        "cdrom_image_path": _PATH_OR_URL,
        "cdrom2_image_path": _PATH_OR_URL,
        "boot_order": _one_of("floppy", "cdrom", "disk", "network", required=True),
        "nic_type": _one_of(
            *("e1000", "i82551", "i82557b", "i82559er", "ne2k_isa", "ne2k_pci", "paravirtual", "pcnet", "rtl8139"),
            required=True,
        ),
        "disk_type": _one_of(*_KVM_DISKS, required=True),
        "scsi_controller_type": _one_of("lsi", "megasas", "virtio-scsi-pci", required=True),
        "cdrom_disk_type": _one_of(*_KVM_DISKS),
        "disk_cache": _one_of("default", "none", "writeback", "writethrough", required=True),
        "disk_aio": _one_of("threads", "native", "io_uring", required=True),
        "disk_discard": _one_of("ignore", "unmap", "default", required=True),
        "usb_mouse": _one_of("mouse", "tablet"),
        "migration_port": _PORT,
        "migration_bandwidth": _NEEDED_NOT_NEGATIVE,
        "migration_downtime": _NEEDED_NOT_NEGATIVE,
        "migration_mode": _MIGRATION_MODE,
        "migration_caps": Rule(lambda value: _WORD_LIST.fullmatch(value) is not None, "must be words joined by colons"),
        "security_model": _one_of("none", "user", "pool", required=True),
        "kvm_flag": _one_of("enabled", "disabled"),
        "virtio_net_queues": _between(1, 8),
        "mem_path": _PATH,
        "reboot_behavior": _REBOOT,
        "cpu_mask": _MULTI_MASK,
        "cpu_cores": _NOT_NEGATIVE,
        "cpu_threads": _NOT_NEGATIVE,
        "cpu_sockets": _NOT_NEGATIVE,
        "kvm_pci_reservations": _between(0, 32),
    },
    "xen-pvm": {**_XEN, "bootloader_path": _PATH, "initrd_path": _PATH},
    "xen-hvm": {
        **_XEN,
        "boot_order": Rule(lambda value: set(value) <= set("acdn"), "must have only the letters a, c, d, n", True),
        "cdrom_image_path": _PATH,
        "nic_type": _one_of("e1000", "ne2k_isa", "ne2k_pci", "paravirtual", "rtl8139", required=True),
        "disk_type": _one_of("ioemu", "paravirtual", required=True),
        "vnc_bind_address": Rule(_is_ipv4, "must be an IPv4 address"),
        "vnc_password_file": _REQUIRED_PATH,
        "device_model": _REQUIRED_PATH,
        "vif_type": _one_of("ioemu", "vif"),
    },
    "lxc": {
        "cpu_mask": Rule(is_cpu_mask, "CPU mask definition is not well-formed"),
        "num_ttys": _NOT_NEGATIVE,
        "startup_timeout": _NOT_NEGATIVE,
    },
    "chroot": {"init_script": _REQUIRED_PATH},
    "fake": {"migration_mode": _MIGRATION_MODE},
}


def has_type(parameter: Parameter, value: Any) -> bool:
    """Say whether a stored value is of its parameter's type."""
    match parameter.type:
        case ParamType.BOOL:
            return isinstance(value, bool)
        case ParamType.INT | ParamType.SIZE:
            return isinstance(value, int) and not isinstance(value, bool)
        case ParamType.FLOAT:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ParamType.MAYBE_STRING:
            return value is None or isinstance(value, str)
        case ParamType.STRING:
            return isinstance(value, str)


def type_problems(table: Mapping[str, Parameter], stored: Mapping[str, Any]) -> list[str]:
    """Say which stored parameters, partial or complete, are unknown or of the wrong type."""
    return [
        f"Parameter '{name}' is not supported"
        if name not in table
        else f"Parameter '{name}' must be of type {table[name].type} (current value: '{value}')"
        for name, value in sorted(stored.items())
        if name not in table or not has_type(table[name], value)
    ]


def value_problem(hypervisor: str, name: str, value: Any) -> str | None:
    """Say what is wrong with one value of a known parameter, in a line, or None."""
    rule = RULES[hypervisor].get(name)
    if rule is None:
        return None
    if value is None or value == "":
        return f"Parameter '{name}' is required but is currently not defined" if rule.required else None
    if rule.test(value):
        return None
    return f"Parameter '{name}' fails syntax check: {rule.error} (current value: '{value}')"


def hv_problems(hypervisor: str, filled: Mapping[str, Any]) -> list[str]:
    """Say everything that is wrong with a complete set of parameters, one line each: values, and how they fit."""
    table = HYPERVISOR[hypervisor]
    found = type_problems(table, filled)
    found.extend(f"Parameter '{name}' is missing" for name in table if name not in filled)
    if found:
        return found
    found.extend(filter(None, (value_problem(hypervisor, name, filled[name]) for name in table)))
    if not found and hypervisor == "kvm":
        found.extend(_kvm_problems(filled))
    return found


def _kvm_problems(p: Mapping[str, Any]) -> Iterator[str]:
    """Go through what kvm parameters ask of each other."""
    if p["kernel_path"] and not p["root_path"]:
        yield "Need a root partition for the instance, if a kernel is defined (root_path)"
    if p["serial_console"] and p["serial_speed"] not in SERIAL_SPEEDS:
        yield f"serial_speed {p['serial_speed']} is not a speed of a serial console"
    if p["vnc_x509_verify"] and not p["vnc_x509_path"]:
        yield "vnc_x509_verify needs vnc_x509_path"
    if p["boot_order"] == "cdrom" and not p["cdrom_image_path"]:
        yield "boot_order cdrom needs cdrom_image_path"
    if p["disk_aio"] == "native" and p["disk_cache"] != "none":
        yield "disk_aio native needs disk_cache none"
    if p["security_model"] == "user" and not p["security_domain"]:
        yield "security_model user needs security_domain, the user to run as"
    if p["security_model"] != "user" and p["security_domain"]:
        yield f"security_domain is only for security_model user, not {p['security_model']}"
    yield from _spice_problems(p)


def _spice_problems(p: Mapping[str, Any]) -> Iterator[str]:
    if not p["spice_bind"]:
        return
    if p["vnc_bind_address"]:
        yield "spice_bind and vnc_bind_address exclude each other"
    bind, version = p["spice_bind"], p["spice_ip_version"]
    if version and _is_ip(bind) and ipaddress.ip_address(bind).version != version:
        yield f"spice_bind {bind} is not an IPv{version} address, as spice_ip_version asks"
