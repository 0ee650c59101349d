"""What is special to the fake hypervisor: its files, its memory, the guest's own part."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnt.model.errors import NodeFailure
from gnt.noded.hypervisors.fake import FakeHypervisor
from gnt.wire.guest_calls import MigrationTicket
from tests.noded.hypervisors.conftest import FakeHouse


def test_memory_is_used_up(fake_house: FakeHouse) -> None:
    """Guests take their memory from the node; one that does not fit even with its least is refused."""
    driver = fake_house.driver()
    for number in range(1, 8):
        driver.start(fake_house.instance(number), [], False)
    assert driver.node_facts().memory_free == 1000 - 7 * 128
    with pytest.raises(NodeFailure) as failure:
        driver.start(fake_house.instance(8), [], False)
    assert (failure.value.code, failure.value.retry) == ("no_memory", True)
    assert "104 MiB free" in failure.value.text
    driver.pull_plug("guest1", fake_house.instance(1).uuid)
    driver.start(fake_house.instance(8), [], False)


def test_deaf_guest(fake_house: FakeHouse, tmp_path: Path) -> None:
    """A guest that does not hear its power button runs on."""
    driver, instance = fake_house.driver(), fake_house.instance()
    driver.start(instance, [], False)
    (tmp_path / "node1/hooks").mkdir()
    (tmp_path / "node1/hooks/guest1.deaf").touch()
    assert driver.ask_to_halt(instance.name, instance.uuid)
    facts = driver.find(instance.name, instance.uuid)
    assert facts is not None
    assert facts.state == "running"


def test_migration_between_machines(fake_house: FakeHouse, tmp_path: Path) -> None:
    """Where the target's directory cannot be seen, the guest arrives by the target's own note."""
    source, target, instance = fake_house.driver(), fake_house.driver("node2"), fake_house.instance()
    source.start(instance, [], False)
    target.accept(instance, [], "node1", "192.0.2.2")
    far = MigrationTicket(hypervisor="fake", address="192.0.2.2", data={"directory": str(tmp_path / "far")})
    source.send(instance, "node2", far, True)
    assert source.list_guests() == []
    target.finish(instance, True)
    assert [guest.state for guest in target.list_guests()] == ["running"]


@pytest.mark.parametrize("name", ["../guest", ".guest", "a/b"])
def test_names_stay_inside(fake_house: FakeHouse, name: str) -> None:
    """A name is never a path out of the directory."""
    with pytest.raises(NodeFailure) as failure:
        fake_house.driver().find(name, "u")
    assert failure.value.code == "parameter"


def test_damaged_file(fake_house: FakeHouse, tmp_path: Path) -> None:
    """A file that is no guest is named."""
    (tmp_path / "node1").mkdir()
    (tmp_path / "node1/web1").write_text("0\n128\n1\n")
    with pytest.raises(NodeFailure, match="node1/web1 is not a guest"):
        fake_house.driver().list_guests()


def test_verify_names_the_directory(tmp_path: Path) -> None:
    """A directory that cannot be made is a fault."""
    (tmp_path / "file").touch()
    assert "cannot be made" in FakeHypervisor(tmp_path / "file/below").verify()


def test_unexpected_guest_stays(fake_house: FakeHouse) -> None:
    """A target that took its acceptance back gets no guest."""
    source, target, instance = fake_house.driver(), fake_house.driver("node2"), fake_house.instance()
    source.start(instance, [], False)
    ticket = target.accept(instance, [], "node1", "192.0.2.2")
    target.cancel_accept(instance)
    with pytest.raises(NodeFailure, match="node2 does not expect guest1"):
        source.send(instance, "node2", ticket, True)
    assert [guest.name for guest in source.list_guests()] == ["guest1"]
