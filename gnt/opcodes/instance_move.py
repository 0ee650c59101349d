"""Opcodes that bring instances to other nodes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, InstanceOpcode
from gnt.opcodes.fields import (
    AllowRuntimeChanges,
    Cleanup,
    Compress,
    EarlyRelease,
    Iallocator,
    IgnoreIpolicy,
    Live,
    ShutdownTimeout,
    TargetGroups,
    TargetNode,
    TargetNodeUuid,
)
from gnt.opcodes.parameter_types import MigrationMode


class InstanceMigrate(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_MIGRATE"):
    """Move a running guest to the node where the other copy of its disks is."""

    mode: Annotated[MigrationMode | None, Doc("move the running guest, or stop it for the move")] = None
    live: Live = None
    target_node: TargetNode = None
    target_node_uuid: TargetNodeUuid = None
    allow_runtime_changes: AllowRuntimeChanges = True
    ignore_ipolicy: IgnoreIpolicy = False
    cleanup: Cleanup = False
    iallocator: Iallocator = None
    allow_failover: Annotated[bool, Doc("stop and start the guest where it cannot be migrated")] = False
    ignore_hvversions: Annotated[bool, Doc("migrate although the hypervisors' versions differ")] = False


class InstanceFailover(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_FAILOVER"):
    """Stop a guest and start it where the other copy of its disks is."""

    shutdown_timeout: ShutdownTimeout = 120
    ignore_consistency: Annotated[bool, Doc("go on although the data on the target may be out of date")] = False
    target_node: TargetNode = None
    target_node_uuid: TargetNodeUuid = None
    ignore_ipolicy: IgnoreIpolicy = False
    cleanup: Cleanup = False
    iallocator: Iallocator = None
    confirm_off: Annotated[
        str | None,
        Doc(
            "the words NODE is off, typed by a person who has seen to it: needed where the old node is marked offline, "
            "but was not switched off out of band"
        ),
    ] = None


class InstanceMove(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_MOVE"):
    """Copy an instance's disks to another node and run it there."""

    SINCE: ClassVar[str] = "2.1"

    shutdown_timeout: ShutdownTimeout = 120
    ignore_ipolicy: IgnoreIpolicy = False
    target_node: Annotated[str, Doc("node to move to", min_length=1)]
    target_node_uuid: TargetNodeUuid = None
    compress: Compress = "none"
    ignore_consistency: Annotated[bool, Doc("go on although the source cannot be shut down cleanly")] = False


class InstanceChangeGroup(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_CHANGE_GROUP"):
    """Submit the jobs that move an instance to another node group."""

    SINCE: ClassVar[str] = "2.5"

    early_release: EarlyRelease = False
    iallocator: Iallocator = None
    target_groups: TargetGroups = None
