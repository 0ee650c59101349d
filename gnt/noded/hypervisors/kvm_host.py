"""What a kvm domain needs to know of the node it starts on: acceleration, addresses, passwords, users."""

from __future__ import annotations

import ipaddress
import os
import pwd
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.model.specs import InstanceSpec
from gnt.noded.hypervisors import linux
from gnt.noded.hypervisors.kvm_xml import KvmHost

_EXIT_PORT: Final = 0xF4
# mov al, 0x10; out 0xf4, al; hlt. QEMU's isa-debug-exit then ends with (0x10 << 1) | 1.
_BOOT_SECTOR: Final = bytes([0xB0, 0x10, 0xE6, _EXIT_PORT, 0xF4]).ljust(510, b"\0") + b"\x55\xaa"
_SEEN: Final = 33
_TRIAL_SECONDS: Final = 5
_DEFAULT_EMULATOR: Final = "/usr/bin/kvm"


def failure(name: str, value: Any, text: str, *, hint: str = "") -> NodeFailure:
    """Say that a parameter's value does not fit this node."""
    return NodeFailure(
        "parameter", f"Parameter '{name}' fails validation: {text} (current value: '{value}')", hint=hint
    )


def emulator(kvm_path: str, arch: str) -> str:
    """Give the emulator itself: `/usr/bin/kvm` is a shell script on some systems, which libvirt cannot question.

    `parameter` if there is none.
    """
    plain = f"/usr/bin/qemu-system-{arch}"
    if kvm_path == _DEFAULT_EMULATOR and Path(plain).is_file():
        return plain
    if not Path(kvm_path).is_file():
        raise failure("kvm_path", kvm_path, "not found or not a file", hint="install qemu-system, or set kvm_path")
    return kvm_path


class Acceleration:
    """Whether KVM works here, found out by running a guest of three instructions; the answer is kept.

    That `/dev/kvm` can be opened says little: inside some virtual machines it can, and guests hang or die. There even
    a small guest ends on a slow simple processor, after seconds; the host's own processor shows the fault at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problem: str | None = None

    def problem(self, program: str) -> str:
        """Say why KVM cannot be used, empty if it can."""
        with self._lock:
            if self._problem is None:
                self._problem = _kvm_problem(program)
            return self._problem


def _kvm_problem(program: str) -> str:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "there is no /dev/kvm that this daemon may use"
    if os.uname().machine not in {"x86_64", "i686"}:
        # The instructions of the trial are those of a PC; elsewhere the device must do as proof.
        return ""
    return trial(program, "kvm", "host")


def trial(program: str, accelerator: str, cpu: str) -> str:
    """Boot a guest that ends at once; gives what went wrong, empty if nothing. Blocks for some seconds at most."""
    with tempfile.NamedTemporaryFile(prefix="gnt-trial-", suffix=".img") as sector:
        sector.write(_BOOT_SECTOR)
        sector.flush()
        command = [
            *(program, "-machine", f"pc,accel={accelerator}", "-cpu", cpu, "-m", "16"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=4"),
            *("-drive", f"file={sector.name},format=raw,if=ide,snapshot=on"),
        ]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=_TRIAL_SECONDS, check=False, text=True)
        except subprocess.TimeoutExpired:
            return f"a guest of three instructions did not end in {_TRIAL_SECONDS} seconds"
        except OSError as error:
            return f"{program} cannot be run: {error.strerror}"
    if ended.returncode == _SEEN:
        return ""
    said = ended.stderr.strip().splitlines()
    return f"a guest of three instructions failed: {said[0][-200:] if said else f'exit status {ended.returncode}'}"


def first_line(name: str, path: str) -> str:
    """Give the first line of a password file; its content is never in an error."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.readline().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise failure(name, path, "cannot be read") from error


def bind_address(name: str, value: str, version: int = 4) -> str | None:
    """Give the address to listen on for an IP address or an interface; None for a path or nothing."""
    if not value or value.startswith("/"):
        return None
    try:
        ipaddress.ip_address(value)
    except ValueError:
        address = linux.interface_address(value, version)
        if address is None:
            raise failure(name, value, f"neither an IP address nor an interface with an IPv{version} address") from None
        return address
    return value


def owner(parameters: Mapping[str, Any]) -> str | None:
    """Give `+uid:+gid` of the user that the emulator runs as, None to leave that to libvirt."""
    if parameters["security_model"] != "user":
        return None
    try:
        user = pwd.getpwnam(parameters["security_domain"])
    except KeyError:
        raise failure("security_domain", parameters["security_domain"], "this node has no such user") from None
    return f"+{user.pw_uid}:+{user.pw_gid}"


def look_at(instance: InstanceSpec, acceleration: Acceleration, log: Path, *, nic_script: bool) -> KvmHost:
    """Find out what a domain of this instance needs to know; reads its password files. Blocks."""
    given = instance.hvparams
    arch = os.uname().machine
    program = emulator(given["kvm_path"], arch)
    page = linux.huge_page_kib(given["mem_path"]) if given["mem_path"] else None
    if given["mem_path"] and page is None:
        raise failure("mem_path", given["mem_path"], "no hugetlbfs is mounted there")
    vnc, spice = given["vnc_password_file"], given["spice_password_file"]
    return KvmHost(
        kvm=given["kvm_flag"] != "disabled" and not acceleration.problem(program),
        vhost=os.access("/dev/vhost-net", os.R_OK | os.W_OK),
        arch=arch,
        emulator=program,
        memory_free=linux.node_facts([]).memory_free,
        vnc_address=bind_address("vnc_bind_address", given["vnc_bind_address"]),
        vnc_password=first_line("vnc_password_file", vnc) if vnc and given["vnc_bind_address"] else None,
        spice_address=bind_address("spice_bind", given["spice_bind"], int(given["spice_ip_version"]) or 4),
        spice_password=first_line("spice_password_file", spice) if spice and given["spice_bind"] else None,
        huge_page_kib=page,
        owner=owner(given),
        serial_log=str(log / f"{instance.name}-console.log") if given["serial_console"] else None,
        nic_script=nic_script,
    )
