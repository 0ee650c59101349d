"""The configuration as the JSON object that people and other programs know: `spec/config.md`, section 1.

Written for reading only, never read back. Secrets are not in it: private guest OS parameters and the shared secrets
of drbd disks show as `<redacted>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gnt.model.cluster import CONFIG_VERSION, Cluster
from gnt.model.objects import ConfigObject, Disk
from gnt.model.secret import redacted_logical_id, redacted_values


def config_data(cluster: Cluster) -> dict[str, Any]:
    """Give the content of `config.data`: JSON values only, absent optional values left out."""
    return {
        "version": CONFIG_VERSION,
        "cluster": public_view(cluster.settings),
        "nodes": _table(cluster.nodes),
        "nodegroups": _table(cluster.groups),
        "instances": _table(cluster.instances),
        "networks": _table(cluster.networks),
        "disks": _table(cluster.disks),
        "filters": _table(cluster.filters),
        "serial_no": cluster.serial_no,
        "ctime": cluster.ctime,
        "mtime": cluster.mtime,
    }


def _table(table: Mapping[str, ConfigObject]) -> dict[str, Any]:
    return {uuid: public_view(obj) for uuid, obj in sorted(table.items())}


def public_view(obj: ConfigObject) -> dict[str, Any]:
    """Give one object as JSON values without its secrets; None on its own level is left out."""
    if isinstance(obj, Disk):
        obj = _public_disk(obj)
    # Through JSON, so that what is here is what a reader of the file gets: lists, not tuples.
    view = {name: value for name, value in msgspec.json.decode(msgspec.json.encode(obj)).items() if value is not None}
    for name in ("osparams_private", "osparams_private_cluster"):
        if name in view:
            view[name] = redacted_values(view[name])
    return view


def _public_disk(disk: Disk) -> Disk:
    children = tuple(_public_disk(child) for child in disk.children)
    return msgspec.structs.replace(disk, logical_id=redacted_logical_id(disk.logical_id), children=children)
