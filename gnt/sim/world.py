"""The simulated world: clock, network, machines, faults, and the trace of what happened.

One seed gives one trace, whatever the process, the directory and the hash seed of Python.
"""

from __future__ import annotations

import gc
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from gnt.noded.hypervisors.fake import FakeGuest
from gnt.sim.alike import MASTERD, NODED, Alike
from gnt.sim.clock import BEGINNING, SimClock, Stuck
from gnt.sim.disk import Readers
from gnt.sim.door import Witness
from gnt.sim.faults import Fault, Faults, Kind, Strikes
from gnt.sim.ledger import Ledger
from gnt.sim.lives import MasterdLife, NodedLife
from gnt.sim.machine import SimNode, forced, seeded
from gnt.sim.mirrors import SimMirrors, two_writers
from gnt.sim.providers import SimHypervisor
from gnt.sim.ways import Ways
from gnt.wire.memory import Fate, MemoryNetwork, Passage

NAMES: Final = ("node1", "node2", "node3")
CLUSTER: Final = "cluster.example.com"
PATIENCE: Final = 600.0
NO_POINT: Final = -1
"""The number of what happens at peace, where no fault may fall."""
# How long a message is on its way, in simulated seconds: between these.
QUICKEST: Final = 0.0002
SLOWEST: Final = 0.003
SOON: Final = 0.001
LATE: Final = 25.0

_PID: Final = re.compile(r"\(pid \d+\)")
_FILE: Final = re.compile(r'File "[^"]*/((?:gnt|site-packages)/)')
# Keys are made by the system, so certificates differ from run to run.
_DIGEST: Final = re.compile(r"certificate [0-9a-f]{16,}…?")
_SCRIPTS: Final = ("create", "import", "export", "rename")


