"""What a machine offers to a new cluster, so that init works without a single option."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gnt.model.objects import DiskTemplate, HypervisorName

_KVM_CREATE_VM: Final = 0xAE01
_NET: Final = Path("/sys/class/net")
DEFAULT_BRIDGE: Final = "xen-br0"
QEMU: Final = ("/usr/bin/kvm", "/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm")


def has_libvirt() -> bool:
    """Say whether the driver of libvirt can be imported here."""
    import importlib.util  # noqa: PLC0415

    return importlib.util.find_spec("libvirt") is not None


def emulator() -> str | None:
    """Give the path of a QEMU for this machine, or None."""
    return next((path for path in QEMU if Path(path).exists()), None)


def kvm_works(device: str = "/dev/kvm") -> bool:
    """Find out by making a virtual machine: a device that exists may be unusable."""
    try:
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.close(fcntl.ioctl(handle, _KVM_CREATE_VM, 0))
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def choose_hypervisor(say: Callable[[str], None]) -> HypervisorName:
    """Give kvm where QEMU and libvirt are, else fake; says which, and why."""
    if emulator() is None or not has_libvirt():
        missing = "QEMU" if emulator() is None else "the Python module libvirt"
        say(f"no {missing} here: the cluster gets the hypervisor fake, whose guests are files that run nothing")
        return HypervisorName.FAKE
    if not kvm_works():
        say("/dev/kvm cannot be used here: guests will run in software emulation, which is slow")
    return HypervisorName.KVM


def has_volume_group(name: str) -> bool:
    """Say whether a volume group is there."""
    vgs = shutil.which("vgs", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if vgs is None:
        return False
    done = subprocess.run(
        [vgs, "--noheadings", "-o", "vg_name", "--", name],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
        env={"PATH": "/sbin:/usr/sbin:/bin:/usr/bin", "LC_ALL": "C"},
    )
    return done.returncode == 0


def choose_templates(volume_group: str | None) -> tuple[DiskTemplate, ...]:
    """Give the templates of a plain machine: files always, volumes where there is a group for them."""
    files = (DiskTemplate.SHAREDFILE, DiskTemplate.FILE, DiskTemplate.DISKLESS)
    return (*files, DiskTemplate.PLAIN) if volume_group is not None else files


def choose_bridge(say: Callable[[str], None]) -> str:
    """Give the bridge that new interfaces link to: the default's name if it is there, else the first one found."""
    bridges = sorted(path.parent.name for path in _NET.glob("*/bridge"))
    if DEFAULT_BRIDGE in bridges:
        return DEFAULT_BRIDGE
    if bridges:
        say(f"new network interfaces link to the bridge {bridges[0]}; --nic-parameters link=BRIDGE chooses another")
        return bridges[0]
    say(
        f"there is no bridge here: new network interfaces would link to {DEFAULT_BRIDGE}. "
        "Make one, or choose with --nic-parameters; until then add instances with --no-nics --ignore-ipolicy"
    )
    return DEFAULT_BRIDGE


def local_addresses() -> frozenset[str]:
    """Give the addresses of this machine's interfaces, as the kernel lists them."""
    done = subprocess.run(
        ["ip", "-o", "address", "show"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/sbin:/usr/sbin:/bin:/usr/bin", "LC_ALL": "C"},
    )
    words = [line.split() for line in done.stdout.splitlines()]
    return frozenset(line[3].partition("/")[0] for line in words if len(line) > 3 and line[2] in {"inet", "inet6"})
