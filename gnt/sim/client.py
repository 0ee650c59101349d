"""A client of the simulated cluster: asks the master as LUXI does, and remembers every acknowledgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gnt.sim.checkers.jobs import FINAL, JobsLog
from gnt.sim.clock import Stuck
from gnt.sim.lives import ConnectionLost
from gnt.sim.world import PATIENCE, SimWorld
from gnt.wire.luxi import Request

FOREVER: Final = 3 * 86400.0
"""Seconds within which every job must end once faults are over: a guest OS script alone may take a day."""
REST: Final = 130.0
"""Seconds in which everything that is tried again by itself has been tried."""
MOMENT: Final = 0.001
"""Seconds for which nobody waits any more."""
LOST: Final = 3 * 3600.0
"""Seconds in which every call that nobody answers has come to its deadline, and was tried again."""
POWER: Final = frozenset(
    f"OP_INSTANCE_{name}" for name in ("CREATE", "STARTUP", "REBOOT", "SHUTDOWN", "FAILOVER", "MIGRATE", "REMOVE")
)
"""Opcodes after whose good end a guest runs if it should: all others leave it as it was, with its disks or its name."""
STOPPING_OR_STARTING: Final = frozenset(f"OP_INSTANCE_{name}" for name in ("CREATE", "STARTUP", "SHUTDOWN", "REMOVE"))
"""Opcodes after whose good end a guest whose stop was killed runs no more, or should run."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended; `results` are what its opcodes gave, or their errors."""

    id: int
    status: str
    results: Any

    @property
    def good(self) -> bool:
        """Say whether it did what it should."""
        return self.status == "success"


@dataclass
class Client:
    """Blocks: each method lets simulated time pass until there is an answer.

    `acknowledged` are the jobs that were accepted, `asked` what they and those found later are, `ends` how they ended,
    `log` what the master's log has told of jobs so far. `killed` are jobs that somebody wanted killed.
    """

    world: SimWorld
    acknowledged: list[int] = field(default_factory=list)
    asked: dict[int, Sequence[dict[str, Any]]] = field(default_factory=dict)
    ends: dict[int, JobEnd] = field(default_factory=dict)
    log: JobsLog = field(default_factory=JobsLog)
    killed: set[int] = field(default_factory=set)

    def wait_for_master(self) -> None:
        """Wait until a master serves. Raises `Stuck`."""
        self.world.drive(lambda: self.world.master() is not None)

    def ask(self, method: str, *args: Any) -> Any:
        """Ask the master, waiting for one if there is none. Raises `ConnectionLost` if it dies over it, `GntError`."""
        self.wait_for_master()
        master = self.world.master()
        assert master is not None  # noqa: S101  (that was waited for)
        if method == "CancelJob" and args[1:] == (True,):
            self.killed.add(args[0])
        request = Request(method=method, args=msgspec.json.decode(msgspec.json.encode(list(args))))
        answer = self.world.forced(master.ask(request), within=FOREVER)
        return msgspec.json.decode(msgspec.json.encode(answer))

    def look(self, method: str, *args: Any) -> Any:
        """Ask what changes nothing, again if the master dies over it."""
        while True:
            try:
                return self.ask(method, *args)
            except ConnectionLost:
                continue

    def submit(self, ops: Sequence[dict[str, Any]]) -> int:
        """Submit a job. Raises `ConnectionLost`: then nobody knows whether it was taken; `find` looks."""
        number: int = self.ask("SubmitJob", list(ops))
        self.acknowledged.append(number)
        self.asked[number] = ops
        self.world.say(f"client: job {number} is accepted")
        return number

    def submit_many(self, jobs: Sequence[Sequence[dict[str, Any]]]) -> list[int]:
        """Submit several jobs; gives the numbers of those that were taken."""
        taken: list[int] = []
        for ops, (good, number) in zip(jobs, self.ask("SubmitManyJobs", [list(ops) for ops in jobs]), strict=True):
            if good:
                self.acknowledged.append(number)
                self.asked[number] = ops
                self.world.say(f"client: job {number} is accepted")
                taken.append(number)
        return taken

    def jobs(self) -> list[int]:
        """Give the numbers of all jobs that the master knows."""
        return [number for (number,) in self.look("QueryJobs", None, ["id"])]

    def wait(self, number: int, within: float = FOREVER) -> JobEnd:
        """Wait for the end of a job. Raises `Stuck` if it does not come within so many seconds."""
        end = self.world.clock.seconds() + within
        previous: Any = None
        serial = 0
        while True:
            left = end - self.world.clock.seconds()
            if left < MOMENT:
                raise Stuck(f"job {number} does not end within {within:.0f} s")
            left = min(60.0, left)
            change = self.look("WaitForJobChange", number, ["status", "opresult"], previous, serial, left)
            if change != "nochange":
                previous, lines = change
                serial = max((line[0] for line in lines), default=serial)
                status, results = previous
                if status in FINAL:
                    self.ends[number] = JobEnd(number, status, results)
                    self.world.say(f"client: job {number} ends in {status}")
                    return self.ends[number]

    def excused(self) -> set[str]:
        """Give the instances that need not run though they should: a job about them was cut off.

        It need not have been the last one: a disk that was added since has not started the guest.
        """
        excused: set[str] = set()
        for number in self.log.order:
            for op in self.asked.get(number, ()) if number in self.ends else ():
                if not self.ends[number].good and "instance_name" in op:
                    excused.add(op["instance_name"])
                elif op["OP_ID"] in POWER:
                    excused.discard(op["instance_name"])
        return excused

    def unstopped(self) -> set[str]:
        """Give the instances that may run on their own node though they should not: their stop was killed."""
        unstopped: set[str] = set()
        for number in self.log.order:
            for op in self.asked.get(number, ()) if number in self.ends else ():
                good = self.ends[number].good
                if not good and number in self.killed and op["OP_ID"] == "OP_INSTANCE_SHUTDOWN":
                    unstopped.add(op["instance_name"])
                elif good and op["OP_ID"] in STOPPING_OR_STARTING:
                    unstopped.discard(op["instance_name"])
        return unstopped

    def forget(self, kept: set[int]) -> None:
        """Hear from the administrator which jobs a cluster still has that goes on without a majority, or restored."""
        self.acknowledged = [number for number in self.acknowledged if number in kept]
        self.ends = {number: end for number, end in self.ends.items() if number in kept}
        self.killed &= kept
        self.log = JobsLog()

    def settle(self, *, brief: bool = False) -> None:
        """Let everything come to rest: daemons run again, jobs end, then time passes for what has no job.

        Where messages were lost, as long as it takes until who waits for the answer gives up; not so if `brief`.
        """
        world = self.world
        began = world.clock.seconds()
        while True:
            world.drive(world.all_up, within=PATIENCE)
            for number, ops in self.look("QueryJobs", None, ["id", "ops"]):
                self.asked.setdefault(number, ops)
                if number not in self.ends:
                    self.wait(number)
            rest = LOST if world.something_was_lost and not brief else REST
            left = max(began, world.last_fault) + rest - world.clock.seconds()
            if left <= 0 and world.all_up():
                if not brief and world.ways.all_open():
                    # Whoever waited for it has given up, so nobody need be waited for so long again.
                    world.something_was_lost = False
                return
            world.clock.run_for(max(left, 1.0))
