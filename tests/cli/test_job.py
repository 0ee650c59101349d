"""gnt-job and gnt-debug against a fake master: what they print, what they ask, how they exit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnt.model.errors import GntError, JobLost, Refused
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster, Job

ROWS = [
    {"id": 7, "status": "success", "summary": ["CLUSTER_VERIFY"], "received_ts": [1_700_000_000, 5]},
    {"id": 12, "status": "error", "summary": ["INSTANCE_CREATE(w1)", "TEST_DELAY(500000000 ns)"], "received_ts": None},
]


def test_jobs_are_listed_in_columns(gnt: Run, master: FakeMaster) -> None:
    """Numbers stand right, texts left, and the last column is not filled up."""
    master.rows["job"] = ROWS
    ran = gnt("job", "list")
    assert ran.status == 0
    assert ran.out == (
        "ID Status  Summary\n 7 success CLUSTER_VERIFY\n12 error   INSTANCE_CREATE(w1),TEST_DELAY(0.5 s)\n"
    )
    assert not ran.err


def test_a_separator_ends_the_filling(gnt: Run, master: FakeMaster) -> None:
    """With a separator there is no padding; times are local with microseconds, N/A where there is none."""
    master.rows["job"] = ROWS
    ran = gnt("job", "list", "--no-headers", "--separator=:", "-o", "id,received_ts")
    assert ran.out == "7:2023-11-14 22:13:20.000005\n12:N/A\n"


def test_lists_are_objects_for_programs(gnt: Run, master: FakeMaster) -> None:
    """With --json each row is an object with raw values."""
    master.rows["job"] = ROWS
    ran = gnt("job", "list", "--json", "-o", "id,status")
    assert json.loads(ran.out) == [{"id": 7, "status": "success"}, {"id": 12, "status": "error"}]


def test_programs_get_summaries_as_they_are(gnt: Run, master: FakeMaster) -> None:
    """The form that other clients know; people get seconds, down to a nanosecond."""
    master.rows["job"] = ROWS
    raw = [row["summary"] for row in json.loads(gnt("job", "list", "--json").out)]
    assert raw == [["CLUSTER_VERIFY"], ["INSTANCE_CREATE(w1)", "TEST_DELAY(500000000 ns)"]]
    master.rows["job"] = [{"id": 1, "status": "error", "summary": ["TEST_DELAY(1 ns)", "TEST_DELAY(x ns)"]}]
    assert gnt("job", "list", "--no-headers", "-o", "summary").out == "TEST_DELAY(1e-09 s),TEST_DELAY(x ns)\n"


def test_status_filters_become_filters(gnt: Run, master: FakeMaster) -> None:
    """The last of the status options holds, and goes together with the names."""
    assert gnt("job", "list", "--running", "--pending", 7).status == 0
    ((what, fields, query_filter),) = master.called("Query")
    assert (what, fields) == ("job", ["id", "status", "summary"])
    pending = ["|", ["=", "status", "queued"], ["=", "status", "waiting"], ["=", "status", "canceling"]]
    assert query_filter == ["&", ["|", ["=", "id", 7]], pending]


def test_archived_jobs_come_with_their_column(gnt: Run, master: FakeMaster) -> None:
    """--archived asks for one field more."""
    gnt("job", "list", "--archived")
    assert master.called("Query")[0][1] == ["id", "status", "summary", "archived"]


def test_a_field_that_is_not_there_warns(gnt: Run, master: FakeMaster) -> None:
    """The table is printed all the same, the status is 14."""
    master.rows["job"] = ROWS[:1]
    ran = gnt("job", "list", "-o", "id,nope")
    assert ran.status == 14
    assert ran.out == "ID nope\n 7 ??\n"
    assert "nope" in ran.err
    assert gnt("job", "list", "-v", "-o", "nope").out == "nope\n(unknown)\n"


def test_what_is_no_job_number_is_named(gnt: Run, master: FakeMaster) -> None:
    """Names of jobs are numbers."""
    ran = gnt("job", "list", "web1")
    assert ran.status == 1
    assert ran.err == "Failure: 'web1' is no job number  [wrong_input]\n"
    assert gnt("job", "watch", "0").status == 1
    assert not master.called("Query")


INFO: dict[str, Any] = {
    "id": 7,
    "status": "success",
    "ops": [{"OP_ID": "OP_TEST_DELAY", "duration": 1.5, "on_nodes": []}],
    "opresult": [None],
    "opstatus": ["success"],
    "oplog": [[[1, [1_700_000_001, 2], "message", "slept"]]],
    "opstart": [[1_700_000_000, 500_000]],
    "opexec": [[1_700_000_000, 600_000]],
    "opend": [[1_700_000_002, 0]],
    "received_ts": [1_700_000_000, 0],
    "start_ts": [1_700_000_000, 500_000],
    "end_ts": [1_700_000_002, 0],
}


def test_a_job_is_described_as_a_tree(gnt: Run, master: FakeMaster) -> None:
    """gnt-job info shows everything there is about a job."""
    master.rows["job"] = [INFO]
    ran = gnt("job", "info", "7")
    assert ran.status == 0
    assert (
        ran.out
        == """\
