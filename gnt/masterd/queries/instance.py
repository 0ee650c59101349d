"""The fields of instances: `spec/query-fields.json`, resource `instance`."""

from __future__ import annotations

from typing import Any, Final

from gnt.masterd.queries.fields import (
    KIND_OF_PARAMETER,
    NORMAL,
    UNAVAILABLE,
    Bind,
    Cell,
    Field,
    FieldKind,
    Fields,
    Getter,
    attribute,
    boolean,
    fields,
    flag,
    optional,
    other,
    plainly,
    size,
    stamps,
    text,
    viewed,
)
from gnt.masterd.queries.instance_devices import DEVICES, device_field
from gnt.masterd.queries.instance_live import LIVE
from gnt.masterd.queries.view import View
from gnt.model.objects import AdminState, DiskTemplate, Instance
from gnt.model.params import fill_os
from gnt.model.params_tables import BACKEND, HYPERVISOR, Parameter

DRBD_METADATA: Final = 128
"""MiB that a drbd disk takes beside its data on each node."""


def _primary(view: View) -> Getter:
    names = view.node_names
    return lambda instance: (NORMAL, names.get(instance.primary_node))


def _primary_group(view: View) -> Getter:
    names = view.group_names_by_node
    return lambda instance: (NORMAL, names.get(instance.primary_node))


def _primary_group_uuid(view: View) -> Getter:
    nodes = view.nodes

    def cell(instance: Instance) -> Cell:
        node = nodes.get(instance.primary_node)
        return NORMAL, None if node is None else node.group

    return cell


def _secondary(view: View, instance: Instance) -> list[str]:
    return [node.name for node in view.secondaries(instance)]


def _secondary_groups(view: View, instance: Instance) -> list[str | None]:
    return [view.group_names_by_node.get(node.uuid) for node in view.secondaries(instance)]


def _secondary_group_uuids(view: View, instance: Instance) -> list[str]:
    return [node.group for node in view.secondaries(instance)]


def _disk_usage(view: View, instance: Instance) -> int:
    """Give what the disks take of the volume group on one node, in MiB; other storage takes nothing of it."""
    used = 0
    for disk in view.disks_of(instance):
        if disk.dev_type is DiskTemplate.PLAIN:
            used += disk.size
        elif disk.dev_type is DiskTemplate.DRBD:
            used += disk.size + DRBD_METADATA
    return used


def _beparams(view: View, instance: Instance) -> dict[str, Any]:
    filled = view.be(instance)
    return {**filled, "memory": filled["maxmem"]}


def _os_params(view: View, instance: Instance) -> dict[str, Any]:
    return fill_os(view.cluster, instance.os, instance.osparams, {}).public


_GENERAL: Final = [
    text("name", "Instance", "Full name of the instance", attribute("name"), hostname=True),
    text("admin_state", "InstanceState", "What the administrator wants: up, down or offline", attribute("admin_state")),
    text(
        "admin_state_source",
        "InstanceStateSource",
        "Who wanted that: the administrator, or the guest's user",
        attribute("admin_state_source"),
    ),
    boolean(
        "admin_up",
        "Autostart",
        "Whether the instance is wanted up",
        plainly(lambda instance: instance.admin_state is AdminState.UP),
    ),
    boolean("disks_active", "DisksActive", "Whether its disks are meant to be in use", flag("disks_active")),
    boolean("forthcoming", "Forthcoming", "Whether it is only reserved, not made yet", flag("forthcoming")),
    text("hypervisor", "Hypervisor", "Hypervisor that runs it", attribute("hypervisor")),
    other("network_port", "Network_port", "TCP port of its graphical console", optional("network_port")),
    text("os", "OS", "Guest OS, with its variant", attribute("os")),
]

_PLACE: Final = [
    text("pnode", "Primary_node", "Node that it runs on", _primary, hostname=True),
    text("pnode.group", "PrimaryNodeGroup", "Group of its primary node", _primary_group),
    text("pnode.group.uuid", "PrimaryNodeGroupUUID", "UUID of its primary node's group", _primary_group_uuid),
    other("snodes", "Secondary_Nodes", "Other nodes that hold its disks", viewed(_secondary)),
    other("snodes.group", "SecondaryNodesGroups", "Groups of its secondary nodes", viewed(_secondary_groups)),
    other(
        "snodes.group.uuid",
        "SecondaryNodesGroupsUUID",
        "UUIDs of its secondary nodes' groups",
        viewed(_secondary_group_uuids),
    ),
    text(
        "disk_template",
        "Disk_template",
        "How its disks are stored; mixed if they differ",
        viewed(View.disk_template),
    ),
    size("disk_usage", "DiskUsage", "Room that its disks take on each of its nodes", viewed(_disk_usage)),
]

