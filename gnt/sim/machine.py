"""One simulated machine: its files, its daemons, what kills them and what starts them again."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from gnt.daemon.takeover import take_order
from gnt.masterd.vote import NOT_MASTER
from gnt.model.errors import Failed, GntError, StaleEpoch
from gnt.model.layout import Layout
from gnt.noded.membership import MembershipFile
from gnt.sim.alike import NODED as NODED_OUT
from gnt.sim.clock import MachineTime
from gnt.sim.door import SimDoor
from gnt.sim.faults import Fault, Kind
from gnt.sim.lives import MasterdLife, NodedLife
from gnt.sim.providers import SimAddress, SimHypervisor, SimMachine
from gnt.sim.storage import SimStorage
from gnt.wire import certificates

if TYPE_CHECKING:
    from gnt.sim.world import SimWorld

NODED: Final = "gnt-noded"
MASTERD: Final = "gnt-masterd"
NO_STORE: Final = "no_store"
"""The code of the error of a master daemon that finds no store."""
RESTART: Final = 2.0
"""Seconds after which a daemon that died, or did not start, is started again."""
BOOT: Final = 40.0
"""Seconds that a machine takes to come back after its power has failed."""


class SimLayout(Layout):
    """A node's paths; nothing of the machine that the simulator runs on is seen.

    They are made once: a world asks for them a thousand times a second.
    """

    FOLLOWS_LINKS = False

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._ssconf: dict[str, Path] = {}

    def ssconf(self, name: str) -> Path:
        """Give the path of one ssconf value."""
        if name not in self._ssconf:
            self._ssconf[name] = super().ssconf(name)
        return self._ssconf[name]

    def os_search_path(self) -> tuple[Path, ...]:
        """Give the node's own directories only."""
        return (self.root / "srv/ganeti/os",)


def _remember_paths() -> None:
    for name, found in vars(Layout).items():
        if isinstance(found, property) and found.fget is not None:
            remembered: Any = cached_property(found.fget)
            remembered.__set_name__(SimLayout, name)
            setattr(SimLayout, name, remembered)


_remember_paths()


