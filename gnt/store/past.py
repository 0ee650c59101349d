"""What the configuration was: which changes were made, an object as of a time, what differs between two times.

Blocking; on a connection of its own, so that no commit waits for it. History holds what an object was before each
change, so what it became stands in the next row of the same object, or in the object itself. Times are seconds since
the epoch; values are JSON without secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gnt.model.cluster import Kind
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, Refused
from gnt.store.reading import Reader

_UNTOLD: Final = frozenset({"uuid", "ctime", "mtime", "serial_no"})
_NAMED_KINDS: Final = (Kind.NODE, Kind.GROUP, Kind.INSTANCE, Kind.NETWORK)
_LONGEST_UUID: Final = 64
_NEXT: Final = """
SELECT value FROM history WHERE key = ?1 AND (serial, number) > (?2, ?3) ORDER BY serial, number LIMIT 1
"""
_CURRENT: Final = "SELECT value FROM rows WHERE space = 'object' AND key = ?"
# Ranges of keys: the sign behind "/" ends those of a kind.
_FIRST_AFTER: Final = """
SELECT key, value FROM (
    SELECT key, value, row_number() OVER (PARTITION BY key ORDER BY serial, number) AS place
    FROM history WHERE key >= ?1 AND key < ?2 AND (time > ?3 OR serial > ?4)
) WHERE place = 1
"""
_EVERYTHING: Final = ("", "\U0010ffff")


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One value that changed; `name` is a path (`beparams/memory`), None: it was not there."""

    name: str
    old: Any
    new: Any