_PARAMETERS: Final = [
    other("beparams", "BackendParameters", "All its backend parameters", viewed(_beparams)),
    other("hvparams", "HypervisorParameters", "All its hypervisor parameters", viewed(View.hv)),
    other("osparams", "OpSysParameters", "All guest OS parameters that are not private", viewed(_os_params)),
    other("custom_beparams", "CustomBackendParameters", "Backend parameters of its own", attribute("beparams")),
    other("custom_hvparams", "CustomHypervisorParameters", "Hypervisor parameters of its own", attribute("hvparams")),
    other("custom_osparams", "CustomOpSysParameters", "Guest OS parameters of its own", attribute("osparams")),
    other(
        "custom_nicparams",
        "CustomNicParameters",
        "Parameters of each interface's own",
        plainly(lambda instance: [nic.nicparams for nic in instance.nics]),
    ),
]

_HV_TITLES: Final = {
    "acpi": "ACPI",
    "boot_order": "Boot_order",
    "cdrom_image_path": "CDROM_image_path",
    "cpu_type": "cpu_type",
    "disk_type": "Disk_type",
    "initrd_path": "Initrd_path",
    "kernel_path": "Kernel_path",
    "nic_type": "NIC_type",
    "pae": "PAE",
    "pci_pass": "pci_pass",
    "vnc_bind_address": "VNC_bind_address",
}
_BE_TITLES: Final = {
    "auto_balance": "Auto_balance",
    "maxmem": "ConfigMaxMem",
    "memory": "ConfigMaxMem",
    "minmem": "ConfigMinMem",
    "vcpus": "ConfigVCPUs",
}


def _backend(name: str) -> Bind:
    """Bind one backend parameter."""

    def bind(view: View) -> Getter:
        base: Cell = (NORMAL, view.be_base[name])

        def cell(instance: Instance) -> Cell:
            own = instance.beparams
            return (NORMAL, own[name]) if name in own else base

        return cell

    return bind


def _hypervisor(name: str) -> Bind:
    """Bind one hypervisor parameter; where the hypervisor does not have it, it is unavailable."""

    def bind(view: View) -> Getter:
        def cell(instance: Instance) -> Cell:
            filled = view.hv(instance)
            return (NORMAL, filled[name]) if name in filled else UNAVAILABLE

        return cell

    return bind


def _parameter_fields() -> list[Field]:
    found = [_backend_field(name, BACKEND[name], name) for name in BACKEND]
    found.append(_backend_field("memory", BACKEND["maxmem"], "maxmem"))
    settable: dict[str, Parameter] = {}
    for table in HYPERVISOR.values():
        settable.update({name: parameter for name, parameter in table.items() if not parameter.cluster_only})
    found.extend(
        Field(
            f"hv/{name}",
            _HV_TITLES.get(name, f"hv/{name}"),
            KIND_OF_PARAMETER[parameter.type],
            f"Hypervisor parameter {name}",
            _hypervisor(name),
        )
        for name, parameter in settable.items()
    )
    return found


def _backend_field(name: str, parameter: Parameter, source: str) -> Field:
    return Field(
        f"be/{name}",
        _BE_TITLES.get(name, f"be/{name}"),
        KIND_OF_PARAMETER[parameter.type],
        f"Backend parameter {name}",
        _backend(source),
    )


_ALIASES: Final = [
    Field("vcpus", "ConfigVCPUs", FieldKind.NUMBER, "Processors that it has, as be/vcpus", _backend("vcpus"))
]

INSTANCE: Final[Fields] = fields(
    "name",
    _GENERAL,
    _PLACE,
    _PARAMETERS,
    _parameter_fields(),
    _ALIASES,
    stamps("instance"),
    DEVICES,
    LIVE,
    families=(device_field,),
)
