"""Steps and checks that several operations on instances share."""

from __future__ import annotations

from collections.abc import Sequence

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.plan import Note
from gnt.model.checks import needs_of, policy_violations
from gnt.model.cluster import Cluster
from gnt.model.errors import ENVIRONMENT, NO_RESOURCES, WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.objects import HypervisorName, Instance, NicMode, Node
from gnt.model.policy import fill_ipolicy
from gnt.model.specs import InstanceSpec
from gnt.wire.calls import NodeFacts
from gnt.wire.guest_calls import GuestFacts


def nodes_of(cluster: Cluster, instance: Instance) -> tuple[str, ...]:
    """Give the UUIDs of all nodes of an instance, the primary first."""
    return (instance.primary_node, *cluster.secondary_uuids(instance))


def locks_of(cluster: Cluster, instance: Instance, *more: str, room: bool = True) -> Locks:
    """Lock an instance and all its nodes, and `more` (UUIDs), exclusively; with `room` what they have free too."""
    nodes = dict.fromkeys((*nodes_of(cluster, instance), *more))
    locks = Locks().exclusive(Level.INSTANCE, instance.name).exclusive(Level.NODE, *nodes)
    return locks.exclusive(Level.NODE_RES, *nodes) if room else locks


def is_up(guest: GuestFacts | None) -> bool:
    """Say whether a guest uses its disks: it runs, or is held."""
    return guest is not None and guest.state != "user_down"


def refuse_running(instance: Instance, guest: GuestFacts | None, what: str) -> None:
    """Refuse what a running guest does not bear: `what`, such as `its disks cannot be deactivated`."""
    if is_up(guest):
        raise Refused(WRONG_STATE, f"{instance.name} is running: {what}", hint=f"gnt-instance shutdown {instance.name}")


def refuse_unusable(node: Node, *, as_what: str) -> None:
    """Refuse a node that cannot take an instance: offline, drained or without hypervisor. `as_what`: primary node."""
    for flag, what in ((node.offline, "marked offline"), (node.drained, "drained")):
        if flag:
            raise Refused(WRONG_STATE, f"{node.name} is {what} and cannot be {as_what}", hint="choose another node")
    if not node.vm_capable:
        raise Refused(WRONG_STATE, f"{node.name} is not vm_capable and cannot be {as_what}", hint="choose another node")


def refuse_offline(node: Node, as_what: str = "primary node", *, recorded: bool = False) -> None:
    """Refuse to act on a node that is flagged offline; `recorded`: the command can record the wish only."""
    if node.offline:
        raise Refused(
            WRONG_STATE,
            f"the {as_what} {node.name} is marked offline",
            hint=f"gnt-node modify --offline=no {node.name}"
            + (", or --ignore-offline to record the wish only" if recorded else ""),
        )


def refuse_missing_bridges(node: Node, missing: Sequence[str]) -> None:
    """Refuse a node without the bridges that the instance's interfaces link to."""
    if missing:
        raise Refused(
            ENVIRONMENT,
            f"Missing bridges {', '.join(missing)} on {node.name}",
            hint="make the bridge there, or give another link: --net 0:link=BRIDGE",
        )


def refuse_without_memory(node: Node, facts: NodeFacts, hypervisor: str, wanted: int) -> None:
    """Refuse a node whose hypervisor has less free memory (MiB) than the instance needs, or does not say."""
    seen = facts.hypervisors.get(hypervisor)
    if seen is None:
        why = facts.problems.get(hypervisor, "no answer")
        raise Refused(ENVIRONMENT, f"{node.name} does not tell its free memory for {hypervisor}: {why}")
    if seen.memory_free < wanted:
        raise Refused(
            NO_RESOURCES,
            f"Not enough memory on {node.name}: {wanted} MiB wanted, {seen.memory_free} MiB free",
            hint="stop or move other instances, or give less memory: -B maxmem=SIZE",
        )


def bridges_of(spec: InstanceSpec) -> list[str]:
    """Give the bridges that the instance's interfaces link to; a fake guest has no use for them."""
    if spec.hypervisor is HypervisorName.FAKE:
        return []
    return sorted({nic.link for nic in spec.nics if nic.mode is NicMode.BRIDGED and nic.link})


def policy_notes(
    cluster: Cluster, instance: Instance, *, ignore: bool, before: Cluster | None = None
) -> tuple[Note, ...]:
    """Refuse an instance (as it stands in this model) that is outside its group's policy, or warn of it.

    `before` is the model without the change: what was outside of the policy there already is not held against it.
    """
    policy = fill_ipolicy(cluster, cluster.group_of(cluster.nodes[instance.primary_node]))
    known = policy_violations(policy, needs_of(before, before.instances[instance.uuid])) if before is not None else []
    found = [text for text in policy_violations(policy, needs_of(cluster, instance)) if text not in known]
    if found and not ignore:
        raise Refused(
            WRONG_INPUT, f"Instance policy violated: {'; '.join(found)}", hint="--ignore-ipolicy, or other sizes"
        )
    return tuple(Note(f" - WARNING: instance policy violated: {text}") for text in found)


def move_policy_notes(cluster: Cluster, instance: Instance, moved: Instance, *, ignore: bool) -> tuple[Note, ...]:
    """Refuse a move into a group whose policy the instance is outside of, or warn; within a group none is asked."""
    if cluster.nodes[instance.primary_node].group == cluster.nodes[moved.primary_node].group:
        return ()
    return policy_notes(cluster.put(moved), moved, ignore=ignore)
