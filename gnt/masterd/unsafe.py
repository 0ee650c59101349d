"""The administrator's way out when too few master candidates answer: those missing are struck off by force.

One rule for two nodes and for twenty: the change counts with the candidates that remain, and it is written down in the
store as unsafe, with what was said and when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.masterd.voting import majority, voters
from gnt.model.cluster import Cluster
from gnt.model.errors import WRONG_INPUT, WRONG_STATE, Refused
from gnt.model.objects import ClusterSettings, ConfigObject
from gnt.store.changes import Change, Put, Space

log: Final = Logger()

PREFIX: Final = "unsafe/"
"""Keys of the rows in `Space.META` that record what was done without a majority."""


class UnsafeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was done without a majority: when (seconds), in which epoch, which nodes were struck off, and by what."""

    time: float
    epoch: str
    nodes: list[str]
    by: str


class Rows(Protocol):
    """Where rows are read."""

    async def rows(self, space: Space, prefix: str) -> Mapping[str, bytes]:
        """Give the rows of a space whose keys begin with `prefix`."""


async def unsafe_changes(rows: Rows) -> list[UnsafeRecord]:
    """Give what was done without a majority, the oldest first."""
    found = await rows.rows(Space.META, PREFIX)
    return [msgspec.json.decode(value, type=UnsafeRecord) for _, value in sorted(found.items())]


def table(
    rows: Rows, hindrance: Callable[[], tuple[str, str] | None]
) -> Mapping[str, Callable[[list[Any]], Awaitable[Any]]]:
    """Give the LUXI methods `UnsafeChanges` and `Hindrance`."""

    async def told(args: list[Any]) -> list[Any]:
        if args:
            raise Refused(WRONG_INPUT, "UnsafeChanges: takes no arguments")
        return [msgspec.to_builtins(record) for record in await unsafe_changes(rows)]

    async def hinders(args: list[Any]) -> dict[str, str] | None:
        if args:
            raise Refused(WRONG_INPUT, "Hindrance: takes no arguments")
        found = hindrance()
        return None if found is None else {"text": found[0], "hint": found[1]}

    return {"UnsafeChanges": told, "Hindrance": hinders}


class Journal(Protocol):
    """What striking off needs of the journal."""

    @property
    def head(self) -> Cluster:
        """Give the cluster with everything that was asked for."""

    def object_changes(self, put: Sequence[ConfigObject] = (), drop: Sequence[ConfigObject] = ()) -> list[Change]:
        """Stamp objects."""

    def enqueue_unsafe(self, changes: Sequence[Change]) -> Deferred[Any]:
        """Take a change in that counts with the remaining voters."""


def strike_off(
    journal: Journal,
    missing: Collection[str],
    *,
    by: str,
    epoch: str,
    now: float,
    settings: ClusterSettings | None = None,
    also: Sequence[Change] = (),
) -> Deferred[Any]:
    """Flag candidates (UUIDs) offline in an unsafe entry; fires when those that remain have it on disk.

    `settings` replaces those of the cluster, `also` are changes that go with it.
    """
    cluster = journal.head
    settings = settings or cluster.settings
    certificates = {uuid: digest for uuid, digest in settings.candidate_certs.items() if uuid not in missing}
    settings = msgspec.structs.replace(settings, candidate_certs=certificates)
    nodes = [
        msgspec.structs.replace(cluster.nodes[uuid], offline=True, master_candidate=False, drained=False)
        for uuid in sorted(missing)
    ]
    record = UnsafeRecord(time=now, epoch=epoch, nodes=[node.name for node in nodes], by=by)
    log.critical(
        "without a majority, by {by}: flagging offline {nodes}; what only they had is not in this log",
        by=by,
        nodes=", ".join(record.nodes),
    )
    row = Put(Space.META, f"{PREFIX}{now:017.6f}/{nodes[0].uuid}", msgspec.json.encode(record))
    return journal.enqueue_unsafe([*journal.object_changes(put=[settings, *nodes]), row, *also])


class Term(Protocol):
    """What the way out needs of the term of mastership."""

    @property
    def epoch(self) -> Any:
        """Give the epoch."""

    @property
    def journal(self) -> Any:
        """Give the journal."""

    @property
    def nodes(self) -> Any:
        """Give the connections."""


class WayOut:
    """Flags missing candidates offline by force, for the administrator on the master."""

    def __init__(self, runtime: Runtime, term: Term) -> None:
        self._runtime = runtime
        self._term = term

    async def force_offline(self, name: str, confirmation: str) -> Mapping[str, Any]:
        """Flag one candidate offline although too few answer; `confirmation` is what `asked` gave, typed by a person.

        Without one nothing is done: gives `{"needed", "confirm", "missing"}`, where `needed` is false while there
        is a majority (then it is changed as always). Afterwards gives `{"done", "missing"}`: others that are missing
        still, and whether those that remain are enough without them. Raises `Refused`.
        """
        cluster: Cluster = self._term.journal.head
        node = cluster.node(name)
        wanted = f"{node.name} is off"
        if not confirmation:
            needed = self._lacks_majority(cluster)
            return {"needed": needed, "confirm": wanted, "missing": self._missing_names(cluster)}
        if confirmation != wanted:
            raise Refused(WRONG_INPUT, f"{confirmation!r} was typed, not {wanted!r}: nothing was changed")
        self._refuse(cluster, node.uuid)
        epoch = str(self._term.epoch)
        by = "gnt-node modify --offline=yes --force"
        done = strike_off(self._term.journal, {node.uuid}, by=by, epoch=epoch, now=self._runtime.now())
        if self._lacks_majority(self._term.journal.head):
            # It counts once the next one is struck off too: nobody need wait for that here.
            done.addErrback(lambda failure: log.info("{problem}", problem=failure.value))
            return {"done": False, "missing": self._missing_names(self._term.journal.head)}
        await done
        return {"done": True, "missing": self._missing_names(self._term.journal.head)}

    def _refuse(self, cluster: Cluster, uuid: str) -> None:
        node = cluster.nodes[uuid]
        if uuid == self._term.epoch.node:
            raise Refused(WRONG_INPUT, f"{node.name} is the master itself")
        if uuid not in voters(cluster):
            raise Refused(WRONG_STATE, f"{node.name} is no master candidate: it is in nobody's way")
        if self._term.nodes.is_connected(uuid):
            raise Refused(
                WRONG_STATE,
                f"{node.name} answers, so it is not off",
                hint="flag those offline that do not answer: gnt-node list",
            )
        if not self._lacks_majority(cluster):
            raise Refused(
                WRONG_STATE,
                "A majority of the master candidates answers, so nothing has to be forced",
                hint=f"gnt-node modify --offline=yes {node.name}",
            )

    def _missing(self, cluster: Cluster) -> list[str]:
        others = sorted(voters(cluster) - {self._term.epoch.node})
        return [uuid for uuid in others if not self._term.nodes.is_connected(uuid)]

    def _missing_names(self, cluster: Cluster) -> list[str]:
        return sorted(cluster.nodes[uuid].name for uuid in self._missing(cluster))

    def _lacks_majority(self, cluster: Cluster) -> bool:
        count = len(voters(cluster))
        return count - len(self._missing(cluster)) < majority(count)
