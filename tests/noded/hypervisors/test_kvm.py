"""Real kvm guests: what the contract suite cannot ask of every hypervisor."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec, InstanceSpec
from gnt.noded.hypervisors.kvm_xml import kvm_domain
from gnt.wire.guest_calls import MigrationTicket
from tests.noded.hypervisors.attached import answer_of
from tests.noded.hypervisors.golden import devices, nic
from tests.noded.hypervisors.libvirt_room import KvmHouse, wait_for
from tests.noded.hypervisors.test_kvm_xml import GOLDEN

pytestmark = [pytest.mark.guest, pytest.mark.xdist_group("libvirt")]


def with_disk(instance: InstanceSpec) -> InstanceSpec:
    """Give the instance a disk in a directory that both nodes share."""
    disk = DiskSpec(index=0, uuid=instance.uuid, dev_type=DiskTemplate.SHAREDFILE, size=8)
    return replace(instance, disks=(disk,))


def connection(house: KvmHouse) -> Any:
    """Give libvirt's own connection to the first node."""
    house.driver()
    return house.drivers[-1]._connection.get()


def command_line(name: str) -> str:
    """Give the command line of a guest's emulator, as every user of the machine can read it."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"guest={name}," in text:
            return text
    return ""


def test_migration_with_a_disk_elsewhere(kvm_house: KvmHouse) -> None:
    """The disk has another path on the target; the running guest says more there, and its memory came along."""
    instance = with_disk(kvm_house.instance())
    source, target = kvm_house.driver(), kvm_house.driver("node2")
    source.start(instance, kvm_house.disks(instance), False)
    kvm_house.booted(instance)
    assert "disks=vda" in kvm_house.console_text(instance)
    ticket = target.accept(instance, kvm_house.disks(instance, "node2"), "node1", kvm_house.address("node2"))
    source.send(instance, "node2", ticket, True)
    target.finish(instance, True)
    live = kvm_house.drivers[1]._connection.get().lookupByUUIDString(instance.uuid).XMLDesc(0)
    assert f"{kvm_house.room.root}/node2/{instance.uuid}.link" in live
    assert f"{kvm_house.room.root}/node1/" not in live
    log = kvm_house.room.layout("node2").log / f"kvm/{instance.name}-console.log"
    wait_for(lambda: "tick" in log.read_text(errors="replace"), "the guest to go on at the target")
    assert "hello" not in log.read_text(errors="replace")


def test_slow_migration_is_seen_and_aborted(kvm_house: KvmHouse) -> None:
    """While memory is under way the source alone has the guest; an abort leaves it there, and a new try works."""
    instance = kvm_house.instance(migration_bandwidth=1)
    source, target = kvm_house.driver(), kvm_house.driver("node2")
    source.start(instance, [], False)
    kvm_house.booted(instance)
    ticket = target.accept(instance, [], "node1", kvm_house.address("node2"))
    failures: list[NodeFailure] = []

    def send() -> None:
        try:
            source.send(instance, "node2", ticket, True)
        except NodeFailure as failure:
            failures.append(failure)

    sending = threading.Thread(target=send)
    sending.start()
    wait_for(lambda: source.progress(instance.name, instance.uuid).transferred > 0, "memory to be sent")
    assert source.progress(instance.name, instance.uuid).state == "active"
    assert source.progress(instance.name, instance.uuid).total >= 128
    assert [guest.state for guest in source.list_guests()] == ["running"]
    assert target.list_guests() == []
    assert target.find(instance.name, instance.uuid) is None
    with pytest.raises(NodeFailure) as unfinished:
        target.finish(instance, True)
    assert unfinished.value.code == "not_running"
    source.abort_send(instance.name, instance.uuid)
    sending.join(30)
    assert [failure.code for failure in failures] == ["migration_failed"]
    assert f"{instance.name} could not move to node2 and runs on here" in failures[0].text
    target.cancel_accept(instance)
    assert [guest.state for guest in source.list_guests()] == ["running"]
    quick = replace(instance, hvparams={**instance.hvparams, "migration_bandwidth": 0})
    source.send(quick, "node2", ticket, True)
    assert [guest.state for guest in target.list_guests()] == ["running"]


def test_migration_that_nobody_waits_for(kvm_house: KvmHouse) -> None:
    """A daemon that starts ends what its forerunner left under way."""
    instance = kvm_house.instance(migration_bandwidth=1)
    source, target = kvm_house.driver(), kvm_house.driver("node2")
    source.start(instance, [], False)
    kvm_house.booted(instance)
    ticket = target.accept(instance, [], "node1", kvm_house.address("node2"))
    failures: list[NodeFailure] = []

    def send() -> None:
        try:
            source.send(instance, "node2", ticket, True)
        except NodeFailure as failure:
            failures.append(failure)

    sending = threading.Thread(target=send)
    sending.start()
    wait_for(lambda: source.progress(instance.name, instance.uuid).transferred > 0, "memory to be sent")
    kvm_house.driver().settle()
    sending.join(30)
    assert [failure.code for failure in failures] == ["migration_failed"]
    assert [guest.state for guest in source.list_guests()] == ["running"]


def test_migration_to_somebody_else(kvm_house: KvmHouse) -> None:
    """A target whose certificate has another name gets no memory; the guest runs on."""
    instance = kvm_house.instance()
    source, target = kvm_house.driver(), kvm_house.driver("node2")
    source.start(instance, [], False)
    ticket = target.accept(instance, [], "node1", kvm_house.address("node2"))
    impostor = MigrationTicket(hypervisor="kvm", address=ticket.address, data={**ticket.data, "node": "somebody"})
    with pytest.raises(NodeFailure) as failure:
        source.send(instance, "node2", impostor, True)
    assert failure.value.code == "migration_failed"
    assert [guest.state for guest in source.list_guests()] == ["running"]
    assert target.list_guests() == []


def test_migration_without_its_certificate(kvm_house: KvmHouse, tmp_path: Path) -> None:
    """A source that cannot show a certificate of the cluster is turned away by the target's libvirtd."""
    instance = kvm_house.instance()
    source, target = kvm_house.driver(), kvm_house.driver("node2")
    source.start(instance, [], False)
    ticket = target.accept(instance, [], "node1", kvm_house.address("node2"))
    layout = kvm_house.room.layout("node1")
    pki = layout.etc / "pki"
    pki.rename(tmp_path / "pki")
    layout.node_pem.rename(tmp_path / "server.pem")
    try:
        with pytest.raises(NodeFailure) as failure:
            source.send(instance, "node2", ticket, True)
    finally:
        (tmp_path / "pki").rename(pki)
        (tmp_path / "server.pem").rename(layout.node_pem)
    assert failure.value.code == "migration_failed"
    assert [guest.state for guest in source.list_guests()] == ["running"]


