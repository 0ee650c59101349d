"""The description of the API as OpenAPI 3.1, made of the table of resources and of the opcodes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gnt import __version__
from gnt.opcodes.base import Opcode
from gnt.rapi.body import LIMIT
from gnt.rapi.errors import REALM
from gnt.rapi.resources.base import TEXT, Access, Argument, Composed, Resource, Stream, Submit
from gnt.rapi.resources.forms import DATA_VERSION, creation
from gnt.rapi.resources.shapes import JOB_ID

Schema = dict[str, Any]

OPENAPI: Final = "3.1.0"
_REFERENCE: Final = "#/components/schemas/{name}"
_PART: Final = re.compile(r"\[([a-z_]+)\]")
_NUMBERS: Final = frozenset({"job_id", "disk_index"})
# What only the API itself says of an opcode.
_HIDDEN: Final = frozenset({"OP_ID", "reason"})
_NOT_MODIFIED: Final = {"description": "What `If-None-Match` names is what there is."}
_NEEDS: Final = {
    Access.METRICS: "every user, and tokens for metrics",
    Access.OPEN: "every user",
    Access.READ: "users with `read` or `write`",
    Access.WRITE: "users with `write`",
}
_ERROR: Final[Schema] = {
    "type": "object",
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "explain": {"type": "string"},
    },
    "required": ["code", "message", "explain"],
}


def describe(rows: Sequence[Resource]) -> Schema:
    """Describe these resources."""
    opcodes = {opcode for row in rows for opcode in row.opcodes}
    given = {form for row in rows for form in (row.given, _composed_form(row)) if form is not None}
    forms = sorted(opcodes | given, key=lambda form: str(form.__name__))
    _, components = msgspec.json.schema_components(forms, ref_template=_REFERENCE)
    schemas: Schema = {**components, "Error": _ERROR}
    paths: dict[str, Schema] = {}
    for row in rows:
        path = _PART.sub(r"{\1}", row.path)
        paths.setdefault(path, {})[row.method.lower()] = _operation(row, schemas)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "gnt",
            "version": __version__,
            "description": f"`/2/` is Ganeti's remote API, `/3/` is gnt's own. Bodies have at most {LIMIT} bytes.",
        },
        "security": [{"basic": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": f"Users of the realm {REALM}."},
                "token": {"type": "http", "scheme": "bearer", "description": "Made by `gnt-cluster rapi-token`."},
            },
        },
    }


def _composed_form(row: Resource) -> Any:
    return row.does.given if isinstance(row.does, Composed) else None


def _operation(row: Resource, schemas: Schema) -> Schema:
    found: Schema = {
        "operationId": _name(row),
        "summary": _about(row),
        "parameters": [*map(_path_parameter, _PART.findall(row.path)), *map(_query_parameter, _arguments(row))],
        "responses": _responses(row),
    }
    if row.access is Access.PUBLIC:
        found["security"] = []
    else:
        found["description"] = f"For {_NEEDS[row.access]}."
    if row.opcodes:
        found["x-gnt-opcodes"] = [opcode.op_id() for opcode in row.opcodes]
    body = _body(row, schemas)
    if body is not None:
        found["requestBody"] = {
            "content": {"application/json": {"schema": body}},
            "required": bool(body.get("required")),
        }
    return found


def _name(row: Resource) -> str:
    """Give a name that no other resource has: `get_2_instances_instance_name`."""
    return re.sub(r"[^a-z0-9]+", "_", f"{row.method}{row.path}".lower()).strip("_")


def _about(row: Resource) -> str:
    described: Any = row.opcodes[-1] if isinstance(row.does, Submit) else row.does
    if isinstance(row.does, Composed):
        described = row.opcodes[0]
    return (described.__doc__ or "").strip().splitlines()[0]


def _responses(row: Resource) -> Schema:
    error = {"description": "What is wrong.", "content": {"application/json": {"schema": _reference("Error")}}}
    found: Schema = {"200": {"description": "Done."}, "default": error}
    if isinstance(row.does, Stream):
        found["200"]["content"] = {"text/event-stream": {"schema": TEXT}}
    elif row.path.endswith("/metrics"):
        found["200"]["content"] = {"text/plain": {"schema": TEXT}}
    else:
        gives = JOB_ID if isinstance(row.does, Submit | Composed) else row.gives
        found["200"]["content"] = {"application/json": {"schema": gives}}
    if row.method == "GET":
        found["304"] = _NOT_MODIFIED
    return found


def _reference(name: str) -> Schema:
    return {"$ref": _REFERENCE.format(name=name)}


# Parameters


def _arguments(row: Resource) -> list[Argument]:
    own = row.does.query if isinstance(row.does, Submit | Composed) else row.query
    return list(own)


def _path_parameter(part: str) -> Schema:
    pattern = "^[0-9]+$" if part in _NUMBERS else r"^[A-Za-z0-9_.\-]+$"
    return {"name": part, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query_parameter(argument: Argument) -> Schema:
    return {"name": argument.query, "in": "query", "required": argument.must, "schema": argument.form}


# Bodies


def _body(row: Resource, schemas: Schema) -> Schema | None:
    """Give the schema of a body, None where there is none."""
    does = row.does
    if isinstance(does, Submit):
        return _submitted(does, schemas) if does.body else None
    if isinstance(does, Composed):
        if does.given is None:
            return None
        if issubclass(does.given, Opcode):
            found = _parameters(does.given, schemas, leave=set(_PART.findall(row.path)))
            found["properties"] |= does.also
            return found
        return _reference(does.given.__name__)
    return None if row.given is None else _reference(row.given.__name__)


def _submitted(does: Submit, schemas: Schema) -> Schema:
    if does.word:
        return {"type": "string", "enum": list(does.word)}
    static = {name.removesuffix("[]") for name in does.path.values()} | does.fixed.keys()
    static |= {argument.parameter for argument in does.query}
    found = _parameters(does.opcode, schemas, static, does.renamed)
    if does.prepare is creation:
        found["properties"] = {"__version__": {"const": DATA_VERSION}, **found["properties"]}
        found["required"] = ["__version__", *found.get("required", ())]
    return found


def _parameters(
    opcode: type[Opcode], schemas: Schema, leave: set[str] | None = None, renamed: Mapping[str, str] | None = None
) -> Schema:
    """Give the schema of an opcode's parameters as a body says them: without some, and by their names there."""
    whole: Schema = schemas[opcode.__name__]
    names = {new: old for old, new in (renamed or {}).items()}
    left = _HIDDEN | (leave or set())
    shown = {name: schema for name, schema in whole["properties"].items() if name not in left}
    required = [names.get(name, name) for name in whole.get("required", ()) if name not in left]
    return {
        "type": "object",
        "properties": {names.get(name, name): schema for name, schema in shown.items()},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }
