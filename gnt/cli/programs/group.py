"""gnt-group: the groups that the nodes are in."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program
from gnt.cli.failures import OK
from gnt.cli.group_changes import CHANGES
from gnt.cli.list_commands import LISTS
from gnt.cli.lists import query_objects
from gnt.cli.past import AT, info_at
from gnt.cli.tags import tag_commands
from gnt.cli.tree import Pairs, show

_INFO_FIELDS: Final = (
    "name",
    "uuid",
    "alloc_policy",
    "node_list",
    "ndparams",
    "custom_ndparams",
    "diskparams",
    "custom_diskparams",
    "ipolicy",
    "custom_ipolicy",
    "tags",
)


def _info(call: Call) -> int:
    if call.option("at") is not None:
        return info_at(call, "group")
    found = query_objects(call, "group", _INFO_FIELDS, call.arguments)
    if call.json:
        call.print_json(found)
    else:
        show([described(group) for group in found])
    return OK


def described(group: dict[str, Any]) -> Pairs:
    """Give the description of a group for people; what it does not set itself is marked as a default."""
    return Pairs(
        [
            ("Node group", group["name"]),
            ("UUID", group["uuid"]),
            ("Allocation policy", group["alloc_policy"]),
            ("Nodes", list(group["node_list"] or [])),
            ("Tags", list(group["tags"] or [])),
            ("Node parameters", _overridden(group["ndparams"], group["custom_ndparams"])),
            ("Disk parameters", _each(group["diskparams"], group["custom_diskparams"])),
            ("Instance policy", _policy(group["ipolicy"], group["custom_ipolicy"])),
        ]
    )


def _overridden(filled: dict[str, Any] | None, own: dict[str, Any] | None) -> dict[str, Any]:
    """Give parameters with those marked that come from the cluster."""
    own = own or {}
    return {key: own.get(key, f"default ({value})") for key, value in (filled or {}).items()}


def _each(filled: dict[str, Any] | None, own: dict[str, Any] | None) -> dict[str, Any]:
    """Give the disk parameters of each template."""
    return {name: _overridden(values, (own or {}).get(name)) for name, values in (filled or {}).items()}


def _policy(filled: dict[str, Any], own: dict[str, Any] | None) -> Pairs:
    """Give a policy: bounds side by side, then the rest."""
    own = own or {}
    found: list[tuple[str, Any]] = []
    for number, pair in enumerate(filled.get("minmax") or ()):
        for bound in ("min", "max"):
            mark = "" if "minmax" in own else " (default)"
            found.append((f"bounds specs {number} {bound}{mark}", pair.get(bound, {})))
    for key, value in filled.items():
        if key in {"minmax", "std"}:  # a group has bounds, but no standard of its own
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        found.append((key, shown if key in own else f"default ({shown})"))
    return Pairs(found)


_LATER: Final = {"evacuate": "no allocator is run yet: gnt-node evacuate -n NODE, for each node of the group"}

PROGRAM = Program(
    name="gnt-group",
    help="make, change, list and remove the groups of nodes",
    commands=(
        *LISTS["gnt-group"],
        Command(
            name="info",
            help="show node groups with all their parameters",
            run=_info,
            options=(AT,),
            arguments=(Argument("group", 0, None, kind="group"),),
            text="With --json: a list of objects, one for each group.",
            examples=("gnt-group info rack7",),
        ),
        *CHANGES,
        *tag_commands("nodegroup", "group"),
    ),
    unsupported=_LATER,
)
