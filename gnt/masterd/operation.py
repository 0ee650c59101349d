"""What the master does for an opcode: observe, then plan; nothing else.

An `Operation` is made for one opcode. It names its locks from the model, looks at the nodes (reads only), and plans:
a pure function of the model and of what was seen. Network, clock, locks and store belong to the engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from gnt.masterd.absent import WHY_ABSENT
from gnt.masterd.jobs.lockset import Locks
from gnt.masterd.plan import Plan
from gnt.masterd.unsafe import UnsafeRecord
from gnt.model.cluster import Cluster
from gnt.model.errors import Refused, Unsupported
from gnt.model.objects import Instance
from gnt.opcodes.base import Opcode
from gnt.wire.calls import NodeCall
from gnt.wire.guest_calls import GuestFacts

O = TypeVar("O", bound=Opcode)  # noqa: E741
R = TypeVar("R")


class Fresh(Protocol):
    """Where a plan takes what must be new: identifiers, random octets, the time of the plan."""

    def uuid(self) -> str:
        """Give a fresh random UUID."""

    def octets(self, count: int) -> bytes:
        """Give random octets (for MAC addresses and secrets)."""

    def now(self) -> float:
        """Give the time of the plan, in seconds since the epoch."""


class Look(Protocol):
    """How an operation observes: reads only, answers as values. Calls to several nodes go side by side."""

    async def ask(self, node: str, call: NodeCall[R]) -> R:
        """Make one reading call; raises `NotReached`, `InDoubt` or `NodeFailure`."""

    async def ask_all(self, calls: Mapping[str, NodeCall[R]]) -> dict[str, R | Exception]:
        """Make a call to each node side by side; errors are values, one deadline at most for all."""

    async def meet(self, name: str, address: str, call: NodeCall[R]) -> R:
        """Make a reading call to a node that is not in the cluster yet, but has its certificate."""

    async def guest(self, instance: Instance) -> GuestFacts | None:
        """Ask the primary node whether the guest is there; None if it is not."""

    async def debts(self) -> list[tuple[str, str]]:
        """Give what nodes owe: the UUID of the node, and what, for people; with what it answered last, if it did."""

    async def unsafe_changes(self) -> list[UnsafeRecord]:
        """Give what was done without a majority, the oldest first."""

    def address_problem(self) -> str:
        """Say why the master does not have the cluster's address up; empty while nothing is known against it."""

    async def resolve(self, name: str) -> str:
        """Resolve a host name to an address off the reactor's thread; raises `Refused(RESOLVER)`."""

    def note(self, text: str) -> None:
        """Tell the person who waits, before the plan is made."""

    def answers(self, kind: type[NodeCall[R]]) -> list[tuple[str, R]]:
        """Give what this kind of call answered in the earlier stages, with the node of each, in order."""

    def devices(self) -> Mapping[str, str]:
        """Give the paths of the disks (UUIDs) that were opened in earlier stages."""


@dataclass(frozen=True)
class Stage:
    """One stage: `observe(cluster, look)` gives what `plan(cluster, seen)` needs besides the model.

    `about` says what it does to who asks before the stages that come first have answered.
    """

    observe: Callable[[Cluster, Look], Awaitable[Any]]
    plan: Callable[[Cluster, Any], Plan]
    about: str = ""


class Operation(Generic[O]):
    """What the master does for one opcode."""

    def __init__(self, op: O, fresh: Fresh) -> None:
        self.op = op
        self.fresh = fresh

    def locks(self, cluster: Cluster) -> Locks:
        """Name the locks, from the model; asked again after they are granted. May raise `Refused`."""
        raise NotImplementedError

    async def observe(self, cluster: Cluster, look: Look) -> Any:  # noqa: ARG002
        """Look at what the plan depends on; by default at nothing."""
        return None

    def plan(self, cluster: Cluster, seen: Any) -> Plan:
        """Give the steps of the only stage, or raise `Refused`. Pure but for `self.fresh`."""
        raise NotImplementedError

    def stages(self) -> Sequence[Stage]:
        """Give the stages in order; the later ones see the model as the earlier ones left it."""
        return (Stage(self.observe, self.plan),)

    @classmethod
    def after_cut_off(cls, op: O, cluster: Cluster) -> tuple[tuple[Opcode, ...], ...]:  # noqa: ARG003
        """Give jobs that make up for what a death of the master kept the opcode from; `cluster` is as it was left.

        They are submitted in the commit that ends the opcode in error. By default nothing is to be made up for.
        """
        return ()


class NotYet(Refused):
    """A refusal of now: something has to be done first. `then` says, for plans, what follows once it is."""

    def __init__(self, code: str, text: str, *, hint: str, then: Sequence[str]) -> None:
        super().__init__(code, text, hint=hint)
        self.then = then


OPERATIONS: dict[type[Opcode], type[Operation[Any]]] = {}

Op = TypeVar("Op", bound=type[Operation[Any]])


def executes(opcode: type[Opcode]) -> Callable[[Op], Op]:
    """Register the operation of an opcode: `@executes(InstanceShutdown)`."""

    def register(operation: Op) -> Op:
        if opcode in OPERATIONS:
            raise AssertionError(f"{opcode.__name__} has two operations")
        OPERATIONS[opcode] = operation
        return operation

    return register


def operation_for(op: Opcode, fresh: Fresh) -> Operation[Any]:
    """Make the operation of an opcode; `Unsupported` names an opcode that has none yet."""
    kind = OPERATIONS.get(type(op))
    if kind is None:
        tag = str(op.__struct_config__.tag)
        raise Unsupported(f"{tag} is not supported by this version", hint=WHY_ABSENT.get(tag, ""))
    return kind(op, fresh)