- Job ID: 7
  Status: success
  Received: 2023-11-14 22:13:20.000000
  Processing start: 2023-11-14 22:13:20.500000 (delta 0.500000s)
  Processing end: 2023-11-14 22:13:22.000000 (delta 1.500000s)
  Total processing time: 2.000000 seconds
  Opcodes: ~
    - Opcode: OP_TEST_DELAY
      Status: success
      Processing start: 2023-11-14 22:13:20.500000
      Execution start: 2023-11-14 22:13:20.600000
      Processing end: 2023-11-14 22:13:22.000000
      Input fields: ~
        duration: 1.5
        on_nodes: ~
      Result: None
      Execution log: ~
        - Time: 2023-11-14 22:13:21.000002
          Content: [1, message, slept]
""".replace("~\n", "\n")
    )


def test_a_job_that_is_not_there_is_named(gnt: Run, master: FakeMaster) -> None:
    """The others are shown, the status is 1."""
    master.rows["job"] = [INFO]
    ran = gnt("job", "info", "7", "99")
    assert ran.status == 1
    assert "Job ID: 7" in ran.out
    assert ran.err == "Job ID 99 not found\n"
    ran = gnt("job", "info", "--json", "99")
    assert ran.status == 1
    assert json.loads(ran.err)["error"]["code"] == "job_lost"


def test_watch_shows_the_messages(gnt: Run, master: FakeMaster) -> None:
    """A headline, a line of dashes as long, then what the job said."""
    master.jobs[5] = Job(log=("one", "two"))
    ran = gnt("job", "watch", "5")
    assert ran.status == 0
    assert ran.out == (
        "Output from job 5 follows\n-------------------------\n"
        "Tue Nov 14 22:13:21 2023 one\nTue Nov 14 22:13:22 2023 two\n"
    )


def test_watch_of_a_failed_job(gnt: Run, master: FakeMaster) -> None:
    """The error comes on standard error; with --json it is in the object too."""
    master.jobs[5] = Job(["OpPrereqError", ["no room", "insufficient_resources"]], status="error")
    ran = gnt("job", "watch", "5")
    assert (ran.status, ran.err) == (1, "Job 5 failed: no room\n")
    ran = gnt("job", "watch", "--json", "5")
    assert ran.status == 1
    assert json.loads(ran.out)["error"] == {
        "code": "insufficient_resources",
        "text": "no room",
        "hint": "",
        "job": 5,
    }


def test_watch_of_no_job(gnt: Run, master: FakeMaster) -> None:
    """A number that nobody gave out is said."""
    ran = gnt("job", "watch", "99")
    assert ran.status == 1
    assert ran.err == "Error checking job status: there is no job 99\n"


def test_cancel_says_what_the_master_says(gnt: Run, master: FakeMaster) -> None:
    """A line for each job; one that could not be canceled makes the status 1."""
    ran = gnt("job", "cancel", "3")
    assert (ran.status, ran.out) == (0, "Job 3 canceled\n")
    ran = gnt("job", "cancel", "3", "4")
    assert ran.status == 1
    assert ran.out == "Job 3 canceled\nJob 4 is no longer waiting in the queue\n"


def test_cancel_by_status_asks_first(gnt: Run, master: FakeMaster) -> None:
    """Where nobody can answer, nothing is canceled and the status is 13; -f asks no question."""
    master.rows["job"] = [{"id": 3, "summary": ["X"], "status": "queued"}]
    ran = gnt("job", "cancel", "--pending")
    assert ran.status == 13
    assert "not confirmed" in ran.err
    assert not master.called("CancelJob")
    assert gnt("job", "cancel", "--pending", "-f").out == "Job 3 canceled\n"
    assert gnt("job", "cancel", "--pending", "3").status == 1
    master.rows["job"] = []
    assert gnt("job", "cancel", "--queued").err == "Failure: no job is queued  [wrong_input]\n"


def test_jobs_that_run_are_ended_only_with_kill(gnt: Run, master: FakeMaster) -> None:
    """--running names them all; a plain cancel of what runs is refused before anything is asked."""
    master.rows["job"] = [{"id": 3, "summary": ["X"], "status": "running"}]
    ran = gnt("job", "cancel", "-f", "--running")
    assert ran.err == (
        "Failure: a job that runs is not canceled  [wrong_input]\n  --kill --yes-do-it ends it all the same\n"
    )
    assert not master.requests
    assert gnt("job", "cancel", "-f", "--running", "--kill", "--yes-do-it").status == 0
    assert master.called("CancelJob") == [[3, True]]
    assert master.called("Query")[0][2] == ["|", ["=", "status", "running"]]
    master.answers["ChangeJobPriority"] = lambda number, priority: [True, f"{number} {priority}"]
    assert gnt("job", "change-priority", "-f", "--running", "--priority=low").out == "3 10\n"


@pytest.mark.parametrize("status", ["queued", "waiting", "running"])
def test_jobs_of_one_status_are_listed(gnt: Run, master: FakeMaster, status: str) -> None:
    """One option for each."""
    assert gnt("job", "list", f"--{status}").status == 0
    assert master.called("Query")[0][2] == ["|", ["=", "status", status]]


def test_a_delay_takes_the_locks_of_its_nodes(gnt: Run, master: FakeMaster) -> None:
    """So that locks can be tried out; -l goes without, as the opcode does by itself."""
    gnt("debug", "delay", "-n", "node2", "1")
    gnt("debug", "delay", "-l", "-n", "node2", "1")
    assert [op["no_locks"] for op in master.opcodes()] == [False, True]


def test_a_delay_is_a_job(gnt: Run, master: FakeMaster) -> None:
    """The opcode says how long and where, with who asked."""
    master.plans = [Job(log=("zzz",))]
    ran = gnt("debug", "delay", "--reason", "because", "--priority=high", "-n", "node2", "--no-master", "0.5")
    assert (ran.status, ran.out) == (0, "Tue Nov 14 22:13:21 2023 zzz\n")
    op = master.opcode()
    assert (op["OP_ID"], op["duration"], op["on_nodes"], op["on_master"]) == ("OP_TEST_DELAY", 0.5, ["node2"], False)
    assert op["priority"] == -10
    assert [entry[:2] for entry in op["reason"]] == [["gnt:user", "because"], ["gnt:client:gnt-debug", "delay"]]


def test_a_job_is_not_waited_for(gnt: Run, master: FakeMaster) -> None:
    """--submit prints the number on standard error; as JSON it is on standard output."""
    ran = gnt("debug", "delay", "--submit", "1")
    assert ran == (0, "", "JobID: 11\n")
    assert json.loads(gnt("debug", "delay", "--submit", "--json", "1").out)["job"] == 12
    assert not master.called("WaitForJobChange")


def test_the_number_comes_first_if_asked_for(gnt: Run, master: FakeMaster) -> None:
    """--print-jobid prints the bare number, then goes on."""
    master.plans = [Job(log=("a",))]
    assert gnt("debug", "delay", "--print-jobid", "1").out.splitlines()[0] == "11"


def test_a_failed_job_is_an_error(gnt: Run, master: FakeMaster) -> None:
    """The text of the failed opcode, with its code; one that is not the first is a partial failure."""
    master.plans = [Job(["OpPrereqError", ["node9 is not a node", "unknown_entity"]], status="error")] * 2
    ran = gnt("debug", "delay", "1")
    assert ran == (1, "", "Failure: node9 is not a node  [unknown_entity]\n")
    ran = gnt("debug", "delay", "--json", "1")
    assert (ran.status, ran.out) == (1, "")
    error = json.loads(ran.err)["error"]
    assert (error["code"], error["job"]) == ("unknown_entity", 12)


@pytest.mark.parametrize(
    ("text", "shown", "hint"),
    [
        ("no such node (known: a (old) b)", "no such node", "known: a (old) b"),
        ("no such node", "no such node", ""),
        ("(all)", "(all)", ""),
        ("call f(x)", "call f(x)", ""),
        ("unbalanced)", "unbalanced)", ""),
        ("empty ()", "empty ()", ""),
    ],
)
def test_hints_of_results_have_their_own_line(gnt: Run, master: FakeMaster, text: str, shown: str, hint: str) -> None:
    """A refusal in a job's result carries its hint in parentheses at the end."""
    master.plans = [Job(["OpPrereqError", [text, "unknown_entity"]], status="error")]
    below = f"  {hint}\n" if hint else ""
    assert gnt("debug", "delay", "1").err == f"Failure: {shown}  [unknown_entity]\n{below}"


