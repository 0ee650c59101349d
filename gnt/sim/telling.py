"""Telling a story to a world: the table of verbs.

    @verb("cut", "NODE NODE")
    def cut(teller: Teller, step: Step) -> None:
        "Break the connections between two machines, and let none come about."
        one, other = step.plain()
        ...

How a story is told, and what becomes of a step that a fault cuts off, is the teller's (`gnt.sim.teller`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from gnt.model.errors import UNKNOWN_ENTITY, GntError, Refused
from gnt.noded.storage.lvm import UUID_TAG
from gnt.sim import checkers, setup
from gnt.sim.checkers.jobs import check_durable
from gnt.sim.lives import ConnectionLost
from gnt.sim.machine import MASTERD
from gnt.sim.story import Step, Story
from gnt.sim.teller import TRIES, VERBS, AtRest, Teller, Verb
from gnt.sim.world import SimWorld
from gnt.wire.luxi import Request

LONG: Final = 3600.0
ONCE: Final = {"DeleteFilter": UNKNOWN_ENTITY}
"""Methods that cannot be done twice, with the code of the refusal of the second time."""

USES: Final[dict[str, str]] = {}
"""For people: each verb with its words, and what it does."""


def verb(name: str, words: str) -> Callable[[Verb], Verb]:
    """Enter a verb in the table, with what its words are."""

    def enter(function: Verb) -> Verb:
        VERBS[name] = function
        USES[name] = f"{name} {words}".strip() + f": {function.__doc__}"
        return function

    return enter


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
        teller.until_done(str(step), do, done_already=ONCE.get(method))
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


@verb("lose", "INSTANCE [NODE]")
def lose(teller: Teller, step: Step) -> None:
    """Have all volumes of an instance go with the physical volumes that they were on; on one machine, or on all.

    On all only if it is down.
    """
    name, *where = step.plain()
    teller.world.befell(f"the volumes of {name} are lost {' '.join(('on', *where)) if where else ''}".rstrip())
    cluster = checkers.cluster_of(teller.world)
    instance = cluster.instance(name)
    nodes = [teller.node(one) for one in where] or [*teller.world.nodes.values()]
    for disk in map(cluster.disks.__getitem__, instance.disks):
        for part in disk.children or (disk,):
            for node in nodes:
                node.storage.lose_volumes(f"{UUID_TAG}{part.uuid}")


@verb("deaf", "INSTANCE")
def deaf(teller: Teller, step: Step) -> None:
    """Have a guest not hear that it is to halt, wherever it runs."""
    (name,) = step.plain()
    teller.world.say(f"{name} does not hear that it is to halt")
    for node in teller.world.nodes.values():
        node.hypervisor.deafen(name)


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


@verb("asked", "LABEL CALL")
def asked(teller: Teller, step: Step) -> None:
    """Let time pass until a job has asked a node for this call, which must be within a minute unless a fault fell."""
    label, call = step.plain()
    world, wanted = teller.world, f" {call} {teller.labels[label]}/"
    seen = 0

    def was_asked() -> bool:
        nonlocal seen
        new, seen = world.trace[seen:], len(world.trace)
        return any(" asks " in line and wanted in line for line in new)

    world.drive(was_asked, within=60.0, enough=True)
    if not any(" asks " in line and wanted in line for line in world.trace) and not world.struck():
        raise AssertionError(f"{step}: it was not asked for")


@verb("check", "")
def check(teller: Teller, step: Step) -> None:
    """Let everything come to rest, then check everything. All machines must be on, and no way cut."""
    teller.client.settle()
    teller.check(str(step))


@verb("expect", "master NODE | address NODE | runs INSTANCE NODE | down INSTANCE | daemonless NODE")
def expect(teller: Teller, step: Step) -> None:
    """See that something is so at this moment; without a daemon is a node on which none is started again either."""
    what, *words = step.plain()
    world = teller.world
    found: Any
    if what == "master":
        found = next(
            (node.name for node in world.nodes.values() if node.masterd and node.masterd is world.master()), ""
        )
        so = [found] == words
    elif what == "address":
        found = [node.name for node in world.nodes.values() if node.addresses.up]
        so = found == words
    elif what in {"runs", "down"}:
        found = [node.name for node in world.nodes.values() if words[0] in {one.name for one in world.guests(node)}]
        so = found == words[1:]
    else:
        found = [name for name in words if teller.node(name).masterd or MASTERD in teller.node(name).wanted]
        so = not found
    if not so:
        raise AssertionError(f"{step}: it is {found or 'nowhere'}")


def tell(world: SimWorld, story: Story, at_rest: AtRest | None = None) -> list[str]:
    """Tell a story to a world; give what is wrong."""
    return Teller(world, story, at_rest).tell()
