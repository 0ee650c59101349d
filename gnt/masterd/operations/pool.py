"""The pool of master candidates: how many there should be, who may be one, and the steps that make one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from gnt.masterd.operation import Look
from gnt.masterd.plan import Keep, Note, Promote, Step
from gnt.model.cluster import Cluster
from gnt.model.objects import Node
from gnt.opcodes.base import Opcode
from gnt.opcodes.node import NodeSetParams
from gnt.wire.calls import NodeVerify, VerifyFacts

Certificates = Mapping[str, str]
"""Digests of nodes' certificates by UUID."""


def is_able(node: Node) -> bool:
    """Say whether a node may be a candidate as it is."""
    return node.master_capable and not node.offline and not node.drained


def shortage(cluster: Cluster, without: Collection[str] = ()) -> int:
    """Give how many candidates are lacking, nodes `without` (UUIDs) left out of the count."""
    able = [node for node in cluster.nodes.values() if is_able(node) and node.uuid not in without]
    wanted = min(cluster.settings.candidate_pool_size, len(able))
    return max(0, wanted - sum(node.master_candidate for node in able))


def wants(cluster: Cluster, node: Node) -> bool:
    """Say whether the pool has room for this node."""
    if not is_able(node):
        return False
    others = [other for other in cluster.nodes.values() if is_able(other) and other.uuid != node.uuid]
    wanted = min(cluster.settings.candidate_pool_size, len(others) + 1)
    return sum(other.master_candidate for other in others) < wanted


async def see_certificates(cluster: Cluster, look: Look, without: Collection[str] = ()) -> Certificates:
    """Ask all who could become candidates for their certificates; who does not answer is left out."""
    asked = {
        node.uuid: NodeVerify()
        for node in cluster.nodes.values()
        if is_able(node) and not node.master_candidate and node.uuid not in without
    }
    answers = await look.ask_all(asked) if asked else {}
    return {
        uuid: answer.certificate
        for uuid, answer in answers.items()
        if isinstance(answer, VerifyFacts) and answer.certificate
    }


def promote(cluster: Cluster, node: Node, digest: str) -> tuple[Step, ...]:
    """Give the steps that make a regular node a candidate; `digest` is that of its certificate."""
    certificates = {**cluster.settings.candidate_certs, node.uuid: digest}
    settings = replace(cluster.settings, candidate_certs=certificates)
    return (
        Note(f"{node.name} becomes a master candidate"),
        Promote(node.uuid),
        Keep((replace(node, master_candidate=True), settings)),
    )


def catch_up(cluster: Cluster, reason: str) -> tuple[tuple[Opcode, ...], ...]:
    """Give a job for each candidate that is lacking: for when the opcode that would have promoted them was cut off."""
    able = [node for node in cluster.sorted_nodes() if is_able(node) and not node.master_candidate]
    why = [["gnt:masterd:recovery", reason, 0]]
    return tuple(
        (NodeSetParams(node_name=node.name, node_uuid=node.uuid, master_candidate=True, reason=why),)
        for node in able[: shortage(cluster)]
    )


def refill(cluster: Cluster, seen: Certificates, without: Collection[str] = ()) -> tuple[Step, ...]:
    """Give the steps that fill the pool again, one voter a commit; only nodes that were seen."""
    steps: tuple[Step, ...] = ()
    lacking = shortage(cluster, without)
    for node in cluster.sorted_nodes():
        if not lacking:
            break
        if node.uuid not in seen or node.uuid in without:
            continue
        made = promote(cluster, node, seen[node.uuid])
        steps += made
        for step in made:
            for obj in step.objects if isinstance(step, Keep) else ():
                cluster = cluster.put(obj)
        lacking -= 1
    if lacking:
        steps += (Note(f"the pool of master candidates lacks {lacking}: no other node that may be one answers"),)
    return steps
