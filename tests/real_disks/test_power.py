"""The power of a machine goes at each command that changes its disks, while they are made and while they are replaced.

Afterwards the machine boots, and what recovery may do is tried: the call comes again, or what it made is removed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gnt.model.errors import GntError
from gnt.wire.calls import DiskAssemble, DiskCreate, DiskRemove, NodeCall
from gnt.wire.disk_calls import DiskRename, MirrorAttach, MirrorDetach
from tests.real_disks.cluster import RealCluster
from tests.real_disks.mirrors import Mirror, another_uuid, mirror
from tests.real_disks.test_mirrors import READ, WRITE

pytestmark = pytest.mark.long_disks


def cut_at_each_command(
    real: RealCluster, node: str, calls: list[NodeCall[None]], recover: Callable[[int, str], None]
) -> list[str]:
    """Do the calls on a machine, and let its power go at their first command, at their second, ...; gives all commands.

    After each loss `recover` gets how many calls had ended, and the command that was not run.
    """
    machine = real.machines[node]
    seen: list[str] = []
    while True:
        machine.hold(len(seen) + 1)
        done = 0
        try:
            for call in calls:
                if not real.ask_until(node, call, machine.held):
                    break
                done += 1
        finally:
            held = machine.held()
        if done == len(calls):
            machine.shell("rm /run/hold")
            return seen
        seen.append(held)
        machine.lose_power()
        real.reboot(node)
        real.wait_for_noded(node)
        recover(done, held)


def test_while_it_is_made(real: RealCluster) -> None:
    """Creation that comes again ends well, and what it left is removed without a trace."""
    disk = mirror(real, 3)
    machine = real.machines["node2"]

    def recover(_done: int, held: str) -> None:
        disk.ask("node2", DiskCreate(disk=disk.spec))
        facts = disk.facts("node2")
        assert facts is not None, held
        assert facts.size == 32
        disk.ask("node2", DiskRemove(disk=disk.spec))
        assert machine.shell("lvs --noheadings") == "", held

    commands = cut_at_each_command(real, "node2", [DiskCreate(disk=disk.spec)], recover)
    assert [command.split()[0] for command in commands] == ["lvcreate", "lvcreate", "drbdmeta"]
    disk.ask("node3", DiskCreate(disk=disk.spec))
    disk.connect()
    disk.open("node2")
    disk.in_sync()


def replacements(disk: Mirror) -> list[NodeCall[None]]:
    """Give the calls that replace the volumes of a mirror on one machine by new ones of the same names."""
    old = disk.spec.children
    new = tuple(
        msgspec.structs.replace(
            child, uuid=another_uuid(), logical_id=(child.logical_id[0], f"{child.logical_id[1]}_new")
        )
        for child in old
    )
    aside = tuple(
        msgspec.structs.replace(child, logical_id=(child.logical_id[0], f"{child.logical_id[1]}_replaced"))
        for child in old
    )
    in_place = tuple(msgspec.structs.replace(child, uuid=fresh.uuid) for child, fresh in zip(old, new, strict=True))
    calls: list[NodeCall[None]] = [DiskCreate(disk=child) for child in new]
    calls.append(MirrorDetach(disk=disk.spec))
    calls += [DiskRename(disk=one, target=other) for one, other in zip(old, aside, strict=True)]
    calls += [DiskRename(disk=one, target=other) for one, other in zip(new, in_place, strict=True)]
    calls.append(MirrorAttach(disk=msgspec.structs.replace(disk.spec, children=in_place)))
    return calls


@pytest.mark.parametrize("node", ["node3", "node2"])
def test_while_its_volumes_are_replaced(real: RealCluster, node: str) -> None:
    """On either side: the data is whole on the other one, and doing all of it again ends well."""
    number = 4 if node == "node3" else 5
    disk = mirror(real, number)
    other = "node2" if node == "node3" else "node3"
    disk.start()
    # The guest runs on the side that is not worked on.
    if other != "node2":
        disk.release()
        disk.connect()
        disk.open(other)
    device = f"/dev/drbd{disk.minors[other]}"
    keeper = real.machines[other]
    written = keeper.shell(WRITE.format(device, device))

    def recover(_done: int, held: str) -> None:
        assert keeper.shell(READ.format(device)) == written, held
        again = replacements(disk)
        _restore(disk, node)
        for call in again:
            try:
                disk.ask(node, call)
            except GntError as failure:
                raise AssertionError(f"after {held!r}: {call.tag()}: {failure.text}") from failure
        disk.until(other, lambda now: (now.connection, now.peer_disk) == ("Connected", "UpToDate"))
        assert keeper.shell(READ.format(device)) == written, held

    commands = cut_at_each_command(real, node, replacements(disk), recover)
    assert [command.split()[0] for command in commands].count("lvrename") == 4


def _restore(disk: Mirror, node: str) -> None:
    """Bring the side back with whatever volumes it has, as activation does."""
    disk.ask(node, DiskAssemble(disk=disk.spec, primary=False))
