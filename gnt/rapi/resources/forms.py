"""Requests whose jobs are made in ways of their own: older forms beside newer ones, several opcodes from one body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from gnt.opcodes.base import Doc, Opcode
from gnt.opcodes.instance import InstanceReinstall
from gnt.opcodes.instance_create import InstanceCreate, InstanceMultiAlloc
from gnt.opcodes.instance_disks import InstanceReplaceDisks
from gnt.opcodes.instance_power import InstanceShutdown, InstanceStartup
from gnt.opcodes.node import NodeMigrate
from gnt.opcodes.node_storage import NodeModifyStorage
from gnt.opcodes.registry import encode_opcode
from gnt.rapi import body
from gnt.rapi.errors import HttpError, bad_request
from gnt.rapi.resources.base import DRY_RUN, Call, Composed, flag, required, split, text

CREATION_NAMES: Final = {"os": "os_type", "name": "instance_name"}
# The only form of a creation's body that there still is.
DATA_VERSION: Final = 1


def usb_devices(given: dict[str, Any]) -> dict[str, Any]:
    """Turn the spaces of a list of USB devices into the commas that the hypervisor parameter wants."""
    hvparams = given.get("hvparams")
    if not isinstance(hvparams, dict) or not isinstance(hvparams.get("usb_devices"), str):
        return given
    return {**given, "hvparams": {**hvparams, "usb_devices": hvparams["usb_devices"].replace(" ", ",")}}


def creation(given: dict[str, Any]) -> dict[str, Any]:
    """Check the version of a creation's body and take it off. Raises `HttpError` (400)."""
    version = given.get("__version__")
    if isinstance(version, bool) or version != DATA_VERSION:
        raise bad_request(f"$.__version__: must be {DATA_VERSION}; older forms are no longer supported")
    return usb_devices({name: value for name, value in given.items() if name != "__version__"})


# Reinstalling: the guest is stopped, installed, and started again.


class Reinstall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reinstallation's body may say."""

    os: Annotated[str | None, Doc("guest OS, with its variant after a plus sign; left out, the recorded one")] = None
    start: Annotated[bool, Doc("start the guest afterwards")] = True
    osparams: Annotated[dict[str, Any] | None, Doc("parameters of the guest OS for this installation")] = None


def _reinstall(call: Call) -> list[Opcode]:
    """Make the opcodes, from either form: a body, or `os` and `nostartup` in the query."""
    query = call.query
    old = "os" in query or "nostartup" in query
    if call.body is msgspec.UNSET:
        given = Reinstall(os=query.text("os"), start=not query.flag("nostartup"))
    elif old:
        raise bad_request("Can't combine query and body parameters: give os and start in the body")
    else:
        given = body.as_form(call.body, Reinstall)
    name = {"instance_name": call.names["instance_name"]}
    reason = call.reason()
    install = {**name, "os_type": given.os, "osparams": given.osparams}
    return [
        body.to_opcode(InstanceShutdown, {}, name, {}, reason),
        body.to_opcode(InstanceReinstall, {}, install, {"os": "os_type"}, reason),
        *([body.to_opcode(InstanceStartup, {}, {**name, "force": False}, {}, reason)] if given.start else []),
    ]


REINSTALL: Final = Composed(
    opcodes=(InstanceShutdown, InstanceReinstall, InstanceStartup),
    make=_reinstall,
    query=(text("os"), flag("nostartup")),
    given=Reinstall,
)

# Replacing disks: a body, or, as the client library still does, the query.


def _indices(value: Any) -> Any:
    """Give disk indices as a list, also of `"0,1"`; what is neither is left for the opcode to refuse."""
    if not isinstance(value, str):
        return value
    try:
        return [int(item) for item in split(value)]
    except ValueError:
        raise bad_request("Invalid disks: expected numbers with commas between them") from None


