"""Epochs, the call table, lanes, deadlines: what is common to every call that a node performs.

A changing call is begun once, in the order of its lane, after it is on disk that it begins; a repeated id gets the
same answer, also while the first is still under way. Nothing is done for an epoch whose number is below the promised
one. Epochs are compared by number: a number belongs to one master, and a voter that promised it to another who was
not elected still serves the one who was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from gnt.model.epoch import START, Epoch
from gnt.model.errors import GntError, NodeFailure, StaleEpoch
from gnt.noded.call_table import CallTable, Row, State
from gnt.noded.handler import CallContext, Handler, Handlers, Place
from gnt.noded.under_way import Aborts, Lanes, UnderWay
from gnt.wire.calls import NodeCall
from gnt.wire.contract import Caller, CallProgress, NodeEvent
from gnt.wire.envelope import (
    BAD_REQUEST,
    IN_DOUBT,
    INTERNAL_ERROR,
    NOT_BEGUN,
    UNKNOWN_CALL,
    Answer,
    Request,
    decode_answer,
    encode_answer,
)
from gnt.wire.log_calls import AskLog, CallAbort, CallOutcome, Fence, LogState, Outcome, Promise, PromiseAnswer

log: Final = Logger()

T = TypeVar("T")

REST_TIME: Final = 30.0
"""Seconds that calls under way have to end in when the daemon stops: less than systemd waits."""


class LogKeeper(Protocol):
    """What the calls need of this node's copy of the log; `gnt.noded.replica.Replica` has it."""

    async def refresh(self) -> LogState:
        """Say where the log ends now. Raises `NodeFailure`."""

    async def promise(self, epoch: Epoch, *, ask_only: bool) -> PromiseAnswer:
        """Promise an epoch in the log itself, durably. Raises `NodeFailure`."""


