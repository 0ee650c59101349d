"""Opcodes that make instances."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.devices import check_disks
from gnt.opcodes.fields import (
    Beparams,
    Compress,
    ConflictsCheck,
    DiskTemplateField,
    FileDriverField,
    FileStorageDir,
    ForceVariant,
    GroupForRoom,
    Hvparams,
    HypervisorField,
    Iallocator,
    IgnoreIpolicy,
    IpCheck,
    NameCheck,
    OpportunisticLocking,
    OsparamsPrivate,
    OsparamsSecret,
    PnodeUuid,
    WaitForSync,
)
from gnt.opcodes.parameter_types import CreateMode, DiskParams, Name, NicParams, Params


class InstanceCreate(Opcode, frozen=True, kw_only=True, tag="OP_INSTANCE_CREATE"):
    """Make an instance: find room, create its disks, install the guest OS and start it."""

    SUMMARY_FIELD: ClassVar[str] = "instance_name"

    instance_name: Annotated[str, Doc("name of the new instance")]
    force_variant: ForceVariant = False
    wait_for_sync: WaitForSync = True
    name_check: NameCheck = False
    ignore_ipolicy: IgnoreIpolicy = False
    opportunistic_locking: OpportunisticLocking = False
    beparams: Beparams = msgspec.field(default_factory=dict)
    disks: Annotated[
        tuple[DiskParams, ...], Doc("the disks, each an object with at least its size (MiB, or text with a unit)")
    ]
    disk_template: DiskTemplateField = None
    group_name: GroupForRoom = None
    file_driver: FileDriverField = None
    file_storage_dir: FileStorageDir = None
    hvparams: Hvparams = msgspec.field(default_factory=dict)
    hypervisor: HypervisorField = None
    iallocator: Iallocator = None
    identify_defaults: Annotated[
        bool, Doc("when importing, let values that equal the cluster's follow the cluster")
    ] = False
    ip_check: IpCheck = False
    conflicts_check: ConflictsCheck = True
    mode: Annotated[CreateMode, Doc("made anew, from an export of this cluster, or sent by another cluster")]
    nics: Annotated[tuple[NicParams, ...], Doc("the network interfaces, each an object; an empty list makes none")]
    no_install: Annotated[bool | None, Doc("leave the disks empty: run no OS scripts")] = None
    osparams: Annotated[Params, Doc("parameters handed to the scripts of the guest OS")] = msgspec.field(
        default_factory=dict
    )
    osparams_private: OsparamsPrivate = None
    osparams_secret: OsparamsSecret = None
    os_type: Annotated[Name | None, Doc("guest OS, with its variant after a plus sign")] = None
    pnode: Annotated[Name | None, Doc("primary node")] = None
    pnode_uuid: PnodeUuid = None
    snode: Annotated[Name | None, Doc("secondary node")] = None
    snode_uuid: Annotated[Name | None, Doc("UUID of the secondary node")] = None
    source_handshake: Annotated[
        list[Any] | None, Doc("version, HMAC and salt by which the sending cluster proves itself")
    ] = None
    source_instance_name: Annotated[Name | None, Doc("name of the instance on the sending cluster")] = None
    source_shutdown_timeout: Annotated[int, Doc("seconds the sending cluster gives the guest to shut down", ge=0)] = 120
    source_x509_ca: Annotated[Name | None, Doc("signed certificate of the sending cluster, in PEM")] = None
    src_node: Annotated[Name | None, Doc("node that holds the export")] = None
    src_node_uuid: Annotated[Name | None, Doc("UUID of the node that holds the export")] = None
    src_path: Annotated[Name | None, Doc("directory of the export: absolute, or a name among the node's exports")] = (
        None
    )
    compress: Compress = "none"
    start: Annotated[bool, Doc("start the guest once it is made")] = True
    forthcoming: Annotated[bool, Doc("only keep names and room; make nothing on the nodes")] = False
    commit: Annotated[bool, Doc("make a forthcoming instance real")] = False
    tags: Annotated[tuple[Name, ...], Doc("tags of the new instance")] = ()
    instance_communication: Annotated[bool, Doc("connect the guest to the cluster's communication network")] = False
    helper_startup_timeout: Annotated[int | None, Doc("seconds that the helper guest is given to start")] = None
    helper_shutdown_timeout: Annotated[int | None, Doc("seconds that the helper guest is given to stop")] = None

    def __post_init__(self) -> None:
        """Refuse disks whose values have a wrong type."""
        check_disks(self, "disks", self.disks)


class InstanceMultiAlloc(Opcode, frozen=True, kw_only=True, tag="OP_INSTANCE_MULTI_ALLOC"):
    """Find room for several instances at once, and submit a job to make each."""

    SINCE: ClassVar[str] = "2.7"

    opportunistic_locking: OpportunisticLocking = False
    iallocator: Iallocator = None
    instances: Annotated[list[Any], Doc("the creations: OP_INSTANCE_CREATE objects")] = msgspec.field(
        default_factory=list
    )
