"""How an operation observes the nodes: reads only, side by side, with one deadline for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

import msgspec
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.python.failure import Failure

from gnt.masterd.settling import Calls, Debt
from gnt.masterd.unsafe import UnsafeRecord, unsafe_changes
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError, NodeFailure, NotReached
from gnt.model.objects import Instance
from gnt.store.changes import Space
from gnt.wire.calls import DiskAssemble, NodeCall
from gnt.wire.guest_calls import GuestFacts, GuestFind

R = TypeVar("R")


class Resolver(Protocol):
    """Resolves names off the reactor's thread."""

    async def resolve(self, name: str) -> str:
        """Give an address; raises `Refused` (`resolver_error`)."""


class Rows(Protocol):
    """What is read back from the store: what a former master left open, and what nodes owe."""

    async def rows(self, space: Space, prefix: str) -> Mapping[str, bytes]:
        """Give the rows of a space whose keys begin with `prefix`."""


class Looking:
    """The `Look` of one opcode: it also remembers what the calls of its earlier stages answered."""

    def __init__(
        self,
        calls: Calls,
        rows: Rows,
        cluster: Cluster,
        resolver: Resolver,
        feedback: Callable[[str], None],
        *,
        address_problem: Callable[[], str] = str,
        unpaid: Mapping[str, NodeFailure] | None = None,
    ) -> None:
        self.cluster = cluster
        self._calls = calls
        self._rows = rows
        self._resolver = resolver
        self._feedback = feedback
        self._address_problem = address_problem
        self._unpaid = {} if unpaid is None else unpaid
        self._answers: list[tuple[str, NodeCall[Any], Any]] = []

    async def ask(self, node: str, call: NodeCall[R]) -> R:
        """Make one reading call; a node that cannot be asked is named in the error."""
        try:
            return await self._ask(node, call)
        except NotReached as error:
            known = self.cluster.nodes.get(node)
            if known is None or known.name.partition(".")[0] in error.text:
                raise
            raise NotReached(f"{known.name}: {error.text}", hint=error.hint) from error

    async def _ask(self, node: str, call: NodeCall[R]) -> R:
        if call.CHANGES:
            raise AssertionError(f"{call.tag()} changes the node: it belongs in a plan")
        return await self._calls.call(node, call)

    async def ask_all(self, calls: Mapping[str, NodeCall[R]]) -> dict[str, R | Exception]:
        """Make a reading call to each node, side by side; an error is the answer of that node."""
        asked = [ensureDeferred(self._ask(node, call)) for node, call in calls.items()]
        ends = await DeferredList(asked, consumeErrors=True)
        found: dict[str, R | Exception] = {}
        for node, (good, value) in zip(calls, ends, strict=True):
            if good:
                found[node] = value
                continue
            failure = cast("Failure", value)
            if not isinstance(failure.value, GntError):
                failure.raiseException()
            found[node] = failure.value
        return found

    async def meet(self, name: str, address: str, call: NodeCall[R]) -> R:
        """Make a reading call to a node that is not in the cluster yet."""
        return await self._calls.meet(name, address, call)

    async def guest(self, instance: Instance) -> GuestFacts | None:
        """Ask the primary node for the guest."""
        call = GuestFind(hypervisor=instance.hypervisor, name=instance.name, uuid=instance.uuid)
        return await self.ask(instance.primary_node, call)

    async def debts(self) -> list[tuple[str, str]]:
        """Read what nodes owe, with what they answered last."""
        rows = await self._rows.rows(Space.DEBT, "")
        debts = {key: msgspec.json.decode(row, type=Debt) for key, row in rows.items()}
        return [(debt.node, _with_answer(debt.text, self._unpaid.get(key))) for key, debt in debts.items()]

    async def unsafe_changes(self) -> list[UnsafeRecord]:
        """Read what was done without a majority."""
        return await unsafe_changes(self._rows)

    def address_problem(self) -> str:
        """Say why the cluster's address is not up; empty while nothing is known against it."""
        return self._address_problem()

    async def resolve(self, name: str) -> str:
        """Resolve a host name."""
        return await self._resolver.resolve(name)

    def note(self, text: str) -> None:
        """Tell the person who waits."""
        self._feedback(text)

    def remember(self, node: str, call: NodeCall[Any], answer: Any) -> None:
        """Keep an answer for the later stages."""
        self._answers.append((node, call, answer))

    def answers(self, kind: type[NodeCall[R]]) -> list[tuple[str, R]]:
        """Give the answers of this kind of call in earlier stages, with the node of each, in order."""
        return [(node, answer) for node, call, answer in self._answers if isinstance(call, kind)]

    def devices(self) -> dict[str, str]:
        """Give the paths of the disks (UUIDs) that were opened in earlier stages."""
        opened = ((call, answer) for _, call, answer in self._answers if isinstance(call, DiskAssemble))
        return {call.disk.uuid: answer.path for call, answer in opened if call.primary}


def _with_answer(text: str, answer: NodeFailure | None) -> str:
    """Add to what is owed what keeps the node from it, unless that is said already, and what helps."""
    if answer is None:
        return text
    said = text if answer.text in text else f"{text}; at the last try: {answer.text}"
    return f"{said} ({answer.hint})" if answer.hint else said
