"""How objects of the model stand in rows: their keys, their changes, the serial of the configuration as a whole."""

from __future__ import annotations

from typing import Final

import msgspec

from gnt.model.cluster import Cluster, encode, kind_of
from gnt.model.objects import ConfigObject
from gnt.store.changes import Change, Put, Remove, Space

CLUSTER_SERIAL: Final = "cluster_serial"
"""The `META` row that holds a `ClusterStamp`."""


class ClusterStamp(msgspec.Struct, frozen=True, kw_only=True):
    """Serial number and times (seconds) of the configuration as a whole: the top level of `config.data`."""

    serial_no: int
    ctime: float
    mtime: float


def object_key(obj: ConfigObject) -> str:
    """Give the key of an object's row: `<kind>/<uuid>`."""
    return f"{kind_of(obj).value}/{obj.uuid}"


def put_object(obj: ConfigObject) -> Put:
    """Give the change that writes an object as it is."""
    return Put(Space.OBJECT, object_key(obj), encode(obj))


def remove_object(obj: ConfigObject) -> Remove:
    """Give the change that takes an object away."""
    return Remove(Space.OBJECT, object_key(obj))


def put_stamp(cluster: Cluster) -> Put:
    """Give the change that writes the serial of the whole configuration."""
    stamp = ClusterStamp(serial_no=cluster.serial_no, ctime=cluster.ctime, mtime=cluster.mtime)
    return Put(Space.META, CLUSTER_SERIAL, msgspec.json.encode(stamp))


def initial_changes(cluster: Cluster) -> tuple[Change, ...]:
    """Give the changes that write a whole cluster into an empty store."""
    return (*(put_object(obj) for obj in cluster.objects()), put_stamp(cluster))
