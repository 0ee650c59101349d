"""Two nodes with a real libvirtd each, on loopback addresses of this machine, under TLS with real certificates.

Each libvirtd has mount, host name and process namespaces of its own: ending the first process of one ends all in it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from gnt.daemon.runtime import Runtime
from gnt.model.layout import Layout
from gnt.model.objects import HypervisorName
from gnt.model.params import defaults
from gnt.model.params_tables import BACKEND, HYPERVISOR
from gnt.model.specs import DiskSpec, InstanceSpec
from gnt.noded.handler import Place
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.noded.hypervisors.kvm import KvmHypervisor
from gnt.noded.hypervisors.pki import prepare_tls
from gnt.wire import certificates
from gnt.wire.calls import DiskDevice
from tests.noded.hypervisors.attached import answer_of
from tests.noded.hypervisors.guest_initrd import write_initrd

OWN_NAMESPACES = ("--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
PATIENCE = 60.0
_UUID = "6b1b4d6e-3c4c-4f0e-9d55-{:012d}"

QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
spice_tls = 1
migration_host = "{name}"
migration_address = "{address}"
migrate_tls_x509_cert_dir = "{pki}"
migrate_tls_x509_verify = 1
migrate_tls_force = 1
"""
LIBVIRTD_CONF = """\
unix_sock_dir = "{root}/run/libvirt"
listen_tls = 1
listen_tcp = 0
listen_addr = "{address}"
auth_unix_rw = "none"
auth_tls = "none"
ca_file = "{pki}/cacert.pem"
cert_file = "{pki}/servercert.pem"
key_file = "{pki}/serverkey.pem"
host_uuid = "6b1b4d6e-1111-4222-8333-0000000000{number:02d}"
"""
START = """\
hostname "$NAME"
for part in run:/run/libvirt lib:/var/lib/libvirt log:/var/log/libvirt cache:/var/cache/libvirt etc:/etc/libvirt; do
    mkdir -p "$OWN/${part%%:*}" "${part#*:}"
    mount --bind "$OWN/${part%%:*}" "${part#*:}"
done
libvirtd --config /etc/libvirt/libvirtd.conf --listen --pid-file "$OWN/run/libvirtd.pid" >"$OWN/out" 2>&1 &
wait $!
"""


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something that a real machine does in its own time."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        pause.wait(0.05)


def missing() -> str:
    """Say what this machine lacks for real guests, empty if nothing."""
    if os.geteuid() != 0:
        return "real guests need root"
    for program in ("libvirtd", "unshare", "setpriv", "qemu-system-x86_64"):
        if shutil.which(program) is None:
            return f"there is no {program} on this machine"
    kernel, initrd = guest_files()
    if not (kernel.is_file() and initrd.is_file()):
        return f"there is no guest kernel at {kernel} ('make guest' gets one)"
    return ""


def guest_files() -> tuple[Path, Path]:
    """Give kernel and initrd of the test guest."""
    cache = Path(__file__).parents[3] / ".cache/guest"
    return (
        Path(os.environ.get("GNT_TEST_KERNEL") or cache / "vmlinuz"),
        Path(os.environ.get("GNT_TEST_INITRD") or cache / "initrd"),
    )


class DirectPool:
    """Does blocking work at once: the suite calls drivers directly."""

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do it."""
        return work(*args, **kwargs)


def place_of(layout: Layout, name: str) -> Place:
    """Make a place for a driver; its clock has no threads."""
    runtime = Runtime(clock=Clock(), pools=lambda _: DirectPool(), random=random.Random(1))  # noqa: S311
    return Place(layout=layout, name=name, runtime=runtime)


@dataclass
class LibvirtRoom:
    """The two libvirtds, for a whole test session."""

    root: Path
    addresses: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    numbers: int = 0

    @classmethod
    def open(cls) -> LibvirtRoom:
        """Start both; skips, saying why, where that cannot be."""
        if missing():
            pytest.skip(missing())
        # Addresses of our own, so that two suites run beside each other.
        subnet = f"127.{random.SystemRandom().randint(16, 250)}.{random.SystemRandom().randint(0, 250)}"
        # libvirt's sockets lie below: the path must be short.
        root = Path(tempfile.mkdtemp(prefix="gnt-kvm-"))
        room = cls(root, {f"node{number}": f"{subnet}.{number}" for number in (1, 2)})
        try:
            write_initrd(guest_files()[1], room.initrd)
            room.make_certificates()
            for number in (1, 2):
                room.start(number)
        except BaseException:
            room.close()
            raise
        return room

    @property
    def initrd(self) -> Path:
        """Give the guest's initrd."""
        return self.root / "initrd"

    def layout(self, name: str) -> Layout:
        """Give the layout of a node."""
        return Layout(self.root / name)

    def make_certificates(self) -> None:
        """Give each node a certificate of one authority, and libvirt its files."""
        now, source = time.time(), random.Random(7)  # noqa: S311
        authority = certificates.make_authority("cluster", now=now, source=source)
        for name, address in self.addresses.items():
            layout = self.layout(name)
            layout.data.mkdir(parents=True)
            layout.log.mkdir(parents=True)
            layout.etc.mkdir(parents=True)
            key = certificates.make_key()
            signed = certificates.sign_node(
                authority,
                certificates.make_request(key, name),
                name=name,
                uuid=name,
                addresses=[address],
                now=now,
                source=source,
            )
            certificates.save_public(layout.authority_certificate, authority.certificate)
            certificates.save_identity(layout.node_pem, certificates.Identity(signed, key))
            assert prepare_tls(layout)

    def start(self, number: int) -> None:
        """Start one libvirtd and wait for its socket."""
        name = f"node{number}"
        root, own = self.root / name, self.root / name / "own"
        words: dict[str, Any] = {"name": name, "number": number, "address": self.addresses[name], "root": root}
        words["pki"] = self.layout(name).libvirt_pki
        (own / "etc").mkdir(parents=True)
        (root / "run/libvirt").mkdir(parents=True)
        (own / "etc/qemu.conf").write_text(QEMU_CONF.format(**words))
        (own / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF.format(**words))
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *OWN_NAMESPACES, "bash", "-c", START]
        environment = {**os.environ, "NAME": name, "OWN": str(own)}
        self.running.append(subprocess.Popen(command, env=environment, start_new_session=True))
        wait_for((root / "run/libvirt/libvirt-sock").exists, f"{name}'s libvirtd: {own / 'out'}", 30)

    def close(self) -> None:
        """End both with all their guests."""
        for process in self.running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def house(self) -> KvmHouse:
        """Give an empty house."""
        self.numbers += 10
        return KvmHouse(self, self.numbers)


