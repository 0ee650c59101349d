"""Changing what a node is: candidate, drained, offline, its capabilities and parameters (`spec/daemons.md`, 8.1).

Three stages, so that each sees what the one before it has made true: others become candidates where this node leaves
the pool, then the node itself changes, then it becomes a candidate where it shall. One voter a commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Look, Operation, Stage, executes
from gnt.masterd.operations.pool import Certificates, catch_up, promote, refill, see_certificates, shortage, wants
from gnt.masterd.plan import Keep, Note, Plan, Step
from gnt.model.cluster import CONFIG_VERSION, Cluster
from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, WRONG_STATE, GntError, NotReached, Refused, Unsupported
from gnt.model.objects import Node
from gnt.model.params import check_nd, fill_nd
from gnt.opcodes.base import Opcode
from gnt.opcodes.node import NodeSetParams
from gnt.wire.calls import NodeVerify, Rights, Version

_ROLES = ("master_candidate", "offline", "drained")
_OTHERS = ("master_capable", "vm_capable", "ndparams", "powered")
_LATER = ("hv_state", "disk_state", "secondary_ip")

Changes = list[tuple[str, Any]]


@executes(NodeSetParams)
class ModifyNode(Operation[NodeSetParams]):
    """Change a node's roles and parameters."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock everything: the pool of candidates concerns all."""
        cluster.node(self.op.node_name)
        return Locks().whole_cluster()

    def stages(self) -> Sequence[Stage]:
        """Give others, itself, and its own promotion."""
        return (
            Stage(self._observe_others, self.plan_others),
            Stage(self._observe_nothing, self.plan_itself, "change the node itself"),
            Stage(self._observe_itself, self.plan_promotion, "make it a candidate, if that is what it becomes"),
        )

    @classmethod
    def after_cut_off(cls, op: NodeSetParams, cluster: Cluster) -> tuple[tuple[Opcode, ...], ...]:
        """Have candidates made where the opcode would have."""
        promotes = op.auto_promote or op.offline is False or op.drained is False or op.master_capable
        return catch_up(cluster, f"modifying {op.node_name} was cut off") if promotes else ()

    # Others

    async def _observe_others(self, cluster: Cluster, look: Look) -> Certificates:
        node = cluster.node(self.op.node_name)
        self._refuse(cluster, node)
        if _returns(node, self._changed(cluster, node)):
            await self._refuse_silent(node, look)
        if not self._leaves_gap(cluster, node) or not self.op.auto_promote:
            return {}
        return await see_certificates(cluster, look, {node.uuid})

    def plan_others(self, cluster: Cluster, seen: Certificates) -> Plan:
        """Have others become candidates first, so that at no time there are too few copies."""
        node = cluster.node(self.op.node_name)
        self._refuse(cluster, node)
        result = [[name, text] for name, text in self._told(cluster, node)]
        steps: tuple[Step, ...] = ()
        if self._leaves_gap(cluster, node):
            if self.op.auto_promote:
                steps = refill(cluster, seen, {node.uuid})
            elif self.op.force:
                steps = (Note(" - WARNING: fewer master candidates than wanted remain"),)
            else:
                raise Refused(
                    WRONG_STATE,
                    f"Too few master candidates remain without {node.name}",
                    hint="--auto-promote has others become candidates; --force goes without",
                )
        return Plan(steps, dry_result=result)

    # Itself

    async def _observe_nothing(self, _cluster: Cluster, _look: Look) -> None:
        return None

    def plan_itself(self, cluster: Cluster, _seen: None) -> Plan:
        """Change the node; if it was a candidate and is none any more, this is the change of voters."""
        node = cluster.node(self.op.node_name)
        changed = replace(self._changed(cluster, node), master_candidate=node.master_candidate)
        self._result = [[name, text] for name, text in self._told(cluster, node)]
        if not self._stays_candidate(cluster, node):
            changed = replace(changed, master_candidate=False)
        if changed == node:
            return Plan()
        if node.master_candidate and not changed.master_candidate:
            settings = cluster.settings
            certificates = {uuid: digest for uuid, digest in settings.candidate_certs.items() if uuid != node.uuid}
            return Plan((Keep((changed, replace(settings, candidate_certs=certificates))),))
        return Plan((Keep((changed,)),))

    # Its own promotion

    async def _observe_itself(self, cluster: Cluster, look: Look) -> str:
        """Ask for the node's certificate if it shall become a candidate."""
        node = cluster.node(self.op.node_name)
        if node.master_candidate or not self._becomes_candidate(cluster, node):
            return ""
        try:
            facts = await look.ask(node.uuid, NodeVerify())
        except GntError as error:
            if self.op.master_candidate:
                raise Refused(ENVIRONMENT, f"{node.name} cannot become a master candidate: {error}") from error
            look.note(f" - WARNING: {node.name} does not become a master candidate: {error}")
            return ""
        return facts.certificate

    def plan_promotion(self, cluster: Cluster, certificate: str) -> Plan:
        """Make it a candidate: asked for, or back in a pool that is short."""
        node = cluster.node(self.op.node_name)
        if not certificate:
            return Plan(result=self._result)
        if not self.op.master_candidate:
            self._result.append(["master_candidate", "True"])
        return Plan(promote(cluster, node, certificate), result=self._result)

    # What is wanted

    def _changed(self, cluster: Cluster, node: Node) -> Node:
        """Give the node as it shall be, its candidacy as asked for."""
        op = self.op
        given = {name: getattr(op, name) for name in (*_ROLES, "master_capable", "vm_capable", "powered")}
        changed = replace(node, **{name: value for name, value in given.items() if value is not None})
        if op.ndparams:
            changed = replace(changed, ndparams=check_nd(op.ndparams, node.ndparams))
        if op.offline:
            changed = replace(changed, drained=False)
        if op.drained:
            changed = replace(changed, offline=False)
        if not self._stays_candidate(cluster, node) and not op.master_candidate:
            changed = replace(changed, master_candidate=False)
        return changed

    def _stays_candidate(self, cluster: Cluster, node: Node) -> bool:
        op = self.op
        del cluster
        leaves = op.master_candidate is False or op.offline or op.drained or op.master_capable is False
        return node.master_candidate and not leaves

    def _becomes_candidate(self, cluster: Cluster, node: Node) -> bool:
        """Say whether the node, changed already, shall become one: asked for, or able again in a short pool."""
        op = self.op
        if op.master_candidate is not None:
            return op.master_candidate
        return (op.offline is False or op.drained is False or op.master_capable is True) and wants(cluster, node)

    def _leaves_gap(self, cluster: Cluster, node: Node) -> bool:
        leaves = node.master_candidate and not self._stays_candidate(cluster, node)
        return leaves and shortage(cluster, {node.uuid}) > 0

    def _told(self, cluster: Cluster, node: Node) -> Changes:
        """Give the effective changes, for people: a flag and what became of it."""
        op, told = self.op, Changes()
        for name in _ROLES:
            value = getattr(op, name)
            if value is not None and value != getattr(node, name):
                told.append((name, str(value)))
        if node.master_candidate and op.master_candidate is None and not self._stays_candidate(cluster, node):
            why = "offline" if op.offline else "drain" if op.drained else "loss of master capability"
            told.append(("master_candidate", f"auto-demotion due to {why}"))
        if op.offline and node.drained and op.drained is None:
            told.append(("drained", "clear drained status due to offline"))
        if op.drained and node.offline and op.offline is None:
            told.append(("offline", "clear offline status due to drain"))
        for name in ("master_capable", "vm_capable", "powered"):
            value = getattr(op, name)
            if value is not None and value != getattr(node, name):
                told.append((name, str(value)))
        if op.ndparams:
            told.append(("ndparams", str(dict(self._changed(cluster, node).ndparams))))
        return told

    # Refusals

    def _refuse(self, cluster: Cluster, node: Node) -> None:
        op = self.op
        for name in _LATER:
            if getattr(op, name):
                raise Unsupported(f"OP_NODE_SET_PARAMS: {name} is not supported by this version")
        if all(getattr(op, name) is None for name in _ROLES + _OTHERS):
            raise Refused(WRONG_INPUT, "Please pass at least one modification")
        if [getattr(op, name) for name in _ROLES].count(True) > 1:
            raise Refused(WRONG_INPUT, "Can't set the node into more than one state at the same time")
        self._refuse_master(cluster, node)
        changed = self._changed(cluster, node)
        if op.master_candidate:
            self._refuse_candidacy(node, changed)
        if op.vm_capable is False:
            self._refuse_hosting(cluster, node)
        powers = bool(fill_nd(cluster, changed).get("oob_program"))
        if op.powered is not None and op.powered != node.powered and not powers:
            raise Refused(WRONG_STATE, f"{node.name} has no out-of-band program, so nobody knows whether it is powered")
        if _returns(node, changed) and powers and not changed.powered and not op.force:
            raise Refused(
                WRONG_STATE,
                f"{node.name} is recorded as powered off, so it cannot be online",
                hint=f"gnt-node modify --node-powered=yes {node.name}",
            )

    def _refuse_master(self, cluster: Cluster, node: Node) -> None:
        op = self.op
        if node.uuid != cluster.settings.master_node:
            return
        if any(getattr(op, name) is not None for name in _ROLES) or op.master_capable is False:
            raise Refused(
                WRONG_INPUT,
                "The master role can be changed only via master-failover",
                hint="gnt-cluster master-failover on the node that shall be the master",
            )

    def _refuse_candidacy(self, node: Node, changed: Node) -> None:
        for flag in ("offline", "drained"):
            if getattr(changed, flag):
                raise Refused(
                    WRONG_INPUT,
                    f"{node.name} is {flag} and cannot be a master candidate",
                    hint=f"add --{flag}=no",
                )
        if not changed.master_capable:
            raise Refused(
                WRONG_STATE,
                f"{node.name} is not master capable, so it cannot be a master candidate",
                hint="add --master-capable=yes",
            )

    def _refuse_hosting(self, cluster: Cluster, node: Node) -> None:
        held = {instance.name for instance in cluster.instances_on(node.uuid)}
        held |= {instance.name for instance in cluster.secondary_instances_on(node.uuid)}
        if held:
            raise Refused(
                WRONG_STATE,
                f"{node.name} hosts instances ({min(held)}, {len(held)} in all), so it stays vm_capable",
                hint="move its instances first",
            )

    async def _refuse_silent(self, node: Node, look: Look) -> None:
        """Refuse to have a node back that does not answer, or speaks another protocol.

        One that was away may have been started a moment ago, and its link tries again later: it is sought at once.
        """
        try:
            try:
                found = await look.ask(node.uuid, Version())
            except NotReached:
                look.note(f"* waiting for {node.name} to answer...")
                found = await look.meet(node.name, node.primary_ip, Version())
        except GntError as error:
            raise Refused(
                WRONG_STATE,
                f"{node.name} does not answer, so it stays offline: {error}",
                hint=f"start gnt-noded there; gnt-node add --readd {node.name} if it was set up anew",
            ) from error
        if found.protocol != CONFIG_VERSION:
            raise Refused(
                ENVIRONMENT,
                f"{node.name} speaks protocol {found.protocol}, this cluster {CONFIG_VERSION}",
                hint="install the same release on all nodes",
            )
        if not await look.ask(node.uuid, Rights()):
            raise Refused(
                WRONG_STATE,
                f"{node.name} does not know this master's certificate: it was renewed while the node was away",
                hint=f"gnt-node add --readd {node.name} tells it",
            )


def _returns(node: Node, changed: Node) -> bool:
    """Say whether a node that was left alone is to be spoken to again."""
    return node.offline and not changed.offline
