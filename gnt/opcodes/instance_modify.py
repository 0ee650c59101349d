"""The opcode that changes an instance's parameters, disks and interfaces."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gnt.opcodes.base import Doc, InstanceOpcode
from gnt.opcodes.devices import check_changes
from gnt.opcodes.fields import (
    Beparams,
    ConflictsCheck,
    FileDriverField,
    FileStorageDir,
    ForceVariant,
    Hvparams,
    Iallocator,
    IgnoreIpolicy,
    OsparamsPrivate,
    PnodeUuid,
    RemoteNodeUuid,
    WaitForSync,
)
from gnt.opcodes.parameter_types import DiskTemplate, Name, Params, Positive


class InstanceSetParams(InstanceOpcode, frozen=True, kw_only=True, tag="OP_INSTANCE_SET_PARAMS"):
    """Change an instance's parameters, disks and interfaces; what is left out stays."""

    force: Annotated[bool, Doc("apply the change although checks object, where the objection is not fatal")] = False
    force_variant: ForceVariant = False
    ignore_ipolicy: IgnoreIpolicy = False
    nics: Annotated[
        tuple[tuple[Any, ...], ...],
        Doc("changes [action, index or name or UUID, parameters]; the older pairs are taken too"),
    ] = ()
    disks: Annotated[
        tuple[tuple[Any, ...], ...],
        Doc("changes [action, index or name or UUID, parameters]; the older pairs are taken too"),
    ] = ()
    beparams: Beparams = msgspec.field(default_factory=dict)
    runtime_mem: Annotated[Positive | None, Doc("memory in MiB that the running guest is ballooned to")] = None
    hvparams: Hvparams = msgspec.field(default_factory=dict)
    disk_template: Annotated[DiskTemplate | None, Doc("convert the disks to this template")] = None
    ext_params: Annotated[Params, Doc("parameters for external storage, when converting to it")] = msgspec.field(
        default_factory=dict
    )
    file_driver: FileDriverField = None
    file_storage_dir: FileStorageDir = None
    pnode: Annotated[Name | None, Doc("new primary node, recorded without moving any data")] = None
    pnode_uuid: PnodeUuid = None
    remote_node: Annotated[Name | None, Doc("secondary node for a conversion to a mirrored template")] = None
    remote_node_uuid: RemoteNodeUuid = None
    iallocator: Iallocator = None
    os_name: Annotated[Name | None, Doc("guest OS to record; nothing is installed")] = None
    osparams: Annotated[Params, Doc("changes of the parameters handed to the scripts of the guest OS")] = msgspec.field(
        default_factory=dict
    )
    osparams_private: OsparamsPrivate = None
    wait_for_sync: WaitForSync = True
    offline: Annotated[bool | None, Doc("mark the stopped instance as offline, or as down again")] = None
    conflicts_check: ConflictsCheck = True
    hotplug: Annotated[bool, Doc("change the devices of the running guest too")] = True
    instance_communication: Annotated[
        bool | None, Doc("connect the guest to the cluster's communication network, or disconnect it")
    ] = None

    def __post_init__(self) -> None:
        """Refuse changes of an unknown form."""
        check_changes(self, "nics", self.nics, disks=False)
        check_changes(self, "disks", self.disks, disks=True)
