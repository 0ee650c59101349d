"""Rules about which jobs may run."""

from __future__ import annotations

from typing import Any, Final

from gnt.model.errors import GntError
from gnt.rapi import body
from gnt.rapi.errors import bad_request
from gnt.rapi.resources.base import Call, changes, reads, rows, shows

FIELDS: Final = ("uuid", "watermark", "priority", "predicates", "action", "reason_trail")
_DEFAULTS: Final[dict[str, Any]] = {"priority": 0, "predicates": [], "action": "CONTINUE", "reason": []}


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
    given = body.as_object(call.body)
    for name in sorted(given.keys() - _DEFAULTS.keys()):
        raise bad_request(f"Invalid body parameters: $.{name[:80]}: no such parameter")
    wanted = {**_DEFAULTS, **given}
    if not isinstance(wanted["reason"], list):
        raise bad_request("Invalid body parameters: $.reason: expected a list")
    reason = [*wanted["reason"], *call.reason()]
    return await call.master.change(
        "ReplaceFilter", uuid, wanted["priority"], wanted["predicates"], wanted["action"], reason
    )


async def delete(call: Call) -> None:
    """Remove a rule."""
    await call.master.change("DeleteFilter", call.names["uuid"])


ROWS: Final = (
    shows("/2/filters", filters),
    changes("POST", "/2/filters", add),
    reads("/2/filters/[uuid]", one),
    changes("PUT", "/2/filters/[uuid]", replace),
    changes("DELETE", "/2/filters/[uuid]", delete),
)
