"""gnt-storage: the external storage providers that the nodes have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program
from gnt.cli.failures import FAILURE, OK
from gnt.cli.jobs import run
from gnt.cli.options import PRIORITY
from gnt.cli.terminal import say

DIAGNOSE: Final = "OP_EXT_STORAGE_DIAGNOSE"
_DIAGNOSE_FIELDS: Final = ("name", "node_status", "nodegroup_status")
_INFO_FIELDS: Final = ("name", "nodegroup_status", "parameters")


def _providers(call: Call, fields: tuple[str, ...], names: list[str]) -> list[dict[str, Any]]:
    ended = run(call, call.opcode(DIAGNOSE, output_fields=fields, names=names))
    rows: list[list[Any]] = ended.result if ended is not None else []
    return [dict(zip(fields, row, strict=True)) for row in rows]


def _diagnose(call: Call) -> int:
    found = _providers(call, _DIAGNOSE_FIELDS, [])
    if call.json:
        call.print_json(found)
        return OK
    for provider in found:
        for line in _diagnosed(provider):
            say(line)
    return OK


def _diagnosed(provider: dict[str, Any]) -> Iterator[str]:
    yield f"Provider: {provider['name']}"
    yield "---"
    for node, found in provider["node_status"].items():
        if not found:
            yield f"  Node: {node}, status: not found"
            continue
        for path, valid, problem, parameters in found:
            status = "valid" if valid else f"invalid - {problem}"
            names = ", ".join(name for name, _ in parameters)
            takes = f" [parameters: {names}]" if names else " [no parameters]"
            yield f"  Node: {node}, status: {status} (path: {path}){takes if valid else ''}"
    yield "  --"
    for group, valid in provider["nodegroup_status"].items():
        yield f"  For nodegroup: {group} --> {'valid' if valid else 'invalid'}"
    yield ""


def _info(call: Call) -> int:
    found = {each["name"]: each for each in _providers(call, _INFO_FIELDS, call.arguments)}
    if call.json:
        call.print_json(list(found.values()))
    else:
        for name in call.arguments or found:
            for line in _described(name, found.get(name)):
                say(line)
    return OK if all(name in found for name in call.arguments) else FAILURE


def _described(name: str, provider: dict[str, Any] | None) -> Iterator[str]:
    if provider is None:
        yield f"{name}: Not Found"
        return
    yield f"{name}:"
    groups = [group for group, valid in provider["nodegroup_status"].items() if valid]
    if not groups:
        yield "  - Invalid for all nodegroups"
        return
    yield "  - Valid for nodegroups:"
    yield from (f"      {group}" for group in groups)
    yield "  - Supported parameters:"
    yield from (f"      {parameter}: {text}" for parameter, text in provider["parameters"])


PROGRAM = Program(
    name="gnt-storage",
    help="see the external storage providers that the nodes have",
    commands=(
        Command(
            name="diagnose",
            help="say for each external storage provider what each node makes of it",
            run=_diagnose,
            options=(PRIORITY,),
            text="With --json: a list of objects, one for each provider.",
            examples=("gnt-storage diagnose",),
        ),
        Command(
            name="info",
            help="say where external storage providers can be used, and which parameters they take",
            run=_info,
            options=(PRIORITY,),
            arguments=(Argument("provider", 0, None, kind="extstorage"),),
            text="With --json: a list of objects, one for each provider that there is.",
            examples=("gnt-storage info",),
        ),
    ),
)
