"""The fields of nodes: `spec/query-fields.json`, resource `node`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gnt.masterd.queries.fields import (
    KIND_OF_PARAMETER,
    NO_DATA,
    NORMAL,
    OFFLINE,
    UNAVAILABLE,
    Asks,
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
    never,
    number,
    other,
    stamps,
    text,
    viewed,
)
from gnt.masterd.queries.view import View
from gnt.model.cluster import Cluster
from gnt.model.objects import DiskTemplate, Node, role_of
from gnt.model.params import fill_disk
from gnt.model.params_tables import NODE as NODE_PARAMETERS
from gnt.wire.calls import HypervisorFacts, NodeFacts, StorageFacts, StorageUnit

PHYSICAL_VOLUMES: Final = "lvm-pv"


def default_unit(cluster: Cluster) -> StorageUnit | None:
    """Give the storage that the first enabled disk template with storage on the node uses; None if none has."""
    settings = cluster.settings
    places: dict[DiskTemplate, tuple[str, str | None]] = {
        DiskTemplate.PLAIN: ("lvm-vg", settings.volume_group_name),
        DiskTemplate.DRBD: ("lvm-vg", settings.volume_group_name),
        DiskTemplate.FILE: ("file", settings.file_storage_dir),
        DiskTemplate.QCOW2: ("file", settings.file_storage_dir),
        DiskTemplate.SHAREDFILE: ("file", settings.shared_file_storage_dir),
        DiskTemplate.GLUSTER: ("file", settings.gluster_storage_dir),
    }
    if settings.volume_group_name:
        pool = fill_disk(cluster, None, DiskTemplate.THIN, {})["pool"]
        places[DiskTemplate.THIN] = ("lvm-thin", f"{settings.volume_group_name}/{pool}")
    for template in settings.enabled_disk_templates:
        kind, key = places.get(template, ("", None))
        if key:
            return StorageUnit(kind=kind, key=key)
    return None


def _asked(get: Callable[[View, Node, NodeFacts], Cell]) -> Bind:
    """Bind what the node itself says; one that hosts no instances is not asked."""

    def bind(view: View) -> Getter:
        answers = view.facts.nodes

        def cell(node: Node) -> Cell:
            if node.offline:
                return OFFLINE
            if not node.vm_capable:
                return UNAVAILABLE
            facts = answers.get(node.uuid)
            return get(view, node, facts) if isinstance(facts, NodeFacts) else NO_DATA

        return cell

    return bind


def _hypervisor(get: Callable[[HypervisorFacts], int]) -> Bind:
    """Bind what the default hypervisor of a node says."""

    def cell(view: View, _node: Node, facts: NodeFacts) -> Cell:
        seen = facts.hypervisors.get(view.cluster.settings.default_hypervisor)
        return NO_DATA if seen is None else (NORMAL, get(seen))

    return _asked(cell)


def _storage(get: Callable[[StorageFacts], int | None]) -> Bind:
    """Bind what the default storage of a node says."""

    def cell(view: View, _node: Node, facts: NodeFacts) -> Cell:
        unit = default_unit(view.cluster)
        return UNAVAILABLE if unit is None else _from_unit(facts, unit.kind, unit.key, get)

    return _asked(cell)


def _spindles(get: Callable[[StorageFacts], int | None]) -> Bind:
    """Bind what is counted in physical volumes, where these are given to instances whole."""

    def cell(view: View, node: Node, facts: NodeFacts) -> Cell:
        group = view.cluster.settings.volume_group_name
        if not group or not view.nd(node)["exclusive_storage"]:
            return UNAVAILABLE
        return _from_unit(facts, PHYSICAL_VOLUMES, group, get)

    return _asked(cell)


def _from_unit(facts: NodeFacts, kind: str, key: str, get: Callable[[StorageFacts], int | None]) -> Cell:
    found = next((unit for unit in facts.storage if unit.kind == kind and unit.key == key), None)
    value = None if found is None else get(found)
    return NO_DATA if value is None else (NORMAL, value)


def _powered(view: View) -> Getter:
    def cell(node: Node) -> Cell:
        return (NORMAL, node.powered) if view.nd(node)["oob_program"] else UNAVAILABLE

    return cell


def _group(view: View) -> Getter:
    names = view.group_names_by_node
    return lambda node: (NORMAL, names.get(node.uuid))


_GENERAL: Final = [
    text("name", "Node", "Full name of the node", attribute("name"), hostname=True),
    text("pip", "PrimaryIP", "Address by which it is managed", attribute("primary_ip")),
    text("sip", "SecondaryIP", "Address over which disks are replicated", attribute("secondary_ip")),
    text("group", "Group", "Group that it belongs to", _group),
    text("group.uuid", "GroupUUID", "UUID of its group", attribute("group")),
    text(
        "role",
        "Role",
        "One letter: M master, C candidate, R regular, D drained, O offline",
        viewed(lambda view, node: role_of(node, view.cluster.settings)),
    ),
    boolean(
        "master",
        "IsMaster",
        "Whether it is the master",
        viewed(lambda view, node: node.uuid == view.cluster.settings.master_node),
    ),
    boolean("master_candidate", "MasterC", "Whether it may take over as master", flag("master_candidate")),
    boolean("master_capable", "MasterCapable", "Whether it may become a candidate", flag("master_capable")),
    boolean("vm_capable", "VMCapable", "Whether it may host instances", flag("vm_capable")),
    boolean("offline", "Offline", "Whether it is marked offline", flag("offline")),
    boolean("drained", "Drained", "Whether it takes no new instances", flag("drained")),
    boolean("powered", "Powered", "Whether it was last switched on, where that can be told", _powered),
    other("hv_state", "HypervisorState", "Not kept any more", never),
    other("disk_state", "DiskState", "Not kept any more", never),
]

_INSTANCES: Final = [
    other(
        "pinst_list",
        "PriInstances",
        "Instances that run here",
        viewed(lambda view, node: view.primaries_on(node.uuid)),
    ),
    number(
        "pinst_cnt",
        "Pinst",
        "How many instances run here",
        viewed(lambda view, node: len(view.cluster.instances_on(node.uuid))),
    ),
    other(
        "sinst_list",
        "SecInstances",
        "Instances that have a copy of their disks here",
        viewed(lambda view, node: view.secondaries_on(node.uuid)),
    ),
    number(
        "sinst_cnt",
        "Sinst",
        "How many instances have a copy of their disks here",
        viewed(lambda view, node: len(view.cluster.secondary_instances_on(node.uuid))),
    ),
]

_ND_TITLES: Final = {
    "exclusive_storage": "ExclusiveStorage",
    "oob_program": "OutOfBandProgram",
    "ovs": "OpenvSwitch",
    "ovs_link": "OpenvSwitchLink",
    "ovs_name": "OpenvSwitchName",
    "spindle_count": "SpindleCount",
}


def node_parameter_fields(read: Callable[[View, Any], Any]) -> list[Field]:
    """Make a field for each node parameter; `read` gives all of an object's."""

    def bind(name: str) -> Bind:
        return lambda view: lambda obj: (NORMAL, read(view, obj)[name])

    return [
        Field(
            f"ndp/{name}",
            _ND_TITLES.get(name, f"ndp/{name}"),
            KIND_OF_PARAMETER[parameter.type],
            f"Node parameter {name}",
            bind(name),
        )
        for name, parameter in NODE_PARAMETERS.items()
    ]


