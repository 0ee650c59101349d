"""What stands in for rules, the watcher's pause and plans behind LUXI."""

from __future__ import annotations

import json
from typing import Any

from gnt.model.errors import UNKNOWN_ENTITY, Refused


class FakeRules:
    """Takes rules, pauses and opcodes to plan, and gives back what it was given."""

    async def replace(self, uuid: str | None, priority: Any, predicates: Any, action: Any, reason: Any) -> str:
        """Answer what was asked."""
        return json.dumps([uuid, priority, predicates, action, reason])

    async def delete(self, uuid: str) -> None:
        """Know no rule."""
        raise Refused(UNKNOWN_ENTITY, f"There is no filter {uuid}")

    async def set(self, until: float | None) -> float | None:
        """Answer what was asked."""
        return until

    async def plan(self, ops: Any) -> Any:
        """Name the opcodes."""
        return [op.summary() for op in ops]
