"""gnt-os: the guest OS definitions that the nodes have."""

from __future__ import annotations

from typing import Any, Final

from gnt.cli.asking_nodes import os_definitions
from gnt.cli.call import Call
from gnt.cli.cluster_modify import MODIFY_OS
from gnt.cli.command import Argument, Command, Program
from gnt.cli.failures import FAILURE, OK
from gnt.cli.list_commands import LISTS
from gnt.cli.options import PRIORITY
from gnt.cli.terminal import note, say

_DIAGNOSE_FIELDS: Final = ("name", "valid", "variants", "node_status", "hidden", "blacklisted")


def _diagnose(call: Call) -> int:
    found = os_definitions(call, _DIAGNOSE_FIELDS)
    if call.json:
        call.print_json(found)
    else:
        for definition in found:
            _show(definition)
    return OK if all(definition["valid"] for definition in found) else FAILURE


def _show(definition: dict[str, Any]) -> None:
    status: dict[str, list[list[Any]]] = definition["node_status"]
    good = {node: each for node, each in status.items() if each and each[0][1]}
    bad = {node: each for node, each in status.items() if node not in good}
    word = "valid" if definition["valid"] else "partial valid" if good else "invalid"
    marks = "".join(f" [{mark}]" for mark in ("hidden", "blacklisted") if definition[mark])
    say(f"OS: {definition['name']} [global status: {word}]{marks}")
    for node, each in [*good.items(), *bad.items()]:
        if not each:
            say(f"  Node: {node}, status: OS not found")
            continue
        first, *others = each
        say(f"  Node: {node}, status: {_status(first)} (path: {first[0]}){_details(first) if first[1] else ''}")
        for other in others:
            say(f"    [hidden] path: {other[0]}, status: {_status(other)}")
    say("")


_INFO_FIELDS: Final = ("name", "valid", "hidden", "blacklisted", "api_versions", "variants", "parameters", "trusted")


def _info(call: Call) -> int:
    found = {one["name"]: one for one in os_definitions(call, _INFO_FIELDS)}
    missing = [name for name in call.arguments if name not in found]
    chosen = [found[name] for name in call.arguments if name in found] if call.arguments else list(found.values())
    if call.json:
        call.print_json(chosen)
    else:
        for definition in chosen:
            _describe(definition)
    for name in missing:
        note(f"Failure: guest OS {name} is on no node")
    return FAILURE if missing else OK


def _describe(definition: dict[str, Any]) -> None:
    say(f"{definition['name']}:")
    for key in ("valid", "hidden", "blacklisted"):
        say(f"  - {key}: {definition[key]}")
    if definition["valid"]:
        lists = {
            "API versions": sorted(definition["api_versions"]),
            "variants": definition["variants"],
            "parameters": [f"{name}: {text}" for name, text in definition["parameters"]],
        }
        for title, items in lists.items():
            say(f"  - {title}:")
            for item in items:
                say(f"    - {item}")
        say(f"  - trusted: {definition['trusted']}")
    say("")


def _status(found: list[Any]) -> str:
    return "valid" if found[1] else f"invalid - {found[2]}"


def _details(found: list[Any]) -> str:
    _, _, _, variants, parameters, versions, trusted = found
    parts = [
        f"API versions: {', '.join(map(str, sorted(versions)))}",
        f"variants: {', '.join(variants)}" if variants else "no variants",
        f"parameters: {', '.join(name for name, _ in parameters)}" if parameters else "no parameters",
        "trusted" if trusted else "untrusted",
    ]
    return "".join(f" [{part}]" for part in parts)


PROGRAM = Program(
    name="gnt-os",
    help="see the guest OS definitions that the nodes have",
    commands=(
        *LISTS["gnt-os"],
        Command(
            name="diagnose",
            help="say for each guest OS definition what each node makes of it",
            run=_diagnose,
            options=(PRIORITY,),
            text="The exit status is 1 if one of them is not usable on every node.",
            examples=("gnt-os diagnose",),
        ),
        Command(
            name="info",
            help="show guest OS definitions: versions, variants, parameters",
            run=_info,
            options=(PRIORITY,),
            arguments=(Argument("os", 0, None, kind="os"),),
            aliases=("show",),
            text="With --json: a list of objects, one for each definition.",
            examples=("gnt-os info debootstrap",),
        ),
        MODIFY_OS,
    ),
)
