"""Making this node the master: who answers is asked first, the living master hands over, then the daemons start here.

The vote itself, the reading of what this node lacks and the first commit are the master daemon's, by the order that is
left for its start (`gnt.daemon.takeover`). Nothing is stopped before it is known that a majority is there.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from gnt.bootstrap.daemons import MASTERD, NODED, RAPI, Daemons
from gnt.bootstrap.this_node import NODED_PORT
from gnt.daemon.takeover import Takeover, leave_order
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_STATE, ConfigError, Failed, GntError, NoMajority, Refused
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.store.changes import Space
from gnt.store.heard import HEARD, Heard, decode_heard, unheard, why_not
from gnt.store.reading import Reader

ASK_TIME: Final = 8.0
"""Seconds that candidates have to answer before anything is begun; less once enough have."""
ENOUGH_TIME: Final = 1.5
"""Seconds after which nobody waits for more than a majority."""
HAND_OVER_TIME: Final = 45.0
"""Seconds that the old master has to bring its jobs to rest and to end."""


class FailoverRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-cluster master-failover` hands over. `survey`: only say who answers; `no_voting`: go without them.

    Without voting it is also borne that nodes have not heard that this one is a candidate.
    """

    survey: bool = False
    no_voting: bool = False


@dataclass(frozen=True)
class Reached:
    """What one candidate said: nothing (`problem`), or that it is there; `newest` is where its log ends, if it says."""

    problem: str = ""
    newest: int | None = None


class Asking(Protocol):
    """How candidates are asked, over mutual TLS; blocks. `gnt.bootstrap.asking` is the real one."""

    def survey(self, nodes: list[Node], enough: int) -> Mapping[str, Reached]:
        """Ask candidates whether they are there, by UUID; `enough` of them are not waited beyond `ENOUGH_TIME`."""

    def rights(self, nodes: list[Node]) -> Mapping[str, str]:
        """Ask nodes whether they would take orders from this one.

        Gives those (UUID) that would not, with "", and those that do not say, with the reason.
        """

    def hand_over(self, node: Node, seconds: float) -> bool:
        """Have the daemons of a master end on a node. Raises `GntError`."""


