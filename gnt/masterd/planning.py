"""What a job would do, without doing it: the same operations on the durable model, with real observation.

Nothing is locked and nothing is changed, so it holds for the moment at which it is asked. Each opcode is planned as if
it were the first of its job. Stages are planned one after the other until one asks something of nodes; of those after
it only what is said about them is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.logger import Logger

from gnt.masterd.looking import Looking, Resolver, Rows
from gnt.masterd.operation import Fresh, NotYet, operation_for
from gnt.masterd.plan_text import LockText, StepText, after_plan, lock_texts, nodes_of, step_texts
from gnt.masterd.settling import Calls
from gnt.model.cluster import Cluster
from gnt.model.errors import INTERNAL, Failed, GntError
from gnt.opcodes.base import Opcode


class Snapshots(Protocol):
    """Where the configuration is read: the journal."""

    @property
    def cluster(self) -> Cluster:
        """Give the cluster as a majority of the voters has it on disk."""


class Planner:
    """Plans opcodes that nobody has submitted."""

    def __init__(self, snapshots: Snapshots, rows: Rows, calls: Calls, resolver: Resolver, fresh: Fresh) -> None:
        self._snapshots = snapshots
        self._rows = rows
        self._calls = calls
        self._resolver = resolver
        self._fresh = fresh
        self._log = Logger()

    async def plan(self, ops: Sequence[Opcode]) -> list[dict[str, Any]]:
        """Say of each opcode which locks it takes, which nodes it touches and what its steps are.

        `{"summary", "locks": [{"level", "name", "mode"}], "nodes": [name], "steps": [{"number", "kind", "node", "call",
        "text"}], "notes": [text], "then": [text], "refused"}`; `refused` is null, or `{"code", "text", "hint"}`.
        """
        return [await self._plan(op) for op in ops]

    async def _plan(self, op: Opcode) -> dict[str, Any]:
        notes: list[str] = []
        locks: list[LockText] = []
        steps: list[StepText] = []
        then: list[str] = []
        refused: GntError | None = None
        cluster = self._snapshots.cluster
        try:
            operation = operation_for(op, self._fresh)
            locks = lock_texts(operation.locks(cluster), cluster)
            stages = list(operation.stages())
            look = Looking(self._calls, self._rows, cluster, self._resolver, notes.append)
            known: Cluster | None = cluster
            while stages and known is not None:
                stage = stages.pop(0)
                look.cluster = known
                seen = await stage.observe(known, look)
                plan = stage.plan(known, seen)
                steps += step_texts(plan, known, steps[-1].number + 1 if steps else 1)
                then += [f"a job of its own: {', '.join(op.summary() for op in job)}" for job in plan.jobs]
                known = after_plan(plan, known)
            then += [stage.about or "more, which depends on what the steps before answer" for stage in stages]
        except NotYet as missing:
            then += missing.then
        except GntError as error:
            refused = error
        except Exception as error:  # noqa: BLE001  (a fault of ours: it is told as the job would tell it)
            self._log.failure("planning {op} failed unexpectedly", op=op.summary())
            refused = Failed(f"unexpected error: {type(error).__name__}: {error}", code=INTERNAL)
        return {
            "summary": op.summary(),
            "locks": locks,
            "nodes": nodes_of(steps),
            "steps": steps,
            "notes": notes,
            "then": then,
            "refused": None if refused is None else {"code": refused.code, "text": refused.text, "hint": refused.hint},
        }
