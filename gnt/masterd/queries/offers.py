"""The fields of what nodes offer: guest OS definitions, exports, storage providers.

This version makes no exports and knows no storage providers, so there are no rows of these.
"""

from __future__ import annotations

from typing import Final

from gnt.masterd.queries.fields import Field, FieldKind, Fields, attribute, fields, never, other, text

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

EXPORT: Final[Fields] = fields(
    "node",
    [
        text("node", "Node", "Node that keeps the export", never, hostname=True),
        text("export", "Export", "Name of the export", never),
    ],
)

EXT_STORAGE: Final[Fields] = fields(
    "name",
    [
        text("name", "Name", "Name of the storage provider", never),
        other("node_status", "NodeStatus", "What was found on each node", never),
        other("nodegroup_status", "NodegroupStatus", "Whether all nodes of each group have it", never),
        other("parameters", "Parameters", "Parameters that it takes", never),
    ],
)
