"""Opcodes that exercise the machinery itself."""

from __future__ import annotations

from gnt.masterd.jobs.lockset import Level, Locks
from gnt.masterd.operation import Operation, executes
from gnt.masterd.plan import Note, Pause, Plan, Together, Undoable, on
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, Refused, Unsupported
from gnt.opcodes.test import TestDelay
from gnt.wire.calls import Delay


@executes(TestDelay)
class DelayTest(Operation[TestDelay]):
    """Sleep, on the master and on nodes."""

    def locks(self, cluster: Cluster) -> Locks:
        """Lock the nodes that sleep, unless told not to."""
        if self.op.no_locks:
            return Locks()
        master = (cluster.settings.master_node,) if self.op.on_master else ()
        return Locks().exclusive(Level.NODE, *master, *self._nodes(cluster))

    def plan(self, cluster: Cluster, seen: object) -> Plan:
        """Sleep as often as asked for; the nodes side by side."""
        del seen
        if self.op.duration < 0:
            raise Refused(WRONG_INPUT, f"Duration {self.op.duration} is negative", hint="give seconds, 0 or more")
        if self.op.interruptible:
            raise Unsupported("OP_TEST_DELAY: interruptible is not supported by this version")
        once = self._once(cluster)
        if not self.op.repeat:
            return Plan(once)
        last = self.op.repeat
        return Plan(
            tuple(step for turn in range(last) for step in (Note(f"Test delay iteration {turn}/{last - 1}"), *once))
        )

    def _once(self, cluster: Cluster) -> tuple[Pause | Together, ...]:
        pause = (Pause(self.op.duration),) if self.op.on_master else ()
        # Nothing has changed where a sleep was cut off: recovery has nothing to finish, least of all by sleeping again.
        asked = tuple(Undoable(on(node, Delay(seconds=self.op.duration)), undo=None) for node in self._nodes(cluster))
        return (*pause, Together(asked)) if asked else pause

    def _nodes(self, cluster: Cluster) -> tuple[str, ...]:
        named = self.op.on_node_uuids or self.op.on_nodes
        return tuple(cluster.node(name).uuid for name in named)