def test_the_remedy_of_a_failure_has_its_own_line(gnt: Run, master: FakeMaster) -> None:
    """As that of a refusal; what was undone is said before it."""
    text = "disk_create on node1: Ceph does not answer; undone: disk_create on node2 (ceph status)"
    master.plans = [Job(["OpExecError", [text]], status="error")]
    assert gnt("debug", "delay", "1").err == (
        "Failure: disk_create on node1: Ceph does not answer; undone: disk_create on node2\n  ceph status\n"
    )


def test_a_job_that_was_canceled_is_an_error(gnt: Run, master: FakeMaster) -> None:
    """Also when somebody else canceled it."""
    master.plans = [Job(None, status="canceled")]
    assert gnt("debug", "delay", "1") == (1, "", "Failure: job 11 was canceled\n")


def test_results_are_objects_for_programs(gnt: Run, master: FakeMaster) -> None:
    """Messages go to standard error, the result to standard output."""
    master.plans = [Job({"x": 1}, log=("busy",))]
    ran = gnt("debug", "delay", "--json", "1")
    assert json.loads(ran.out) == {"job": 11, "status": "success", "result": {"x": 1}}
    assert ran.err == "Tue Nov 14 22:13:21 2023 busy\n"


def test_a_refused_submission_is_an_error(gnt: Run, master: FakeMaster) -> None:
    """What the master answers is what a person reads, hint included."""
    master.answers["SubmitJob"] = Refused("wrong_state", "the queue is closed", hint="open it")
    assert gnt("debug", "delay", "1").err == "Failure: the queue is closed  [wrong_state]\n  open it\n"


