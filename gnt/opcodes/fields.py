"""Parameters that several opcodes have, said once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from gnt.opcodes.base import Doc
from gnt.opcodes.parameter_types import (
    AllocPolicy,
    DiskTemplate,
    FileDriver,
    Hypervisor,
    Name,
    Params,
    QueryResource,
    StorageType,
    TagKind,
    VerifyEcode,
    VerifyOptionalCheck,
)

AddReservedIps: TypeAlias = Annotated[tuple[str, ...] | None, Doc("IPv4 addresses that guests never get")]
AllocPolicyField: TypeAlias = Annotated[
    AllocPolicy | None, Doc("how readily the allocator places instances in the group")
]
AllowRuntimeChanges: TypeAlias = Annotated[bool, Doc("shrink the guest's memory if the target has too little")]
Beparams: TypeAlias = Annotated[Params, Doc("backend parameters (memory, processors) that differ from the cluster's")]
Cleanup: TypeAlias = Annotated[bool, Doc("move nothing, only set right what an interrupted move left behind")]
Compress: TypeAlias = Annotated[
    str, Doc("tool that compresses the disk contents on their way; none sends them as they are")
]
ConflictsCheck: TypeAlias = Annotated[bool, Doc("refuse addresses that are in use elsewhere in the cluster")]
DebugSimulateErrors: TypeAlias = Annotated[bool, Doc("report every check as failed, to try what reads the report")]
DiskState: TypeAlias = Annotated[Params | None, Doc("figures on space for each storage type and each of its volumes")]
DiskTemplateField: TypeAlias = Annotated[DiskTemplate | None, Doc("how the disks are stored")]
Diskparams: TypeAlias = Annotated[
    dict[DiskTemplate, Params] | None, Doc("parameters of the disk layers, for each disk template")
]
EarlyRelease: TypeAlias = Annotated[bool, Doc("give up the old nodes before the new mirror is in step")]
ErrorCodes: TypeAlias = Annotated[bool, Doc("lead each line with its code, for programs")]
FileDriverField: TypeAlias = Annotated[FileDriver | None, Doc("how file disks are attached")]
FileStorageDir: TypeAlias = Annotated[
    Name | None, Doc("directory below the cluster's own, in which this instance's file disks lie")
]
ForceVariant: TypeAlias = Annotated[bool, Doc("accept a variant that the OS definition does not list")]
Gateway: TypeAlias = Annotated[str | None, Doc("IPv4 address of the router")]
Gateway6: TypeAlias = Annotated[str | None, Doc("IPv6 address of the router")]
GroupToCheck: TypeAlias = Annotated[Name | None, Doc("node group to check; left out, all of them")]
GroupName: TypeAlias = Annotated[str, Doc("name or UUID of the node group", min_length=1)]
GroupForRoom: TypeAlias = Annotated[Name | None, Doc("node group in which the allocator looks for room")]
HvState: TypeAlias = Annotated[
    Params | None, Doc("figures on memory and processors that each hypervisor keeps for itself")
]
Hvparams: TypeAlias = Annotated[Params, Doc("hypervisor parameters that differ from the cluster's")]
HypervisorField: TypeAlias = Annotated[Hypervisor | None, Doc("hypervisor; left out, the cluster's default")]
Iallocator: TypeAlias = Annotated[
    Name | None, Doc("allocator that picks the nodes; a dot stands for the cluster's default")
]
IgnoreErrors: TypeAlias = Annotated[frozenset[VerifyEcode], Doc("codes whose errors count as warnings")]
IgnoreIpolicy: TypeAlias = Annotated[bool, Doc("turn violations of the instance policy into warnings")]
IpCheck: TypeAlias = Annotated[bool, Doc("refuse a name whose address somebody answers on")]
Ipolicy: TypeAlias = Annotated[
    Params | None, Doc("limits that instances of the group must keep, where they differ from the cluster's")
]
IsStrict: TypeAlias = Annotated[bool, Doc("wait for every lock; false looks only at what is free now")]
Kind: TypeAlias = Annotated[TagKind, Doc("kind of the tagged object")]
Live: TypeAlias = Annotated[bool | None, Doc("older spelling of mode: true for live, false for non-live; not both")]
MacPrefix: TypeAlias = Annotated[
    Name | None, Doc("first three bytes of MAC addresses generated for this network, as aa:bb:cc")
]
MasterCapable: TypeAlias = Annotated[bool | None, Doc("whether the node may become master candidate and master")]
NameCheck: TypeAlias = Annotated[bool, Doc("refuse a name that does not resolve")]
Names: TypeAlias = Annotated[tuple[Name, ...], Doc("names to look for; none means all")]
Ndparams: TypeAlias = Annotated[Params | None, Doc("node parameters that differ from the level above")]
Network6: TypeAlias = Annotated[str | None, Doc("the IPv6 subnet, as address/prefix")]
NetworkName: TypeAlias = Annotated[str, Doc("name or UUID of the network", min_length=1)]
NewName: TypeAlias = Annotated[str, Doc("the new name", min_length=1)]
NoRemember: TypeAlias = Annotated[bool, Doc("leave the wanted state as it is")]
NodeUuids: TypeAlias = Annotated[tuple[Name, ...] | None, Doc("UUIDs of the nodes, in the same order")]
Nodes: TypeAlias = Annotated[tuple[Name, ...], Doc("nodes to ask; none named means all")]
OpportunisticLocking: TypeAlias = Annotated[bool, Doc("with an allocator, choose among the nodes that are free now")]
OsparamsPrivate: TypeAlias = Annotated[
    Params | None, Doc("OS parameters that are recorded, but never shown in logs and answers")
]
OsparamsSecret: TypeAlias = Annotated[
    Params | None, Doc("OS parameters that are neither shown nor recorded; they live as long as the job")
]
OutputFields: TypeAlias = Annotated[tuple[Name, ...], Doc("names of the columns, in the order of the answer")]
PnodeUuid: TypeAlias = Annotated[Name | None, Doc("UUID of the primary node")]
RemoteNodeUuid: TypeAlias = Annotated[Name | None, Doc("UUID of that node")]
ShutdownTimeout: TypeAlias = Annotated[
    int, Doc("seconds the guest is given to shut down before its plug is pulled", ge=0)
]
SkipChecks: TypeAlias = Annotated[frozenset[VerifyOptionalCheck], Doc("optional checks that are left out")]
StorageTypeField: TypeAlias = Annotated[StorageType, Doc("kind of storage")]
TargetGroups: TypeAlias = Annotated[tuple[Name, ...] | None, Doc("node groups to go to; left out, every other one")]
TargetNode: TypeAlias = Annotated[Name | None, Doc("node to go to; where the disks allow only one, it may be left out")]
TargetNodeUuid: TypeAlias = Annotated[
    Name | None, Doc("UUID of the target node; given together with the name, both must mean the same one")
]
UseLocking: TypeAlias = Annotated[bool, Doc("wait for shared locks, so that nothing changes meanwhile")]
Verbose: TypeAlias = Annotated[bool, Doc("say more about what is done")]
VerifyClutter: TypeAlias = Annotated[bool, Doc("look also for keys of former nodes among the authorized SSH keys")]
VmCapable: TypeAlias = Annotated[bool | None, Doc("whether the node may hold instances")]
WaitForSync: TypeAlias = Annotated[bool, Doc("wait until the mirrors are in step")]
What: TypeAlias = Annotated[QueryResource, Doc("kind of object")]
