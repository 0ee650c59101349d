"""What disks as logical volumes cost over the bare commands, and what many of them cost together.

Create, assemble and remove, one disk and four side by side; the disks of 200 instances assembled as after the start of
a node; 1,000 found by one look. As root, on loop devices without device-mapper (the metadata only, so the commands are
at their quickest and the overhead at its largest), or in the volume group that GNT_TEST_VG names, which must be empty
and is empty afterwards. Prints medians in milliseconds.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

sys.path.insert(0, str(Path(__file__).parents[1]))

from gnt.daemon.pools import ThreadPools
from gnt.daemon.runtime import Runtime
from gnt.model.layout import Layout
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec
from gnt.noded.handler import Place
from gnt.noded.processes import Processes
from gnt.noded.service import SPARE_GATES
from gnt.noded.storage.plain import LogicalVolumes
from gnt.noded.storage.programs import Programs
from tests.noded.storage.lvm_room import LvmRoom, loop_group, real_group

ROUNDS = int(os.environ.get("ROUNDS", "15"))
GOAL = 15.0
PAUSE = 0.4
SIDE_BY_SIDE = 4
STEPS = ("create", "assemble", "remove")
INSTANCES = int(os.environ.get("INSTANCES", "200"))
# As many as run at once for a master whose jobs activate them.
JOBS = 20
VOLUMES = int(os.environ.get("VOLUMES", "1000"))


def main() -> None:
    """Measure, and say whether the goals are met."""
    with tempfile.TemporaryDirectory() as kept, group_in(Path(kept)) as room:
        turning: Any = reactor
        failures: list[Any] = []
        Deferred.fromCoroutine(measure(Path(kept), room)).addErrback(failures.append).addBoth(lambda _: turning.stop())
        turning.run()
        if failures:
            failures[0].raiseException()


@contextmanager
def group_in(place: Path) -> Iterator[LvmRoom]:
    """Give a volume group."""
    real = real_group()
    if real is not None:
        yield real
    else:
        yield from loop_group(place, "gnt-bench", size=8192)


async def measure(root: Path, room: LvmRoom) -> None:
    """Measure all, and print it."""
    turning: Any = reactor
    pools: Any = ThreadPools(reactor)
    runtime = Runtime(clock=turning, pools=pools, random=random.SystemRandom())
    place = Place(layout=Layout(root), name="bench", runtime=runtime)
    processes: Any = Processes(place, turning, spares=SPARE_GATES)
    try:
        bench = Bench(room, place, Counted(processes))
        await bench.steps()
        await bench.start_of_a_node()
        await bench.scan()
    finally:
        processes.stop()
        await pools.stop()


class Bench:
    """Takes turns between the bare commands and the template, so that both see the same machine."""

    def __init__(self, room: LvmRoom, place: Place, runs: Counted) -> None:
        self._room = room
        self._runtime = place.runtime
        self._runs = runs
        template = LogicalVolumes(place, Programs(runs, {**os.environ, **room.environ}))
        self._both = (("bare", Bare(room)), ("ours", Ours(template, room)))
        self._times: dict[str, list[float]] = {}

    async def steps(self) -> None:
        """Create, assemble and remove, one disk and four side by side."""
        for turn in range(ROUNDS + 1):
            several = range(1000 + turn * SIDE_BY_SIDE, 1000 + (turn + 1) * SIDE_BY_SIDE)
            for kind, numbers in (("one", range(turn, turn + 1)), ("four", several)):
                for step in STEPS:
                    for name, whose in self._both:
                        await self._timed(f"{kind} {step} {name}", whose.all(step, numbers), counts=turn > 0)
        for work in (f"{kind} {step}" for kind in ("one", "four") for step in STEPS):
            bare, ours, over = self._compared(work)
            met = "met" if over <= GOAL else "MISSED"
            print(f"{work:13} bare {bare:7.1f} ms   ours {ours:7.1f} ms   over {over:6.1f} %   goal {GOAL:.0f} % {met}")

    async def start_of_a_node(self) -> None:
        """Assemble the disks of many instances, none of which is active."""
        fill(self._room, INSTANCES)
        for _ in range(2):
            for name, whose in self._both:
                if self._room.activates:
                    self._room.run("lvchange", "-an", self._room.group)
                self._runs.names.clear()
                await self._timed(f"many {name}", whose.all("assemble", range(INSTANCES), JOBS), counts=True)
        bare, ours, over = self._compared("many")
        print(f"{INSTANCES} disks assembled, {JOBS} at once: bare {bare:.0f} ms   ours {ours:.0f} ms", end="   ")
        print(f"over {over:.1f} %   in {len(self._runs.names)} commands")
        self._room.clear()

    async def scan(self) -> None:
        """Find very many disks by one look."""
        fill(self._room, VOLUMES)
        for turn in range(4):
            for name, whose in self._both:
                self._runs.names.clear()
                await self._timed(f"scan {name}", whose.scan(VOLUMES), counts=turn > 0)
        bare, ours, _ = self._compared("scan")
        names = " ".join(self._runs.names)
        print(f"{VOLUMES} volumes found: bare {bare:.0f} ms   ours {ours:.0f} ms   in {len(self._runs.names)}: {names}")
        self._room.clear()

    async def _timed(self, name: str, work: Awaitable[Any], *, counts: bool) -> None:
        # The gates for the next programs start meanwhile, on whosever time that would be.
        await self._runtime.sleep(PAUSE)
        begun = time.perf_counter()
        await work
        if counts:
            self._times.setdefault(name, []).append((time.perf_counter() - begun) * 1000)

    def _compared(self, work: str) -> tuple[float, float, float]:
        """Give both medians in milliseconds, and by how many percent ours is longer."""
        bare, ours = (statistics.median(self._times[f"{work} {name}"]) for name in ("bare", "ours"))
        return bare, ours, 100 * (ours - bare) / bare


def fill(room: LvmRoom, count: int) -> None:
    """Have so many volumes of one extent each, from a description: to make them one by one would take minutes."""
    with tempfile.TemporaryDirectory() as place:
        backup = Path(place, "backup")
        room.run("vgcfgbackup", "-f", str(backup), room.group)
        # The group is a section, without any for volumes while it has none; its end is the end of the description.
        group = backup.read_text().rstrip().removesuffix("}")
        volumes = "".join(_described(number) for number in range(count))
        backup.write_text(f"{group}logical_volumes {{\n{volumes}}}\n}}\n")
        room.run("vgcfgrestore", "-y", "-f", str(backup), room.group)


def _described(number: int) -> str:
    uuid = f"{number:06d}-0000-0000-0000-0000-0000-000000"
    return (
        f'ours{number} {{\nid = "{uuid}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
        f'tags = ["gnt.disk.u{number}"]\nsegment_count = 1\nsegment1 {{\nstart_extent = 0\nextent_count = 1\n'
        f'type = "striped"\nstripe_count = 1\nstripes = [\n"pv0", {number}\n]\n}}\n}}\n'
    )


class Counted:
    """Notes the names of the programs that are run."""

    def __init__(self, processes: Any) -> None:
        self._processes = processes
        self.names: list[str] = []

    def run(self, argv: Sequence[str], **options: Any) -> Any:
        """Run a program."""
        self.names.append(argv[0])
        return self._processes.run(argv, **options)


class Bare:
    """The commands of spec/storage.md by themselves: what an administrator would type."""

    def __init__(self, room: LvmRoom) -> None:
        self._room = room

    def _run(self, *argv: str) -> None:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **self._room.environ}
        subprocess.run(argv, env=env, check=True, capture_output=True)

    async def all(self, step: str, numbers: Sequence[int], at_once: int = SIDE_BY_SIDE) -> None:
        """Do a step with disks, some at once."""
        name = "ours" if at_once == JOBS else "bare"
        if len(numbers) == 1:
            getattr(self, step)(f"{name}{numbers[0]}")
            return
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(getattr(self, step), [f"{name}{number}" for number in numbers]))

    def create(self, name: str) -> None:
        """Look for room, and make a volume."""
        self._run("pvs", "--noheadings", "-opv_name,vg_name,pv_free,pv_attr,pv_size")
        self._run("lvcreate", "-Wn", "-L8m", f"-n{name}", "-i1", "--addtag", "x", self._room.group)

    def assemble(self, name: str) -> None:
        """Look at the volume, and activate it."""
        self._run("lvs", "--noheadings", "-ovg_name,lv_name,lv_attr", f"{self._room.group}/{name}")
        self._run("lvchange", "-ay", f"{self._room.group}/{name}")

    def remove(self, name: str) -> None:
        """Remove the volume."""
        self._run("lvremove", "-f", f"{self._room.group}/{name}")

    async def scan(self, count: int) -> None:
        """List all volumes."""
        del count
        self._run("lvs", "--noheadings", "-ovg_name,lv_name,lv_size,lv_attr,lv_tags", self._room.group)


class Ours:
    """The same by the template."""

    def __init__(self, template: LogicalVolumes, room: LvmRoom) -> None:
        self._template = template
        self._room = room

    def _disk(self, number: int) -> DiskSpec:
        name = (self._room.group, f"ours{number}")
        return DiskSpec(index=0, uuid=f"u{number}", dev_type=DiskTemplate.PLAIN, size=8, logical_id=name)

    async def all(self, step: str, numbers: Sequence[int], at_once: int = SIDE_BY_SIDE) -> None:
        """Do a step with disks, some at once."""
        turns = DeferredSemaphore(at_once)
        # As for the first in a while: nothing is remembered of the room.
        self._template.space.forget(self._room.group)
        steps: dict[str, Callable[[DiskSpec], Awaitable[Any]]] = {
            "create": self._template.create,
            "assemble": lambda disk: self._template.assemble(disk, True),
            "remove": self._template.remove,
        }

        def one(number: int) -> Deferred[Any]:
            return turns.run(lambda: Deferred.fromCoroutine(_doing(steps[step](self._disk(number)))))

        await gatherResults([one(number) for number in numbers], consumeErrors=True)

    async def scan(self, count: int) -> None:
        """Find all disks."""
        states = await self._template.find_many([self._disk(number) for number in range(count)])
        assert all(state.facts is not None for state in states)


async def _doing(work: Awaitable[Any]) -> Any:
    return await work


if __name__ == "__main__":
    main()
