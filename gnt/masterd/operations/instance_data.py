"""Reading jobs about instances: their details, the way to their console."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.operations.disk_steps import holders, laid
from gnt.masterd.plan import Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.objects import Disk, Instance, Nic, Params
from gnt.model.params import fill_be, fill_hv, fill_nic, fill_os
from gnt.model.secret import REDACTED, redacted_logical_id
from gnt.model.specs import DiskSpec, group_of_instance, instance_spec
from gnt.opcodes.instance import InstanceConsole, InstanceQueryData
from gnt.wire.calls import DiskFacts
from gnt.wire.disk_calls import DiskStates
from gnt.wire.guest_calls import Console, GuestConsole, GuestFacts, GuestList


@executes(InstanceConsole)
class ConsoleOfInstance(Operation[InstanceConsole]):
    """Say how to reach the console of a running guest."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the instance against moving away meanwhile."""
        return Locks().shared(Level.INSTANCE, cluster.instance(self.op.instance_name).name)

    async def observe(self, cluster: Cluster, look: Look) -> Console:
        """Ask the node where the guest runs."""
        instance = cluster.instance(self.op.instance_name)
        node = cluster.nodes[instance.primary_node]
        if await look.guest(instance) is None:
            raise Refused(
                WRONG_STATE,
                f"{instance.name} does not run on {node.name}",
                hint=f"gnt-instance startup {instance.name}",
            )
        return await look.ask(node.uuid, GuestConsole(instance=instance_spec(cluster, instance), node_name=node.name))

    def plan(self, cluster: Cluster, seen: Console) -> Plan:
        """Answer what the node said."""
        del cluster
        names = ("instance", "kind", "message", "host", "port", "user", "command", "display")
        return Plan(result={name: getattr(seen, name) for name in names})


Details = dict[str, Any]
DisksSeen = Mapping[tuple[str, str], DiskFacts | None]
"""What nodes said of disks, by the UUIDs of both."""


@executes(InstanceQueryData)
class DescribeInstances(Operation[InstanceQueryData]):
    """Describe instances in detail: recorded and filled parameters, state, disks."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the named instances, or all, against change; a static description locks nothing unless asked to."""
        if self.op.static and not self.op.use_locking:
            return Locks()
        if not self.op.instances:
            return Locks().every(Level.INSTANCE)
        return Locks().shared(Level.INSTANCE, *(cluster.instance(name).name for name in self.op.instances))

    async def observe(self, cluster: Cluster, look: Look) -> Mapping[str, Any]:
        """Ask each primary node once for its guests, and each node that holds disks once for all of them."""
        if self.op.static:
            return {}
        chosen = self._chosen(cluster)
        nodes = {cluster.nodes[instance.primary_node].uuid for instance in chosen}
        online = [uuid for uuid in sorted(nodes) if not cluster.nodes[uuid].offline]
        hypervisors = {str(name): fill_hv(cluster, name, "", {}) for name in cluster.settings.enabled_hypervisors}
        guests = await look.ask_all({uuid: GuestList(hypervisors=hypervisors) for uuid in online})
        silent = {uuid for uuid in online if not isinstance(guests.get(uuid), list)}
        return {"guests": guests, "disks": await self._look_at_disks(cluster, look, chosen, silent)}

    def plan(self, cluster: Cluster, seen: Mapping[str, Any]) -> Plan:
        """Put the descriptions together."""
        found = {
            instance.name: _describe(cluster, instance, seen, static=self.op.static)
            for instance in self._chosen(cluster)
        }
        return Plan(result=found)

    def _chosen(self, cluster: Cluster) -> list[Instance]:
        if not self.op.instances:
            return cluster.sorted_instances()
        if len(self.op.instances) != len(set(self.op.instances)):
            raise Refused(WRONG_INPUT, "An instance is named twice", hint="name each once")
        return [cluster.instance(name) for name in self.op.instances]

    async def _look_at_disks(
        self, cluster: Cluster, look: Look, instances: Sequence[Instance], silent: Collection[str]
    ) -> DisksSeen:
        """Give what each node that answers says of each disk; tell what cannot be told."""
        held: dict[str, list[DiskSpec]] = {}
        for whole in (whole for instance in instances for whole in laid(cluster, instance)):
            for node in whole.nodes:
                if not cluster.nodes[node].offline and node not in silent:
                    held.setdefault(node, []).append(whole.spec)
        found: dict[tuple[str, str], DiskFacts | None] = {}
        answers = await look.ask_all({node: DiskStates(disks=disks) for node, disks in held.items()}) if held else {}
        for node, answer in answers.items():
            name = cluster.nodes[node].name
            if isinstance(answer, Exception):
                look.note(f" - WARNING: {name} does not tell its disks: {answer}")
                continue
            for disk, state in zip(held[node], answer, strict=True):
                if state.problem:
                    look.note(f" - WARNING: disk/{disk.index} of {disk.instance_name} on {name}: {state.problem}")
                found[node, disk.uuid] = state.facts
        return found


