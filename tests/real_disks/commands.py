"""What administrators type, and what the machines show afterwards."""

from __future__ import annotations

import json
from typing import Any, Final

from gnt.masterd.operations.disk_steps import holders
from tests.live import wait_until
from tests.real_disks.cluster import GROUP, LOOK_EVERY, RealCluster

ADD: Final = ("--no-install", "-o", "none", "--no-nics", "--ignore-ipolicy")
ADD_DRBD: Final = ("gnt-instance", "add", "-t", "drbd", "-n", "node2:node3")
WRITE: Final = "dd if=/dev/urandom of={0} bs=1M count=4 oflag=direct status=none; head -c 4M {0} | md5sum"
READ: Final = "head -c 4M {} | md5sum"
IN_STEP: Final = "ro:Primary/Secondary ds:UpToDate/UpToDate"
PAID_TIME: Final = 120.0


def gnt(real: RealCluster, *words: str) -> str:
    """Run a command on the master; gives what it printed."""
    return real.command("node1", *words).stdout


def row(real: RealCluster, name: str, fields: str) -> dict[str, Any]:
    """Give fields of an instance."""
    [found] = json.loads(gnt(real, "gnt-instance", "list", "--json", "-o", fields, name))
    assert isinstance(found, dict)
    return found


def device(real: RealCluster, name: str, node: str, index: int = 0) -> str:
    """Give the device to which the stable link of one of an instance's disks points; empty if there is none."""
    link = real.layout(node).run / f"instance-disks/{name}:{index}"
    return real.machines[node].shell(f"readlink {link} || true").strip()


def write(real: RealCluster, node: str, path: str) -> str:
    """Write anew to the beginning of a device; gives the checksum of what is read back."""
    return real.machines[node].shell(WRITE.format(path))


def read(real: RealCluster, node: str, path: str) -> str:
    """Give the checksum of the beginning of a device."""
    return real.machines[node].shell(READ.format(path))


def volumes(real: RealCluster, node: str) -> list[str]:
    """Give the names of all volumes of a machine, in order."""
    return sorted(real.machines[node].shell("lvs --noheadings -o lv_name").split())


def mirrors(real: RealCluster, node: str) -> list[str]:
    """Give the lines of the kernel's mirrors of a machine: `0: cs:Connected ro:Primary/Secondary ds:... C r-----`."""
    said = real.machines[node].shell("cat /proc/drbd")
    return [line.strip() for line in said.splitlines() if " cs:" in line]


def roles(real: RealCluster, node: str) -> list[str]:
    """Give the roles and the data of both sides of each mirror of a machine."""
    return [" ".join(line.split()[2:4]) for line in mirrors(real, node)]


def nothing_is_left(real: RealCluster) -> None:
    """See that no machine has a volume, a mirror or a link of an instance's disk."""
    for node, machine in real.machines.items():
        assert volumes(real, node) == [], node
        assert mirrors(real, node) == [], node
        assert machine.shell(f"ls {real.layout(node).run / 'instance-disks'} 2>/dev/null; true") == "", node


def until_paid(real: RealCluster, node: str, count: int) -> None:
    """Wait until a machine has so many volumes: what it owes is paid then."""
    wait_until(lambda: len(volumes(real, node)) == count, f"{node} has {volumes(real, node)}", PAID_TIME, LOOK_EVERY)


def wanted_volumes(real: RealCluster, node: str) -> list[str]:
    """Give the names of all volumes that the configuration says a machine has, in order."""
    model = real.model()
    [uuid] = [each.uuid for each in model.nodes.values() if each.name == node]
    found: list[str] = []
    for disk in model.disks.values():
        owner = model.owner(disk.uuid)
        places = disk.nodes if owner is None else holders(owner, disk)
        if uuid in places:
            found += [str(part.logical_id[1]) for part in disk.children or (disk,)]
    return sorted(found)


def until_true(real: RealCluster) -> None:
    """Wait until every machine has the volumes that the configuration says, and no others: what is owed is paid."""
    for node in real.machines:

        def is_true(node: str = node) -> bool:
            return volumes(real, node) == wanted_volumes(real, node)

        try:
            wait_until(is_true, "", PAID_TIME, LOOK_EVERY)
        except AssertionError:
            assert volumes(real, node) == wanted_volumes(real, node), f"{node} owes still"


def one_writer(real: RealCluster) -> None:
    """See that no mirror is open for writing on two machines."""
    opened = [line for node in real.machines for line in roles(real, node) if line.startswith("ro:Primary")]
    assert not any(line.startswith("ro:Primary/Primary") for line in opened), opened


def data_of_other_side(real: RealCluster, name: str) -> str:
    """Give the checksum of the beginning of the first disk's volume on the secondary node of an instance."""
    model = real.model()
    [instance] = [each for each in model.instances.values() if each.name == name]
    disk = model.disks_of(instance)[0]
    [node] = model.secondaries(instance)
    return read(real, node.name, f"/dev/{GROUP}/{disk.children[0].logical_id[1]}")
