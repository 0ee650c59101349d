"""gnt-debug: exercise the machinery."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program, from_opcode, option
from gnt.cli.jobs import run_command
from gnt.cli.list_commands import LISTS
from gnt.cli.many import finish, wait_each
from gnt.cli.options import CHANGING, DRY_RUN, PLAN, PRIORITY, VERBOSE
from gnt.cli.plans import instead
from gnt.cli.terminal import say
from gnt.cli.values import parser_at_least, real
from gnt.model.errors import WRONG_INPUT, Refused

if TYPE_CHECKING:
    from gnt.opcodes.base import Opcode

DELAY: Final = "OP_TEST_DELAY"


def _delay(call: Call) -> int:
    try:
        duration = real(call.arguments[0])
    except ValueError as problem:
        raise Refused(WRONG_INPUT, f"seconds: {problem}") from None
    nodes = call.option("on_nodes", ())
    unlocked = bool(call.option("no_locks"))
    return run_command(call, call.opcode(DELAY, duration=duration, on_nodes=nodes, no_locks=unlocked))


def _submit_job(call: Call) -> int:
    timing = bool(call.option("timing_stats"))
    verbose = bool(call.option("verbose"))
    if timing:
        say("Loading...")
    jobs = [
        (f"file {name}/{number}", _load(call, name) * call.option("op_repeat", 1))
        for name in call.arguments
        for number in range(call.option("job_repeat", 1))
    ]
    begin = time.monotonic()
    if timing:
        say("Submitting...")
    answers: list[tuple[bool, int | str]] = []
    batches = [[job] for _, job in jobs] if call.option("each") else [[job for _, job in jobs]]
    instead(call, jobs)
    for batch in batches:
        answers += call.client.submit_many_jobs(batch)
    submitted = time.monotonic()
    if timing:
        say("Executing...")
    named = [(name, what) for (name, _), (_, what) in zip(jobs, answers, strict=True)]
    ends = wait_each(call, named, announce=verbose or not timing)
    ended = time.monotonic()
    if timing and not call.json:
        say(f"C:op     {sum(len(job) for _, job in jobs):4d}")
        say(f"C:job    {len(jobs):4d}")
        say(f"T:submit {submitted - begin:4.4f}")
        say(f"T:exec   {ended - submitted:4.4f}")
        say(f"T:total  {ended - begin:4.4f}")
    return finish(call, ends)


def _load(call: Call, name: str) -> list[Opcode]:
    """Read a job: a file with a JSON list of opcode objects."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is no UTF-8 text"
        raise Refused(WRONG_INPUT, f"cannot read {name}: {reason}") from None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise Refused(WRONG_INPUT, f"{name} is not JSON: {problem}") from None
    if not isinstance(value, list) or not value:
        raise Refused(WRONG_INPUT, f"{name} does not hold a list of opcodes")
    return [_decode(call, f"{name}[{number}]", item) for number, item in enumerate(value)]


def _decode(call: Call, where: str, item: Any) -> Opcode:
    from gnt.opcodes.registry import decode_opcode  # noqa: PLC0415  (lists need no opcodes)

    common = call.common_fields()
    try:
        if isinstance(item, dict):
            reason = [*(item.get("reason") or []), *common.pop("reason")]
            return decode_opcode({**item, **common, "reason": reason})
        return decode_opcode(item)
    except (Refused, TypeError) as problem:
        raise Refused(WRONG_INPUT, f"{where}: {problem}", hint=getattr(problem, "hint", "")) from None


_TIMES: Final = parser_at_least(1)

PROGRAM = Program(
    name="gnt-debug",
    help="exercise the machinery of the cluster",
    commands=(
        Command(
            name="delay",
            help="run a job that sleeps, on the master and on nodes",
            run=_delay,
            options=(
                option("-n", metavar="NODE", help="sleep on this node too", dest="on_nodes", repeat=True),
                from_opcode(DELAY, "on_master", "--no-master", help="do not sleep on the master"),
                from_opcode(DELAY, "repeat", "-r", "--repeat"),
                from_opcode(DELAY, "interruptible", "-i", "--interruptible"),
                option("-l", "--no-locks", help="take no locks of the nodes that it sleeps on"),
                *CHANGING,
            ),
            arguments=(Argument("seconds"),),
            text="It holds the locks of the nodes that it sleeps on, as an operation on them would.",
            examples=("gnt-debug delay 0.5", "gnt-debug delay --submit -n node2 30"),
        ),
        Command(
            name="submit-job",
            help="submit jobs that files describe, and wait for them",
            run=_submit_job,
            options=(
                option("--op-repeat", metavar="N", parse=_TIMES, help="repeat the opcodes of each job"),
                option("--job-repeat", metavar="N", parse=_TIMES, help="submit each job several times"),
                option("--timing-stats", help="say how long everything took"),
                option("--each", help="submit the jobs one by one"),
                VERBOSE,
                DRY_RUN,
                PLAN,
                PRIORITY,
            ),
            arguments=(Argument("file", 1, None, kind="file"),),
            text="Each file holds a JSON list of opcode objects with OP_ID; - reads standard input.",
            examples=(
                "gnt-debug submit-job --timing-stats jobs.json",
                "gnt-debug submit-job - <jobs.json",
            ),
        ),
        *LISTS["gnt-debug"],
    ),
    unsupported={
        **dict.fromkeys(("allocator", "iallocator"), "no allocator is run yet: name nodes with -n"),
        "test-jobqueue": "gnt-debug delay and submit-job make jobs of every kind",
        "wconfd": "there is no such daemon: gnt-debug locks shows the locks, gnt-job info who waits for which",
        "metad": "there is no such daemon",
        "test-osparams": "gnt-instance add --os-parameters-secret uses them in earnest",
    },
)
