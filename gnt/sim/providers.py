"""What is under a simulated node daemon besides its files: the machine, the network's reach, other programs.

Guests are in memory; disks are files of the file templates, below the node's own root.
"""

# The signatures are those of the interfaces, used or not.
# ruff: noqa: ARG002, ASYNC109

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from gnt.daemon.runtime import Runtime
from gnt.model.errors import NodeFailure
from gnt.model.specs import InstanceSpec
from gnt.noded.handler import CallContext
from gnt.noded.hypervisors.fake import USER_DOWN, FakeGuest, FakeHypervisor
from gnt.noded.machine import IMachine
from gnt.noded.processes import KEEP, Finished, IProcesses
from gnt.sim.runtime import AFTER, BEFORE
from gnt.sim.storage import SimStorage
from gnt.wire.guest_calls import MigrationTicket

MEMORY: Final = 65536
# How long a program takes, in simulated seconds: between these.
SHORTEST: Final = 0.05
LONGEST: Final = 5.0
# And one for storage.
SHORTEST_STORING: Final = 0.005
LONGEST_STORING: Final = 0.1


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

    def missing_interfaces(self, names: Iterable[str]) -> list[str]:
        """Have every interface."""
        return []

    async def reach(self, address: str, port: int, source: str) -> bool:
        """Ask the simulated network."""
        return self._reachable(address)


class SimAddress:
    """The addresses that one machine has raised; they are gone with its power. `elsewhere`: whether one answers."""

    def __init__(self, elsewhere: Callable[[str], bool]) -> None:
        self.up: set[str] = set()
        self._elsewhere = elsewhere

    def is_here(self, ip: str) -> bool:
        """Say whether the address is up here."""
        return ip in self.up

    async def answers(self, ip: str) -> bool:
        """Ask the simulated network."""
        return ip in self.up or self._elsewhere(ip)

    def put_up(self, ip: str, netmask: int, netdev: str) -> None:
        """Raise it."""
        self.up.add(ip)

    def take_down(self, ip: str, netmask: int, netdev: str) -> None:
        """Take it down."""
        self.up.discard(ip)

    def take_down_ours(self) -> None:
        """Take down what was raised."""
        self.up.clear()


@implementer(IProcesses)
class SimProcesses:
    """Programs that take their time and do what the scenario says; by default they end well.

    `ends` gives the end of a program by its words; `calls` gets the id of each call that ran one to change something.
    Those for storage take effect on the machine's `storage`; `watch` is asked before and after one that changes it, and
    says whether the daemon still lives; `runs` is told that one begins. A killed daemon's programs are gone with it.
    """

    def __init__(
        self,
        runtime: Runtime,
        source: random.Random,
        ends: Callable[[Sequence[str]], Finished],
        calls: list[str],
        *,
        storage: SimStorage,
        watch: Callable[[str, Sequence[str]], bool],
        runs: Callable[[], None] = lambda: None,
    ) -> None:
        self._runs = runs
        self._storage = storage
        self._watch = watch
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
        keep: int = KEEP,
        hear: Callable[[bytes], None] | None = None,
        lone: bool = False,
    ) -> Finished:
        """Take some time, then end as the scenario says."""
        if self._storage.knows(argv):
            return await self._store(argv, cwd)
        self._runs()
        if context is not None and not argv[0].endswith("/verify"):
            self._calls.append(context.id)
        await self._runtime.sleep(self._source.uniform(SHORTEST, LONGEST))
        return self._ends(argv)

    async def _store(self, argv: Sequence[str], cwd: Path) -> Finished:
        await self._runtime.sleep(self._source.uniform(SHORTEST_STORING, LONGEST_STORING))
        if not self._storage.changes(argv):
            return self._storage.run(argv, cwd)
        if not self._watch(BEFORE, argv):
            await Deferred()
        done = self._storage.run(argv, cwd)
        if not self._watch(AFTER, argv):
            await Deferred()
        return done

    async def end_leftovers(self) -> list[str]:
        """Nothing is left: programs die with the daemon here."""
        return []


def ends_well(_argv: Sequence[str]) -> Finished:
    """End with exit status 0."""
    return Finished(status=0, signal=None)


class SimHypervisor(FakeHypervisor):
    """The guests of one machine, in memory: they outlive its node daemons, and not its power.

    `leaves` hears of a guest (UUID) that is about to go to another machine.
    `others` has all of them by directory; that is where a guest on the move finds its target.
    """

    def __init__(self, directory: Path, others: dict[str, SimHypervisor]) -> None:
        super().__init__(directory, memory=MEMORY)
        self._held: dict[Path, FakeGuest] = {}
        self._others = others
        self.leaves: Callable[[str], None] = lambda _guest: None
        others[str(directory)] = self

    def lose_power(self) -> list[str]:
        """Forget everything; gives the UUIDs of the guests that ran."""
        lost = sorted(guest.uuid for guest in self._guests() if guest.uses_memory)
        self._held.clear()
        self._callbacks.clear()
        return lost

    def begin_life(self) -> None:
        """Forget who wanted to hear of changes: that daemon is dead."""
        self._callbacks.clear()

    def halt_inside(self, name: str) -> None:
        """Have a guest's user halt it."""
        guest = self._held[self._path(name)]
        self._held[self._path(name)] = msgspec.structs.replace(guest, state=USER_DOWN, memory=0, vcpus=0)
        self._tell(guest.uuid)

    def deafen(self, name: str) -> None:
        """Have a guest not hear that it is to halt, from now on."""
        hook = self._hook(name, "deaf")
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.touch()

    def running(self) -> list[FakeGuest]:
        """Give the guests that run, by name."""
        return [guest for guest in self._guests() if guest.uses_memory]

    def expected(self) -> list[str]:
        """Give the names of the guests that a place is kept for."""
        return sorted(path.name for path in self._held if path.parent != self._directory)

    def verify(self) -> str:
        """Find nothing wrong."""
        return ""

    def send(self, instance: InstanceSpec, target: str, ticket: MigrationTicket, live: bool) -> None:
        """Move the guest to the target's machine."""
        guest = self._running(instance.name, instance.uuid)
        there = self._others.get(str(ticket.data.get("directory", "")))
        if there is None or instance.name not in there.expected():
            raise NodeFailure("migration_failed", f"{target} does not expect {instance.name}")
        self.leaves(guest.uuid)
        del self._held[self._path(guest.name)]
        note = there._load(there._note(guest.name))  # noqa: SLF001
        # Its disks are open there under the names that they have there.
        there._arrives(msgspec.structs.replace(guest, disks=note.disks if note is not None else guest.disks))  # noqa: SLF001  (one of our own)
        self._tell(guest.uuid)

    def cancel_accept(self, instance: InstanceSpec) -> None:
        """Take the note away."""
        self._held.pop(self._note(instance.name), None)

    def _arrives(self, guest: FakeGuest) -> None:
        self._held[self._path(guest.name)] = guest

    def _guests(self) -> list[FakeGuest]:
        return [self._held[path] for path in sorted(self._held) if path.parent == self._directory]

    def _read(self, name: str) -> FakeGuest | None:
        return self._load(self._path(name))

    def _load(self, path: Path) -> FakeGuest | None:
        return self._held.get(path)

    def _write_to(self, path: Path, guest: FakeGuest) -> None:
        self._held[path] = guest

    def _remove(self, guest: FakeGuest) -> None:
        self._held.pop(self._path(guest.name), None)
        self._tell(guest.uuid)