class Calls:
    """Performs requests. `start` first. `emit` takes events for the masters that listen."""

    def __init__(
        self,
        place: Place,
        handlers: Handlers,
        table: CallTable,
        *,
        replica: LogKeeper | None = None,
        emit: Callable[[NodeEvent], None] = lambda _: None,
        on_fence: Callable[[Epoch], Awaitable[None]] | None = None,
    ) -> None:
        self._runtime = place.runtime
        self._place = place
        self._handlers: dict[type[NodeCall[Any]], Handler] = dict(handlers)
        self._table = table
        self._replica = replica
        self._emit = emit
        self._on_fence = on_fence
        self._promised = START.epoch
        self._resting = False
        self._lanes = Lanes()
        self._by_id: dict[str, UnderWay] = {}
        self._all: set[UnderWay] = set()
        self._own: dict[type[NodeCall[Any]], Callable[[Request], Awaitable[object]]] = {
            AskLog: self._ask_log,
            Promise: self._promise,
            Fence: self._fence,
            CallOutcome: self._outcome,
            CallAbort: self._abort,
        }

    async def start(self) -> None:
        """Open the table; raises `ConfigError` when it cannot be used."""
        await self._table.open()
        self._promised = self._table.promised
        for row in self._table.left_open:
            log.warn("call {id} ({tag}) was under way when this daemon ended; it is in doubt", id=row.id, tag=row.tag)

    async def come_to_rest(self) -> None:
        """Begin nothing more, end what is under way as a fence does, and record how it ended.

        What has not ended after `REST_TIME` seconds is left: it is in doubt afterwards.
        """
        self._resting = True
        open_calls = list(self._all)
        ended = DeferredList([one.wait() for one in open_calls], consumeErrors=True)
        # Those that wait first: the end of one that runs lets the next one in.
        for one in sorted(open_calls, key=lambda one: one.begun):
            one.give_up()
        left = self._runtime.clock.callLater(REST_TIME, ended.cancel)
        await ended
        if left.active():
            left.cancel()
        if self._all:
            log.warn("these calls do not end, and are in doubt from now on: {ids}", ids=" ".join(self.under_way))

    async def stop(self) -> None:
        """Close the table. Calls under way go on as long as the process lives and are in doubt afterwards."""
        await self._table.close()

    def abandon(self) -> None:
        """Leave everything as it is, as a crash does (for the simulator): nothing is written any more."""
        self._table.abandon()

    @property
    def promised(self) -> Epoch:
        """Give the highest epoch that this node has promised or seen."""
        return self._promised

    @property
    def under_way(self) -> list[str]:
        """Give the ids of changing calls that are under way."""
        return sorted(one.id for one in self._all)

    async def perform(self, request: Request, caller: Caller) -> Answer:
        """Perform a request and give its answer; never raises.

        `caller` is for the log: who may call what is the door's business.
        """
        kind = type(request.call)
        if self._is_stale(request.epoch):
            return self._stale(request.epoch)
        if not request.deadline > 0:
            return Answer.error(NOT_BEGUN, f"{kind.tag()} arrived after its deadline", retry=True)
        own = self._own.get(kind)
        if own is not None:
            return await self._within(request, self._guard(request, own(request)))
        if kind not in self._handlers:
            return Answer.error(UNKNOWN_CALL, f"this node does not carry out {kind.tag()}")
        if not kind.CHANGES:
            return await self._read(request)
        if request.epoch is None:
            return Answer.error(BAD_REQUEST, f"{kind.tag()} changes the node and needs an epoch")
        if self._resting:
            return Answer.error(NOT_BEGUN, f"the node daemon of {self._place.name} stops", retry=True)
        log.debug("{tag} {id} from {who}", tag=kind.tag(), id=request.id, who=caller.common_name)
        return await self._change(request, request.epoch)

    async def _read(self, request: Request) -> Answer:
        """Perform a reading call; past its deadline its programs are ended, since nobody takes the answer any more."""
        aborts = Aborts()
        progress = self._progress(request.id)
        context = CallContext(id=request.id, epoch=request.epoch, progress=progress, on_abort=aborts)
        work = self._handlers[type(request.call)](request.call, context)
        return await self._within(request, self._guard(request, work), aborts)

    # --- changing calls

    async def _change(self, request: Request, epoch: Epoch) -> Answer:
        """Begin a changing call, or join the one with the same id."""
        self._saw(epoch)
        same = self._by_id.get(request.id)
        if same is not None:
            if type(same.call) is not type(request.call):
                return _mismatch(request, same.call.tag())
            same.revive(epoch)
            return await self._wait(same, request.deadline)
        entry = UnderWay(request, epoch, self._progress(request.id))
        self._all.add(entry)
        if entry.recorded:
            self._by_id[request.id] = entry
        entry.turn = self._lanes.enter(request.call.lanes, request.call.part_of)
        answer = self._wait(entry, request.deadline)
        Deferred.fromCoroutine(self._run(entry)).addErrback(
            lambda failure: log.failure("performing a call", failure=failure)
        )
        return await answer

    async def _run(self, entry: UnderWay) -> None:
        """Take a call through its lane and to its end, whoever still waits for it."""
        try:
            answer = await self._through(entry)
        except Exception:  # noqa: BLE001 - whatever went wrong here, its waiters get an answer and its lane goes on
            log.failure("unexpected failure of {tag}", tag=entry.call.tag())
            answer = Answer.error(IN_DOUBT, _internal(entry.call))
        self._all.discard(entry)
        if self._by_id.get(entry.id) is entry:
            del self._by_id[entry.id]
        entry.end(answer)
        if entry.turn is not None:
            self._lanes.leave(entry.turn)

    async def _through(self, entry: UnderWay) -> Answer:
        """Answer from the table, or wait for our turn and begin."""
        known = await self._known(entry)
        if known is not None:
            return known
        if entry.turn is not None and entry.turn.ready is not None:
            await entry.turn.ready
        return _dropped(entry.call) if entry.dropped else await self._begin(entry)

    async def _known(self, entry: UnderWay) -> Answer | None:
        """Give the answer that a call with this id has got before."""
        if not entry.recorded or entry.id not in self._table.known:
            return None
        try:
            row = await self._table.look_up(entry.id)
        except NodeFailure as problem:
            return Answer.error(NOT_BEGUN, problem.text, retry=True)
        if row is None:
            return None
        if row.tag != entry.call.tag():
            return Answer.error(BAD_REQUEST, f"call {entry.id} was a {row.tag} before and is a {entry.call.tag()} now")
        return _recorded_answer(row)

    async def _begin(self, entry: UnderWay) -> Answer:
        """Record the call and perform it; our turn has come."""
        if self._is_stale(entry.epoch):
            return _dropped(entry.call)
        entry.begun = True
        try:
            await self._record(entry)
        except NodeFailure as problem:
            return Answer.error(NOT_BEGUN, problem.text, retry=True)
        if self._is_stale(entry.epoch) or entry.aborts.called:
            # A fence or an abort came while the row was on its way to the disk: nothing was done yet.
            return await self._take_back(entry)
        entry.working = True
        handler = self._handlers[type(entry.call)]
        answer = await self._guard_call(entry.call, handler(entry.call, entry.context))
        if entry.recorded:
            try:
                await self._table.finish(entry.id, _state(answer), encode_answer(answer))
            except NodeFailure as problem:
                log.warn("call {id} ended, but that is not on disk: {problem}", id=entry.id, problem=problem.text)
        return answer

    async def _take_back(self, entry: UnderWay) -> Answer:
        """Forget that a call was to begin; where the disk does not take that, its row stands there as under way."""
        if entry.recorded:
            try:
                await self._table.forget(entry.id)
            except NodeFailure as problem:
                return Answer.error(IN_DOUBT, f"{entry.call.tag()} did not begin, but is on record: {problem.text}")
        return _dropped(entry.call)

    async def _record(self, entry: UnderWay) -> None:
        """Make sure that the beginning is on disk, with the epoch."""
        if entry.recorded:
            row = Row(
                id=entry.id,
                tag=entry.call.tag(),
                epoch=entry.epoch,
                lane=" ".join(filter(None, entry.call.lanes)),
                state="started",
                answer=None,
                time=self._runtime.now(),
            )
            await self._table.begin(row)
        elif entry.epoch.number > self._table.promised.number:
            await self._table.promise(entry.epoch)

    def _wait(self, entry: UnderWay, deadline: float) -> Deferred[Answer]:
        """Wait for a call's answer until the deadline; past it the outcome is in doubt, and the work is ended."""
        waiting = entry.wait()
        timer = self._runtime.clock.callLater(deadline, self._passed, entry, waiting)

        def ended(outcome: T) -> T:
            if timer.active():
                timer.cancel()
            return outcome

        return waiting.addBoth(ended)

    def _passed(self, entry: UnderWay, waiting: Deferred[Answer]) -> None:
        """Answer one who has waited too long."""
        entry.waiting.remove(waiting)
        if entry.waiting:
            waiting.callback(_in_doubt(entry.call))
        elif entry.begun:
            waiting.callback(_in_doubt(entry.call))
            entry.aborts.call_all()
        else:
            entry.dropped = True
            waiting.callback(_dropped(entry.call))

    # --- what this module answers itself

    async def _ask_log(self, _request: Request) -> LogState:
        if self._replica is None:
            return LogState(end=START, committed=0, promised=self._promised)
        return self._with_promise(await self._replica.refresh())

    async def _promise(self, request: Request) -> PromiseAnswer:
        """Promise an epoch, in order with the log, so that nothing of an older epoch is stored after the answer."""
        call: Promise = request.call  # type: ignore[assignment]
        granted = call.epoch == self._promised or call.epoch.number > self._promised.number
        if granted and not call.ask_only:
            self._saw(call.epoch)
        turn = self._lanes.enter(call.lanes)
        if turn.ready is not None:
            await turn.ready
        try:
            answer = await self._grant(call, granted=granted)
        except Exception:
            self._lanes.leave(turn)
            raise
        self._lanes.leave(turn)
        return answer

    async def _grant(self, call: Promise, *, granted: bool) -> PromiseAnswer:
        """Promise in the log and in the table; granted is what both grant."""
        if not call.ask_only:
            # A still higher one may have come while we waited for our turn: then that is what was promised.
            granted = granted and call.epoch == self._promised
        if self._replica is None:
            log_answer = PromiseAnswer(granted=True, log=LogState(end=START, committed=0, promised=self._promised))
        elif granted:
            log_answer = await self._replica.promise(call.epoch, ask_only=call.ask_only)
        else:
            log_answer = PromiseAnswer(granted=False, log=await self._replica.refresh())
        granted = granted and log_answer.granted
        if granted and not call.ask_only:
            await self._table.promise(call.epoch)
        return PromiseAnswer(granted=granted, log=self._with_promise(log_answer.log))

    async def _fence(self, request: Request) -> list[Outcome]:
        """Refuse what is older, durably; end what is older; say how it ended."""
        call: Fence = request.call  # type: ignore[assignment]
        if self._is_stale(call.epoch):
            raise StaleEpoch(self._stale_text(call.epoch))
        self._saw(call.epoch)
        try:
            await self._table.promise(call.epoch)
        except NodeFailure:
            # What needs no disk is done all the same: the cluster's address must not stay where no master is.
            if self._on_fence is not None:
                await self._on_fence(call.epoch)
            raise
        older = [one for one in self._all if one.epoch.number < call.epoch.number]
        answers = [one.wait() for one in older]
        for one in older:
            one.give_up()
        await DeferredList(answers)
        if self._on_fence is not None:
            await self._on_fence(call.epoch)
        ids = {one.id for one in older if one.recorded and one.begun} | set(call.calls)
        return [await self._outcome_of(one) for one in sorted(ids)]

    async def _outcome(self, request: Request) -> Outcome:
        """Say how a call ended, when it has."""
        call: CallOutcome = request.call  # type: ignore[assignment]
        return await self._outcome_of(call.id)

    async def _outcome_of(self, call: str) -> Outcome:
        entry = self._by_id.get(call)
        if entry is not None:
            await entry.wait()
        row = await self._table.look_up(call)
        if row is None:
            return Outcome(id=call, state="unknown")
        answer = _recorded_answer(row)
        if answer.err is not None:
            state = row.state if row.state != "started" else "in_doubt"
            return Outcome(id=call, state=state, code=answer.err.code, text=answer.err.text)
        return Outcome(id=call, state=row.state, value=msgspec.json.decode(answer.ok))

    async def _abort(self, request: Request) -> None:
        """End a call's work and wait for its end."""
        call: CallAbort = request.call  # type: ignore[assignment]
        entry = self._by_id.get(call.id)
        if entry is None:
            return
        ended = entry.wait()
        if not entry.begun:
            entry.dropped = True
        elif entry.aborts or not entry.working:
            entry.aborts.call_all()
        else:
            entry.waiting.remove(ended)
            raise NodeFailure("busy", f"{entry.call.tag()} {call.id} cannot be ended before it ends itself", retry=True)
        await ended

    # --- small parts

    def _with_promise(self, state: LogState) -> LogState:
        """Put in what was promised: here, or in the log before this table was made."""
        promised = max(self._promised, state.promised, key=lambda epoch: epoch.number)
        return msgspec.structs.replace(state, promised=promised)

    def _saw(self, epoch: Epoch) -> None:
        """Take nothing older from now on; it is on disk before anything is done for it."""
        if epoch.number > self._promised.number:
            self._promised = epoch

    def _is_stale(self, epoch: Epoch | None) -> bool:
        return epoch is not None and epoch.number < self._promised.number

    def _stale_text(self, epoch: Epoch | None) -> str:
        return f"{self._place.name} has promised epoch {self._promised} and takes nothing of epoch {epoch}"

    def _stale(self, epoch: Epoch | None) -> Answer:
        return Answer.of(StaleEpoch(self._stale_text(epoch)))

    def _progress(self, call: str) -> Callable[[str], None]:
        return lambda text: self._emit(CallProgress(id=call, text=text))

    async def _within(self, request: Request, work: Awaitable[Answer], aborts: Aborts | None = None) -> Answer:
        """Wait for work that leaves no row, at most as long as the request says; what cannot be ended goes on."""
        waiting: Deferred[Answer] = Deferred()

        def passed() -> None:
            waiting.callback(_in_doubt(request.call))
            if aborts is not None:
                aborts.call_all()

        timer = self._runtime.clock.callLater(request.deadline, passed)

        async def to_the_end() -> None:
            answer = await work
            if timer.active():
                timer.cancel()
                waiting.callback(answer)

        Deferred.fromCoroutine(to_the_end())
        return await waiting

    async def _guard(self, request: Request, work: Awaitable[object]) -> Answer:
        return await self._guard_call(request.call, work)

    async def _guard_call(self, call: NodeCall[Any], work: Awaitable[object]) -> Answer:
        """Make an answer of whatever the work gives or raises. What nobody foresaw stays in this node's log."""
        try:
            return Answer.value(await work)
        except GntError as problem:
            return Answer.of(problem)
        except Exception:  # noqa: BLE001 - a call that fails in a way nobody foresaw ends this call only
            log.failure("unexpected failure of {tag}", tag=call.tag())
            return Answer.error(INTERNAL_ERROR, f"{_internal(call)}; see the log of {self._place.name}")


def _state(answer: Answer) -> State:
    if answer.err is None:
        return "done"
    return "in_doubt" if answer.err.code == IN_DOUBT else "failed"


def _recorded_answer(row: Row) -> Answer:
    """Give the answer of a recorded call; one without an end is in doubt."""
    if row.answer is not None:
        return decode_answer(row.answer)
    return Answer.error(IN_DOUBT, f"the node daemon ended while {row.tag} was under way; nobody knows how far it came")


def _in_doubt(call: NodeCall[Any]) -> Answer:
    return Answer.error(IN_DOUBT, f"{call.tag()} did not end before its deadline")


def _dropped(call: NodeCall[Any]) -> Answer:
    return Answer.error(NOT_BEGUN, f"{call.tag()} was given up before it began", retry=True)


def _mismatch(request: Request, tag: str) -> Answer:
    text = f"call {request.id} is a {tag} under way, and now came as a {request.call.tag()}"
    return Answer.error(BAD_REQUEST, text)


def _internal(call: NodeCall[Any]) -> str:
    return f"unexpected failure of {call.tag()}"
