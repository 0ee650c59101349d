"""Telling a story to a world: the teller, and the table of verbs.

    @verb("cut", "NODE NODE")
    def cut(teller: Teller, step: Step) -> None:
        "Break the connections between two machines, and let none come about."
        one, other = step.plain()
        ...

An administrator insists: a step that failed because something died is looked at and done again until it is so. After
the steps that say so everything must be clean, whether they came about at once or not. In a story in which something
befalls by its own words (`alone`) a further fault leaves nothing of what it expects: its steps are tried, and in the
end everything is mended and must come right. What must always hold must hold there too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gnt.model.errors import GntError, NoMajority, Refused
from gnt.model.templates import INTERNALLY_MIRRORED
from gnt.noded.storage.lvm import UUID_TAG
from gnt.sim import checkers, setup
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
from gnt.wire.luxi import Request

TRIES: Final = 12
"""How often a step is done again, where several faults fall; with one the second time is the last."""
LONG: Final = 3600.0

RESTFUL: Final = frozenset({"init", "join", "job", "check"})
"""Verbs after which the cluster is at rest and was checked."""

Verb = Callable[["Teller", Step], None]
AtRest = Callable[["Teller", int, bool], None]
"""Called at rest, with the step that comes next, and whether it was begun already and is done again."""

VERBS: Final[dict[str, Verb]] = {}


USES: Final[dict[str, str]] = {}
"""For people: each verb with its words, and what it does."""


def verb(name: str, words: str) -> Callable[[Verb], Verb]:
    """Enter a verb in the table, with what its words are."""

    def enter(function: Verb) -> Verb:
        VERBS[name] = function
        USES[name] = f"{name} {words}".strip() + f": {function.__doc__}"
        return function

    return enter


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

    def until_done(self, what: str, do: Callable[[], Any]) -> Any:
        """Do something again until it does not fail any more; without any fault so far it may not fail at all."""
        for _ in range(TRIES):
            try:
                return do()
            except (GntError, Stuck) as error:
                if not self.world.struck():
                    raise
                self.world.say(f"{what}: {error}")
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
                self.client.settle()
            self.client.wait_for_master()
            found = sorted(set(self.client.jobs()) - known)
            if not found:
                return None
            number = found[0]
            self.client.asked[number] = ops
        return number

    def job(self, ops: Sequence[dict[str, Any]]) -> JobEnd | None:
        """Submit a job and wait for its end; None if the master died before it took the job."""
        number = self.submit(ops)
        if number is None:
            return None
        end = self.client.wait(number)
        self.problems += check_durable(self.world, number, final=True)
        return end


# The cluster


@verb("ready", "")
def ready(teller: Teller, _step: Step) -> None:
    """Have a cluster of all machines, made without any fault."""
    with teller.world.at_peace():
        setup.whole_cluster(teller.client, teller.story.nodes, teller.story.pool)
        teller.client.settle()


@verb("init", "NODE")
def init(teller: Teller, step: Step) -> None:
    """Make a cluster on a machine; then check."""
    teller.until_done(str(step), lambda: setup.init(teller.world, step.words[0], teller.story.pool))
    teller.client.settle()
    teller.check(str(step))


@verb("join", "NODE")
def join(teller: Teller, step: Step) -> None:
    """Make a machine ready to be added; then check."""
    teller.until_done(str(step), lambda: setup.join(teller.client, step.words[0]))
    teller.client.settle()
    teller.check(str(step))


@verb("failover", "NODE [no-voting] [fails=CODE]")
def failover(teller: Teller, step: Step) -> None:
    """Have a machine become the master. What the cluster then has not is not asked for."""
    name, *more = step.plain()
    wanted = step.named().get("fails")

    def do() -> None:
        life = teller.world.master()
        if life is not None and teller.node(name).masterd is life:
            return
        try:
            setup.fail_over(teller.world, name, no_voting="no-voting" in more)
        except Refused as refusal:
            if wanted is not None:
                raise
            # It died when its log named it already: then it need only be started.
            teller.world.say(f"failover: {refusal}")
            setup.start_masterd(teller.node(name))

    if wanted is not None:
        _refused(step, do, wanted, struck=teller.world.struck())
        return
    teller.until_done(str(step), do)
    if "no-voting" in more:
        teller.client.forget(set(teller.client.jobs()))


@verb("backup", "NODE")
def backup(teller: Teller, step: Step) -> None:
    """Take a backup on the master's machine."""
    teller.until_done(str(step), lambda: setup.back_up(teller.node(step.words[0])))


