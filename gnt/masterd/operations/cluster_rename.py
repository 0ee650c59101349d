"""Giving the cluster another name, and telling all nodes once more what is true."""

from __future__ import annotations

from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.master_address import activation, deactivation, has_own_address
from gnt.masterd.operation import Look, Operation, executes
from gnt.masterd.plan import Keep, Note, Plan, Step, Tell, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import NOT_UNIQUE, WRONG_INPUT, Refused
from gnt.model.names import check_name
from gnt.opcodes.cluster import ClusterRedistConf, ClusterRename
from gnt.wire.calls import NodeVerify, Peer


@executes(ClusterRename)
class RenameCluster(Operation[ClusterRename]):
    """Record the new name and its address; the master's node takes the old address down and raises the new one."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock everything."""
        del cluster
        return Locks().whole_cluster()

    async def observe(self, cluster: Cluster, look: Look) -> str:
        """Resolve the name; the address must not answer yet, unless it is the one that the cluster has."""
        name = self._name(cluster)
        address = await look.resolve(name)
        settings = cluster.settings
        if (name, address) == (settings.cluster_name, settings.master_ip):
            raise Refused(WRONG_INPUT, "Neither the name nor the address of the cluster would change")
        if address not in (settings.master_ip, cluster.master.primary_ip):
            peer = Peer(name=name, primary_ip=address, secondary_ip=address)
            facts = await look.ask(settings.master_node, NodeVerify(peers=[peer]))
            if name not in facts.unreachable:
                raise Refused(NOT_UNIQUE, f"{address}, the address of {name}, answers: somebody has it already")
        return address

    def plan(self, cluster: Cluster, address: str) -> Plan:
        """Move the address, then record both."""
        settings = replace(cluster.settings, cluster_name=self._name(cluster), master_ip=address)
        after, master = cluster.put(settings), cluster.settings.master_node
        steps: list[Step] = []
        if address != cluster.settings.master_ip:
            if has_own_address(cluster):
                steps.append(Undoable(on(master, deactivation(cluster)), undo=on(master, activation(cluster))))
            if has_own_address(after):
                steps.append(Undoable(on(master, activation(after)), undo=on(master, deactivation(after))))
        steps += [
            Keep((settings,)),
            Note(" - INFO: the certificate of the remote API bears the old name: gnt-cluster renew-crypto"),
        ]
        return Plan(tuple(steps), result=settings.cluster_name)

    def _name(self, cluster: Cluster) -> str:
        name = check_name(self.op.name, "cluster")
        if cluster.nodes.by_name(name) is not None or cluster.instances.by_name(name) is not None:
            raise Refused(NOT_UNIQUE, f"{name} is the name of a node or of an instance")
        return name


@executes(ClusterRedistConf)
class RedistributeConfiguration(Operation[ClusterRedistConf]):
    """Tell every online node anew, whatever it was told before; fails with the names of those that were not."""

    def locks(self, cluster: Cluster) -> Locks:
        """Keep all nodes as they are meanwhile."""
        del cluster
        return Locks().every(Level.NODE)

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Tell them."""
        del seen
        away = [node.name for node in cluster.sorted_nodes() if node.offline]
        notes = (Note(f" - INFO: offline, so not told: {' '.join(away)}"),) if away else ()
        return Plan((*notes, Tell(anew=True)))
