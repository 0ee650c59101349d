"""External storage providers of the cluster: what each node has, and where they can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.plan import Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.model.names import nice_key
from gnt.opcodes.query import ExtStorageDiagnose
from gnt.wire.disk_calls import ProviderFacts, ProviderList


class ExtStorageProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as the cluster sees it: `spec/query-fields.json`, resource `extstorage`.

    `node_status` maps node names to what was found there, each `[path, valid, diagnose, parameters]`, in the order of
    the search path. `nodegroup_status` says of each group whether all its nodes can use it. `parameters` are those that
    all nodes have which can.
    """

    name: str
    node_status: dict[str, list[list[Any]]]
    nodegroup_status: dict[str, bool]
    parameters: list[list[str]]


def merge_providers(cluster: Cluster, found: Mapping[str, Sequence[ProviderFacts]]) -> list[ExtStorageProvider]:
    """Merge what the nodes (by name) have; the first of a name on a node is the one that counts there."""
    names = sorted({facts.name for each in found.values() for facts in each}, key=nice_key)
    return [_merge(cluster, name, found) for name in names]


def _merge(cluster: Cluster, name: str, found: Mapping[str, Sequence[ProviderFacts]]) -> ExtStorageProvider:
    by_node = {node: [facts for facts in each if facts.name == name] for node, each in found.items()}
    usable = {node: each[0] for node, each in by_node.items() if each and each[0].valid}
    group_of = {node.name: cluster.groups[node.group].name for node in cluster.nodes.values()}
    groups: dict[str, bool] = {}
    for node in by_node:
        groups[group_of[node]] = groups.get(group_of[node], True) and node in usable
    lists = [facts.parameters for facts in usable.values()]
    return ExtStorageProvider(
        name=name,
        node_status={node: [_status(facts) for facts in each] for node, each in by_node.items()},
        nodegroup_status={group: groups[group] for group in sorted(groups, key=nice_key)},
        parameters=[list(pair) for pair in (lists[0] if lists else []) if all(pair in each for each in lists)],
    )


def _status(facts: ProviderFacts) -> list[Any]:
    return [facts.path, facts.valid, facts.diagnose, [list(pair) for pair in facts.parameters]]


@executes(ExtStorageDiagnose)
class DiagnoseExtStorage(Operation[ExtStorageDiagnose]):
    """Give rows about the external storage providers of all nodes that can host guests."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock nothing."""
        del cluster
        return Locks()

    async def observe(self, cluster: Cluster, look: Look) -> dict[str, Any]:
        """Ask all online nodes side by side."""
        nodes = [node for node in cluster.sorted_nodes() if node.vm_capable and not node.offline]
        answers = await look.ask_all({node.uuid: ProviderList() for node in nodes})
        for node in nodes:
            if isinstance(answers[node.uuid], Exception):
                look.note(f" - WARNING: {node.name}: {answers[node.uuid]}")
        return {node.name: answers[node.uuid] for node in nodes if not isinstance(answers[node.uuid], Exception)}

    def plan(self, cluster: Cluster, seen: dict[str, Any]) -> Plan:
        """Give the wanted fields of the wanted providers; one that is on no node is left out, as clients expect."""
        known = ExtStorageProvider.__struct_fields__
        unknown = [name for name in self.op.output_fields if name not in known]
        if unknown:
            raise Refused(
                WRONG_INPUT,
                f"Unknown output fields selected: {', '.join(unknown)}",
                hint=f"there are: {' '.join(sorted(known))}",
            )
        providers = {provider.name: provider for provider in merge_providers(cluster, seen)}
        wanted = self.op.names or tuple(providers)
        chosen = [providers[name] for name in dict.fromkeys(wanted) if name in providers]
        return Plan(result=[[getattr(provider, field) for field in self.op.output_fields] for provider in chosen])
