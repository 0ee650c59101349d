"""Changing the cluster's parameters: settings, then the pool of candidates where its size was raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.master_address import activation, deactivation, has_own_address
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.operations.cluster_settings import LVM_TEMPLATES, changed_settings, some
from gnt.masterd.operations.pool import Certificates, catch_up, refill, see_certificates, shortage
from gnt.masterd.plan import Keep, Note, Plan, Step, Undoable, on
from gnt.masterd.voting import voters
from gnt.model.checks import needs_of, policy_violations
from gnt.model.cluster import Cluster
from gnt.model.errors import ENVIRONMENT, UNKNOWN_ENTITY, WRONG_INPUT, Refused
from gnt.model.objects import ClusterSettings, DiskTemplate, Node
from gnt.model.params import fill_hv
from gnt.model.policy import fill_ipolicy
from gnt.opcodes.base import Opcode
from gnt.opcodes.cluster_modify import ClusterSetParams
from gnt.wire.calls import (
    InterfaceCheck,
    NodeCall,
    NodeFacts,
    NodeInfo,
    OsFacts,
    OsList,
    StorageCheck,
    StorageUnit,
)
from gnt.wire.disk_calls import MirrorList, MirrorOverview
from gnt.wire.guest_calls import HypervisorCheck

Hosts = Sequence[Node]

LEAST_VG: Final = 20480
"""MiB that a volume group of the cluster has at least: `spec/cli.md`, gnt-cluster init."""


@executes(ClusterSetParams)
class ModifyCluster(Operation[ClusterSetParams]):
    """Change the cluster's parameters; nothing is changed unless all of it can be."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep instances and nodes as they are, and let only one change the settings; the pool concerns all."""
        del cluster
        if self.op.candidate_pool_size is not None:
            return Locks().whole_cluster()
        return Locks().every(Level.INSTANCE).every(Level.NODEGROUP, exclusive=True).every(Level.NODE)

    def stages(self) -> Sequence[Stage]:
        """Give the settings, then the candidates that a larger pool lacks."""
        return (
            Stage(self.observe, self.plan),
            Stage(self._see_others, self.plan_refill, "nodes become candidates if the pool is to be larger"),
        )

    @classmethod
    def after_cut_off(cls, op: ClusterSetParams, cluster: Cluster) -> tuple[tuple[Opcode, ...], ...]:
        """Fill a pool that was made larger."""
        return catch_up(cluster, "enlarging the pool was cut off") if op.candidate_pool_size is not None else ()

    async def observe(self, cluster: Cluster, look: Look) -> None:
        """Ask the nodes whether they can do what is wanted of them."""
        made = changed_settings(cluster, self.op, look.note)
        hosts = [node for node in cluster.sorted_nodes() if node.vm_capable and not node.offline]
        for question in (self._groups, self._helpers, self._directories, self._hypervisors, self._guest_systems):
            await question(cluster, made, hosts, look)
        await self._master_interface(cluster, made, look)

    def plan(self, cluster: Cluster, seen: None) -> Plan:
        """Record the settings; the cluster's address moves to its new interface before."""
        del seen
        made = changed_settings(cluster, self.op, lambda _text: None)
        if made == cluster.settings:
            return Plan((Note("nothing changes"),))
        return Plan((*self._moves_address(cluster, made), Keep((made,)), *self._notes(cluster, made)))

    async def _see_others(self, cluster: Cluster, look: Look) -> Certificates:
        if self.op.candidate_pool_size is None or not shortage(cluster):
            return {}
        return await see_certificates(cluster, look)

    def plan_refill(self, cluster: Cluster, seen: Certificates) -> Plan:
        """Have others become candidates, one voter a commit."""
        if self.op.candidate_pool_size is None:
            return Plan()
        more = len(cluster.candidates()) - cluster.settings.candidate_pool_size
        if more > 0:
            text = f"there are {more} more master candidates than wanted: gnt-node modify --master-candidate=no"
            return Plan((Note(f" - INFO: {text}"),))
        return Plan(refill(cluster, seen))

    # Steps

    def _moves_address(self, cluster: Cluster, made: ClusterSettings) -> tuple[Step, ...]:
        old = cluster.settings
        same = (made.master_netdev, made.master_netmask) == (old.master_netdev, old.master_netmask)
        if same or not has_own_address(cluster):
            return ()
        after, master = cluster.put(made), old.master_node
        return (
            Undoable(on(master, deactivation(cluster)), undo=on(master, activation(cluster))),
            Undoable(on(master, activation(after)), undo=on(master, deactivation(after))),
        )

    def _notes(self, cluster: Cluster, made: ClusterSettings) -> tuple[Note, ...]:
        """Warn of instances that a new policy would not allow."""
        if self.op.ipolicy is None:
            return ()
        after = cluster.put(made)
        notes: list[Note] = []
        for instance in cluster.sorted_instances():
            node = cluster.nodes.get(instance.primary_node)
            policy = fill_ipolicy(after, cluster.groups.get(node.group) if node is not None else None)
            notes += [
                Note(f" - WARNING: {instance.name} violates the new instance policy: {text}")
                for text in policy_violations(policy, needs_of(after, instance))
            ]
        return tuple(notes)

    # What the nodes are asked

    async def _groups(self, cluster: Cluster, made: ClusterSettings, hosts: Hosts, look: Look) -> None:
        """See that every node has the volume group, large enough."""
        name = made.volume_group_name
        enabled = LVM_TEMPLATES & set(made.enabled_disk_templates)
        before = LVM_TEMPLATES & set(cluster.settings.enabled_disk_templates)
        asked = self.op.vg_name or (enabled and not before)
        if name is None or not asked:
            return
        answers = await self._ask(look, hosts, NodeInfo(storage=[StorageUnit(kind="lvm-vg", key=name)]))
        for node, answer in answers.items():
            assert isinstance(answer, NodeFacts)  # noqa: S101
            size = next((unit.size for unit in answer.storage if unit.key == name), None)
            if size is None:
                why = "; ".join(answer.problems.values()) or "it does not exist"
                raise Refused(ENVIRONMENT, f"Volume group {name} on {node}: {why}", hint="make it there first")
            if size < LEAST_VG:
                raise Refused(
                    ENVIRONMENT, f"Volume group {name} on {node} is too small: {size} MiB of at least {LEAST_VG}"
                )

    async def _master_interface(self, cluster: Cluster, made: ClusterSettings, look: Look) -> None:
        """See that whoever is the master, or may become it, has the interface that carries the cluster's address."""
        name = made.master_netdev
        if self.op.master_netdev is None:
            return
        able = [node for node in cluster.sorted_nodes() if node.uuid in voters(cluster) and not node.offline]
        answers = await self._ask(look, able, InterfaceCheck(interfaces=[name]))
        without = sorted(node for node, missing in answers.items() if missing)
        if not without:
            return
        text = f"OP_CLUSTER_SET_PARAMS: master_netdev: there is no interface {name} on {some(without)}"
        if not self.op.force:
            hint = "each master candidate needs it; --force takes it all the same"
            raise Refused(ENVIRONMENT, text, hint=hint)
        look.note(f" - WARNING: {text}")

    async def _helpers(self, _cluster: Cluster, made: ClusterSettings, hosts: Hosts, look: Look) -> None:
        """See that the kernel module calls the same helper on every node."""
        if not self.op.drbd_helper or DiskTemplate.DRBD not in made.enabled_disk_templates:
            return
        for node, answer in (await self._ask(look, hosts, MirrorList())).items():
            assert isinstance(answer, MirrorOverview)  # noqa: S101
            if answer.helper != self.op.drbd_helper:
                raise Refused(
                    ENVIRONMENT,
                    f"DRBD calls {answer.helper or 'no helper, it is not loaded'} on {node}, not {self.op.drbd_helper}",
                    hint=f"modprobe drbd usermode_helper={self.op.drbd_helper}",
                )

    async def _directories(self, cluster: Cluster, made: ClusterSettings, hosts: Hosts, look: Look) -> None:
        """See that file disks may live in their directories."""
        newly = set(made.enabled_disk_templates) - set(cluster.settings.enabled_disk_templates)
        for template, given, path in (
            (DiskTemplate.FILE, self.op.file_storage_dir, made.file_storage_dir),
            (DiskTemplate.SHAREDFILE, self.op.shared_file_storage_dir, made.shared_file_storage_dir),
        ):
            if template in made.enabled_disk_templates and (given or template in newly):
                await self._ask(look, hosts, StorageCheck(kind=template, directory=path))

    async def _hypervisors(self, cluster: Cluster, made: ClusterSettings, hosts: Hosts, look: Look) -> None:
        """See that the nodes can do what the hypervisors' parameters say."""
        after = cluster.put(made)
        newly = set(made.enabled_hypervisors) - set(cluster.settings.enabled_hypervisors)
        for name in made.enabled_hypervisors:
            if name in newly or name in (self.op.hvparams or {}):
                params = fill_hv(after, name, "", {})
                await self._ask(look, hosts, HypervisorCheck(hypervisor=name, parameters=params))
        for os, by_hypervisor in (self.op.os_hvp or {}).items():
            for hypervisor in sorted(set(by_hypervisor) & set(made.enabled_hypervisors)):
                params = fill_hv(after, hypervisor, os, {})
                await self._ask(look, hosts, HypervisorCheck(hypervisor=hypervisor, parameters=params))

    async def _guest_systems(self, _cluster: Cluster, _made: ClusterSettings, hosts: Hosts, look: Look) -> None:
        """See that guest OS definitions know the parameters that are set for them."""
        given: dict[str, set[str]] = {}
        for changes in (self.op.osparams, self.op.osparams_private_cluster):
            for os, params in (changes or {}).items():
                given.setdefault(os, set()).update(name for name, value in params.items() if value is not None)
        given = {os: names for os, names in given.items() if names}
        if not given or self.op.force:
            return
        answers = await self._ask(look, hosts, OsList())
        known: dict[str, set[str]] = {}
        for definitions in answers.values():
            for facts in definitions:
                assert isinstance(facts, OsFacts)  # noqa: S101
                if facts.valid:
                    known.setdefault(facts.name, set()).update(name.lower() for name, _ in facts.parameters)
        for os, names in sorted(given.items()):
            base = os.partition("+")[0]
            if base not in known:
                raise Refused(UNKNOWN_ENTITY, f"No node has a guest OS definition {base[:60]}", hint="--force sets it")
            unknown = sorted(name for name in names if name.lower() not in known[base])
            if unknown:
                there = ", ".join(sorted(known[base])) or "none"
                raise Refused(WRONG_INPUT, f"Guest OS {base} has no parameter {unknown[0]}", hint=f"it has: {there}")

    async def _ask(self, look: Look, hosts: Hosts, call: NodeCall[Any]) -> Mapping[str, Any]:
        """Ask all hosts; gives their answers by name. A bad answer is refused, or with `force` told and left out."""
        answers = await look.ask_all({node.uuid: call for node in hosts})
        good: dict[str, Any] = {}
        for node in hosts:
            answer = answers[node.uuid]
            if not isinstance(answer, Exception):
                good[node.name] = answer
            elif self.op.force:
                look.note(f" - WARNING: {node.name}: {answer}")
            else:
                raise Refused(ENVIRONMENT, f"{node.name}: {answer}", hint="--force goes on all the same") from answer
        return good
