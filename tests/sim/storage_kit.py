"""Simulated storage without a simulated world: programs that take effect at once, on a clock of the test's own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.disks import Disks
from gnt.noded.handler import Handlers
from gnt.noded.mirrors import Mirrors
from gnt.noded.processes import Finished, IProcesses
from gnt.sim.lvm import GROUPS
from gnt.sim.mirror_writing import flush, write
from gnt.sim.mirrors import SimMirrors
from gnt.sim.storage import SimStorage, sim_templates
from gnt.wire.calls import NodeCall
from tests.noded.places import context, place_below
from tests.noded.storage.drive import at_once
from tests.noded.storage.mirror_contract import MirrorPair


class Turning(Clock):
    """A clock on which whoever sleeps has slept already."""

    def callLater(self, delay: float, what: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # noqa: D102
        call = super().callLater(delay, what, *args, **kwargs)
        self.advance(delay)
        return call


@implementer(IProcesses)
class AtOnce:
    """Programs of a simulated machine that take no time."""

    def __init__(self, storage: SimStorage) -> None:
        self._storage = storage

    async def run(self, argv: Sequence[str], *, cwd: Path = Path("/"), **_others: Any) -> Finished:
        """Run one: `IProcesses.run`."""
        assert self._storage.knows(argv), argv
        return self._storage.run(argv, cwd)

    async def end_leftovers(self) -> list[str]:
        """Nothing is left: `IProcesses.end_leftovers`."""
        return []


class SimPair(MirrorPair):
    """Two simulated machines below a directory."""

    def __init__(self, root: Path, spec: DiskSpec, nodes: tuple[str, str]) -> None:
        self.spec = spec
        self.nodes = nodes
        one, other = spec.logical_id[3:5]
        self.minors = dict(zip(nodes, (int(one), int(other)), strict=True))
        self.clock = Turning()
        self.together_again = True
        self.mirrors = SimMirrors(self.clock.seconds, random.Random(1), self._reachable)  # noqa: S311
        self.storage = {
            node: SimStorage(node, spec.addresses[node], root / node, self.mirrors, groups=dict(GROUPS))
            for node in nodes
        }
        self.handlers: dict[str, Handlers] = {}
        for node in nodes:
            self._start(node, root / node)

    def _reachable(self, _one: str, _other: str) -> bool:
        return self.together_again

    def _start(self, node: str, root: Path) -> None:
        place = place_below(root, clock=self.clock)
        processes: Any = AtOnce(self.storage[node])
        templates = sim_templates(place, processes, self.storage[node], lambda: node)
        disks = Disks(place, templates)
        self.handlers[node] = {**disks.handlers(), **Mirrors(templates).handlers()}

    def ask(self, node: str, call: NodeCall[Any]) -> Any:
        """Make a node call."""

        async def asking() -> Any:
            return await self.handlers[node][type(call)](call, context())

        return at_once(asking())

    def together(self, call: NodeCall[Any], *nodes: str) -> None:
        """Make a call to both, one after the other: nobody waits for the other here."""
        problems: list[NodeFailure] = []
        for node in nodes or self.nodes:
            try:
                self.ask(node, call)
            except NodeFailure as failure:
                problems.append(failure)
        if problems:
            raise problems[0]

    def wait(self, so: Callable[[], bool], what: str) -> None:
        """Let time pass."""
        for _ in range(1000):
            self.mirrors.settle()
            if so():
                return
            self.clock.advance(0.1)
        raise AssertionError(what)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Cut the network."""
        self.together_again = False
        self.mirrors.settle()
        try:
            yield
        finally:
            self.together_again = True
            self.mirrors.settle()

    def lose_power(self, node: str) -> None:
        """Forget what was in memory."""
        self.storage[node].lose_power()

    def write(self, node: str, data: bytes) -> None:
        """Write as a guest does."""
        side = self.storage[node].machine.sides[self.minors[node]]
        assert write(side, 0, data)
        assert flush(side)

    def read(self, node: str, length: int) -> bytes:
        """Read by the device's name."""
        with self.storage[node].machine.device(self.minors[node]).open("rb") as device:
            return device.read(length)

    def read_volume(self, node: str, length: int) -> bytes:
        """Read the volume below."""
        group, name = map(str, self.spec.children[0].logical_id)
        with (self.storage[node].devices / group / name).open("rb") as volume:
            return volume.read(length)
