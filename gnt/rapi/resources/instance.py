"""Instances."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from gnt.opcodes.backup import BackupExport, BackupPrepare
from gnt.opcodes.instance import InstanceQueryData, InstanceRemove, InstanceRename
from gnt.opcodes.instance_create import InstanceCreate
from gnt.opcodes.instance_disks import (
    InstanceActivateDisks,
    InstanceDeactivateDisks,
    InstanceGrowDisk,
    InstanceRecreateDisks,
)
from gnt.opcodes.instance_modify import InstanceSetParams
from gnt.opcodes.instance_move import InstanceFailover, InstanceMigrate
from gnt.opcodes.instance_power import InstanceReboot, InstanceShutdown, InstanceStartup
from gnt.rapi.errors import HttpError
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
)
from gnt.rapi.resources.cluster import tag_rows
from gnt.rapi.resources.shapes import OBJECT, listing, shape

FIELDS: Final = (
    *("name", "admin_state", "os", "pnode", "snodes", "disk_template", "nic.ips", "nic.macs", "nic.modes"),
    *("nic.uuids", "nic.names", "nic.links", "nic.networks", "nic.networks.names", "nic.bridges", "network_port"),
    *("disk.sizes", "disk.spindles", "disk_usage", "disk.uuids", "disk.names", "beparams", "hvparams", "oper_state"),
    *("oper_ram", "oper_vcpus", "status", "custom_hvparams", "custom_beparams", "custom_nicparams"),
    *("custom_osparams", "ctime", "mtime", "uuid", "serial_no", "tags"),
)


async def instances(call: Call) -> list[dict[str, Any]]:
    """Give all instances."""
    return await listed(call, "instance", FIELDS, complete=with_memory)


async def instance(call: Call) -> dict[str, Any]:
    """Give one instance."""
    return with_memory(await single(call, "instance", FIELDS, call.names["instance_name"]))


def with_memory(row: dict[str, Any]) -> dict[str, Any]:
    """Add the name under which older clients look for the memory."""
    beparams = row["beparams"]
    if isinstance(beparams, dict) and "maxmem" in beparams:
        return {**row, "beparams": {**beparams, "memory": beparams["maxmem"]}}
    return row


async def console(call: Call) -> Any:
    """Say how to reach the console of a guest that runs."""
    found = await single(call, "instance", ("console", "oper_state"), call.names["instance_name"])
    if found["oper_state"] is not True or found["console"] is None:
        raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "Instance console unavailable")
    return found["console"]


_NAME: Final = {"instance_name": "instance_name"}
_DRY: Final = (DRY_RUN,)
_HERE: Final = "/2/instances/[instance_name]"

ROWS: Final = (
    shows("/2/instances", instances, query=(BULK, LOCK), gives=listing(FIELDS, "id")),
    changes(
        "POST",
        "/2/instances",
        Submit(
            opcode=InstanceCreate,
            query=_DRY,
            body=True,
            renamed=forms.CREATION_NAMES,
            prepare=forms.creation,
        ),
    ),
    changes("POST", "/2/instances-multi-alloc", forms.MULTI_ALLOC),
    shows(_HERE, instance, query=(LOCK,), gives=shape(FIELDS)),
    changes(
        "DELETE",
        _HERE,
        Submit(opcode=InstanceRemove, path=_NAME, query=_DRY, fixed={"ignore_failures": False}, body=True),
    ),
    reads(
        f"{_HERE}/info",
        Submit(opcode=InstanceQueryData, path={"instance_name": "instances[]"}, query=(flag("static"),)),
    ),
    changes(
        "POST",
        f"{_HERE}/reboot",
        Submit(
            opcode=InstanceReboot,
            path=_NAME,
            query=(text("type", "reboot_type", default="hard"), flag("ignore_secondaries"), DRY_RUN),
            body=True,
        ),
    ),
    changes(
        "PUT",
        f"{_HERE}/startup",
        Submit(opcode=InstanceStartup, path=_NAME, query=(flag("force"), flag("no_remember"), DRY_RUN)),
    ),
    changes(
        "PUT",
        f"{_HERE}/shutdown",
        Submit(opcode=InstanceShutdown, path=_NAME, query=(flag("no_remember"), DRY_RUN), body=True),
    ),
    changes("POST", f"{_HERE}/reinstall", forms.REINSTALL),
    changes("POST", f"{_HERE}/replace-disks", forms.REPLACE_DISKS),
    changes(
        "PUT",
        f"{_HERE}/activate-disks",
        Submit(opcode=InstanceActivateDisks, path=_NAME, query=(flag("ignore_size"),)),
    ),
    changes(
        "PUT", f"{_HERE}/deactivate-disks", Submit(opcode=InstanceDeactivateDisks, path=_NAME, query=(flag("force"),))
    ),
    changes("POST", f"{_HERE}/recreate-disks", Submit(opcode=InstanceRecreateDisks, path=_NAME, body=True)),
    changes(
        "POST",
        f"{_HERE}/disk/[disk_index]/grow",
        Submit(opcode=InstanceGrowDisk, path={**_NAME, "disk_index": "disk"}, body=True),
    ),
    changes("PUT", f"{_HERE}/prepare-export", Submit(opcode=BackupPrepare, path=_NAME, query=(required("mode"),))),
    changes(
        "PUT",
        f"{_HERE}/export",
        Submit(opcode=BackupExport, path=_NAME, body=True, renamed={"destination": "target_node"}),
    ),
    changes("PUT", f"{_HERE}/migrate", Submit(opcode=InstanceMigrate, path=_NAME, body=True)),
    changes("PUT", f"{_HERE}/failover", Submit(opcode=InstanceFailover, path=_NAME, body=True)),
    changes("PUT", f"{_HERE}/rename", Submit(opcode=InstanceRename, path=_NAME, body=True)),
    changes(
        "PUT",
        f"{_HERE}/modify",
        Submit(
            opcode=InstanceSetParams,
            path=_NAME,
            body=True,
            renamed={"custom_beparams": "beparams", "custom_hvparams": "hvparams"},
            prepare=forms.usb_devices,
        ),
    ),
    reads(f"{_HERE}/console", console, Access.READ, gives=OBJECT),
    *tag_rows(f"{_HERE}/tags", "instance", "instance_name"),
)
