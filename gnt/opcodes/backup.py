"""Opcodes about exports of instances."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from gnt.opcodes.base import Doc, InstanceOpcode
from gnt.opcodes.fields import Compress, ShutdownTimeout, TargetNodeUuid
from gnt.opcodes.parameter_types import ExportMode, Name


class BackupExport(InstanceOpcode, frozen=True, kw_only=True, tag="OP_BACKUP_EXPORT"):
    """Copy an instance's disks and description to a node, or send them to another cluster."""

    compress: Compress = "none"
    shutdown_timeout: ShutdownTimeout = 120
    target_node: Annotated[
        Name | list[Any], Doc("local: the node that stores the export; remote: for each disk where to send it")
    ]
    target_node_uuid: TargetNodeUuid = None
    shutdown: Annotated[bool, Doc("stop the guest before its disks are read")] = True
    remove_instance: Annotated[bool, Doc("remove the instance once the export is complete")] = False
    ignore_remove_failures: Annotated[
        bool, Doc("remove the instance even if parts of it cannot be cleaned up on the nodes")
    ] = False
    mode: Annotated[ExportMode, Doc("where the export goes: a node of this cluster, or another cluster")] = "local"
    x509_key_name: Annotated[
        list[Any] | None, Doc("remote: name, HMAC and salt of the transfer key that the preparation answered")
    ] = None
    destination_x509_ca: Annotated[Name | None, Doc("remote: signed certificate of the receiving cluster, in PEM")] = (
        None
    )
    zero_free_space: Annotated[bool, Doc("overwrite unused space with zeros first, so that it compresses well")] = False
    zeroing_timeout_fixed: Annotated[int | None, Doc("seconds that zeroing may take, however small the disks are")] = (
        None
    )
    zeroing_timeout_per_mib: Annotated[
        float | None, Doc("further seconds that zeroing may take for each MiB of disk")
    ] = None
    long_sleep: Annotated[bool, Doc("let the guest stay down for the whole export, however long")] = False


class BackupPrepare(InstanceOpcode, frozen=True, kw_only=True, tag="OP_BACKUP_PREPARE"):
    """Make what a remote export needs: a transfer key and a proof of who sends."""

    SINCE: ClassVar[str] = "2.2"

    mode: Annotated[ExportMode, Doc("kind of export to prepare")]


class BackupRemove(InstanceOpcode, frozen=True, kw_only=True, tag="OP_BACKUP_REMOVE"):
    """Remove an instance's exports from all nodes; the instance itself need not exist any more."""
