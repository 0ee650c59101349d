"""What the drivers find out about their node: files, users, addresses, certificates, and whether KVM works."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest

from gnt.daemon.leaving import libvirt_files
from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.noded.hypervisors import kvm_host, linux, nic_setup
from gnt.noded.hypervisors.kvm_check import check_parameters
from gnt.noded.hypervisors.libvirt_place import is_embedded, libvirt_uri
from gnt.noded.hypervisors.migration_xml import places, retarget
from gnt.noded.hypervisors.pki import prepare_tls
from gnt.noded.hypervisors.user_down import UserDown
from gnt.wire import certificates
from tests.noded.hypervisors.golden import instance, nic


def program(directory: Path, text: str) -> str:
    """Write a program."""
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def kvm_parameters(tmp_path: Path, **given: Any) -> dict[str, Any]:
    """Give parameters that fit any machine, but for those given."""
    (tmp_path / "vmlinuz").touch()
    return dict(instance("kvm", **{"kernel_path": str(tmp_path / "vmlinuz"), **given}).hvparams)


# KVM itself


def test_kvm_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial guest's own exit status is the proof; the answer is kept."""
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6", "1", "x86_64")))
    asked = kvm_host.Acceleration()
    assert asked.problem(program(tmp_path, "exit 33")) == ""
    assert asked.problem(program(tmp_path, "exit 1")) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "echo KVM: entry failed, hardware error 0x0 >&2; exit 1",
            "a guest of three instructions failed: KVM: entry failed",
        ),
        ("exit 0", "exit status 0"),
        ("kill -9 $$", "exit status -9"),
    ],
)
def test_kvm_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    """A device that can be opened is no proof: why the trial guest failed is said."""
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6", "1", "x86_64")))
    assert words in kvm_host.Acceleration().problem(program(tmp_path, text))


def test_kvm_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial guest that does not end is ended."""
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6", "1", "x86_64")))
    monkeypatch.setattr(kvm_host, "_TRIAL_SECONDS", 0.2)
    assert "did not end in 0.2 seconds" in kvm_host.Acceleration().problem(program(tmp_path, "exec sleep 60"))


@pytest.mark.guest
def test_trial_guest_itself() -> None:
    """The trial guest is sound: by emulation, which always works, it ends as it should."""
    program = "/usr/bin/qemu-system-x86_64"
    if not Path(program).exists():
        pytest.skip(f"there is no {program}")
    assert kvm_host.trial(program, "tcg", "max") == ""
    assert "failed" in kvm_host.trial(program, "tcg", "no-such-processor")


def test_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the device nothing is tried."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    problem = kvm_host.Acceleration().problem(program(tmp_path, "exit 33"))
    assert problem == "there is no /dev/kvm that this daemon may use"


def test_emulator(tmp_path: Path) -> None:
    """A path that is set is taken as it is; one that is not there is named."""
    assert kvm_host.emulator(program(tmp_path, ""), "x86_64") == str(tmp_path / "program")
    with pytest.raises(NodeFailure, match="Parameter 'kvm_path' fails validation: not found or not a file"):
        kvm_host.emulator("/no/such", "x86_64")


# Parameters


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"kernel_path": "/no/such"}, "kernel_path"),
        ({"initrd_path": "/no/such"}, "initrd_path"),
        ({"cdrom_image_path": "/no/such"}, "cdrom_image_path"),
        ({"floppy_image_path": "/"}, "floppy_image_path"),
        ({"vnc_password_file": "/no/such"}, "vnc_password_file"),
        ({"mem_path": "/tmp"}, "mem_path"),  # noqa: S108
        ({"security_model": "user", "security_domain": "nobody-of-that-name"}, "security_domain"),
        ({"vnc_bind_address": "/no/such"}, "vnc_bind_address"),
        ({"vnc_bind_address": "nointerface"}, "vnc_bind_address"),
        ({"spice_bind": "nointerface", "spice_ip_version": 6}, "spice_bind"),
        ({"machine_version": "vax"}, "machine_version"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path: Path, given: dict[str, Any], name: str) -> None:
    """Each is named with its value."""
    with pytest.raises(NodeFailure) as failure:
        check_parameters(kvm_parameters(tmp_path, **given), frozenset({"pc"}))
    assert failure.value.code == "parameter"
    assert failure.value.text.startswith(f"Parameter '{name}' fails validation: ")
    assert f"(current value: '{given[name]}')" in failure.value.text


def test_parameters_that_fit(tmp_path: Path) -> None:
    """A kernel that is there, an address, a URL that is not fetched, a known machine."""
    given = {"vnc_bind_address": "127.0.0.1", "cdrom_image_path": "http://192.0.2.1/iso", "machine_version": "pc"}
    check_parameters(kvm_parameters(tmp_path, **given), frozenset({"pc"}))


def test_unsupported_is_refused_early(tmp_path: Path) -> None:
    """What could never be started is refused when parameters are checked."""
    with pytest.raises(NodeFailure, match="Parameter 'use_chroot'") as failure:
        check_parameters(kvm_parameters(tmp_path, use_chroot=True), frozenset())
    assert failure.value.code == "unsupported"


def test_addresses() -> None:
    """An interface stands for its first address."""
    assert kvm_host.bind_address("vnc_bind_address", "192.0.2.1") == "192.0.2.1"
    assert kvm_host.bind_address("vnc_bind_address", "lo") == "127.0.0.1"
    assert kvm_host.bind_address("vnc_bind_address", "/run/vnc") is None
    assert kvm_host.bind_address("vnc_bind_address", "") is None
    assert "lo" in linux.interfaces()


def test_owner(tmp_path: Path) -> None:
    """A user is given as numbers, which libvirt needs no user database for."""
    assert kvm_host.owner(kvm_parameters(tmp_path)) is None
    given = kvm_parameters(tmp_path, security_model="user", security_domain="root")
    assert kvm_host.owner(given) == "+0:+0"


def test_password_file(tmp_path: Path) -> None:
    """The first line is the password; what cannot be read is named without its content."""
    (tmp_path / "file").write_bytes(b"secret\nmore\n")
    assert kvm_host.first_line("vnc_password_file", str(tmp_path / "file")) == "secret"
    (tmp_path / "file").write_bytes(b"\xff\xfe")
    with pytest.raises(NodeFailure, match="Parameter 'vnc_password_file' fails validation: cannot be read"):
        kvm_host.first_line("vnc_password_file", str(tmp_path / "file"))


def test_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a domain takes from its node, for an instance that asks for most of it."""
    monkeypatch.setattr(linux, "huge_page_kib", lambda _: 2048)
    (tmp_path / "vnc").write_text("secret\n")
    spec = instance(
        "kvm",
        kvm_path=program(tmp_path, "exit 1"),
        mem_path="/dev/hugepages",
        vnc_bind_address="lo",
        vnc_password_file=str(tmp_path / "vnc"),
        security_model="user",
        security_domain="root",
    )
    host = kvm_host.look_at(spec, kvm_host.Acceleration(), tmp_path / "log", nic_script=True)
    assert (host.kvm, host.emulator, host.nic_script) == (False, spec.hvparams["kvm_path"], True)
    assert (host.vnc_address, host.vnc_password, host.spice_address) == ("127.0.0.1", "secret", None)
    assert (host.huge_page_kib, host.owner) == (2048, "+0:+0")
    assert host.serial_log == f"{tmp_path}/log/web1.example.com-console.log"
    assert host.memory_free > 0


