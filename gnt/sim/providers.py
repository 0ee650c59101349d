"""What is under a simulated node daemon besides its files: the machine, the network's reach, other programs.

Guests and disks are files of the fake hypervisor and of the file templates, below the node's own root.
"""

# The signatures are those of the interfaces, used or not.
# ruff: noqa: ARG002, ASYNC109

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from zope.interface import implementer

from gnt.daemon.runtime import Runtime
from gnt.noded.handler import CallContext, Place
from gnt.noded.hypervisors.fake import FakeHypervisor
from gnt.noded.machine import IMachine
from gnt.noded.processes import Finished, IProcesses
from gnt.noded.service import Providers
from gnt.noded.storage.registry import real_templates

MEMORY: Final = 65536
# How long a program takes, in simulated seconds: between these.
SHORTEST: Final = 0.05
LONGEST: Final = 2.0


@implementer(IMachine)
class SimMachine:
    """A machine that boots anew when the simulator says so. `reachable` says whether an address answers."""

    def __init__(self, name: str, reachable: Callable[[str], bool]) -> None:
        self._name = name
        self._reachable = reachable
        self.boots = 1

    def boot_id(self) -> str:
        """Give the name and how often it booted."""
        return f"{self._name}-boot-{self.boots}"

    def missing_bridges(self, names: Iterable[str]) -> list[str]:
        """Have every bridge."""
        return []

    async def reach(self, address: str, port: int, source: str) -> bool:
        """Ask the simulated network."""
        return self._reachable(address)


@implementer(IProcesses)
class SimProcesses:
    """Programs that take their time and do what the scenario says; by default they end well.

    `ends` gives the end of a program by its words; `calls` gets the id of each call that ran one to change something.
    A killed daemon's programs are gone with it.
    """

    def __init__(
        self, runtime: Runtime, source: random.Random, ends: Callable[[Sequence[str]], Finished], calls: list[str]
    ) -> None:
        self._runtime = runtime
        self._source = source
        self._ends = ends
        self._calls = calls

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path = Path("/"),
        stdin: bytes | None = None,
        log: Path | None = None,
        timeout: float,
        context: CallContext | None = None,
    ) -> Finished:
        """Take some time, then end as the scenario says."""
        if context is not None and not argv[0].endswith("/verify"):
            self._calls.append(context.id)
        await self._runtime.sleep(self._source.uniform(SHORTEST, LONGEST))
        return self._ends(argv)

    async def end_leftovers(self) -> list[str]:
        """Nothing is left: programs die with the daemon here."""
        return []


def ends_well(_argv: Sequence[str]) -> Finished:
    """End with exit status 0."""
    return Finished(status=0, signal=None)


def sim_providers(place: Place, source: random.Random, reachable: Callable[[str], bool], calls: list[str]) -> Providers:
    """Put together what is under one simulated node daemon; `calls` gets the id of each call that ran a program."""
    guests = FakeHypervisor(place.layout.run / "fake-hypervisor", memory=MEMORY)
    processes: Any = SimProcesses(place.runtime, source, ends_well, calls)
    return Providers(
        hypervisors={"fake": guests},
        templates=real_templates(place, processes),
        machine=SimMachine(place.name, reachable),
        processes=processes,
    )
