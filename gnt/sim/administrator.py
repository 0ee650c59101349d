"""An administrator of a simulated cluster, and the users beside him: what they can do, and that they remember it.

Jobs are submitted and left alone; some are waited for. Whatever fails because something died is told in the trace and
forgotten: nobody insists. What was accepted is remembered by the client, for the checkers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from gnt.masterd.voting import majority, voters
from gnt.model.cluster import Cluster
from gnt.model.errors import GntError
from gnt.model.objects import Instance, Node
from gnt.sim import checkers, setup
from gnt.sim.checkers.jobs import check_durable
from gnt.sim.checkers.locks import check_holders
from gnt.sim.client import Client
from gnt.sim.clock import Stuck
from gnt.sim.lives import ConnectionLost
from gnt.sim.machine import MASTERD
from gnt.sim.mishaps import heal
from gnt.sim.world import SimWorld

T = TypeVar("T")

MOST_OPEN: Final = 6
"""Jobs that are left to themselves at one time."""
PATIENCE: Final = 120.0
TRIES: Final = 40


class Administrator:
    """Does things one after the other. `problems` is what was found wrong on the way."""

    def __init__(self, world: SimWorld, source: random.Random) -> None:
        self.world = world
        self.client = Client(world)
        self.source = source
        self.problems: list[str] = []
        self.ends: Counter[str] = Counter()
        self.filters: list[str] = []
        self.drained = False
        self._names = 0
        self._master = ""

    # Looking

    @property
    def cluster(self) -> Cluster | None:
        """Give the cluster as the master has it at this moment; None while there is no master."""
        life = self.world.master()
        return None if life is None else life.daemon.cluster

    def nodes(self, *, master: bool = True) -> list[Node]:
        """Give the nodes by name, with or without the master."""
        cluster = self.cluster
        if cluster is None:
            return []
        nodes = sorted(cluster.nodes.values(), key=lambda node: node.name)
        return [node for node in nodes if master or node.uuid != cluster.settings.master_node]

    def candidates(self) -> list[Node]:
        """Give those that may take the master's place."""
        return [node for node in self.nodes(master=False) if node.master_candidate and not node.offline]

    def instances(self) -> list[Instance]:
        """Give the instances by name."""
        cluster = self.cluster
        found = [] if cluster is None else [one for one in cluster.instances.values() if not one.forthcoming]
        return sorted(found, key=lambda instance: instance.name)

    def mirrored(self) -> list[Instance]:
        """Give the instances whose disks are mirrored."""
        return [one for one in self.instances() if self._other_side(one) is not None]

    def target_of(self, instance: Instance) -> Node | None:
        """Choose where an instance could go: one that is mirrored to its other node, others anywhere else."""
        other = self._other_side(instance)
        return other or self.pick([node for node in self.nodes() if node.uuid != instance.primary_node])

    def _other_side(self, instance: Instance) -> Node | None:
        cluster = self.cluster
        known = cluster.instances.get(instance.uuid) if cluster is not None else None
        if cluster is None or known is None:
            return None
        return next(iter(cluster.secondaries(known)), None)

    def open_jobs(self) -> list[int]:
        """Give the jobs whose end nobody has seen yet."""
        return [number for number in self.client.acknowledged if number not in self.client.ends]

    def pick(self, things: Sequence[T]) -> T | None:
        """Choose one, if there is one."""
        return self.source.choice(things) if things else None

    def fresh(self, prefix: str) -> str:
        """Give a name that nothing has had."""
        self._names += 1
        return f"{prefix}{self._names}"

    # Doing

    def job(self, *ops: dict[str, Any]) -> bool:
        """Submit a job."""
        number = self._told("submit", lambda: self.client.submit(ops))
        if number is not None:
            self._acknowledged([number])
        return True

    def jobs(self, jobs: Sequence[Sequence[dict[str, Any]]]) -> bool:
        """Submit several jobs in one go."""
        answer = self._told("submit many", lambda: self.client.submit_many(jobs))
        if answer is not None:
            self._acknowledged(answer)
        return True

    def ask(self, method: str, *args: Any) -> bool:
        """Ask the master for something else."""
        self._told(method, lambda: self.client.ask(method, *args))
        return True

    def add_filter(self, priority: int, predicates: list[Any], action: Any) -> bool:
        """Make a rule about jobs."""
        uuid = self._told("filter", lambda: self.client.ask("ReplaceFilter", None, priority, predicates, action, []))
        if uuid is not None:
            self.filters.append(uuid)
        return True

    def remove_filter(self, uuid: str) -> bool:
        """Take a rule back."""
        self.filters.remove(uuid)
        return self.ask("DeleteFilter", uuid)

    def take_in(self, name: str) -> bool:
        """Take a machine in as a node, by all its steps."""
        cluster = self.cluster
        known = cluster is not None and cluster.nodes.by_name(name) is not None
        if self._told("join", lambda: setup.join(self.client, name, readd=known)):
            self.job({"OP_ID": "OP_NODE_ADD", "node_name": name, "readd": known})
        return True

    def back_up(self) -> bool:
        """Take a backup on the master's machine, and see that it is whole."""
        node = checkers.master_node(self.world)
        if node is None:
            return False
        self._told("backup", lambda: setup.back_up(node))
        return True

    # Mastership

    def fail_over(self, name: str, *, no_voting: bool = False) -> bool:
        """Have a candidate become the master; where that comes to nothing see that there is one."""
        self._told("failover", lambda: setup.fail_over(self.world, name, no_voting=no_voting))
        self.have_master()
        return True

    def fail_over_alone(self) -> bool:
        """Have the power of the master and most candidates fail at a quiet moment, and go on with one that is left."""
        self.rest()
        cluster = self.cluster
        if cluster is None or len(voters(cluster)) < 2:
            return False
        others = [node.name for node in self.candidates()]
        left = self.source.choice(others)
        needed = majority(len(others) + 1)
        gone = [cluster.master.name, *(name for name in others if name != left)][: len(others) + 2 - needed]
        for name in gone:
            self.world.nodes[name].power_cut(off=None)
        self.fail_over(left, no_voting=True)
        for name in gone:
            self.world.nodes[name].power_on()
        # By their own logs they may be a majority: they come back only while whom they have to hear of is there.
        with self.world.at_peace():
            self.world.drive(self.world.all_up, within=PATIENCE, enough=True)
        return True

    def force_offline(self) -> bool:
        """Have the power of so many candidates fail that nothing changes, and flag them offline by force."""
        cluster = self.cluster
        if cluster is None:
            return False
        others = [node.name for node in self.candidates()]
        count = len(others) + 2 - majority(len(others) + 1)
        gone = self.source.sample(others, min(count, len(others)))
        for name in gone:
            self.world.nodes[name].power_cut(off=None)
        for name in gone:
            need = self._told("force", lambda name=name: self.client.ask("ForceOffline", name, ""))
            if isinstance(need, Mapping) and need["needed"]:
                self._told("force", lambda name=name: self.client.ask("ForceOffline", name, f"{name} is off"))
        for name in gone:
            self.world.nodes[name].power_on()
        return True

    def have_master(self) -> None:
        """See that there is a machine whose master daemon is wanted: where it was last, or on a candidate."""
        for _ in range(TRIES):
            for node in self.world.nodes.values():
                if node.masterd is not None and node.masterd.up and node.masterd is self.world.master():
                    node.wanted.add(MASTERD)
                    self._master = node.name
            if any(MASTERD in node.wanted for node in self.world.nodes.values()):
                return
            self.world.clock.run_for(20.0)
            self._begin_again()
        raise AssertionError("there is no master, and none can be had")

    def _begin_again(self) -> None:
        """Start the master daemon where the newest log names it, or have a candidate take over."""
        able = [node for node in self.world.nodes.values() if node.powered and node.noded is not None]
        holding = [node for node in able if node.layout.config_db.exists()]
        for node in sorted(holding, key=lambda node: node.name != self._master):
            if self._told("start", lambda node=node: setup.start_masterd(node)):
                return
            if self._told("failover", lambda node=node: setup.fail_over(self.world, node.name)):
                return

    # Waiting

    def attend(self) -> None:
        """Wait for some job, as long as anybody would; look after the locks meanwhile."""
        number = self.pick(self.open_jobs())
        if number is None:
            return
        if self.source.random() < 0.3:
            self._told("locks", lambda: self.problems.extend(check_holders(self.client)))
        if len(self.open_jobs()) > MOST_OPEN or self.source.random() < 0.5:
            end = self._told("wait", lambda: self.client.wait(number, within=PATIENCE))
            if end is not None:
                self.ends[end.status] += 1
                self.problems += check_durable(self.world, number, final=True)

    def rest(self) -> None:
        """Have everything mended, nothing held back, all jobs ended, all nodes in; then check everything."""
        heal(self.world)
        self.have_master()
        for _ in range(TRIES):
            if self._undone() and self._all_in():
                break
            self.world.clock.run_for(20.0)
            self.have_master()
        else:
            raise AssertionError("the cluster does not come to rest")
        self.client.settle()
        self.problems += checkers.check(self.client)

    def _undone(self) -> bool:
        """Take back what holds jobs back; say whether that has come about."""
        if self._told("undrain", lambda: self.client.ask("SetDrainFlag", False)) is None:
            return False
        self.drained = False
        rules: list[list[str]] | None = self._told("filters", lambda: self.client.ask("QueryFilters", None, ["uuid"]))
        for (uuid,) in rules or ():
            self.ask("DeleteFilter", uuid)
        self.filters = []
        return rules == []

    def _all_in(self) -> bool:
        """Let all jobs end; say whether all nodes are in, and have those come back that are not."""
        self.client.settle(brief=True)
        out = [node for node in self.nodes() if node.offline or node.drained]
        for node in out:
            wish = {"offline": False} if node.offline else {"drained": False}
            self.job({"OP_ID": "OP_NODE_SET_PARAMS", "node_name": node.name, "auto_promote": True, **wish})
        self.client.settle(brief=True)
        for node in self.nodes():
            # It was away when the master of now became a candidate, so it is taken in anew, as it is told to be.
            if node.offline and node.name in {one.name for one in out}:
                self.take_in(node.name)
        return not out and self.cluster is not None

    # Inside

    def _acknowledged(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.problems += check_durable(self.world, number, final=False)

    def _told(self, what: str, do: Any) -> Any:
        """Do something; what fails is told in the trace."""
        try:
            return do()
        except ConnectionLost as error:
            self.world.say(f"{what}: {error.text}")
        except GntError as error:
            self.world.say(f"{what}: {error}")
        except Stuck as error:
            self.world.say(f"{what}: {error}")
        return None
