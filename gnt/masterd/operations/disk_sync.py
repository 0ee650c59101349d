"""Waiting until mirrored disks are in step, and telling how far they are: `spec/storage.md`, section 10.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gnt.masterd.awaiting import Verdict, watches
from gnt.masterd.plan import Await, on
from gnt.model.errors import Failed, GntError
from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskFacts
from gnt.wire.disk_calls import DiskState, DiskStates

IN_SYNC: Final = "in sync"

TRIES: Final = 10
"""Questions in a row that may stay without answer, and looks that may find a disk degraded that nobody syncs."""
TRY_AGAIN: Final = 6.0
LOOK_AGAIN: Final = 1.0
LONGEST: Final = 60.0
USUAL: Final = 5.0
"""Without an estimate, and while what is estimated rests on the first moments: a sync begins slowly."""


def await_sync(
    node: str, instance: str, disks: Sequence[DiskSpec], *, once: bool = False, again: bool = False
) -> Await:
    """Wait until disks (mirrored ones) are in step, seen from `node`; `once`: until they are at least on their way.

    `again`: another side was asked before and said so; the good news is told once.
    """
    named = [{"name": f"disk/{disk.index}", "size": disk.size} for disk in disks]
    arguments = {"instance": instance, "disks": named, "once": once, "again": again}
    return Await(on(node, DiskStates(disks=list(disks))), IN_SYNC, arguments)


@watches(IN_SYNC)
class SyncWatch:
    """Says when all disks are in step, and until then how far each is, how fast, and for how long still."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._instance: str = arguments["instance"]
        self._disks: list[dict[str, Any]] = arguments["disks"]
        self._once: bool = arguments["once"]
        self._again: bool = arguments["again"]
        self._misses = 0
        self._looks = 0
        self._began: float | None = None
        self._before: dict[str, tuple[float, float]] = {}

    def missed(self, error: GntError) -> Verdict:
        """Ask again for a while: a node that restarts its daemon goes on syncing."""
        self._misses += 1
        if self._misses < TRIES:
            return Verdict(again=TRY_AGAIN)
        text = f"the disks of {self._instance} cannot be watched: {error.text}"
        return Verdict(problem=Failed(text, code=error.code, hint=error.hint))

    def seen(self, answer: Sequence[DiskState], now: float) -> Verdict:
        """Judge how far all disks are."""
        said: list[str] = []
        waits: list[float] = []
        degraded: list[str] = []
        # An estimate is worth as much time as it was made from: the first ones may be wrong by a minute.
        trusted = USUAL if self._began is None else min(LONGEST, max(USUAL, now - self._began))
        for disk, state in zip(self._disks, answer, strict=True):
            if state.facts is None:
                why = state.problem or "it is not there"
                return self.missed(Failed(f"{disk['name']}: {why}"))
            facts = state.facts
            if facts.sync_percent is None:
                if facts.degraded:
                    degraded.append(disk["name"])
                continue
            said.append(self._progress(disk, facts.sync_percent, facts, now))
            waits.append(min(trusted, facts.estimated_time or USUAL))
        self._misses = 0
        if waits:
            self._looks = 0
            self._began = now if self._began is None else self._began
            return Verdict(said=said, again=None if self._once else max(LOOK_AGAIN, *waits))
        if not degraded:
            return Verdict(said=[] if self._again else [f" - INFO: Instance {self._instance}'s disks are in sync"])
        self._looks += 1
        if self._looks <= TRIES:
            return Verdict(again=LOOK_AGAIN)
        text = f"{', '.join(degraded)} of {self._instance} {'is' if len(degraded) == 1 else 'are'} degraded"
        problem = Failed(f"{text}, and no sync is under way", hint="gnt-instance activate-disks connects them")
        return Verdict(problem=problem)

    def _progress(self, disk: Mapping[str, Any], percent: float, facts: DiskFacts, now: float) -> str:
        """Say how far a disk is; its speed as the node knows it, else since the first look."""
        name, size, estimated = disk["name"], disk["size"], facts.estimated_time
        begin, first = self._before.setdefault(name, (now, percent))
        rate = facts.sync_speed
        if rate is None and now > begin and percent > first:
            rate = (percent - first) / 100 * size / (now - begin)
        speed = "" if rate is None else f" at {rate:.1f} MiB/s"
        left = f"{_duration(estimated)} remaining (estimated)" if estimated is not None else "no time estimate"
        return f" - INFO: - device {name}: {percent:.2f}% done{speed}, {left}"


def _duration(seconds: float) -> str:
    """Give a time for people: `1h 2m 3s`."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    shown = [f"{number}{unit}" for number, unit in parts if number]
    return " ".join(shown) or "0s"
