"""Shapes of answers as JSON schemas. Whatever a node has not said, or an object does not have, is null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]

STRING: Final[Schema] = {"type": "string"}
STRINGS: Final[Schema] = {"type": "array", "items": STRING}
NOTHING: Final[Schema] = {"type": "null"}
OBJECT: Final[Schema] = {"type": "object"}
JOB_ID: Final[Schema] = {"type": "integer", "minimum": 1}

_DEFINITIONS: Final[Schema] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": dict.fromkeys(("name", "title", "kind", "doc"), STRING),
        "required": ["name", "title", "kind"],
    },
}
QUERY_FIELDS: Final[Schema] = {"type": "object", "properties": {"fields": _DEFINITIONS}, "required": ["fields"]}
QUERY: Final[Schema] = {
    "type": "object",
    "properties": {
        "fields": _DEFINITIONS,
        "data": {"type": "array", "items": {"type": "array", "items": {"type": "array", "minItems": 2, "maxItems": 2}}},
    },
    "required": ["fields", "data"],
}

# Types of fields by name; those that are not here are of several.
_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("name", "admin_state", "os", "pnode", "disk_template", "status", "role", "pip", "sip", "secondary_ip"),
        "string",
    ),
    **dict.fromkeys(("uuid", "group.uuid", "alloc_policy", "network", "gateway", "network6", "gateway6"), "string"),
    **dict.fromkeys(("mac_prefix", "map", "external_reservations"), "string"),
    **dict.fromkeys(
        ("offline", "master_candidate", "drained", "master_capable", "vm_capable", "oper_state"), "boolean"
    ),
    **dict.fromkeys(("dtotal", "dfree", "sptotal", "spfree", "mtotal", "mnode", "mfree", "ctotal", "cnos"), "integer"),
    **dict.fromkeys(("cnodes", "csockets", "pinst_cnt", "sinst_cnt", "serial_no", "disk_usage"), "integer"),
    **dict.fromkeys(("oper_ram", "oper_vcpus", "network_port", "node_cnt", "free_count", "reserved_count"), "integer"),
    **dict.fromkeys(("id", "priority", "watermark"), "integer"),
    **dict.fromkeys(("ctime", "mtime"), "number"),
    **dict.fromkeys(("tags", "snodes", "pinst_list", "sinst_list", "node_list", "group_list", "inst_list"), "array"),
    **dict.fromkeys(("nic.ips", "nic.macs", "nic.modes", "nic.uuids", "nic.names", "nic.links"), "array"),
    **dict.fromkeys(("nic.networks", "nic.networks.names", "nic.bridges", "custom_nicparams"), "array"),
    **dict.fromkeys(("disk.sizes", "disk.spindles", "disk.uuids", "disk.names"), "array"),
    **dict.fromkeys(("ops", "summary", "opstatus", "oplog", "opresult", "predicates", "reason_trail"), "array"),
    **dict.fromkeys(("received_ts", "start_ts", "end_ts"), "array"),
    **dict.fromkeys(("beparams", "hvparams", "custom_hvparams", "custom_beparams", "custom_osparams"), "object"),
    **dict.fromkeys(("ndparams", "custom_ndparams", "ipolicy", "custom_ipolicy"), "object"),
    **dict.fromkeys(("diskparams", "custom_diskparams"), "object"),
}


def shape(fields: Sequence[str]) -> Schema:
    """Give the schema of an object that has these fields."""
    return {
        "type": "object",
        "properties": {name: {"type": [_TYPES[name], "null"]} if name in _TYPES else {} for name in fields},
        "required": list(fields),
    }


def listing(fields: Sequence[str], key: str) -> Schema:
    """Give the schema of a list: of names and URIs, or in bulk."""
    short = {"type": "object", "properties": {key: {}, "uri": STRING}, "required": [key, "uri"]}
    return {"type": "array", "items": {"anyOf": [short, shape(fields)]}}
