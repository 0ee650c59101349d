"""Immutable tables that share structure: a change costs in proportion to itself, not to the table.

A plain dict copied on every change would cost a fifth of a millisecond at 10,000 entries; here one of 256 small dicts
is copied. The order of iteration depends on the keys alone, so two masters that came to the same content by different
ways see it in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, ValuesView
from itertools import chain
from typing import Generic, Protocol, TypeVar
from zlib import crc32

V = TypeVar("V")

_WIDTH = 256
_EMPTY: tuple[dict[str, object], ...] = ({},) * _WIDTH


def _bucket(key: str) -> int:
    # Not hash(): that differs from process to process, and with it the order of iteration.
    return crc32(key.encode("utf-8", "surrogatepass")) % _WIDTH


class SharedMap(Mapping[str, V]):
    """An immutable mapping from texts, with cheap changed copies. The inner dicts are never changed in place."""

    __slots__ = ("_buckets", "_size")

    def __init__(self, items: Iterable[tuple[str, V]] = ()) -> None:
        # Most maps are small: only the buckets that something is in are made.
        found: dict[int, dict[str, V]] = {}
        for key, value in items:
            found.setdefault(_bucket(key), {})[key] = value
        buckets: list[dict[str, V]] = list(_EMPTY)  # type: ignore[arg-type]  # empty dicts are of any type
        for number, bucket in found.items():
            ordered = len(bucket) == 1
            buckets[number] = bucket if ordered else dict(sorted(bucket.items(), key=lambda item: item[0]))
        self._size = sum(map(len, found.values()))
        self._buckets: tuple[dict[str, V], ...] = tuple(buckets)

    @classmethod
    def _made(cls, buckets: tuple[dict[str, V], ...], size: int) -> SharedMap[V]:
        made: SharedMap[V] = cls.__new__(cls)
        made._buckets = buckets
        made._size = size
        return made

    def _replaced(self, number: int, bucket: dict[str, V], size: int) -> SharedMap[V]:
        buckets = self._buckets
        return self._made((*buckets[:number], bucket, *buckets[number + 1 :]), size)

    def put(self, key: str, value: V) -> SharedMap[V]:
        """Give a copy in which `key` has `value`."""
        number = _bucket(key)
        old = self._buckets[number]
        if key in old:
            return self._replaced(number, {**old, key: value}, self._size)
        grown = dict(sorted({**old, key: value}.items(), key=lambda item: item[0]))
        return self._replaced(number, grown, self._size + 1)

    def drop(self, key: str) -> SharedMap[V]:
        """Give a copy without `key`, which may be absent."""
        number = _bucket(key)
        old = self._buckets[number]
        if key not in old:
            return self
        return self._replaced(number, {k: v for k, v in old.items() if k != key}, self._size - 1)

    def __getitem__(self, key: str) -> V:
        return self._buckets[_bucket(key)][key]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._buckets)

    def values(self) -> ValuesView[V]:
        """Give the values, in the order of the keys, without looking each key up."""
        return _Values(self)

    def each(self) -> Iterator[V]:
        """Give one value after the other."""
        return chain.from_iterable(map(_values_of, self._buckets))

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._buckets[_bucket(key)]

    def __repr__(self) -> str:
        return f"SharedMap({dict(self)!r})"


def _values_of(bucket: dict[str, V]) -> Iterable[V]:
    return bucket.values()


class _Values(ValuesView[V]):
    """The values of a map, bucket by bucket: most buckets are empty, and no key is asked for."""

    _mapping: SharedMap[V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping.each()


Lists = SharedMap[tuple[str, ...]]
"""Texts under a text: sorted, without doubles; an empty list is not kept."""


def with_listed(lists: Lists, key: str, member: str) -> Lists:
    """Give a copy in which `member` is listed under `key`."""
    listed = lists.get(key, ())
    return lists if member in listed else lists.put(key, tuple(sorted((*listed, member))))


def without_listed(lists: Lists, key: str, member: str) -> Lists:
    """Give a copy in which `member` is not listed under `key`."""
    left = tuple(item for item in lists.get(key, ()) if item != member)
    return lists.put(key, left) if left else lists.drop(key)


class Listed(Protocol):
    """What a table needs of its objects; those without a `name` are found by UUID only."""

    @property
    def uuid(self) -> str:
        """Give the key."""


T = TypeVar("T", bound=Listed)


def _name_of(obj: object) -> str | None:
    name = getattr(obj, "name", None)
    return name.lower() if name else None


def first_part(name: str) -> str:
    """Give what stands before the first dot: the part by which short names are found."""
    return name.partition(".")[0]


class Table(Mapping[str, T], Generic[T]):
    """Objects by UUID, with an index of their names that follows every change."""

    __slots__ = ("_first_parts", "_names", "_objects")

    def __init__(self, objects: Iterable[T] = ()) -> None:
        by_uuid = {obj.uuid: obj for obj in objects}
        names: dict[str, list[str]] = {}
        first_parts: dict[str, list[str]] = {}
        for uuid in sorted(by_uuid):
            name = _name_of(by_uuid[uuid])
            if name:
                names.setdefault(name, []).append(uuid)
                first_parts.setdefault(first_part(name), []).append(uuid)
        self._objects: SharedMap[T] = SharedMap(by_uuid.items())
        self._names: Lists = SharedMap((name, tuple(uuids)) for name, uuids in names.items())
        self._first_parts: Lists = SharedMap((name, tuple(uuids)) for name, uuids in first_parts.items())

    def _made(self, objects: SharedMap[T], names: Lists, first_parts: Lists) -> Table[T]:
        made: Table[T] = type(self).__new__(type(self))
        made._objects, made._names, made._first_parts = objects, names, first_parts
        return made

    def put(self, obj: T) -> Table[T]:
        """Give a copy with the object in place of the one with its UUID."""
        old = self._objects.get(obj.uuid)
        old_name, new_name = (_name_of(old) if old is not None else None), _name_of(obj)
        names, first_parts = self._names, self._first_parts
        if old_name != new_name:
            names, first_parts = self._unnamed(obj.uuid, old_name)
            if new_name:
                names = with_listed(names, new_name, obj.uuid)
                first_parts = with_listed(first_parts, first_part(new_name), obj.uuid)
        return self._made(self._objects.put(obj.uuid, obj), names, first_parts)

    def drop(self, uuid: str) -> Table[T]:
        """Give a copy without the object of this UUID, which may be absent."""
        old = self._objects.get(uuid)
        if old is None:
            return self
        return self._made(self._objects.drop(uuid), *self._unnamed(uuid, _name_of(old)))

    def _unnamed(self, uuid: str, name: str | None) -> tuple[Lists, Lists]:
        if not name:
            return self._names, self._first_parts
        return without_listed(self._names, name, uuid), without_listed(self._first_parts, first_part(name), uuid)

    def by_name(self, name: str) -> T | None:
        """Give the object of this full name (upper and lower case are equal), or None."""
        uuids = self._names.get(name.lower())
        return self._objects[uuids[0]] if uuids else None

    def matching(self, text: str) -> tuple[T, ...]:
        """Give the objects that `text` may mean: of this UUID, else of this name, else with it as whole first parts."""
        lowered = text.lower()
        exact = self._objects.get(lowered)
        if exact is None:
            exact = self._objects.get(text)
        if exact is not None:
            return (exact,)
        uuids = self._names.get(lowered)
        if not uuids:
            beginning = lowered + "."
            candidates = self._first_parts.get(first_part(lowered), ())
            uuids = tuple(uuid for uuid in candidates if (_name_of(self._objects[uuid]) or "").startswith(beginning))
        return tuple(self._objects[uuid] for uuid in uuids)

    def __getitem__(self, uuid: str) -> T:
        return self._objects[uuid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._objects)

    def values(self) -> ValuesView[T]:
        """Give the objects, in the order of their UUIDs' places."""
        return self._objects.values()

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, uuid: object) -> bool:
        return uuid in self._objects

    def __repr__(self) -> str:
        return f"Table({list(self.values())!r})"
