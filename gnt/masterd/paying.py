"""Paying what nodes owe: a call that could not be made, or a question whose answer says how an opcode is settled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from gnt.masterd.hidden import debt_changes, hidden_rows, removal
from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.looking import Rows
from gnt.masterd.owing import (
    NOT_OPEN,
    brought_in_line,
    due,
    instances_of,
    lives_there,
    locks_of,
    not_owed,
    stops_guest,
)
from gnt.masterd.segments import StoredCall
from gnt.masterd.settling import Calls, Debt, Settlement, Settling, is_moot
from gnt.model.cluster import Cluster
from gnt.model.errors import InDoubt, NodeFailure, NotFenced, NotReached
from gnt.model.objects import ConfigObject, JobFilter
from gnt.store.changes import Change, Space
from gnt.store.configuration import find

O = TypeVar("O", bound=ConfigObject)  # noqa: E741


class Commits(Protocol):
    """What paying needs of the journal."""

    @property
    def head(self) -> Cluster:
        """Give the model with everything that is on its way to the disk."""

    def object_changes(self, put: Sequence[ConfigObject] = (), drop: Sequence[ConfigObject] = ()) -> list[Change]:
        """Stamp objects, put them into `head`, and give the changes to enqueue in the same turn."""

    def enqueue(self, changes: Sequence[Change], job: int = 0) -> Deferred[Any]:
        """Fire when the changes are durable with a majority."""


class Payment(msgspec.Struct, frozen=True):
    """What a node owed and how it was paid, for the log.

    `unsafe`: what is open and could end a guest later; `away`: nodes that could not be asked; `held`: opcodes of which
    nothing more is paid on a node (UUID), for a call was lost there that comes first.
    """

    paid: list[str]
    open: list[str]
    unsafe: list[str] = []
    away: set[str] = set()
    held: set[tuple[str, str]] = set()


class Hold(Protocol):
    """Locks that are held."""

    def release(self) -> None:
        """Let go of them."""


class Locking(Protocol):
    """What takes the locks under which a debt is paid."""

    async def acquire(self, owner: str, names: Callable[[Cluster], Locks]) -> Hold:
        """Take the locks that `names` gives for the model, asked again until the model agrees."""


class NoLocking:
    """For where nobody else works beside the payer."""

    async def acquire(self, owner: str, names: Callable[[Cluster], Locks]) -> Hold:
        """Take nothing."""
        del owner, names
        return self

    def release(self) -> None:
        """Let go of nothing."""


def debt_key(debt: Debt) -> str:
    """Give the key of a debt's row."""
    return f"{debt.node}/{debt.id}"


def in_turn(debts: Mapping[str, Debt]) -> list[tuple[str, Debt]]:
    """Give debts as they are to be paid: opcode by opcode, the steps of each in the order in which they were owed.

    An opcode's volumes change names as it goes: undone in another order, one would be taken for another.
    """

    def turn(item: tuple[str, Debt]) -> tuple[list[tuple[int, str]], int, list[tuple[int, str]]]:
        _, debt = item
        return _numbers(debt.opcode), debt.turn, _numbers(debt.id)

    return sorted(debts.items(), key=turn)


def _numbers(text: str) -> list[tuple[int, str]]:
    """Order numbers between slashes as numbers."""
    return [(len(part), part) for part in text.split("/")]


def noted(debt: Debt, head: Cluster) -> Debt:
    """Note in a debt in which version the objects are that its payment may change."""
    serials = {}
    for obj in _objects(debt):
        found = find(head, obj)
        if found is not None:
            serials[obj.uuid] = _version(found)
    return msgspec.structs.replace(debt, serials=serials)


def _objects(debt: Debt) -> Iterable[ConfigObject]:
    for row in debt.rows:
        for segment in row.segments:
            for stored in (*segment.keep, *segment.forget, *segment.reserved):
                yield stored.load()


def _version(obj: ConfigObject) -> int:
    return 0 if isinstance(obj, JobFilter) else obj.serial_no


