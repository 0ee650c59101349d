"""The demo's machine room: libvirt's connections and live migrations run under TLS with the nodes' certificates."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo.room import CHECKOUT, GUEST, Room, machine_room, new_authority, save_pki, wait_until, why_not

libvirt: Any = pytest.importorskip("libvirt", reason="needs python3-libvirt")
# In one group with the demo: both look for a network that nobody uses.
pytestmark = [
    pytest.mark.root,
    pytest.mark.guest,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.xdist_group("machine"),
]

DOMAIN = """<domain type='qemu'><name>web1</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{guest}/vmlinuz</kernel><initrd>{guest}/initrd</initrd>
<cmdline>root=/dev/vda ro console=ttyS0 quiet</cmdline></os>
<features><acpi/></features><cpu mode='maximum' migratable='on'/><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{disk}'/>
<target dev='vda' bus='virtio'/></disk>
<serial type='pty'><log file='{log}' append='on'/><target port='0'/></serial>
<memballoon model='virtio'/></devices></domain>"""


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    """Give a room of two nodes that belong to one cluster."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    with machine_room(2) as built:
        authority = new_authority("cluster")
        for node in ("node1", "node2"):
            built.give_certificate(node, authority)
        yield built


def tls(room: Room, at: str, to: str, pki: str | None = None) -> subprocess.CompletedProcess[str]:
    """Open libvirt on node `to` from node `at`, as QEMU's driver does for a migration."""
    directory = pki or f"{room.root(at)}/etc/ganeti/pki"
    return room.run(at, "virsh", "-c", f"qemu+tls://{to}/system?pkipath={directory}", "hostname")


def test_a_node_reaches_another_by_name_and_by_address(room: Room) -> None:
    """Both stand in the certificate."""
    assert tls(room, "node1", "node2").stdout.strip() == "node2"
    assert tls(room, "node1", room.address("node2")).stdout.strip() == "node2"


def test_nobody_without_a_certificate_of_the_cluster_reaches_a_node(room: Room) -> None:
    """A certificate of another authority is refused by the daemon, even when the caller would trust everybody."""
    foreign = room.base / "foreign"
    stranger = new_authority("stranger")
    own = room.root("node2") / "etc/ganeti/pki"
    save_pki(foreign, (own / "cacert.pem").read_bytes(), stranger)
    answer = tls(room, "node1", "node2", str(foreign))
    assert answer.returncode != 0
    assert "hostname" not in answer.stdout
    assert room.run("node1", "virsh", "-c", "qemu+tcp://node2/system", "hostname").returncode != 0


def test_a_certificate_with_another_name_is_refused(room: Room) -> None:
    """Who answers in a node's place is not believed."""
    room.run("node1", "sh", "-c", f"echo {room.address('node2')} impostor >> /etc/hosts")
    answer = tls(room, "node1", "impostor")
    assert answer.returncode != 0
    assert "authentication failed" in answer.stderr


@pytest.fixture
def guest(room: Room, tmp_path: Path) -> Iterator[Any]:
    """Give a running guest on node1 that has greeted; it is gone afterwards, wherever it was."""
    disk, log = tmp_path / "disk", tmp_path / "serial"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    environment = {
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
        "OS_API_VERSION": "20",
        "OS_NAME": "busybox",
        "INSTANCE_NAME": "web1",
        "DISK_COUNT": "1",
        "DISK_0_PATH": str(disk),
    }
    subprocess.run([CHECKOUT / "os/busybox/create"], env=environment, check=True, timeout=30)
    source = libvirt.open(room.libvirt_uri("node1"))
    domain = source.defineXML(DOMAIN.format(guest=GUEST, disk=disk, log=log))
    domain.create()
    wait_until(lambda: log.exists() and b"hello from web1" in log.read_bytes(), "the guest did not greet", 60)
    yield domain
    for node in ("node1", "node2"):
        connection = libvirt.open(room.libvirt_uri(node))
        for left in connection.listAllDomains():
            if left.isActive():
                left.destroy()
            left.undefine()


def migrate(room: Room, domain: Any, source: str, target: str, *, tls_flag: int, name: str = "") -> None:
    """Move the guest as the kvm driver does: peer to peer, both connections and the memory under TLS."""
    everything = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_UNSAFE
    everything |= libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    parameters = {
        libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{room.address(target)}:8102",
        libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS: room.address(target),
        libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION: name or target,
    }
    pki = room.root(source) / "etc/ganeti/pki"
    domain.migrateToURI3(f"qemu+tls://{target}/system?pkipath={pki}", parameters, everything | tls_flag)


def test_a_guest_moves_there_and_back_under_tls(room: Room, guest: Any) -> None:
    """The same guest runs on, first there, then here again."""
    migrate(room, guest, "node1", "node2", tls_flag=libvirt.VIR_MIGRATE_TLS)
    there = libvirt.open(room.libvirt_uri("node2")).lookupByName("web1")
    assert there.isActive()
    migrate(room, there, "node2", "node1", tls_flag=libvirt.VIR_MIGRATE_TLS)
    here = libvirt.open(room.libvirt_uri("node1")).lookupByName("web1")
    assert here.isActive()
    assert here.UUIDString() == guest.UUIDString()


def test_memory_never_travels_in_clear(room: Room, guest: Any) -> None:
    """Without TLS, or towards a machine that cannot prove its name, the guest stays where it is."""
    with pytest.raises(libvirt.libvirtError, match="only with VIR_MIGRATE_TLS"):
        migrate(room, guest, "node1", "node2", tls_flag=0)
    with pytest.raises(libvirt.libvirtError):
        migrate(room, guest, "node1", "node2", tls_flag=libvirt.VIR_MIGRATE_TLS, name="somebody")
    assert guest.isActive()


def test_the_power_button_ends_the_guest(guest: Any) -> None:
    """The guest hears ACPI and goes down by itself."""
    guest.shutdown()
    wait_until(lambda: not guest.isActive(), "the guest did not go down", 30)


def interfaces() -> list[str]:
    """Give the names of the host's network interfaces."""
    return sorted(path.name for path in Path("/sys/class/net").iterdir())


def test_nothing_is_left_of_a_room() -> None:
    """No process, mount, network interface or file of its own, whatever else comes and goes on this machine."""
    with machine_room(1) as built:
        assert built.cable in interfaces()
        base, own = str(built.base), built.base.name[-8:]
    assert not [name for name in interfaces() if own in name]
    assert base not in Path("/proc/mounts").read_text()
    assert not Path(base).exists()
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if base.encode() in command]
