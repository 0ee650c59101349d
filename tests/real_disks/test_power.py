"""The power of a node goes at commands that change its disks, while they are made and while they are replaced.

The job ends in an error and undoes what it can; when the node is back, it pays what it owes, and the same command ends
well. The guest's data is whole all the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.live import wait_until
from tests.real_disks.cluster import GROUP, RealCluster
from tests.real_disks.commands import ADD, READ, device, gnt, volumes, write

pytestmark = pytest.mark.long_disks

HELD_TIME = 240.0
PAID_TIME = 120.0


def lose_power_during(real: RealCluster, node: str, at: tuple[str, int], *words: str) -> str:
    """Let a command fail as a machine loses its power at a command there; gives what it said. The machine is back."""
    machine = real.machines[node]
    machine.hold(*at)
    running = real.spawn("node1", *words)
    wait_until(lambda: machine.held() or running.poll() is not None, f"{at} is not called", HELD_TIME)
    assert machine.held(), running.stdout.read() if running.stdout else ""
    machine.lose_power()
    status = running.wait(real.patience)
    said = running.stdout.read() if running.stdout else ""
    assert status == 1, said
    real.reboot(node)
    real.wait_for_noded(node)
    return said


def named(at: tuple[str, int]) -> str:
    """Name a test by the command at which the power goes."""
    return f"{at[0].strip('*').replace(' ', '-')}-{at[1]}"


@pytest.mark.parametrize(
    "at", [("lvcreate*", 1), ("lvcreate*", 2), ("*create-md", 1), ("drbdsetup attach*", 1)], ids=named
)
def test_while_disks_are_made(real: RealCluster, at: tuple[str, int]) -> None:
    """Nothing of the instance is left on either node; it can be added again."""
    add = ("gnt-instance", "add", "-t", "drbd", "-n", "node2:node3", "--disk", "0:size=32m", *ADD, "web2")
    lose_power_during(real, "node3", at, *add)
    assert "web2" not in real.instances()
    for node in ("node2", "node3"):
        wait_until(lambda: not volumes(real, node), f"volumes are left on {node}", PAID_TIME)  # noqa: B023
    if at[0] == "drbdsetup attach*":
        gnt(real, *add)
        gnt(real, "gnt-instance", "remove", "-f", "web2")


@dataclass
class Running:
    """An instance that runs on node2, and the checksum of what is at the beginning of its disk."""

    device: str
    checksum: str


@pytest.fixture(scope="module")
def guest(running: RealCluster) -> Iterator[Running]:
    """Give an instance whose disk was written to."""
    add = ("gnt-instance", "add", "-t", "drbd", "-n", "node2:node3", "--disk", "0:size=32m", *ADD, "web1")
    gnt(running, *add)
    gnt(running, "gnt-instance", "startup", "web1")
    path = device(running, "web1", "node2")
    yield Running(path, write(running, "node2", path))
    gnt(running, "gnt-instance", "remove", "-f", "web1")


@pytest.mark.parametrize(
    "at",
    [
        *(("lvcreate*", 2), ("drbdsetup detach*", 1), ("lvrename*", 1), ("lvrename*", 3)),
        *(("*create-md", 1), ("drbdsetup attach*", 1), ("lvremove*", 1)),
    ],
    ids=named,
)
def test_while_disks_are_replaced(running: RealCluster, guest: Running, at: tuple[str, int]) -> None:
    """The guest's side is whole; the other one is built anew afterwards, with the same data, and nothing is left."""
    real, primary = running, running.machines["node2"]
    replace = ("gnt-instance", "replace-disks", "-s", "web1")
    lose_power_during(real, "node3", at, *replace)
    assert primary.shell(READ.format(guest.device)) == guest.checksum
    wait_until(lambda: len(volumes(real, "node3")) == 2, f"node3 has {volumes(real, 'node3')}", PAID_TIME)
    # As the watcher does with a node that has booted: until then the guest's side is the only copy.
    gnt(real, "gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    gnt(real, *replace)
    assert primary.shell(READ.format(guest.device)) == guest.checksum
    assert "ds:UpToDate/UpToDate" in primary.shell("cat /proc/drbd")
    wait_until(lambda: len(volumes(real, "node3")) == 2, "old volumes are left", PAID_TIME)
    [data] = [name for name in volumes(real, "node3") if name.endswith("_data")]
    assert real.machines["node3"].shell(READ.format(f"/dev/{GROUP}/{data}")) == guest.checksum
