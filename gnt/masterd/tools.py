"""What the engine works with: the journal, the nodes, the voters, the clock, as far as it needs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from gnt.masterd.looking import Resolver, Rows
from gnt.masterd.paying import Locking, Payer
from gnt.masterd.plan import ByMaster
from gnt.masterd.settling import Calls
from gnt.model.cluster import Cluster
from gnt.model.errors import NodeFailure
from gnt.model.objects import ConfigObject
from gnt.store.changes import Change


class Commits(Protocol):
    """What the engine needs of the journal."""

    @property
    def head(self) -> Cluster:
        """Give the model with everything that is on its way to the disk."""

    @property
    def cluster(self) -> Cluster:
        """Give the model as a majority has it on disk."""

    def object_changes(self, put: Sequence[ConfigObject] = (), drop: Sequence[ConfigObject] = ()) -> list[Change]:
        """Stamp objects, put them into `head`, and give the changes to enqueue in the same turn."""

    def enqueue(self, changes: Sequence[Change], job: int = 0, *, patient: bool = False) -> Deferred[Any]:
        """Fire when the changes are durable with a majority; `patient`: they may wait a moment for others."""


class Voters(Protocol):
    """What the engine needs of the replication."""

    async def prepare(self, node: str) -> None:
        """Bring a node so far that it may become a candidate with the next commit; raises `GntError`."""

    def leave(self, node: str) -> None:
        """Leave a node alone that was prepared and has not become a candidate; one that has is not touched."""


class Master(Protocol):
    """What the master itself does for a plan that renews certificates."""

    async def perform(self, step: ByMaster) -> None:
        """Do it; raises `GntError`."""


@dataclass(frozen=True)
class Tools:
    """What the engine works with. `sleep` waits on the daemon's clock, in seconds; `now` reads it.

    `owed` has the keys of all debts; `locking` takes the locks under which one is paid that no opcode pays first.
    `address_problem` says why the cluster's address is not up. `unpaid` has what nodes answered last to what they owe,
    by the key of the debt.
    """

    commits: Commits
    rows: Rows
    calls: Calls
    voters: Voters
    resolver: Resolver
    sleep: Callable[[float], Deferred[None]]
    master: Master | None = None
    now: Callable[[], float] = lambda: 0.0
    owed: Collection[str] = ()
    locking: Locking | None = None
    address_problem: Callable[[], str] = str
    unpaid: dict[str, NodeFailure] = field(default_factory=dict)

    def payer(self) -> Payer:
        """Make what has nodes pay."""

        def name_of(uuid: str) -> str:
            return node_name(self.commits.head, uuid)

        return Payer(self.commits, self.rows, self.calls, name_of, self.locking, unpaid=self.unpaid)


def node_name(cluster: Cluster, uuid: str) -> str:
    """Give a node's name for people; its UUID if it has gone."""
    node = cluster.nodes.get(uuid)
    return node.name if node is not None else uuid
