"""Fills the stores of a cluster whose daemons are stopped: many instances, many jobs that are over.

Through the store's own interface, entry by entry, on every master candidate alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gnt.masterd.jobs import job as jobs
from gnt.masterd.jobs.rows import encode_job
from gnt.model.cluster import Cluster
from gnt.model.epoch import Position
from gnt.model.objects import HypervisorName, Instance, Nic
from gnt.opcodes.instance_power import InstanceStartup
from gnt.store.changes import Archive, Change, Entry, Put, Space
from gnt.store.configuration import object_changes
from gnt.store.database import Database

AN_ENTRY = 250
"""Objects or jobs in one entry of the log."""

MEMORY = 16
"""MiB of an instance; a node of the hypervisor `fake` has 16 GiB."""

BEGAN = 1_600_000_000.0


def fill(paths: list[Path], *, instances: int = 0, archived: int = 0, ended: int = 0) -> None:
    """Add stopped instances, archived jobs, and jobs that are over and not archived, to each of the stores."""
    databases = [Database.open(path) for path in paths]
    cluster = databases[0].load_cluster()
    for changes in [*_instances(cluster, instances), *_jobs(archived, ended)]:
        end = databases[0].end
        position = Position(epoch=end.epoch, serial=end.serial + 1)
        entry = Entry(position, BEGAN, tuple(changes), (0,) * len(changes))
        for database in databases:
            assert database.append(end, [entry], committed=position.serial).stored
    for database in databases:
        database.close()


def _instances(cluster: Cluster, count: int) -> Iterator[list[Change]]:
    nodes = sorted(cluster.nodes)
    for first in range(0, count, AN_ENTRY):
        some = [_instance(number, nodes[number % len(nodes)]) for number in range(first, min(first + AN_ENTRY, count))]
        cluster, changes = object_changes(cluster, some, [], BEGAN)
        yield changes


def _instance(number: int, node: str) -> Instance:
    uuid = f"00000000-0000-4000-8000-{number:012x}"
    mac = ":".join(("aa", "00", *(f"{number >> shift & 255:02x}" for shift in (24, 16, 8, 0))))
    return Instance(
        uuid=uuid,
        name=f"instance{number}.example.com",
        primary_node=node,
        os="busybox",
        hypervisor=HypervisorName.FAKE,
        beparams={"maxmem": MEMORY, "minmem": MEMORY, "vcpus": 1},
        nics=(Nic(uuid=f"{uuid[:-12]}{number + (1 << 40):012x}", mac=mac),),
        tags=("bench",),
    )


def _jobs(archived: int, ended: int) -> Iterator[list[Change]]:
    for first in range(1, archived + ended + 1, AN_ENTRY):
        numbers = range(first, min(first + AN_ENTRY, archived + ended + 1))
        changes: list[Change] = [Put(Space.JOB, str(number), _ended(number)) for number in numbers]
        leaving = tuple(number for number in numbers if number <= archived)
        yield [*changes, *([Archive(leaving)] if leaving else ()), Put(Space.META, "last_job", b"%d" % numbers[-1])]


def _ended(number: int) -> bytes:
    """Give the row of a job that has started an instance."""
    op = InstanceStartup(instance_name=f"instance{number % 1000}.example.com", reason=[["gnt:user", "night", number]])
    job = jobs.new_job(number, [jobs.encode_input(op)[0]], [0], BEGAN)
    for change in (
        jobs.picked_up(0, BEGAN + 1),
        jobs.locked(0, BEGAN + 2, ()),
        jobs.noted(0, BEGAN + 3, "message", "starting"),
        jobs.succeeded(0, BEGAN + 4, jobs.NULL),
    ):
        job = change(job)
    return encode_job(job)
