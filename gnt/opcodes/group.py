"""Opcodes about node groups."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.fields import (
    AllocPolicyField,
    Diskparams,
    DiskState,
    EarlyRelease,
    GroupName,
    HvState,
    Iallocator,
    Ipolicy,
    Ndparams,
    NewName,
    NodeUuids,
    TargetGroups,
)
from gnt.opcodes.parameter_types import Name


class GroupAdd(Opcode, frozen=True, kw_only=True, tag="OP_GROUP_ADD"):
    """Make a node group."""

    SUMMARY_FIELD: ClassVar[str] = "group_name"
    SINCE: ClassVar[str] = "2.4"

    group_name: Annotated[str, Doc("name of the new node group", min_length=1)]
    alloc_policy: AllocPolicyField = None
    ndparams: Ndparams = None
    diskparams: Diskparams = None
    hv_state: HvState = None
    disk_state: DiskState = None
    ipolicy: Ipolicy = None


class GroupAssignNodes(Opcode, frozen=True, kw_only=True, tag="OP_GROUP_ASSIGN_NODES"):
    """Move nodes into a node group."""

    SUMMARY_FIELD: ClassVar[str] = "group_name"
    SINCE: ClassVar[str] = "2.4"

    group_name: GroupName
    force: Annotated[bool, Doc("move the nodes although mirrored instances are then split between groups")] = False
    nodes: Annotated[tuple[Name, ...], Doc("nodes that move into the group")]
    node_uuids: NodeUuids = None


class GroupSetParams(Opcode, frozen=True, kw_only=True, tag="OP_GROUP_SET_PARAMS"):
    """Change a node group's parameters; what is left out stays."""

    SUMMARY_FIELD: ClassVar[str] = "group_name"
    SINCE: ClassVar[str] = "2.4"

    group_name: GroupName
    alloc_policy: AllocPolicyField = None
    ndparams: Ndparams = None
    diskparams: Diskparams = None
    hv_state: HvState = None
    disk_state: DiskState = None
    ipolicy: Ipolicy = None


class GroupRename(Opcode, frozen=True, kw_only=True, tag="OP_GROUP_RENAME"):
    """Give a node group another name."""

    SINCE: ClassVar[str] = "2.4"

    group_name: GroupName
    new_name: NewName


class GroupRemove(Opcode, frozen=True, kw_only=True, tag="OP_GROUP_REMOVE"):
    """Remove a node group that has no nodes."""

    SUMMARY_FIELD: ClassVar[str] = "group_name"
    SINCE: ClassVar[str] = "2.4"

    group_name: GroupName


class GroupEvacuate(Opcode, frozen=True, kw_only=True, tag="OP_GROUP_EVACUATE"):
    """Submit the jobs that move every instance out of a node group."""

    SUMMARY_FIELD: ClassVar[str] = "group_name"
    SINCE: ClassVar[str] = "2.5"

    group_name: GroupName
    early_release: EarlyRelease = False
    iallocator: Iallocator = None
    target_groups: TargetGroups = None
    sequential: Annotated[bool, Doc("let the jobs run one after the other")] = False
    force_failover: Annotated[bool, Doc("always stop and start guests, even where a live migration would do")] = False
