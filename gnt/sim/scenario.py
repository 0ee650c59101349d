"""Stories: what an administrator does, step by step, in short text files.

    cluster nodes=3
    init    node1
    join    node2
    job     OP_INSTANCE_CREATE instance_name=web1 disks=[{"size":64}] …

An administrator insists: a step that failed because something died is looked at and done again until it is so. After
each step everything must be clean, whether it came about or not.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from gnt.model.cluster import Cluster
from gnt.model.errors import GntError, NoMajority
from gnt.model.objects import AdminState
from gnt.sim import checkers, setup
from gnt.sim.checkers.jobs import check_durable
from gnt.sim.client import Client, JobEnd
from gnt.sim.clock import Stuck
from gnt.sim.lives import ConnectionLost
from gnt.sim.world import SimWorld

TRIES: Final = 12
"""How often a step is done again, where several faults fall; with one the second time is the last."""


@dataclass(frozen=True)
class Step:
    """One step: what to do, and with what. A job's `words` are the opcode and its parameters."""

    verb: str
    words: tuple[str, ...]

    def opcode(self) -> dict[str, Any]:
        """Give the opcode of a job; values that are no JSON are texts."""
        op: dict[str, Any] = {"OP_ID": self.words[0]}
        for word in self.words[1:]:
            name, _, value = word.partition("=")
            try:
                op[name] = msgspec.json.decode(value)
            except msgspec.DecodeError:
                op[name] = value
        return op

    def __str__(self) -> str:
        return " ".join((self.verb, *self.words))


@dataclass(frozen=True)
class Story:
    """A cluster of so many machines, and what is done with it."""

    name: str
    nodes: tuple[str, ...]
    steps: tuple[Step, ...]


def read_story(path: Path) -> Story:
    """Read a story. Raises `ValueError` naming the line that is none."""
    nodes: tuple[str, ...] = ("node1",)
    steps: list[Step] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        # Quotes belong to the JSON in the words.
        lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
        lexer.whitespace_split, lexer.quotes, lexer.commenters = True, "'", "#"
        verb, *words = list(lexer) or [""]
        if verb == "cluster":
            count = int(dict(word.split("=") for word in words)["nodes"])
            nodes = tuple(f"node{index}" for index in range(1, count + 1))
        elif verb in {"init", "join", "job"}:
            steps.append(Step(verb, tuple(words)))
        elif verb:
            raise ValueError(f"{path} line {number}: {verb} is no step of a story")
    return Story(path.stem, nodes, tuple(steps))


class Teller:
    """Tells a story to a world. `problems` is what was found wrong."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world
        self.client = Client(world)
        self.problems: list[str] = []

    def tell(self, story: Story) -> list[str]:
        """Do all steps, and check after each; give what is wrong. What cannot go on is wrong too."""
        try:
            for step in story.steps:
                self.world.say(f"== {step}")
                self._do(step)
                if self.problems:
                    break
        except (Stuck, GntError, AssertionError) as end:
            self.problems.append(f"{type(end).__name__}: {end}")
        self.problems += [text for text in self.world.problems if text not in self.problems]
        return self.problems

    def _do(self, step: Step) -> None:
        if step.verb == "job":
            self._insist(step)
        else:
            self._set_up(step)
            self.client.settle()
        self._check(str(step))

    def _set_up(self, step: Step) -> None:
        for _ in range(TRIES):
            try:
                if step.verb == "init":
                    setup.init(self.world, step.words[0])
                else:
                    setup.join(self.client, step.words[0])
            except GntError as error:
                if not self.world.fell():
                    raise
                self.world.say(f"{step}: {error}")
                self.world.clock.run_for(60.0)
            else:
                return
        raise AssertionError(f"{step}: not after {TRIES} tries")

    def _insist(self, step: Step) -> None:
        op = step.opcode()
        goal = GOALS[step.words[0]]
        for _ in range(TRIES):
            end = self._job(op)
            self.client.settle()
            reached = goal(op, self.world, checkers.cluster_of(self.world))
            if end is not None and end.good and not reached:
                if op.get("instance_name") in self.world.lost_guests:
                    return  # it was so, until the guest's machine went down
                raise AssertionError(f"{step}: the job has succeeded, and it is not so")
            if end is not None and not end.good and not self.world.fell():
                raise AssertionError(f"{step}: {end.results}")
            if reached:
                return
            self._check(f"{step}, cut off")
            self._start_what_lost_power(op)
        raise AssertionError(f"{step}: not after {TRIES} tries; at last {end}")

    def _start_what_lost_power(self, op: dict[str, Any]) -> None:
        """Start a guest that went down with its machine, before it can be asked to move."""
        if op["OP_ID"] == "OP_INSTANCE_MIGRATE" and op["instance_name"] not in _running(self.world):
            self._job({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": op["instance_name"]})

    def _job(self, op: dict[str, Any]) -> JobEnd | None:
        """Submit a job and wait for its end; None if the master died before it took the job."""
        known = set(self.client.jobs())
        try:
            number = self.client.submit([op])
            self.problems += check_durable(self.world, number, final=False)
        except (ConnectionLost, NoMajority) as error:
            self.world.say(f"client: {error}")
            self.client.settle()
            found = sorted(set(self.client.jobs()) - known)
            if not found:
                return None
            number = found[0]
            self.client.asked[number] = [op]
        end = self.client.wait(number)
        self.problems += check_durable(self.world, number, final=True)
        return end

    def _check(self, when: str) -> None:
        self.problems += [f"{when}: {text}" for text in checkers.check(self.client)]


Goal = Callable[[dict[str, Any], SimWorld, Cluster], bool]


def _node_is_there(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.nodes.by_name(op["node_name"]) is not None


def _node_is_gone(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.nodes.by_name(op["node_name"]) is None


def _is_there(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.instances.by_name(op["instance_name"]) is not None


def _is_gone(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    return cluster.instances.by_name(op["instance_name"]) is None


def _is_up(op: dict[str, Any], world: SimWorld, cluster: Cluster) -> bool:
    instance = cluster.instance(op["instance_name"])
    return instance.admin_state is AdminState.UP and op["instance_name"] in _running(world)


def _is_down(op: dict[str, Any], world: SimWorld, cluster: Cluster) -> bool:
    instance = cluster.instance(op["instance_name"])
    return instance.admin_state is AdminState.DOWN and op["instance_name"] not in _running(world)


def _has_moved(op: dict[str, Any], _world: SimWorld, cluster: Cluster) -> bool:
    instance = cluster.instance(op["instance_name"])
    return cluster.nodes[instance.primary_node].name == str(op["target_node"])


def _running(world: SimWorld) -> set[str]:
    return {guest.name for node in world.nodes.values() for guest in world.guests(node)}


GOALS: Final[dict[str, Goal]] = {
    "OP_NODE_ADD": _node_is_there,
    "OP_NODE_REMOVE": _node_is_gone,
    "OP_INSTANCE_CREATE": _is_there,
    "OP_INSTANCE_STARTUP": _is_up,
    "OP_INSTANCE_SHUTDOWN": _is_down,
    "OP_INSTANCE_MIGRATE": _has_moved,
    "OP_INSTANCE_REMOVE": _is_gone,
}
"""When a step has come about, as the disks tell."""


def tell(world: SimWorld, story: Story) -> list[str]:
    """Tell a story to a world; give what is wrong."""
    return Teller(world).tell(story)
