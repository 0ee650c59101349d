"""What a field of a query is, and how the cells of its column are made: `spec/luxi.md`, section 4.

A field is bound to a view once for each query; what comes out makes a cell of an object, without looking anything up
twice. Cells are `(status, value)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, StrEnum, auto
from operator import attrgetter
from typing import Any, Final

from gnt.masterd.queries.view import View
from gnt.model.names import nice_key
from gnt.model.params_tables import ParamType

Cell = tuple[int, Any]
"""Status and value of one field of one object; the value is None unless the status is `NORMAL`."""

Getter = Callable[[Any], Cell]
Bind = Callable[[View], Getter]

NORMAL: Final = 0
UNKNOWN: Final[Cell] = (1, None)
NO_DATA: Final[Cell] = (2, None)
UNAVAILABLE: Final[Cell] = (3, None)
OFFLINE: Final[Cell] = (4, None)
YES: Final[Cell] = (NORMAL, True)
NO: Final[Cell] = (NORMAL, False)


class FieldKind(StrEnum):
    """How a value is to be understood; `unit` are MiB, `timestamp` seconds since the epoch."""

    UNKNOWN = "unknown"
    TEXT = "text"
    BOOL = "bool"
    NUMBER = "number"
    FLOAT = "float"
    UNIT = "unit"
    TIMESTAMP = "timestamp"
    OTHER = "other"


class Asks(Flag):
    """What has to be asked of nodes before a field has a value."""

    NOTHING = 0
    GUESTS = auto()
    CONSOLES = auto()
    FACTS = auto()


@dataclass(frozen=True)
class Field:
    """A field: what clients are told about it, and how its cells are made.

    `hostname`: compared by whole parts of the name; `pair`: a time as seconds and microseconds, compared by seconds;
    `encoded`: holds values that are JSON already and must be decoded to be compared.
    """

    name: str
    title: str
    kind: FieldKind
    doc: str
    bind: Bind
    asks: Asks = Asks.NOTHING
    hostname: bool = False
    pair: bool = False
    encoded: bool = False

    @property
    def definition(self) -> dict[str, str]:
        """Give what clients are told."""
        return {"name": self.name, "title": self.title, "kind": self.kind, "doc": self.doc}


def unknown_field(name: str) -> Field:
    """Make the field that stands for a name nobody knows."""
    return Field(name, name, FieldKind.UNKNOWN, f"Unknown field '{name}'", lambda _view: lambda _obj: UNKNOWN)


Family = Callable[[str], Field | None]
"""Makes the field of a name such as `disk.size/3`, or None if the name is not of this family."""


@dataclass(frozen=True)
class Fields:
    """All fields of a kind of object. `key` is the name field; `families` make the fields that have a number."""

    key: str
    by_name: Mapping[str, Field]
    families: Sequence[Family] = ()
    listed: tuple[Field, ...] = field(init=False)

    def __post_init__(self) -> None:
        in_order = sorted(self.by_name.values(), key=lambda each: nice_key(each.name))
        object.__setattr__(self, "listed", tuple(in_order))

    def find(self, name: str) -> Field | None:
        """Give the field of this name, or None."""
        found = self.by_name.get(name)
        if found is None and "/" in name:
            found = next(filter(None, (family(name) for family in self.families)), None)
        return found

    def get(self, name: str) -> Field:
        """Give the field of this name, or one that says that it is unknown."""
        return self.find(name) or unknown_field(name)


def fields(key: str, *groups: Sequence[Field], families: Sequence[Family] = ()) -> Fields:
    """Put fields together; two of one name are a mistake of ours."""
    by_name: dict[str, Field] = {}
    for group in groups:
        for each in group:
            if each.name in by_name:
                raise AssertionError(f"field {each.name} is there twice")
            by_name[each.name] = each
    return Fields(key, by_name, families)


# Ways to say a field


def plainly(get: Callable[[Any], Any]) -> Bind:
    """Bind a value that the object alone gives."""
    return lambda _view: lambda obj: (NORMAL, get(obj))


def attribute(name: str) -> Bind:
    """Bind a slot of the object."""
    get = attrgetter(name)
    return lambda _view: lambda obj: (NORMAL, get(obj))


def flag(name: str) -> Bind:
    """Bind a slot that is true or false."""
    get = attrgetter(name)
    return lambda _view: lambda obj: YES if get(obj) else NO


def optional(name: str) -> Bind:
    """Bind a slot that may be empty: then the object does not have it."""
    get = attrgetter(name)

    def cell(obj: Any) -> Cell:
        value = get(obj)
        return UNAVAILABLE if value is None else (NORMAL, value)

    return lambda _view: cell


def viewed(get: Callable[[View, Any], Any]) -> Bind:
    """Bind a value that needs the rest of the configuration."""
    return lambda view: lambda obj: (NORMAL, get(view, obj))


def never(_view: View) -> Getter:
    """Bind what no object of this version has."""
    return lambda _obj: UNAVAILABLE


def text(name: str, title: str, doc: str, bind: Bind, *, hostname: bool = False) -> Field:
    """Make a field that is a text."""
    return Field(name, title, FieldKind.TEXT, doc, bind, hostname=hostname)


def boolean(name: str, title: str, doc: str, bind: Bind) -> Field:
    """Make a field that is true or false."""
    return Field(name, title, FieldKind.BOOL, doc, bind)


def number(name: str, title: str, doc: str, bind: Bind) -> Field:
    """Make a field that is a whole number."""
    return Field(name, title, FieldKind.NUMBER, doc, bind)


def size(name: str, title: str, doc: str, bind: Bind) -> Field:
    """Make a field in MiB."""
    return Field(name, title, FieldKind.UNIT, doc, bind)


def other(name: str, title: str, doc: str, bind: Bind) -> Field:
    """Make a field that is a list, an object, or a text that may be missing."""
    return Field(name, title, FieldKind.OTHER, doc, bind)


def stamps(what: str) -> list[Field]:
    """Make the fields that every object with a history has. `what` is such as `instance`."""
    return [
        Field("ctime", "CTime", FieldKind.TIMESTAMP, f"When the {what} was added", attribute("ctime")),
        Field("mtime", "MTime", FieldKind.TIMESTAMP, f"When the {what} was last changed", attribute("mtime")),
        number("serial_no", "SerialNo", f"How many versions of the {what} there have been", attribute("serial_no")),
        text("uuid", "UUID", f"UUID of the {what}", attribute("uuid")),
        other("tags", "Tags", f"Tags of the {what}", attribute("tags")),
    ]


# What a parameter's type is as the kind of a field; a text parameter may be null, so it is no plain text.
KIND_OF_PARAMETER: Final = {
    ParamType.BOOL: FieldKind.BOOL,
    ParamType.INT: FieldKind.NUMBER,
    ParamType.FLOAT: FieldKind.FLOAT,
    ParamType.SIZE: FieldKind.UNIT,
    ParamType.STRING: FieldKind.OTHER,
    ParamType.MAYBE_STRING: FieldKind.OTHER,
}
