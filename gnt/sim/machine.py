"""One simulated machine: its files, its daemons, what kills them and what starts them again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gnt.masterd.service import MasterDaemon
from gnt.masterd.service import Providers as MasterProviders
from gnt.model.errors import Failed, GntError, StaleEpoch
from gnt.model.layout import Layout
from gnt.model.objects import Node
from gnt.noded.handler import Place
from gnt.noded.service import NodeDaemon
from gnt.noded.service import Providers as NodeProviders
from gnt.sim.clock import LifeClock
from gnt.sim.disk import SimVault
from gnt.sim.door import SimDoor
from gnt.sim.faults import Fault, Kind
from gnt.sim.providers import SimMachine, sim_providers
from gnt.sim.runtime import AFTER, BEFORE, sim_runtime
from gnt.wire import certificates
from gnt.wire.contract import Caller
from gnt.wire.luxi import Request
from gnt.wire.memory import MemoryLink

if TYPE_CHECKING:
    from gnt.sim.world import SimWorld

NODED: Final = "gnt-noded"
MASTERD: Final = "gnt-masterd"
RESTART: Final = 2.0
"""Seconds after which a daemon that died, or did not start, is started again."""
BOOT: Final = 40.0
"""Seconds that a machine takes to come back after its power has failed."""
JOIN_PORT: Final = 1816

_BY_MOMENT: Final = {
    (BEFORE, Fault.MASTER_BEFORE): "kill",
    (AFTER, Fault.MASTER_AFTER): "kill",
    (BEFORE, Fault.NODE_BEFORE): "kill",
    (AFTER, Fault.NODE_AFTER): "kill",
    (BEFORE, Fault.POWER_BEFORE): "power",
    (AFTER, Fault.POWER_AFTER): "power",
}


class SimLayout(Layout):
    """A node's paths; nothing of the machine that the simulator runs on is seen."""

    def os_search_path(self) -> tuple[Path, ...]:
        """Give the node's own directories only."""
        return (self.root / "srv/ganeti/os",)


class ConnectionLost(GntError):
    """A daemon died while a client waited for its answer."""

    def __init__(self, text: str) -> None:
        super().__init__("connection_lost", text)


class NodedLife:
    """One life of a node daemon."""

    def __init__(self, machine: SimNode, number: int) -> None:
        world = machine.world
        self.clock = LifeClock(world.clock)
        self.up = False
        self.problem: Failure | None = None
        self._pending = Fault.NOTHING
        self._machine = machine
        runtime = sim_runtime(self.clock, world.source(f"{machine.name}/noded/{number}"), self._watch)
        place = Place(layout=machine.layout, name=machine.name, runtime=runtime)
        calls = world.script_runs.setdefault(machine.name, [])
        found = sim_providers(place, runtime.random, world.answers_at, calls)
        self.vault = SimVault(machine.layout.config_db)
        providers = NodeProviders(
            hypervisors=found.hypervisors,
            templates=found.templates,
            machine=machine.hardware,
            processes=found.processes,
            vault=self.vault,
        )
        self.daemon = NodeDaemon(place, providers, machine.noded_leaves)

    def start(self) -> None:
        """Begin."""
        Deferred.fromCoroutine(self.daemon.start()).addCallbacks(self._started, self._failed)

    def _started(self, _: object) -> None:
        self.up = True
        self._machine.noded_is_up(self)

    def _failed(self, failure: Failure) -> None:
        self.problem = failure
        self._machine.noded_failed(self, failure)

    def _watch(self, pool: str, moment: str) -> None:
        """Come by a piece of work: before it, what will fall on it is decided."""
        if moment == BEFORE:
            self._pending = self._machine.world.happen(Kind.WORK, f"{self._machine.name} {pool}")
        what = _BY_MOMENT.get((moment, self._pending))
        if what == "kill":
            self._machine.kill_noded(f"{moment} work in its pool {pool}")
        elif what == "power":
            self._machine.power_cut()
        elif moment == AFTER and pool == "hypervisor":
            self._machine.world.look_for_twins()


