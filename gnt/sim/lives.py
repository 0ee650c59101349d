"""The lives of daemons: each begins when the daemon is started, and ends in order, or without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.daemon.takeover import Takeover
from gnt.masterd.service import MasterDaemon
from gnt.masterd.service import Providers as MasterProviders
from gnt.model.errors import GntError, StaleEpoch
from gnt.model.objects import Node
from gnt.noded.call_table import CallTable
from gnt.noded.handler import Place
from gnt.noded.service import NodeDaemon
from gnt.noded.service import Providers as NodeProviders
from gnt.sim.alike import MASTERD, NODED
from gnt.sim.clock import LifeClock
from gnt.sim.disk import CutCallTable, SimVault, Tear
from gnt.sim.faults import Fault, Kind
from gnt.sim.lock_order import watch_grants
from gnt.sim.providers import SimProcesses, ends_well
from gnt.sim.runtime import AFTER, BEFORE, sim_runtime
from gnt.sim.storage import sim_templates
from gnt.sim.transfer import SimTransfer
from gnt.wire import certificates
from gnt.wire.contract import Caller
from gnt.wire.luxi import Request
from gnt.wire.memory import MemoryLink

if TYPE_CHECKING:
    from gnt.sim.machine import SimNode

JOIN_PORT: Final = 1816

_BY_MOMENT: Final = {
    (BEFORE, Fault.MASTER_BEFORE): "kill",
    (AFTER, Fault.MASTER_AFTER): "kill",
    (BEFORE, Fault.NODE_BEFORE): "kill",
    (AFTER, Fault.NODE_AFTER): "kill",
    (BEFORE, Fault.POWER_BEFORE): "power",
    (AFTER, Fault.POWER_AFTER): "power",
    (AFTER, Fault.POWER_TORN): "torn",
}
NO_POINT: Final = -1
AT_HOME: Final = frozenset({"node", "keys", "files"})
"""Pools of a node daemon whose work touches no other machine."""
QUIET: Final = frozenset({"store", "publish", "history", "jobs", "checkpoint", "files", "resolver"})
"""Pools of a master daemon that only read, or whose work is a transaction each."""
RECORDED: Final = frozenset({"calls", "log"})
"""Pools of a node daemon whose work is a transaction each: those are points of their own."""


class ConnectionLost(GntError):
    """A daemon died while a client waited for its answer."""

    def __init__(self, text: str) -> None:
        super().__init__("connection_lost", text)


class LifeCut:
    """What a life's transactions ask on their way: a point of one kind, at which this daemon or its machine may die."""

    def __init__(self, machine: SimNode, life: LifeClock, kind: Kind, kill: Callable[[str], None]) -> None:
        self._machine = machine
        self._life = life
        self._kind = kind
        self._kill = kill
        self._daemon = MASTERD if kind is Kind.COMMIT else NODED
        self._point = 0
        self._pending = Fault.NOTHING
        self._tear: Tear | None = None

    def __call__(self, moment: str, path: str) -> bool:
        """Come by a moment of a transaction; say whether the daemon still lives."""
        if not self._life.alive:
            return False
        name = path.rpartition("/")[2]
        if moment == BEFORE:
            self._pending = self._machine.world.happen(self._kind, f"{self._machine.name} {name}")
            self._tear = Tear(Path(path)) if self._pending is Fault.POWER_TORN else None
            self._point = self._machine.world.point
        else:
            self.touched()
            self._machine.world.past(self._kind, self._point)
        if not self._pending:
            return True
        what = _BY_MOMENT.get((moment, self._pending))
        if what == "kill":
            self._kill(f"{moment} a transaction in {name}")
        elif what == "power":
            self._machine.power_cut()
        elif what == "torn" and self._tear is not None:
            self._machine.power_cut(torn=self._tear.tear(self._machine.world.source(f"tear/{self._machine.name}")))
        return self._life.alive

    def touched(self) -> None:
        """Hear that files have changed."""
        self._machine.world.lets_out(self._machine.name, self._daemon)

    def full(self) -> bool:
        """Say whether the machine's disk is full."""
        return self._machine.disk_full