class SimWorld:
    """A world of machines that nobody has made a cluster of yet. `close` it, or use `simulated_world`."""

    def __init__(self, seed: int, base: Path, *, names: Sequence[str] = NAMES, faults: Faults | None = None) -> None:
        self.seed = seed
        self.faults: Faults = faults or Strikes()
        self._said: list[tuple[float, str]] = []
        self.problems: list[str] = []
        self.script_runs: dict[str, list[str]] = {}
        self.lost_guests: set[str] = set()
        self.something_was_lost = False
        self.hypervisors: dict[str, SimHypervisor] = {}
        self.holders: dict[Path, Any] = {}
        self.readers = Readers()
        self.happened: Counter[str] = Counter()
        self.let_out: Counter[tuple[str, str]] = Counter()
        self.alike: Alike | None = None
        self.point = NO_POINT
        self.ways = Ways()
        self.witness = Witness()
        self._sources: dict[str, random.Random] = {}
        self.clock = SimClock(self.source("clock"))
        clock: Any = self.clock
        self.network = MemoryNetwork(clock, self._fate)
        self.mirrors = SimMirrors(self.clock.seconds, self.source("mirrors"), self.hears)
        self.ledger = Ledger()
        self._base = base
        self.last_fault = 0.0
        self._at_peace = False
        self._graveyard: list[object] = []
        self._held: list[Callable[[], None]] = []
        self._on_the_way = self.source("network")
        self.shared = base / "shared"
        self.shared.mkdir(parents=True)
        self.nodes = {
            name: SimNode(self, name, f"127.0.77.{number}", base / name) for number, name in enumerate(names, 1)
        }
        for node in self.nodes.values():
            self._furnish(node)
        self.clock.after = self._look_at_disks
        observer: Any = self._hear
        self._observer = observer
        globalLogPublisher.addObserver(observer)

    # What happens

    def say(self, text: str) -> None:
        """Add a line to the trace."""
        self._said.append((self.clock.seconds(), text))

    @property
    def trace(self) -> list[str]:
        """Give what was said, line by line: nothing of this process in it."""
        return [f"{moment - BEGINNING:.6f} {self._clean(text)}" for moment, text in self._said]

    def _clean(self, text: str) -> str:
        text = _DIGEST.sub("certificate (digest)", text)
        return _FILE.sub(r'File "\1', _PID.sub("(pid)", text.replace(str(self._base), "")))

    def wrong(self, text: str) -> None:
        """Note that something happened that must never happen."""
        self.say(f"WRONG: {text}")
        self.problems.append(text)

    def happen(self, kind: Kind, text: str) -> Fault:
        """Come by a point where a fault may fall."""
        if self._at_peace:
            self.point = NO_POINT
            return Fault.NOTHING
        self.point = self.happened[kind]
        self.happened[kind] += 1
        if self.alike is not None:
            self.alike.before(self, kind, self.point, text)
        fault = self.faults.at(kind, text)
        if fault:
            self.happened["fault"] += 1
            self.happened["strike"] += 1
            self.last_fault = self.clock.seconds()
            self.something_was_lost |= fault in {Fault.REQUEST_LOST, Fault.ANSWER_LOST}
            self.say(f"*** {fault}: {kind} {text}")
        return fault

    def past(self, kind: Kind, point: int) -> None:
        """See a point pass at which no fault fell; `point` is its number, or `NO_POINT`."""
        if self.alike is not None and point != NO_POINT:
            self.alike.after(self, kind, point)

    def lets_out(self, machine: str, daemon: str) -> None:
        """Note that a daemon changes something outside itself, or that somebody talks to it: `gnt.sim.alike`."""
        self.let_out[machine, daemon] += 1

    def everybody_lets_out(self) -> None:
        """Note that something changes of which it is not known whom it touches."""
        for name in self.nodes:
            self.lets_out(name, NODED)
            self.lets_out(name, MASTERD)

    def befell(self, what: str) -> None:
        """Note that a mishap happens."""
        self.last_fault = self.clock.seconds()
        self.something_was_lost = True
        self.happened["fault"] += 1
        self.say(f"*** {what}")

    def cut(self, one: SimNode, other: SimNode) -> None:
        """Break the connections between two machines, and let none come about."""
        for source, target in ((one, other), (other, one)):
            self.network.cut(source.name, target.uuid)
            self.ways.silence(source.name, target.name)

    def mend(self, one: SimNode, other: SimNode) -> None:
        """Undo `cut`."""
        for source, target in ((one, other), (other, one)):
            self.network.mend(source.name, target.uuid)
            self.ways.restore(source.name, target.name)

    @contextmanager
    def at_peace(self) -> Iterator[None]:
        """Let no fault fall for a while: whoever checks shall not be what is struck."""
        before, self._at_peace = self._at_peace, True
        try:
            yield
        finally:
            self._at_peace = before

    def struck(self) -> bool:
        """Say whether any fault has fallen at a point: what befalls by a story's own words is none."""
        return self.happened["strike"] > 0

    def fell(self) -> bool:
        """Say whether any fault has fallen so far."""
        return self.last_fault > 0.0

    def source(self, what: str) -> random.Random:
        """Give a source of randomness of its own for one purpose, always the same."""
        if what not in self._sources:
            self._sources[what] = seeded(self.seed, what)
        return self._sources[what]

    def go_on_with(self, seed: int) -> None:
        """Have everything by chance go by another seed from now on."""
        self.seed = seed
        for what, source in self._sources.items():
            source.seed(f"{seed}/{what}")

    # Time

    def drive(self, done: Callable[[], bool], within: float = PATIENCE, *, enough: bool = False) -> None:
        """Let events happen until something is so. Raises `Stuck`, unless it is `enough` to have waited."""
        try:
            self.clock.run_until(done, within=within)
        except Stuck:
            if not enough:
                raise

    def forced(self, done: Deferred[Any], within: float = PATIENCE) -> Any:
        """Let events happen until a Deferred has fired; give its result or raise what it failed with."""
        return forced(done, lambda so: self.drive(so, within))

    # Machines

    def master(self) -> MasterdLife | None:
        """Give the master daemon that serves, if there is one; the newest, where an old one has not heard of it."""
        lives = [node.masterd for node in self.nodes.values() if node.masterd is not None and node.masterd.up]
        return max(lives, key=lambda life: life.number, default=None)

    def kill_master(self, why: str) -> None:
        """End the master daemon, wherever it runs."""
        for node in self.nodes.values():
            node.kill_masterd(why)

    def all_up(self) -> bool:
        """Say whether every daemon that is wanted runs."""
        return all(_is_up(node) for node in self.nodes.values())

    def hears(self, one: str, other: str) -> bool:
        """Say whether what one machine sends to another arrives there."""
        return self.nodes[one].powered and self.nodes[other].powered and self.ways.open(one, other)

    def answers_at(self, address: str) -> bool:
        """Say whether a node daemon answers at an address."""
        return any(node.address == address and node.noded is not None for node in self.nodes.values())

    def has_address(self, ip: str, asking: str) -> bool:
        """Say whether a machine that can be reached from one has raised an address."""
        holders = [node.name for node in self.nodes.values() if node.powered and ip in node.addresses.up]
        return any(self.ways.open(asking, name) and self.ways.open(name, asking) for name in holders)

    def fold_logs(self) -> None:
        """Have the write-ahead logs of all databases folded in: they are copied at every point of a story."""
        for node in self.nodes.values():
            for life in node.lives:
                if life.clock.alive:
                    life.fold_logs()

    def guests(self, node: SimNode) -> list[FakeGuest]:
        """Look at the guests that run on a node, past its daemons."""
        return node.hypervisor.running()

    def guests_are_lost(self, uuids: Iterable[str]) -> None:
        """Note that guests went down with their machine; they may get other names before they run again."""
        self.lost_guests.update(uuids)

    def look_for_twins(self) -> None:
        """See that no guest runs on two nodes at this moment."""
        seen: dict[str, str] = {}
        for node in self.nodes.values():
            for guest in self.guests(node):
                other = seen.setdefault(guest.uuid, node.name)
                if other != node.name:
                    self.wrong(f"{guest.name} runs on {other} and on {node.name}")

    def _look_at_disks(self) -> None:
        """Have mirrors and guests go on after an event, and see that nobody writes who may not."""
        self.ledger.turn(self)
        if not self.mirrors.look(self.ways.changes, [node.powered for node in self.nodes.values()]):
            return
        for problem in two_writers(self.mirrors):
            if problem not in self.problems:
                self.wrong(problem)

    def hold(self, arrive: Callable[[], None]) -> None:
        """Hold a call back until there is a new master."""
        self._held.append(arrive)

    def holds(self) -> int:
        """Say how many calls are held back."""
        return len(self._held)

    def let_go(self) -> None:
        """Have the calls arrive that were held back, a moment after a new master serves and when it has had time."""
        held, self._held = self._held, []
        for arrive in held:
            for delay in (SOON, LATE):
                self.clock.callLater(delay, arrive)

    def bury(self, life: NodedLife | MasterdLife) -> None:
        """Keep what is dead until the end: taken apart at some moment, it would still run its last words."""
        self._graveyard.append(life)

    def close(self) -> None:
        """End the world; its directory is removed."""
        globalLogPublisher.removeObserver(self._observer)
        for node in self.nodes.values():
            node.wanted = set()
            for life in (node.masterd, node.noded):
                if life is not None:
                    life.clock.kill()
            if node.masterd is not None:
                node.masterd.end()
            if node.noded is not None:
                node.noded.daemon.abandon()
                node.noded.vault.abandon()
            node.masterd = node.noded = None
        self.readers.close()
        # Whoever still has the world shall not keep all who lived in it.
        self._graveyard.clear()
        self.clock.forget()
        self.network = MemoryNetwork(self.network.clock)
        shutil.rmtree(self._base, ignore_errors=True)

    # Inside

    def _fate(self, passage: Passage) -> Fate:
        target = next((node.name for node in self.nodes.values() if node.uuid == passage.target), passage.target)
        fault = self.happen(Kind.SEND, f"{passage.source} {target} {passage.tag}")
        self.lets_out(passage.source, MASTERD)
        self.lets_out(passage.source, NODED)
        self.past(Kind.SEND, self.point)
        there, back = self._delay(), self._delay()
        self.say(f"{passage.source} asks {target} {passage.tag} {passage.id}")
        if fault is Fault.MASTER_BEFORE:
            self.kill_master("before a call leaves")
            return Fate(request=None)
        if fault is Fault.MASTER_AFTER:
            self.kill_master("with a call on its way")
            return Fate(request=there)
        if fault is Fault.REQUEST_LOST:
            return Fate(request=None)
        if fault is Fault.ANSWER_LOST:
            return Fate(request=there, answer=None)
        if fault is Fault.DOUBLED:
            return Fate(request=there, answer=back, again=there + self._delay())
        if fault is Fault.LATE_AGAIN:
            return Fate(request=there, answer=back, again=LATE)
        if fault in {Fault.LATE_EPOCH, Fault.LATE_EPOCH_AGAIN}:
            # Soon enough for nobody to have heard the answer, late enough for the node to have begun.
            self.clock.callLater(SLOWEST, self.kill_master, "with a call held back on its way")
            return Fate(request=there if fault is Fault.LATE_EPOCH_AGAIN else None, held=self.hold)
        return self.ways.fate(passage.source, target, there, back)

    def _delay(self) -> float:
        return self._on_the_way.uniform(QUICKEST, SLOWEST)

    def _furnish(self, node: SimNode) -> None:
        """Give a machine a hosts file, and a guest OS definition that does nothing."""
        hosts = node.layout.root / "etc/hosts"
        hosts.parent.mkdir(parents=True)
        lines = [f"{other.address} {other.name}\n" for other in self.nodes.values()]
        hosts.write_text("".join(lines) + f"127.0.77.100 {CLUSTER}\n")
        definition = node.layout.root / "srv/ganeti/os/noop"
        definition.mkdir(parents=True)
        (definition / "ganeti_api_version").write_text("20\n")
        (definition / "parameters.list").write_text("")
        for script in (*_SCRIPTS, "verify"):
            path = definition / script
            path.write_text("#!/bin/true\n")
            path.chmod(0o755)
        (definition / "variants.list").write_text("")

    def _hear(self, event: LogEvent) -> None:
        """Take what daemons log: warnings into the trace; a failure that nobody foresaw is wrong."""
        if event["log_level"] < LogLevel.warn:
            return
        text = " ".join(formatEvent(event).split())
        failure = event.get("log_failure")
        if failure is None:
            self.say(f"log: {text}")
        else:
            self.wrong(f"unforeseen: {text}: {failure.type.__name__}: {failure.value}\n{failure.getTraceback()}")


