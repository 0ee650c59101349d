"""Paying what nodes owe: a call that could not be made, or a question whose answer says how an opcode is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from gnt.masterd.hidden import debt_changes, hidden_rows, removal
from gnt.masterd.looking import Rows
from gnt.masterd.settling import Calls, Debt, Settlement, Settling
from gnt.model.cluster import Cluster
from gnt.model.errors import InDoubt, NodeFailure, NotReached
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
    """What a node owed and how it was paid, for the log."""

    paid: list[str]
    open: list[str]


def debt_key(debt: Debt) -> str:
    """Give the key of a debt's row."""
    return f"{debt.node}/{debt.id}"


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
    """Has a node pay. What fails again stays; a question is paid by settling what hung on its answer."""

    def __init__(self, commits: Commits, rows: Rows, calls: Calls, name_of: Callable[[str], str]) -> None:
        self._commits = commits
        self._rows = rows
        self._calls = calls
        self._name_of = name_of

    async def pay(self, node: str) -> Payment:
        """Pay all that a node (its UUID) owes."""
        rows = await self._rows.rows(Space.DEBT, "")
        hidden = await hidden_rows(self._rows, Space.DEBT, "")
        debts = {key: msgspec.json.decode(hidden.get(key, value), type=Debt) for key, value in rows.items()}
        payment = Payment([], [])
        for key, debt in sorted(debts.items()):
            if debt.node != node:
                continue
            try:
                settlement = await self._pay_one(debt)
            except (NotReached, InDoubt, NodeFailure) as error:
                payment.open.append(f"{debt.text}: {error}")
                continue
            again = {debt_key(new): noted(new, self._commits.head) for new in settlement.debts}
            if key in again:
                payment.open.append(again[key].text)
                continue
            del debts[key]
            debts.update(again)
            payment.paid.append("; ".join([debt.text, *settlement.said]))
            gone = removal(Space.DEBT, key, hidden=key in hidden)
            await self._commit(gone, debt, settlement, again, debts)
        return payment

    async def _pay_one(self, debt: Debt) -> Settlement:
        """Make the call that is owed, under an id of its own: an earlier one would be answered as it was then."""
        if debt.call is None:
            return await Settling(debt.opcode, self._calls, self._name_of, debt.outcomes).settle(debt.rows)
        action = debt.call.action()
        try:
            await self._calls.call(action.node, action.call)
        except NodeFailure as failure:
            if not debt.tolerant:
                raise
            return Settlement(said=[f"the node says: {failure}"])
        return Settlement()

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
        await self._commits.enqueue([*changes, *self._commits.object_changes(put=put, drop=drop)])

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
