"""Faults that are put into the house, one at a time, to see whether the simulator finds them.

Each says which lines are replaced by which, where a search is made for it, and what the checkers must say there. A
`before` stands exactly once in its file: a change of the code that moves it away fails a test, and the fault is then
put into the new code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Edit:
    """Lines of a file, and what stands there in the mutant."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutant:
    """A fault: its edits, the words after `python -m gnt.sim` that find it, and a part of what is said then."""

    name: str
    edits: tuple[Edit, ...]
    search: tuple[str, ...]
    found: str


_ENGINE: Final = "gnt/masterd/engine.py"
_CALLS: Final = "gnt/noded/calls.py"
_DATABASE: Final = "gnt/store/database.py"

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "no undo",
        (
            Edit(
                "gnt/masterd/segments.py",
                "undo = StoredCall.of(step.undo) if step.undo is not None else None",
                "undo = None",
            ),
        ),
        ("exhaust", "tests/scenarios/first_instance.txt", "--kind", "send", "--fault", "master dies before"),
        "a file without an owner",
    ),
    Mutant(
        "undo registered after its step",
        (
            Edit(
                _ENGINE,
                "        if segment.reserve or any(True for _ in segment.doings()):\n"
                "            await self._open(segment, rest)\n"
                "        for group in segment.groups:\n",
                "        for group in segment.groups:\n",
            ),
            Edit(
                _ENGINE,
                "        if segment.keep or segment.forget:\n            if has_node(",
                "        if segment.reserve or any(True for _ in segment.doings()):\n"
                "            await self._open(segment, rest)\n"
                "        if segment.keep or segment.forget:\n            if has_node(",
            ),
        ),
        ("exhaust", "tests/scenarios/first_instance.txt", "--kind", "send", "--fault", "master dies before"),
        "a file without an owner",
    ),
    Mutant(
        "early acknowledgement",
        (
            Edit(
                "gnt/masterd/candidates.py",
                "return min(mine, agreed({**self.matched, self._me: mine}, voters))",
                "return mine",
            ),
        ),
        ("run", "tests/scenarios/first_instance.txt"),
        "was acknowledged, and of",
    ),
    Mutant(
        "fence without waiting",
        (Edit(_CALLS, "        await DeferredList(answers)\n        if self._on_fence", "        if self._on_fence"),),
        ("exhaust", "tests/scenarios/first_instance.txt", "--kind", "arrival"),
        "after it promised",
    ),
    Mutant(
        "call table forgotten",
        (
            Edit(
                "gnt/noded/call_table.py",
                "        self.known = {one for (one,) in connection.execute(",
                '        connection.execute("DELETE FROM calls")\n'
                "        self.known = {one for (one,) in connection.execute(",
            ),
        ),
        ("exhaust", "tests/scenarios/first_instance.txt", "--kind", "arrival"),
        "ran the script of call",
    ),
    Mutant(
        "lock freed early",
        (
            Edit(
                "gnt/masterd/jobs/processor.py",
                "            return await self._engaged(live, Run(self._queue, live, index, op, held), operation)\n",
                "            held.release()\n"
                "            return await self._engaged(live, Run(self._queue, live, index, op, held), operation)\n",
            ),
        ),
        ("run", "tests/scenarios/first_instance.txt"),
        "lock",
    ),
    Mutant(
        "recovery without locks",
        (
            Edit(
                "gnt/masterd/jobs/processor.py",
                "locks = Locks(frozenset(stored)) if isinstance(stored, tuple) else Locks()",
                "locks = Locks()",
            ),
        ),
        ("exhaust", "tests/scenarios/first_instance.txt", "--kind", "send", "--fault", "master dies after"),
        "lock",
    ),
)
