"""The power of a node goes at commands that change disks: at each step of what makes, replaces, turns, grows and moves.

Whatever the job says at its end, afterwards no machine has a volume that the configuration does not know, and none is
missing: what a node owes, it pays when it is back. Nobody else has written, the data is what it was, and the same
command ends well if it has not been done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest

from tests.live import wait_until
from tests.real_disks.cluster import LOOK_EVERY, RealCluster
from tests.real_disks.commands import (
    ADD,
    ADD_DRBD,
    IN_STEP,
    PAID_TIME,
    data_of_other_side,
    device,
    gnt,
    nothing_is_left,
    one_writer,
    read,
    roles,
    row,
    until_true,
    write,
)

pytestmark = pytest.mark.long_disks

HELD_TIME = 240.0
PLAIN: Final = ("gnt-instance", "add", "-t", "plain", "-n", "node2", "--disk", "0:size=16m", *ADD)
DRBD: Final = (*ADD_DRBD, "--disk", "0:size=16m", *ADD)


@dataclass(frozen=True)
class Cut:
    """The command of a node at which the power goes: the so-manieth that matches a pattern of the shell."""

    node: str
    at: str
    number: int = 1
    # Whether the machine comes back only when its job has been given up.
    long: bool = False

    def __str__(self) -> str:
        """Name a test."""
        return f"{self.node}-{self.at.strip('*').replace(' ', '-')}-{self.number}"


def lose_power_during(real: RealCluster, cut: Cut, words: Sequence[str]) -> int:
    """Let a machine lose its power during a command; gives how that ended. The machine is back."""
    machine = real.machines[cut.node]
    machine.hold(cut.at, cut.number)
    running = real.spawn("node1", *words)
    wait_until(lambda: machine.held() or running.poll() is not None, f"{cut} is not called", HELD_TIME)
    assert machine.held(), running.stdout.read() if running.stdout else ""
    machine.lose_power()
    if cut.long:
        running.wait(real.patience)
    real.reboot(cut.node)
    real.wait_for_noded(cut.node)
    status = running.wait(real.patience)
    said = running.stdout.read() if running.stdout else ""
    assert status in {0, 1}, said
    assert "Traceback" not in said
    return status


@pytest.mark.parametrize(
    "cut",
    [
        Cut("node3", "lvcreate*", 1),
        Cut("node3", "lvcreate*", 2, long=True),
        Cut("node3", "*create-md"),
        Cut("node3", "drbdsetup attach*"),
        Cut("node3", "drbdsetup connect*"),
        Cut("node2", "drbdsetup primary*"),
    ],
    ids=str,
)
def test_while_disks_are_made(real: RealCluster, cut: Cut) -> None:
    """Nothing of the instance is left on either node, or all of it; it can be added again."""
    status = lose_power_during(real, cut, (*DRBD, "web1"))
    # Its name stays taken until everything is paid.
    wait_until(
        lambda: ("web1" in real.instances()) is (status == 0), f"{status}: {real.instances()}", PAID_TIME, LOOK_EVERY
    )
    until_true(real)
    if status:
        nothing_is_left(real)
        gnt(real, *DRBD, "web1")
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    nothing_is_left(real)


@dataclass(frozen=True)
class Work:
    """What is done to an instance: how it is made, the command, and fields that say afterwards that it was done."""

    made: tuple[str, ...]
    command: tuple[str, ...]
    done: tuple[tuple[str, object], ...] = ()
    runs: bool = True

    def is_done(self, real: RealCluster) -> bool:
        """Say whether the configuration says so; what leaves no trace there may be done again."""
        names = ",".join(name for name, _ in self.done)
        return bool(self.done) and row(real, "web1", names) == dict(self.done)


REPLACE: Final = ("gnt-instance", "replace-disks")
WORKS: Final = {
    "secondary": Work(DRBD, (*REPLACE, "-s", "web1")),
    "primary": Work(DRBD, (*REPLACE, "-p", "web1")),
    "faulty": Work(DRBD, (*REPLACE, "-a", "web1")),
    "moved": Work(DRBD, (*REPLACE, "-n", "node4", "web1"), (("snodes", ["node4"]),)),
    "to-mirror": Work(
        PLAIN,
        ("gnt-instance", "modify", "--ignore-ipolicy", "-t", "drbd", "-n", "node3", "web1"),
        (("disk_template", "drbd"),),
        runs=False,
    ),
    "to-volume": Work(
        DRBD,
        ("gnt-instance", "modify", "--ignore-ipolicy", "-t", "plain", "web1"),
        (("disk_template", "plain"),),
        runs=False,
    ),
    "grown": Work(DRBD, ("gnt-instance", "grow-disk", "--ignore-ipolicy", "web1", "0", "16m"), (("disk.size/0", 32),)),
    "carried": Work(PLAIN, ("gnt-instance", "move", "-f", "-n", "node3", "web1"), (("pnode", "node3"),), runs=False),
}
CUTS: Final = [
    ("secondary", Cut("node3", "lvcreate*", 2)),
    ("secondary", Cut("node3", "drbdsetup detach*")),
    ("secondary", Cut("node3", "lvrename*", 1)),
    ("secondary", Cut("node3", "lvrename*", 3, long=True)),
    ("secondary", Cut("node3", "*create-md")),
    ("secondary", Cut("node3", "drbdsetup attach*")),
    ("secondary", Cut("node3", "lvremove*")),
    ("primary", Cut("node2", "lvcreate*", 1)),
    ("primary", Cut("node2", "drbdsetup detach*")),
    ("primary", Cut("node2", "lvrename*", 2)),
    ("primary", Cut("node2", "lvrename*", 4)),
    ("primary", Cut("node2", "drbdsetup attach*")),
    ("primary", Cut("node2", "lvremove*", 2)),
    ("faulty", Cut("node3", "lvrename*", 3)),
    ("moved", Cut("node4", "lvcreate*", 2)),
    ("moved", Cut("node4", "*create-md")),
    ("moved", Cut("node3", "drbdsetup down*")),
    ("moved", Cut("node2", "drbdsetup disconnect*")),
    ("moved", Cut("node4", "drbdsetup attach*", long=True)),
    ("moved", Cut("node4", "drbdsetup connect*")),
    ("moved", Cut("node2", "drbdsetup connect*")),
    ("moved", Cut("node3", "lvremove*")),
    ("to-mirror", Cut("node3", "lvcreate*", 2)),
    ("to-mirror", Cut("node2", "lvrename*")),
    ("to-mirror", Cut("node2", "drbdsetup primary*")),
    ("to-volume", Cut("node2", "lvremove*")),
    ("to-volume", Cut("node3", "lvremove*")),
    ("grown", Cut("node3", "lvextend*")),
    ("grown", Cut("node2", "drbdsetup resize*")),
    ("carried", Cut("node3", "lvcreate*")),
    ("carried", Cut("node2", "lvremove*")),
]


@pytest.mark.parametrize(("name", "cut"), CUTS, ids=str)
def test_while_disks_are_changed(real: RealCluster, name: str, cut: Cut) -> None:
    """What is there is what the configuration says; the data is whole, on each side, and the work can be done."""
    work = WORKS[name]
    gnt(real, *work.made, "web1")
    gnt(real, "gnt-instance", "startup", "web1")
    written = write(real, "node2", device(real, "web1", "node2"))
    if not work.runs:
        gnt(real, "gnt-instance", "shutdown", "web1")
    if name == "faulty":
        real.machines["node3"].shell("drbdsetup detach 0")

    status = lose_power_during(real, cut, (*work.command,))
    until_true(real)
    one_writer(real)
    if status == 0:
        assert work.is_done(real) or not work.done
    elif not work.is_done(real):
        # As the watcher does with a node that has booted: until then one side may be the only copy.
        gnt(real, "gnt-instance", "activate-disks", "--wait-for-sync", "web1")
        if not work.runs:
            gnt(real, "gnt-instance", "deactivate-disks", "web1")
        gnt(real, *work.command)
    assert work.is_done(real) or not work.done
    gnt(real, "gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    until_true(real)
    primary = row(real, "web1", "pnode")["pnode"]
    assert read(real, primary, device(real, "web1", primary)) == written
    if row(real, "web1", "disk_template")["disk_template"] == "drbd":
        assert roles(real, primary) == [IN_STEP]
        assert data_of_other_side(real, "web1") == written
    gnt(real, "gnt-instance", "remove", "-f", "web1")
    until_true(real)
    nothing_is_left(real)
