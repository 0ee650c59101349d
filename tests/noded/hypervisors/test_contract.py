"""What every hypervisor keeps to: one suite over all drivers."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from zope.interface.verify import verifyObject

from gnt.model.errors import NodeFailure
from gnt.model.specs import InstanceSpec
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
    driver.start_again(definition)
    assert len(driver.list_guests()) == 1
    driver.pull_plug(instance.name, instance.uuid)
    for question in (driver.reset, driver.definition):
        with pytest.raises(NodeFailure) as failure:
            question(instance.name, instance.uuid)
        assert failure.value.code == "not_running"
    driver.start_again(definition)
    assert state(driver, instance) == "running"


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
