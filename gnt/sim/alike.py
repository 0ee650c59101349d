"""Which strikes come to the same, so that one of them tells of all.

A daemon that is killed leaves nothing but what it has let out: what it has written, sent, answered, or had done. Killed
at one point or at the next, with nothing let out between the two and no more than a moment passed, it leaves the same
world, and what comes of it is the same: after the commit that was written last, before the call that it would have sent
next. A machine that loses its power leaves what all of its daemons have let out. So too with a node daemon that is sent
something: that somebody talks to it counts as let out, because whoever does so is told of its death.

What is let out is counted while a story is told without a fault; where it is not certain what a piece of work touches
it counts for all machines. Torn writes, and what becomes of calls, are never alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gnt.sim.faults import Fault, Kind, Strike
from gnt.sim.situations import Situations

if TYPE_CHECKING:
    from gnt.sim.world import SimWorld

MASTERD: Final = "masterd"
NODED: Final = "noded"
MOMENT: Final = 0.01
"""Simulated seconds: all that waits in a daemon that starts again waits a hundred times as long."""

_BEFORE: Final = frozenset({Fault.MASTER_BEFORE, Fault.NODE_BEFORE, Fault.POWER_BEFORE})
_AFTER: Final = frozenset({Fault.MASTER_AFTER, Fault.NODE_AFTER, Fault.POWER_AFTER})
_MASTER: Final = frozenset({Fault.MASTER_BEFORE, Fault.MASTER_AFTER})
_NODE: Final = frozenset({Fault.NODE_BEFORE, Fault.NODE_AFTER})

Key = tuple[str, str, int, int]


@dataclass(frozen=True)
class Side:
    """One side of a point: when it is, what has been let out by then, which master daemons and node daemons live."""

    moment: float
    out: dict[tuple[str, str], int]
    masters: tuple[str, ...]
    nodes: frozenset[str]


@dataclass
class Alike:
    """Looks on while a story is told without any fault.

    `steps`: in which step of the story each point is; `situations`: what the cluster is in the midst of there.
    """

    steps: dict[tuple[Kind, int], int] = field(default_factory=dict)
    step: int = 0
    situations: Situations = field(default_factory=Situations)
    _texts: dict[tuple[Kind, int], str] = field(default_factory=dict)
    _machines: dict[tuple[Kind, int], str] = field(default_factory=dict)
    _before: dict[tuple[Kind, int], Side] = field(default_factory=dict)
    _after: dict[tuple[Kind, int], Side] = field(default_factory=dict)

    def before(self, world: SimWorld, kind: Kind, number: int, text: str) -> None:
        """See a point come."""
        self.steps[kind, number] = self.step
        self._machines[kind, number] = text.partition(" ")[0]
        self._before[kind, number] = _side(world)
        self._texts[kind, number] = text
        self.situations.before(world, kind, number, text)

    def after(self, world: SimWorld, kind: Kind, number: int) -> None:
        """See it pass: it has come about, and nobody has heard of it yet."""
        self._after[kind, number] = _side(world)
        self.situations.after(kind, self._texts[kind, number])

    def grouped(self, strikes: Iterable[Strike]) -> dict[Strike, list[Strike]]:
        """Give those to let fall, each with those that come to the same."""
        groups: dict[Strike, list[Strike]] = {}
        firsts: dict[Key, tuple[float, Strike]] = {}
        for one in strikes:
            key, moment = self._key(one)
            known = firsts.get(key) if key is not None else None
            if known is not None and abs(moment - known[0]) <= MOMENT:
                groups[known[1]].append(one)
                continue
            groups[one] = []
            if key is not None:
                firsts[key] = (moment, one)
        return groups

    def _key(self, strike: Strike) -> tuple[Key | None, float]:
        """Give what tells a strike from those that are not the same; None if there are none but itself."""
        point, fault = (strike.kind, strike.number), strike.fault
        sides = self._before if fault in _BEFORE else self._after if fault in _AFTER else {}
        side = sides.get(point)
        if side is None:
            return None, 0.0
        machine = self._machines[point]
        if fault in _MASTER:
            # Another than the one that lives, or one of several: let it fall for itself.
            own = strike.kind is Kind.ARRIVAL or side.masters == (machine,)
            if not own or len(side.masters) != 1:
                return None, 0.0
            return ("master", side.masters[0], side.out.get((side.masters[0], MASTERD), 0), 0), side.moment
        if machine not in side.nodes:
            return None, 0.0
        node = side.out.get((machine, NODED), 0)
        if fault in _NODE:
            return ("node", machine, node, 0), side.moment
        return ("power", machine, node, side.out.get((machine, MASTERD), 0)), side.moment


def _side(world: SimWorld) -> Side:
    nodes = world.nodes.values()
    return Side(
        world.clock.seconds(),
        dict(world.let_out),
        tuple(node.name for node in nodes if any(life.clock.alive for life in node.master_lives())),
        frozenset(node.name for node in nodes if node.noded is not None),
    )