_PARAMETERS: Final = [
    other("ndparams", "NodeParameters", "All its node parameters", viewed(View.nd)),
    other("custom_ndparams", "CustomNodeParameters", "Node parameters of its own", attribute("ndparams")),
    *node_parameter_fields(View.nd),
]

_Live = tuple[str, str, FieldKind, str, Bind]
_LIVE: Final[list[_Live]] = [
    (
        "bootid",
        "BootID",
        FieldKind.TEXT,
        "Changes whenever it boots",
        _asked(lambda _view, _node, facts: (NORMAL, facts.boot_id)),
    ),
    ("mtotal", "MTotal", FieldKind.UNIT, "Memory that it has", _hypervisor(lambda seen: seen.memory_total)),
    ("mnode", "MNode", FieldKind.UNIT, "Memory that the node itself uses", _hypervisor(lambda seen: seen.memory_dom0)),
    ("mfree", "MFree", FieldKind.UNIT, "Memory free for instances", _hypervisor(lambda seen: seen.memory_free)),
    ("ctotal", "CTotal", FieldKind.NUMBER, "Logical processors", _hypervisor(lambda seen: seen.cpu_total)),
    ("cnodes", "CNodes", FieldKind.NUMBER, "NUMA domains", _hypervisor(lambda seen: seen.cpu_nodes)),
    ("csockets", "CSockets", FieldKind.NUMBER, "Processor sockets", _hypervisor(lambda seen: seen.cpu_sockets)),
    ("cnos", "CNOs", FieldKind.NUMBER, "Processors of the node itself", _hypervisor(lambda seen: seen.cpu_dom0)),
    ("dtotal", "DTotal", FieldKind.UNIT, "Size of its default storage", _storage(lambda unit: unit.size)),
    ("dfree", "DFree", FieldKind.UNIT, "Free room in its default storage", _storage(lambda unit: unit.free)),
    ("sptotal", "SpTotal", FieldKind.NUMBER, "Spindles that it has", _spindles(lambda unit: unit.size)),
    ("spfree", "SpFree", FieldKind.NUMBER, "Spindles that are free", _spindles(lambda unit: unit.free)),
]

NODE: Final[Fields] = fields(
    "name",
    _GENERAL,
    _INSTANCES,
    _PARAMETERS,
    stamps("node"),
    [Field(*row, asks=Asks.FACTS) for row in _LIVE],
)
