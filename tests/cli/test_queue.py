"""What commands do to the queue: archive, priorities, kill, drain, pause, rules, locks, plans."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gnt.cli.main import MODULES, load
from gnt.cli.options import PLAN as PLAN_OPTION
from gnt.cli.values import seconds
from gnt.model.errors import JobLost, Refused
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

CHANGING = [
    (program, command.name)
    for program in MODULES
    for command in load(program).commands
    if any(option.dest in {"submit", "dry_run"} for option in command.options if not option.unsupported)
    and (program, command.name) != ("gnt-cluster", "verify")
]

UUID = "00000000-0000-4000-8000-000000000001"


def test_jobs_are_archived_one_by_one(gnt: Run, master: FakeMaster) -> None:
    """Silent, but for those that could not be."""
    master.answers["ArchiveJob"] = lambda number: number % 2 == 1
    assert gnt("job", "archive", 3, 5) == (0, "", "")
    assert gnt("job", "archive", 3, 4) == (1, "", "Failed to archive job with ID '4'\n")
    assert json.loads(gnt("job", "archive", "--json", 3).out) == [{"job": 3, "success": True}]


def test_jobs_are_archived_by_age(gnt: Run, master: FakeMaster) -> None:
    """An age with a letter, or all; what is no age is refused here."""
    master.answers["AutoArchiveJobs"] = lambda age, _: [age if age > 0 else 7, 2]
    assert gnt("job", "autoarchive", "2d").out == "Archived 172800 jobs, 2 unchecked left\n"
    assert gnt("job", "autoarchive", "all").out == "Archived 7 jobs, 2 unchecked left\n"
    assert [args[0] for args in master.called("AutoArchiveJobs")] == [172800, -1]
    assert gnt("job", "autoarchive", "d").err.startswith("Failure: age: 'd' is no time such as")


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("30m", 1800), ("6h", 21600), ("1w", 604800), ("0s", 0)])
def test_times(text: str, wanted: int) -> None:
    """Seconds, unless a letter says otherwise."""
    assert seconds(text) == wanted


def test_priorities_are_changed(gnt: Run, master: FakeMaster) -> None:
    """What the master says of each job; the priority must be given; a job that is not there is no crash."""

    def change(number: int, priority: int) -> list[Any]:
        if number == 9:
            raise JobLost("Job 9 not found")
        return [number != 4, f"Job {number} has {priority}"]

    master.answers["ChangeJobPriority"] = change
    assert gnt("job", "change-priority", "--priority=high", 3) == (0, "Job 3 has -10\n", "")
    ran = gnt("job", "change-priority", "--priority=low", 3, 4, 9)
    assert (ran.status, ran.out) == (1, "Job 3 has 10\nJob 4 has 10\nJob 9 not found\n")
    ran = gnt("job", "change-priority", 3)
    assert (ran.status, ran.err.splitlines()[0]) == (1, "Failure: no priority is given  [wrong_input]")


def test_priorities_by_status(gnt: Run, master: FakeMaster) -> None:
    """As with cancel: a question first."""
    master.rows["job"] = [{"id": 3, "summary": ["X"], "status": "queued"}]
    master.answers["ChangeJobPriority"] = lambda number, _: [True, f"{number} is changed"]
    assert gnt("job", "change-priority", "--priority=low", "--queued").status == 13
    assert gnt("job", "change-priority", "--priority=low", "--queued", "-f").out == "3 is changed\n"


def test_why_a_job_was_canceled_is_said(gnt: Run, master: FakeMaster) -> None:
    """A rule is named; that somebody wanted it needs no word more."""
    master.jobs[5] = Job("Rejected by the rule x", status="canceled")
    assert gnt("job", "wait", 5).err == "Job 5 failed: job 5 was canceled: Rejected by the rule x\n"
    master.jobs[6] = Job("Job canceled by request", status="canceled")
    assert gnt("job", "wait", 6).err == "Job 6 failed: job 6 was canceled\n"


def test_killing_needs_consent(gnt: Run, master: FakeMaster) -> None:
    """--kill alone is refused before anything is asked of the master."""
    ran = gnt("job", "cancel", "--kill", 3)
    assert ran.status == 1
    assert "--yes-do-it" in ran.err
    assert not master.called("CancelJob")
    assert gnt("job", "cancel", "--kill", "--yes-do-it", 3).status == 0
    assert master.called("CancelJob") == [[3, True]]


def test_waiting_in_silence(gnt: Run, master: FakeMaster) -> None:
    """No message is shown; the end is the status."""
    master.jobs[5] = Job(log=("one",))
    assert gnt("job", "wait", 5) == (0, "", "")
    master.jobs[6] = Job(["OpExecError", ["broken"]], status="error")
    assert gnt("job", "wait", 6) == (1, "", "Job 6 failed: broken\n")


STAMPS: dict[str, Any] = {"received_ts": [1_700_000_000, 0], "start_ts": None, "end_ts": None}
OPS: dict[str, Any] = {
    name: [None] for name in ("ops", "opresult", "opstatus", "oplog", "opstart", "opexec", "opend")
} | {"ops": [{"OP_ID": "OP_TEST_DELAY"}]}


@pytest.mark.parametrize(
    ("status", "told", "line"),
    [
        (
            "waiting",
            {"locks": ["instance/web1"], "holders": ["Job6/I_STARTUP"], "place": 2, "jobs": [], "held": ""},
            "  Waiting: waits for instance/web1, held by Job6/I_STARTUP (place 2 in line)",
        ),
        (
            "queued",
            {"locks": [], "holders": [], "place": None, "jobs": [4, 5], "held": ""},
            "  Waiting: waits for the end of job 4, 5",
        ),
        (
            "queued",
            {"locks": [], "holders": [], "place": None, "jobs": [], "held": "the rule x pauses it"},
            "  Waiting: is held back: the rule x pauses it",
        ),
        (
            "queued",
            {"locks": [], "holders": [], "place": 3, "jobs": [], "held": ""},
            "  Waiting: is in the queue, other jobs go first (place 3 in line)",
        ),
    ],
)
def test_info_says_what_a_job_waits_for(gnt: Run, master: FakeMaster, status: str, told: Any, line: str) -> None:
    """Locks and who holds them, jobs, rules; in the object for programs too."""
    master.rows["job"] = [{"id": 7, "status": status, **OPS, **STAMPS}]
    master.answers["ExplainJob"] = lambda _: told
    assert line in gnt("job", "info", 7).out.splitlines()
    assert json.loads(gnt("job", "info", "--json", 7).out)[0]["waits"] == told


def test_the_drain_flag(gnt: Run, master: FakeMaster) -> None:
    """Set, unset, shown; another word is refused."""
    flags: list[bool] = []
    master.answers["SetDrainFlag"] = lambda flag: bool(flags.append(flag)) or True
    master.answers["QueryConfigValues"] = lambda _: [flags[-1]]
    assert gnt("cluster", "queue", "drain") == (0, "", "")
    assert gnt("cluster", "queue", "info").out == "The drain flag is set\n"
    assert gnt("cluster", "queue", "undrain") == (0, "", "")
    assert gnt("cluster", "queue", "info").out == "The drain flag is unset\n"
    assert gnt("cluster", "queue", "empty").status == 1


def test_the_watcher_is_paused(gnt: Run, master: FakeMaster) -> None:
    """Until a time, or not at all."""
    until: list[Any] = [None]

    def pause(value: Any) -> Any:
        until.append(value)
        return value

    master.answers["SetWatcherPause"] = pause
    master.answers["QueryConfigValues"] = lambda fields: [until[-1] for _ in fields]
    assert gnt("cluster", "watcher", "info").out == "The watcher is not paused.\n"
    ran = gnt("cluster", "watcher", "pause", "2h")
    assert abs(until[-1] - time.time() - 7200) < 60
    assert ran.out == f"The watcher is paused until {time.ctime(until[-1])}.\n"
    assert gnt("cluster", "watcher", "info").out == ran.out
    assert gnt("cluster", "watcher", "continue").out == "The watcher is no longer paused.\n"
    for words in (("pause",), ("pause", "x"), ("info", "2h"), ("stop",)):
        assert gnt("cluster", "watcher", *words).status == 1


RULE = {
    "uuid": UUID,
    "watermark": 7,
    "priority": 3,
    "predicates": [["jobid", [">", "id", "watermark"]]],
    "action": ["RATE_LIMIT", 2],
    "reason_trail": [["gnt:user", "night", 5]],
}


def test_rules_are_made(gnt: Run, master: FakeMaster) -> None:
    """What is given, with who asked; the UUID is printed."""
    master.answers["ReplaceFilter"] = lambda uuid, *_: uuid or UUID
    words = ("--predicates", json.dumps(RULE["predicates"]), "--action", "rate_limit 2", "--priority=3")
    assert gnt("filter", "add", *words, "--reason", "night").out == f"{UUID}\n"
    uuid, priority, predicates, action, reason = master.called("ReplaceFilter")[0]
    assert (uuid, priority, predicates, action) == (None, 3, RULE["predicates"], ["RATE_LIMIT", 2])
    assert reason[0][:2] == ["gnt:user", "night"]
    assert gnt("filter", "replace", "--action=PAUSE", UUID).out == f"{UUID}\n"
    assert master.called("ReplaceFilter")[1][:4] == [UUID, 0, [], "PAUSE"]


@pytest.mark.parametrize(
    "words", [("--action=STOP",), ("--action=RATE_LIMIT 0",), ("--predicates={",), ("--priority=-1",)]
)
def test_what_is_no_rule_is_refused_here(gnt: Run, master: FakeMaster, words: tuple[str, ...]) -> None:
    """Naming the option."""
    ran = gnt("filter", "add", *words)
    assert (ran.status, ran.out) == (2, "")
    assert words[0].partition("=")[0] in ran.err
    assert not master.requests


def test_rules_are_shown(gnt: Run, master: FakeMaster) -> None:
    """In a table, one by one, and as objects; what has a structure keeps it."""
    master.rows["filter"] = [RULE]
    ran = gnt("filter", "list", "--no-headers", "--separator=|")
    assert ran.out == (f'{UUID}|7|3|[["jobid", [">", "id", "watermark"]]]|RATE_LIMIT 2|[["gnt:user", "night", 5]]\n')
    assert gnt("filter", "info").out == (
        f"UUID: {UUID}\n"
        "  Watermark: 7\n"
        "  Priority: 3\n"
        '  Predicates: [["jobid", [">", "id", "watermark"]]]\n'
        "  Action: RATE_LIMIT 2\n"
        '  Reason trail: [["gnt:user", "night", 5]]\n'
    )
    assert json.loads(gnt("filter", "info", "--json").out) == [RULE]
    assert gnt("filter", "list-fields", "uuid").status == 0


def test_rules_are_removed(gnt: Run, master: FakeMaster) -> None:
    """Silently; one that is not there is said."""
    master.answers["DeleteFilter"] = lambda _: None
    assert gnt("filter", "delete", UUID) == (0, "", "")
    master.answers["DeleteFilter"] = Refused("unknown_entity", "There is no filter x")
    assert gnt("filter", "delete", "x").err == "Failure: There is no filter x  [unknown_entity]\n"


def test_locks_are_listed(gnt: Run, master: FakeMaster) -> None:
    """By whom they are held, and who waits for them, and how."""
    master.rows["lock"] = [
        {"name": "instance/web1", "mode": "exclusive", "owner": ["Job3/I_X"], "pending": [["shared", ["Job4/I_Y"]]]},
        {"name": "node/a", "mode": None, "owner": None, "pending": []},
    ]
    ran = gnt("debug", "locks", "--no-headers")
    assert ran.out == "instance/web1 exclusive Job3/I_X shared:Job4/I_Y\nnode/a        -         -        -\n"
    assert json.loads(gnt("debug", "locks", "--json", "-o", "name").out)[1] == {"name": "node/a"}
    wrong = gnt("debug", "locks", "-o", "nope")
    assert (wrong.status, wrong.err) == (
        14,
        "Warning: there are no fields nope; there are: name, mode, owner, pending\n",
    )


# Plans

PLAN: dict[str, Any] = {
    "summary": "INSTANCE_SHUTDOWN(web1)",
    "locks": [
        {"level": "instance", "name": "web1", "mode": "exclusive"},
        {"level": "node", "name": "all", "mode": "shared"},
    ],
    "nodes": ["node2"],
    "steps": [
        {"number": 1, "kind": "keep", "node": "", "call": "", "text": "instance web1: admin_state up → down"},
        {"number": 2, "kind": "forward", "node": "node2", "call": "guest_stop", "text": "web1 (up to 120 s)"},
    ],
    "notes": [],
    "then": ["clean up"],
    "refused": None,
}


def test_a_plan_is_shown_instead(gnt: Run, master: FakeMaster) -> None:
    """Locks, nodes, steps, what comes later; nothing is submitted and nothing is asked."""
    master.answers["PlanJob"] = lambda _: [PLAN]
    ran = gnt("instance", "remove", "--plan", "web1")
    assert ran == (
        0,
        (
            "job would take: instance web1 (exclusive), every node (shared)\n"
            "  on: node2\n"
            "  1 keep    instance web1: admin_state up → down\n"
            "  2 forward node2 guest_stop web1 (up to 120 s)\n"
            "  then: clean up\n"
        ),
        "",
    )
    assert [method for method, _ in master.requests] == ["PlanJob"]
    found = json.loads(gnt("instance", "remove", "--plan", "--json", "web1").out)
    assert found == {"plans": [{"name": "", "opcodes": [PLAN]}]}


def test_plans_of_several_jobs(gnt: Run, master: FakeMaster) -> None:
    """Each under its name; a refusal is shown as one, and makes the status 1."""
    master.rows["instance"] = [{"name": "web1"}, {"name": "web2"}]
    refused = {"code": "wrong_state", "text": "web2 is marked offline", "hint": "wake it"}
    bad = {**PLAN, "locks": [], "nodes": [], "steps": [], "then": [], "refused": refused}
    master.answers["PlanJob"] = lambda ops: [bad if ops[0]["instance_name"] == "web2" else PLAN]
    ran = gnt("instance", "shutdown", "--plan", "web1", "web2")
    assert ran.status == 1
    assert ran.out.splitlines()[0].startswith("web1: job would take: instance web1")
    assert ran.out.splitlines()[-1] == "web2: job would take: no lock"
    assert ran.err == "Failure: web2 is marked offline  [wrong_state]\n  wake it\n"
    assert not master.opcodes()


def test_a_plan_that_ends_in_a_refusal_shows_both(gnt: Run, master: FakeMaster) -> None:
    """A later stage may be refused: what comes before it is shown too."""
    refused = {"code": "wrong_state", "text": "too few candidates remain", "hint": ""}
    master.answers["PlanJob"] = lambda _: [{**PLAN, "then": [], "refused": refused}]
    ran = gnt("node", "remove", "--plan", "node2")
    assert ran.status == 1
    assert len(ran.out.splitlines()) == 4
    assert ran.err == "Failure: too few candidates remain  [wrong_state]\n"


def test_destroying_may_be_planned_without_consent(gnt: Run, master: FakeMaster, root: Path) -> None:
    """--plan changes nothing, so --yes-do-it is not needed; nothing but the plan is done."""
    (root / "var/lib/ganeti/ssconf_cluster_name").write_text("cluster.example.com\n", encoding="utf-8")
    master.answers["PlanJob"] = lambda _: [{**PLAN, "nodes": [], "steps": [], "then": []}]
    ran = gnt("cluster", "destroy", "--plan")
    assert ran.status == 0
    assert ran.out.endswith("  nothing is to be done\n")
    assert [method for method, _ in master.requests] == ["PlanJob"]


@pytest.mark.parametrize(("program", "command"), CHANGING, ids=[" ".join(pair) for pair in CHANGING])
def test_every_changing_command_has_a_plan(program: str, command: str) -> None:
    """Whatever submits a job that changes something can be asked what it would do."""
    found = load(program).command(command)
    assert found is not None
    assert PLAN_OPTION in found.options
