"""Raising the cluster's address, and taking it down, by hand."""

from __future__ import annotations

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.master_address import activation, deactivation, has_own_address
from gnt.masterd.operation import Operation, executes
from gnt.masterd.plan import Forward, Plan, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, Refused
from gnt.opcodes.cluster import ClusterActivateMasterIp, ClusterDeactivateMasterIp


def _refuse_shared(cluster: Cluster) -> None:
    """Refuse where the address is a node's own: it is neither raised nor taken down by itself."""
    if not has_own_address(cluster):
        raise Refused(
            WRONG_STATE,
            f"The cluster has no address of its own: it is reached at {cluster.settings.master_ip or 'the master'}",
        )


@executes(ClusterActivateMasterIp)
class ActivateMasterAddress(Operation[ClusterActivateMasterIp]):
    """Raise the address on the master's node."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock everything."""
        del cluster
        return Locks().whole_cluster()

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Have the master's node raise it."""
        del seen
        _refuse_shared(cluster)
        return Plan((Forward(on(cluster.settings.master_node, activation(cluster))),))


@executes(ClusterDeactivateMasterIp)
class DeactivateMasterAddress(Operation[ClusterDeactivateMasterIp]):
    """Take the address down on the master's node."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock everything."""
        del cluster
        return Locks().whole_cluster()

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Have the master's node take it down."""
        del seen
        _refuse_shared(cluster)
        return Plan((Forward(on(cluster.settings.master_node, deactivation(cluster))),))
