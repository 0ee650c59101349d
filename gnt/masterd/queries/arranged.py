"""Tables as queries read them, kept from query to query for as long as a table stays the same.

Tables never change in place, so the same table is the same content. They share structure, which makes a change cheap
and reading all of one dear: here they are read once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Generic, Protocol, TypeVar

from gnt.model.names import nice_key
from gnt.model.objects import Disk, Instance, Network, Node, NodeGroup
from gnt.model.table import Table

# Names stay the same from query to query, and splitting one costs more than all else about a static row.
natural: Final = lru_cache(maxsize=1 << 16)(nice_key)


class Named(Protocol):
    """What has a name and a UUID."""

    @property
    def uuid(self) -> str:
        """Give the key."""

    @property
    def name(self) -> Any:
        """Give the name; disks may have none."""


T = TypeVar("T", bound=Named)


def in_order(names: Iterable[str]) -> list[str]:
    """Give names in the order in which people count."""
    return sorted(names, key=natural)


class Arranged(Generic[T]):
    """One table: as a plain dict, and in the order of names."""

    def __init__(self) -> None:
        self._table: Table[T] | None = None
        self._by_uuid: dict[str, T] = {}
        self._ordered: list[T] | None = None

    def by_uuid(self, table: Table[T]) -> dict[str, T]:
        """Give the objects by UUID; not to be changed."""
        if table is not self._table:
            # What was in order is nearly so after a change; sorting is quick then.
            before = [obj.uuid for obj in self._ordered or ()]
            found = dict(table.items())
            self._by_uuid = {uuid: found.pop(uuid) for uuid in before if uuid in found} | found
            self._table, self._ordered = table, None
        return self._by_uuid

    def in_order(self, table: Table[T]) -> list[T]:
        """Give the objects in the order in which people count their names; not to be changed."""
        by_uuid = self.by_uuid(table)
        if self._ordered is None:
            self._ordered = sorted(by_uuid.values(), key=lambda obj: natural(obj.name))
        return self._ordered


class Tables:
    """The tables of a cluster."""

    def __init__(self) -> None:
        self.instances: Arranged[Instance] = Arranged()
        self.nodes: Arranged[Node] = Arranged()
        self.groups: Arranged[NodeGroup] = Arranged()
        self.networks: Arranged[Network] = Arranged()
        self.disks: Arranged[Disk] = Arranged()
