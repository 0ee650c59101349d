"""What every hypervisor keeps to: one suite over all drivers."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from zope.interface.verify import verifyObject

from gnt.model.errors import NodeFailure
from gnt.model.objects import DiskTemplate, NicMode
from gnt.model.specs import DiskSpec, InstanceSpec, NicSpec
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.wire.guest_calls import GuestFacts
from tests.noded.hypervisors.conftest import House


def started(house: House, instance: InstanceSpec, *, paused: bool = False) -> IHypervisor:
    """Start an instance on the first node."""
    driver = house.driver()
    driver.start(instance, house.disks(instance), paused)
    return driver


def state(driver: IHypervisor, instance: InstanceSpec) -> str | None:
    """Give the state of a guest, None if it is down."""
    facts: GuestFacts | None = driver.find(instance.name, instance.uuid)
    return facts.state if facts is not None else None


def test_interface(house: House) -> None:
    """A driver has every method of the interface, with its arguments."""
    assert verifyObject(IHypervisor, house.driver())


def test_empty_node(house: House) -> None:
    """Nothing runs on an empty node, and asking for a guest is no error."""
    driver, instance = house.driver(), house.instance()
    assert driver.list_guests() == []
    assert driver.find(instance.name, instance.uuid) is None
    assert driver.ask_to_halt(instance.name, instance.uuid) is False
    driver.pull_plug(instance.name, instance.uuid)
    driver.abort_send(instance.name, instance.uuid)
    assert driver.progress(instance.name, instance.uuid).state == "none"


def test_start_is_seen(house: House) -> None:
    """A started guest is found and listed with its memory and processors, also by a daemon that starts anew."""
    instance = house.instance()
    started(house, instance)
    driver = house.driver()
    facts = driver.find(instance.name, instance.uuid)
    assert facts is not None
    assert (facts.name, facts.uuid, facts.hypervisor) == (instance.name, instance.uuid, driver.name)
    assert (facts.state, facts.memory, facts.vcpus) == ("running", 128, 1)
    assert [guest.name for guest in driver.list_guests()] == [instance.name]


def test_start_twice(house: House) -> None:
    """A start that is repeated leaves the guest alone."""
    instance = house.instance()
    driver = started(house, instance)
    driver.start(instance, house.disks(instance), False)
    assert len(driver.list_guests()) == 1


def test_start_under_a_taken_name(house: House) -> None:
    """A guest with another UUID is another guest: not found, not started over, not ended."""
    instance = house.instance()
    driver = started(house, instance)
    impostor = replace(house.instance(2), name=instance.name)
    assert driver.find(impostor.name, impostor.uuid) is None
    with pytest.raises(NodeFailure) as failure:
        driver.start(impostor, house.disks(impostor), False)
    assert failure.value.code == "exists"
    driver.pull_plug(impostor.name, impostor.uuid)
    assert state(driver, instance) == "running"


def test_start_paused(house: House) -> None:
    """A guest that is started paused waits; starting it again lets it run."""
    instance = house.instance()
    driver = started(house, instance, paused=True)
    assert state(driver, instance) == "paused"
    driver.start(instance, house.disks(instance), True)
    assert state(driver, instance) == "paused"
    driver.start(instance, house.disks(instance), False)
    assert state(driver, instance) == "running"


def test_plug(house: House) -> None:
    """A guest whose plug was pulled is gone at once; doing it again is no error."""
    instance = house.instance()
    driver = started(house, instance)
    driver.pull_plug(instance.name, instance.uuid)
    assert state(driver, instance) is None
    driver.pull_plug(instance.name, instance.uuid)
    assert driver.list_guests() == []


def test_power_button(house: House) -> None:
    """A guest that is asked to halt does, and is not counted as halted by its user."""
    instance = house.instance(user_shutdown=True)
    driver = started(house, instance)
    house.booted(instance)
    changes: list[str] = []
    driver.watch(changes.append)
    assert driver.ask_to_halt(instance.name, instance.uuid) is True
    house.wait(lambda: state(driver, instance) is None)
    house.wait(lambda: instance.uuid in changes)
    assert driver.list_guests() == []


def test_no_power_button(house: House) -> None:
    """A guest without ACPI cannot be asked."""
    instance = house.instance(acpi=False)
    driver = started(house, instance)
    assert driver.ask_to_halt(instance.name, instance.uuid) is False
    assert state(driver, instance) == "running"


def test_halted_from_inside(house: House) -> None:
    """A guest that its user halted is told apart from one that is down, until its plug is pulled or it starts."""
    instance = house.instance(user_shutdown=True)
    driver = started(house, instance)
    house.booted(instance)
    house.halt_from_inside(instance)
    house.wait(lambda: state(driver, instance) == "user_down")
    assert [(guest.state, guest.memory) for guest in driver.list_guests()] == [("user_down", 0)]
    assert driver.ask_to_halt(instance.name, instance.uuid) is False
    driver.start(instance, house.disks(instance), False)
    assert state(driver, instance) == "running"
    house.booted(instance)
    house.halt_from_inside(instance)
    house.wait(lambda: state(driver, instance) == "user_down")
    driver.pull_plug(instance.name, instance.uuid)
    assert state(driver, instance) is None


def test_reset_and_start_again(house: House) -> None:
    """A reset guest runs on; one that is down cannot be reset, but can be started with what it ran with."""
    instance = house.instance()
    driver = started(house, instance)
    driver.reset(instance.name, instance.uuid)
    assert state(driver, instance) == "running"
    definition = driver.definition(instance.name, instance.uuid)
    driver.start_again(definition, instance, house.disks(instance))
    assert len(driver.list_guests()) == 1
    driver.pull_plug(instance.name, instance.uuid)
    for question in (driver.reset, driver.definition):
        with pytest.raises(NodeFailure) as failure:
            question(instance.name, instance.uuid)
        assert failure.value.code == "not_running"
    driver.start_again(definition, instance, house.disks(instance))
    assert state(driver, instance) == "running"


# Devices of a guest that runs

DISK = DiskSpec(index=0, uuid="0d15c000-0000-4000-8000-000000000001", dev_type=DiskTemplate.SHAREDFILE, size=8)
NIC = NicSpec(index=0, uuid="01c00000-0000-4000-8000-000000000001", mac="aa:00:00:00:00:07", mode=NicMode.BRIDGED)


def let_go(house: House, driver: IHypervisor, instance: InstanceSpec, kind: str, device: str) -> None:
    """Ask until the guest has let go."""
    assert driver.ask_to_unplug(instance.name, instance.uuid, kind, device) is True
    house.wait(lambda: not driver.ask_to_unplug(instance.name, instance.uuid, kind, device))


def test_disks_come_and_go(house: House) -> None:
    """The guest sees each, with its size also when it has grown, and again after a soft reboot and a migration."""
    plain = house.instance()
    first = replace(DISK, uuid=plain.uuid)
    second = replace(DISK, uuid=f"b{plain.uuid[1:]}", index=1, size=16)
    one, both = replace(plain, disks=(first,)), replace(plain, disks=(first, second))
    driver = started(house, one)
    house.booted(plain)
    driver.check_plug(one, "disk")
    for _ in range(2):
        driver.plug_disk(both, second, house.disks(both)[1])
    house.wait(lambda: house.sees(plain)[0] == [8, 16])
    house.grow(second, 24)
    driver.resize_disk(plain.name, plain.uuid, second.uuid, 24)
    house.wait(lambda: house.sees(plain)[0] == [8, 24])
    let_go(house, driver, plain, "disk", first.uuid)
    assert house.sees(plain)[0] == [24]
    assert driver.ask_to_unplug(plain.name, plain.uuid, "disk", first.uuid) is False
    other = replace(plain, disks=(replace(second, index=0, size=24),))
    definition = driver.definition(plain.name, plain.uuid)
    driver.pull_plug(plain.name, plain.uuid)
    driver.start_again(definition, other, house.disks(other))
    house.booted(plain)
    assert house.sees(plain)[0] == [24]
    target = house.driver("node2")
    ticket = target.accept(other, house.disks(other, "node2"), "node1", house.address("node2"))
    driver.send(other, "node2", ticket, True)
    target.finish(other, True)
    driver.finish(other, False)
    target.plug_disk(both, first, house.disks(both, "node2")[0])
    house.wait(lambda: sorted(house.sees(plain, "node2")[0]) == [8, 24])


def test_interfaces_come_and_go(house: House) -> None:
    """The guest sees their addresses; one that is exchanged has the new one."""
    instance = house.instance()
    driver = started(house, instance)
    house.booted(instance)
    driver.check_plug(instance, "nic")
    nic = replace(NIC, uuid=instance.uuid)
    with house.bridged() as link:
        wired = replace(nic, link=link)
        for _ in range(2):
            driver.plug_nic(replace(instance, nics=(wired,)), wired)
        house.wait(lambda: house.sees(instance)[1] == [nic.mac])
        let_go(house, driver, instance, "nic", nic.uuid)
        house.wait(lambda: house.sees(instance)[1] == [])
        driver.plug_nic(instance, replace(wired, mac="aa:00:00:00:00:08"))
        house.wait(lambda: house.sees(instance)[1] == ["aa:00:00:00:00:08"])


def test_devices_of_a_guest_that_is_down(house: House) -> None:
    """It takes none, and has let go of all."""
    instance = replace(house.instance(), disks=(DISK,))
    driver = house.driver()
    (source,) = house.disks(instance)
    for plug in (
        lambda: driver.check_plug(instance, "disk"),
        lambda: driver.plug_disk(instance, DISK, source),
        lambda: driver.plug_nic(instance, NIC),
    ):
        with pytest.raises(NodeFailure) as failure:
            plug()
        assert failure.value.code == "not_running"
    assert driver.ask_to_unplug(instance.name, instance.uuid, "disk", DISK.uuid) is False
    driver.resize_disk(instance.name, instance.uuid, DISK.uuid, 16)


def test_node_facts(house: House) -> None:
    """The node says its memory and processors."""
    facts = house.driver().node_facts()
    assert facts.memory_total >= facts.memory_free > 0
    assert facts.cpu_total > 0
    assert facts.version


def test_check_and_verify(house: House) -> None:
    """What the house starts guests with passes the node's own check, and the hypervisor is fine."""
    driver = house.driver()
    driver.check(house.instance().hvparams)
    assert driver.verify() == "" or driver.verify().startswith("note: ")