@verb("restore", "NODE")
def restore(teller: Teller, step: Step) -> None:
    """Make a machine the master of the cluster as its last backup has it."""
    teller.until_done(str(step), lambda: setup.restore(teller.node(step.words[0])))
    teller.client.forget(set(teller.client.jobs()))


# Jobs and other requests


@verb("job", "OPCODE NAME=VALUE…")
def job(teller: Teller, step: Step) -> None:
    """Have a job come about, however often it must be asked for; then check."""
    teller.insist([step.opcode()], str(step))
    teller.check(str(step))


@verb("do", "OPCODE NAME=VALUE…")
def do(teller: Teller, step: Step) -> None:
    """Submit a job and wait for its end, which must be good unless a fault fell; no check."""
    end = teller.job([step.opcode()])
    if not (end is not None and end.good) and not teller.world.struck():
        raise AssertionError(f"{step}: {end}")


@verb("refused", "CODE OPCODE NAME=VALUE…")
def refused(teller: Teller, step: Step) -> None:
    """Submit a job that must end in an error with this text in it, unless a fault fell; no check."""
    wanted, *words = step.words
    end = teller.job([Step("refused", tuple(words)).opcode()])
    if end is not None and not teller.world.struck() and (end.good or wanted not in str(end.results)):
        raise AssertionError(f"{step}: {end}")


@verb("submit", "LABEL OPCODE NAME=VALUE… [after=LABEL]")
def submit(teller: Teller, step: Step) -> None:
    """Submit a job under a name, and leave it alone."""
    label, *words = step.words
    op = Step("submit", tuple(words)).opcode()
    after = op.pop("after", None)
    if after is not None:
        op["depends"] = [[teller.labels[after], ["success", "error", "canceled"]]]
    for _ in range(TRIES):
        number = teller.submit([op])
        if number is not None:
            teller.labels[label] = number
            return
    raise AssertionError(f"{step}: not after {TRIES} tries")


@verb("end", "LABEL STATUS")
def end(teller: Teller, step: Step) -> None:
    """Wait for the end of a job, which must be this one unless a fault fell."""
    label, status = step.plain()
    if label not in teller.labels:
        raise AssertionError(f"{step}: it was never taken")
    found = teller.client.wait(teller.labels[label])
    teller.problems += check_durable(teller.world, found.id, final=True)
    if found.status != status and not teller.world.struck():
        raise AssertionError(f"{step}: it ended in {found.status}: {found.results}")


@verb("ask", "[@NODE] METHOD [ARGUMENTS] [fails=CODE]")
def ask(teller: Teller, step: Step) -> None:
    """Ask the master, or the one on a machine; labels stand for jobs."""
    method, *texts = step.plain()
    arguments = [_argument(teller, value) for value in msgspec.json.decode(texts[0])] if texts else []
    wanted = step.named().get("fails")

    def do() -> Any:
        if not step.where:
            return teller.client.ask(method, *arguments)
        life = teller.node(step.where).masterd
        if life is None:
            raise ConnectionLost(f"no master daemon runs on {step.where}")
        return teller.world.forced(life.ask(Request(method=method, args=arguments)), within=LONG)

    if wanted is None:
        teller.until_done(str(step), do)
        return
    _refused(step, do, wanted, struck=teller.world.struck())


def _refused(step: Step, do: Callable[[], Any], wanted: str, *, struck: bool) -> None:
    """See that something fails with this code; where a fault fell it may fail with another."""
    try:
        answer = do()
    except GntError as error:
        if error.code != wanted and not struck:
            raise AssertionError(f"{step}: it failed with {error.code}: {error}") from error
    else:
        raise AssertionError(f"{step}: the answer is {answer}")


def _argument(teller: Teller, value: Any) -> Any:
    return teller.labels.get(value, value) if isinstance(value, str) else value


# What befalls


