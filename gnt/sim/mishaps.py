"""What befalls machines and the ways between them for a while: a table, from which a run by chance draws.

Each takes the world and a source of randomness, begins at once, says so in the trace, and passes by itself; `heal` has
all of them pass now. What falls at one point of the work instead (a crash before a commit) is in `gnt.sim.faults`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gnt.sim.machine import SimNode
    from gnt.sim.world import SimWorld

Mishap = Callable[["SimWorld", random.Random], None]

MISHAPS: Final[dict[str, Mishap]] = {}
SHORTEST: Final = 2.0
LONGEST: Final = 90.0
"""How many seconds they last."""
SLOW: Final = 300.0
JUMP_BACK: Final = 120.0
JUMP_FORWARD: Final = 3600.0


def befalls(name: str) -> Callable[[Mishap], Mishap]:
    """Enter a mishap in the table."""

    def enter(mishap: Mishap) -> Mishap:
        MISHAPS[name] = mishap
        return mishap

    return enter


def befall(world: SimWorld, source: random.Random, name: str) -> None:
    """Have one happen."""
    world.befell(name)
    MISHAPS[name](world, source)


def heal(world: SimWorld) -> None:
    """Have all pass: machines have power, ways are open, disks are as they should be. Clocks stay as they are."""
    world.say("everything is mended")
    world.ways.all_well()
    for node in world.nodes.values():
        node.power_on()
        node.pace, node.disk_full = 1.0, False
        for other in world.nodes.values():
            world.mend(node, other)


def _machine(world: SimWorld, source: random.Random) -> SimNode:
    return source.choice([node for node in world.nodes.values() if node.powered] or list(world.nodes.values()))


def _two(world: SimWorld, source: random.Random) -> tuple[SimNode, SimNode]:
    one, other = source.sample(sorted(world.nodes), 2)
    return world.nodes[one], world.nodes[other]


def _while(world: SimWorld, source: random.Random, over: Callable[[], None]) -> None:
    world.clock.callLater(source.uniform(SHORTEST, LONGEST), over)


@befalls("the master daemon is killed")
def kill_master(world: SimWorld, _source: random.Random) -> None:
    """End the master daemon, whatever it does."""
    world.kill_master("by its administrator's mistake")


@befalls("a node daemon is killed")
def kill_noded(world: SimWorld, source: random.Random) -> None:
    """End the node daemon of a machine."""
    _machine(world, source).kill_noded("by its administrator's mistake")


@befalls("the power of a machine fails")
def power(world: SimWorld, source: random.Random) -> None:
    """Have a machine boot again a while later."""
    _machine(world, source).power_cut(off=source.choice((10.0, 40.0, 300.0)))


@befalls("a machine is cut off")
def cut_off(world: SimWorld, source: random.Random) -> None:
    """Break the connections of a machine with all others, and let none come about."""
    node = _machine(world, source)
    others = [other for other in world.nodes.values() if other is not node]
    world.say(f"{node.name} is cut off")
    for other in others:
        world.cut(node, other)

    def over() -> None:
        world.say(f"{node.name} is connected again")
        for other in others:
            world.mend(node, other)

    _while(world, source, over)


@befalls("a way goes silent")
def silence(world: SimWorld, source: random.Random) -> None:
    """Let nothing through from one machine to another; what comes back arrives."""
    one, other = _two(world, source)
    world.say(f"nothing comes through from {one.name} to {other.name}")
    world.ways.silence(one.name, other.name)

    def over() -> None:
        world.say(f"all comes through from {one.name} to {other.name}")
        world.ways.restore(one.name, other.name)

    _while(world, source, over)


@befalls("calls are lost, doubled and late")
def spoil(world: SimWorld, source: random.Random) -> None:
    """Have chance decide what becomes of calls to a machine."""
    node = _machine(world, source)
    world.say(f"the way to {node.name} is bad")
    world.ways.spoil(node.name, random.Random(source.getrandbits(64)))  # noqa: S311

    def over() -> None:
        world.say(f"the way to {node.name} is good again")
        world.ways.mend(node.name)

    _while(world, source, over)


@befalls("a disk is slow")
def slow(world: SimWorld, source: random.Random) -> None:
    """Have blocking work of a machine take its time."""
    node = _machine(world, source)
    world.say(f"the disk of {node.name} is slow")
    node.pace = source.uniform(10.0, SLOW)

    def over() -> None:
        world.say(f"the disk of {node.name} is as fast as ever")
        node.pace = 1.0

    _while(world, source, over)


@befalls("a disk is full")
def full(world: SimWorld, source: random.Random) -> None:
    """Have the databases of a machine take nothing more."""
    node = _machine(world, source)
    world.say(f"the disk of {node.name} is full")
    node.disk_full = True

    def over() -> None:
        world.say(f"the disk of {node.name} has room again")
        node.disk_full = False

    _while(world, source, over)


@befalls("a clock jumps")
def jump(world: SimWorld, source: random.Random) -> None:
    """Put a machine's clock forward, or back."""
    node = _machine(world, source)
    seconds = source.choice((source.uniform(0.5, JUMP_FORWARD), -source.uniform(0.5, JUMP_BACK)))
    world.say(f"the clock of {node.name} jumps by {seconds:.3f} s")
    node.time.jump(seconds)
