"""Reading what daemons leave on the disks of their machines, beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from gnt.model.cluster import Cluster
from gnt.model.epoch import START, Position
from gnt.sim.machine import SimNode
from gnt.sim.world import SimWorld
from gnt.store.changes import Space
from gnt.store.reading import Reader


def master_node(world: SimWorld) -> SimNode | None:
    """Give the machine whose master daemon serves."""
    life = world.master()
    return next((node for node in world.nodes.values() if life is not None and node.masterd is life), None)


def cluster_of(world: SimWorld) -> Cluster:
    """Give the cluster as it stands on the master's disk; where none serves, on that with the longest log."""
    node = master_node(world) or max(world.nodes.values(), key=_end_of_log)
    with store_of(node) as store:
        return store.load_cluster()


def voting_of(world: SimWorld) -> list[str]:
    """Give the names of those who vote, from the rows on the same disk as `cluster_of`."""
    node = master_node(world) or max(world.nodes.values(), key=_end_of_log)
    with store_of(node) as store:
        rows = [msgspec.json.decode(value) for _, value in store.rows(Space.OBJECT, "node/")]
        (settings,) = (msgspec.json.decode(value) for _, value in store.rows(Space.OBJECT, "cluster/"))
    master = settings["master_node"]
    found = [row for row in rows if row["uuid"] == master or (row.get("master_candidate") and not row.get("offline"))]
    return sorted(row["name"] for row in found)


def _end_of_log(node: SimNode) -> Position:
    if not node.layout.config_db.exists():
        return START
    with store_of(node) as store:
        return store.log_end()


@contextlib.contextmanager
def store_of(node: SimNode) -> Iterator[Reader]:
    """Read a machine's store for a while, as it is: whether it is one of ours its daemons see to."""
    path = str(node.layout.config_db)
    yield Reader(node.world.readers.of(path), path)
