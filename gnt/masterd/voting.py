"""Who has a say in what is committed, and what they have agreed on. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gnt.model.cluster import Cluster


def voters(cluster: Cluster) -> frozenset[str]:
    """Give the UUIDs of the master and the master candidates."""
    candidates = (node.uuid for node in cluster.nodes.values() if node.master_candidate and not node.offline)
    return frozenset({cluster.settings.master_node, *candidates})


def majority(count: int) -> int:
    """Give how many of `count` voters are a majority."""
    return count // 2 + 1


def agreed(matched: Mapping[str, int], of: Collection[str]) -> int:
    """Give the highest serial that a majority of the voters has; those that are not in `matched` have nothing."""
    serials = sorted((matched.get(voter, 0) for voter in of), reverse=True)
    return serials[majority(len(serials)) - 1]