class SimNode:
    """One machine. `wanted` names the daemons that are started again when they die.

    `pace` is how many times longer than usual blocking work takes, `disk_full` whether databases take nothing more.
    """

    def __init__(self, world: SimWorld, name: str, address: str, root: Path) -> None:
        self.world = world
        self.name = name
        self.address = address
        self.layout = SimLayout(root)
        self.hardware = SimMachine(name, world.answers_at)
        self.hypervisor = SimHypervisor(self.layout.run / "fake-hypervisor", world.hypervisors)
        self.hypervisor.leaves = lambda guest: world.ledger.leaves(self, guest)
        self.storage = SimStorage(name, address, root, world.mirrors, in_use=self._open_devices)
        self.addresses = SimAddress(lambda ip: world.has_address(ip, name))
        self.time = MachineTime(world.clock)
        self.pace = 1.0
        self.disk_full = False
        self.uuid = ""
        self.wanted: set[str] = set()
        self.powered = True
        # By somebody's will: nobody need wait for it.
        self.stays_off = False
        self.noded: NodedLife | None = None
        self.masterd: MasterdLife | None = None
        # Those also that are being ended in order, and are no longer the machine's daemons.
        self.lives: list[NodedLife | MasterdLife] = []
        self._opened: dict[str, str] = {}
        self._lives = 0
        self._boots = 0

    # The node daemon

    def start_noded(self) -> NodedLife:
        """Start the node daemon, unless it runs."""
        if self.noded is None:
            self._lives += 1
            self.noded = NodedLife(self, self._lives)
            self.lives = [*(life for life in self.lives if life.clock.alive), self.noded]
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
            door.arrived, door.tells = self._arrived, lambda: world.lets_out(self.name, NODED_OUT)
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
            # With the process end its timers.
            life.clock.kill()
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
        """Start the master daemon, unless it runs; an order that an administrator has left counts for this start."""
        if self.masterd is None:
            self._lives += 1
            self.masterd = MasterdLife(self, self._lives, take_order(self.layout))
            self.lives = [*(life for life in self.lives if life.clock.alive), self.masterd]
            self.world.say(f"{self.name} masterd starts")
            self.masterd.start()
        return self.masterd

    def masterd_is_up(self, life: MasterdLife) -> None:
        """Hear that the master daemon serves: no other may have its term, and calls that were held back arrive."""
        self.world.say(f"{self.name} masterd serves")
        self.world.witness.serves(self.name, life.number)
        if life.takes_over:
            self.world.witness.takes_over(self.name, self._deaf(life))
        self.world.let_go()

    def _deaf(self, life: MasterdLife) -> list[str]:
        """Name the members online whose own list of candidates, on their disks, lacks this machine."""
        cluster = life.daemon.cluster
        if cluster is None:
            return []
        digest = certificates.digest(certificates.load_identity(self.layout.node_pem).certificate)
        online = [self.world.nodes[node.name] for node in cluster.nodes.values() if not node.offline]
        lists = {other.name: MembershipFile(other.layout).load() for other in online if other is not self}
        return [
            name
            for name, member in lists.items()
            if member is not None and digest not in {*member.candidates.values(), *member.renewed.values()}
        ]

    def masterd_failed(self, life: MasterdLife, failure: Failure) -> None:
        """Hear that the master daemon did not start; where another is the master it is not started again.

        So too on a node that is no candidate any more and has given up its store: only an administrator knows better.
        """
        self.world.say(f"{self.name} masterd does not start: {failure.value}")
        if not isinstance(failure.value, GntError):
            self.world.wrong(f"masterd of {self.name} does not start: {failure.getTraceback()}")
        elif failure.value.code in {NOT_MASTER, NO_STORE}:
            self.wanted.discard(MASTERD)
        self._bury_masterd(life)

    def masterd_is_deposed(self, life: MasterdLife, error: StaleEpoch) -> None:
        """Hear that there is a newer master: this one ends, and is not started again."""
        self.world.say(f"{self.name} masterd is deposed: {error.text}")

        def end() -> None:
            if self.masterd is life:
                self.wanted.discard(MASTERD)
                self.stop_masterd()

        self.world.clock.callLater(0.0, end)

    def hand_over(self) -> bool | Deferred[bool]:
        """End the master daemon in order, for another node's; say whether it ran."""
        ran = self.masterd is not None
        self.wanted.discard(MASTERD)
        return self.stop_masterd().addCallback(lambda _: ran)

    def stop_masterd(self) -> Deferred[None]:
        """End the master daemon in order; fires when it has ended, in order or not."""
        life, self.masterd = self.masterd, None
        if life is None:
            return succeed(None)
        self.world.say(f"{self.name} masterd stops")

        def ended(_: object) -> None:
            life.end()
            self.world.bury(life)

        Deferred.fromCoroutine(life.daemon.stop()).addBoth(ended)
        return life.ended

    def masterd_dies(self, life: MasterdLife, why: str) -> None:
        """End a life of the master daemon without a word, also one that is being ended in order."""
        if self.masterd is life:
            self.kill_masterd(why)
        else:
            self.world.say(f"{self.name} masterd dies {why}")
            life.end()
            self.world.bury(life)

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

    def power_cut(self, off: float | None = BOOT, torn: Callable[[], None] | None = None) -> None:
        """Lose power: daemons, guests and what lies in memory are gone; it boots again after `off` seconds, if ever.

        `torn` leaves on disk what was written when it happened.
        """
        if not self.powered:
            return
        self.world.say(f"{self.name} loses its power")
        self.powered, self.stays_off = False, off is None
        self.kill_masterd("with its machine")
        self.kill_noded("with its machine")
        self.world.readers.close(str(self.layout.root))
        if torn is not None:
            torn()
        self.addresses.up.clear()
        self.world.ledger.power_fails(self)
        self.storage.lose_power()
        self.world.guests_are_lost(self.hypervisor.lose_power())
        shutil.rmtree(self.layout.run / "instance-disks", ignore_errors=True)
        self._boots += 1
        if off is not None:
            self.world.clock.callLater(off, self._boot, self._boots)

    def power_on(self) -> None:
        """Have power again, at once."""
        self._boot(self._boots)

    def _boot(self, which: int) -> None:
        if self.powered or which != self._boots:
            return
        self.world.say(f"{self.name} boots")
        self.powered, self.stays_off = True, False
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

    def _open_devices(self) -> list[str]:
        """Give what the guests that run have open, by the names of the devices."""
        return [self.device_of(disk) for guest in self.hypervisor.running() for disk in guest.disks]

    def device_of(self, disk: str) -> str:
        """Give the device that a guest has open by one of its disks' names; it stays open when the name is gone."""
        # Texts, not paths: this is asked after every event.
        if os.path.basename(os.path.dirname(disk)) != "instance-disks":  # noqa: PTH119, PTH120
            return disk
        if os.path.islink(disk):  # noqa: PTH114
            self._opened[disk] = os.readlink(disk)  # noqa: PTH115
        return self._opened.get(disk, disk)

    def master_lives(self) -> list[MasterdLife]:
        """Give the lives of master daemons that have not ended, those also that are being ended in order."""
        return [life for life in self.lives if isinstance(life, MasterdLife) and life.clock.alive]

    def _arrived(self) -> Callable[[], None]:
        """Note that somebody talks to the node daemon; gives what is to be called when its answer leaves."""
        world, point = self.world, self.world.point
        world.lets_out(self.name, NODED_OUT)

        def leaves() -> None:
            world.past(Kind.ARRIVAL, point)
            world.lets_out(self.name, NODED_OUT)

        return leaves

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