# Linux


def test_node_facts(tmp_path: Path) -> None:
    """Memory is MiB; what is not free is the system's."""
    (tmp_path / "meminfo").write_text("MemTotal: 2048000 kB\nMemFree: 100 kB\nMemAvailable: 1024000 kB\nHugePages: 0\n")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel\t: x\n\nprocessor\t: 1\n")
    facts = linux.node_facts([7, 2, 0], tmp_path)
    assert (facts.memory_total, facts.memory_free, facts.memory_dom0) == (2000, 1000, 1000)
    assert (facts.cpu_total, facts.version) == (2, [7, 2, 0])


def test_node_facts_of_an_old_kernel(tmp_path: Path) -> None:
    """Before MemAvailable, caches count as free."""
    (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemFree: 1024 kB\nBuffers: 1024 kB\nCached: 1024 kB\n")
    (tmp_path / "cpuinfo").write_text("processor: 0\n")
    assert linux.node_facts([], tmp_path).memory_free == 3


def test_huge_pages(tmp_path: Path) -> None:
    """The page size is that of the mount; another file system is none."""
    (tmp_path / "mounts").write_text(
        "none /huge hugetlbfs rw,relatime,pagesize=1G 0 0\nnone /plain hugetlbfs rw 0 0\ntmpfs /other tmpfs rw 0 0\n"
    )
    sizes = [linux.huge_page_kib(path, tmp_path) for path in ("/huge", "/plain", "/other", "/no")]
    assert sizes == [1024 * 1024, 2048, None, None]


def test_ipv6_address(tmp_path: Path) -> None:
    """The first IPv6 address of an interface."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/if_inet6").write_text("20010db8000000000000000000000001 02 40 00 80     eth0\n")
    assert linux.interface_address("eth0", 6, tmp_path) == "2001:db8::1"
    assert linux.interface_address("eth1", 6, tmp_path) is None


# Which libvirt


def test_uri(tmp_path: Path) -> None:
    """What is said comes first, then the node's own libvirtd, the machine's, and the one inside the daemon."""
    layout = Layout(tmp_path)
    machine = tmp_path / "machine-sock"
    assert libvirt_uri(layout, {"GNT_LIBVIRT_URI": "qemu:///session"}, machine) == "qemu:///session"
    embedded = libvirt_uri(layout, {}, machine)
    assert embedded == f"qemu:///embed?root={tmp_path}/var/lib/ganeti/libvirt-embed"
    assert is_embedded(embedded)
    machine.touch()
    assert libvirt_uri(layout, {}, machine) == "qemu:///system"
    (tmp_path / "run/libvirt").mkdir(parents=True)
    (tmp_path / "run/libvirt/libvirt-sock").touch()
    own = libvirt_uri(layout, {}, machine)
    assert own == f"qemu+unix:///system?socket={tmp_path}/run/libvirt/libvirt-sock"
    assert not is_embedded(own)


# Certificates


def test_certificates_for_libvirt(tmp_path: Path) -> None:
    """All names that libvirt and QEMU look for, keys closed, and nothing is written twice."""
    layout = Layout(tmp_path)
    assert prepare_tls(layout) is False
    source = random.Random(3)  # noqa: S311
    authority = certificates.make_authority("cluster", now=1e9, source=source)
    key = certificates.make_key()
    request = certificates.make_request(key, "node1")
    signed = certificates.sign_node(
        authority, request, name="node1", uuid="u1", addresses=["192.0.2.1"], now=1e9, source=source
    )
    layout.data.mkdir(parents=True)
    certificates.save_public(layout.authority_certificate, authority.certificate)
    certificates.save_identity(layout.node_pem, certificates.Identity(signed, key))
    assert prepare_tls(layout) is True
    files = {path.name: path.read_bytes() for path in layout.libvirt_pki.iterdir()}
    assert {files[name] for name in ("cacert.pem", "ca-cert.pem")} == {authority.certificate}
    names = ("servercert.pem", "clientcert.pem", "server-cert.pem", "client-cert.pem")
    assert {files[name] for name in names} == {signed}
    keys = ("serverkey.pem", "clientkey.pem", "server-key.pem", "client-key.pem")
    assert {files[name] for name in keys} == {key}
    assert len(files) == 10
    for name in keys:
        mode = stat.S_IMODE((layout.libvirt_pki / name).stat().st_mode)
        assert mode in {0o600, 0o640}
    assert prepare_tls(layout) is False
    written = libvirt_files(layout)
    assert {path.name for path in written} == set(files)
    assert {path.name for path in written[: len(keys)]} == set(keys)
    layout.node_pem.write_text("nothing of the kind")
    assert prepare_tls(layout) is False


# Interfaces


def test_script_environment() -> None:
    """The script is told what the interface page says; what is not known is left out."""
    told = nic_setup.environment(nic(1, "bridged", "br0", ip="192.0.2.9"), "tap3", "web1", "a b")
    assert told.pop("PATH")
    assert told == {
        "INSTANCE": "web1",
        "MAC": "aa:00:00:00:00:01",
        "MODE": "bridged",
        "INTERFACE": "tap3",
        "INTERFACE_INDEX": "1",
        "INTERFACE_UUID": nic(1).uuid,
        "TAGS": "a b",
        "IP": "192.0.2.9",
        "LINK": "br0",
        "BRIDGE": "br0",
    }


def test_routes() -> None:
    """With a table its rule and route are made there, else in the main one; without an address it is refused."""
    with_table = nic_setup.routing_commands(nic(0, "routed", "100", ip="192.0.2.9"), "tap0")
    assert ["ip", "rule", "add", "dev", "tap0", "table", "100"] in with_table
    assert with_table[-1] == ["ip", "route", "replace", "192.0.2.9", "table", "100", "proto", "static", "dev", "tap0"]
    plain = nic_setup.routing_commands(nic(0, "routed", "", ip="192.0.2.9"), "tap0")
    assert plain[-1] == ["ip", "route", "replace", "192.0.2.9", "proto", "static", "dev", "tap0"]
    with pytest.raises(NodeFailure, match="nic/0 is routed and has no IP address"):
        nic_setup.routing_commands(nic(0, "routed", ""), "tap0")


def test_own_script(tmp_path: Path) -> None:
    """Only one that can be run counts."""
    assert nic_setup.own_script(tmp_path) is None
    script = tmp_path / "kvm-vif-bridge"
    script.touch(0o644)
    script.chmod(0o755)
    assert nic_setup.own_script(tmp_path) == script


def script(path: Path, text: str) -> Path:
    """Write a script of the administrator's."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_script_that_fails(tmp_path: Path) -> None:
    """What it said is told, whatever bytes that was; a silent one is told by its status."""
    for said, told in (("printf 'no \\377 bridge' >&2", "no \ufffd bridge"), ("", "exit status 3")):
        with pytest.raises(NodeFailure, match=f"Failed to configure interface tap0: {told}") as failure:
            nic_setup.set_up(nic(), "tap0", "web1", "", script(tmp_path / "script", f"{said}\nexit 3"))
        assert failure.value.code == "script_failed"


def test_script_that_leaves_something_behind(tmp_path: Path) -> None:
    """A server that it starts, which holds its output open, is not waited for."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    nic_setup.set_up(nic(), "tap0", "web1", "", script(tmp_path / "script", f"cat {fifo} &\necho started"))
    with fifo.open("w") as end:
        end.write("go")


def test_script_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended with all that it has started, and the thread is free again."""
    monkeypatch.setattr(nic_setup, "LONGEST_RUN", 0.2)
    fifo, pid = tmp_path / "fifo", tmp_path / "pid"
    os.mkfifo(fifo)
    endless = script(tmp_path / "script", f"echo $$ >{pid}\ncat {fifo}")
    with pytest.raises(NodeFailure, match=r"did not end in 0\.2 seconds"):
        nic_setup.set_up(nic(), "tap0", "web1", "", endless)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_script_that_cannot_be_run(tmp_path: Path) -> None:
    """It is a failure in words."""
    with pytest.raises(NodeFailure, match="Failed to configure interface tap0") as failure:
        nic_setup.set_up(nic(), "tap0", "web1", "", tmp_path / "missing")
    assert failure.value.code == "script_failed"


# Migration

SOURCE = """<domain><name>web1</name><devices>
<disk type='file'><source file='/one/disk'/><target dev='vdc'/><alias name='ua-disk-1'/></disk>
<disk type='network'><source protocol='rbd' name='p/i'/><target dev='vdb'/><alias name='ua-disk-2'/></disk>
<disk type='file'><source file='/one/cd'/><target dev='hda'/><alias name='ide0-0-0'/></disk>
<interface type='bridge'><source bridge='br1'/><alias name='ua-nic-2'/></interface>
<interface type='bridge'><source bridge='br0'/><alias name='ua-nic-1'/></interface>
<serial type='pty'><log file='/one/log'/></serial>
<graphics type='vnc' listen='192.0.2.1'><listen type='address' address='192.0.2.1'/></graphics>
<console type='pty'><log file='/one/log'/></console></devices></domain>"""
TARGET = """<domain><devices>
<disk type='block'><source dev='/two/disk'/><target dev='vda'/><alias name='ua-disk-1'/></disk>
<disk type='network'><source protocol='rbd' name='p/i'/><target dev='vdb'/><alias name='ua-disk-2'/></disk>
<disk type='file'><source file='/two/cd'/><target dev='hda'/></disk>
<interface type='bridge'><source bridge='br9'/><alias name='ua-nic-1'/></interface>
<interface type='bridge'><source bridge='br8'/><alias name='ua-nic-2'/></interface>
<graphics type='vnc'><listen type='address' address='192.0.2.2'/></graphics>
<serial type='pty'><log file='/two/log'/></serial></devices></domain>"""


def test_paths_of_the_target() -> None:
    """Disks, logs and bridges are those of the target, whatever their order and names became; all else stays."""
    there = places(TARGET)
    assert there == {
        "disks": {"ua-disk-1": {"type": "block", "dev": "/two/disk"}, "hda": {"type": "file", "file": "/two/cd"}},
        "logs": ["/two/log"],
        "bridges": {"ua-nic-1": "br9", "ua-nic-2": "br8"},
        "listens": ["192.0.2.2"],
    }
    moved = retarget(SOURCE, there)
    assert places(moved) == there
    assert "/one" not in moved
    assert "192.0.2.1" not in moved
    assert 'name="p/i"' in moved
    assert "<name>web1</name>" in moved
    assert places(retarget(SOURCE, {})) == places(SOURCE)


# Guests halted from inside


def test_user_down(tmp_path: Path) -> None:
    """Only a watched guest that nobody asked to halt is remembered, until it is forgotten."""
    memory = UserDown(tmp_path, "kvm")
    memory.halted("u0")
    assert memory.all() == []
    memory.watch("web1", "u1")
    memory.expected("u1")
    memory.halted("u1")
    assert memory.find("u1") is None
    memory.watch("web1", "u1")
    memory.halted("u1")
    (found,) = UserDown(tmp_path, "kvm").all()
    assert (found.name, found.uuid, found.state, found.hypervisor) == ("web1", "u1", "user_down", "kvm")
    memory.forget("u1")
    assert memory.all() == []
