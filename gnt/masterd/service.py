"""Puts the master daemon together. No logic: what it is made of, and the order in which that starts and ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

import gnt.masterd.operations.all  # noqa: F401  (each registers what it executes)
from gnt import __version__
from gnt.daemon.runtime import Runtime
from gnt.daemon.takeover import Takeover
from gnt.masterd import abilities, unsafe
from gnt.masterd.api_tokens import ApiTokens
from gnt.masterd.debts import DebtCollector, DebtLocks
from gnt.masterd.engine import Engine
from gnt.masterd.events import Events
from gnt.masterd.if_changed import IfChanged
from gnt.masterd.jobs.explain import LockTable
from gnt.masterd.jobs.locks import LockManager
from gnt.masterd.jobs.processor import Processor
from gnt.masterd.jobs.queue import JobQueue
from gnt.masterd.jobs.rulebook import Rulebook
from gnt.masterd.join_port import JoinPort, Listen
from gnt.masterd.luxi_methods import LuxiMethods
from gnt.masterd.master_address import MasterAddress
from gnt.masterd.mastership import Term, take_mastership
from gnt.masterd.newcomers import NodeCalls, Promotion
from gnt.masterd.nodes import Connect
from gnt.masterd.operation import operation_for
from gnt.masterd.owing import OpenDebts
from gnt.masterd.past import PastMethods
from gnt.masterd.plan_text import lock_name
from gnt.masterd.planning import Planner
from gnt.masterd.publish import Publisher
from gnt.masterd.queries.answers import Answers
from gnt.masterd.queries.sightings import Sightings
from gnt.masterd.renewal import Renewal
from gnt.masterd.surroundings import PoolResolver, RuntimeFresh, StoredJobs, open_calls
from gnt.masterd.tools import Tools
from gnt.masterd.unsafe import WayOut
from gnt.masterd.watcher_pause import KEY as WATCHER_PAUSE
from gnt.masterd.watcher_pause import WatcherPause
from gnt.model.cluster import Cluster
from gnt.model.epoch import Epoch
from gnt.model.errors import StaleEpoch
from gnt.model.layout import Layout
from gnt.store.changes import Space
from gnt.store.heard import HEARD, decode_heard
from gnt.store.vault import Vault

STOP_WAIT: Final = 10.0
"""Seconds that opcodes under way are given to come to the end of a step; later ones are left for recovery."""

log: Final = Logger()


@dataclass(frozen=True)
class Providers:
    """What is under the master daemon; the simulator puts its own here. `host` is the own node's name.

    `takeover`: what an administrator has ordered for this start.
    """

    host: str
    vault: Vault
    connect: Connect
    listen: Listen
    takeover: Takeover | None = None


class MasterDaemon:
    """One master daemon without its LUXI sockets: `methods` is what answers requests, once it has started.

    `deposed` is called when a newer master is met; the daemon is then to be stopped.
    """

    def __init__(
        self, runtime: Runtime, layout: Layout, providers: Providers, deposed: Callable[[StaleEpoch], None]
    ) -> None:
        self._runtime = runtime
        self._layout = layout
        self._providers = providers
        self._deposed = deposed
        self._term: Term | None = None
        self._parts: _Parts | None = None

    @property
    def epoch(self) -> Epoch | None:
        """Give the epoch in which it is the master; None before and afterwards."""
        return self._term.epoch if self._term is not None else None

    @property
    def cluster(self) -> Cluster | None:
        """Give the configuration as a majority has it; None while it is not the master."""
        return self._term.journal.cluster if self._term is not None else None

    @property
    def methods(self) -> LuxiMethods:
        """Give what answers requests."""
        return self.parts.methods

    @property
    def parts(self) -> _Parts:
        """Give what the running daemon is made of. Raises `RuntimeError` before it has started."""
        if self._parts is None:
            raise RuntimeError("the master daemon does not run")
        return self._parts

    async def start(self) -> None:
        """Become master, settle what was left open, serve. Raises as `take_mastership`."""
        providers = self._providers
        self._term = term = await take_mastership(
            self._runtime,
            providers.vault,
            providers.connect,
            host=providers.host,
            open_calls=open_calls,
            takeover=providers.takeover,
        )
        self._parts = parts = _Parts(self._runtime, self._layout, providers, term)
        term.journal.on_deposed(self._deposed)
        term.nodes.on_event(parts.engine.told)
        term.nodes.on_event(parts.sightings.told)
        term.nodes.on_changed(parts.sightings.forget)
        term.nodes.on_met(parts.debts.returned)
        term.journal.on_late(parts.queue.kept_up)
        term.journal.on_commit(parts.queue.doubtful.committed)
        term.journal.on_commit(parts.rulebook.committed)
        term.journal.on_commit(parts.open_debts.committed)
        term.journal.on_commit(parts.debts.committed)
        term.journal.on_commit(parts.watcher_pause.committed)
        term.journal.on_commit(parts.api_tokens.committed)
        term.journal.on_commit(parts.events.committed)
        await self._restore(parts, term)
        owed = sorted(await term.journal.rows(Space.DEBT))
        parts.open_debts.keys.update(owed)
        heard = await term.journal.rows(Space.META, HEARD)
        parts.publisher.start(decode_heard(heard.get(HEARD)))
        parts.address.start()
        parts.processor.start()
        parts.past.start()
        parts.debts.start(owed)

    async def make_room(self, size: int) -> bool:
        """Let the log have so many bytes of the disk before they are needed; says if it has. Raises `ConfigError`."""
        if self._term is None:
            return False
        return await self._runtime.pools("store").run(self._term.database.make_room, size)

    async def _restore(self, parts: _Parts, term: Term) -> None:
        meta = await term.journal.rows(Space.META)
        secrets = await term.journal.rows(Space.SECRET)
        parts.queue.restore(
            await parts.stored.unfinished(),
            {key: value for key, value in secrets.items() if key.partition("/")[0].isdecimal()},
            ended=await parts.stored.ended(),
            last_job=msgspec.json.decode(meta.get("last_job", b"0")),
            drained=msgspec.json.decode(meta.get("drained", b"false")),
        )
        parts.watcher_pause.restore(meta.get(WATCHER_PAUSE))
        parts.api_tokens.restore(secrets)
        parts.rulebook.start()

    async def stop(self) -> None:
        """Stop in order: opcodes come to rest, the store is folded in and closed."""
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.join_port.stop()
            parts.past.stop()
            parts.debt_locks.stop()
            parts.debts.stop()
            await self._at_rest(parts.processor)
            await parts.address.stop()
            parts.publisher.stop()
        term, self._term = self._term, None
        if term is not None:
            await term.end()

    async def _at_rest(self, processor: Processor) -> None:
        resting = Deferred.fromCoroutine(processor.stop())
        timer = self._runtime.clock.callLater(STOP_WAIT, resting.cancel)
        try:
            await resting
        except CancelledError:
            log.warn("left for the next start: jobs {jobs}", jobs=sorted(processor.started))
        finally:
            if timer.active():
                timer.cancel()


class _Parts:
    """What a running master daemon is made of."""

    def __init__(self, runtime: Runtime, layout: Layout, providers: Providers, term: Term) -> None:
        journal, nodes = term.journal, term.nodes
        self.stored = StoredJobs(runtime, providers.vault, term.database)
        resolver = PoolResolver(runtime, layout)
        self.publisher = Publisher(runtime, journal, nodes, __version__)
        self.address = MasterAddress(runtime, nodes, journal)
        calls = NodeCalls(runtime, nodes, providers.connect, self.address)
        promotion = Promotion(runtime, layout, calls, journal, self.publisher.forsake)
        self.locks = LockManager(runtime.clock)
        self.debt_locks = DebtLocks(self.locks, lambda: journal.head)
        self.open_debts = OpenDebts()
        self.engine = Engine(
            Tools(
                commits=journal,
                rows=journal,
                calls=calls,
                voters=promotion,
                resolver=resolver,
                sleep=runtime.sleep,
                master=Renewal(runtime, journal, nodes, self.publisher, promotion),
                now=runtime.now,
                owed=self.open_debts.keys,
                locking=self.debt_locks,
                address_problem=lambda: self.address.problem,
            )
        )
        self.queue = JobQueue(journal, self.stored, runtime.clock)
        self.events = Events(runtime, providers.vault, term.database, journal, self.queue)
        self.queue.watch = self.events.stepped
        self.past = PastMethods(runtime, providers.vault, term.database, journal, self.queue)
        fresh = RuntimeFresh(runtime)
        self.processor = Processor(
            queue=self.queue,
            locks=self.locks,
            engine=self.engine,
            model=journal,
            clock=runtime.clock,
            operation_of=lambda op: operation_for(op, fresh),
        )
        self.debts = DebtCollector(runtime, nodes, self.engine)
        self.join_port = JoinPort(runtime, layout, journal, __version__, providers.listen)
        self.rulebook = Rulebook(journal, self.queue, fresh)
        self.watcher_pause = WatcherPause(journal, runtime)
        self.sightings = Sightings(nodes, runtime.clock)
        self.api_tokens = ApiTokens(journal, runtime)
        self.answers = Answers(
            snapshots=journal,
            jobs=self.queue,
            shelf=self.stored,
            locks=LockTable(self.queue, self.locks),
            ask_all=self.sightings.ask_all,
            watcher_pause=self.watcher_pause.until,
        )
        self.methods = LuxiMethods(
            self.queue,
            self.locks,
            self.answers,
            self.join_port,
            filters=self.rulebook,
            pause=self.watcher_pause,
            plans=Planner(journal, journal, calls, resolver, fresh),
            lock_name=lambda lock: lock_name(lock, journal.cluster),
            forcing=WayOut(runtime, term),
        )
        self.methods.extend(self.past.table())
        self.methods.extend(abilities.table())
        self.methods.extend(self.events.table())
        self.methods.extend(IfChanged(journal, self.events, self.answers, self.methods.call).table())
        self.methods.extend(self.api_tokens.table())
        self.methods.extend(unsafe.table(journal, journal.hindrance))
