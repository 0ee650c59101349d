"""Whether kvm parameters fit this node: files that must exist, users, addresses, machine types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gnt.noded.hypervisors import linux
from gnt.noded.hypervisors.kvm_host import bind_address, failure, owner
from gnt.noded.hypervisors.kvm_support import refuse_unsupported

_FILES: Final = (
    "kernel_path",
    "initrd_path",
    "vnc_password_file",
    "spice_password_file",
    "floppy_image_path",
    "cdrom_image_path",
    "cdrom2_image_path",
)


def check_parameters(given: Mapping[str, Any], machines: frozenset[str]) -> None:
    """Check filled parameters; `machines` are the machine types that the emulator knows.

    `unsupported` or `parameter` for the first that does not fit. URLs of CDs are not fetched.
    """
    refuse_unsupported(given)
    for name in _FILES:
        path = given.get(name)
        if path and "://" not in path and not Path(path).is_file():
            raise failure(name, path, "not found or not a file")
    if given.get("mem_path") and linux.huge_page_kib(given["mem_path"]) is None:
        raise failure("mem_path", given["mem_path"], "no hugetlbfs is mounted there")
    owner(given)
    vnc = given["vnc_bind_address"]
    if vnc.startswith("/") and not Path(vnc).is_dir():
        raise failure("vnc_bind_address", vnc, "not found or not a directory")
    bind_address("vnc_bind_address", vnc)
    bind_address("spice_bind", given["spice_bind"], int(given["spice_ip_version"]) or 4)
    machine = given["machine_version"]
    if machine and machines and machine not in machines:
        raise failure("machine_version", machine, "the emulator has no such machine type")