def test_a_master_that_restarts_is_waited_for(gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks while a job is waited for is made again; in the end it is said that the job goes on."""
    monkeypatch.setattr("gnt.cli.jobs.PAUSE", 0.0)
    wait = master.do_WaitForJobChange
    calls = 0

    def broken_twice(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in {2, 3}:
            raise ConnectionAbortedError
        return wait(*args)

    master.answers["WaitForJobChange"] = broken_twice
    ran = gnt("debug", "delay", "1")
    assert ran == (0, "", "The master daemon is away; waiting for it to come back\n")

    def broken(*_: Any) -> Any:
        raise ConnectionAbortedError

    master.answers["WaitForJobChange"] = broken
    ran = gnt("debug", "delay", "1")
    assert ran.status == 1
    assert ran.err.endswith("  the job may go on without us: gnt-job watch 12\n")


def _files(directory: Path) -> list[Path]:
    """Give two files with a job each."""
    paths = [directory / "one.json", directory / "two.json"]
    for path in paths:
        path.write_text('[{"OP_ID": "OP_TEST_DELAY", "duration": 1}]', encoding="utf-8")
    return paths


def test_several_jobs_are_not_lost_because_the_master_is_away(
    gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody says how they end, and where to ask is said; the master is waited for once, not for each of them."""
    monkeypatch.setattr("gnt.cli.jobs.PAUSE", 0.0)
    monkeypatch.setattr("gnt.cli.many.TRIES", 3)

    def broken(*_: Any) -> Any:
        raise ConnectionAbortedError

    master.answers["WaitForJobChange"] = broken
    ran = gnt("debug", "submit-job", *_files(tmp_path))
    assert ran.status == 1
    assert "was lost" not in ran.err
    one, two = (f"file {path}/0" for path in _files(tmp_path))
    assert f"Job 11 for {one}: nobody tells how it ends: " in ran.err
    assert "\n  the job may go on without us: gnt-job watch 11\n" in ran.err
    assert f"Job 12 for {two}: nobody tells how it ends: " in ran.err
    assert len(master.called("WaitForJobChange")) == 3 + 1
    told = gnt("debug", "submit-job", "--json", *_files(tmp_path))
    assert [job["job"] for job in json.loads(told.out)["jobs"]] == [13, 14]


def test_a_job_that_is_gone_is_lost(gnt: Run, master: FakeMaster, tmp_path: Path) -> None:
    """The master answers, and knows no such job."""
    master.answers["WaitForJobChange"] = JobLost("there is no job 11")
    ran = gnt("debug", "submit-job", *_files(tmp_path))
    assert f"Job 11 for file {_files(tmp_path)[0]}/0 was lost: there is no job 11\n" in ran.err


def test_a_master_that_moved_is_named(
    root: Path, gnt: Run, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the one that handed over: the job goes on elsewhere."""
    monkeypatch.setattr("gnt.cli.jobs.PAUSE", 0.0)

    def broken(*_: Any) -> Any:
        (root / "var/lib/ganeti/ssconf_master_node").write_text("node2\n", encoding="utf-8")
        raise ConnectionAbortedError

    master.answers["WaitForJobChange"] = broken
    ran = gnt("debug", "delay", "1")
    assert ran.status == 1
    assert ran.err == (
        "Failure: node2 is the master now, and goes on with the job  [environment_error]\n"
        "  on node2: gnt-job watch 11\n"
    )


def test_a_silent_queue_is_explained(gnt: Run, master: FakeMaster) -> None:
    """Once that it is queued, once that it waits."""
    answers = iter(
        [[["queued"], []], "nochange", "nochange", [["waiting"], []], "nochange", "nochange", [["success"], []]]
    )
    master.answers["WaitForJobChange"] = lambda *_: next(answers)
    ran = gnt("debug", "delay", "1")
    assert ran.err == ("job 11 is in the queue, other jobs go first\njob 11 waits for locks that other jobs hold\n")


def test_what_a_job_waits_for_is_said(gnt: Run, master: FakeMaster) -> None:
    """Locks, holders and the place in line, where the master tells them."""
    answers = iter([[["waiting"], []], "nochange", [["success"], []]])
    master.answers["WaitForJobChange"] = lambda *_: next(answers)
    master.answers["ExplainJob"] = lambda _: {"locks": ["node/n1"], "holders": ["Job3/I_X"], "place": 2, "jobs": [7]}
    ran = gnt("debug", "delay", "1")
    assert ran.err == "job 11 waits for node/n1, held by Job3/I_X and for the end of job 7 (place 2 in line)\n"


def test_who_goes_first_for_a_free_lock_is_said(gnt: Run, master: FakeMaster) -> None:
    """Nobody holds it: a job that stands before in line is what this one waits for."""
    answers = iter([[["waiting"], []], "nochange", [["success"], []]])
    master.answers["WaitForJobChange"] = lambda *_: next(answers)
    told = {"locks": ["node/n1"], "holders": [], "ahead": ["Job3/I_X"], "place": 2, "jobs": []}
    master.answers["ExplainJob"] = lambda _: told
    ran = gnt("debug", "delay", "1")
    assert ran.err == "job 11 waits for node/n1, which Job3/I_X asked for before (place 2 in line)\n"


def test_messages_do_not_command_the_terminal(gnt: Run, master: FakeMaster) -> None:
    """What a script printed is shown, its escape sequences are not carried out."""
    master.plans = [Job(log=("a\x1b[2Jb\ncä",))]
    assert gnt("debug", "delay", "1").out == "Tue Nov 14 22:13:21 2023 a\\x1b[2Jb\ncä\n"


def test_jobs_from_files(gnt: Run, master: FakeMaster, tmp_path: Path) -> None:
    """Each file is a job; the name says which; with --timing-stats the times follow."""
    file = tmp_path / "job.json"
    file.write_text(json.dumps([{"OP_ID": "OP_TEST_DELAY", "duration": 1}]), encoding="utf-8")
    master.plans = [Job(), Job(["OpExecError", ["broken"]], status="error")]
    ran = gnt("debug", "submit-job", "--job-repeat=2", "--op-repeat=3", file)
    assert ran.status == 1
    assert ran.out == (
        f"Submitted jobs 11, 12\nWaiting for job 11 for file {file}/0 ...\nWaiting for job 12 for file {file}/1 ...\n"
    )
    assert ran.err == f"Job 12 for file {file}/1 has failed: broken\n"
    assert len(master.opcodes()) == 6
    ran = gnt("debug", "submit-job", "--timing-stats", "--each", file)
    assert [line.split()[0] for line in ran.out.splitlines()] == [
        "Loading...",
        "Submitting...",
        "Executing...",
        "Waiting",
        "C:op",
        "C:job",
        "T:submit",
        "T:exec",
        "T:total",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not JSON"),
        ("{}", "does not hold a list of opcodes"),
        ("[]", "does not hold a list of opcodes"),
        ('["x"]', "[0]: "),
        ('[{"OP_ID": "OP_NOPE"}]', "[0]: $.OP_ID: no opcode 'OP_NOPE'"),
        ('[{"OP_ID": "OP_TEST_DELAY", "duration": "x"}]', "[0]: OP_TEST_DELAY: $.duration"),
        ("[" * 5000, "is not JSON"),
    ],
)
def test_bad_job_files_are_named(gnt: Run, master: FakeMaster, tmp_path: Path, text: str, said: str) -> None:
    """File, place and fault, in one line."""
    file = tmp_path / "job.json"
    file.write_text(text, encoding="utf-8")
    ran = gnt("debug", "submit-job", file)
    assert ran.status == 1
    assert str(file) in ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not master.requests
    assert "cannot read" in gnt("debug", "submit-job", tmp_path / "none").err


def test_a_lost_connection_is_said(gnt: Run, master: FakeMaster) -> None:
    """An error of the connection is one line too."""
    master.answers["WaitForJobChange"] = GntError("job_lost", "there is no job 11")
    assert gnt("debug", "delay", "1").err == "Error checking job status: there is no job 11\n"
