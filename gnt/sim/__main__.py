"""`python -m gnt.sim`: tell stories to a simulated cluster, with faults or without."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from twisted.logger import globalLogBeginner

from gnt.sim.exhaust import Known, Outcome, chance, choose, exhaust, part, strike, survey
from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.seeds import run_seed, run_seeds
from gnt.sim.situations import Seen
from gnt.sim.story import Story, read_story
from gnt.sim.telling import USES

_STORIES = Path("tests/scenarios")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _run(arguments: argparse.Namespace) -> int:
    """Tell one story once, print its trace."""
    story = read_story(arguments.story)
    if arguments.rate:
        outcome = chance(story, arguments.seed, arguments.rate)
    else:
        outcome = strike(story, arguments.seed, Strike.parse(arguments.strike) if arguments.strike else None)
    for line in outcome.trace:
        _say(line)
    for problem in outcome.problems:
        _say(f"WRONG {problem}")
    return 1 if outcome.problems else 0


def _exhaust(arguments: argparse.Namespace) -> int:
    """Tell stories with one fault at each point."""
    stories = [read_story(path) for path in arguments.stories or sorted(_STORIES.glob("*.txt"))]
    known = None if arguments.each else Known()
    seen = Seen() if arguments.situations else None
    order = sorted(stories, key=lambda story: -len(story.steps))
    bad = [_exhaust_one(story, arguments, known, seen) for story in order]
    return 1 if any(bad) else 0


def _exhaust_one(story: Story, arguments: argparse.Namespace, known: Known | None, seen: Seen | None) -> bool:
    faults, alike = survey(story, arguments.seed)
    kinds = [Kind(name) for name in arguments.kind or Kind]
    strikes = choose(faults, kinds=kinds, only=[Fault(name) for name in arguments.fault or ()])
    if arguments.runs and seen is None:
        strikes = part(strikes, alike, arguments.runs)
    choice = seen.choose(alike.grouped(strikes), alike.situations, story.name) if seen is not None else None
    if choice is not None and arguments.runs:
        choice = choice.part(arguments.runs)
    points = {kind: len(texts) for kind, texts in faults.points.items()}
    _say(f"{story.name}: {len(strikes)} faults to fall")

    def progress(done: int, of: int, bad: int) -> None:
        if done % 200 == 0:
            _say(f"  {done} of {of}, {bad} went wrong")

    findings = exhaust(
        story,
        arguments.seed,
        strikes,
        points=points,
        processes=arguments.processes,
        tell_progress=progress,
        alike=None if arguments.each else alike,
        known=known,
        choice=choice,
    )
    for outcome in findings.bad[: arguments.show]:
        _say(f"{outcome.strike}\n    " + "\n    ".join(_short(problem) for problem in outcome.problems))
    for text, number in Counter(_kind_of(outcome) for outcome in findings.bad).most_common(20):
        _say(f"{number:5} times: {text}")
    _say(f"{story.name}: {findings.summary()}")
    return bool(findings.bad)


def _seed(arguments: argparse.Namespace) -> int:
    """Tell the story of one seed."""
    outcome = run_seed(arguments.seed)
    for line in outcome.trace:
        _say(line)
    for problem in outcome.problems:
        _say(f"WRONG {problem}")
    _say(outcome.summary())
    _say(_kinds(outcome.operations))
    return 1 if outcome.problems else 0


def _seeds(arguments: argparse.Namespace) -> int:
    """Run many seeds; name those that fail."""
    began, numbers = time.monotonic(), range(arguments.first, arguments.first + arguments.count)
    total, operations, bad = Counter[str](), Counter[str](), list[int]()
    for outcome in run_seeds(numbers, arguments.processes):
        total.update(outcome.happened)
        operations.update(outcome.operations)
        if arguments.each or outcome.problems:
            _say(outcome.summary())
        if outcome.problems:
            bad.append(outcome.seed)
            for problem in outcome.problems[:5]:
                _say(f"  WRONG {_short(problem)}")
            _say(f"  make simulate SEED={outcome.seed} tells what happened")
    _say(_kinds(operations))
    _say(
        f"{len(numbers)} seeds in {time.monotonic() - began:.0f} s: {sum(operations.values())} operations,"
        f" {total['fault']} faults, {total[Kind.COMMIT]} commits, {total[Kind.SEND]} calls; {len(bad)} failed"
    )
    if bad:
        _say(f"failed: {' '.join(map(str, sorted(bad)))}")
    return 1 if bad else 0


def _verbs(_arguments: argparse.Namespace) -> int:
    """Say which verbs a story may have."""
    for name in sorted(USES):
        _say(USES[name])
    return 0


def _kinds(operations: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(operations.items()))


def _short(problem: str) -> str:
    return problem if len(problem) < 600 else problem[:300] + " … " + problem[-300:]


def _kind_of(outcome: Outcome) -> str:
    assert outcome.strike is not None  # noqa: S101  (each run of a search has its strike)
    return f"{outcome.strike.kind} {outcome.strike.fault}: {_short(outcome.problems[0])[:160]}"


def main() -> int:
    """Run; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnt.sim", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    run = verbs.add_parser("run", help="tell one story and print what happened")
    run.add_argument("story", type=Path, nargs="?", default=_STORIES / "first_instance.txt")
    run.add_argument("--strike", help="one fault, for example 'commit 7: master dies after'")
    run.add_argument("--rate", type=float, default=0.0, help="let faults fall by chance, at this part of all points")
    run.set_defaults(do=_run)
    search = verbs.add_parser("exhaust", help="tell stories with one fault at each point where one may fall")
    search.add_argument("stories", type=Path, nargs="*")
    search.add_argument(
        "--runs",
        type=int,
        help="only so many in each story, evenly over them",
    )
    search.add_argument("--each", action="store_true", help="tell each to the end, those also that come to the same")
    search.add_argument("--situations", action="store_true", help="one in each situation, and some others")
    search.add_argument("--kind", action="append", choices=[kind.value for kind in Kind])
    search.add_argument("--fault", action="append", choices=[fault.value for fault in Fault if fault])
    search.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    search.add_argument("--show", type=int, default=10, help="how many runs that went wrong to tell of")
    search.set_defaults(do=_exhaust)
    seed = verbs.add_parser("seed", help="let chance decide what is done and what befalls; print what happened")
    seed.add_argument("seed", type=int)
    seed.set_defaults(do=_seed)
    seeds = verbs.add_parser("seeds", help="let chance decide many times; name the seeds that fail")
    seeds.add_argument("count", type=int)
    seeds.add_argument("--first", type=int, default=1)
    seeds.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    seeds.add_argument("--each", action="store_true", help="a line for each seed")
    seeds.set_defaults(do=_seeds)
    verbs.add_parser("verbs", help="say which verbs stories have").set_defaults(do=_verbs)
    for one in (run, search):
        one.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # What daemons log is in the trace; what they complain of when the world ends is not worth a line.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    status: int = arguments.do(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
