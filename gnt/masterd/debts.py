"""Collecting what nodes owe: what could not be undone or finished on a node that was away is done when it is back.

The engine knows how to pay (`Engine.pay`); this knows when: as soon as a node that owes something can be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from gnt.daemon.runtime import Runtime
from gnt.masterd.jobs.locks import Held, LockManager, WaitCanceled
from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.jobs.states import HIGHEST_PRIORITY
from gnt.masterd.paying import Payment
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError, NotReached
from gnt.store.changes import Change, Put, Remove, Space

AGAIN: Final = 60.0
"""Seconds after which a payment that failed is tried again."""

NODE: Final = "node/"
"""How the keys of nodes begin among the objects."""

FIRST: Final = HIGHEST_PRIORITY
"""The place of a payment in a line for locks: before all jobs."""


class Payer(Protocol):
    """What pays."""

    async def pay(self, node: str) -> Payment:
        """Pay what a node (UUID) owes; what fails again stays open."""

    async def forgive(self, node: str) -> list[str]:
        """Drop what a node owes that has left the cluster; says what it was."""


class DebtLocks:
    """Takes locks for the payment of debts, in one line with the jobs; `stop` ends all waiting."""

    def __init__(self, locks: LockManager, head: Callable[[], Cluster]) -> None:
        self._locks = locks
        self._head = head
        self._count = 0
        self._waiting: set[int] = set()

    async def acquire(self, owner: str, names: Callable[[Cluster], Locks]) -> Held:
        """Take the locks that `names` gives; asked again while the model names others. Raises `CancelledError`."""
        # Jobs count upward from 1, so these are nobody's.
        self._count -= 1
        number = self._count
        claim = self._locks.claim(number, owner, FIRST)
        self._waiting.add(number)
        try:
            wanted = names(self._head())
            while True:
                held = await self._locks.acquire(claim, wanted)
                again = names(self._head())
                if again == wanted:
                    return held
                held.release()
                wanted = again
        except WaitCanceled:
            raise CancelledError from None
        finally:
            self._waiting.discard(number)

    def stop(self) -> None:
        """End all waiting."""
        for number in list(self._waiting):
            self._locks.cancel(number)


class Reach(Protocol):
    """What says whether a node can be reached."""

    def when_connected(self, node: str) -> Deferred[None]:
        """Fire when calls can be sent; fails with `NotReached` when the link is given up, a node that left at once."""


class DebtCollector:
    """Has each node that owes something pay when it can. `stop` ends it; debts stay in the store."""

    def __init__(self, runtime: Runtime, nodes: Reach, payer: Payer) -> None:
        self._runtime = runtime
        self._nodes = nodes
        self._payer = payer
        self._collecting: dict[str, Deferred[None]] = {}
        self._naps: dict[str, Deferred[None]] = {}
        self._stopped = False
        self._log = Logger()

    def start(self, keys: Sequence[str]) -> None:
        """Begin with the debts in the store: keys of `Space.DEBT`."""
        for node in sorted({_node_of(key) for key in keys}):
            self._collect(node)

    def committed(self, _position: object, changes: Sequence[Change]) -> None:
        """Hear of a new debt, and of a node that has left; for the journal's `on_commit`."""
        for change in changes:
            if isinstance(change, Put) and change.space is Space.DEBT:
                self._collect(_node_of(change.key))
            elif isinstance(change, Remove) and change.space is Space.OBJECT and change.key.startswith(NODE):
                self._has_left(change.key.removeprefix(NODE))

    def returned(self, node: str) -> None:
        """Hear that there is a connection to a node (its UUID) again: what it could not pay is asked for at once."""
        nap = self._naps.get(node)
        if nap is not None:
            nap.cancel()

    def stop(self) -> None:
        """Collect no more."""
        self._stopped = True
        for collecting in list(self._collecting.values()):
            collecting.cancel()

    def _has_left(self, node: str) -> None:
        """Look again at once at what a node owes that is no node any more."""
        nap = self._naps.get(node)
        if nap is not None:
            nap.cancel()
        else:
            self._collect(node)

    def _collect(self, node: str) -> None:
        if node in self._collecting or self._stopped:
            return
        # Entered before it runs: it may end at once, and then takes itself out again.
        self._collecting[node] = started = Deferred[None]()
        collecting = Deferred.fromCoroutine(self._until_paid(node))
        if self._collecting.get(node) is started:
            self._collecting[node] = collecting

    async def _until_paid(self, node: str) -> None:
        try:
            while not await self._paid(node):
                await self._nap(node)
        except CancelledError:
            return
        except NotReached:
            await self._forgiven(node)
        except Exception:  # noqa: BLE001  (a fault of ours; the debt stays in the store)
            self._log.failure("what {node} owes cannot be collected", node=node)
        finally:
            self._collecting.pop(node, None)

    async def _nap(self, node: str) -> None:
        """Wait before the next try; cut short when the node has left, or is back."""
        self._naps[node] = nap = self._runtime.sleep(AGAIN)
        try:
            await nap
        except CancelledError:
            if self._stopped:
                raise
        finally:
            del self._naps[node]

    async def _forgiven(self, node: str) -> None:
        """Drop what a node owes that is no node any more: it will never pay."""
        try:
            for text in await self._payer.forgive(node):
                self._log.warn("{node} has left the cluster; it owed, and never will: {text}", node=node, text=text)
        except GntError as error:
            self._log.warn("what {node} owes, which has left, stays in the store: {error}", node=node, error=error)

    async def _there(self, node: str) -> None:
        """Wait for the node; where its link is given up because it has moved, for the next one."""
        while True:
            waiting = self._nodes.when_connected(node)
            at_once = waiting.called
            try:
                await waiting
            except NotReached:
                if at_once:
                    raise
            else:
                return

    async def _paid(self, node: str) -> bool:
        """Wait for the node, and have it pay; say whether nothing is left. Raises `NotReached` if it has left."""
        await self._there(node)
        try:
            payment = await self._payer.pay(node)
        except GntError as error:
            self._log.warn("what {node} owes is not paid: {error}", node=node, error=error)
            return False
        for text in payment.paid:
            self._log.info("{node} paid what it owed: {text}", node=node, text=text)
        for text in payment.open:
            self._log.warn("{node} still owes: {text}", node=node, text=text)
        return not payment.open


def _node_of(key: str) -> str:
    return key.partition("/")[0]