def test_renewed_certificate(kvm_house: KvmHouse) -> None:
    """What libvirt has of a certificate is made new from the node's own before the next migration, and at a start."""
    layout = kvm_house.room.layout("node1")
    ours = layout.etc / "pki/clientcert.pem"
    right = ours.read_text()
    ours.write_text("old")
    kvm_house.driver().settle()
    assert ours.read_text() == right


def test_password_is_in_no_process_list(kvm_house: KvmHouse, tmp_path: Path) -> None:
    """The VNC password comes from its file, works, and stays out of command line and running definition."""
    (tmp_path / "vnc").write_text("opensesame\nsecond line\n")
    instance = replace(
        kvm_house.instance(vnc_bind_address="127.0.0.1", vnc_password_file=str(tmp_path / "vnc")), network_port=45901
    )
    driver = kvm_house.driver()
    driver.start(instance, [], False)
    shown = command_line(instance.name)
    assert "127.0.0.1:40001" in shown
    assert "password=on" in shown
    assert "opense" not in shown
    domain = connection(kvm_house).lookupByUUIDString(instance.uuid)
    assert "opense" not in domain.XMLDesc(0)
    assert 'passwd="opensesa"' in driver.definition(instance.name, instance.uuid).replace("'", '"')
    driver.pull_plug(instance.name, instance.uuid)
    for log in kvm_house.room.root.glob("node1/own/log/qemu/*.log"):
        assert "opense" not in log.read_text(errors="replace")


