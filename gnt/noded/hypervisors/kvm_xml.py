"""The domain XML of a kvm guest: spec/hypervisors.md, sections 3.1 and 3.3. Pure: values in, XML out."""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gnt.model.errors import NodeFailure
from gnt.model.specs import InstanceSpec
from gnt.noded.hypervisors import kvm_devices, kvm_display
from gnt.noded.hypervisors.domain_xml import (
    QEMU,
    Remark,
    add_processors,
    child,
    new_domain,
    start_memory,
    to_text,
)
from gnt.noded.hypervisors.kvm_support import refuse_unsupported
from gnt.wire.calls import DiskDevice

_DEFAULT_MACHINE: Final = {"x86_64": "pc", "i686": "pc", "aarch64": "virt", "ppc64le": "pseries", "s390x": ""}


@dataclass(frozen=True)
class KvmHost:
    """What the domain takes from the node it starts on; found out by `kvm_host`. Memory in MiB.

    `kvm` says whether hardware virtualization works here. Passwords are those read from the files that the parameters
    name; they get into the XML and nowhere else. `nic_script` says that interfaces are set up by noded.
    """

    kvm: bool = True
    vhost: bool = True
    arch: str = "x86_64"
    emulator: str = "/usr/bin/kvm"
    memory_free: int = 1 << 30
    vnc_address: str | None = None
    vnc_password: str | None = None
    spice_address: str | None = None
    spice_password: str | None = None
    huge_page_kib: int | None = None
    owner: str | None = None
    serial_log: str | None = None
    nic_script: bool = False

    def __repr__(self) -> str:
        return f"KvmHost(kvm={self.kvm}, vhost={self.vhost}, arch={self.arch}, emulator={self.emulator})"


def kvm_domain(instance: InstanceSpec, disks: Sequence[DiskDevice], host: KvmHost) -> tuple[str, list[Remark]]:
    """Give the XML of a guest on assembled disks, and what could not be done exactly as asked.

    `unsupported` or `parameter` names the parameter that cannot be expressed.
    """
    given = instance.hvparams
    refuse_unsupported(given)
    remarks: list[Remark] = []
    configured = [nic for nic in instance.nics if host.nic_script or nic.mode == "routed"]
    memory = start_memory(instance, host.memory_free)
    domain = new_domain(_kind(given, host, remarks), instance, memory, configured=configured)
    if given["mem_path"]:
        backing = child(domain, "memoryBacking")
        pages = child(backing, "hugepages")
        if host.huge_page_kib is not None:
            child(pages, "page", size=host.huge_page_kib, unit="KiB")
        child(backing, "allocation", mode="immediate")
    vcpus = int(instance.beparams["vcpus"])
    add_processors(domain, vcpus, given["cpu_mask"])
    _system(domain, given, host)
    if given["acpi"]:
        child(child(domain, "features"), "acpi")
    _cpu(domain, given, vcpus, host, remarks)
    child(domain, "clock", offset="localtime" if given["use_localtime"] else "utc")
    child(domain, "on_poweroff", "destroy")
    child(domain, "on_reboot", "destroy" if given["reboot_behavior"] == "exit" else "restart")
    child(domain, "on_crash", "destroy")
    devices = child(domain, "devices")
    child(devices, "emulator", host.emulator)
    kvm_devices.add_disks(devices, instance, disks)
    kvm_devices.add_nics(devices, instance, vhost=host.vhost, script=host.nic_script, remarks=remarks)
    kvm_devices.add_controllers(devices, given)
    _serial(devices, given, host)
    kvm_display.add_display(devices, instance, host, remarks)
    kvm_devices.add_extras(devices, given)
    if host.owner:
        label = child(domain, "seclabel", type="static", model="dac", relabel="no")
        child(label, "label", host.owner)
    if given["kvm_extra"]:
        _command_line(domain, given["kvm_extra"])
    return to_text(domain), remarks


def _kind(given: Mapping[str, Any], host: KvmHost, remarks: list[Remark]) -> str:
    if given["kvm_flag"] == "disabled":
        return "qemu"
    if host.kvm:
        return "kvm"
    if given["kvm_flag"] == "enabled":
        raise NodeFailure(
            "parameter",
            "Parameter 'kvm_flag' fails validation: KVM cannot be used on this node (current value: 'enabled')",
            hint="leave kvm_flag empty to run by emulation where there is no KVM",
        )
    remarks.append(Remark("KVM cannot be used on this node: the guest runs by emulation, many times slower"))
    return "qemu"


