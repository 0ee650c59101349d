"""Tables as queries read them, kept from query to query for as long as a table stays the same.

Tables never change in place, so the same table is the same content. They share structure, which makes a change cheap
and reading all of one dear: here they are read once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, Protocol, TypeVar

from gnt.model.cluster import Cluster
from gnt.model.names import nice_key
from gnt.model.objects import Disk, Instance, Network, Node, NodeGroup
from gnt.model.table import Table
from gnt.wire.guest_calls import GuestFacts

MOST_KEPT: Final = 200_000
"""Cells of columns: 20 columns of 10,000 rows, some 20 MiB."""

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

    def is_order(self, objects: object) -> bool:
        """Say whether this is the very list of all objects in order."""
        return objects is self._ordered


class Seen:
    """The guests that one node told of, by UUID, and those among them that belong elsewhere."""

    def __init__(self, told: Sequence[GuestFacts]) -> None:
        self.told = told
        self.guests = {guest.uuid: guest for guest in told}
        self._instances: Mapping[str, Instance] | None = None
        self._strays: dict[str, GuestFacts] = {}

    def strays(self, node: str, instances: Mapping[str, Instance]) -> dict[str, GuestFacts]:
        """Give the guests that run here though another node is their primary one, by UUID.

        One that only waits here for a migration to come in does not run.
        """
        if instances is not self._instances:
            self._strays = {}
            for uuid, guest in self.guests.items():
                instance = instances.get(uuid)
                if instance is not None and instance.primary_node != node and guest.state == "running":
                    self._strays[uuid] = guest
            self._instances = instances
        return self._strays


class Columns:
    """Cells of whole columns, for as long as the snapshot stays the same; at most `MOST_KEPT` of them."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._kept: dict[tuple[int, str], list[Any]] = {}
        self._count = 0

    def get(self, cluster: Cluster, objects: list[Any], name: str, make: Callable[[], list[Any]]) -> list[Any]:
        """Give the column `name` of these objects, the very list of a whole table; it is made if it is not kept."""
        if cluster is not self._cluster or self._count > MOST_KEPT:
            self._cluster, self._kept, self._count = cluster, {}, 0
        key = (id(objects), name)  # the lists of a snapshot live as long as it is the current one
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
            self._count += len(found)
        return found


class Tables:
    """The tables of a cluster, and what many queries make of them."""

    def __init__(self) -> None:
        self.instances: Arranged[Instance] = Arranged()
        self.nodes: Arranged[Node] = Arranged()
        self.groups: Arranged[NodeGroup] = Arranged()
        self.networks: Arranged[Network] = Arranged()
        self.disks: Arranged[Disk] = Arranged()
        self._columns = Columns()
        self._seen: dict[str, Seen] = {}
        self._secondaries: dict[str, list[str]] = {}
        self._secondaries_of: tuple[object, object] | None = None

    def seen(self, node: str, told: Sequence[GuestFacts]) -> Seen:
        """Give what a node (UUID) told of its guests, arranged once for all queries that share this answer."""
        found = self._seen.get(node)
        if found is None or found.told is not told:
            found = self._seen[node] = Seen(told)
        return found

    def secondaries(self, cluster: Cluster) -> dict[str, list[str]]:
        """Give where the UUIDs of secondary nodes are kept by the instance's UUID, as far as they were looked up."""
        tables = (cluster.instances, cluster.disks)
        if self._secondaries_of is None or any(map(operator.is_not, tables, self._secondaries_of)):
            self._secondaries, self._secondaries_of = {}, tables
        return self._secondaries

    def column(self, cluster: Cluster, objects: Any, name: str, make: Callable[[], list[Any]]) -> list[Any]:
        """Give a column of what the configuration alone says; it is kept if the objects are a whole table."""
        for table in (self.instances, self.nodes, self.groups, self.networks):
            if table.is_order(objects):
                return self._columns.get(cluster, objects, name, make)
        return make()