class MasterdLife:
    """One life of a master daemon."""

    def __init__(self, machine: SimNode, number: int) -> None:
        world = machine.world
        self.clock = LifeClock(world.clock)
        self.up = False
        self.problem: Failure | None = None
        self._machine = machine
        self._pending = Fault.NOTHING
        self._links: list[MemoryLink] = []
        self._asked: list[Deferred[Any]] = []
        runtime = sim_runtime(self.clock, world.source(f"{machine.name}/masterd/{number}"))
        self.vault = SimVault(machine.layout.config_db, self._cut)
        providers = MasterProviders(host=machine.name, vault=self.vault, connect=self._connect, listen=_listen)
        self.daemon = MasterDaemon(runtime, machine.layout, providers, self._deposed)

    def start(self) -> None:
        """Begin."""
        Deferred.fromCoroutine(self.daemon.start()).addCallbacks(self._started, self._failed)

    def ask(self, request: Request) -> Deferred[Any]:
        """Ask as a LUXI client does; fails with `ConnectionLost` when the daemon dies."""
        answer: Deferred[Any] = Deferred()
        self._asked.append(answer)

        def heard(result: Any) -> None:
            if answer in self._asked:
                self._asked.remove(answer)
                answer.callback(result)

        Deferred.fromCoroutine(self.daemon.methods.call(request)).addBoth(heard)
        return answer

    def end(self) -> None:
        """Die: whoever talks to this daemon loses the connection, what it sent is still on its way."""
        self.clock.kill()
        for link in self._links:
            link.abandon()
        self.vault.abandon()
        asked, self._asked = self._asked, []
        for answer in asked:
            lost = ConnectionLost(f"the master daemon of {self._machine.name} died")
            self._machine.world.clock.callLater(0.0, answer.errback, lost)

    def _started(self, _: object) -> None:
        self.up = True
        self._machine.world.say(f"{self._machine.name} masterd serves")

    def _failed(self, failure: Failure) -> None:
        self.problem = failure
        self._machine.masterd_failed(self, failure)

    def _deposed(self, error: StaleEpoch) -> None:
        self._machine.world.say(f"{self._machine.name} masterd is deposed: {error.text}")
        self._machine.world.clock.callLater(0.0, self._machine.stop_masterd)

    def _connect(self, node: Node) -> MemoryLink:
        digest = certificates.digest(certificates.load_identity(self._machine.layout.node_pem).certificate)
        world = self._machine.world
        uuid = node.uuid or world.nodes[node.name].uuid
        link = world.network.link(Caller(digest, self._machine.name), node.name, uuid)
        self._links.append(link)
        if not self.clock.alive:
            link.abandon()
        return link

    def _cut(self, moment: str) -> bool:
        if moment == BEFORE:
            self._pending = self._machine.world.happen(Kind.COMMIT, f"{self._machine.name} store")
        what = _BY_MOMENT.get((moment, self._pending))
        if what == "kill":
            self._machine.kill_masterd(f"{moment} a commit")
        elif what == "power":
            self._machine.power_cut()
        return self.clock.alive