def _system(domain: ET.Element, given: Mapping[str, Any], host: KvmHost) -> None:
    system = child(domain, "os")
    machine = given["machine_version"] or _DEFAULT_MACHINE.get(host.arch, "")
    child(system, "type", "hvm", arch=host.arch, machine=machine or None)
    if not given["kernel_path"]:
        return
    if not given["root_path"]:
        raise NodeFailure(
            "parameter",
            "Parameter 'root_path' fails validation: Need a root partition for the instance, if a kernel is defined"
            " (current value: '')",
        )
    child(system, "kernel", given["kernel_path"])
    if given["initrd_path"]:
        child(system, "initrd", given["initrd_path"])
    words = [f"root={given['root_path']}", given["kernel_args"]]
    if given["serial_console"]:
        words.append(f"console=ttyS0,{given['serial_speed']}")
    child(system, "cmdline", " ".join(word for word in words if word))


def _cpu(domain: ET.Element, given: Mapping[str, Any], vcpus: int, host: KvmHost, remarks: list[Remark]) -> None:
    shape = _topology(given, vcpus, remarks)
    if not given["cpu_type"] and shape is None:
        return
    model, *features = [part.strip() for part in given["cpu_type"].split(",")]
    if model == "":
        cpu = child(domain, "cpu")
    elif model in {"host", "max"}:
        accelerated = host.kvm and given["kvm_flag"] != "disabled"
        if model == "host" and not accelerated:
            remarks.append(Remark("cpu_type host needs KVM: the guest gets all that emulation can do"))
        mode = "host-passthrough" if model == "host" and accelerated else "maximum"
        cpu = child(domain, "cpu", mode=mode, check="none", migratable="on")
    else:
        cpu = child(domain, "cpu", mode="custom", match="exact", check="none")
        child(cpu, "model", model, fallback="forbid")
    if shape is not None:
        sockets, cores, threads = shape
        child(cpu, "topology", sockets=sockets, cores=cores, threads=threads)
    for feature in features:
        name, _, value = feature.partition("=")
        off = name.startswith("-") or value == "off"
        child(cpu, "feature", policy="disable" if off else "require", name=name.lstrip("+-"))


def _topology(given: Mapping[str, Any], vcpus: int, remarks: list[Remark]) -> tuple[int, int, int] | None:
    """Give sockets, cores and threads, whose product must be the number of virtual CPUs; what is 0 is derived."""
    wanted = [int(given[name]) for name in ("cpu_sockets", "cpu_cores", "cpu_threads")]
    if not any(wanted):
        return None
    product = 1
    for factor in wanted:
        product *= factor or 1
    if 0 in wanted and vcpus % product == 0:
        # The rest goes to the first that is free: sockets before cores before threads.
        wanted[wanted.index(0)] = vcpus // product
        product = vcpus
    if product != vcpus:
        shown = ", ".join(f"cpu_{name} {given[f'cpu_{name}']}" for name in ("sockets", "cores", "threads"))
        remarks.append(Remark(f"{shown} do not make {vcpus} virtual CPUs: the topology is left out"))
        return None
    sockets, cores, threads = (factor or 1 for factor in wanted)
    return sockets, cores, threads


def _serial(devices: ET.Element, given: Mapping[str, Any], host: KvmHost) -> None:
    if not given["serial_console"]:
        return
    serial = child(devices, "serial", type="pty")
    if host.serial_log:
        child(serial, "log", file=host.serial_log, append="on")
    child(serial, "target", port=0)
    child(child(devices, "console", type="pty"), "target", type="serial", port=0)


def _command_line(domain: ET.Element, extra: str) -> None:
    try:
        arguments = shlex.split(extra)
    except ValueError as error:
        raise NodeFailure(
            "parameter", f"Parameter 'kvm_extra' fails validation: {error} (current value: '{extra}')"
        ) from error
    line = ET.SubElement(domain, f"{{{QEMU}}}commandline")
    for argument in arguments:
        ET.SubElement(line, f"{{{QEMU}}}arg", {"value": argument})
