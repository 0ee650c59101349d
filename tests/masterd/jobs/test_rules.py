"""Rules about jobs: which match, what they do, and how limits are kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gnt.masterd.jobs.explain import explain
from gnt.masterd.jobs.job import new_job
from gnt.masterd.jobs.rules import FREE, Rules, make_rule
from gnt.model.errors import GntError, NoMajority
from gnt.model.objects import JobFilter
from tests.masterd.jobs.fakes import Brain, delay, result

UUIDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(10)]


def rule(number: int, action: Any, *predicates: Any, priority: int = 0, watermark: int = 0) -> JobFilter:
    """Make a rule as a client would."""
    return make_rule(
        UUIDS[number],
        watermark=watermark,
        priority=priority,
        predicates=list(predicates),
        action=action,
        reason=[],
    )


def job(*ops: dict[str, Any], number: int = 7) -> Any:
    """Make a job of opcodes given as objects."""
    inputs = [msgspec.Raw(msgspec.json.encode(op)) for op in ops]
    return new_job(number, inputs, [0] * len(ops), 0.0)


START = {
    "OP_ID": "OP_INSTANCE_STARTUP",
    "instance_name": "web1",
    "force": False,
    "hvparams": {"kernel_path": "/k", "vnc": 5},
    "tags": ["a", "b"],
    "reason": [["gnt:client:gnt-instance", "startup", 1000], ["gnt:user", "night", 2000]],
}


@pytest.mark.parametrize(
    ("predicate", "matches"),
    [
        (["jobid", ["=", "id", 7]], True),
        (["jobid", ["==", "id", "7"]], True),
        (["jobid", [">", "id", "watermark"]], True),
        (["jobid", ["<=", "id", "watermark"]], False),
        (["jobid", ["!", ["=", "id", 8]]], True),
        (["jobid", ["=~", "id", "7"]], False),
        (["jobid", None], True),
        (["opcode", ["=", "OP_ID", "OP_INSTANCE_STARTUP"]], True),
        (["opcode", ["=~", "OP_ID", "^OP_INSTANCE_"]], True),
        (["opcode", ["=~", "OP_ID", "^OP_NODE_"]], False),
        (["opcode", ["&", ["=", "instance_name", "web1"], ["!", ["?", "force"]]]], True),
        (["opcode", ["=", "hvparams.kernel_path", "/k"]], True),
        (["opcode", ["<", "hvparams.vnc", 6]], True),
        (["opcode", ["<", "hvparams.vnc", "6"]], False),
        (["opcode", ["=", "hvparams.missing", "x"]], False),
        (["opcode", ["!=", "hvparams.missing", "x"]], False),
        (["opcode", ["=[]", "tags", "b"]], True),
        (["opcode", ["=", "tags.0", "a"]], True),
        (["opcode", ["=", "force", 0]], False),
        (["reason", ["=", "reason", "night"]], True),
        (["reason", ["&", ["=", "source", "gnt:user"], [">", "timestamp", 1500]]], True),
        (["reason", ["&", ["=", "source", "gnt:user"], ["<", "timestamp", 1500]]], False),
        (["reason", ["=~", "reason", "night"]], False),
    ],
)
def test_predicates(predicate: list[Any], matches: bool) -> None:
    """As the specification has them: any opcode, any element of a trail; what is missing is false."""
    rules = Rules([rule(1, "PAUSE", predicate, watermark=5)])
    assert rules.judge(job({"OP_ID": "OP_TEST_DELAY"}, START)).paused == (UUIDS[1] if matches else "")


def test_all_predicates_of_a_rule_must_hold() -> None:
    """One that does not is enough."""
    both = [["jobid", [">", "id", 5]], ["opcode", ["=", "OP_ID", "OP_NODE_ADD"]]]
    assert Rules([rule(1, "REJECT", *both)]).judge(job(START)) == FREE
    assert Rules([rule(1, "REJECT")]).judge(job(START)).rejected == UUIDS[1]


def test_the_first_rule_that_matches_decides() -> None:
    """By priority, then watermark, then UUID; CONTINUE decides nothing, ACCEPT lets the job run."""
    pause, accept = rule(2, "PAUSE", priority=5), rule(3, "ACCEPT", priority=4)
    assert Rules([pause, accept]).judge(job(START)) == FREE
    assert Rules([pause, rule(3, "CONTINUE", priority=4)]).judge(job(START)).paused == UUIDS[2]
    assert Rules([rule(4, "PAUSE", watermark=9), rule(5, "REJECT", watermark=8)]).judge(job(START)).rejected == UUIDS[5]
    assert Rules([rule(7, "REJECT"), rule(6, "PAUSE")]).judge(job(START)).paused == UUIDS[6]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"uuid": "rule1"}, "'rule1' is no UUID"),
        ({"priority": -1}, "priority: -1"),
        ({"action": "STOP"}, "action: STOP"),
        ({"action": ["RATE_LIMIT", 0]}, "action:"),
        ({"predicates": {}}, "predicates: they must be a list"),
        ({"predicates": [["jobid"]]}, r"predicates\[0\]"),
        ({"predicates": [["node", None]]}, "predicate 'node' is not known"),
        ({"predicates": [["jobid", ["=", "status", "x"]]]}, "no field 'status'"),
        ({"predicates": [["opcode", ["~", "x", "y"]]]}, "'~' is not a filter operator"),
        ({"predicates": [["opcode", ["=~", "x", "(a+)+"]]]}, "regular expression|repeats"),
        ({"predicates": [["opcode", ["=", "instance_nam", "x"]]]}, r"predicates\[0\]: no opcode has a parameter 'inst"),
        ({"predicates": [["opcode", ["!", ["?", "nofield.x"]]]]}, "no opcode has a parameter 'nofield'"),
        ({"predicates": [["opcode", ["=", "OP_ID", "OP_TEST_DELY"]]]}, "no opcode 'OP_TEST_DELY'"),
        ({"reason": [["x"]]}, "reason"),
    ],
)
def test_what_is_no_rule_is_refused(changes: dict[str, Any], text: str) -> None:
    """Naming the field."""
    given = {"uuid": UUIDS[1], "watermark": 0, "priority": 0, "predicates": [], "action": "PAUSE", "reason": []}
    with pytest.raises(GntError, match=text):
        make_rule(**{**given, **changes})


def test_what_was_meant_is_said() -> None:
    """A rule that would never match is a slip of the fingers."""
    with pytest.raises(GntError) as caught:
        rule(1, "PAUSE", ["opcode", ["=", "OP_ID", "OP_TEST_DELY"]])
    assert caught.value.hint == "did you mean OP_TEST_DELAY?"
    with pytest.raises(GntError) as caught:
        rule(1, "PAUSE", ["opcode", ["=", "instance_nam", "web1"]])
    assert caught.value.hint == "did you mean instance_name?"


def test_the_reason_of_a_rule_is_told(brain: Brain) -> None:
    """To whoever waits for a job that it holds, and in the end of one that it rejects."""
    because = (("gnt:user", "no tests today", 1), ("luxid", "", 2))
    paused = msgspec.structs.replace(rule(1, "PAUSE"), reason_trail=because)
    brain.queue.rule(Rules([paused]))
    number = brain.submit(delay())
    told = explain(brain.queue, brain.locks, number)
    assert told is not None
    assert told["held"] == f"the rule {UUIDS[1]} pauses it (no tests today)"
    brain.queue.rule(Rules([msgspec.structs.replace(paused, action="REJECT")]))
    assert brain.journal.job(number)["ops"][0]["result"] == f"Rejected by the rule {UUIDS[1]} (no tests today)"


def test_a_stored_rule_that_cannot_be_read_is_passed_over() -> None:
    """A rule of a later release must not stop the queue."""
    odd = JobFilter(uuid=UUIDS[1], predicates=(("colour", ["=", "x", 1]),), action="REJECT")
    assert Rules([odd, rule(2, "PAUSE")]).judge(job(START)).paused == UUIDS[2]


# In the queue


@pytest.fixture
def brain() -> Brain:
    """Give a master that runs opcodes only when told."""
    made = Brain().start()
    made.engine.hold = True
    return made


def states(brain: Brain, *numbers: int) -> list[str]:
    """Give the statuses of jobs."""
    return [brain.status(number) for number in numbers]


def test_a_paused_job_stays_queued_until_the_rule_goes(brain: Brain) -> None:
    """Others run past it; it says what holds it."""
    brain.queue.rule(Rules([rule(1, "PAUSE", ["jobid", ["=", "id", 1]])]))
    first, second = brain.submit(delay()), brain.submit(delay())
    assert states(brain, first, second) == ["queued", "running"]
    told = explain(brain.queue, brain.locks, first)
    assert told is not None
    assert told["held"] == f"the rule {UUIDS[1]} pauses it"
    brain.queue.rule(Rules())
    assert states(brain, first, second) == ["running", "running"]


def test_a_paused_job_can_be_canceled(brain: Brain) -> None:
    """And does not come back when the rule goes."""
    brain.queue.rule(Rules([rule(1, "PAUSE")]))
    number = brain.submit(delay())
    assert result(brain.queue.cancel(number)) == (True, f"Job {number} canceled")
    brain.queue.rule(Rules())
    assert states(brain, number) == ["canceled"]
    assert brain.engine.runs == []


def test_rejected_jobs_end_as_canceled(brain: Brain) -> None:
    """New ones at once; of those there are, whoever does not run yet; the result names the rule."""
    running, waiting = brain.submit(delay("node/a!")), brain.submit(delay("node/a!"))
    held = brain.submit(delay(depends=((running, ()),)))
    assert states(brain, running, waiting, held) == ["running", "waiting", "queued"]
    brain.queue.rule(Rules([rule(1, "REJECT")]))
    late = brain.submit(delay())
    assert states(brain, running, waiting, held, late) == ["running", "canceled", "canceled", "canceled"]
    assert brain.journal.job(late)["ops"][0]["result"] == f"Rejected by the rule {UUIDS[1]}"
    assert brain.processor.started == {running}
    brain.engine.finish(running)
    assert states(brain, running) == ["success"]
    assert brain.locks.snapshot() == []


def test_a_rejection_waits_for_a_majority(brain: Brain) -> None:
    """The job neither runs nor is forgotten; it ends as soon as that can be recorded."""
    brain.queue.rule(Rules([rule(1, "PAUSE")]))
    number = brain.submit(delay())
    brain.journal.refuse = NoMajority("node2 does not answer")
    brain.queue.rule(Rules([rule(1, "REJECT")]))
    assert states(brain, number) == ["queued"]
    brain.journal.mend()
    brain.clock.advance(2)
    assert states(brain, number) == ["canceled"]
    assert brain.processor.started == frozenset()
    assert brain.engine.runs == []


def test_a_limit_lets_so_many_jobs_run(brain: Brain) -> None:
    """In order of priority; the end of one lets the next go; others are not held up."""
    only = ["opcode", ["=", "comment", "slow"]]
    brain.queue.rule(Rules([rule(1, ["RATE_LIMIT", 2], only)]))
    slow = [brain.submit(delay("slow")) for _ in range(4)]
    urgent, free = brain.submit(delay("slow", priority=-10)), brain.submit(delay())
    assert states(brain, *slow, urgent, free) == ["running", "running", "queued", "queued", "queued", "running"]
    told = explain(brain.queue, brain.locks, slow[3])
    assert told is not None
    assert told["held"] == f"rule {UUIDS[1]}: 2 of at most 2 run"
    brain.engine.finish(slow[0])
    assert states(brain, *slow[1:], urgent) == ["running", "queued", "queued", "running"]
    brain.queue.rule(Rules([rule(1, ["RATE_LIMIT", 3], only)]))
    assert states(brain, *slow[1:], urgent) == ["running", "running", "queued", "running"]
    brain.queue.rule(Rules())
    assert states(brain, slow[3]) == ["running"]


def test_a_job_brings_its_own_limit(brain: Brain) -> None:
    """Jobs with the same number and label share it; a started job counts while it waits for locks."""

    def labelled(text: str, locks: str = "") -> Any:
        return delay(locks, reason=[["gnt:user", text, 1]])

    first = brain.submit(labelled("rate-limit:1:nightly"))
    second = brain.submit(labelled("rate-limit:1:nightly"))
    wider = brain.submit(labelled("rate-limit:2:nightly"))
    other = brain.submit(labelled("rate-limit:0:nightly"))
    assert states(brain, first, second, wider, other) == ["running", "queued", "running", "running"]
    told = explain(brain.queue, brain.locks, second)
    assert told is not None
    assert told["held"] == "rate limit nightly: 1 of at most 1 run"
    brain.engine.finish(first)
    assert states(brain, second) == ["running"]


def test_rules_hold_for_what_a_new_master_finds() -> None:
    """A rule that is set before the start pauses what was queued; an interrupted job counts under its limit."""
    before = Brain().start()
    before.engine.hold = True
    limit = rule(1, ["RATE_LIMIT", 1])
    before.queue.rule(Rules([limit]))
    numbers = [before.submit(delay()) for _ in range(2)]
    after = Brain(journal=before.journal)
    after.engine.hold = True
    after.queue.rule(Rules([limit]))
    after.start()
    assert states(after, *numbers) == ["running", "queued"]
    after.engine.finish(numbers[0])
    assert states(after, numbers[1]) == ["running"]
