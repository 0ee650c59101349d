"""Guest OS definitions of the cluster: what all nodes have in common, and what each has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.plan import Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, Refused
from gnt.model.names import nice_key
from gnt.opcodes.query import OsDiagnose
from gnt.wire.calls import OsFacts, OsList


class OsDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A guest OS as the cluster sees it: `spec/query-fields.json`, resource `os`.

    Variants, parameters and API versions are those that all nodes have; `node_status` maps node names to what was
    found there, in the order of the search path.
    """

    name: str
    valid: bool
    hidden: bool
    blacklisted: bool
    variants: list[str]
    parameters: list[list[str]]
    api_versions: list[int]
    node_status: dict[str, list[list[Any]]]
    os_hvp: Mapping[str, Any]
    osparams: Mapping[str, Any]
    trusted: bool


def merge_definitions(cluster: Cluster, found: Mapping[str, Sequence[OsFacts]]) -> list[OsDefinition]:
    """Merge what the nodes (by name) have: an OS is valid if the first of its name is valid on every node."""
    names = sorted({facts.name for each in found.values() for facts in each}, key=nice_key)
    return [_merge(cluster, name, found) for name in names]


def _merge(cluster: Cluster, name: str, found: Mapping[str, Sequence[OsFacts]]) -> OsDefinition:
    by_node = {node: [facts for facts in each if facts.name == name] for node, each in found.items()}
    first = [each[0] if each else None for each in by_node.values()]
    usable = [facts for facts in first if facts is not None and facts.valid]
    settings = cluster.settings
    return OsDefinition(
        name=name,
        valid=bool(first) and len(usable) == len(first),
        hidden=name in settings.hidden_os,
        blacklisted=name in settings.blacklisted_os,
        variants=_common([facts.variants for facts in usable]),
        parameters=[list(pair) for pair in _common([facts.parameters for facts in usable])],
        api_versions=_common([facts.api_versions for facts in usable]),
        node_status={node: [_status(facts) for facts in each] for node, each in by_node.items()},
        os_hvp=settings.os_hvp.get(name, {}),
        osparams=settings.osparams.get(name, {}),
        trusted=all(facts.trusted for facts in usable),
    )


def _common(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """Give what all lists have, in the order of the first."""
    if not lists:
        return []
    return [item for item in lists[0] if all(item in other for other in lists[1:])]


def _status(facts: OsFacts) -> list[Any]:
    parameters = [list(pair) for pair in facts.parameters]
    return [facts.path, facts.valid, facts.diagnose, facts.variants, parameters, facts.api_versions, facts.trusted]


@executes(OsDiagnose)
class DiagnoseOs(Operation[OsDiagnose]):
    """Give rows about the guest OS definitions of all nodes that can host guests."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock nothing."""
        del cluster
        return Locks()

    async def observe(self, cluster: Cluster, look: Look) -> dict[str, Any]:
        """Ask all online nodes side by side."""
        nodes = [node for node in cluster.sorted_nodes() if node.vm_capable and not node.offline]
        answers = await look.ask_all({node.uuid: OsList() for node in nodes})
        for node in nodes:
            if isinstance(answers[node.uuid], Exception):
                look.note(f" - WARNING: {node.name}: {answers[node.uuid]}")
        return {node.name: answers[node.uuid] for node in nodes if not isinstance(answers[node.uuid], Exception)}

    def plan(self, cluster: Cluster, seen: dict[str, Any]) -> Plan:
        """Give the wanted fields of the wanted definitions."""
        known = OsDefinition.__struct_fields__
        for name in self.op.output_fields:
            if name not in known:
                raise Refused(
                    WRONG_INPUT, f"Unknown output fields selected: {name}", hint=f"there are: {' '.join(sorted(known))}"
                )
        definitions = {definition.name: definition for definition in merge_definitions(cluster, seen)}
        for name in self.op.names:
            if name not in definitions:
                raise Refused(
                    UNKNOWN_ENTITY,
                    f"Guest OS {name} is on no node",
                    hint=f"there are: {' '.join(definitions) or 'none'}",
                )
        chosen = [definitions[name] for name in self.op.names] if self.op.names else list(definitions.values())
        return Plan(result=[[getattr(definition, field) for field in self.op.output_fields] for definition in chosen])