@dataclass
class KvmHouse:
    """Two nodes with kvm; every test has guests of other names."""

    room: LibvirtRoom
    base: int
    names: tuple[str, ...] = ("node1", "node2")
    boots: dict[str, int] = field(default_factory=dict)
    drivers: list[KvmHypervisor] = field(default_factory=list)
    typing: list[Any] = field(default_factory=list)
    asked: int = 0

    def address(self, node: str) -> str:
        """Give a node's address."""
        return self.room.addresses[node]

    def driver(self, node: str = "node1") -> IHypervisor:
        """Make a driver with a connection of its own."""
        made = KvmHypervisor(place_of(self.room.layout(node), node), environ={})
        self.drivers.append(made)
        return made

    def instance(self, number: int = 1, **hvparams: Any) -> InstanceSpec:
        """Describe a guest that says hello on its serial port and obeys its power button."""
        kernel, _ = guest_files()
        given = {
            "kernel_path": str(kernel),
            "initrd_path": str(self.room.initrd),
            "kernel_args": "ro quiet",
            **hvparams,
        }
        return InstanceSpec(
            name=f"guest{self.base + number}",
            uuid=_UUID.format(self.base + number),
            hypervisor=HypervisorName.KVM,
            hvparams={**defaults(HYPERVISOR["kvm"]), **given},
            beparams=defaults(BACKEND),
        )

    def disks(self, instance: InstanceSpec, node: str = "node1") -> list[DiskDevice]:
        """Give a file for each disk; each node has its own link to the shared one."""
        devices = []
        for disk in instance.disks:
            shared = self.room.root / f"{disk.uuid}.img"
            if not shared.exists():
                with shared.open("wb") as file:
                    file.truncate(disk.size * 1024 * 1024)
            link = self.room.root / node / f"{disk.uuid}.link"
            if not link.exists():
                link.symlink_to(shared)
            devices.append(DiskDevice(path=str(shared), link=str(link)))
        return devices

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait in real time."""
        wait_for(condition, "the guest")

    def console_text(self, instance: InstanceSpec) -> str:
        """Give all that the guest ever said on any node."""
        logs = [self.room.layout(node).log / f"kvm/{instance.name}-console.log" for node in self.names]
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def booted(self, instance: InstanceSpec) -> None:
        """Wait until the guest ticks, once more than when last asked."""
        seen = self.boots.get(instance.name, 0)
        wait_for(lambda: self.console_text(instance).count("tick 1\n") > seen, f"{instance.name} to boot")
        self.boots[instance.name] = self.console_text(instance).count("tick 1\n")

    def sees(self, instance: InstanceSpec, node: str = "node1") -> tuple[list[int], list[str]]:
        """Ask the guest itself, at its console."""
        command = self.driver(node).console(instance, node).command
        assert command is not None
        self.asked += 1
        mark = f"seen{self.asked}"
        # The line is echoed as it is typed, and must not look like its answer.
        words = "$(cat /sys/block/vd*/size 2>/dev/null) and $(cat /sys/class/net/eth*/address 2>/dev/null)"
        said = answer_of(command, f'm={mark}; echo "$m:" {words} "$m."', f"{mark}: ")
        sizes, _, addresses = said.partition(f"{mark}: ")[2].partition(f"{mark}.")[0].partition("and")
        return [int(size) // 2048 for size in sizes.split()], addresses.split()

    def grow(self, disk: DiskSpec, size: int) -> None:
        """Make the file larger."""
        with (self.room.root / f"{disk.uuid}.img").open("r+b") as file:
            file.truncate(size * 1024 * 1024)

    @contextmanager
    def bridged(self) -> Iterator[str]:
        """Have interfaces set up by a script, which has no need of a bridge."""
        script = self.room.layout("node1").etc / "kvm-vif-bridge"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
        try:
            yield "br7"
        finally:
            script.unlink()

    def halt_from_inside(self, instance: InstanceSpec) -> None:
        """Type at the guest's console; who types must stay until it is read."""
        connection = self.drivers[-1]._connection.get()
        stream = connection.newStream(0)
        connection.lookupByUUIDString(instance.uuid).openConsole(None, stream, 0)
        stream.send(b"\npoweroff -f\n")
        self.typing.append(stream)

    def clear(self) -> None:
        """End all guests of this house."""
        for node in self.names:
            driver = self.driver(node)
            for guest in driver.list_guests():
                driver.pull_plug(guest.name, guest.uuid)
