"""A new instance as an opcode describes it: checked, with all names and numbers chosen."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gnt.masterd.operation import Fresh
from gnt.masterd.operations.disk_checks import check_secondary, refuse_exclusive_storage, refuse_template
from gnt.masterd.operations.instance_devices import NewDevices
from gnt.masterd.operations.instance_steps import refuse_unusable
from gnt.masterd.operations.new_disks import Lie, NewDisks
from gnt.masterd.operations.numbers import FreeNumbers
from gnt.model.cluster import Cluster
from gnt.model.errors import ALREADY_EXISTS, NOT_UNIQUE, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import check_name, check_tag
from gnt.model.objects import ClusterSettings, Disk, DiskTemplate, HypervisorName, Instance, Node
from gnt.model.params import check_be, check_hv, check_os, fill_be, fill_hv, refuse_bad_be, refuse_bad_hv
from gnt.model.templates import LVM_BASED
from gnt.opcodes.instance_create import InstanceCreate

# Hypervisors whose guests have a console port of their own (VNC): spec/config.md, `network_port`.
WITH_CONSOLE_PORT = frozenset({HypervisorName.KVM, HypervisorName.XEN_HVM})


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The objects of a new instance, all forthcoming; `settings` where they must note what was given out.

    `adopted` are the names of what the disks adopt, in their order; empty if they are made.
    """

    instance: Instance
    disks: tuple[Disk, ...]
    settings: ClusterSettings | None
    adopted: tuple[str, ...] = ()

    def within(self, cluster: Cluster) -> Cluster:
        """Give the model with these."""
        for disk in self.disks:
            cluster = cluster.put(disk)
        return cluster.put(self.instance)


class NewInstance:
    """Makes the objects that an opcode describes, and refuses what cannot be."""

    def __init__(self, op: InstanceCreate, fresh: Fresh) -> None:
        self._op = op
        self._fresh = fresh

    def primary(self, cluster: Cluster) -> Node:
        """Give the primary node."""
        op = self._op
        if op.iallocator is not None:
            raise Unsupported("OP_INSTANCE_CREATE: iallocator is not supported by this version", hint="name a node: -n")
        named = op.pnode_uuid or op.pnode
        if named is None:
            raise Refused(WRONG_INPUT, "OP_INSTANCE_CREATE: pnode: no primary node is given", hint="-n NODE")
        node = cluster.node(named)
        refuse_unusable(node, as_what="primary node")
        return node

    def secondary(self, cluster: Cluster) -> Node | None:
        """Give the secondary node; None if the template has none."""
        named = self._op.snode_uuid or self._op.snode
        return check_secondary(cluster, self.template(cluster), self.primary(cluster), named)

    def nodes(self, cluster: Cluster) -> tuple[Node, ...]:
        """Give the nodes, the primary first."""
        primary, secondary = self.primary(cluster), self.secondary(cluster)
        return (primary,) if secondary is None else (primary, secondary)

    def template(self, cluster: Cluster) -> DiskTemplate:
        """Give the template: the one that is asked for, or the first that the cluster uses."""
        template = DiskTemplate(self._op.disk_template or cluster.settings.enabled_disk_templates[0])
        refuse_template(cluster, template)
        return template

    def make(self, cluster: Cluster, adopted: Mapping[str, int] | None) -> Made:
        """Make instance and disks; `adopted` as in `Lie`."""
        self._refuse_unsupported()
        op, nodes = self._op, self.nodes(cluster)
        name = check_name(op.instance_name, "instance")
        _refuse_taken(cluster, name)
        hypervisor = self._hypervisor(cluster)
        template = self.template(cluster)
        if not op.no_install and not op.os_type:
            raise Refused(WRONG_INPUT, "No guest OS is given", hint="-o OS, or --no-install for empty disks")
        hvparams = check_hv(hypervisor, op.hvparams)
        beparams = check_be(op.beparams)
        refuse_bad_be(fill_be(cluster, beparams))
        refuse_bad_hv(hypervisor, fill_hv(cluster, hypervisor, op.os_type or "", hvparams))
        nics = NewDevices(cluster, self._fresh, conflicts_check=op.conflicts_check).nics(op.nics)
        numbers = FreeNumbers(cluster)
        lie = Lie(
            template=template,
            instance_name=name,
            nodes=tuple(node.uuid for node in nodes),
            driver=op.file_driver,
            subdirectory=op.file_storage_dir,
            adopted=adopted,
        )
        if template in LVM_BASED:
            refuse_exclusive_storage(cluster, lie.nodes)
        maker = NewDisks(cluster, self._fresh, numbers, lie)
        disks = maker.disks(op.disks)
        instance = Instance(
            uuid=self._fresh.uuid(),
            name=name,
            primary_node=nodes[0].uuid,
            os=op.os_type or "",
            hypervisor=hypervisor,
            hvparams=hvparams,
            beparams=beparams,
            osparams=check_os(op.osparams),
            osparams_private=check_os(op.osparams_private or {}),
            nics=nics,
            disks=tuple(disk.uuid for disk in disks),
            network_port=numbers.port() if hypervisor in WITH_CONSOLE_PORT else None,
            tags=tuple(dict.fromkeys(check_tag(tag) for tag in op.tags)),
            forthcoming=True,
        )
        taken = tuple(maker.adopted_name(disk) for disk in op.disks if disk.get("adopt") is not None)
        return Made(instance=instance, disks=disks, settings=numbers.settings(), adopted=taken)

    def _refuse_unsupported(self) -> None:
        """Refuse by name what this version does not carry out; nothing given is ever ignored."""
        op = self._op
        given = {
            f"mode {op.mode}": op.mode != "create",
            "forthcoming": op.forthcoming,
            "commit": op.commit,
            "ip_check": op.ip_check,
            "instance_communication": op.instance_communication,
            "opportunistic_locking": op.opportunistic_locking,
            "group_name": op.group_name is not None,
            "identify_defaults": op.identify_defaults,
        }
        for what, is_given in given.items():
            if is_given:
                raise Unsupported(f"OP_INSTANCE_CREATE: {what} is not supported by this version")

    def _hypervisor(self, cluster: Cluster) -> HypervisorName:
        enabled = cluster.settings.enabled_hypervisors
        hypervisor = HypervisorName(self._op.hypervisor or cluster.settings.default_hypervisor)
        if hypervisor not in enabled:
            raise Refused(
                WRONG_STATE, f"Hypervisor {hypervisor} is not enabled", hint=f"enabled are: {' '.join(enabled)}"
            )
        return hypervisor


def _refuse_taken(cluster: Cluster, name: str) -> None:
    if cluster.instances.by_name(name) is not None:
        raise Refused(ALREADY_EXISTS, f"Instance {name} is already in the cluster", hint="choose another name")
    if cluster.nodes.by_name(name) is not None or name == cluster.settings.cluster_name:
        raise Refused(NOT_UNIQUE, f"{name} is the name of a node or of the cluster", hint="choose another name")