class Failover:
    """One failover to this node; `say` tells what is being done."""

    def __init__(
        self,
        request: FailoverRequest,
        layout: Layout,
        host: str,
        say: Callable[[str], None],
        *,
        asking: Asking | None = None,
        daemons: Daemons | None = None,
    ) -> None:
        self._request = request
        self._layout = layout
        self._host = host
        self._say = say
        self._daemons = daemons or Daemons(layout, os.environ)
        self._asking = asking

    def run(self) -> dict[str, Any]:
        """Check, have the old master hand over, start the daemons here. Raises `Refused` before anything is done."""
        cluster, heard, end = self._read()
        me = self._own(cluster)
        old = cluster.master
        voters = sorted({node.uuid for node in cluster.nodes.values() if node.master_candidate} | {old.uuid})
        asking = self._asking or _real_asking(self._layout)
        needed = len(voters) // 2 + 1
        found = asking.survey([cluster.nodes[uuid] for uuid in voters if uuid != me.uuid], needed - 1)
        missing = sorted(cluster.nodes[uuid].name for uuid, reached in found.items() if reached.problem)
        enough = len(voters) - len(missing) >= needed
        behind = any(reached.newest is not None and reached.newest > end for reached in found.values())
        left_out = {uuid for uuid, reached in found.items() if reached.problem and not enough}
        # One that is behind reads first what others have: then its master daemon knows better who has heard of it.
        asked = [] if behind else [uuid for uuid in unheard(heard, cluster, me.uuid) if uuid not in left_out]
        deaf = asking.rights([cluster.nodes[uuid] for uuid in asked]) if asked else {}
        survey = {
            "old_master": old.name,
            "candidates": sorted(cluster.nodes[uuid].name for uuid in voters),
            "missing": missing,
            "needed": needed,
            "majority": enough,
            "unheard": sorted(cluster.nodes[uuid].name for uuid in deaf),
        }
        if self._request.survey:
            return survey
        if not enough and not self._request.no_voting:
            names = ", ".join(missing)
            raise NoMajority(
                f"{needed} of {len(voters)} master candidates must agree, and these do not answer: {names}",
                hint="start gnt-noded there; --no-voting goes without them, once they are switched off for certain",
            )
        if deaf and not self._request.no_voting:
            raise why_not(cluster, me.uuid, deaf)
        self._hand_over(asking, old, found[old.uuid])
        no_voting = self._request.no_voting
        self._start(Takeover(no_voting=no_voting and not enough, unheard=no_voting and (bool(deaf) or behind)))
        return {**survey, "master": me.name}

    # Checks

    def _read(self) -> tuple[Cluster, Heard, int]:
        """Read this node's copy of the log: the cluster, who has heard of whom, and the serial of its end."""
        if not self._layout.config_db.exists():
            raise Refused(
                WRONG_STATE,
                f"{self._host} is no master candidate: it has no copy of the configuration",
                hint="gnt-cluster getmaster names the master; ssconf_master_candidates the candidates",
            )
        reader = Reader.open(self._layout.config_db)
        try:
            heard = decode_heard(reader.get(Space.META, HEARD))
            return reader.load_cluster(instances=False), heard, reader.log_end().serial
        finally:
            reader.close()

    def _own(self, cluster: Cluster) -> Node:
        own = cluster.nodes.by_name(self._host)
        names = sorted(node.name for node in cluster.nodes.values() if node.master_candidate)
        if own is None or not own.master_candidate:
            raise Refused(
                WRONG_STATE,
                f"{self._host} is no master candidate",
                hint=f"run this on one of them: {' '.join(names)}",
            )
        if own.uuid == cluster.settings.master_node:
            raise Refused(
                WRONG_STATE,
                f"{self._host} is the master already",
                hint="its daemon runs, so nothing is to be done"
                if self._daemons.pid(MASTERD) is not None
                else "start its daemon: gnt-masterd; gnt-masterd --no-voting if too few candidates answer",
            )
        if self._daemons.pid(NODED) is None:
            raise Refused(WRONG_STATE, "gnt-noded does not run here", hint="start it first")
        return own

    # Doing

    def _hand_over(self, asking: Asking, old: Node, reached: Reached) -> None:
        if reached.problem:
            self._say(f"{old.name} does not answer ({reached.problem}); if it lives, it ends when it hears of this")
            return
        self._say(f"having {old.name} hand over")
        try:
            ran = asking.hand_over(old, HAND_OVER_TIME)
        except GntError as error:
            raise Failed(f"{old.name} does not hand over: {error.text}", code=error.code, hint=error.hint) from error
        if not ran:
            self._say(f"no master daemon ran on {old.name}")

    def _start(self, order: Takeover) -> None:
        layout = self._layout
        self._say("starting the master daemon here")
        self._daemons.stop(MASTERD)
        leave_order(layout, order)
        try:
            self._daemons.start(MASTERD)
            self._daemons.wait_for_masterd()
        except GntError as error:
            layout.takeover.unlink(missing_ok=True)
            again = "the old master may be started again, with gnt-masterd there"
            raise Failed(error.text, code=error.code, hint=f"{again}; {error.hint}") from error
        self._say("starting the remote API")
        try:
            self._daemons.start(RAPI)
        except GntError as error:
            self._say(f"{error.text}: the remote API has to be started by hand")
        if not layout.rapi_users.exists():
            self._say(
                f"{layout.rapi_users} is not on this node: only tokens open the remote API until it is copied here"
            )


def _real_asking(layout: Layout) -> Asking:
    from gnt.bootstrap.asking import TlsAsking  # noqa: PLC0415  (loads Twisted's reactor)

    if not layout.node_pem.exists():
        raise ConfigError(f"{layout.node_pem} is missing: not a node of a cluster", code="no_member")
    return TlsAsking(layout, NODED_PORT, random.SystemRandom())