def test_foreign_domains(kvm_house: KvmHouse) -> None:
    """A domain without our mark is not listed, not found, not ended; its name is taken."""
    instance = kvm_house.instance()
    xml = f"""<domain type='qemu'><name>{instance.name}</name><memory unit='MiB'>16</memory>
        <os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"""
    other = connection(kvm_house).createXML(xml, 0)
    try:
        driver = kvm_house.driver()
        theirs = replace(instance, uuid=other.UUIDString())
        assert driver.list_guests() == []
        assert driver.find(theirs.name, theirs.uuid) is None
        driver.pull_plug(theirs.name, theirs.uuid)
        assert driver.ask_to_halt(theirs.name, theirs.uuid) is False
        for mine in (instance, theirs):
            with pytest.raises(NodeFailure) as failure:
                driver.start(mine, [], False)
            assert failure.value.code == "exists"
        assert other.isActive()
    finally:
        other.destroy()


def test_no_bridge(kvm_house: KvmHouse) -> None:
    """A bridge that is not there is named, with what can be done; nothing is started."""
    instance = replace(kvm_house.instance(), nics=(nic(link="gnt-nobridge"),))
    driver = kvm_house.driver()
    with pytest.raises(NodeFailure, match="this node has no bridge 'gnt-nobridge' for nic/0") as failure:
        driver.start(instance, [], False)
    assert failure.value.code == "no_bridge"
    assert driver.list_guests() == []


def test_own_script_sets_interfaces_up(kvm_house: KvmHouse, tmp_path: Path) -> None:
    """The administrator's script is told all about the interface, before the guest runs; again at a fresh start."""
    script = kvm_house.room.layout("node1").etc / "kvm-vif-bridge"
    script.write_text(f'#!/bin/sh\necho "$1 $INTERFACE $INSTANCE $MAC $MODE $LINK $BRIDGE" >>{tmp_path}/told\n')
    script.chmod(0o755)
    try:
        instance = replace(kvm_house.instance(), nics=(nic(link="br7"),))
        driver = kvm_house.driver()
        driver.start(instance, [], False)
        definition = driver.definition(instance.name, instance.uuid)
        driver.pull_plug(instance.name, instance.uuid)
        driver.start_again(definition, instance, [])
        assert [guest.state for guest in driver.list_guests()] == ["running"]
    finally:
        script.unlink()
    lines = (tmp_path / "told").read_text().splitlines()
    assert len(lines) == 2
    tap, same, *rest = lines[0].split()
    assert tap == same
    assert rest == [instance.name, "aa:00:00:00:00:00", "bridged", "br7", "br7"]


def test_failing_script(kvm_house: KvmHouse) -> None:
    """A script that fails ends the guest before it ran, and is quoted."""
    script = kvm_house.room.layout("node1").etc / "kvm-vif-bridge"
    script.write_text("#!/bin/sh\necho no such switch >&2\nexit 3\n")
    script.chmod(0o755)
    try:
        driver = kvm_house.driver()
        with pytest.raises(NodeFailure, match="no such switch") as failure:
            driver.start(replace(kvm_house.instance(), nics=(nic(),)), [], False)
    finally:
        script.unlink()
    assert failure.value.code == "script_failed"
    assert driver.list_guests() == []


