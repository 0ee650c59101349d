"""Node groups and networks."""

from __future__ import annotations

from typing import Any, Final

from gnt.opcodes.group import GroupAdd, GroupAssignNodes, GroupRemove, GroupRename, GroupSetParams
from gnt.opcodes.network import (
    NetworkAdd,
    NetworkConnect,
    NetworkDisconnect,
    NetworkRemove,
    NetworkRename,
    NetworkSetParams,
)
from gnt.rapi.resources.base import BULK, DRY_RUN, LOCK, Call, Submit, changes, flag, listed, shows, single
from gnt.rapi.resources.cluster import tag_rows
from gnt.rapi.resources.shapes import listing, shape

GROUP_FIELDS: Final = (
    *("alloc_policy", "name", "node_cnt", "node_list", "ipolicy", "custom_ipolicy", "diskparams", "custom_diskparams"),
    *("ndparams", "custom_ndparams", "ctime", "mtime", "uuid", "serial_no", "tags"),
)
NETWORK_FIELDS: Final = (
    *("name", "network", "gateway", "network6", "gateway6", "mac_prefix", "free_count", "reserved_count", "map"),
    *("group_list", "inst_list", "external_reservations", "ctime", "mtime", "uuid", "serial_no", "tags"),
)


async def groups(call: Call) -> list[dict[str, Any]]:
    """Give all node groups."""
    return await listed(call, "group", GROUP_FIELDS, key="name")


async def group(call: Call) -> dict[str, Any]:
    """Give one node group."""
    return await single(call, "group", GROUP_FIELDS, call.names["group_name"])


async def networks(call: Call) -> list[dict[str, Any]]:
    """Give all networks."""
    return await listed(call, "network", NETWORK_FIELDS, key="name")


async def network(call: Call) -> dict[str, Any]:
    """Give one network."""
    return await single(call, "network", NETWORK_FIELDS, call.names["network_name"])


_GROUP: Final = {"group_name": "group_name"}
_GROUP_OLD: Final = {
    "custom_ndparams": "ndparams",
    "custom_ipolicy": "ipolicy",
    "custom_diskparams": "diskparams",
}
_NETWORK: Final = {"network_name": "network_name"}
_DRY: Final = (DRY_RUN,)
_ASSIGN: Final = (DRY_RUN, flag("force"))

_GROUP_PATH: Final = "/2/groups/[group_name]"
_NETWORK_PATH: Final = "/2/networks/[network_name]"

ROWS: Final = (
    shows("/2/groups", groups, query=(BULK,), gives=listing(GROUP_FIELDS, "name")),
    changes("POST", "/2/groups", Submit(opcode=GroupAdd, query=_DRY, body=True, renamed={"name": "group_name"})),
    shows(_GROUP_PATH, group, query=(LOCK,), gives=shape(GROUP_FIELDS)),
    changes("DELETE", _GROUP_PATH, Submit(opcode=GroupRemove, path=_GROUP, query=_DRY)),
    changes("PUT", f"{_GROUP_PATH}/modify", Submit(opcode=GroupSetParams, path=_GROUP, body=True, renamed=_GROUP_OLD)),
    changes("PUT", f"{_GROUP_PATH}/rename", Submit(opcode=GroupRename, path=_GROUP, query=_DRY, body=True)),
    changes(
        "PUT", f"{_GROUP_PATH}/assign-nodes", Submit(opcode=GroupAssignNodes, path=_GROUP, query=_ASSIGN, body=True)
    ),
    *tag_rows(f"{_GROUP_PATH}/tags", "nodegroup", "group_name"),
    shows("/2/networks", networks, query=(BULK,), gives=listing(NETWORK_FIELDS, "name")),
    changes("POST", "/2/networks", Submit(opcode=NetworkAdd, query=_DRY, body=True, renamed={"name": "network_name"})),
    shows(_NETWORK_PATH, network, query=(LOCK,), gives=shape(NETWORK_FIELDS)),
    changes("DELETE", _NETWORK_PATH, Submit(opcode=NetworkRemove, path=_NETWORK, query=_DRY, body=True)),
    changes("PUT", f"{_NETWORK_PATH}/connect", Submit(opcode=NetworkConnect, path=_NETWORK, query=_DRY, body=True)),
    changes(
        "PUT", f"{_NETWORK_PATH}/disconnect", Submit(opcode=NetworkDisconnect, path=_NETWORK, query=_DRY, body=True)
    ),
    changes("PUT", f"{_NETWORK_PATH}/modify", Submit(opcode=NetworkSetParams, path=_NETWORK, body=True)),
    changes("PUT", f"{_NETWORK_PATH}/rename", Submit(opcode=NetworkRename, path=_NETWORK, query=_DRY, body=True)),
    *tag_rows(f"{_NETWORK_PATH}/tags", "network", "network_name"),
)