def test_console(house: House) -> None:
    """The console is named for the instance and of a kind that clients know."""
    instance = house.instance()
    driver = started(house, instance)
    console = driver.console(instance, "node1")
    assert console.instance == instance.name
    assert console.kind in {"ssh", "vnc", "spice", "msg"}


def test_migration(house: House) -> None:
    """A guest moves: afterwards only the target knows it, and it can move back."""
    instance = house.instance()
    started(house, instance)
    house.booted(instance)
    for here, there in (("node1", "node2"), ("node2", "node1")):
        source, target = house.driver(here), house.driver(there)
        ticket = target.accept(instance, house.disks(instance, there), here, house.address(there))
        assert state(target, instance) is None
        source.send(instance, there, ticket, True)
        assert state(source, instance) is None
        source.finish(instance, False)
        target.finish(instance, True)
        target.finish(instance, True)
        assert state(target, instance) == "running"
        assert source.list_guests() == []


def test_migration_to_one_who_does_not_know(house: House) -> None:
    """A guest that its target does not expect stays where it is, and says so; the acceptance can be taken back."""
    instance = house.instance()
    source = started(house, instance)
    target = house.driver("node2")
    ticket = target.accept(instance, house.disks(instance, "node2"), "node1", house.address("node2"))
    target.cancel_accept(instance)
    target.cancel_accept(instance)
    with pytest.raises(NodeFailure) as failure:
        target.finish(instance, True)
    assert failure.value.code == "not_running"
    assert ticket.hypervisor == source.name
    with pytest.raises(NodeFailure) as failure:
        source.finish(instance, False)
    assert failure.value.code == "migration_failed"
    assert state(source, instance) == "running"


def test_migration_of_a_guest_that_is_down(house: House) -> None:
    """There is nothing to send."""
    instance = house.instance()
    target = house.driver("node2")
    ticket = target.accept(instance, house.disks(instance, "node2"), "node1", house.address("node2"))
    with pytest.raises(NodeFailure) as failure:
        house.driver().send(instance, "node2", ticket, True)
    assert failure.value.code == "not_running"


def test_accept_where_it_runs(house: House) -> None:
    """A node on which the guest runs does not take it in a second time, and goes on running it."""
    instance = house.instance()
    driver = started(house, instance)
    with pytest.raises(NodeFailure) as failure:
        driver.accept(instance, house.disks(instance), "node2", house.address("node1"))
    assert failure.value.code == "exists"
    driver.cancel_accept(instance)
    driver.settle()
    assert state(driver, instance) == "running"
