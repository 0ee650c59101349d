"""The configuration is the same wherever it is written: in the candidates' logs, in the views of it (I11), in trust."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any, Final

import msgspec

from gnt.masterd.voting import voters
from gnt.model.cluster import Cluster, Kind, decode
from gnt.sim.checkers.reading import store_of
from gnt.sim.machine import SimNode
from gnt.sim.world import SimWorld
from gnt.store.changes import Space
from gnt.store.reading import Reader

_TABLES: Final = {
    "node": "nodes",
    "group": "nodegroups",
    "instance": "instances",
    "disk": "disks",
    "network": "networks",
    "filter": "filters",
}


def check_copies(world: SimWorld, store: Reader, cluster: Cluster) -> list[str]:
    """Every candidate has what the master has, and knows that it is committed.

    The master writes down how far that is with its next entry only.
    """
    problems: list[str] = []
    master = cluster.master.name
    wanted = _contents(store)
    voting = {cluster.nodes[uuid].name for uuid in voters(cluster)}
    for name, node in world.nodes.items():
        if name not in voting or name == master:
            continue
        if not node.layout.config_db.exists():
            problems.append(f"{name} votes and has no store")
            continue
        with store_of(node) as copy:
            if copy.log_end() != store.log_end() or copy.state().committed != store.log_end().serial:
                where = f"{copy.log_end().serial}, committed {copy.state().committed}"
                problems.append(f"{name} has the log up to {where}, not {store.log_end().serial}")
            elif _contents(copy) != wanted:
                problems.append(f"{name} has the whole log and another content")
    return problems


def check_trust(world: SimWorld, cluster: Cluster) -> list[str]:
    """Only candidates have the authority's key; every member knows who they are."""
    problems: list[str] = []
    voting = {cluster.nodes[uuid].name for uuid in voters(cluster)}
    certificates = {uuid: cluster.settings.candidate_certs.get(uuid) for uuid in voters(cluster)}
    for name, node in world.nodes.items():
        row = cluster.nodes.by_name(name)
        if row is not None and row.offline:
            continue  # nobody tells it anything; it is told when it is taken in again
        has_key, known = node.layout.authority_key.exists(), row is not None
        # A node that was away when it was removed has heard nothing of that.
        if has_key != (name in voting) and (known or not world.fell()):
            problems.append(f"{name} {'has' if has_key else 'lacks'} the authority's key")
        if not known or node.noded is None:
            continue
        member = node.noded.daemon.membership.current
        if member is None or dict(member.candidates) != certificates:
            problems.append(f"{name} does not know who the candidates are")
    return problems


def check_views(world: SimWorld, store: Reader, cluster: Cluster) -> list[str]:
    """Rows come back from the model as they were; what is written for people on each candidate is what the rows say."""
    problems: list[str] = []
    wanted: dict[str, dict[str, Any]] = {table: {} for table in _TABLES.values()}
    for key, value in store.rows(Space.OBJECT):
        kind, _, uuid = key.partition("/")
        row, comes_back = _through_the_model(kind, value)
        if not comes_back:
            problems.append(f"{key} comes back from the model as something else")
        if kind in _TABLES:
            wanted[_TABLES[kind]][uuid] = {name: item for name, item in row.items() if item is not None}
    voting = {cluster.nodes[uuid].name for uuid in voters(cluster)}
    for name in sorted(voting):
        problems += _check_view(world.nodes[name], wanted)
    return problems


def _check_view(node: SimNode, wanted: dict[str, dict[str, Any]]) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        view = _decoded(node.layout.config_data.read_bytes())
        different = [table for table, rows in wanted.items() if view.get(table) != rows]
        return [f"config.data of {node.name} has other {table} than the store" for table in different]
    return [f"{node.name} votes and has no config.data"]


# Most rows and views are those of the check before, and of the other candidates.


@lru_cache(4096)
def _through_the_model(kind: str, value: bytes) -> tuple[dict[str, Any], bool]:
    """Give a row, and whether it comes back from the model as it was."""
    row: dict[str, Any] = msgspec.json.decode(value)
    return row, msgspec.json.decode(msgspec.json.encode(decode(Kind(kind), value))) == row


@lru_cache(64)
def _decoded(view: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(view)
    return found


def _contents(store: Reader) -> dict[str, Any]:
    spaces = [space for space in Space if space is not Space.JOB]
    rows: dict[str, Any] = {space.value: store.rows(space) for space in spaces}
    rows["job"] = [(row.id, row.value) for live in (True, False) for row in store.jobs(live=live)]
    return rows
