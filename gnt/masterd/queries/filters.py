"""The filter language of queries: `spec/luxi.md`, section 5. JSON in, a tree out, or one clear refusal.

What a tree means for rows is in `predicates`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gnt.model.errors import GntError
from gnt.wire.luxi_frames import parse_job_id

DEEPEST: Final = 10
"""Levels of nesting that a filter may have."""

MOST_PARTS: Final = 100_000
"""Parts that a filter may have in all: room for every name of a large cluster."""

LONGEST_VALUE: Final = 4096


class Operator(StrEnum):
    """What a leaf of the tree asks of a field."""

    TRUE = "?"
    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    MATCHES = "=~"
    CONTAINS = "=[]"


ORDER: Final = frozenset({Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL})

_OPERATORS: Final = {**{str(each): each for each in Operator}, "==": Operator.EQUAL}


@dataclass(frozen=True)
class Leaf:
    """A question about one field; `value` is None for `Operator.TRUE`."""

    operator: Operator
    field: str
    value: str | int | float | bool | None = None


@dataclass(frozen=True)
class Both:
    """All parts hold; without parts it holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Either:
    """One part holds at least; without parts it does not hold."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Unless:
    """The part does not hold."""

    part: Filter


Filter = Leaf | Both | Either | Unless


def bad_filter(text: str, hint: str = "") -> GntError:
    """Make the refusal of a filter; LUXI clients know it as `ParameterError`."""
    return GntError("parameter_error", text, hint=hint)


def parse_filter(value: Any) -> Filter | None:
    """Give the tree of a filter, or None for everything. Raises `GntError` (`parameter_error`)."""
    return None if value is None else _Parser().part(value, 1)


class _Parser:
    """Reads one filter and counts its parts."""

    def __init__(self) -> None:
        self._left = MOST_PARTS

    def part(self, value: Any, depth: int) -> Filter:
        if depth > DEEPEST:
            raise bad_filter(f"filter is nested more than {DEEPEST} levels deep")
        self._left -= 1
        if self._left < 0:
            raise bad_filter(f"filter has more than {MOST_PARTS} parts")
        if not isinstance(value, list | tuple) or not value or not isinstance(value[0], str):
            raise bad_filter(f"filter {_shown(value)} must be a list that begins with an operator")
        name, arguments = value[0], value[1:]
        match name:
            case "&":
                return Both(tuple(self.part(each, depth + 1) for each in arguments))
            case "|":
                return Either(tuple(self.part(each, depth + 1) for each in arguments))
            case "!":
                if len(arguments) != 1:
                    raise bad_filter(f"filter operator ! takes one filter, not {len(arguments)}")
                return Unless(self.part(arguments[0], depth + 1))
        operator = _OPERATORS.get(name)
        if operator is None:
            raise bad_filter(f"{_shown(name)} is not a filter operator")
        return _leaf(operator, name, list(arguments))


def _leaf(operator: Operator, name: str, arguments: list[Any]) -> Leaf:
    wanted = 1 if operator is Operator.TRUE else 2
    if len(arguments) != wanted:
        what = "a field" if wanted == 1 else "a field and a value"
        raise bad_filter(f"filter operator {name} takes {what}, not {len(arguments)} arguments")
    field, value = arguments[0], arguments[1] if wanted == 2 else None
    if not isinstance(field, str):
        raise bad_filter(f"filter operator {name} takes the name of a field, not {_shown(field)}")
    if wanted == 2 and not isinstance(value, str | int | float):
        raise bad_filter(f"filter on {field}: value must be a text or a number, not {_shown(value)}")
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        raise bad_filter(f"filter on {field}: value has more than {LONGEST_VALUE} characters")
    return Leaf(operator, field, value)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{…}"
    if isinstance(value, list | tuple):
        return "[…]"
    text = repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "…"
    return text if len(text) <= 60 else f"{text[:57]}..."


def leaves(tree: Filter | None) -> Iterator[Leaf]:
    """Go through the questions of a filter."""
    match tree:
        case Leaf():
            yield tree
        case Both(parts) | Either(parts):
            for part in parts:
                yield from leaves(part)
        case Unless(part):
            yield from leaves(part)


def names_of(tree: Filter | None, key: str) -> list[str] | None:
    """Give the names, each once, if the filter does nothing but name objects by the field `key`; else None."""
    parts = tree.parts if isinstance(tree, Either) else (tree,)
    if not parts:
        return None
    names: dict[str, None] = {}
    for part in parts:
        if not isinstance(part, Leaf) or part.operator is not Operator.EQUAL or part.field != key:
            return None
        if not isinstance(part.value, str):
            return None
        names[part.value] = None
    return list(names)


def numbers_of(tree: Filter | None, key: str) -> list[int] | None:
    """Give the numbers, each once, if the filter does nothing but number jobs by the field `key`; else None.

    Old clients write numbers as texts. Raises `Refused` for what is no number of a job.
    """
    parts = tree.parts if isinstance(tree, Either) else (tree,)
    if not parts:
        return None
    numbers: dict[int, None] = {}
    for part in parts:
        if not isinstance(part, Leaf) or part.operator is not Operator.EQUAL or part.field != key:
            return None
        numbers[parse_job_id(part.value)] = None
    return list(numbers)


def split(tree: Filter | None, live: frozenset[str]) -> tuple[Filter | None, Filter | None]:
    """Give what can be answered without the fields in `live`, and the rest; both must hold. None holds always."""
    if tree is None or not any(leaf.field in live for leaf in leaves(tree)):
        return tree, None
    if not isinstance(tree, Both):
        return None, tree
    static = tuple(part for part in tree.parts if not any(leaf.field in live for leaf in leaves(part)))
    rest = tuple(part for part in tree.parts if part not in static)
    return (Both(static) if static else None), Both(rest)
