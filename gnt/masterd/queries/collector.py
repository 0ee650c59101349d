"""What a query asks of nodes: each node once, side by side, within a few seconds altogether."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from msgspec.structs import replace
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from gnt.masterd.queries.fields import Asks
from gnt.masterd.queries.node import PHYSICAL_VOLUMES, default_unit
from gnt.masterd.queries.view import Facts, View
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError
from gnt.model.objects import Instance, Node
from gnt.model.params import fill_hv
from gnt.model.specs import instance_spec
from gnt.wire.calls import NodeCall, NodeInfo, StorageUnit
from gnt.wire.guest_calls import GuestConsole, GuestList
from gnt.wire.offer_calls import ExportList

R = TypeVar("R")

AskAll = Callable[[Sequence[tuple[str, NodeCall[Any]]]], Awaitable[list[Any]]]
"""Makes calls (node's UUID, call) side by side; gives a value or a `GntError` for each, in order."""


def side_by_side(ask: Callable[[str, NodeCall[Any]], Deferred[Any]]) -> AskAll:
    """Make many calls out of one: all are begun before the first is waited for."""

    async def ask_all(wanted: Sequence[tuple[str, NodeCall[Any]]]) -> list[Any]:
        ends = await DeferredList([ask(node, call) for node, call in wanted], consumeErrors=True)
        return [value if good else _own(cast("Failure", value).value) for good, value in ends]

    return ask_all


def _own(error: BaseException | None) -> GntError:
    """Give an error of the family; any other is a fault of ours and is raised."""
    if not isinstance(error, GntError):
        raise error if error is not None else AssertionError("a failure without an error")
    return error


async def look(ask_all: AskAll, view: View, asks: Asks, objects: Sequence[Any]) -> Facts:
    """Ask what the fields need of the nodes that these instances or nodes concern; those marked offline are spared."""
    if Asks.FACTS in asks:
        nodes = [node for node in objects if not node.offline and node.vm_capable]
        info = _node_info(view)
        answers = await ask_all([(node.uuid, info(node)) for node in nodes])
        return Facts(nodes={node.uuid: answer for node, answer in zip(nodes, answers, strict=True)})
    if Asks.GUESTS not in asks:
        return Facts()
    facts = Facts(guests=await _guests(ask_all, view, objects))
    if Asks.CONSOLES not in asks:
        return facts
    return Facts(
        guests=facts.guests, consoles=await _consoles(ask_all, View(view.cluster, facts, view.tables), objects)
    )


def _node_info(view: View) -> Callable[[Node], NodeInfo]:
    """Make what gives the question to a node; most nodes are asked the same."""
    cluster = view.cluster
    hypervisor = cluster.settings.default_hypervisor
    unit = default_unit(cluster)
    units = [] if unit is None else [unit]
    usual = NodeInfo(storage=units, hypervisors={str(hypervisor): fill_hv(cluster, hypervisor, "", {})})
    group = cluster.settings.volume_group_name
    if not group:
        return lambda _node: usual
    spindles = replace(usual, storage=[*units, StorageUnit(kind=PHYSICAL_VOLUMES, key=group)])
    return lambda node: spindles if view.nd(node)["exclusive_storage"] else usual


async def _guests(ask_all: AskAll, view: View, instances: Iterable[Instance]) -> Mapping[str, Any]:
    """Ask every node that should or could run one of the instances."""
    concerned: dict[str, None] = {}
    for instance in instances:
        concerned[instance.primary_node] = None
        for uuid in view.secondary_uuids(instance):
            concerned[uuid] = None
    cluster = view.cluster
    nodes = [uuid for uuid in concerned if uuid in view.nodes and not view.nodes[uuid].offline]
    hypervisors = {str(name): fill_hv(cluster, name, "", {}) for name in cluster.settings.enabled_hypervisors}
    call = GuestList(hypervisors=hypervisors)
    return dict(zip(nodes, await ask_all([(uuid, call) for uuid in nodes]), strict=True))


async def _consoles(ask_all: AskAll, view: View, instances: Iterable[Instance]) -> Mapping[str, Any]:
    """Ask the nodes where the instances run how to reach their consoles."""
    wanted: list[tuple[str, NodeCall[Any]]] = []
    asked: list[str] = []
    for instance in instances:
        for uuid in (instance.primary_node, *view.secondary_uuids(instance)):
            if instance.uuid in view.guests.get(uuid, ()):
                spec = instance_spec(view.cluster, instance)
                wanted.append((uuid, GuestConsole(instance=spec, node_name=view.node_names[uuid])))
                asked.append(instance.uuid)
                break
    return dict(zip(asked, await ask_all(wanted), strict=True))


async def offered(ask_all: AskAll, cluster: Cluster, call: NodeCall[list[R]]) -> dict[str, list[R]]:
    """Ask all nodes that host instances for what they offer; the answers of those that gave one, by name."""
    nodes = [node for node in cluster.sorted_nodes() if node.vm_capable and not node.offline]
    answers = await ask_all([(node.uuid, call) for node in nodes])
    return {node.name: answer for node, answer in zip(nodes, answers, strict=True) if isinstance(answer, list)}


async def exports_on(ask_all: AskAll, nodes: Sequence[Node]) -> dict[str, list[str] | Exception]:
    """Ask nodes for the names of their exports, by UUID; those marked offline are spared."""
    asked = [node.uuid for node in nodes if not node.offline]
    return dict(zip(asked, await ask_all([(uuid, ExportList()) for uuid in asked]), strict=True))