@verb("cut", "NODE NODE")
def cut(teller: Teller, step: Step) -> None:
    """Break the connections between two machines, and let none come about."""
    one, other = step.plain()
    teller.world.befell(f"{one} and {other} are cut apart")
    teller.world.cut(teller.node(one), teller.node(other))


@verb("silence", "NODE NODE")
def silence(teller: Teller, step: Step) -> None:
    """Let nothing through from the one to the other, without a word to either."""
    one, other = step.plain()
    teller.world.befell(f"nothing comes through from {one} to {other}")
    teller.world.ways.silence(teller.node(one).name, teller.node(other).name)


@verb("mend", "NODE NODE")
def mend(teller: Teller, step: Step) -> None:
    """Undo cut and silence."""
    one, other = step.plain()
    teller.world.mend(teller.node(one), teller.node(other))


@verb("off", "NODE")
def off(teller: Teller, step: Step) -> None:
    """Have the power of a machine fail; it stays off."""
    teller.world.befell(f"the power of {step.words[0]} fails")
    teller.node(step.words[0]).power_cut(off=None)


@verb("on", "NODE")
def on(teller: Teller, step: Step) -> None:
    """Have it boot."""
    teller.node(step.words[0]).power_on()


@verb("kill", "masterd|noded NODE")
def kill(teller: Teller, step: Step) -> None:
    """End a daemon without a word; it is started again."""
    which, name = step.plain()
    teller.world.befell(f"{which} of {name} is killed")
    node = teller.node(name)
    if which == "masterd":
        node.kill_masterd("by the story")
    else:
        node.kill_noded("by the story")


@verb("full", "NODE")
def full(teller: Teller, step: Step) -> None:
    """Have the disk of a machine take nothing more."""
    teller.world.befell(f"the disk of {step.words[0]} is full")
    teller.node(step.words[0]).disk_full = True


@verb("room", "NODE")
def room(teller: Teller, step: Step) -> None:
    """Have its disk take something again."""
    teller.node(step.words[0]).disk_full = False


@verb("lose", "INSTANCE")
def lose(teller: Teller, step: Step) -> None:
    """Have all volumes of an instance, which is down, go with the physical volumes that they were on."""
    teller.world.befell(f"the volumes of {step.words[0]} are lost")
    cluster = checkers.cluster_of(teller.world)
    instance = cluster.instance(step.words[0])
    for disk in map(cluster.disks.__getitem__, instance.disks):
        for part in disk.children or (disk,):
            for node in teller.world.nodes.values():
                node.storage.lose_volumes(f"{UUID_TAG}{part.uuid}")


@verb("jump", "NODE SECONDS")
def jump(teller: Teller, step: Step) -> None:
    """Put a machine's clock forward, or back."""
    name, seconds = step.plain()
    teller.world.befell(f"the clock of {name} jumps by {seconds} s")
    teller.node(name).time.jump(float(seconds))


# Time


@verb("wait", "SECONDS")
def wait(teller: Teller, step: Step) -> None:
    """Let time pass."""
    teller.world.clock.run_for(float(step.words[0]))


@verb("check", "")
def check(teller: Teller, step: Step) -> None:
    """Let everything come to rest, then check everything. All machines must be on, and no way cut."""
    teller.client.settle()
    teller.check(str(step))


@verb("expect", "master NODE | runs INSTANCE NODE | down INSTANCE | daemonless NODE")
def expect(teller: Teller, step: Step) -> None:
    """See that something is so at this moment."""
    what, *words = step.plain()
    world = teller.world
    found: Any
    if what == "master":
        found = next(
            (node.name for node in world.nodes.values() if node.masterd and node.masterd is world.master()), ""
        )
        so = [found] == words
    elif what in {"runs", "down"}:
        found = [node.name for node in world.nodes.values() if words[0] in {one.name for one in world.guests(node)}]
        so = found == words[1:]
    else:
        found = [name for name in words if teller.node(name).masterd is not None]
        so = not found
    if not so:
        raise AssertionError(f"{step}: it is {found or 'nowhere'}")


def tell(world: SimWorld, story: Story, at_rest: AtRest | None = None) -> list[str]:
    """Tell a story to a world; give what is wrong."""
    return Teller(world, story, at_rest).tell()