class SimNode:
    """One machine. `wanted` names the daemons that are started again when they die."""

    def __init__(self, world: SimWorld, name: str, address: str, root: Path) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.layout = SimLayout(root)
        self.hardware = SimMachine(name, world.answers_at)
        self.uuid = ""
        self.wanted: set[str] = set()
        self.powered = True
        self.noded: NodedLife | None = None
        self.masterd: MasterdLife | None = None
        self._lives = 0

    # The node daemon

    def start_noded(self) -> NodedLife:
        """Start the node daemon, unless it runs."""
        if self.noded is None:
            self._lives += 1
            self.noded = NodedLife(self, self._lives)
            self.world.say(f"{self.name} noded starts")
            self.noded.start()
        return self.noded

    def noded_is_up(self, life: NodedLife) -> None:
        """Hear that the node daemon takes calls: the network finds it from now on."""
        member = life.daemon.membership.current
        self.world.say(f"{self.name} noded serves")
        if member is not None:
            self.uuid = member.node_uuid
            world = self.world
            door = SimDoor(
                self.name, life.daemon.door, world.witness, happen=self._arrival, strike=self._strike, say=world.say
            )
            world.network.attach(self.uuid, door)

    def noded_failed(self, life: NodedLife, failure: Failure) -> None:
        """Hear that the node daemon did not start."""
        self.world.say(f"{self.name} noded does not start: {failure.value}")
        if not isinstance(failure.value, GntError):
            self.world.wrong(f"noded of {self.name} does not start: {failure.getTraceback()}")
        self._bury_noded(life)

    def noded_leaves(self) -> None:
        """Hear that the node daemon ends because its node has left the cluster."""
        self.wanted.discard(NODED)
        self.stop_noded()

    def stop_noded(self) -> Deferred[None]:
        """End the node daemon in order."""
        life, self.noded = self.noded, None
        stopped: Deferred[None] = Deferred()
        if life is None:
            stopped.callback(None)
            return stopped
        self.world.say(f"{self.name} noded stops")
        self.world.network.detach(self.uuid)

        def ended(_: object) -> None:
            self.world.bury(life)
            stopped.callback(None)

        Deferred.fromCoroutine(life.daemon.stop()).addBoth(ended)
        return stopped

    def kill_noded(self, why: str) -> None:
        """End the node daemon without a word."""
        life = self.noded
        if life is not None:
            self.world.say(f"{self.name} noded dies {why}")
            self._bury_noded(life)

    def _bury_noded(self, life: NodedLife) -> None:
        if self.noded is not life:
            return
        self.noded = None
        life.clock.kill()
        life.daemon.abandon()
        life.vault.abandon()
        self.world.bury(life)
        self.world.network.detach(self.uuid)
        self._start_later(NODED, RESTART)

    # The master daemon

    def start_masterd(self) -> MasterdLife:
        """Start the master daemon, unless it runs."""
        if self.masterd is None:
            self._lives += 1
            self.masterd = MasterdLife(self, self._lives)
            self.world.say(f"{self.name} masterd starts")
            self.masterd.start()
        return self.masterd

    def masterd_failed(self, life: MasterdLife, failure: Failure) -> None:
        """Hear that the master daemon did not start."""
        self.world.say(f"{self.name} masterd does not start: {failure.value}")
        if not isinstance(failure.value, GntError):
            self.world.wrong(f"masterd of {self.name} does not start: {failure.getTraceback()}")
        self._bury_masterd(life)

    def stop_masterd(self) -> Deferred[None]:
        """End the master daemon in order."""
        life, self.masterd = self.masterd, None
        stopped: Deferred[None] = Deferred()
        if life is None:
            stopped.callback(None)
            return stopped
        self.world.say(f"{self.name} masterd stops")

        def ended(_: object) -> None:
            life.end()
            self.world.bury(life)
            stopped.callback(None)

        Deferred.fromCoroutine(life.daemon.stop()).addBoth(ended)
        return stopped

    def kill_masterd(self, why: str) -> None:
        """End the master daemon without a word."""
        life = self.masterd
        if life is not None:
            self.world.say(f"{self.name} masterd dies {why}")
            self._bury_masterd(life)

    def _bury_masterd(self, life: MasterdLife) -> None:
        if self.masterd is not life:
            return
        self.masterd = None
        life.end()
        self.world.bury(life)
        self._start_later(MASTERD, RESTART)

    # The machine

    def power_cut(self) -> None:
        """Lose power: daemons, guests and what lies in memory are gone; it boots again after a while."""
        if not self.powered:
            return
        self.world.say(f"{self.name} loses its power")
        self.powered = False
        self.kill_masterd("with its machine")
        self.kill_noded("with its machine")
        for left in ("fake-hypervisor", "instance-disks"):
            shutil.rmtree(self.layout.run / left, ignore_errors=True)
        self.world.power_has_failed = True
        self.world.clock.callLater(BOOT, self._boot)

    def _boot(self) -> None:
        self.world.say(f"{self.name} boots")
        self.powered = True
        self.hardware.boots += 1
        (self.layout.run / "instance-disks").mkdir(parents=True, exist_ok=True)
        for daemon in sorted(self.wanted):
            self._start_later(daemon, RESTART)

    def start_missing(self) -> None:
        """Start what is wanted and does not run."""
        for daemon, life in ((NODED, self.noded), (MASTERD, self.masterd)):
            if life is None:
                self._start_later(daemon, RESTART)

    def _start_later(self, daemon: str, seconds: float) -> None:
        def start() -> None:
            if daemon in self.wanted and self.powered:
                _ = self.start_noded() if daemon == NODED else self.start_masterd()

        self.world.clock.callLater(seconds, start)

    def _arrival(self, tag: str) -> Fault:
        return self.world.happen(Kind.ARRIVAL, f"{self.name} {tag}")

    def _strike(self, fault: Fault) -> bool:
        """Carry out what falls on a call that has arrived; say whether this node daemon still lives."""
        if fault is Fault.MASTER_AFTER:
            self.world.kill_master("after a call was done")
            return True
        if fault in {Fault.POWER_BEFORE, Fault.POWER_AFTER}:
            self.power_cut()
        else:
            self.kill_noded(str(fault).removeprefix("node dies ") + " a call")
        return False


class _SimPort:
    """A port that nobody can reach: who joins in the simulator comes by another way."""

    def getHost(self) -> Any:
        """Give the address."""
        return self

    port = JOIN_PORT

    def stopListening(self) -> None:
        """Close it."""


def _listen(_address: str, _port: int, _factory: object) -> Any:
    """Listen at the port that nobody can reach."""
    return _SimPort()


def seeded(seed: int, what: str) -> random.Random:
    """Give a source of randomness for one purpose; the same in every process."""
    return random.Random(f"{seed}/{what}")  # noqa: S311


def forced(done: Deferred[Any], drive: Callable[[Callable[[], bool]], None]) -> Any:
    """Let the world go on until a Deferred has fired; give its result or raise its failure."""
    results: list[Any] = []
    done.addBoth(results.append)
    drive(lambda: bool(results))
    if isinstance(results[0], Failure):
        if isinstance(results[0].value, GntError):
            raise results[0].value
        raise Failed(f"unexpected: {results[0].getTraceback()}") from results[0].value
    return results[0]
