"""What must hold, found out past the code that is checked: from the files that the daemons leave, and from answers.

Each checker gives lines about what is wrong; none: all is well. `check` is for a cluster that has come to rest.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster
from gnt.model.objects import AdminState
from gnt.sim.client import FINAL, Client
from gnt.sim.machine import SimNode
from gnt.sim.world import SimWorld
from gnt.store.changes import Change, Entry, Put, Space
from gnt.store.job_parts import OP
from gnt.store.reading import Reader

RUNNING: Final = frozenset({"running", "paused"})
PENDING: Final = frozenset({"queued"})
UNFINISHED: Final = frozenset({"queued", "waiting", "canceling", "running"})
LEGAL: Final[Mapping[str, frozenset[str]]] = {
    "queued": frozenset({"queued", "waiting", "canceling", "running", "success", "error", "canceled"}),
    "waiting": frozenset({"queued", "waiting", "canceling", "running", "success", "error", "canceled"}),
    "canceling": frozenset({"canceling", "canceled", "error", "queued"}),
    "running": frozenset({"running", "waiting", "success", "error", "queued"}),
    "success": frozenset({"success"}),
    "error": frozenset({"error"}),
    "canceled": frozenset({"canceled"}),
}
"""Which status of an opcode a later commit may show; commits pass over states that were not stored."""


def check(client: Client) -> list[str]:
    """Check everything in a cluster at rest, all of whose machines are on."""
    world = client.world
    node = master_node(world)
    problems = [*world.problems, *world.witness.problems]
    if node is None:
        return [*problems, "there is no master"]
    with _store(node) as store:
        cluster = store.load_cluster()
        problems += check_jobs(store)
        problems += check_open(store)
        problems += check_instances(world, cluster, excused(client))
        problems += check_copies(world, store, cluster)
        problems += check_trust(world, cluster)
    problems += check_acknowledged(client)
    problems += check_locks(client)
    problems += check_scripts(world)
    for each in world.nodes.values():
        problems += check_call_table(each)
    return problems


def master_node(world: SimWorld) -> SimNode | None:
    """Give the machine whose master daemon serves."""
    return next((node for node in world.nodes.values() if node.masterd is not None and node.masterd.up), None)


def cluster_of(world: SimWorld) -> Cluster:
    """Give the cluster as it stands on the master's disk."""
    node = master_node(world)
    assert node is not None, "there is no master"  # noqa: S101
    with _store(node) as store:
        return store.load_cluster()


# I2: what was acknowledged is found


def check_acknowledged(client: Client) -> list[str]:
    """Every job that was accepted is known, and ends as its client saw it end."""
    rows = client.look("QueryJobs", None, ["id", "status", "opresult"])
    known = {number: (status, results) for number, status, results in rows}
    lost = [number for number in client.acknowledged if number not in known]
    problems = [f"job {number} was accepted and is not known any more" for number in lost]
    for number, end in client.ends.items():
        if known.get(number) != (end.status, end.results):
            problems.append(f"job {number} ended in {end.status} and is now {known.get(number)}")
    for number, (status, _) in known.items():
        if status not in FINAL:
            problems.append(f"job {number} is {status} and should be over")
    return problems


def check_durable(world: SimWorld, number: int, *, final: bool) -> list[str]:
    """At the moment of an acknowledgement: a majority of the voters has the job on disk, and its end if it ended."""
    cluster = cluster_of(world)
    voting = sorted(cluster.nodes[uuid].name for uuid in voters(cluster))
    having = [name for name in voting if _has_job(world.nodes[name], number, final=final)]
    if len(having) > len(voting) // 2:
        return []
    what = "end of job" if final else "job"
    return [f"{what} {number} was acknowledged, and of {', '.join(voting)} only {having} had it on disk"]


def _has_job(node: SimNode, number: int, *, final: bool) -> bool:
    if not node.layout.config_db.exists():
        return False
    with _store(node) as store:
        value = store.get(Space.JOB, str(number))
    if value is None:
        return False
    return not final or msgspec.json.decode(value).get("end_timestamp") is not None


# I4: who holds what


def check_locks(client: Client) -> list[str]:
    """Nothing runs, so nothing is locked."""
    rows = client.look("QueryLocks", ["name", "mode", "owner", "pending"], False)
    return [f"lock {name} is held by {owner or pending} though nothing runs" for name, _, owner, pending in rows]


