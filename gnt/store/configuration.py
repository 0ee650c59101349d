"""How objects of the model stand in rows: their keys, their changes, the serial of the configuration as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gnt.model.cluster import Cluster, Kind, bumped, bumps_cluster, kind_of
from gnt.model.objects import ConfigObject
from gnt.store.changes import Change, Put, Remove, Space
from gnt.store.secrets import secret_key, secret_of, split

CLUSTER_SERIAL: Final = "cluster_serial"
"""The `META` row that holds a `ClusterStamp`."""


class ClusterStamp(msgspec.Struct, frozen=True, kw_only=True):
    """Serial number and times (seconds) of the configuration as a whole, and serial and time of the cluster object.

    These of the cluster object move with many changes of other objects; standing here they cost no new version of it.
    """

    serial_no: int
    ctime: float
    mtime: float
    settings_serial_no: int
    settings_mtime: float


def object_key(obj: ConfigObject) -> str:
    """Give the key of an object's row: `<kind>/<uuid>`."""
    return f"{kind_of(obj).value}/{obj.uuid}"


def put_object(obj: ConfigObject, old: ConfigObject | None = None) -> list[Change]:
    """Give the changes that write an object as it is, its secrets in a row of their own; `old` is what is stored."""
    kind, key = kind_of(obj).value, object_key(obj)
    value, secret = split(kind, obj)
    before = None if old is None else secret_of(kind, old)
    changes: list[Change] = [Put(Space.OBJECT, key, value)]
    if secret is not None and secret != before:
        changes.append(Put(Space.SECRET, secret_key(key), secret))
    if secret is None and before is not None:
        changes.append(Remove(Space.SECRET, secret_key(key)))
    return changes


def remove_object(obj: ConfigObject) -> list[Change]:
    """Give the changes that take an object away, with its secrets."""
    key = object_key(obj)
    changes: list[Change] = [Remove(Space.OBJECT, key)]
    if secret_of(kind_of(obj).value, obj) is not None:
        changes.append(Remove(Space.SECRET, secret_key(key)))
    return changes


def put_stamp(cluster: Cluster) -> Put:
    """Give the change that writes the serial of the whole configuration."""
    stamp = ClusterStamp(
        serial_no=cluster.serial_no,
        ctime=cluster.ctime,
        mtime=cluster.mtime,
        settings_serial_no=cluster.settings.serial_no,
        settings_mtime=cluster.settings.mtime,
    )
    return Put(Space.META, CLUSTER_SERIAL, msgspec.json.encode(stamp))


def initial_changes(cluster: Cluster) -> tuple[Change, ...]:
    """Give the changes that write a whole cluster into an empty store."""
    return (*(change for obj in cluster.objects() for change in put_object(obj)), put_stamp(cluster))


def object_changes(
    head: Cluster, put: Iterable[ConfigObject], drop: Iterable[ConfigObject], now: float
) -> tuple[Cluster, list[Change]]:
    """Stamp objects and give the cluster with them and the changes that write it: `spec/config.md`, section 1.

    An object whose content is what is stored changes nothing. Stamps that an object brings along do not count: a plan
    makes several versions of one object from the same older one, and its locks keep others away. `now` in seconds.
    """
    cluster, moved = head, False
    changes: list[Change] = []
    for obj in put:
        old = find(cluster, obj)
        new = _bumped(obj, old, now)
        if new == old:
            continue
        moved = moved or bumps_cluster(new, old)
        cluster = cluster.put(new)
        changes += put_object(new, old)
    for obj in drop:
        old = find(cluster, obj)
        if old is not None:
            moved = moved or bumps_cluster(None, old)
            cluster = cluster.drop(old)
            changes += remove_object(old)
    if not changes:
        return head, []
    if moved and cluster.settings.serial_no == head.settings.serial_no:
        settings = cluster.settings
        cluster = cluster.put(msgspec.structs.replace(settings, serial_no=settings.serial_no + 1, mtime=now))
    cluster = cluster.written(now)
    return cluster, [*changes, put_stamp(cluster)]


def find(cluster: Cluster, obj: ConfigObject) -> ConfigObject | None:
    """Give the stored object of the same kind and UUID, or None."""
    kind = kind_of(obj)
    if kind is Kind.CLUSTER:
        return cluster.settings
    tables: dict[Kind, Mapping[str, ConfigObject]] = {
        Kind.NODE: cluster.nodes,
        Kind.GROUP: cluster.groups,
        Kind.INSTANCE: cluster.instances,
        Kind.DISK: cluster.disks,
        Kind.NETWORK: cluster.networks,
        Kind.FILTER: cluster.filters,
    }
    return tables[kind].get(obj.uuid)


def _bumped(obj: ConfigObject, old: ConfigObject | None, now: float) -> ConfigObject:
    if old is not None and type(old) is not type(obj):
        raise AssertionError(f"{obj.uuid} is two kinds of object")
    return bumped(obj, old, now)  # type: ignore[type-var]  # both are of one kind