def test_console_from_a_pipe(kvm_house: KvmHouse) -> None:
    """The console's command sends its input to the guest, copies what it says, and ends soon after its input."""
    instance, driver = kvm_house.instance(), kvm_house.driver()
    driver.start(instance, [], False)
    kvm_house.booted(instance)
    command = driver.console(instance, "node1").command
    assert command is not None
    assert answer_of(command, "echo the answer is $((6 * 7))", "the answer is 42")
    ended = subprocess.run([*command[:-1], "nobody"], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Failure: no console: ")
    assert len(ended.stderr.splitlines()) == 1


def test_console_on_a_terminal(kvm_house: KvmHouse) -> None:
    """On a terminal `^]` leaves, and the terminal is as it was; a signal leaves, too."""
    instance, driver = kvm_house.instance(), kvm_house.driver()
    driver.start(instance, [], False)
    kvm_house.booted(instance)
    command = driver.console(instance, "node1").command
    assert command is not None
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE) as attached:
        assert attached.stdout is not None
        while b"tick" not in attached.stdout.readline():
            pass
        os.write(ours, b"\x1d")
        assert attached.wait(30) == 0
    assert termios.tcgetattr(theirs) == before
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE) as attached:
        assert attached.stdout is not None
        attached.stdout.readline()
        attached.terminate()
        assert attached.wait(30) == 0
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_lost_connection(kvm_house: KvmHouse) -> None:
    """A connection that broke is opened anew with the next call."""
    instance, driver = kvm_house.instance(), kvm_house.driver()
    driver.start(instance, [], False)
    kvm_house.drivers[-1]._connection.get().close()
    assert [guest.name for guest in driver.list_guests()] == [instance.name]


def test_no_libvirtd(kvm_house: KvmHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none answers the URI is named, and how to name another."""
    driver = kvm_house.driver()
    connection_of = kvm_house.drivers[-1]._connection
    kvm_house.drivers.remove(kvm_house.drivers[-1])
    monkeypatch.setattr(connection_of, "_uri", lambda: "qemu+unix:///system?socket=/no/such")
    with pytest.raises(
        NodeFailure, match="libvirt does not answer at qemu\\+unix:///system\\?socket=/no/such"
    ) as failure:
        driver.list_guests()
    assert (failure.value.code, failure.value.retry) == ("no_libvirt", True)
    assert "GNT_LIBVIRT_URI" in failure.value.hint


def test_machine_types(kvm_house: KvmHouse) -> None:
    """Machine types are those of the emulator."""
    driver = kvm_house.driver()
    driver.check(kvm_house.instance(machine_version="pc-i440fx-7.1").hvparams)
    with pytest.raises(NodeFailure, match="Parameter 'machine_version' fails validation"):
        driver.check(kvm_house.instance(machine_version="pc-i440fx-99").hvparams)


@pytest.mark.parametrize("name", GOLDEN)
def test_libvirt_understands_golden_domains(kvm_house: KvmHouse, name: str) -> None:
    """Not only the schema: libvirt's QEMU driver makes a command line of it, the passwords not in it."""
    spec, host, uri = GOLDEN[name]
    xml, _ = kvm_domain(spec, devices(spec, uri=uri), host)
    xml = xml.replace('type="kvm"', 'type="qemu"').replace("/usr/bin/kvm", "/usr/bin/qemu-system-" + os.uname().machine)
    # What this machine does not have.
    xml = re.sub(r"<memoryBacking>.*</memoryBacking>", "", xml, flags=re.DOTALL)
    xml = re.sub(r"<hostdev(?:(?!</hostdev>).)*<vendor.*?</hostdev>", "", xml, flags=re.DOTALL)
    xml = xml.replace('name="vhost"', 'name="qemu"').replace('io="native"', 'io="threads"')
    libvirt = connection(kvm_house)
    keys = [
        libvirt.secretDefineXML(f"<secret private='yes' ephemeral='yes'><usage type='ceph'>{usage}</usage></secret>")
        for usage in (f"<name>{name}</name>" for name in re.findall(r'<secret type="ceph" usage="([^"]+)"', xml))
    ]
    for key in keys:
        key.setValue(b"a key of Ceph's", 0)
    try:
        line = libvirt.domainXMLToNative("qemu-argv", xml, 0)
    finally:
        for key in keys:
            key.undefine()
    assert spec.name in line
    assert spec.uuid in line
    assert "fifteen" not in line


def test_routed_interface(kvm_house: KvmHouse) -> None:
    """A route to the guest's address leads to its tap device, for as long as the guest runs."""
    instance = replace(kvm_house.instance(), nics=(nic(0, "routed", "", ip="198.51.100.9"),))
    driver = kvm_house.driver()
    driver.start(instance, [], False)
    command = ["ip", "route", "show", "198.51.100.9"]
    assert " dev " in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    driver.pull_plug(instance.name, instance.uuid)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
