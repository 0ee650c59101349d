"""The list and list-fields commands of every kind of object."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from typing import Any

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command
from gnt.cli.filters import Convert, Filter, every, make_filter
from gnt.cli.options import FIELDS_TABLE
from gnt.cli.tables import print_rows, show_list, unknown_status, wanted_fields
from gnt.wire.luxi_client import FieldDefinition

_KINDS = {
    "text": "Text",
    "bool": "Boolean",
    "number": "Number",
    "float": "Floating-point number",
    "unit": "Storage size",
    "timestamp": "Timestamp",
    "other": "Custom",
    "unknown": "(unknown)",
}


def list_objects(
    call: Call,
    what: str,
    default: Sequence[str],
    *,
    name_field: str = "name",
    convert: Convert = str,
    also: Filter | None = None,
    extra: Sequence[str] = (),
    named: str = "",
) -> int:
    """Do what a list command does. `also` is a filter beside that of the arguments, `extra` are added fields.

    `named` says which fields there are, where the program has no list-fields.
    """
    wanted = make_filter(call.arguments, name_field=name_field, convert=convert, force=bool(call.option("filter")))
    fields = wanted_fields(call, default)
    with _no_collector():
        return show_list(call, call.client.query(what, [*fields, *extra], every(wanted, also)), named)


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the collector of cycles away: a long list is many small objects without any, which it would go through."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def query_objects(
    call: Call, what: str, fields: Sequence[str], names: Sequence[str] = (), also: Filter | None = None
) -> list[dict[str, Any]]:
    """Give fields of objects by name; values that are not there are None. Raises what the master answers."""
    answer = call.client.query(what, fields, every(make_filter(names) if names else None, also))
    return [
        {field: cell[1] if cell[0] == 0 else None for field, cell in zip(fields, row, strict=True)}
        for row in answer.data
    ]


def fields_command(program: str, what: str) -> Command:
    """Make the list-fields command of a program for a kind of object."""
    return Command(
        name="list-fields",
        help="show which fields a list can have",
        run=lambda call: _list_fields(call, what),
        options=FIELDS_TABLE,
        arguments=(Argument("field", 0, None, kind="field"),),
        examples=(f"{program} list-fields",),
    )


def _list_fields(call: Call, what: str) -> int:
    found = call.client.query_fields(what, call.arguments or None)
    unknown = [field.name for field in found if field.kind == "unknown"]
    found = [field for field in found if field.kind != "unknown"]
    if call.json:
        call.print_json(
            [{"name": field.name, "kind": field.kind, "title": field.title, "doc": field.doc} for field in found]
        )
    else:
        _print_fields(call, found)
    return unknown_status(call, unknown)


def _print_fields(call: Call, found: Sequence[FieldDefinition]) -> None:
    rows = [(field.name, _KINDS.get(field.kind, field.kind), field.title, field.doc) for field in found]
    titles = None if call.option("no_headers") else ("Name", "Type", "Title", "Description")
    print_rows(rows, titles=titles, right=(False,) * 4, separator=call.option("separator"))
