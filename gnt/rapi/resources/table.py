"""All resources, and which of them this version carries out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gnt.opcodes.base import Opcode
from gnt.opcodes.instance import InstanceQueryData, InstanceRemove
from gnt.opcodes.instance_create import InstanceCreate
from gnt.opcodes.instance_move import InstanceMigrate
from gnt.opcodes.instance_power import InstanceShutdown, InstanceStartup
from gnt.opcodes.node import NodeSetParams
from gnt.opcodes.query import OsDiagnose
from gnt.rapi.resources import cluster, filters, group, instance, job, node
from gnt.rapi.resources.base import Later, Resource, Submit

ROWS: Final = (*cluster.ROWS, *filters.ROWS, *job.ROWS, *node.ROWS, *group.ROWS, *instance.ROWS)

# Opcodes that the master has an operation for; a test compares. Rows of others answer 501, with the opcode's name.
CARRIED_OUT: Final[frozenset[type[Opcode]]] = frozenset(
    {
        InstanceCreate,
        InstanceMigrate,
        InstanceQueryData,
        InstanceRemove,
        InstanceShutdown,
        InstanceStartup,
        NodeSetParams,
        OsDiagnose,
    }
)


def missing(row: Resource) -> str:
    """Name what a row needs and this version does not have; empty if it can be used."""
    if isinstance(row.does, Later):
        return row.does.needs
    if isinstance(row.does, Submit) and row.does.opcode not in CARRIED_OUT:
        return row.does.opcode.op_id()
    return ""


def by_path() -> Mapping[str, Mapping[str, Resource]]:
    """Give the rows by path and method."""
    found: dict[str, dict[str, Resource]] = {}
    for row in ROWS:
        methods = found.setdefault(row.path, {})
        if row.method in methods:
            raise AssertionError(f"{row.method} {row.path} stands twice in the table")
        methods[row.method] = row
    return found
