"""Which instances a command is about: by name, by node, by tag, or all (`spec/cli.md`, section 5.6)."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.failures import Declined
from gnt.cli.filters import Filter, any_value
from gnt.cli.lists import query_objects
from gnt.cli.terminal import confirm_many, note
from gnt.model.errors import WRONG_INPUT, Refused

_SIDES: Final = {
    "node": ("pinst_list", "sinst_list"),
    "primary": ("pinst_list",),
    "secondary": ("sinst_list",),
    "node-tags": ("pinst_list", "sinst_list"),
    "pri-node-tags": ("pinst_list",),
    "sec-node-tags": ("sinst_list",),
}


def selected_instances(call: Call, verb: str) -> list[str]:
    """Give the names of the instances that are meant, after the question that several of them ask for.

    An empty list means that there is nothing to do and this was said. Raises `Refused`, `Declined`.
    """
    mode = call.option("select", "instance")
    words = call.arguments
    if mode == "all" and words:
        raise Refused(WRONG_INPUT, "--all means every instance and takes no names")
    if mode != "all" and not words:
        kind = "tag" if mode.endswith("tags") else "instance" if mode == "instance" else "node"
        raise Refused(WRONG_INPUT, f"no {kind} is named", hint=f"gnt-instance {call.command.name} --help")
    names = _named(call, mode, words)
    if not names:
        if mode == "all":
            note("There are no instances.")
            return []
        raise Refused(WRONG_INPUT, "the selection holds no instance")
    several = mode != "instance" or len(names) > 1
    asks = several and not call.option("force_multiple") and not call.option("plan")
    if asks and not confirm_many(names, kind="instances", verb=verb):
        raise Declined(verb, hint="--force-multiple asks no question")
    return names


def _named(call: Call, mode: str, words: list[str]) -> list[str]:
    match mode:
        case "all":
            return [row["name"] for row in query_objects(call, "instance", ["name"])]
        case "instance":
            # Asked for without globs: each word is one name, and one that is not there is an error.
            rows = query_objects(call, "instance", ["name"], also=any_value("name", words))
            return [row["name"] for row in rows]
        case "tags":
            rows = query_objects(call, "instance", ["name"], also=_any_tag(words))
            return [row["name"] for row in rows]
    also = _any_tag(words) if mode.endswith("tags") else any_value("name", words)
    sides = _SIDES[mode]
    found: dict[str, Any] = {}
    for row in query_objects(call, "node", list(sides), also=also):
        for side in sides:
            found.update(dict.fromkeys(row[side] or []))
    return list(found)


def _any_tag(tags: list[str]) -> Filter:
    return ["|", *(["=[]", "tags", tag] for tag in tags)]
