"""Operations on the cluster as a whole."""

from __future__ import annotations

from typing import Final

from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.operation import Operation, executes
from gnt.masterd.plan import Plan
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.opcodes.cluster import ClusterDestroy

SHOWN: Final = 10
"""Names in a refusal; of more only the number is told."""


def _some(names: list[str]) -> str:
    """Give the names for one line."""
    more = len(names) - SHOWN
    return " ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


@executes(ClusterDestroy)
class DestroyCluster(Operation[ClusterDestroy]):
    """See that nothing is left but the master; the client then ends the daemons and wipes the node."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock everything."""
        del cluster
        return Locks().whole_cluster()

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Refuse while there is something to lose; answer the master's name."""
        del seen
        master = cluster.master
        others = [node.name for node in cluster.sorted_nodes() if node.uuid != master.uuid]
        if others:
            raise Refused(WRONG_INPUT, f"There are still other nodes: {_some(others)}", hint="gnt-node remove NODE")
        instances = [instance.name for instance in cluster.sorted_instances()]
        if instances:
            raise Refused(
                WRONG_INPUT, f"There are still instances: {_some(instances)}", hint="gnt-instance remove INSTANCE"
            )
        return Plan(result=master.name)
