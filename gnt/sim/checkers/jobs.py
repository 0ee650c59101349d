"""Jobs: what was acknowledged is found (I2), they go the ways that jobs go (I5), nothing of them is left open (I6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster
from gnt.model.epoch import START, Position
from gnt.sim.checkers.reading import store_of, voting_of
from gnt.sim.machine import SimNode
from gnt.sim.world import SimWorld
from gnt.store.changes import Change, Put, Space
from gnt.store.job_parts import OP
from gnt.store.reading import Reader

if TYPE_CHECKING:
    from gnt.sim.client import Client

FINAL: Final = frozenset({"success", "error", "canceled"})
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


class _End(msgspec.Struct):
    """When a job ended, of its row."""

    end_timestamp: Any = None


_END: Final = msgspec.json.Decoder(_End).decode

ON_ITS_WAY: Final = 0.05
"""Seconds in which what the master writes is on its disk."""


# I2: what was acknowledged is found


def check_acknowledged(client: Client) -> list[str]:
    """Every job that was accepted is known, and ends as its client saw it end."""
    rows = client.look("QueryJobs", None, ["id", "status", "opresult", "archived"])
    known = {number: (status, results) for number, status, results, _ in rows}
    lost = [number for number in client.acknowledged if number not in known]
    problems = [f"job {number} was accepted and is not known any more" for number in lost]
    for number, end in client.ends.items():
        if number in known and known[number] != (end.status, end.results):
            problems.append(f"job {number} ended in {end.status} and is now {known[number]}")
    for number, (status, _) in known.items():
        if status not in FINAL:
            problems.append(f"job {number} is {status} and should be over")
    return problems


def check_durable(world: SimWorld, number: int, *, final: bool) -> list[str]:
    """At the moment of an acknowledgement: a majority of the voters has the job on disk, and its end if it ended."""
    voting = voting_of(world)
    having = [name for name in voting if _has_job(world.nodes[name], number, final=final)]
    if len(having) > len(voting) // 2:
        return []
    # Who is struck off counts no more from the moment that this is in the master's log, on its way to the disk.
    world.clock.run_for(ON_ITS_WAY)
    moved = voting_of(world)
    if moved != voting and len(set(having) & set(moved)) > len(moved) // 2:
        return []
    # Who is struck off by an entry that no majority has yet counts for what stands before that, which is all it has.
    before = _committed_voters(world)
    having = [name for name in before if _has_job(world.nodes[name], number, final=final)]
    if before != voting and len(having) > len(before) // 2:
        return []
    what = "end of job" if final else "job"
    return [f"{what} {number} was acknowledged, and of {', '.join(voting)} only {having} had it on disk"]


def _committed_voters(world: SimWorld) -> list[str]:
    """Give the names of those who vote, as the master believes a majority to have it on disk."""
    life = world.master()
    cluster = life.daemon.cluster if life is not None else None
    return [] if cluster is None else sorted(cluster.nodes[uuid].name for uuid in voters(cluster))


def _has_job(node: SimNode, number: int, *, final: bool) -> bool:
    if not node.layout.config_db.exists():
        return False
    with store_of(node) as store:
        value = store.get(Space.JOB, str(number))
    if value is None:
        return False
    return not final or _END(value).end_timestamp is not None


# I5: jobs as the log tells of them


class JobsLog:
    """Reads the master's log from check to check. `order` has the jobs that have ended, in the order of the log."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self._read = START
        self._seen: dict[str, list[str]] = {}

    def check(self, store: Reader) -> list[str]:
        """Give what is wrong in what is new: no job ever goes a way that jobs do not go, or begins to a second time."""
        problems: list[str] = []
        known = self._read == START or store.position_at(self._read.serial) == self._read
        after: Position = self._read if known else store.state().base
        if not known:
            # Another log than the one that was read, by an administrator's order; or the part that was read is gone.
            self._seen = {}
        entries = store.entries_after(after, 1 << 40)
        for entry in store.entries_after(store.state().base, 1 << 40) or () if entries is None else entries:
            for change in entry.changes:
                found = self._statuses(change)
                if found is not None:
                    problems += self._put(*found)
        self._read = store.log_end()
        return problems

    def _statuses(self, change: Change) -> tuple[str, list[str]] | None:
        """Give a job and the statuses of its opcodes after a change; None if that is none of a job we have seen."""
        if not isinstance(change, Put):
            return None
        if change.space is Space.JOB:
            return change.key, [op["status"] for op in msgspec.json.decode(change.value)["ops"]]
        job, _, part = change.key.partition("/")
        if change.space is not Space.PART or not part.startswith(OP) or job not in self._seen:
            return None
        now = list(self._seen[job])
        now[int(part.removeprefix(OP))] = msgspec.json.decode(change.value)["status"]
        return job, now

    def _put(self, number: str, now: list[str]) -> list[str]:
        before = self._seen.get(number, now)
        problems = [*_check_serial(number, now), *_check_way(number, before, now)]
        if (set(now) <= FINAL or "error" in now or "canceled" in now) and int(number) not in self.order:
            self.order.append(int(number))
        self._seen[number] = now
        return problems


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


def check_open(store: Reader, cluster: Cluster) -> list[str]:
    """Nothing is open, and with all nodes there nobody owes anything."""
    problems = [f"still to be undone: {key}" for key, _ in store.rows(Space.UNDO)]
    problems += [f"still owed: {key} {value.decode()[:200]}" for key, value in store.rows(Space.DEBT)]
    kept = {f"object/disk/{uuid}" for uuid in cluster.disks}
    problems += [f"a secret is left: {key}" for key, _ in store.rows(Space.SECRET) if key not in kept]
    return problems
