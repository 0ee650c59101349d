"""The fields of node groups: `spec/query-fields.json`, resource `group`."""

from __future__ import annotations

from typing import Any, Final

from gnt.masterd.queries.arranged import in_order
from gnt.masterd.queries.fields import Fields, attribute, fields, number, other, stamps, text, viewed
from gnt.masterd.queries.node import node_parameter_fields
from gnt.masterd.queries.policy import told_ipolicy
from gnt.masterd.queries.view import View
from gnt.model.objects import NodeGroup
from gnt.model.params import fill_disk, fill_group_nd
from gnt.model.params_tables import DISK


def _members(view: View, group: NodeGroup) -> list[str]:
    return [node.name for node in view.members.get(group.uuid, ())]


def _instance_count(view: View, group: NodeGroup) -> int:
    return sum(len(view.cluster.instances_on(node.uuid)) for node in view.members.get(group.uuid, ()))


def _instances(view: View, group: NodeGroup) -> list[str]:
    found = (view.cluster.instances_on(node.uuid) for node in view.members.get(group.uuid, ()))
    return in_order(instance.name for instances in found for instance in instances)


def _diskparams(view: View, group: NodeGroup) -> dict[str, Any]:
    return {template: fill_disk(view.cluster, group, template, {}) for template in DISK}


def _ndparams(view: View, group: NodeGroup) -> dict[str, Any]:
    return fill_group_nd(view.cluster, group)


GROUP: Final[Fields] = fields(
    "name",
    [
        text("name", "Group", "Name of the node group", attribute("name")),
        text("alloc_policy", "AllocPolicy", "How readily instances are placed here", attribute("alloc_policy")),
        number("node_cnt", "Nodes", "How many nodes it has", viewed(lambda view, group: len(_members(view, group)))),
        other("node_list", "NodeList", "Its nodes", viewed(_members)),
        number("pinst_cnt", "Instances", "How many instances run here", viewed(_instance_count)),
        other("pinst_list", "InstanceList", "Instances that run here", viewed(_instances)),
        other("ndparams", "NDParams", "All node parameters", viewed(_ndparams)),
        other("custom_ndparams", "CustomNDParams", "Node parameters of its own", attribute("ndparams")),
        other("diskparams", "DiskParameters", "All disk parameters", viewed(_diskparams)),
        other("custom_diskparams", "CustomDiskParameters", "Disk parameters of its own", attribute("diskparams")),
        other(
            "ipolicy",
            "InstancePolicy",
            "What instances are allowed here",
            viewed(lambda view, group: told_ipolicy(view.cluster, group)),
        ),
        other("custom_ipolicy", "CustomInstancePolicy", "What of that is its own", attribute("ipolicy")),
    ],
    node_parameter_fields(_ndparams),
    stamps("node group"),
)