def _describe(cluster: Cluster, instance: Instance, seen: Mapping[str, Any], *, static: bool) -> Details:
    primary = cluster.nodes[instance.primary_node]
    secondaries = cluster.secondaries(instance)
    group = group_of_instance(cluster, instance)
    os_params = fill_os(cluster, instance.os, instance.osparams, instance.osparams_private)
    found: DisksSeen = seen.get("disks", {})
    return {
        "name": instance.name,
        "uuid": instance.uuid,
        "serial_no": instance.serial_no,
        "ctime": instance.ctime,
        "mtime": instance.mtime,
        "config_state": instance.admin_state,
        "run_state": None if static else _run_state(instance, seen.get("guests", {})),
        "pnode": primary.name,
        "pnode_group_uuid": primary.group,
        "pnode_group_name": group.name if group else None,
        "snodes": [node.name for node in secondaries],
        "snodes_group_uuids": [node.group for node in secondaries],
        "snodes_group_names": [cluster.groups[node.group].name for node in secondaries],
        "os": instance.os,
        "os_instance": dict(instance.osparams),
        "os_actual": dict(os_params.public),
        "os_private": dict.fromkeys(os_params.private, REDACTED),
        "network_port": instance.network_port,
        "hypervisor": instance.hypervisor,
        "hv_instance": dict(instance.hvparams),
        "hv_actual": fill_hv(cluster, instance.hypervisor, instance.os, instance.hvparams),
        "be_instance": dict(instance.beparams),
        "be_actual": fill_be(cluster, instance.beparams),
        "nics": [_describe_nic(cluster, instance, nic) for nic in instance.nics],
        "disk_template": cluster.disk_template(instance),
        "disks": [
            _describe_disk(disk, [found.get((node, disk.uuid)) for node in holders(instance, disk)])
            for disk in cluster.disks_of(instance)
        ],
        "tags": list(instance.tags),
    }


def _run_state(instance: Instance, guests: Mapping[str, Any]) -> str | None:
    """Say `up`, `down` or `user down`; None where the node did not answer."""
    answer = guests.get(instance.primary_node)
    if not isinstance(answer, list):
        return None
    guest: GuestFacts | None = next((guest for guest in answer if guest.uuid == instance.uuid), None)
    if guest is None:
        return "down"
    return "user down" if guest.state == "user_down" else "up"


def _describe_nic(cluster: Cluster, instance: Instance, nic: Nic) -> Details:
    filled: Params = fill_nic(cluster, group_of_instance(cluster, instance), nic)
    network = cluster.networks.get(nic.network) if nic.network else None
    return {
        "uuid": nic.uuid,
        "name": nic.name,
        "mac": nic.mac,
        "ip": nic.ip,
        "mode": filled["mode"],
        "link": filled["link"],
        "vlan": filled["vlan"],
        "network": network.name if network else None,
    }


def _status(facts: DiskFacts | None) -> Details | None:
    if facts is None:
        return None
    return {
        "path": facts.path,
        "size": facts.size,
        "sync_percent": facts.sync_percent,
        "estimated_time": facts.estimated_time,
        "degraded": facts.degraded,
        "local_status": facts.local_status,
    }


def _describe_disk(disk: Disk, facts: Sequence[DiskFacts | None]) -> Details:
    """Describe a disk; `facts` are what its nodes say, the primary first."""
    primary, secondary = (*map(_status, facts), None, None)[:2]
    return {
        "iv_name": disk.iv_name,
        "uuid": disk.uuid,
        "name": disk.name,
        "dev_type": disk.dev_type,
        "logical_id": list(redacted_logical_id(disk.logical_id)),
        "size": disk.size,
        "mode": disk.mode,
        "spindles": disk.spindles,
        "pstatus": primary,
        "sstatus": secondary,
        "children": [_describe_disk(child, ()) for child in disk.children],
    }
