"""What disks as logical volumes cost over the bare commands: create, assemble, remove, one disk and four side by side.

As root, on loop devices without device-mapper (the metadata only, so the commands are at their quickest and the
overhead at its largest), or in the volume group that GNT_TEST_VG names. Prints the medians in milliseconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

sys.path.insert(0, str(Path(__file__).parents[1]))

from gnt.daemon.pools import ThreadPools
from gnt.daemon.runtime import Runtime
from gnt.model.layout import Layout
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.handler import Place
from gnt.noded.processes import Processes
from gnt.noded.storage.plain import LogicalVolumes
from gnt.noded.storage.programs import Programs
from tests.noded.storage.lvm_room import LvmRoom, loop_group, real_group

ROUNDS = int(os.environ.get("ROUNDS", "15"))
GOAL = 15.0
PAUSE = 0.4


def main() -> None:
    """Measure, and say whether the goal is met."""
    with tempfile.TemporaryDirectory() as kept, group_in(Path(kept)) as room:
        turning: Any = reactor
        Deferred.fromCoroutine(measure(Path(kept), room)).addErrback(lambda failure: failure.printTraceback()).addBoth(
            lambda _: turning.stop()
        )
        turning.run()


@contextmanager
def group_in(place: Path) -> Iterator[LvmRoom]:
    """Give a volume group."""
    real = real_group()
    if real is not None:
        yield real
    else:
        yield from loop_group(place, "gnt-bench")


async def measure(root: Path, room: LvmRoom) -> None:
    """Take turns between the bare commands and the template, so that both see the same machine."""
    turning: Any = reactor
    pools: Any = ThreadPools(reactor)
    runtime = Runtime(clock=turning, pools=pools, random=__import__("random").SystemRandom())
    place = Place(layout=Layout(root), name="bench", runtime=runtime)
    processes: Any = Processes(place, turning, spares=4)
    template = LogicalVolumes(place, Programs(processes, {**os.environ, **room.environ}))
    bare, ours = Bare(room), Ours(template, room)
    times: dict[str, list[float]] = {}
    for number in range(ROUNDS + 1):
        for name, work in (("bare", bare), ("ours", ours)):
            for step in ("create", "assemble", "remove"):
                # The gates for the next programs start meanwhile, on whosever time that would be.
                await runtime.sleep(PAUSE)
                begun = time.perf_counter()
                await getattr(work, step)(number)
                if number:
                    times.setdefault(f"{step} {name}", []).append((time.perf_counter() - begun) * 1000)
        begun = time.perf_counter()
        await four(ours.create, number)
        if number:
            times.setdefault("four side by side ours", []).append((time.perf_counter() - begun) * 1000)
        await four(ours.remove, number)
    report({name: statistics.median(found) for name, found in times.items()})
    await pools.stop()


def four(work: Callable[[int], Awaitable[None]], number: int) -> Deferred[Any]:
    """Do something with four disks at once."""

    async def one(which: int) -> None:
        await work(1000 + number * 4 + which)

    return gatherResults([Deferred.fromCoroutine(one(which)) for which in range(4)])


class Bare:
    """The commands of spec/storage.md by themselves: what an administrator would type."""

    def __init__(self, room: LvmRoom) -> None:
        self._room = room

    def _run(self, *argv: str) -> None:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **self._room.environ}
        subprocess.run(argv, env=env, check=True, capture_output=True)

    async def create(self, number: int) -> None:
        """Look for room, and make a volume."""
        room = self._room
        self._run("pvs", "--noheadings", "-opv_name,vg_name,pv_free,pv_attr,pv_size")
        self._run("lvcreate", "-Wn", "-L8m", f"-nbare{number}", "-i1", "--addtag", "x", room.group)

    async def assemble(self, number: int) -> None:
        """Look at the volume, and activate it."""
        self._run("lvs", "--noheadings", "-ovg_name,lv_name,lv_attr", f"{self._room.group}/bare{number}")
        self._run("lvchange", "-ay", f"{self._room.group}/bare{number}")

    async def remove(self, number: int) -> None:
        """Remove the volume."""
        self._run("lvremove", "-f", f"{self._room.group}/bare{number}")


class Ours:
    """The same by the template."""

    def __init__(self, template: LogicalVolumes, room: LvmRoom) -> None:
        self._template = template
        self._room = room

    def _disk(self, number: int) -> DiskSpec:
        name = (self._room.group, f"ours{number}")
        return DiskSpec(index=0, uuid=f"u{number}", dev_type=DiskTemplate.PLAIN, size=8, logical_id=name)

    async def create(self, number: int) -> None:
        """Make a disk."""
        await self._template.create(self._disk(number))

    async def assemble(self, number: int) -> None:
        """Assemble it."""
        await self._template.assemble(self._disk(number), True)

    async def remove(self, number: int) -> None:
        """Remove it."""
        await self._template.remove(self._disk(number))


def report(medians: dict[str, float]) -> None:
    """Print a table."""
    for step in ("create", "assemble", "remove"):
        bare, ours = medians[f"{step} bare"], medians[f"{step} ours"]
        over = 100 * (ours - bare) / bare
        met = "met" if over <= GOAL else "MISSED"
        print(f"{step:9} bare {bare:7.1f} ms   ours {ours:7.1f} ms   over {over:6.1f} %   goal {GOAL:.0f} % {met}")
    alone, together = medians["create ours"], medians["four side by side ours"]
    print(f"four disks made side by side {together:7.1f} ms, one {alone:7.1f} ms")


if __name__ == "__main__":
    main()
