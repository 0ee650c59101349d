"""Opcodes about the disks of an instance."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, InstanceOpcode
from gnt.opcodes.devices import check_recreated
from gnt.opcodes.fields import EarlyRelease, Iallocator, IgnoreIpolicy, NodeUuids, RemoteNodeUuid, WaitForSync
from gnt.opcodes.parameter_types import DiskIndex, DiskParams, Name, NonNegative, ReplaceMode


class InstanceActivateDisks(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_ACTIVATE_DISKS"):
    """Attach an instance's disks on its nodes, without starting the guest."""

    ignore_size: Annotated[bool, Doc("take the disks although their size differs from the recorded one")] = False
    wait_for_sync: Annotated[bool, Doc("answer only when the mirrors are in step")] = False


class InstanceDeactivateDisks(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_DEACTIVATE_DISKS"):
    """Detach an instance's disks from its nodes."""

    force: Annotated[bool, Doc("detach the disks without asking whether the guest runs")] = False


class InstanceGrowDisk(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_GROW_DISK"):
    """Make a disk larger."""

    wait_for_sync: WaitForSync = True
    disk: Annotated[DiskIndex, Doc("index of the disk")]
    amount: Annotated[int, Doc("MiB to grow by, or with absolute the size to reach", ge=0)]
    absolute: Annotated[bool, Doc("take the amount as the final size")] = False
    ignore_ipolicy: IgnoreIpolicy = False


class InstanceRecreateDisks(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_RECREATE_DISKS"):
    """Make lost disks again, empty."""

    SINCE: ClassVar[str] = "2.1"

    # Not NonNegative here: a bounded int beside a tuple makes msgspec 0.22 crash; check_recreated has the bound.
    disks: Annotated[
        tuple[int | tuple[NonNegative, DiskParams], ...],
        Doc("indexes of the disks, or [index, new parameters] pairs; none means all"),
    ] = ()
    nodes: Annotated[tuple[Name, ...], Doc("nodes for the new disks, primary first; none means where they were")] = ()
    node_uuids: NodeUuids = None
    iallocator: Iallocator = None

    def __post_init__(self) -> None:
        """Refuse a mixture of indexes and pairs, and parameters of a wrong type."""
        check_recreated(self, "disks", self.disks)


class InstanceReplaceDisks(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_REPLACE_DISKS"):
    """Build one side of an instance's mirrors anew, in place or on another node."""

    early_release: EarlyRelease = False
    ignore_ipolicy: IgnoreIpolicy = False
    mode: Annotated[ReplaceMode, Doc("which side is replaced, and by what")]
    disks: Annotated[tuple[DiskIndex, ...], Doc("indexes of the disks; none means all")] = ()
    remote_node: Annotated[Name | None, Doc("the new secondary node")] = None
    remote_node_uuid: RemoteNodeUuid = None
    iallocator: Iallocator = None