class Payer:
    """Has a node pay. What fails again stays; a question is paid by settling what hung on its answer.

    `unpaid` takes what a node answered last, by the key of the debt.
    """

    def __init__(
        self,
        commits: Commits,
        rows: Rows,
        calls: Calls,
        name_of: Callable[[str], str],
        locking: Locking | None = None,
        *,
        unpaid: dict[str, NodeFailure] | None = None,
    ) -> None:
        self._commits = commits
        self._rows = rows
        self._calls = calls
        self._name_of = name_of
        self._locking = locking or NoLocking()
        self._unpaid = unpaid if unpaid is not None else {}

    async def pay(self, node: str) -> Payment:
        """Pay all that a node (its UUID) owes, each debt under the locks of what it touches."""
        payment = Payment([], [])
        for key, debt in in_turn(await self._debts(f"{node}/")):
            hold = await self._locking.acquire(f"debt of {self._name_of(node)}", partial(locks_of, debt))
            try:
                await self._pay_now(key, payment)
            finally:
                hold.release()
        return payment

    async def pay_first(self, names: Collection[str]) -> Payment:
        """Pay what any node owes that touches these instances, whose locks the caller holds."""
        payment = Payment([], [])
        for key, debt in in_turn(await self._debts("")):
            if instances_of(debt, self._commits.head).isdisjoint(names):
                continue
            before = len(payment.open)
            await self._pay_now(key, payment)
            answered = len(payment.open) > before and debt.node not in payment.away
            if answered and stops_guest(debt) and lives_there(debt, self._commits.head, names):
                payment.unsafe.append(payment.open[-1])
        return payment

    async def forgive(self, node: str) -> list[str]:
        """Drop what a node owes that has left the cluster, and what was reserved for it; says what it was."""
        gone = await self._debts(f"{node}/")
        for key, debt in sorted(gone.items()):
            debts = await self._debts("")
            hidden = await hidden_rows(self._rows, Space.DEBT, key)
            debts.pop(key, None)
            self._unpaid.pop(key, None)
            await self._commit(removal(Space.DEBT, key, hidden=key in hidden), debt, Settlement(), {}, debts)
        return [debt.text for _, debt in sorted(gone.items())]

    async def _debts(self, prefix: str) -> dict[str, Debt]:
        rows = await self._rows.rows(Space.DEBT, prefix)
        hidden = await hidden_rows(self._rows, Space.DEBT, prefix)
        return {key: msgspec.json.decode(hidden.get(key, value), type=Debt) for key, value in rows.items()}

    async def _pay_now(self, key: str, payment: Payment) -> None:
        """Pay one debt, if it stands there still, and take it from the books."""
        hidden = await hidden_rows(self._rows, Space.DEBT, key)
        debts = await self._debts("")
        debt = debts.pop(key, None)
        if debt is None:
            return  # somebody else has paid it meanwhile
        place = (debt.opcode, debt.node)
        if place in payment.held:
            payment.open.append(f"{debt.text}: what is owed before it comes first")
            return
        self._unpaid.pop(key, None)
        try:
            settlement = await self._pay_one(debt, debts)
        except (NotReached, InDoubt, NodeFailure) as error:
            # One that is only not fenced yet answers who looks: its guest is found running, and stopped by this later.
            if isinstance(error, NotReached) and not isinstance(error, NotFenced):
                payment.away.add(debt.node)
            if isinstance(error, NodeFailure):
                self._unpaid[key] = error
            else:
                payment.held.add(place)
            payment.open.append(f"{debt.text}: {error}")
            return
        again = {debt_key(new): self._as_before(new, debt) for new in settlement.debts}
        if key in again:
            payment.held.add(place)
            payment.open.append(again[key].text)
            return
        debts.update(again)
        payment.paid.append("; ".join([debt.text, *settlement.said]))
        gone = removal(Space.DEBT, key, hidden=key in hidden)
        await self._commit(gone, debt, settlement, again, debts)

    def _as_before(self, new: Debt, debt: Debt) -> Debt:
        return noted(msgspec.structs.replace(new, instances=debt.instances), self._commits.head)

    async def _pay_one(self, debt: Debt, others: Mapping[str, Debt]) -> Settlement:
        """Make the call that is owed, under an id of its own: an earlier one would be answered as it was then."""
        if debt.call is None:
            owing = {other.node for other in others.values() if other.opcode == debt.opcode and other.turn < debt.turn}
            settling = Settling(debt.opcode, self._calls, self._name_of, debt.outcomes, owing=owing, turn=debt.turn)
            return await settling.settle(debt.rows)
        reason = not_owed(debt, self._commits.head)
        if reason:
            return Settlement(said=[f"not done any more: {reason}"])
        try:
            await self._make(debt.call)
        except NodeFailure as failure:
            if not debt.tolerant and not is_moot(debt.call, failure):
                raise
            return Settlement(said=[f"the node says: {failure}"])
        return Settlement()

    async def _make(self, owed: StoredCall) -> None:
        """Make a call that is owed; again, if it needs an open mirror, when that is as the model says."""
        try:
            await self._calls.call(owed.node, due(owed, self._commits.head))
        except NodeFailure as failure:
            before = brought_in_line(owed, self._commits.head) if failure.code == NOT_OPEN else ()
            if not before:
                raise
            for each in before:
                await self._prepare(each, owed, failure)
            await self._calls.call(owed.node, due(owed, self._commits.head))

    async def _prepare(self, each: StoredCall, owed: StoredCall, failure: NodeFailure) -> None:
        """Make a call that comes before one that is owed; raises what was said of that, where another node fails."""
        try:
            await self._calls.call(each.node, each.call)
        except (NotReached, InDoubt, NodeFailure) as error:
            if each.node == owed.node:
                raise
            # It is not the node that owes which cannot be asked.
            text = f"{failure.text}; {self._name_of(each.node)}: {error}"
            raise NodeFailure(failure.code, text) from error

    async def _commit(
        self,
        gone: Sequence[Change],
        debt: Debt,
        settlement: Settlement,
        again: Mapping[str, Debt],
        debts: Mapping[str, Debt],
    ) -> None:
        """Take the debt from the books, with what its payment has changed; what was changed since stays as it is."""
        drop = self._unchanged(debt, [*settlement.drop, *settlement.forget])
        if not any(other.opcode == debt.opcode for other in debts.values()):
            drop += self._reserved(debt)
        put = self._unchanged(debt, settlement.keep)
        changes = [*gone, *(change for new, owed in again.items() for change in debt_changes(new, owed))]
        # It is the doing of the job that left the debt: the history names it.
        job = int(debt.opcode.partition("/")[0])
        await self._commits.enqueue([*changes, *self._commits.object_changes(put=put, drop=drop)], job)

    def _unchanged(self, debt: Debt, objects: Sequence[O]) -> list[O]:
        """Give those that are still in the version in which they were when the debt was noted."""
        kept = []
        for obj in objects:
            found = find(self._commits.head, obj)
            if found is not None and debt.serials.get(obj.uuid) == _version(found):
                kept.append(obj)
        return kept

    def _reserved(self, debt: Debt) -> list[ConfigObject]:
        head = self._commits.head
        tables: dict[str, Mapping[str, ConfigObject]] = {
            "instance": head.instances,
            "disk": head.disks,
            "node": head.nodes,
            "network": head.networks,
        }
        found = (tables[kind].get(uuid) for kind, uuid in debt.reserved if kind in tables)
        return [obj for obj in found if obj is not None]
