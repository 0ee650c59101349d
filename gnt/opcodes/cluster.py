"""Opcodes about the cluster as a whole."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.fields import Verbose
from gnt.opcodes.parameter_types import Name, Positive, SshKeyType


class ClusterActivateMasterIp(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_ACTIVATE_MASTER_IP"):
    """Bring up the master address on the master node."""

    SINCE: ClassVar[str] = "2.6"


class ClusterDeactivateMasterIp(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_DEACTIVATE_MASTER_IP"):
    """Take the master address down."""

    SINCE: ClassVar[str] = "2.6"


class ClusterPostInit(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_POST_INIT"):
    """Run the hooks that belong to a fresh cluster."""

    SINCE: ClassVar[str] = "2.1"


class ClusterDestroy(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_DESTROY"):
    """End the cluster, when it has no instances and no other nodes; the caller then clears the node."""


class ClusterRename(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_RENAME"):
    """Give the cluster another name, and with it another address."""

    SUMMARY_FIELD: ClassVar[str] = "name"

    name: Annotated[str, Doc("new name of the cluster; it must resolve to an address nobody uses", min_length=1)]


class ClusterRedistConf(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_REDIST_CONF"):
    """Bring the configuration and the shared files to all nodes once more."""


class ClusterRenewCrypto(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_RENEW_CRYPTO"):
    """Replace the certificates of the nodes, of their authority and of the remote API."""

    SINCE: ClassVar[str] = "2.11"

    node_certificates: Annotated[bool, Doc("make new certificates for the node daemons")] = False
    cluster_certificate: Annotated[bool, Doc("make a new authority, and with it certificates for all")] = False
    rapi_certificate: Annotated[bool, Doc("make a new certificate for the remote API")] = False
    rapi_certificate_given: Annotated[
        bool, Doc("give the certificate of the remote API that the master has to the other candidates")
    ] = False
    renew_ssh_keys: Annotated[bool, Doc("make new SSH keys for the nodes")] = False
    ssh_key_type: Annotated[SshKeyType | None, Doc("type of the new SSH keys; left out, the type stays")] = None
    ssh_key_bits: Annotated[Positive | None, Doc("length of the new SSH keys in bits; left out, the length stays")] = (
        None
    )
    verbose: Verbose = False
    debug: Annotated[bool, Doc("log the details that a developer wants")] = False


class ClusterRepairDiskSizes(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_REPAIR_DISK_SIZES"):
    """Record the sizes that the disks really have."""

    SINCE: ClassVar[str] = "2.1"

    instances: Annotated[
        tuple[Name, ...], Doc("instances whose recorded sizes are compared; none named means all")
    ] = ()


class ClusterQuery(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_QUERY"):
    """Describe the cluster."""


class ClusterConfigQuery(Opcode, frozen=True, kw_only=True, tag="OP_CLUSTER_CONFIG_QUERY"):
    """Read single values of the cluster's configuration."""

    output_fields: Annotated[tuple[Name, ...], Doc("names of the values, in the order of the answer")]
