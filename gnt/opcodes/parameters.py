"""What can be said about an opcode's parameters: options, bodies, manual pages and refusals are made from it."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from gnt.opcodes.base import PRIVATE_PARAMETERS, SECRET_PARAMETERS, Opcode


class ParameterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of an opcode.

    `type` is text for people (`int >= 0 | null`), `default` the JSON value used when it is missing (null if
    `required`), `choices` the values of an enumeration, also of one inside a list, else empty.
    """

    name: str
    type: str
    default: Any
    required: bool
    nullable: bool
    doc: str
    choices: tuple[str | int, ...] = ()
    private: bool = False
    secret: bool = False
    common: bool = False


@cache
def opcode_parameters(opcode: type[Opcode]) -> tuple[ParameterInfo, ...]:
    """Describe the parameters of an opcode in the order of their declaration, the common ones last."""
    described = inspect.type_info(opcode)
    assert isinstance(described, inspect.StructType)  # noqa: S101  (for the type checker)
    found = [_parameter(field) for field in described.fields]
    return tuple(sorted(found, key=lambda parameter: parameter.common))


def parameter_keys(opcode: type[Opcode], name: str) -> tuple[str, ...]:
    """Give the keys that the objects of a parameter may have, as far as they are an enumeration; else nothing."""
    described = inspect.type_info(opcode)
    assert isinstance(described, inspect.StructType)  # noqa: S101  (for the type checker)
    return next((_keys(field.type) for field in described.fields if field.name == name), ())


def _keys(described: inspect.Type) -> tuple[str, ...]:
    """Find the first object within a type whose keys are an enumeration."""
    plain, _ = _strip(described)
    match plain:
        case inspect.DictType(key_type=key, value_type=value):
            return tuple(map(str, _choices(key))) or _keys(value)
        case inspect.UnionType(types=types) | inspect.TupleType(item_types=types):
            return next((found for inner in types if (found := _keys(inner))), ())
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return _keys(item)
    return ()


def _parameter(field: inspect.Field) -> ParameterInfo:
    plain, doc = _strip(field.type)
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return ParameterInfo(
        name=field.name,
        type=type_text(plain),
        default=None if field.required else msgspec.json.decode(msgspec.json.encode(default)),
        required=field.required,
        nullable=isinstance(plain, inspect.UnionType) and plain.includes_none,
        doc=doc,
        choices=_choices(plain),
        private=field.name in PRIVATE_PARAMETERS,
        secret=field.name in SECRET_PARAMETERS,
        common=field.name in Opcode.__struct_fields__,
    )


def _strip(described: inspect.Type) -> tuple[inspect.Type, str]:
    """Take the documentation off a type."""
    doc = ""
    while isinstance(described, inspect.Metadata):
        doc = doc or str((described.extra_json_schema or {}).get("description", ""))
        described = described.type
    return described, doc


def type_text(described: inspect.Type) -> str:
    """Give a type in the notation of `spec/opcodes.md`, enumerations as their values."""
    plain, _ = _strip(described)
    match plain:
        case inspect.UnionType(types=types):
            nulls_last = sorted(types, key=lambda inner: isinstance(inner, inspect.NoneType))
            return " | ".join(type_text(inner) for inner in nulls_last)
        case inspect.IntType():
            return _bounded("int", plain)
        case inspect.StrType(min_length=length):
            return "str+" if length else "str"
        case inspect.LiteralType(values=values):
            return " | ".join(map(str, values))
        case inspect.FrozenSetType(item_type=item):
            return f"set[{type_text(item)}]"
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return f"[{type_text(item)}]"
        case inspect.TupleType(item_types=items):
            return f"({', '.join(map(type_text, items))})"
        case inspect.DictType(key_type=key, value_type=value):
            return f"{{{type_text(key)}: {type_text(value)}}}"
    return {inspect.BoolType: "bool", inspect.FloatType: "float", inspect.NoneType: "null"}.get(type(plain), "any")


def _bounded(name: str, described: inspect.IntType) -> str:
    """Add the bounds to the name of a number type."""
    bounds = [f"{sign} {bound}" for sign, bound in _bounds(described) if bound is not None]
    return f"{name} {', '.join(bounds)}" if bounds else name


def _bounds(described: inspect.IntType) -> tuple[tuple[str, int | None], ...]:
    return (">=", described.ge), (">", described.gt), ("<=", described.le), ("<", described.lt)


def _choices(described: inspect.Type) -> tuple[str | int, ...]:
    """Find the enumeration of a parameter that is one, or a list of its values."""
    plain, _ = _strip(described)
    match plain:
        case inspect.LiteralType(values=values):
            return tuple(value for value in values if isinstance(value, str | int))
        case inspect.UnionType(types=types):
            return next((found for inner in types if (found := _choices(inner))), ())
        case inspect.VarTupleType(item_type=item) | inspect.FrozenSetType(item_type=item):
            return _choices(item)
    return ()