# I5: jobs as the log tells of them


def check_jobs(store: Reader) -> list[str]:
    """No job ever went a way that jobs do not go."""
    problems: list[str] = []
    seen: dict[str, list[str]] = {}
    for entry in _entries(store):
        for change in entry.changes:
            found = _statuses(change, seen)
            if found is not None:
                job, now = found
                problems += _check_serial(job, now)
                problems += _check_way(job, seen.get(job, now), now)
                seen[job] = now
    return problems


def _statuses(change: Change, seen: Mapping[str, list[str]]) -> tuple[str, list[str]] | None:
    """Give a job and the statuses of its opcodes after a change; None if that is none of a job we have seen."""
    if not isinstance(change, Put):
        return None
    if change.space is Space.JOB:
        return change.key, [op["status"] for op in msgspec.json.decode(change.value)["ops"]]
    job, _, part = change.key.partition("/")
    if change.space is not Space.PART or not part.startswith(OP) or job not in seen:
        return None
    now = list(seen[job])
    now[int(part.removeprefix(OP))] = msgspec.json.decode(change.value)["status"]
    return job, now


def _check_serial(job: str, ops: list[str]) -> Iterator[str]:
    """Only one opcode is under way; those before it have succeeded, those after it wait or ended with it."""
    rest = [status for index, status in enumerate(ops) if "success" not in ops[index : index + 1]]
    if "success" in ops[len(ops) - len(rest) :]:
        yield f"job {job}: an opcode succeeded after one that did not: {ops}"
    if rest and rest[0] in UNFINISHED and any(status not in PENDING for status in rest[1:]):
        yield f"job {job}: opcodes are not one after the other: {ops}"


def _check_way(job: str, before: list[str], now: list[str]) -> Iterator[str]:
    for index, (old, new) in enumerate(zip(before, now, strict=True)):
        if new not in LEGAL[old]:
            yield f"job {job}: opcode {index} went from {old} to {new}"


# I6: nothing is left half-way


def check_open(store: Reader) -> list[str]:
    """Nothing is open, and with all nodes there nobody owes anything."""
    problems = [f"still to be undone: {key}" for key, _ in store.rows(Space.UNDO)]
    problems += [f"still owed: {key} {value.decode()[:200]}" for key, value in store.rows(Space.DEBT)]
    problems += [f"a secret is left: {key}" for key, _ in store.rows(Space.SECRET)]
    return problems


def excused(client: Client) -> set[str]:
    """Give the instances that need not run though they should: the last job about them was cut off."""
    last: dict[str, bool] = {}
    for number in sorted(client.ends):
        for op in client.asked.get(number, ()):
            if "instance_name" in op:
                last[op["instance_name"]] = client.ends[number].good
    return {name for name, good in last.items() if not good}


def check_instances(world: SimWorld, cluster: Cluster, excused: set[str]) -> list[str]:
    """Each instance is there with all that is its own, and nothing is there without one.

    A guest that could not be started is wanted up and is down, which is for the watcher to mend.
    """
    problems: list[str] = []
    expected_files: set[str] = set()
    expected_guests: dict[str, set[str]] = {name: set() for name in world.nodes}
    owned = {uuid for instance in cluster.instances.values() for uuid in instance.disks}
    problems += [f"disk {uuid} belongs to nobody" for uuid in cluster.disks if uuid not in owned]
    for instance in cluster.instances.values():
        if instance.forthcoming or any(cluster.disks[uuid].forthcoming for uuid in instance.disks):
            problems.append(f"{instance.name} is reserved and nobody makes it")
        expected_files |= {str(cluster.disks[uuid].logical_id[1]) for uuid in instance.disks}
        primary = cluster.nodes[instance.primary_node].name
        if instance.admin_state is AdminState.UP and not world.power_has_failed:
            expected_guests[primary].add(instance.name)
    found_files = {str(path) for path in _disk_files(world.shared)}
    problems += [f"no file {_short(world, path)}" for path in sorted(expected_files - found_files)]
    problems += [f"a file without an owner: {_short(world, path)}" for path in sorted(found_files - expected_files)]
    problems += [f"a mark without a file: {path.name}" for path in _lonely_marks(world.shared)]
    problems += [f"an empty directory is left: {path.name}" for path in _empty_directories(world.shared)]
    for name, node in world.nodes.items():
        running = {guest.name for guest in world.guests(node) if guest.state in RUNNING}
        wanted = expected_guests[name]
        problems += [f"{guest} should run on {name}" for guest in sorted(wanted - running - excused)]
        if not world.power_has_failed:
            problems += [f"{guest} runs on {name} and should not" for guest in sorted(running - wanted)]
        problems += _check_links(node, cluster)
        problems += _check_arrivals(node)
    return problems


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
    directory = node.layout.run / "fake-hypervisor/incoming"
    for note in sorted(directory.iterdir()) if directory.is_dir() else ():
        yield f"{node.name} still waits for the arrival of {note.name}"


def check_call_table(node: SimNode) -> list[str]:
    """No call stands as under way on a node."""
    if not node.layout.calls_db.exists():
        return []
    with contextlib.closing(sqlite3.connect(node.layout.calls_db)) as connection:
        left = connection.execute("SELECT id, tag FROM calls WHERE state = 'started'").fetchall()
    return [f"call {call} ({tag}) stands as under way on {node.name}" for call, tag in left]


# I7: each call has one effect


def check_scripts(world: SimWorld) -> list[str]:
    """No script ran twice for one call, however often the call came."""
    problems = []
    for name, runs in world.script_runs.items():
        twice = sorted({call for call in runs if runs.count(call) > 1})
        problems += [f"{name} ran the script of call {call} {runs.count(call)} times" for call in twice]
    return problems


# Replication and trust


def check_copies(world: SimWorld, store: Reader, cluster: Cluster) -> list[str]:
    """Every candidate has what the master has, and knows that it is committed.

    The master writes down how far that is with its next entry only.
    """
    problems: list[str] = []
    master = cluster.master.name
    wanted = _contents(store)
    voting = {cluster.nodes[uuid].name for uuid in voters(cluster)}
    for name, node in world.nodes.items():
        if name not in voting or name == master:
            continue
        if not node.layout.config_db.exists():
            problems.append(f"{name} votes and has no store")
            continue
        with _store(node) as copy:
            if copy.log_end() != store.log_end() or copy.state().committed != store.log_end().serial:
                where = f"{copy.log_end().serial}, committed {copy.state().committed}"
                problems.append(f"{name} has the log up to {where}, not {store.log_end().serial}")
            elif _contents(copy) != wanted:
                problems.append(f"{name} has the whole log and another content")
    return problems


def check_trust(world: SimWorld, cluster: Cluster) -> list[str]:
    """Only candidates have the authority's key; every member knows who they are."""
    problems: list[str] = []
    voting = {cluster.nodes[uuid].name for uuid in voters(cluster)}
    certificates = {uuid: cluster.settings.candidate_certs.get(uuid) for uuid in voters(cluster)}
    for name, node in world.nodes.items():
        has_key, known = node.layout.authority_key.exists(), cluster.nodes.by_name(name) is not None
        # A node that was away when it was removed has heard nothing of that.
        if has_key != (name in voting) and (known or not world.fell()):
            problems.append(f"{name} {'has' if has_key else 'lacks'} the authority's key")
        if not known or node.noded is None:
            continue
        member = node.noded.daemon.membership.current
        if member is None or dict(member.candidates) != certificates:
            problems.append(f"{name} does not know who the candidates are")
    return problems


# Reading


@contextlib.contextmanager
def _store(node: SimNode) -> Iterator[Reader]:
    reader = Reader.open(node.layout.config_db)
    try:
        yield reader
    finally:
        reader.close()


def _entries(store: Reader) -> Iterable[Entry]:
    return store.entries_after(store.state().base, 1 << 40) or ()


def _contents(store: Reader) -> dict[str, Any]:
    spaces = [space for space in Space if space is not Space.JOB]
    rows: dict[str, Any] = {space.value: store.rows(space) for space in spaces}
    rows["job"] = [(row.id, row.value) for live in (True, False) for row in store.jobs(live=live)]
    return rows


def _disk_files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]


def _lonely_marks(directory: Path) -> list[Path]:
    marks = [path for path in directory.rglob(".*.gnt") if path.is_file()]
    return [mark for mark in marks if not (mark.parent / mark.name[1:].removesuffix(".gnt")).exists()]


def _empty_directories(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.rglob("*")) if path.is_dir() and not any(path.iterdir())]


def _short(world: SimWorld, path: str) -> str:
    return path.replace(str(world.shared), "shared")
