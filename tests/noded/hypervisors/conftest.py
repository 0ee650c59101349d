"""Houses for the contract suite: a hypervisor with what is around it, so that one suite fits all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from gnt.model.objects import HypervisorName
from gnt.model.params import defaults
from gnt.model.params_tables import BACKEND, HYPERVISOR
from gnt.model.specs import DiskSpec, InstanceSpec
from gnt.noded.hypervisors.fake import FakeHypervisor
from gnt.noded.hypervisors.interface import IHypervisor
from gnt.sim.providers import SimHypervisor
from gnt.wire.calls import DiskDevice
from tests.noded.hypervisors.libvirt_room import KvmHouse, LibvirtRoom

UUID = "6b1b4d6e-3c4c-4f0e-9d55-0000000000{:02d}"


class House(Protocol):
    """A node with one hypervisor, and perhaps a second node. `names` says which nodes there are."""

    names: tuple[str, ...]

    def address(self, node: str) -> str:
        """Give the address of a node."""

    def driver(self, node: str = "node1") -> IHypervisor:
        """Make a driver anew, as a daemon that starts does."""

    def instance(self, number: int = 1, **hvparams: Any) -> InstanceSpec:
        """Describe an instance without disks that this hypervisor can start; all have different names."""

    def disks(self, instance: InstanceSpec, node: str = "node1") -> list[DiskDevice]:
        """Give the devices of the instance's disks."""

    def wait(self, condition: Callable[[], object]) -> None:
        """Return when the condition holds; fail when it does not in good time."""

    def booted(self, instance: InstanceSpec) -> None:
        """Return when the guest hears its power button."""

    def halt_from_inside(self, instance: InstanceSpec) -> None:
        """Have the guest halt by itself."""

    def sees(self, instance: InstanceSpec, node: str = "node1") -> tuple[list[int], list[str]]:
        """Give the sizes of the disks (MiB) that the running guest sees, and the addresses of its interfaces."""

    def grow(self, disk: DiskSpec, size: int) -> None:
        """Make what is behind a disk as large as that (MiB)."""

    def bridged(self) -> AbstractContextManager[str]:
        """Give a link for interfaces, for some time."""


@dataclass
class FakeHouse:
    """Two nodes of the fake hypervisor."""

    root: Path
    names: tuple[str, ...] = ("node1", "node2")

    def address(self, node: str) -> str:
        """Give an address that nobody uses."""
        return {"node1": "192.0.2.1", "node2": "192.0.2.2"}[node]

    def driver(self, node: str = "node1") -> IHypervisor:
        """Make a driver."""
        return FakeHypervisor(self.root / node, memory=1000, cpus=2)

    def instance(self, number: int = 1, **hvparams: Any) -> InstanceSpec:
        """Describe an instance."""
        return InstanceSpec(
            name=f"guest{number}",
            uuid=UUID.format(number),
            hypervisor=HypervisorName.FAKE,
            hvparams={**defaults(HYPERVISOR["fake"]), **hvparams},
            beparams=defaults(BACKEND),
        )

    def disks(self, instance: InstanceSpec, node: str = "node1") -> list[DiskDevice]:
        """Give devices; the files need not exist."""
        return [DiskDevice(path=str(self.root / node / "disk"))] * len(instance.disks)

    def wait(self, condition: Callable[[], object]) -> None:
        """Hold at once: nothing takes time here."""
        assert condition()

    def booted(self, instance: InstanceSpec) -> None:
        """Hear at once."""

    def sees(self, instance: InstanceSpec, node: str = "node1") -> tuple[list[int], list[str]]:
        """Read the guest's file."""
        guest = FakeHypervisor(self.root / node)._running(instance.name, instance.uuid)
        assert len(guest.disks) == len(guest.sizes)
        return list(guest.sizes.values()), list(guest.nics.values())

    def grow(self, disk: DiskSpec, size: int) -> None:
        """Nothing is behind it."""

    @contextmanager
    def bridged(self) -> Iterator[str]:
        """Give a name that nobody looks at."""
        yield "br0"

    def halt_from_inside(self, instance: InstanceSpec) -> None:
        """Use the hook."""
        hooks = self.root / "node1/hooks"
        hooks.mkdir(exist_ok=True)
        (hooks / f"{instance.name}.halt").touch()


class SimHouse(FakeHouse):
    """Two nodes of the simulator's hypervisor."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        nodes: dict[str, SimHypervisor] = {}
        self._drivers = {node: SimHypervisor(root / node, nodes) for node in self.names}

    def driver(self, node: str = "node1") -> IHypervisor:
        """Give the driver to a daemon that starts: the guests are in its memory."""
        self._drivers[node].begin_life()
        return self._drivers[node]

    def sees(self, instance: InstanceSpec, node: str = "node1") -> tuple[list[int], list[str]]:
        """Look into its memory."""
        guest = self._drivers[node]._running(instance.name, instance.uuid)
        assert len(guest.disks) == len(guest.sizes)
        return list(guest.sizes.values()), list(guest.nics.values())

    def halt_from_inside(self, instance: InstanceSpec) -> None:
        """Have its user halt it."""
        self._drivers["node1"].halt_inside(instance.name)


@pytest.fixture
def sim_house(tmp_path: Path) -> SimHouse:
    """Give two nodes of the simulator's hypervisor."""
    return SimHouse(tmp_path)


@pytest.fixture
def fake_house(tmp_path: Path) -> FakeHouse:
    """Give two nodes of the fake hypervisor."""
    return FakeHouse(tmp_path)


@pytest.fixture(scope="session")
def libvirt_room() -> Iterator[LibvirtRoom]:
    """Give two real libvirtds."""
    room = LibvirtRoom.open()
    try:
        yield room
    finally:
        room.close()


@pytest.fixture
def kvm_house(libvirt_room: LibvirtRoom) -> Iterator[KvmHouse]:
    """Give two nodes with kvm, empty before and after."""
    house = libvirt_room.house()
    try:
        yield house
    finally:
        house.clear()


@pytest.fixture(
    params=["fake", "sim", pytest.param("kvm", marks=[pytest.mark.guest, pytest.mark.xdist_group("libvirt")])]
)
def house(request: pytest.FixtureRequest) -> House:
    """Give each house in turn."""
    found: House = request.getfixturevalue(f"{request.param}_house")
    return found