class ObjectChange(msgspec.Struct, frozen=True, kw_only=True):
    """How one object changed. `what` is `added`, `changed` or `removed`; serials None where it did not exist."""

    kind: str
    uuid: str
    name: str
    what: str
    old_serial: int | None
    new_serial: int | None
    fields: tuple[Field, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change in the history: when, in which entry of the log, by which job (0: none)."""

    time: float
    entry: int
    job: int
    change: ObjectChange


class ObjectAt(msgspec.Struct, frozen=True, kw_only=True):
    """An object as of a time, without its secrets; `disks` are those of an instance, `names` those of UUIDs in it."""

    kind: str
    uuid: str
    name: str
    time: float
    object: dict[str, Any]
    disks: list[dict[str, Any]]
    names: dict[str, str]


class Past:
    """The past in one store, as far as entry `committed`."""

    def __init__(self, reader: Reader, committed: int) -> None:
        self._reader = reader
        self._connection = reader.connection
        self._committed = committed
        self._names: dict[str, str | None] = {}

    def kept_from(self) -> float:
        """Give the time since when every change is known."""
        return float(self._connection.execute("SELECT history_from FROM state").fetchone()[0])

    # Changes

    def changes(
        self, kind: str | None, name: str | None, since: float | None, until: float | None, limit: int
    ) -> list[Change]:
        """Give changes, the newest first. Raises `Refused` for an object that never was."""
        keys = None if kind is None and name is None else sorted(self._keys(kind, name))
        where = ["serial <= ?"]
        values: list[Any] = [self._committed]
        for bound, test in ((since, "time >= ?"), (until, "time <= ?")):
            if bound is not None:
                where.append(test)
                values.append(bound)
        if keys is not None:
            where.append("key IN (SELECT value FROM json_each(?))")
            values.append(msgspec.json.encode(keys).decode())
        found = self._connection.execute(
            f"SELECT key, serial, number, time, job, value FROM history WHERE {' AND '.join(where)}"  # noqa: S608
            " ORDER BY serial DESC, number DESC LIMIT ?",
            (*values, limit),
        )
        return [
            Change(
                time=time,
                entry=serial,
                job=job,
                change=self._difference(key, _values(value), self._became(key, serial, number)),
            )
            for key, serial, number, time, job, value in found.fetchall()
        ]

    def differences(self, first: float, second: float) -> list[ObjectChange]:
        """Give how each object differs between two times, by kind and name. Raises `Refused` for a time too old."""
        old, new = self._state(first), self._state(second)
        found = []
        for key in sorted(set(old) | set(new)):
            before, after = old.get(key), new.get(key)
            if before != after:
                change = self._difference(key, _values(before), _values(after))
                if change.what != "changed" or change.fields:
                    found.append(change)
        return sorted(found, key=lambda change: (change.kind, change.name, change.uuid))

    # Objects

    def object_at(self, kind: str, name: str | None, time: float) -> ObjectAt:
        """Give an object as of a time. Raises `Refused`: there was none of that name, or the time is too old."""
        state = self._state(time, kind)
        found = [key for key, value in state.items() if name is None or _is_called(key, _values(value) or {}, name)]
        exact = [key for key in found if name in (_name(_values(state[key]) or {}), key.partition("/")[2])]
        keys = exact or found
        if len(keys) != 1:
            problem = "was more than one" if keys else "was no"
            raise Refused(UNKNOWN_ENTITY, f"{name or 'it'} {problem} {kind} of this cluster at that time")
        values = _values(state[keys[0]]) or {}
        disks = self._state(time, Kind.DISK.value) if values.get("disks") else {}
        held = [_values(disks.get(f"disk/{uuid}")) for uuid in values.get("disks", ())]
        known = [disk for disk in held if disk is not None]
        texts = {text for one in (values, *known) for text in _flat(one).values() if isinstance(text, str)}
        return ObjectAt(
            kind=kind,
            uuid=keys[0].partition("/")[2],
            name=_name(values),
            time=time,
            object=values,
            disks=known,
            names={text: named for text in sorted(texts) if (named := self._name_of(text)) is not None},
        )

    def _state(self, time: float, kind: str | None = None) -> dict[str, bytes]:
        """Give all objects (of a kind) as of a time."""
        oldest = self.kept_from()
        if time < oldest:
            raise Refused(WRONG_INPUT, "the history does not go back that far", hint=f"it begins at {oldest:.0f}")
        low, high = (f"{kind}/", f"{kind}0") if kind else _EVERYTHING
        current = self._connection.execute(
            "SELECT key, value FROM rows WHERE space = 'object' AND key >= ? AND key < ?", (low, high)
        )
        state: dict[str, bytes | None] = dict(current.fetchall())
        state.update(self._connection.execute(_FIRST_AFTER, (low, high, time, self._committed)).fetchall())
        return {key: bytes(value) for key, value in state.items() if value is not None}

    # Inside

    def _became(self, key: str, serial: int, number: int) -> dict[str, Any] | None:
        row = self._connection.execute(_NEXT, (key, serial, number)).fetchone()
        if row is None:
            row = self._connection.execute(_CURRENT, (key,)).fetchone()
        return None if row is None else _values(row[0])

    def _keys(self, kind: str | None, name: str | None) -> set[str]:
        """Give the keys of the objects that are or were called so."""
        kinds = [kind] if kind is not None else [member.value for member in Kind]
        every: set[str] = set()
        exact: set[str] = set()
        for one in kinds:
            for key, value in self._versions(one):
                values = _values(value) or {}
                if name is None or _is_called(key, values, name):
                    every.add(key)
                if name in (_name(values), key.partition("/")[2]):
                    exact.add(key)
        if not every:
            what = f"{kind or 'object'} {name}" if name else f"{kind}"
            raise Refused(UNKNOWN_ENTITY, f"the history knows of no {what}")
        return exact or every

    def _versions(self, kind: str) -> Iterable[tuple[str, bytes]]:
        bounds = (f"{kind}/", f"{kind}0")
        yield from self._connection.execute(
            "SELECT key, value FROM rows WHERE space = 'object' AND key >= ? AND key < ?", bounds
        )
        # One of each name and object.
        yield from self._connection.execute(
            "SELECT key, value FROM history WHERE key >= ? AND key < ? AND value IS NOT NULL"
            " GROUP BY key, CAST(value AS TEXT) ->> '$.name'",
            bounds,
        )

    def _difference(self, key: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> ObjectChange:
        kind, _, uuid = key.partition("/")
        before, after = _flat(old or {}), _flat(new or {})
        fields = tuple(
            Field(name=name, old=self._shown(before.get(name)), new=self._shown(after.get(name)))
            for name in sorted(set(before) | set(after))
            if before.get(name) != after.get(name) and name not in _UNTOLD
        )
        return ObjectChange(
            kind=kind,
            uuid=uuid,
            name=_name(new or old or {}),
            what="added" if old is None else "removed" if new is None else "changed",
            old_serial=None if old is None else old.get("serial_no"),
            new_serial=None if new is None else new.get("serial_no"),
            fields=fields,
        )

    def _shown(self, value: Any) -> Any:
        """Give a value for people: names for the UUIDs of what has one."""
        return value if not isinstance(value, str) else self._name_of(value) or value

    def _name_of(self, text: str) -> str | None:
        """Give the name of the object with this UUID, as it is or last was; None if there is none."""
        if not 0 < len(text) <= _LONGEST_UUID or text.isdigit():
            return None
        if text not in self._names:
            self._names[text] = next((name for kind in _NAMED_KINDS if (name := self._last_name(kind, text))), None)
        return self._names[text]

    def _last_name(self, kind: Kind, uuid: str) -> str | None:
        key = f"{kind.value}/{uuid}"
        row = self._connection.execute(_CURRENT, (key,)).fetchone()
        if row is None:
            row = self._connection.execute(
                "SELECT value FROM history WHERE key = ? AND value IS NOT NULL ORDER BY serial DESC, number DESC"
                " LIMIT 1",
                (key,),
            ).fetchone()
        return None if row is None else _name(_values(row[0]) or {})


def _values(data: bytes | None) -> dict[str, Any] | None:
    return None if data is None else msgspec.json.decode(bytes(data), type=dict[str, Any])


def _name(values: Mapping[str, Any]) -> str:
    return str(values.get("name") or values.get("cluster_name") or "")


def _is_called(key: str, values: Mapping[str, Any], text: str) -> bool:
    """Say whether a person may mean this object: by UUID, by name, by a name without its last labels."""
    name = _name(values)
    return bool(text) and (text == key.partition("/")[2] or text == name or name.startswith(f"{text}."))


def _flat(values: Mapping[str, Any] | Sequence[Any], prefix: str = "") -> dict[str, Any]:
    """Give paths and plain values of nested ones; an empty mapping or list is nothing."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    found: dict[str, Any] = {}
    for key, value in items:
        path = f"{prefix}{key}"
        if isinstance(value, Mapping | list | tuple):
            found |= _flat(value, f"{path}/")
        elif value is not None:
            found[path] = value
    return found
