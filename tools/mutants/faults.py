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


_COURSE: Final = "gnt/masterd/course.py"
_PROCESSOR: Final = "gnt/masterd/jobs/processor.py"
_JOURNAL: Final = "gnt/masterd/journal.py"
_CALLS: Final = "gnt/noded/calls.py"
_CALL_TABLE: Final = "gnt/noded/call_table.py"
_DATABASE: Final = "gnt/store/database.py"
_STORIES: Final = "tests/scenarios"
_FIRST_INSTANCE: Final = f"{_STORIES}/first_instance.txt"
_MIRRORED: Final = f"{_STORIES}/mirrored_instance.txt"

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
        ("exhaust", _FIRST_INSTANCE, "--kind", "send", "--fault", "master dies before"),
        "a file without an owner",
    ),
    Mutant(
        "undo registered after its step",
        (
            Edit(
                _COURSE,
                "        if segment.reserve or any(True for _ in segment.doings()):\n"
                "            await self._open(segment, rest, last=not more)\n"
                "        for group in segment.groups:\n",
                "        for group in segment.groups:\n",
            ),
            Edit(
                _COURSE,
                "        if segment.keep or segment.forget:\n            if has_node(",
                "        if segment.reserve or any(True for _ in segment.doings()):\n"
                "            await self._open(segment, rest, last=not more)\n"
                "        if segment.keep or segment.forget:\n            if has_node(",
            ),
        ),
        ("exhaust", _FIRST_INSTANCE, "--kind", "send", "--fault", "master dies before"),
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
        ("run", _FIRST_INSTANCE),
        "was acknowledged, and of",
    ),
    Mutant(
        "epoch ignored by a node",
        (
            Edit(
                _CALLS,
                "return epoch is not None and epoch.number < self._promised.number",
                "return False",
            ),
        ),
        ("exhaust", _FIRST_INSTANCE, "--kind", "send", "--fault", "held until there is a new master"),
        "after it promised",
    ),
    Mutant(
        "epoch ignored by a candidate",
        (
            Edit(
                _CALLS,
                "        if self._is_stale(request.epoch):\n            return self._stale(request.epoch)\n",
                '        if self._is_stale(request.epoch) and kind.tag() != "log_append":\n'
                "            return self._stale(request.epoch)\n",
            ),
            Edit(
                _CALLS,
                "        if self._is_stale(entry.epoch):\n            return _dropped(entry.call)\n        entry.begun",
                '        if self._is_stale(entry.epoch) and entry.call.tag() != "log_append":\n'
                "            return _dropped(entry.call)\n        entry.begun",
            ),
            Edit(
                _CALLS,
                "        if self._is_stale(entry.epoch) or entry.aborts.called:\n",
                "        appends = entry.call.tag() == 'log_append'\n"
                "        if (self._is_stale(entry.epoch) and not appends) or entry.aborts.called:\n",
            ),
            Edit(
                _DATABASE,
                "if epoch is not None and epoch.number < self.promised.number:",
                "if epoch is None and self.promised is None:",
            ),
        ),
        ("exhaust", _FIRST_INSTANCE, "--kind", "send", "--fault", "held until there is a new master"),
        "did log_append of epoch",
    ),
    Mutant(
        "epoch not durable",
        (
            Edit(
                _CALL_TABLE,
                "        self.promised = Epoch(number=found[0], node=found[1]) if found else START.epoch\n",
                "        self.promised = START.epoch\n",
            ),
        ),
        ("run", f"{_STORIES}/old_master_finds_a_node.txt"),
        "expect daemonless node1",
    ),
    Mutant(
        "call table forgotten",
        (
            Edit(
                _CALL_TABLE,
                "        self.known = {one for (one,) in connection.execute(",
                '        connection.execute("DELETE FROM calls")\n'
                "        self.known = {one for (one,) in connection.execute(",
            ),
        ),
        ("exhaust", f"{_STORIES}/node_restarts.txt", "--kind", "send", "--fault", "again much later"),
        "ran the script of call",
    ),
    Mutant(
        "no truncation",
        (
            Edit(
                _DATABASE,
                "                cut_after(self._connection, new[0].position.serial - 1)\n",
                "                first = new[0].position.serial\n"
                '                self._connection.execute("DELETE FROM log WHERE serial >= ?", (first,))\n',
            ),
        ),
        ("run", f"{_STORIES}/cut_off_master.txt"),
        "has the whole log and another content",
    ),
    Mutant(
        "lock freed early",
        (
            Edit(
                _PROCESSOR,
                "            live.step(jobs.locked(index, self._clock.seconds(), held.locks.in_order()))\n",
                "            live.step(jobs.locked(index, self._clock.seconds(), held.locks.in_order()))\n"
                "            held.release()\n",
            ),
        ),
        ("run", f"{_STORIES}/job_queue.txt"),
        "lock",
    ),
    Mutant(
        "old quorum after a demotion",
        (
            Edit(
                _JOURNAL,
                "            self._voters = items[0].voters\n",
                "            self._voters = self._voters | items[0].voters\n",
            ),
        ),
        ("run", f"{_STORIES}/demoted.txt"),
        "fails=no_majority: the answer is",
    ),
    Mutant(
        "fence without waiting",
        (
            Edit(_CALLS, "        await DeferredList(answers)\n        if self._on_fence", "        if self._on_fence"),
            Edit(
                _CALLS,
                "        return [await self._outcome_of(one) for one in sorted(ids)]\n",
                "        return [] if ids else []\n",
            ),
        ),
        ("run", f"{_STORIES}/recovery.txt"),
        "after it promised",
    ),
    Mutant(
        "recovery without locks",
        (
            Edit(
                _PROCESSOR,
                "locks = Locks(frozenset(stored)) if isinstance(stored, tuple) else Locks()",
                "locks = Locks()",
            ),
        ),
        ("run", f"{_STORIES}/recovery.txt"),
        "end next success",
    ),
    Mutant(
        "takeover unheard of",
        (
            Edit(
                "gnt/masterd/mastership.py",
                "if me != cluster.settings.master_node and not self._order.unheard:",
                "if me == cluster.settings.master_node and not self._order.unheard:",
            ),
            Edit("gnt/bootstrap/failover.py", "asked = [] if behind else [", "asked = [] and ["),
        ),
        ("run", f"{_STORIES}/unheard_candidate.txt"),
        "does not know it as a candidate",
    ),
    Mutant(
        "heard before it was acknowledged",
        (Edit("gnt/store/heard.py", "    if online <= set(told):\n", "    if online:\n"),),
        ("run", f"{_STORIES}/unheard_candidate.txt"),
        "does not know it as a candidate",
    ),
    Mutant(
        "the side that a guest left stays open",
        (
            Edit(
                "gnt/masterd/operations/mirror_steps.py",
                "        *side_by_side(Forward(on(left, DiskDemote(disk=disk.spec)), tolerant=True)",
                "        *side_by_side(Forward(on(here, DiskPromote(disk=disk.spec, shared=True)), tolerant=True)",
            ),
        ),
        ("run", _MIRRORED),
        "may still be written to on both sides",
    ),
    Mutant(
        "what was replaced goes before the new side is in step",
        (
            Edit(
                "gnt/masterd/operations/instance_replace.py",
                "        return (Release((Level.NODE,)), *wait_for_other_side(cluster, laid(cluster, instance)))\n",
                "        return ()\n",
            ),
        ),
        ("run", f"{_STORIES}/replaced_disks.txt"),
        "is removed before the new side is in step",
    ),
    Mutant(
        "the other side of a new mirror is not taken back",
        (
            Edit(
                "gnt/masterd/operations/disk_steps.py",
                "        Undoable(on(node, DiskCreate(disk=disk.spec)), undo=on(node, DiskRemove(disk=disk.spec)))\n"
                "        for disk in disks\n",
                "        Undoable(\n"
                "            on(node, DiskCreate(disk=disk.spec)),\n"
                "            undo=on(node, DiskRemove(disk=disk.spec)) if node == disk.primary else None,\n"
                "        )\n"
                "        for disk in disks\n",
            ),
        ),
        ("exhaust", _MIRRORED, "--kind", "command", "--fault", "node dies after"),
        "a volume without an owner on node3",
    ),
    Mutant(
        "a converted disk is not synced",
        (Edit("gnt/noded/disk_data.py", '["-n", "-p", "-W", "-t", "writeback"]', '["-n", "-p", "-W"]'),),
        ("run", f"{_STORIES}/power_after_copies.txt"),
        "is empty, and its guest had written to it",
    ),
    Mutant(
        "overtaken in line",
        (
            Edit(
                "gnt/masterd/jobs/locks.py",
                "            if not behind and self.free(waiter.part):\n",
                "            if self.free(waiter.part):\n",
            ),
        ),
        ("run", f"{_STORIES}/job_queue.txt"),
        "which waited first",
    ),
)
