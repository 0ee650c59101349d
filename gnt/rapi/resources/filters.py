"""Rules about which jobs may run."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gnt.model.errors import GntError
from gnt.rapi import body
from gnt.rapi.resources.base import BULK, Call, changes, reads, rows, shows
from gnt.rapi.resources.shapes import NOTHING, STRING, listing, shape

FIELDS: Final = ("uuid", "watermark", "priority", "predicates", "action", "reason_trail")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as a body says it; what it means is for the master to check."""

    priority: int = 0
    predicates: list[Any] = []
    action: Any = "CONTINUE"
    reason: list[Any] = []


async def filters(call: Call) -> list[dict[str, Any]]:
    """Give all rules: with `bulk=1` their fields, else UUID and URI."""
    if call.query.flag("bulk"):
        return await rows(call, "filter", FIELDS)
    found = await rows(call, "filter", ["uuid"])
    return [{"uuid": row["uuid"], "uri": f"/2/filters/{row['uuid']}"} for row in found]


async def one(call: Call) -> dict[str, Any]:
    """Give one rule."""
    found = await call.master.call("QueryFilters", [call.names["uuid"]], list(FIELDS))
    try:
        (row,) = found
        return dict(zip(FIELDS, row, strict=True))
    except (TypeError, ValueError):
        raise GntError("luxi_error", "the master answered QueryFilters with something else") from None


async def add(call: Call) -> Any:
    """Make a rule and give its UUID."""
    return await _set(call, None)


async def replace(call: Call) -> Any:
    """Set a rule anew, or make it with this UUID."""
    return await _set(call, call.names["uuid"])


async def _set(call: Call, uuid: str | None) -> Any:
    given = body.as_form(call.body, Rule)
    reason = [*given.reason, *call.reason()]
    return await call.master.change("ReplaceFilter", uuid, given.priority, given.predicates, given.action, reason)


async def delete(call: Call) -> None:
    """Remove a rule."""
    await call.master.change("DeleteFilter", call.names["uuid"])


ROWS: Final = (
    shows("/2/filters", filters, query=(BULK,), gives=listing(FIELDS, "uuid")),
    changes("POST", "/2/filters", add, given=Rule, gives=STRING),
    reads("/2/filters/[uuid]", one, gives=shape(FIELDS)),
    changes("PUT", "/2/filters/[uuid]", replace, given=Rule, gives=STRING),
    changes("DELETE", "/2/filters/[uuid]", delete, gives=NOTHING),
)
