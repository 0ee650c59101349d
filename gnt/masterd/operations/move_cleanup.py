"""Setting right what a migration or failover left that was cut off: the record follows the guest."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from gnt.masterd.operation import Look
from gnt.masterd.operations.disk_steps import laid
from gnt.masterd.operations.mirror_steps import at, close_behind
from gnt.masterd.plan import Forward, Keep, Note, Plan, Step, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.model.objects import Instance, Node
from gnt.model.specs import instance_spec
from gnt.wire.calls import DiskRelease
from gnt.wire.guest_calls import GuestFacts, GuestFind, MigrationFinish


class Whereabouts(msgspec.Struct, frozen=True, kw_only=True):
    """The guest as both nodes know it: where it is recorded, and where it may have gone."""

    here: GuestFacts | None
    there: GuestFacts | None


def runs(guest: GuestFacts | None) -> bool:
    """Say whether a guest lives: it runs, or is held."""
    return guest is not None and guest.state in {"running", "paused"}


async def look_at_both(look: Look, instance: Instance, target: Node) -> Whereabouts:
    """Ask both nodes for the guest; both must answer."""
    find = GuestFind(hypervisor=instance.hypervisor, name=instance.name, uuid=instance.uuid)
    here = await look.ask(instance.primary_node, find)
    return Whereabouts(here=here, there=await look.ask(target.uuid, find))


def plan_cleanup(cluster: Cluster, instance: Instance, target: Node, seen: Whereabouts) -> Plan:
    """Record where the guest really runs, and close its disks elsewhere."""
    source = cluster.nodes[instance.primary_node]
    if runs(seen.here) and runs(seen.there):
        raise Refused(
            WRONG_STATE,
            f"{instance.name} runs on {source.name} and on {target.name}",
            hint="stop the wrong one by hand, then repeat",
        )
    if not runs(seen.there):
        note = Note(f"{instance.name} stays on {source.name}")
        return Plan((note, *_clear(cluster, instance, target, source, still=runs(seen.here))))
    moved = replace(instance, primary_node=target.uuid)
    note = Note(f"{instance.name} runs on {target.name}: recorded")
    return Plan((note, Keep((moved,)), *_clear(cluster, instance, source, target, still=True)))


def _clear(cluster: Cluster, instance: Instance, left: Node, here: Node, *, still: bool) -> tuple[Step, ...]:
    """Take away what is left on the node where the guest is not."""
    spec = instance_spec(cluster, instance)
    gone = Forward(on(left.uuid, MigrationFinish(instance=spec, arrived=False)), tolerant=True)
    disks = at(laid(cluster, instance), here.uuid)
    if still:
        return (gone, *close_behind(disks, left.uuid, here.uuid))
    released = (Forward(on(left.uuid, DiskRelease(disk=disk.spec)), tolerant=True) for disk in disks)
    return (gone, *released)