def _is_up(node: SimNode) -> bool:
    noded = "gnt-noded" not in node.wanted or (node.noded is not None and node.noded.up)
    masterd = "gnt-masterd" not in node.wanted or (node.masterd is not None and node.masterd.up)
    return node.powered and noded and masterd


def scratch_directory() -> Path:
    """Make a directory for a world, in memory where the machine has a place for that."""
    memory = Path("/dev/shm")  # noqa: S108  (what is there is ours alone: mkdtemp)
    return Path(tempfile.mkdtemp(prefix="gnt-sim-", dir=memory if memory.is_dir() else None))


@contextmanager
def simulated_world(
    seed: int, *, names: Sequence[str] = NAMES, faults: Faults | None = None, base: Path | None = None
) -> Iterator[SimWorld]:
    """Have a world for a while, in a directory of its own unless it is given one (`base`, which is not there yet).

    Python's collector of cycles rests meanwhile: when it comes by depends on more than the seed, and coroutines that
    it finds run their last words.
    """
    collecting = gc.isenabled()
    gc.disable()
    # What was there before is none of its business, and would make the collection at the end slow.
    gc.freeze()
    scratch = scratch_directory() if base is None else None
    world = SimWorld(seed, base or Path(scratch or "") / "world", names=names, faults=faults)
    try:
        yield world
    finally:
        world.close()
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        del world
        with _silence():
            gc.collect()
        gc.unfreeze()
        if collecting:
            gc.enable()


@contextmanager
def _silence() -> Iterator[None]:
    """Let what was killed go to pieces: coroutines that were cut off complain that they may not wait any more."""
    heard = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = heard
