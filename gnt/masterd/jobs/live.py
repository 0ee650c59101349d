"""A job in memory: as it stands in the store, as it is shown, and who waits for news of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from gnt.masterd.jobs.job import Change, Job, has_redacted
from gnt.masterd.jobs.rows import rows_between
from gnt.masterd.jobs.rules import Verdict
from gnt.masterd.jobs.states import FINAL
from gnt.model.errors import WRONG_INPUT, Refused
from gnt.opcodes.base import Opcode
from gnt.opcodes.registry import decode_opcode
from gnt.store.changes import Change as StoreChange


class LiveJob:
    """One job of the live queue.

    `head` has every change that was handed to the store, `shown` only those that are acknowledged; steps on the way
    (waiting, running, log lines) are no promises and go into both at once. `stored` is what the store is known to hold;
    it may hold more, of what is on its way. None: nobody knows. `secrets` holds inputs that have hidden values, whole,
    by opcode index, for as long as the job lives. `again` says that an earlier master had it before us.
    """

    __slots__ = (
        *("_ops", "_waiters", "again", "dirty", "head", "saving", "secrets", "shown", "stored", "verdict", "watch"),
    )

    def __init__(
        self,
        job: Job,
        ops: Sequence[Opcode] | None = None,
        secrets: dict[int, bytes] | None = None,
        *,
        again: bool = False,
        stored: Job | None = None,
    ) -> None:
        self.again = again
        self.stored = stored
        self.verdict: Verdict | None = None
        self.watch: Callable[[LiveJob], None] | None = None
        self.head = job
        self.shown = job
        self.secrets = secrets or {}
        self.dirty = False
        self.saving = False
        self._ops = dict(enumerate(ops)) if ops is not None else {}
        self._waiters: list[Deferred[None]] = []

    def opcode(self, index: int) -> Opcode:
        """Give an opcode whole. Raises `Refused` for a stored one that cannot be read, or whose secrets are gone."""
        op = self._ops.get(index)
        if op is None:
            whole = self.secrets.get(index)
            op = decode_opcode(whole or bytes(self.head.ops[index].input))
            if whole is None and has_redacted(self.head.ops[index].input):
                raise Refused(WRONG_INPUT, "Please re-submit secret parameters to job.")
            self._ops[index] = op
        return op

    def step(self, change: Change) -> None:
        """Make a change that is no promise: it shows at once, and is stored with whatever is stored next."""
        same = self.head is self.shown
        self.head = change(self.head)
        self.shown = self.head if same else change(self.shown)
        self.wake()

    @property
    def place(self) -> int:
        """Give the index of the opcode that is under way, or has its turn next; 0 when all are over."""
        return next((place for place, op in enumerate(self.shown.ops) if op.status not in FINAL), 0)

    def hint(self, change: Change) -> None:
        """Show something until the next change is shown; it is not stored."""
        self.shown = change(self.shown)
        self.wake()

    def rows(self) -> list[StoreChange]:
        """Give the changes that store `head`; none if the store has it."""
        return rows_between(self.stored, self.head)

    def show(self, change: Change, then: Job) -> None:
        """Show a change that was acknowledged; `then` is what `head` was when it was handed to the store."""
        self.shown = self.head if self.head is then else change(self.shown)
        self.wake()

    def go_back(self) -> None:
        """Go on from what is shown; what was on its way meanwhile may or may not have come to the store."""
        self.head = self.shown
        self.stored = None

    def forget_input(self) -> None:
        """Let go of what only a job that may still run needs."""
        self._ops = {}
        self.secrets = {}

    @property
    def awaited(self) -> bool:
        """Say whether anybody waits for news."""
        return bool(self._waiters)

    def news(self) -> Deferred[None]:
        """Fire at the next change of what is shown; may be canceled."""
        waiter: Deferred[None] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        return waiter

    def wake(self) -> None:
        """Tell those who wait for news."""
        if self.watch is not None:
            self.watch(self)
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            # Who is told may give up the wait of another: the list that is gone through must not change by that.
            for waiter in tuple(waiters):
                if not waiter.called:
                    waiter.callback(None)
