"""Opcodes about the storage of nodes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gnt.opcodes.base import Doc, NodeOpcode, Opcode
from gnt.opcodes.fields import Nodes, OutputFields, StorageTypeField
from gnt.opcodes.parameter_types import Name, Params, StorageType


class NodeQueryvols(Opcode, frozen=True, kw_only=True, tag="OP_NODE_QUERYVOLS"):
    """List the logical volumes on nodes."""

    output_fields: OutputFields
    nodes: Nodes = ()


class NodeQueryStorage(Opcode, frozen=True, kw_only=True, tag="OP_NODE_QUERY_STORAGE"):
    """List the storage units of nodes."""

    SINCE: ClassVar[str] = "2.1"

    output_fields: OutputFields
    storage_type: Annotated[StorageType | None, Doc("kind of storage; left out, the one the disk templates use")] = None
    nodes: Nodes = ()
    name: Annotated[Name | None, Doc("only the storage unit of this name")] = None


class NodeModifyStorage(NodeOpcode, frozen=True, kw_only=True, tag="OP_NODE_MODIFY_STORAGE"):
    """Change a storage unit of a node."""

    SINCE: ClassVar[str] = "2.1"

    storage_type: StorageTypeField
    name: Annotated[Name | None, Doc("name of the storage unit, where the kind has several")] = None
    changes: Annotated[Params, Doc("fields of the unit and their new values, such as allocatable")]


class RepairNodeStorage(NodeOpcode, frozen=True, kw_only=True, tag="OP_REPAIR_NODE_STORAGE"):
    """Repair a storage unit of a node."""

    SINCE: ClassVar[str] = "2.1"

    storage_type: StorageTypeField
    name: Annotated[Name | None, Doc("name of the storage unit, where the kind has several")] = None
    ignore_consistency: Annotated[bool, Doc("repair although instances lose their last good copy meanwhile")] = False
