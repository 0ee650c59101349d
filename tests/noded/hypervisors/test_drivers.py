"""Drivers without their hypervisor: nothing is imported or connected before it is needed, and failures have words."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.noded.hypervisors import kvm_devices, libvirt_connection
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.noded.hypervisors.registry import SUPPORTED, drivers
from gnt.wire.calls import DiskDevice
from gnt.wire.guest_calls import MigrationTicket
from tests.noded.hypervisors.golden import instance
from tests.noded.hypervisors.libvirt_room import place_of


def test_all_drivers_keep_to_the_interface(tmp_path: Path) -> None:
    """Every hypervisor that we drive has all methods with their arguments."""
    made = drivers(place_of(Layout(tmp_path), "node1"))
    assert tuple(made) == SUPPORTED == ("kvm", "xen-pvm", "xen-hvm", "fake")
    for name, driver in made.items():
        assert verifyObject(IHypervisor, driver)
        assert driver.name == name


@pytest.mark.parametrize("name", ["chroot", "lxc", "vmware"])
def test_other_hypervisors(tmp_path: Path, name: str) -> None:
    """They are refused by name, with those that there are."""
    with pytest.raises(NodeFailure, match=f"hypervisor '{name}' is not supported") as failure:
        drivers(place_of(Layout(tmp_path), "node1"), [name])
    assert failure.value.hint == "supported: kvm, xen-pvm, xen-hvm, fake"


def test_libvirt_is_imported_late() -> None:
    """A node daemon that has only fake guests needs no libvirt."""
    code = "import sys, gnt.noded.hypervisors.registry; sys.exit('libvirt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_libvirt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without the library says what to install, whatever is asked of it."""

    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.setattr(libvirt_connection, "LIBRARY", libvirt_connection._Library())
    made = drivers(place_of(Layout(tmp_path), "node1"))
    for name in ("kvm", "xen-pvm", "xen-hvm"):
        for question in (made[name].list_guests, made[name].node_facts, made[name].verify):
            with pytest.raises(NodeFailure, match="this node cannot use libvirt from Python") as failure:
                question()
            assert failure.value.code == "no_libvirt"
            assert "python3-libvirt" in failure.value.hint
    made["kvm"].settle()


@pytest.mark.parametrize("name", ["xen-pvm", "xen-hvm"])
def test_xen_does_not_migrate(tmp_path: Path, name: str) -> None:
    """It is refused by name at both ends, and what undoes it does nothing."""
    driver = drivers(place_of(Layout(tmp_path), "node1"), [name])[name]
    spec, ticket = instance(name), MigrationTicket(hypervisor=name, address="192.0.2.2")
    for refused in (
        lambda: driver.accept(spec, [], "node2", "192.0.2.1"),
        lambda: driver.send(spec, "node2", ticket, True),
        lambda: driver.finish(spec, True),
    ):
        with pytest.raises(NodeFailure, match=f"migration of {name} guests is not supported") as failure:
            refused()
        assert failure.value.code == "unsupported"
        assert "failover" in failure.value.hint
    driver.cancel_accept(spec)
    driver.abort_send(spec.name, spec.uuid)
    driver.settle()
    assert driver.progress(spec.name, spec.uuid).state == "none"


@pytest.mark.parametrize(
    ("name", "given", "parameter"),
    [
        ("xen-pvm", {}, "kernel_path"),
        ("xen-pvm", {"use_bootloader": True, "bootloader_path": "/no/such"}, "bootloader_path"),
        ("xen-hvm", {"kernel_path": "/etc/passwd", "device_model": "/no/such"}, "device_model"),
    ],
)
def test_xen_parameters(tmp_path: Path, name: str, given: dict[str, Any], parameter: str) -> None:
    """Files that are not there are named."""
    driver = drivers(place_of(Layout(tmp_path), "node1"), [name])[name]
    with pytest.raises(NodeFailure, match=f"Parameter '{parameter}' fails validation: not found") as failure:
        driver.check(instance(name, **given).hvparams)
    assert failure.value.code == "parameter"


@pytest.mark.parametrize(
    ("given", "kind", "port"),
    [
        ({"vnc_bind_address": "192.0.2.1"}, "vnc", 11007),
        ({"spice_bind": "192.0.2.1"}, "spice", 11007),
        ({"vnc_bind_address": "/run/vnc"}, "msg", None),
        ({}, "msg", None),
    ],
)
def test_kvm_consoles_without_a_serial_port(tmp_path: Path, given: dict[str, Any], kind: str, port: int | None) -> None:
    """VNC, then SPICE, and where there is nothing a message in the words that clients know."""
    driver = drivers(place_of(Layout(tmp_path), "node1"), ["kvm"])["kvm"]
    console = driver.console(instance("kvm", serial_console=False, **given), "node1")
    assert (console.kind, console.port) == (kind, port)
    if kind == "vnc":
        assert console.display == 11007 - 5900
    if kind == "msg":
        assert console.message == "No serial shell for instance web1.example.com"


def test_a_driver_of_qemus_that_is_not_installed() -> None:
    """The package is named: libvirt passes on only what QEMU says."""
    libvirt = pytest.importorskip("libvirt", reason="needs the package python3-libvirt")
    connection = libvirt_connection.LibvirtConnection(lambda: "none:///")
    said = "internal error: process exited: -blockdev driver=rbd: Unknown driver 'rbd'"
    with pytest.raises(NodeFailure) as failure, connection.errors("starting web1"):
        raise libvirt.libvirtError(said)
    assert (failure.value.code, failure.value.hint) == ("missing_program", "install the package qemu-block-extra")


@pytest.mark.parametrize("name", ["xen-pvm", "xen-hvm"])
def test_guests_that_are_given_no_devices(tmp_path: Path, name: str) -> None:
    """One clear line for each attempt, with the way out."""
    driver = drivers(place_of(Layout(tmp_path), "node1"), [name])[name]
    spec = instance(name)
    attempts = (
        lambda: driver.check_plug(spec, "disk"),
        lambda: driver.plug_disk(spec, spec.disks[0], DiskDevice(path="/dev/x")),
        lambda: driver.ask_to_unplug(spec.name, spec.uuid, "disk", "u"),
    )
    for attempt in attempts:
        with pytest.raises(NodeFailure, match="are not given other devices while they do") as failure:
            attempt()
        assert failure.value.code == "unsupported"
        assert "--no-hotplug" in failure.value.hint
    with pytest.raises(NodeFailure, match="are not told of larger disks"):
        driver.resize_disk(spec.name, spec.uuid, "u", 5)


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("disk", {"disk_type": "ide"}, "disks with disk_type ide"),
        ("disk", {"disk_type": "sd"}, "disks with disk_type sd"),
        ("nic", {"nic_type": "ne2k_isa"}, "interfaces with nic_type ne2k_isa"),
        ("disk", {"disk_type": "scsi-hd"}, ""),
        ("disk", {"disk_type": "paravirtual"}, ""),
        ("nic", {"nic_type": "e1000"}, ""),
    ],
)
def test_devices_that_come_only_at_a_start(kind: str, parameters: dict[str, Any], said: str) -> None:
    """Their buses know of nothing else; what is on others may come and go."""
    given = instance("kvm", **parameters).hvparams
    if not said:
        kvm_devices.refuse_unpluggable(given, kind)
        return
    with pytest.raises(NodeFailure, match=said) as failure:
        kvm_devices.refuse_unpluggable(given, kind)
    assert failure.value.code == "unsupported"
