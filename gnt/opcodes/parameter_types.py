"""The types of parameters (`spec/opcodes.md`, section 2). Enumerations are literals: JSON needs no conversion."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
NonNegative: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(gt=0)]
DiskIndex: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=15)]

Params: TypeAlias = dict[str, Any]
# Values of a network interface; `null` takes a value away.
NicKey = Literal["bridge", "ip", "link", "mac", "mode", "name", "network", "vlan"]
NicParams: TypeAlias = dict[NicKey, str | None]
# Values of a disk; keys that are not known (`gnt.opcodes.devices`) are parameters of external storage.
DiskParams: TypeAlias = dict[str, Any]

AdminStateSource = Literal["admin", "user"]
AllocPolicy = Literal["last_resort", "preferred", "unallocable"]
CreateMode = Literal["create", "import", "remote-import"]
DiskTemplate = Literal[
    "blockdev", "diskless", "drbd", "ext", "file", "gluster", "plain", "qcow2", "rbd", "sharedfile", "thin"
]
EvacMode = Literal["all", "primary-only", "secondary-only"]
ExportMode = Literal["local", "remote"]
FileDriver = Literal["blktap", "blktap2", "loop"]
Hypervisor = Literal["chroot", "fake", "kvm", "lxc", "xen-hvm", "xen-pvm"]
IallocDirection = Literal["in", "out"]
IallocMode = Literal["allocate", "allocate-secondary", "change-group", "multi-allocate", "node-evacuate", "relocate"]
ListEdit = Literal["add", "attach", "detach", "remove"]
ListEditFull = Literal["add", "attach", "detach", "modify", "remove"]
MigrationMode = Literal["live", "non-live"]
NicMode = Literal["bridged", "openvswitch", "pool", "routed"]
OobAction = Literal["health", "power-cycle", "power-off", "power-on", "power-status"]
QueryResource = Literal[
    "cluster", "export", "extstorage", "filter", "group", "instance", "job", "lock", "network", "node", "os"
]
RebootType = Literal["full", "hard", "soft"]
ReplaceMode = Literal["replace_auto", "replace_new_secondary", "replace_on_primary", "replace_on_secondary"]
SshKeyType = Literal["dsa", "ecdsa", "rsa"]
StorageType = Literal[
    "blockdev", "diskless", "ext", "file", "gluster", "lvm-pv", "lvm-thin", "lvm-vg", "rados", "sharedfile"
]
TagKind = Literal["cluster", "instance", "network", "node", "nodegroup"]
VerifyEcode = Literal[
    "ECLUSTERCERT",
    "ECLUSTERCFG",
    "ECLUSTERCLIENTCERT",
    "ECLUSTERDANGLINGINST",
    "ECLUSTERDANGLINGNODES",
    "ECLUSTERFILECHECK",
    "EEXTAGS",
    "EGROUPDIFFERENTPVSIZE",
    "EINSTANCEBADNODE",
    "EINSTANCEDOWN",
    "EINSTANCEFAULTYDISK",
    "EINSTANCELAYOUT",
    "EINSTANCEMISSINGCFGPARAMETER",
    "EINSTANCEMISSINGDISK",
    "EINSTANCEPOLICY",
    "EINSTANCESPLITGROUPS",
    "EINSTANCEUNSUITABLENODE",
    "EINSTANCEWRONGNODE",
    "ENODEDRBD",
    "ENODEDRBDHELPER",
    "ENODEDRBDVERSION",
    "ENODEFILECHECK",
    "ENODEFILESTORAGEPATHS",
    "ENODEFILESTORAGEPATHUNUSABLE",
    "ENODEGLUSTERSTORAGEPATHUNUSABLE",
    "ENODEHOOKS",
    "ENODEHV",
    "ENODELVM",
    "ENODEN1",
    "ENODENET",
    "ENODEOOBPATH",
    "ENODEORPHANINSTANCE",
    "ENODEORPHANLV",
    "ENODEOS",
    "ENODERPC",
    "ENODESETUP",
    "ENODESHAREDFILESTORAGEPATHUNUSABLE",
    "ENODESSH",
    "ENODETIME",
    "ENODEUSERSCRIPTS",
    "ENODEVERSION",
]
VerifyOptionalCheck = Literal["nplusone_mem"]