class NodedLife:
    """One life of a node daemon."""

    def __init__(self, machine: SimNode, number: int) -> None:
        world = machine.world
        self.clock = LifeClock(world.clock, machine.time)
        self.up = False
        self.problem: Failure | None = None
        self._pending = self._program = Fault.NOTHING
        self._point = self._program_point = 0
        self._machine = machine
        source = world.source(f"{machine.name}/noded/{number}")
        runtime = sim_runtime(self.clock, source, self._watch, lambda: machine.pace)
        place = Place(layout=machine.layout, name=machine.name, runtime=runtime)
        world.everybody_lets_out()
        calls = world.script_runs.setdefault(machine.name, [])
        cut = self._cut = LifeCut(machine, self.clock, Kind.RECORD, machine.kill_noded)
        self.call_table: CutCallTable | None = None
        self.vault = SimVault(machine.layout.config_db, cut, world.holders)
        machine.hypervisor.begin_life()
        stop_master: Any = machine.hand_over
        processes: Any = SimProcesses(
            runtime,
            source,
            ends_well,
            calls,
            storage=machine.storage,
            watch=self._watch_program,
            runs=world.everybody_lets_out,
        )
        self.transfer = SimTransfer(machine, source, self.clock.callLater)
        hypervisor: Any = machine.hypervisor
        hardware: Any = machine.hardware
        providers = NodeProviders(
            hypervisors={"fake": hypervisor},
            templates=sim_templates(place, processes, machine.storage),
            machine=hardware,
            processes=processes,
            vault=self.vault,
            master_address=machine.addresses,
            stop_master=stop_master,
            call_table=self._make_table,
            transfer=self.transfer,
        )
        self.daemon = NodeDaemon(place, providers, machine.noded_leaves)

    def fold_logs(self) -> None:
        """Fold the write-ahead logs in."""
        self.vault.fold_logs()
        if self.call_table is not None:
            self.call_table.fold_log()

    def _make_table(self, path: Path, runtime: Runtime) -> CallTable:
        self.call_table = CutCallTable(path, runtime, self._cut)
        return self.call_table

    def start(self) -> None:
        """Begin."""
        Deferred.fromCoroutine(self.daemon.start()).addCallbacks(self._started, self._failed)

    def _started(self, _: object) -> None:
        self.up = True
        self._machine.noded_is_up(self)

    def _failed(self, failure: Failure) -> None:
        self.problem = failure
        self._machine.noded_failed(self, failure)

    def _watch_program(self, moment: str, argv: Sequence[str]) -> bool:
        """Come by a program that changes storage; say whether the daemon still lives."""
        if moment == BEFORE:
            words = " ".join(argv[:2])
            self._program = self._machine.world.happen(Kind.COMMAND, f"{self._machine.name} {words}")
            self._program_point = self._machine.world.point
        else:
            self._machine.world.everybody_lets_out()
            self._machine.world.past(Kind.COMMAND, self._program_point)
        what = _BY_MOMENT.get((moment, self._program))
        if what == "kill":
            self._machine.kill_noded(f"{moment} it ran {argv[0]}")
        elif what == "power":
            self._machine.power_cut()
        return self.clock.alive

    def _watch(self, pool: str, moment: str) -> None:
        """Come by a piece of work: before it, what will fall on it is decided."""
        if pool in RECORDED:
            return
        if moment == BEFORE:
            self._pending = self._machine.world.happen(Kind.WORK, f"{self._machine.name} {pool}")
            self._point = self._machine.world.point
        else:
            if pool in AT_HOME:
                self._machine.world.lets_out(self._machine.name, NODED)
            else:
                self._machine.world.everybody_lets_out()
            self._machine.world.past(Kind.WORK, self._point)
        what = _BY_MOMENT.get((moment, self._pending))
        if what == "kill":
            self._machine.kill_noded(f"{moment} work in its pool {pool}")
        elif what == "power":
            self._machine.power_cut()
        elif moment == AFTER and pool == "hypervisor":
            self._machine.world.look_for_twins()
        elif moment == AFTER and pool == "storage":
            self._machine.storage.written()


