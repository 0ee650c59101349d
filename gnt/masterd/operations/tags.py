"""Putting tags on objects, and taking them off."""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Operation, executes
from gnt.masterd.plan import Keep, Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, Refused
from gnt.model.names import check_tag
from gnt.model.objects import ClusterSettings, Instance, Network, Node, NodeGroup
from gnt.opcodes.tags import TagsDel, TagsSet

MOST: Final = 4096
"""Tags that an object may have: `spec/cli.md`, add-tags."""

Tagged = ClusterSettings | Instance | Network | Node | NodeGroup
O = TypeVar("O", TagsSet, TagsDel)  # noqa: E741


def _object(cluster: Cluster, op: TagsSet | TagsDel) -> Tagged:
    if op.kind == "cluster":
        return cluster.settings
    if not op.name:
        raise Refused(WRONG_INPUT, f"{op.op_id()}: name: which {op.kind}?")
    match op.kind:
        case "node":
            return cluster.node(op.name)
        case "instance":
            return cluster.instance(op.name)
        case "nodegroup":
            return cluster.group(op.name)
        case _:
            return cluster.network(op.name)


class _Tagging(Operation[O]):
    """What both have in common."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the object; the settings of the cluster are locked as for any change of them."""
        found = _object(cluster, self.op)
        match found:
            case Instance():
                return Locks().exclusive(Level.INSTANCE, found.name)
            case NodeGroup():
                return Locks().exclusive(Level.NODEGROUP, found.uuid)
            case Node():
                return Locks().exclusive(Level.NODE, found.uuid)
            case Network():
                return Locks().exclusive(Level.NETWORK, found.uuid)
            case ClusterSettings():
                return Locks().every(Level.INSTANCE).every(Level.NODEGROUP, exclusive=True)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Record the object with its tags."""
        del seen
        found = _object(cluster, self.op)
        tags = self.tags(found)
        return Plan() if tags == found.tags else Plan((Keep((replace(found, tags=tags),)),))

    def tags(self, found: Tagged) -> tuple[str, ...]:
        """Give the tags as they shall be."""
        raise NotImplementedError


@executes(TagsSet)
class AddTags(_Tagging[TagsSet]):
    """Put tags on an object; one that is there already stays."""

    def tags(self, found: Tagged) -> tuple[str, ...]:
        """Add those that are new, checked."""
        made = tuple(dict.fromkeys((*found.tags, *map(check_tag, self.op.tags))))
        if len(made) > MOST:
            raise Refused(WRONG_INPUT, f"An object can have {MOST} tags, not {len(made)}")
        return made


@executes(TagsDel)
class RemoveTags(_Tagging[TagsDel]):
    """Take tags off an object; all of them must be there."""

    def tags(self, found: Tagged) -> tuple[str, ...]:
        """Leave the others."""
        missing = sorted(set(self.op.tags) - set(found.tags))
        if missing:
            shown = ", ".join(repr(tag[:60]) for tag in missing[:5])
            raise Refused(UNKNOWN_ENTITY, f"There is no tag {shown} on it, so nothing was taken off")
        return tuple(tag for tag in found.tags if tag not in set(self.op.tags))
