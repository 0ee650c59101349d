"""The fields of what nodes offer: guest OS definitions, exports, storage providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gnt.masterd.queries.arranged import natural
from gnt.masterd.queries.fields import NO_DATA, NORMAL, OFFLINE, Cell, Field, FieldKind, Fields, attribute, fields
from gnt.model.objects import Node

_OS: Final[list[tuple[str, str, FieldKind, str]]] = [
    ("name", "Name", FieldKind.TEXT, "Name of the guest OS"),
    ("valid", "Valid", FieldKind.BOOL, "Whether every node can install it"),
    ("hidden", "Hidden", FieldKind.BOOL, "Whether lists leave it out"),
    ("blacklisted", "Blacklisted", FieldKind.BOOL, "Whether new instances may not have it"),
    ("variants", "Variants", FieldKind.OTHER, "Variants that every node has"),
    ("parameters", "Parameters", FieldKind.OTHER, "Parameters that every node knows, each with its description"),
    ("api_versions", "ApiVersions", FieldKind.OTHER, "Versions of the interface that every node's has"),
    ("node_status", "NodeStatus", FieldKind.OTHER, "What was found on each node"),
    ("os_hvp", "OsHypervisorParams", FieldKind.OTHER, "Hypervisor parameters of instances that have it"),
    ("osparams", "OsParameters", FieldKind.OTHER, "What its parameters are, unless instances set them"),
    ("trusted", "Trusted", FieldKind.BOOL, "Whether every node trusts it"),
]

OS: Final[Fields] = fields(
    "name",
    [Field(name, title, kind, doc, attribute(name)) for name, title, kind, doc in _OS],
)


class Export(NamedTuple):
    """An export on a node; or a node of which that could not be learned, whose `export` says why."""

    node: str
    export: Cell


def exports_of(nodes: Sequence[Node], found: Mapping[str, list[str] | Exception]) -> list[Export]:
    """Give a row for each export of these nodes, and one for each node that did not tell. `found` is by UUID."""
    rows: list[Export] = []
    for node in nodes:
        names = found.get(node.uuid)
        if node.offline:
            rows.append(Export(node.name, OFFLINE))
        elif isinstance(names, list):
            rows.extend(Export(node.name, (NORMAL, name)) for name in sorted(names, key=natural))
        else:
            rows.append(Export(node.name, NO_DATA))
    return rows


# A row exists only because nodes were asked, so no field asks any more of them.
EXPORT: Final[Fields] = fields(
    "node",
    [
        Field("node", "Node", FieldKind.TEXT, "Node that keeps the export", attribute("node"), hostname=True),
        Field("export", "Export", FieldKind.TEXT, "Name of the export", lambda _view: lambda row: row.export),
    ],
)

_EXT_STORAGE: Final[list[tuple[str, str, FieldKind, str]]] = [
    ("name", "Name", FieldKind.TEXT, "Name of the storage provider"),
    ("node_status", "NodeStatus", FieldKind.OTHER, "What was found on each node"),
    ("nodegroup_status", "NodegroupStatus", FieldKind.OTHER, "Whether all nodes of each group have it"),
    ("parameters", "Parameters", FieldKind.OTHER, "Parameters that it takes"),
]

EXT_STORAGE: Final[Fields] = fields(
    "name",
    [Field(name, title, kind, doc, attribute(name)) for name, title, kind, doc in _EXT_STORAGE],
)
