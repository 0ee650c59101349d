"""The cluster's address goes with the role: raised when a term begins, taken down when it ends, by hand in between."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gnt.daemon.runtime import Runtime
from gnt.masterd.master_address import PAUSE, TRIES, MasterAddress
from gnt.model.errors import NodeFailure
from gnt.wire.calls import ActivateMasterIp, DeactivateMasterIp, NodeCall
from tests.masterd.fakes import NODE1, cluster_of_three
from tests.masterd.operations.ground import Ground

_trial: Any = SynchronousTestCase()  # type: ignore[no-untyped-call]
OWN = {"master_ip": "198.51.100.7", "master_netdev": "eth0"}
IN_USE = NodeFailure("in_use", "it answers elsewhere", retry=True)


class World:
    """A master's node that raises the address, or fails to for some time."""

    def __init__(self, *, failures: int = 0, **settings: str) -> None:
        self.cluster = cluster_of_three(**settings)
        self.failures = failures
        self.told: list[NodeCall[Any]] = []
        self.clock = Clock()
        runtime: Any = Runtime(clock=self.clock, pools=None, random=None)  # type: ignore[arg-type]
        self.address = MasterAddress(runtime, self, self)

    async def call(self, node: str, call: NodeCall[Any], *, deadline: float | None = None) -> Any:
        """Note a call."""
        assert node == NODE1
        self.told.append(call)
        if self.failures:
            self.failures -= 1
            raise IN_USE

    def stop(self) -> None:
        """End."""
        _trial.successResultOf(Deferred.fromCoroutine(self.address.stop()))


def test_it_is_raised_and_taken_down() -> None:
    """On the master's own node, with the cluster's settings."""
    world = World(**OWN)
    world.address.start()
    world.stop()
    given: dict[str, Any] = {"ip": "198.51.100.7", "netmask": 32, "netdev": "eth0"}
    assert world.told == [ActivateMasterIp(**given), DeactivateMasterIp(**given)]


def test_a_cluster_without_an_address_of_its_own_raises_none() -> None:
    """It is reached at its master's."""
    world = World(master_ip="192.0.2.1")
    world.address.start()
    world.stop()
    assert world.told == []


def test_one_that_answers_elsewhere_is_tried_again() -> None:
    """Until the old master's node has let go of it; in the end that is said, and by hand it can be tried anew."""
    world = World(failures=2, **OWN)
    world.address.start()
    world.clock.advance(PAUSE)
    world.clock.advance(PAUSE)
    assert len(world.told) == 3
    world = World(failures=99, **OWN)
    world.address.start()
    for _ in range(TRIES + 2):
        world.clock.advance(PAUSE)
    assert len(world.told) == TRIES
    world.stop()


def test_a_stop_ends_the_trying() -> None:
    """Nothing is raised afterwards."""
    world = World(failures=99, **OWN)
    world.address.start()
    world.stop()
    world.clock.advance(PAUSE)
    assert [type(call) for call in world.told] == [ActivateMasterIp, DeactivateMasterIp]


def test_by_hand() -> None:
    """Two opcodes; refused where the cluster has no address of its own; a failure is the job's."""
    ground = Ground(**OWN)
    assert ground.run("OP_CLUSTER_ACTIVATE_MASTER_IP").error is None
    assert ground.run("OP_CLUSTER_DEACTIVATE_MASTER_IP").error is None
    assert ground.nodes.tags() == ["activate_master_ip", "deactivate_master_ip"]
    ground.nodes.answers["activate_master_ip"] = lambda _n, _c: IN_USE
    assert "it answers elsewhere" in str(ground.run("OP_CLUSTER_ACTIVATE_MASTER_IP").error)
    shared = Ground(master_ip="192.0.2.1")
    for name in ("ACTIVATE", "DEACTIVATE"):
        assert "no address of its own" in shared.refused(f"OP_CLUSTER_{name}_MASTER_IP")
