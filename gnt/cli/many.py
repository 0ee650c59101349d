"""Several jobs at once: commands about many instances, and opcodes that answer with jobs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gnt.cli.call import Call
from gnt.cli.failures import FAILURE, OK, as_json
from gnt.cli.jobs import AWAY, TRIES, Ended, json_of, line_writer, wait
from gnt.cli.plans import instead
from gnt.cli.terminal import note, say
from gnt.model.errors import GntError, JobLost

if TYPE_CHECKING:
    from gnt.opcodes.base import Opcode

_UNTOLD: Final = "nobody tells how it ends"

Named = tuple[str, int | str]
"""A name with the number of its job, or with why there is no job."""


def run_each(call: Call, jobs: Sequence[tuple[str, Opcode]]) -> int:
    """Submit a job for each name, wait for all, and give the exit status: failure if any failed."""
    instead(call, [(name, [opcode]) for name, opcode in jobs])
    named = _submitted(call, jobs)
    if call.option("submit"):
        return _say_submitted(call, named)
    return finish(call, wait_each(call, named, announce=True))


def submit_each(call: Call, jobs: Sequence[tuple[str, Opcode]]) -> list[dict[str, Any]]:
    """Submit a job for each name and wait for all; give the JSON form of each end."""
    return wait_each(call, _submitted(call, jobs), announce=True)


def _submitted(call: Call, jobs: Sequence[tuple[str, Opcode]]) -> list[Named]:
    answers = call.client.submit_many_jobs([[opcode] for _, opcode in jobs]) if jobs else []
    return [(name, what) for (name, _), (_, what) in zip(jobs, answers, strict=True)]


def _say_submitted(call: Call, named: Sequence[Named]) -> int:
    failed = [(name, why) for name, why in named if isinstance(why, str)]
    if call.json:
        started = [{"name": name, "job": job, "status": "submitted"} for name, job in named if isinstance(job, int)]
        refused = [{"name": name, "job": None, "status": "refused", "error": _refusal(why)} for name, why in failed]
        call.print_json({"jobs": [*started, *refused]})
    else:
        for name, job in named:
            if isinstance(job, int):
                say(f"{job}: {name}")
            else:
                note(f"Failure for {name}: {job}")
    return FAILURE if failed else OK


def _refusal(why: str) -> dict[str, Any]:
    return {"code": "not_submitted", "text": why, "hint": ""}


def wait_each(call: Call, named: Sequence[Named], *, announce: bool) -> list[dict[str, Any]]:
    """Wait for jobs one after the other, saying how each ends; give the JSON form of each end."""
    numbers = [job for _, job in named if isinstance(job, int)]
    show = line_writer(call)
    if announce and len(numbers) > 1:
        show(f"Submitted jobs {', '.join(map(str, numbers))}")
    if call.option("print_jobid") and not call.json:
        for number in numbers:
            say(str(number))
    ends: list[dict[str, Any]] = []
    away = False
    for name, job in named:
        # A master that stayed away was waited for long enough the first time.
        ends.append(_wait_one(call, name, job, tries=1 if away else TRIES))
        away = away or ends[-1].get("error", {}).get("code") in AWAY
    return ends


def _wait_one(call: Call, name: str, job: int | str, tries: int) -> dict[str, Any]:
    if isinstance(job, str):
        note(f"Failed to submit job for {name}: {job}")
        return {"name": name, "job": None, "status": "refused", "result": None, "error": _refusal(job)}
    show = line_writer(call)
    show(f"Waiting for job {job} for {name} ..." if name else f"Waiting for job {job} ...")
    try:
        ended = wait(call, job, name=name, show=show, tries=tries)
    except GntError as problem:
        whose = f"Job {job} for {name}" if name else f"Job {job}"
        note(f"{whose} was lost: {problem}" if isinstance(problem, JobLost) else f"{whose}: {_UNTOLD}: {problem}")
        for line in problem.hint.splitlines():
            note(f"  {line}")
        return {"name": name, "job": job, "status": None, "result": None, "error": as_json(problem)}
    return {"name": name, **_explained(ended, name)}


def _explained(ended: Ended, name: str) -> dict[str, Any]:
    failure = ended.failure()
    if failure is None:
        return json_of(ended)
    whose = f" for {name}" if name else ""
    note(
        "\n".join(
            [f"Job {ended.job}{whose} has failed: {failure}", *(f"  {line}" for line in failure.hint.splitlines())]
        )
    )
    return {**json_of(ended), "error": as_json(failure)}


def finish(call: Call, ends: Sequence[dict[str, Any]]) -> int:
    """Print the ends of jobs for programs, and give the exit status."""
    if call.json:
        call.print_json({"jobs": list(ends)})
    return FAILURE if any(end["status"] != "success" for end in ends) else OK


def jobs_of(result: Any) -> list[Named] | None:
    """Give the jobs that an opcode answered with, or None if it did not."""
    listed = result.get("jobs") if isinstance(result, dict) else None
    if not isinstance(listed, list):
        return None
    # Each item is [whether it was submitted, its number or the reason].
    return [("", int(what) if done else str(what)) for done, what in listed]
