"""Which nodes have heard of which master candidates, as it stands in the log.

A node takes orders only from a certificate that is in its own list of candidates. So a candidate that was promoted
while a node was away may become master only once that node has acknowledged its digest: a row of the space `meta`
says so, which the master writes when it is told and a candidate that takes over reads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused

HEARD: Final = "heard"
"""The key of the row."""


class Heard(msgspec.Struct, frozen=True):
    """Each of these nodes (UUIDs, sorted) has acknowledged all of these digests, by the UUID of the candidate."""

    candidates: dict[str, list[str]] = {}
    nodes: list[str] = []


NOBODY: Final = Heard()


def encode_heard(heard: Heard) -> bytes:
    """Encode the row."""
    return msgspec.json.encode(heard)


def decode_heard(value: bytes | None) -> Heard:
    """Decode the row; where there is none nobody is known to have heard anything."""
    return NOBODY if value is None else msgspec.json.decode(value, type=Heard)


def digests(cluster: Cluster) -> dict[str, list[str]]:
    """Give the digests that count for each voter: while certificates are being renewed there are two."""
    certificates, renewed = cluster.settings.candidate_certs, cluster.settings.renewed_certs
    voting = {node.uuid for node in cluster.nodes.values() if node.master_candidate} | {cluster.settings.master_node}
    return {
        uuid: sorted({known[uuid] for known in (certificates, renewed) if uuid in known})
        for uuid in sorted(voting & (set(certificates) | set(renewed)))
    }


def revised(heard: Heard, cluster: Cluster, told: Collection[str]) -> Heard:
    """Give what is true when the nodes `told` have acknowledged all digests of now; the same if that is no news.

    While a node that is flagged online is away, nothing new is said of the candidates, for it has not heard; what it
    had heard before stays true. A digest that counts no more is left out at once: a node may have been told so, and
    should it count again it has to hear that anew.
    """
    current = digests(cluster)
    if len(current) < 2:
        return NOBODY
    online = {node.uuid for node in cluster.nodes.values() if not node.offline}
    known = set(heard.nodes) & set(cluster.nodes)
    if online <= set(told):
        covered = heard.candidates == current and online <= known and len(known) == len(heard.nodes)
        return heard if covered else Heard(current, sorted(online))
    kept = {uuid: [one for one in heard.candidates.get(uuid, ()) if one in current[uuid]] for uuid in current}
    kept = {uuid: found for uuid, found in kept.items() if found}
    return Heard(kept, sorted(known | (online & set(told)))) if kept else NOBODY


def unheard(heard: Heard, cluster: Cluster, uuid: str) -> list[str]:
    """Give the nodes (UUIDs) flagged online of which it is not known that they have heard of this candidate."""
    online = sorted(node.uuid for node in cluster.nodes.values() if not node.offline)
    wanted = digests(cluster).get(uuid, [])
    if wanted and set(wanted) <= set(heard.candidates.get(uuid, ())):
        return [one for one in online if one not in heard.nodes]
    return online


def why_not(cluster: Cluster, me: str, deaf: Mapping[str, str]) -> Refused:
    """Give the refusal of a takeover: `deaf` maps nodes (UUIDs) to why they could not be asked, "" if they said no."""
    named = [f"{cluster.nodes[uuid].name} ({why})" if why else cluster.nodes[uuid].name for uuid, why in deaf.items()]
    name = cluster.nodes[me].name
    offline = "; ".join(f"gnt-node modify --offline=yes {cluster.nodes[uuid].name}" for uuid in deaf)
    return Refused(
        WRONG_STATE,
        f"{_list(named)} {'has' if len(named) == 1 else 'have'} not heard yet that {name} is a master candidate, and"
        " would take no orders from it",
        hint="start gnt-noded there, and the master tells it at once; or take over on another candidate; or, on the"
        f" master, {offline}; or --no-voting here: gnt-node add --readd takes it back afterwards",
    )


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
