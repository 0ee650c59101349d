"""One opcode under way: what was recorded before it was begun, what came of it, and the commits between.

The row of what is open is durable before the first step, each milestone goes into the next commit, and the end is one
commit with the last change of the model. `gnt.masterd.engine` has one of these for each job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList, ensureDeferred
from twisted.python.failure import Failure

from gnt.masterd.awaiting import WATCHES
from gnt.masterd.cut_off import end_of, found
from gnt.masterd.hidden import debt_changes, removal, undo_changes
from gnt.masterd.jobs.seam import Ending, OpcodeEnd, OpcodeRun
from gnt.masterd.looking import Looking
from gnt.masterd.operation import Stage
from gnt.masterd.owing import held_instances, removed_in
from gnt.masterd.paying import debt_key, noted
from gnt.masterd.plan import Await, Forward, Note, Pause, Plan, Promote, Release, Uncertain
from gnt.masterd.segments import (
    Doing,
    NotCall,
    OpenRow,
    OpenStep,
    Segment,
    StoredCall,
    decode_row,
    has_node,
    segments_of,
)
from gnt.masterd.settling import DONE, FAILED, IN_DOUBT, NOTHING_MADE, SETTLERS, UNKNOWN, Debt, Settlement, Settling
from gnt.masterd.tools import Tools, node_name
from gnt.model.cluster import Cluster
from gnt.model.errors import (
    Failed,
    GntError,
    InDoubt,
    NodeFailure,
    NotReached,
    StaleEpoch,
)
from gnt.model.objects import ConfigObject
from gnt.opcodes.base import Opcode
from gnt.store.changes import Change, Put, Remove, Space
from gnt.wire.contract import CallProgress
from gnt.wire.log_calls import CallAbort, CallOutcome, Outcome

Then = Callable[[Cluster], tuple[tuple[Opcode, ...], ...]]


class Course:
    """One opcode under way: which rows are open, how its calls ended, what waits for the next commit."""

    def __init__(
        self,
        tools: Tools,
        run: OpcodeRun,
        halt: Callable[[], None],
    ) -> None:
        self._tools = tools
        self._commits = tools.commits
        self._calls = tools.calls
        self._run = run
        self._stopped = halt
        self._killed = False
        self._settling = False
        self._pauses: Deferred[None] | None = None
        self._under_way: dict[str, str] = {}
        self._begun = False
        self._kept = False
        self._promoted: list[str] = []
        self._rows: dict[str, OpenRow] = {}
        # Keys of those that stand among the secrets.
        self._hidden: set[str] = set()
        self._outcomes: dict[str, str] = {}
        # Of calls that a former master began: why they failed, or why nobody knows how they ended.
        self._reasons: dict[str, str] = {}
        # Something is still to be changed after what has been kept.
        self._more = True
        self._keep: tuple[ConfigObject, ...] = ()
        self._forget: tuple[ConfigObject, ...] = ()
        self._closing: dict[tuple[Space, str], Change] = {}

    def kill(self) -> bool:
        """Abort what is under way and begin no further step; False if what was begun is being settled already."""
        if self._settling:
            return False
        self._killed = True
        self.end_pause()
        for call, node in list(self._under_way.items()):
            Deferred.fromCoroutine(self._abort(node, call))
        return True

    def progress(self, node: str, event: CallProgress) -> None:
        """Pass on what a node says of a call of this opcode; of another, or one that has ended, nothing is said."""
        if self._under_way.get(event.id) == node:
            self._run.feedback(event.text)

    def end_pause(self) -> None:
        """End a wait on the daemon's clock."""
        if self._pauses is not None:
            self._pauses.cancel()

    async def _abort(self, node: str, call: str) -> None:
        try:
            await self._calls.call(node, CallAbort(id=call))
        except (NotReached, InDoubt, NodeFailure) as error:
            # The call ends all the same, at its deadline at the latest; then the opcode does.
            self._run.feedback(f" - WARNING: aborting a call on {self._node_name(node)}: {error}")
        except StaleEpoch:
            return  # the call that is to be aborted says so too

    def _halt(self) -> None:
        self._stopped()
        if self._killed:
            raise Failed("This was killed by request", code="killed")

    async def _pause(self, seconds: float) -> None:
        """Wait on the daemon's clock; a stop or a kill ends the wait."""
        self._pauses = pause = self._tools.sleep(seconds)
        try:
            await pause
        except CancelledError:
            self._halt()
            raise
        finally:
            self._pauses = None

    async def _await(self, step: Await) -> None:
        """Ask until the answer is good; raises what the watch says is wrong."""
        watch = WATCHES[step.until](step.arguments)
        while True:
            self._halt()
            try:
                answer = await self._calls.call(step.ask.node, step.ask.call)
            except (NotReached, InDoubt, NodeFailure) as error:
                verdict = watch.missed(error)
            else:
                verdict = watch.seen(answer, self._tools.now())
            for line in verdict.said:
                self._run.feedback(line)
            if verdict.problem is not None:
                raise verdict.problem
            if verdict.again is None:
                return
            await self._pause(verdict.again)

    async def stages(self, stages: Sequence[Stage], look: Looking) -> Ending:
        """Run all stages, then commit the opcode's end."""
        run, plan = self._run, Plan()
        if self._tools.owed and not run.op.dry_run:
            await self._pay_first()
        for number, stage in enumerate(stages):
            await self._flush()
            look.cluster = self._commits.head
            seen = await stage.observe(look.cluster, look)
            if self._killed:
                self._halt()
            plan = stage.plan(self._commits.head, seen)
            if run.op.dry_run:
                return await self._end(OpcodeEnd(result=plan.dry_result))
            segments = segments_of(plan, f"{run.job}/{run.index}/{number}")
            more = number + 1 < len(stages) or bool(plan.jobs)
            for place, segment in enumerate(segments):
                await self._run_segment(segment, segments[place:], look, more=more)
        self._settling = True
        return await self._end(OpcodeEnd(result=plan.result, jobs=plan.jobs))

    async def _pay_first(self) -> None:
        """Have nodes pay what they owe of the instances that this opcode has locked, before it touches them."""
        names = held_instances(self._run.held.locks)
        if not names:
            return
        payment = await self._tools.payer().pay_first(names)
        for text in payment.paid:
            self._run.feedback(f"paid first, it was still owed: {text}")
        if payment.unsafe:
            raise Failed(
                f"A node owes what would end the guest later, and cannot do it now: {payment.unsafe[0]}",
                hint="gnt-cluster verify shows what is owed",
            )

    async def adopt(self, rows: Mapping[str, bytes], hidden: Mapping[str, bytes]) -> None:
        """Take over what a former master left, and ask the nodes how its calls ended."""
        self._begun = True
        self._rows = {key: decode_row(hidden.get(key, rows[key])) for key in sorted(rows)}
        self._hidden = set(hidden)
        steps = [step for row in self._rows.values() for segment in row.segments for step in segment.steps]
        await DeferredList([ensureDeferred(self._ask_outcome(step)) for step in steps])

    async def fail(self, error: GntError) -> Ending:
        """Settle what is open and commit the end in error."""
        if self._killed and error.code != "killed":
            error = Failed(f"This was killed by request: {error.text}", code="killed")
        for node in self._promoted:
            self._tools.voters.leave(node)
        settlement = await self._settle()
        if settlement.said:
            error = Failed(f"{error.text}; {settlement.text()}", code=error.code, hint=error.hint)
        return await self._end(OpcodeEnd(error=error))

    async def end_cut_off(self, then: Then | None) -> Ending:
        """Settle what was adopted and commit the end, with the jobs that `then` gives for what is left."""
        lines = found(list(self._rows.values()), self._outcomes, self._reasons, self._node_name)
        for line in lines:
            self._run.feedback(line)
        settlement = await self._settle()
        return await self._end(OpcodeEnd(error=end_of(settlement, lines)), then)

    async def _settle(self) -> Settlement:
        """Settle all that is open; what comes of it waits for the last commit."""
        self._settling = True
        settling = Settling(f"{self._run.job}/{self._run.index}", self._calls, self._node_name, self._outcomes)
        settlement = await settling.settle(list(self._rows.values()))
        for line in settlement.said:
            self._run.feedback(line)
        self._keep += tuple(settlement.keep)
        self._forget += tuple(settlement.forget) + tuple(settlement.drop)
        for debt in settlement.debts:
            self._owe(debt)
        return settlement

    async def _ask_outcome(self, step: OpenStep) -> None:
        """Ask how a call ended; a node that cannot be asked may have begun it."""
        try:
            outcome: Outcome = await self._calls.call(step.node, CallOutcome(id=step.id))
        except (NotReached, InDoubt, NodeFailure) as error:
            self._outcomes[step.id], self._reasons[step.id] = IN_DOUBT, str(error)
            return
        if outcome.text:
            self._reasons[step.id] = outcome.text
        if outcome.state == UNKNOWN or outcome.code in NOTHING_MADE:
            return
        self._outcomes[step.id] = outcome.state

    async def _run_segment(self, segment: Segment, rest: Sequence[Segment], look: Looking, *, more: bool) -> None:
        """Run one segment; `rest` are it and those after it, `more` says whether there is more to do after these."""
        if segment.reserve or any(True for _ in segment.doings()):
            await self._open(segment, rest, last=not more)
        for group in segment.groups:
            self._halt()
            if isinstance(group, tuple):
                await self._do_group(group, look)
            else:
                await self._do_by_itself(group)
        if segment.keep or segment.forget:
            if has_node(self._keep) and has_node(segment.keep):
                await self._flush()
            self._keep += segment.keep
            self._forget += segment.forget
            self._kept = True
            self._more = more or any(later.changes for later in rest[1:])
            self._close_rows()

    async def _do_by_itself(self, step: NotCall) -> None:
        """Do what is no call of a row. What it waits for may take hours: what is true by now is committed before."""
        if isinstance(step, Note):
            self._run.feedback(step.text)
            return
        if isinstance(step, Pause):
            await self._pause(step.seconds)
            return
        await self._flush()
        match step:
            case Await():
                await self._await(step)
            case Release(levels):
                await self._commits.enqueue(self._run.giving_up(levels), self._run.job)
                self._begun = True
                for level in levels:
                    self._run.held.drop(level)
            case Promote(node):
                # The node may be new: it is reached only once the model that has it is committed.
                self._promoted.append(node)
                await self._tools.voters.prepare(node)
            case _:
                assert self._tools.master is not None, "nobody here renews certificates"  # noqa: S101
                await self._tools.master.perform(step)

    async def _open(self, segment: Segment, rest: Sequence[Segment], *, last: bool) -> None:
        """Write the row of this segment and of all after it; the milestone before it goes in the same commit."""
        self._keep += segment.reserve
        self._write_row(OpenRow(kept=self._kept, last=last, segments=[later.stored() for later in rest]), rest)
        await self._flush()

    def _write_row(self, row: OpenRow, segments: Sequence[Segment] = ()) -> None:
        key = f"{self._run.job}/{self._run.index}/{len(self._rows) + 1:03d}"
        self._rows[key] = row
        changes = undo_changes(key, row, segments)
        if len(changes) > 1:
            self._hidden.add(key)
        self._wait_for_commit(changes)

    def _close_rows(self) -> None:
        for key in self._rows:
            self._wait_for_commit(removal(Space.UNDO, key, hidden=key in self._hidden))
        self._rows, self._hidden = {}, set()

    def _wait_for_commit(self, changes: Sequence[Put | Remove]) -> None:
        """Let changes of rows go with the next commit, each in place of an earlier one of the same row."""
        self._closing.update({(change.space, change.key): change for change in changes})

    async def _flush(self) -> None:
        if self._kept and not self._rows and (self._keep or self._forget):
            # Without a row nobody could tell, if the master died now, that something is changed already.
            self._write_row(OpenRow(kept=True, last=not self._more, segments=[]))
        changes = self._take()
        if changes:
            if not self._begun:
                changes[:0] = self._run.beginning()
                self._begun = True
            await self._commits.enqueue(changes, self._run.job)

    async def _end(self, end: OpcodeEnd, then: Then | None = None) -> Ending:
        """Commit the last change of the model, the end of the opcode and the cleared rows, in one."""
        self._close_rows()
        changes = self._take()
        if then is not None:
            end = replace(end, jobs=then(self._commits.head))
            for job in end.jobs:
                line = f"goes on in a job of its own: {' '.join(op.summary() for op in job)}"
                self._run.feedback(line)
                if end.error is not None:
                    error = Failed(f"{end.error.text}; {line}", code=end.error.code, hint=end.error.hint)
                    end = replace(end, error=error)
        ending = self._run.ending(end)
        # Nobody who submits jobs one after the other should have to wait for the end of the one before.
        patient = not end.jobs and not self._run.awaited
        await self._commits.enqueue([*changes, *ending.changes], self._run.job, patient=patient)
        return ending

    def _take(self) -> list[Change]:
        """Give all that waits for a commit; the model's head moves now."""
        changes = list(self._closing.values())
        if self._keep or self._forget:
            changes.extend(self._commits.object_changes(put=self._keep, drop=self._forget))
        self._closing, self._keep, self._forget = {}, (), ()
        return changes

    async def _do_group(self, group: tuple[Doing, ...], look: Looking) -> None:
        """Do the calls of a group side by side; when one fails the others are waited for, then it is raised."""
        ends = await DeferredList([ensureDeferred(self._do(doing, look)) for doing in group], consumeErrors=True)
        for good, value in ends:
            if not good:
                cast("Failure", value).raiseException()

    async def _do(self, doing: Doing, look: Looking) -> None:
        self._under_way[doing.id] = doing.do.node
        try:
            answer = await self._calls.call(doing.do.node, doing.do.call, id=doing.id)
        except NotReached as error:
            self._bear(doing, error)
        except NodeFailure as error:
            # What plainly failed may have left something half-made, which its undo removes; unless the place was
            # taken by something that is not ours.
            if error.code not in NOTHING_MADE:
                self._outcomes[doing.id] = FAILED
            self._bear(doing, error)
        except InDoubt as error:
            self._outcomes[doing.id] = IN_DOUBT
            if not (isinstance(doing.step, Uncertain) and await self._has_happened(doing)):
                self._bear(doing, error)
        else:
            self._outcomes[doing.id] = DONE
            look.remember(doing.do.node, doing.do.call, answer)
        finally:
            self._under_way.pop(doing.id, None)

    async def _has_happened(self, doing: Doing) -> bool:
        """Find out by asking the nodes; while they cannot be asked it stays in doubt."""
        assert isinstance(doing.step, Uncertain)  # noqa: S101
        try:
            happened = await SETTLERS[doing.step.settle](self._calls, doing.step.arguments)
        except (NotReached, InDoubt):
            return False
        self._outcomes[doing.id] = DONE if happened else FAILED
        return happened

    def _bear(self, doing: Doing, error: GntError) -> None:
        """Go on where the step may fail, telling so and owing it if the node is away; raise where it may not."""
        where = f"{doing.do.call.tag()} on {self._node_name(doing.do.node)}"
        said = str(error) if str(error).startswith(f"{where}: ") else f"{where}: {error}"  # in doubt: it says it itself
        if isinstance(doing.step, Uncertain) or not doing.step.tolerant:
            raise Failed(said, code=error.code, hint=error.hint) from error
        self._run.feedback(f" - WARNING: {said}")
        if not isinstance(doing.step, Forward) or not doing.step.owed:
            return
        until_done = doing.step.until_done
        if until_done or not isinstance(error, NodeFailure):
            opcode, call = f"{self._run.job}/{self._run.index}", StoredCall.of(doing.do)
            text = f"finish {doing.do.call.tag()}: {error}"
            debt = Debt(opcode=opcode, node=doing.do.node, id=doing.id, text=text, call=call, tolerant=not until_done)
            self._owe(debt)

    def _owe(self, debt: Debt) -> None:
        names = sorted({*debt.instances, *held_instances(self._run.held.locks)})
        head = self._commits.head
        debt = noted(msgspec.structs.replace(debt, instances=names), head)
        debt = msgspec.structs.replace(debt, serials=debt.serials | removed_in(debt, head))
        self._wait_for_commit(debt_changes(debt_key(debt), debt))

    def _node_name(self, uuid: str) -> str:
        return node_name(self._commits.head, uuid)
