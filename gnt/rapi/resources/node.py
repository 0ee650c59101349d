"""Nodes."""

from __future__ import annotations

from typing import Any, Final

from gnt.opcodes.node import NodeEvacuate, NodePowercycle, NodeSetParams
from gnt.opcodes.node_storage import NodeQueryStorage, RepairNodeStorage
from gnt.rapi.resources import forms
from gnt.rapi.resources.base import (
    BULK,
    DRY_RUN,
    LOCK,
    Access,
    Call,
    Submit,
    changes,
    flag,
    listed,
    reads,
    required,
    shows,
    single,
    text,
    words,
)
from gnt.rapi.resources.cluster import tag_rows
from gnt.rapi.resources.shapes import STRING, listing, shape

FIELDS: Final = (
    *("name", "offline", "master_candidate", "drained", "dtotal", "dfree", "sptotal", "spfree", "mtotal", "mnode"),
    *("mfree", "pinst_cnt", "sinst_cnt", "ctotal", "cnos", "cnodes", "csockets", "pip", "sip", "role", "pinst_list"),
    *("sinst_list", "master_capable", "vm_capable", "ndparams", "group.uuid", "ctime", "mtime", "uuid", "serial_no"),
    "tags",
)
ROLES: Final = {"M": "master", "C": "master-candidate", "R": "regular", "D": "drained", "O": "offline"}
NAME: Final = {"node_name": "node_name"}
# What a role is in the opcode's parameters; those that are left out stay as they are.
_ROLE_FLAGS: Final[dict[str, dict[str, bool]]] = {
    "regular": {"master_candidate": False, "offline": False, "drained": False},
    "master-candidate": {"master_candidate": True},
    "drained": {"drained": True},
    "offline": {"offline": True},
}


async def nodes(call: Call) -> list[dict[str, Any]]:
    """Give all nodes."""
    return await listed(call, "node", FIELDS)


async def node(call: Call) -> dict[str, Any]:
    """Give one node."""
    found = await single(call, "node", FIELDS, call.names["node_name"])
    return {**found, "secondary_ip": found["sip"]}


async def role(call: Call) -> Any:
    """Give a node's role as a word."""
    found = await single(call, "node", ("role",), call.names["node_name"])
    return ROLES.get(found["role"], found["role"])


_HERE: Final = "/2/nodes/[node_name]"
_AUTO_PROMOTE: Final = flag("auto-promote", "auto_promote")
_STORAGE: Final = text("storage_type")

ROWS: Final = (
    shows("/2/nodes", nodes, query=(BULK,), gives=listing(FIELDS, "id")),
    shows(_HERE, node, query=(LOCK,), gives=shape((*FIELDS, "secondary_ip"))),
    shows(f"{_HERE}/role", role, query=(LOCK,), gives=STRING),
    changes(
        "PUT",
        f"{_HERE}/role",
        Submit(opcode=NodeSetParams, path=NAME, body=True, word=_ROLE_FLAGS, query=(flag("force"), _AUTO_PROMOTE)),
    ),
    changes("POST", f"{_HERE}/powercycle", Submit(opcode=NodePowercycle, path=NAME, query=(flag("force"),), body=True)),
    changes("POST", f"{_HERE}/evacuate", Submit(opcode=NodeEvacuate, path=NAME, query=(DRY_RUN,), body=True)),
    changes("POST", f"{_HERE}/migrate", forms.NODE_MIGRATE),
    changes("POST", f"{_HERE}/modify", Submit(opcode=NodeSetParams, path=NAME, body=True)),
    reads(
        f"{_HERE}/storage",
        Submit(
            opcode=NodeQueryStorage,
            path={"node_name": "nodes[]"},
            query=(_STORAGE, words("output_fields")),
        ),
        Access.WRITE,
    ),
    changes("PUT", f"{_HERE}/storage/modify", forms.MODIFY_STORAGE),
    changes(
        "PUT",
        f"{_HERE}/storage/repair",
        Submit(opcode=RepairNodeStorage, path=NAME, query=(_STORAGE, required("name"))),
    ),
    *tag_rows(f"{_HERE}/tags", "node", "node_name"),
)
