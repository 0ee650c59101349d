"""What there is besides the configuration: guests, disks, links, calls under way (I1, I6, I7)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gnt.model.cluster import Cluster
from gnt.model.objects import AdminState, DiskTemplate
from gnt.sim.machine import SimNode
from gnt.sim.world import SimWorld

_FILES: Final = frozenset({DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.QCOW2})
_MARK: Final = ".gnt"
# Disks that guests are given by a link which outlives the device behind it.
_DEVICES: Final = frozenset({DiskTemplate.PLAIN, DiskTemplate.THIN, DiskTemplate.DRBD})


def check_instances(
    world: SimWorld, cluster: Cluster, excused: set[str], unstopped: set[str], kept: set[str]
) -> list[str]:
    """Each instance is there with all that is its own, and nothing is there without one.

    A guest that could not be started, or went down with its machine, is wanted up and is down: that is for the watcher
    to mend. One of `unstopped` may run on its own node, though it is wanted down. `kept` are disks (UUIDs) that need
    not belong to an instance.
    """
    problems: list[str] = []
    expected_files: set[str] = set()
    expected_guests: dict[str, set[str]] = {name: set() for name in world.nodes}
    owned = {uuid for instance in cluster.instances.values() for uuid in instance.disks}
    problems += [f"disk {uuid} belongs to nobody" for uuid in cluster.disks if uuid not in owned | kept]
    for instance in cluster.instances.values():
        if instance.forthcoming or any(cluster.disks[uuid].forthcoming for uuid in instance.disks):
            problems.append(f"{instance.name} is reserved and nobody makes it")
        primary = cluster.nodes[instance.primary_node].name
        # A node's own files lie in its own tree, shared ones are where all nodes have them.
        own = world.nodes[primary].layout
        for disk in map(cluster.disks.__getitem__, instance.disks):
            if disk.dev_type in _FILES:
                path = str(disk.logical_id[1])
                expected_files.add(path if disk.dev_type is DiskTemplate.SHAREDFILE else str(own.here(path)))
        if instance.admin_state is AdminState.UP:
            expected_guests[primary].add(instance.name)
    places = [world.shared, *(node.layout.root / "srv/ganeti/file-storage" for node in world.nodes.values())]
    trees = [_Tree(place) for place in places]
    found_files = {path for tree in trees for path in tree.files}
    problems += [f"no file {_short(world, path)}" for path in sorted(expected_files - found_files)]
    problems += [f"a file without an owner: {_short(world, path)}" for path in sorted(found_files - expected_files)]
    problems += [f"a mark without a file: {name}" for tree in trees for name in tree.lonely_marks]
    problems += [f"an empty directory is left: {name}" for tree in trees for name in tree.empty]
    for name, node in world.nodes.items():
        running = {guest.name for guest in world.guests(node)}
        world.lost_guests -= {guest.uuid for guest in world.guests(node)}
        lost = {instance.name for uuid, instance in cluster.instances.items() if uuid in world.lost_guests}
        wanted = expected_guests[name]
        missing = wanted - running - excused - lost
        still = {
            one.name for one in cluster.instances.values() if cluster.nodes[one.primary_node].name == name
        } & unstopped
        problems += [f"{guest} should run on {name}" for guest in sorted(missing)]
        problems += [f"{guest} runs on {name} and should not" for guest in sorted(running - wanted - still)]
        problems += _check_devices(world, node, cluster, excused)
        problems += _check_links(node, cluster)
        problems += _check_arrivals(node)
    return problems


def _check_devices(world: SimWorld, node: SimNode, cluster: Cluster, excused: set[str]) -> Iterator[str]:
    """See that guests have the disks and interfaces that are recorded, also if they came or went while they ran."""
    for guest in world.guests(node):
        instance = cluster.instances.get(guest.uuid)
        if instance is None or guest.name in excused or not guest.uses_memory:
            continue
        recorded = {*instance.disks, *(nic.uuid for nic in instance.nics)}
        seen = {*guest.sizes, *guest.nics}
        yield from (f"{guest.name} runs with a device that is not its own: {uuid}" for uuid in sorted(seen - recorded))
        yield from (f"{guest.name} runs without its device {uuid}" for uuid in sorted(recorded - seen))
        if len(set(guest.disks)) < len(guest.sizes):
            yield f"{guest.name} runs with one disk in several places: {' '.join(guest.disks)}"
        # A disk that has moved up in the list keeps its link until it is assembled anew, so places are not compared.
        devices = [uuid for uuid in instance.disks if cluster.disks[uuid].dev_type in _DEVICES]
        links = list((node.layout.run / "instance-disks").glob(f"{guest.name}:*"))
        if len(links) < len(devices):
            yield f"{guest.name} runs without the link to a disk: {len(links)} of {len(devices)} are there"


def _check_links(node: SimNode, cluster: Cluster) -> Iterator[str]:
    """Links to disks stand where an instance uses them: on its own node, and only while it is active."""
    uuids = {uuid for uuid, found in cluster.nodes.items() if found.name == node.name}
    mine = {instance.name for instance in cluster.instances.values() if instance.primary_node in uuids}
    directory = node.layout.run / "instance-disks"
    for link in sorted(directory.iterdir()) if directory.is_dir() else ():
        if link.name.rpartition(":")[0] not in mine:
            yield f"a link to a disk is left on {node.name}: {link.name}"


def _check_arrivals(node: SimNode) -> Iterator[str]:
    """No place is kept for a guest that will not come."""
    for name in node.hypervisor.expected():
        yield f"{node.name} still waits for the arrival of {name}"


def check_address(world: SimWorld, cluster: Cluster) -> list[str]:
    """Find the cluster's address up on the master, and nowhere else."""
    ip, master = cluster.settings.master_ip, cluster.master.name
    found = [node.name for node in world.nodes.values() if ip in node.addresses.up]
    return [] if found == [master] else [f"the address {ip} is up on {found}, and the master is {master}"]


def check_call_table(node: SimNode) -> list[str]:
    """No call stands as under way on a node."""
    if not node.layout.calls_db.exists():
        return []
    calls = node.world.readers.of(str(node.layout.calls_db))
    left = calls.execute("SELECT id, tag FROM calls WHERE state = 'started'").fetchall()
    return [f"call {call} ({tag}) stands as under way on {node.name}" for call, tag in left]


# I7: each call has one effect


def check_scripts(world: SimWorld) -> list[str]:
    """No script ran twice for one call, however often the call came."""
    problems = []
    for name, runs in world.script_runs.items():
        twice = sorted({call for call in runs if runs.count(call) > 1})
        problems += [f"{name} ran the script of call {call} {runs.count(call)} times" for call in twice]
    return problems


# Files


class _Tree:
    """What lies below a directory: disks, marks whose disk is not there, directories without anything (both by name).

    Texts, not paths: this is looked at on each machine whenever everything is at rest.
    """

    def __init__(self, top: Path) -> None:
        self.files: list[str] = []
        self.lonely_marks: list[str] = []
        self.empty: list[str] = []
        for directory, below, names in os.walk(top):
            here = {*below, *names}
            self.files += [f"{directory}/{name}" for name in names if not name.startswith(".")]
            marks = [name for name in names if name.startswith(".") and name.endswith(_MARK)]
            self.lonely_marks += [name for name in marks if name[1:].removesuffix(_MARK) not in here]
            if not here and directory != str(top):
                self.empty.append(directory.rpartition("/")[2])
        self.lonely_marks.sort()
        self.empty.sort()


def _short(world: SimWorld, path: str) -> str:
    return path.replace(str(world.shared.parent), "")