def _replace_disks(call: Call) -> list[Opcode]:
    given = body.as_object(call.body)
    if not given:
        names = ("remote_node", "mode", "disks", "iallocator")
        given = {name: value for name in names if (value := call.query.text(name)) is not None}
    if "disks" in given:
        given = {**given, "disks": _indices(given["disks"])}
    name = {"instance_name": call.names["instance_name"]}
    return [body.to_opcode(InstanceReplaceDisks, given, name, {}, call.reason())]


REPLACE_DISKS: Final = Composed(
    opcodes=(InstanceReplaceDisks,),
    make=_replace_disks,
    query=(text("remote_node"), text("mode"), text("disks"), text("iallocator")),
    given=InstanceReplaceDisks,
    also={"disks": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}]}},
)

# Migrating all guests of a node: a body, or `live` or `mode` in the query.


def _node_migrate(call: Call) -> list[Opcode]:
    query = call.query
    if "live" in query and "mode" in query:
        raise bad_request("Only one of 'live' and 'mode' can be given")
    given: Mapping[str, Any] = body.as_object(call.body)
    if "live" in query:
        given = {"mode": "live" if query.flag("live") else "non-live"}
    elif "mode" in query:
        given = {"mode": query.text("mode")}
    name = {"node_name": call.names["node_name"]}
    return [body.to_opcode(NodeMigrate, given, name, {}, call.reason())]


NODE_MIGRATE: Final = Composed(
    opcodes=(NodeMigrate,), make=_node_migrate, query=(flag("live"), text("mode")), given=NodeMigrate
)

# Changing a storage unit: what may be changed stands in the query.


def _modify_storage(call: Call) -> list[Opcode]:
    query = call.query
    given = {
        "node_name": call.names["node_name"],
        "storage_type": query.required("storage_type"),
        "name": query.required("name"),
        "changes": {"allocatable": query.flag("allocatable")} if "allocatable" in query else {},
    }
    return [body.to_opcode(NodeModifyStorage, {}, given, {}, call.reason())]


MODIFY_STORAGE: Final = Composed(
    opcodes=(NodeModifyStorage,),
    make=_modify_storage,
    query=(required("storage_type"), required("name"), flag("allocatable")),
)

# Making several instances: each is a creation with the same names as a body of its own.


def _multi_alloc(call: Call) -> list[Opcode]:
    given = body.as_object(call.body)
    wanted = given.get("instances")
    if not isinstance(wanted, list):
        raise bad_request("Invalid body parameters: $.instances: expected a list of objects")
    creations = [_creation(call, place, one) for place, one in enumerate(wanted)]
    static = {argument.parameter: argument.value(call.query) for argument in MULTI_ALLOC.query}
    return [body.to_opcode(InstanceMultiAlloc, {**given, "instances": creations}, static, {}, call.reason())]


def _creation(call: Call, place: int, given: Any) -> dict[str, Any]:
    """Check one creation as if it were submitted alone, and give its opcode as JSON."""
    where = f"$.instances[{place}]"
    if not isinstance(given, dict):
        raise bad_request(f"Invalid body parameters: {where}: expected an object")
    version = given.get("__version__", DATA_VERSION)
    if isinstance(version, bool) or version != DATA_VERSION:
        raise bad_request(f"Invalid body parameters: {where}.__version__: must be {DATA_VERSION}")
    plain = {name: value for name, value in given.items() if name not in {"__version__", "OP_ID"}}
    if given.get("OP_ID", InstanceCreate.op_id()) != InstanceCreate.op_id():
        raise bad_request(f"Invalid body parameters: {where}.OP_ID: must be {InstanceCreate.op_id()}")
    try:
        return encode_opcode(body.to_opcode(InstanceCreate, usb_devices(plain), {}, CREATION_NAMES, call.reason()))
    except HttpError as problem:
        raise bad_request(problem.text.replace("$", where, 1)) from None


MULTI_ALLOC: Final = Composed(
    opcodes=(InstanceMultiAlloc, InstanceCreate), make=_multi_alloc, query=(DRY_RUN,), given=InstanceMultiAlloc
)
