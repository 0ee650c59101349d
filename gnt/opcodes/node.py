"""Opcodes about nodes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, NodeOpcode, Opcode
from gnt.opcodes.fields import (
    AllowRuntimeChanges,
    DiskState,
    EarlyRelease,
    HvState,
    Iallocator,
    IgnoreIpolicy,
    Live,
    MasterCapable,
    Ndparams,
    NodeUuids,
    RemoteNodeUuid,
    TargetNode,
    TargetNodeUuid,
    UseLocking,
    VmCapable,
)
from gnt.opcodes.parameter_types import EvacMode, MigrationMode, Name, OobAction


class NodeAdd(Opcode, frozen=True, kw_only=True, tag="OP_NODE_ADD"):
    """Take a node into the cluster, or take it back."""

    SUMMARY_FIELD: ClassVar[str] = "node_name"

    node_name: Annotated[str, Doc("name of the node; it must resolve", min_length=1)]
    hv_state: HvState = None
    disk_state: DiskState = None
    primary_ip: Annotated[Name | None, Doc("address the node resolves to; the operation fills it in")] = None
    secondary_ip: Annotated[Name | None, Doc("address for the traffic between nodes; left out, the primary one")] = None
    readd: Annotated[bool, Doc("take back a node that is known already")] = False
    group: Annotated[Name | None, Doc("name or UUID of the node group that the node joins")] = None
    master_capable: MasterCapable = None
    vm_capable: VmCapable = None
    ndparams: Ndparams = None
    node_setup: Annotated[bool, Doc("prepare SSH on the new node too")] = False


class NodeRemove(NodeOpcode, frozen=True, kw_only=True, tag="OP_NODE_REMOVE"):
    """Remove a node that holds no instances."""


class NodeSetParams(NodeOpcode, frozen=True, kw_only=True, tag="OP_NODE_SET_PARAMS"):
    """Change a node's roles and parameters; what is left out stays."""

    force: Annotated[bool, Doc("change the node although too few candidates remain or a check objects")] = False
    hv_state: HvState = None
    disk_state: DiskState = None
    master_candidate: Annotated[bool | None, Doc("whether the node is a master candidate")] = None
    offline: Annotated[bool | None, Doc("whether the node counts as switched off and is left alone")] = None
    drained: Annotated[bool | None, Doc("whether the node is kept free of new instances")] = None
    auto_promote: Annotated[bool, Doc("make other nodes candidates if too few would remain")] = False
    master_capable: MasterCapable = None
    vm_capable: VmCapable = None
    secondary_ip: Annotated[Name | None, Doc("new address for the traffic between nodes")] = None
    ndparams: Ndparams = None
    powered: Annotated[bool | None, Doc("whether the node's power is recorded as on")] = None


class NodeEvacuate(NodeOpcode, frozen=True, kw_only=True, tag="OP_NODE_EVACUATE"):
    """Submit the jobs that move instances away from a node."""

    SINCE: ClassVar[str] = "2.1"

    early_release: EarlyRelease = False
    remote_node: Annotated[Name | None, Doc("node that takes the instances")] = None
    remote_node_uuid: RemoteNodeUuid = None
    iallocator: Iallocator = None
    mode: Annotated[EvacMode, Doc("which instances leave: those with the node as primary, as secondary, or all")]
    ignore_soft_errors: Annotated[bool | None, Doc("let the allocator break rules that are only wishes")] = None


class NodeMigrate(NodeOpcode, frozen=True, kw_only=True, tag="OP_NODE_MIGRATE"):
    """Submit the jobs that migrate every guest away from its primary node."""

    SINCE: ClassVar[str] = "2.1"

    mode: Annotated[MigrationMode | None, Doc("move the running guests, or stop them for the move")] = None
    live: Live = None
    target_node: TargetNode = None
    target_node_uuid: TargetNodeUuid = None
    allow_runtime_changes: AllowRuntimeChanges = True
    ignore_ipolicy: IgnoreIpolicy = False
    iallocator: Iallocator = None


class NodePowercycle(NodeOpcode, frozen=True, kw_only=True, tag="OP_NODE_POWERCYCLE"):
    """Reset a node hard, from its own kernel."""

    SINCE: ClassVar[str] = "2.1"

    force: Annotated[bool, Doc("reset the node even if it is the master")] = False


class OobCommand(Opcode, frozen=True, kw_only=True, tag="OP_OOB_COMMAND"):
    """Switch nodes on or off, or ask for their health, past their operating system."""

    SINCE: ClassVar[str] = "2.4"

    node_names: Annotated[tuple[Name, ...], Doc("nodes to act upon; none named means all")] = ()
    node_uuids: NodeUuids = None
    command: Annotated[OobAction, Doc("what to do with the node's power")]
    timeout: Annotated[int, Doc("seconds the helper program may run")] = 60
    ignore_status: Annotated[bool, Doc("switch off also nodes that are not marked offline")] = False
    power_delay: Annotated[float, Doc("seconds between switching on one node and the next")] = 2.0


class RestrictedCommand(Opcode, frozen=True, kw_only=True, tag="OP_RESTRICTED_COMMAND"):
    """Run a command that the administrator approved on nodes."""

    SINCE: ClassVar[str] = "2.7"

    use_locking: UseLocking = False
    nodes: Annotated[tuple[Name, ...], Doc("nodes on which the command runs")]
    node_uuids: NodeUuids = None
    command: Annotated[str, Doc("name of the script in the nodes' directory of approved commands", min_length=1)]