class MasterdLife:
    """One life of a master daemon. `order` is what an administrator has left for its start."""

    def __init__(self, machine: SimNode, number: int, order: Takeover | None) -> None:
        world = machine.world
        self.clock = LifeClock(world.clock, machine.time)
        self.up = False
        self.problem: Failure | None = None
        self.number = 0
        # Unless an administrator said that nodes need not obey.
        self.takes_over = order is not None and order.here and not order.unheard
        self.ended: Deferred[None] = Deferred()
        self._machine = machine
        self._links: list[MemoryLink] = []
        self._asked: list[Deferred[Any]] = []
        source = world.source(f"{machine.name}/masterd/{number}")
        world.everybody_lets_out()
        runtime = sim_runtime(self.clock, source, self._watch, pace=lambda: machine.pace)
        cut = LifeCut(machine, self.clock, Kind.COMMIT, lambda why: machine.masterd_dies(self, why))
        self.vault = SimVault(machine.layout.config_db, cut, world.holders)
        providers = MasterProviders(
            host=machine.name, vault=self.vault, connect=self._connect, listen=_listen, takeover=order
        )
        self.daemon = MasterDaemon(runtime, machine.layout, providers, self._deposed)

    def start(self) -> None:
        """Begin."""
        Deferred.fromCoroutine(self.daemon.start()).addCallbacks(self._started, self._failed)

    def fold_logs(self) -> None:
        """Fold the write-ahead log in."""
        self.vault.fold_logs()

    def _watch(self, pool: str, moment: str) -> None:
        """See a piece of work done: of what only reads, or is a transaction, nothing else comes out."""
        if moment == AFTER and pool not in QUIET:
            self._machine.world.everybody_lets_out()

    def ask(self, request: Request) -> Deferred[Any]:
        """Ask as a LUXI client does; fails with `ConnectionLost` when the daemon dies."""
        if not self.up or not self.clock.alive:
            return fail(ConnectionLost(f"the master daemon of {self._machine.name} does not serve"))
        answer: Deferred[Any] = Deferred()
        self._asked.append(answer)

        def heard(result: Any) -> None:
            if answer not in self._asked:
                return
            fault, point = Fault.NOTHING, NO_POINT
            if not request.method.startswith("Query"):
                fault = self._machine.world.happen(Kind.REPLY, f"{self._machine.name} {request.method}")
                point = self._machine.world.point
            if fault is Fault.MASTER_BEFORE:
                self._machine.kill_masterd("before it answers its client")
                return
            self._machine.world.lets_out(self._machine.name, MASTERD)
            self._machine.world.past(Kind.REPLY, point)
            self._asked.remove(answer)
            if fault is Fault.MASTER_AFTER:
                self._machine.kill_masterd("when it has answered its client")
            answer.callback(result)

        Deferred.fromCoroutine(self.daemon.methods.call(request)).addBoth(heard)
        return answer

    def end(self) -> None:
        """Die: whoever talks to this daemon loses the connection, what it sent is still on its way."""
        if self.clock.alive:
            self._machine.world.clock.callLater(0.0, self.ended.callback, None)
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
        self.number = self.daemon.epoch.number if self.daemon.epoch is not None else 0
        watch_grants(self.daemon.parts.locks, self._machine.world.wrong)
        self._machine.masterd_is_up(self)

    def _failed(self, failure: Failure) -> None:
        self.problem = failure
        self._machine.masterd_failed(self, failure)

    def _deposed(self, error: StaleEpoch) -> None:
        self._machine.masterd_is_deposed(self, error)

    def _connect(self, node: Node) -> MemoryLink:
        digest = certificates.digest(certificates.load_identity(self._machine.layout.node_pem).certificate)
        world = self._machine.world
        uuid = node.uuid or world.nodes[node.name].uuid
        link = world.network.link(Caller(digest, self._machine.name), node.name, uuid)
        self._links.append(link)
        if not self.clock.alive:
            link.abandon()
        return link


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
