"""Rows about open work that hold secrets.

A plan carries whole objects and calls, with private parameters of guest systems in them. A row of `Space.UNDO` or
`Space.DEBT` stays in the log, and in copies of it, long after it was removed; a row of `Space.SECRET` leaves the log
when it is removed. So where a row would hold a secret it stands there whole, and in its own place without whatever
could: only which calls are open, on which nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from gnt.masterd.plan import Undoable
from gnt.masterd.segments import Doing, OpenRow, OpenSegment, OpenStep, Segment, encode_row
from gnt.masterd.settling import Debt
from gnt.model.specs import DiskSpec, InstanceSpec
from gnt.store.changes import Put, Remove, Space
from gnt.store.secrets import has_secret
from gnt.wire.calls import NodeCall


class Rows(Protocol):
    """Where rows are read."""

    async def rows(self, space: Space, prefix: str) -> Mapping[str, bytes]:
        """Give the rows of a space whose keys begin with `prefix`."""


def undo_changes(key: str, row: OpenRow, segments: Iterable[Segment]) -> list[Put | Remove]:
    """Give the changes that write a row of `Space.UNDO`; `segments` are those that it holds."""
    stub = encode_row(_without_values(row)) if any(map(_segment_has_secret, segments)) else None
    return _written(Space.UNDO, key, encode_row(row), stub)


def debt_changes(key: str, debt: Debt) -> list[Put | Remove]:
    """Give the changes that write a row of `Space.DEBT`."""
    stub = None
    if _debt_has_secret(debt):
        bare = Debt(opcode=debt.opcode, node=debt.node, id=debt.id, text=debt.text, instances=debt.instances)
        stub = msgspec.json.encode(bare)
    return _written(Space.DEBT, key, msgspec.json.encode(debt), stub)


def removal(space: Space, key: str, *, hidden: bool) -> list[Put | Remove]:
    """Give the changes that take a row away."""
    changes: list[Put | Remove] = [Remove(space, key)]
    if hidden:
        changes.append(Remove(Space.SECRET, f"{space}/{key}"))
    return changes


async def hidden_rows(rows: Rows, space: Space, prefix: str) -> dict[str, bytes]:
    """Give those rows of a space, by their keys there, that stand whole among the secrets."""
    found = await rows.rows(Space.SECRET, f"{space}/{prefix}")
    return {key.removeprefix(f"{space}/"): value for key, value in found.items()}


def _written(space: Space, key: str, whole: bytes, stub: bytes | None) -> list[Put | Remove]:
    if stub is None:
        return [Put(space, key, whole)]
    return [Put(space, key, stub), Put(Space.SECRET, f"{space}/{key}", whole)]


def _without_values(row: OpenRow) -> OpenRow:
    """Leave of a row what a new master needs at once: which calls are open, and where."""
    segments = [
        OpenSegment(steps=[OpenStep(id=step.id, node=step.node, name=step.name) for step in segment.steps])
        for segment in row.segments
    ]
    return OpenRow(kept=row.kept, last=row.last, segments=segments)


def _segment_has_secret(segment: Segment) -> bool:
    objects = (*segment.reserve, *segment.keep, *segment.forget)
    return any(map(has_secret, objects)) or any(map(_doing_has_secret, segment.doings()))


def _doing_has_secret(doing: Doing) -> bool:
    undo = doing.step.undo if isinstance(doing.step, Undoable) else None
    return _call_has_secret(doing.do.call) or (undo is not None and _call_has_secret(undo.call))


def _debt_has_secret(debt: Debt) -> bool:
    if debt.call is not None and _call_has_secret(debt.call.call):
        return True
    for row in debt.rows:
        for segment in row.segments:
            if any(has_secret(stored.load()) for stored in (*segment.reserved, *segment.keep, *segment.forget)):
                return True
            stored_calls = (call for step in segment.steps for call in (step.undo, step.forward) if call is not None)
            if any(_call_has_secret(stored.call) for stored in stored_calls):
                return True
    return False


def _call_has_secret(call: NodeCall[Any]) -> bool:
    """Say whether a call describes something with a secret."""
    return any(_spec_has_secret(getattr(call, name)) for name in call.__struct_fields__)


def _spec_has_secret(value: Any) -> bool:
    if isinstance(value, InstanceSpec):
        return bool(value.osparams_private) or any(map(_spec_has_secret, value.disks))
    if isinstance(value, DiskSpec):
        # Only the logical id of a drbd disk has six items; the last is its secret.
        return len(value.logical_id) == 6 or any(map(_spec_has_secret, value.children))
    return False
