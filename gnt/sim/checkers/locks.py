"""Locks (I4): never two who exclude each other, none for a job that is over, none when nothing runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnt.sim.checkers.jobs import FINAL

if TYPE_CHECKING:
    from gnt.sim.client import Client

_FIELDS = ["name", "mode", "owner", "pending"]


def check_free(client: Client) -> list[str]:
    """Nothing runs, so nothing is locked."""
    rows = client.look("QueryLocks", _FIELDS, False)
    return [f"lock {name} is held by {owner or pending} though nothing runs" for name, _, owner, pending in rows]


def check_holders(client: Client) -> list[str]:
    """Whatever runs: who holds a lock alone is alone, and who holds one has not ended."""
    over = {number for number, status in client.look("QueryJobs", None, ["id", "status"]) if status in FINAL}
    rows = client.look("QueryLocks", _FIELDS, False)
    problems = []
    for name, mode, owners, _ in rows:
        if mode == "exclusive" and len(owners or ()) > 1:
            problems.append(f"lock {name} is held exclusively by {owners}")
        ended = [owner for owner in owners or () if _job(owner) in over]
        problems += [f"lock {name} is held by {owner}, which is over" for owner in ended]
    return problems


def _job(owner: str) -> int:
    digits = owner.partition("/")[0].removeprefix("Job")
    return int(digits) if digits.isdecimal() else 0
