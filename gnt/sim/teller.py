"""Who tells a story to a world: step by step, and on after what a fault cut off. The verbs are in `gnt.sim.telling`.

An administrator insists: a step that failed because something died is looked at and done again until it is so. After
the steps that say so everything must be clean, whether they came about at once or not. In a story in which something
befalls by its own words (`alone`) a further fault leaves nothing of what it expects: its steps are tried, and in the
end everything is mended and must come right. What must always hold must hold there too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from gnt.model.errors import GntError, NoMajority
from gnt.model.templates import INTERNALLY_MIRRORED
from gnt.sim import checkers
from gnt.sim.administrator import Administrator
from gnt.sim.checkers.jobs import check_durable
from gnt.sim.client import Client, JobEnd
from gnt.sim.clock import Endless, Stuck
from gnt.sim.goals import goal_of, running
from gnt.sim.lives import ConnectionLost
from gnt.sim.machine import MASTERD, SimNode
from gnt.sim.mishaps import heal
from gnt.sim.story import Step, Story
from gnt.sim.world import SimWorld

RETURN: Final = 120.0
"""Seconds in which a machine that lost its power is back, and has what it missed."""
TRIES: Final = 12
"""How often a step is done again, where several faults fall; with one the second time is the last."""

RESTFUL: Final = frozenset({"init", "join", "job", "check"})
"""Verbs after which the cluster is at rest and was checked."""

Verb = Callable[["Teller", Step], None]
AtRest = Callable[["Teller", int, bool], None]
"""Called at rest, with the step that comes next, and whether it was begun already and is done again."""

VERBS: Final[dict[str, Verb]] = {}
"""Filled by `gnt.sim.telling`."""


class Teller:
    """Tells a story to a world. `problems` is what was found wrong; `labels` are jobs that a story has named."""

    def __init__(self, world: SimWorld, story: Story, at_rest: AtRest | None = None) -> None:
        self._at_rest = at_rest
        self._index = 0
        self.world = world
        self.story = story
        self.client = Client(world)
        self.problems: list[str] = []
        self.labels: dict[str, int] = {}

    def tell(self) -> list[str]:
        """Do all steps; give what is wrong. What cannot go on is wrong too."""
        try:
            for index, step in enumerate(self.story.steps):
                self._index = index
                if self.world.alike is not None:
                    self.world.alike.step = index
                self.world.say(f"== {step}")
                self.world.fold_logs()
                self._do(step)
                if self.problems:
                    break
                if step.verb in RESTFUL:
                    self.rests(again=False)
            if self._is_real_life():
                self._recover()
        except (Stuck, GntError, AssertionError) as end:
            self.problems.append(f"{type(end).__name__}: {end}")
        found = [*self.problems, *self.world.problems, *self.world.witness.problems]
        self.problems = list(dict.fromkeys(found))
        return self.problems

    def _is_real_life(self) -> bool:
        """Say whether a fault has fallen on what befalls by the story's own words: then no step need come about."""
        return self.story.alone and self.world.struck()

    def _do(self, step: Step) -> None:
        """Do a step."""
        if step.verb == "check" and self._is_real_life():
            self._recover()
            return
        try:
            VERBS[step.verb](self, step)
        except Endless:
            raise
        except (Stuck, GntError, AssertionError) as error:
            if not self._is_real_life():
                raise
            self.world.say(f"{step}: {error}")

    def _recover(self) -> None:
        """Have everything mended, a master, all nodes in, and all jobs ended; then check everything."""
        administrator = Administrator(self.world, self.world.source("administrator"))
        administrator.client = self.client
        heal(self.world)
        administrator.have_master()
        serving = self.world.master()
        for node in self.world.nodes.values():
            if serving is not None and node.masterd is not serving:
                # An old master that does not start until its node is taken in again: nobody waits for that.
                node.wanted.discard(MASTERD)
        administrator.rest()
        self.problems += administrator.problems

    def rests(self, *, again: bool) -> None:
        """Say that the cluster is at rest and has been checked: in the midst of a step, which is done `again`, or not.

        Whoever listens may end the story here, by an exception that is none of ours.
        """
        if self._at_rest is not None and not self.problems:
            self._at_rest(self, self._index if again else self._index + 1, again)

    # For verbs

    def node(self, name: str) -> SimNode:
        """Give a machine. Raises `AssertionError` for one that the story does not have."""
        node = self.world.nodes.get(name)
        assert node is not None, f"{name} is no machine of this story"  # noqa: S101
        return node

    def check(self, when: str) -> None:
        """Check everything, at rest."""
        found = [*checkers.check(self.client), *self.world.mirrors.too_early]
        self.problems += [f"{when}: {text}" for text in found]

    def until_done(self, what: str, do: Callable[[], Any], *, done_already: str | None = None) -> Any:
        """Do something again until it does not fail any more; without any fault so far it may not fail at all.

        `done_already` is the code of the refusal of what cannot be done twice. After a try whose end nobody knows,
        that says that this try has done it; before, it is a failure as any other.
        """
        unclear = False
        for _ in range(TRIES):
            try:
                return do()
            except (GntError, Stuck) as error:
                if not self.world.struck():
                    raise
                self.world.say(f"{what}: {error}")
                if unclear and isinstance(error, GntError) and error.code == done_already:
                    return None
                unclear |= isinstance(error, (ConnectionLost, NoMajority, Stuck))
                self.world.clock.run_for(60.0)
        raise AssertionError(f"{what}: not after {TRIES} tries")

    def insist(self, ops: Sequence[dict[str, Any]], what: str) -> None:
        """Have a job come about, and see after each try that everything is clean."""
        op = ops[-1]
        goal = goal_of(op, lambda: checkers.cluster_of(self.world))
        for _ in range(TRIES):
            end = self.job(ops)
            self.client.settle()
            good = end is not None and end.good
            reached = good if goal is None else goal(op, self.world, checkers.cluster_of(self.world))
            if good and not reached:
                instance = checkers.cluster_of(self.world).instances.by_name(str(op.get("instance_name")))
                if instance is not None and instance.uuid in self.world.lost_guests:
                    return  # it was so, until the guest's machine went down
                raise AssertionError(f"{what}: the job has succeeded, and it is not so")
            if end is not None and not end.good and not self.world.struck():
                raise AssertionError(f"{what}: {end.results}")
            if reached:
                return
            self.check(f"{what}, cut off")
            self.rests(again=True)
            self._repair_what_lost_power(op)
        raise AssertionError(f"{what}: not after {TRIES} tries; at last {end}")

    def _repair_what_lost_power(self, op: dict[str, Any]) -> None:
        """Start a guest that went down with its machine, and set its mirrors up again, as the watcher does."""
        name = op.get("instance_name")
        cluster = checkers.cluster_of(self.world)
        instance = cluster.instances.by_name(name) if name is not None else None
        if instance is None:
            return
        if op["OP_ID"] == "OP_INSTANCE_MIGRATE" and name not in running(self.world):
            self.job([{"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": name}])
        if instance.disks_active and any(
            cluster.disks[uuid].dev_type in INTERNALLY_MIRRORED for uuid in instance.disks
        ):
            self.job([{"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": name, "wait_for_sync": True}])

    def submit(self, ops: Sequence[dict[str, Any]]) -> int | None:
        """Submit a job; None if the master died before it took it."""
        known = set(self.client.jobs())
        try:
            number = self.client.submit(ops)
            self.problems += check_durable(self.world, number, final=False)
        except (ConnectionLost, NoMajority) as error:
            self.world.say(f"client: {error}")
            if isinstance(error, NoMajority):
                self._wait_for_majority()
            self.client.wait_for_master()
            found = sorted(set(self.client.jobs()) - known)
            if not found:
                return None
            number = found[0]
            self.client.asked[number] = ops
        return number

    def _wait_for_majority(self) -> None:
        """Let those come back who can: all, or those that are not off by the story's own words."""
        if any(node.stays_off for node in self.world.nodes.values()):
            self.world.clock.run_for(RETURN)
        else:
            self.client.settle()

    def job(self, ops: Sequence[dict[str, Any]]) -> JobEnd | None:
        """Submit a job and wait for its end; None if the master died before it took the job."""
        number = self.submit(ops)
        if number is None:
            return None
        end = self.client.wait(number)
        self.problems += check_durable(self.world, number, final=True)
        return end
