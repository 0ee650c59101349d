"""The cluster's address goes with the role: raised when a term begins, taken down when it ends, by hand in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gnt.daemon.runtime import Runtime
from gnt.masterd.engine import Engine
from gnt.masterd.master_address import PAUSE, SLOWLY, TRIES, MasterAddress
from gnt.masterd.newcomers import NodeCalls
from gnt.model.errors import NodeFailure
from gnt.wire.calls import ActivateMasterIp, DeactivateMasterIp, Delay, NodeCall
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
        nodes: Any = self
        self.jobs = NodeCalls(runtime, nodes, nodes, self.address)

    async def call(
        self,
        node: str,
        call: NodeCall[Any],
        *,
        deadline: float | None = None,
        id: str | None = None,
    ) -> Any:
        """Note a call."""
        assert node == NODE1
        self.told.append(call)
        if self.failures:
            self.failures -= 1
            raise IN_USE

    def job(self, call: NodeCall[Any]) -> bool:
        """Make a call as a job does; says whether it went well."""
        good: list[bool] = []
        done = Deferred.fromCoroutine(self.jobs.call(NODE1, call)).addErrback(lambda failure: failure.trap(NodeFailure))
        done.addCallback(lambda failed: good.append(failed is None))
        return good[0]

    def wait(self, seconds: float) -> None:
        """Let time pass, second by second."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)

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


def test_verify_names_who_could_not_raise_it() -> None:
    """Each candidate, the master among them, that lacks the interface; a loopback address needs none."""
    ground = Ground(**OWN)
    ground.nodes.answers["interface_check"] = lambda node, call: [] if node == NODE1 else list(call.interfaces)
    assert ground.run("OP_CLUSTER_VERIFY_GROUP", group_name="default").result is False
    wanted = "has no interface eth0, to raise 198.51.100.7 on as the master"
    for name, lacks in (("node1", False), ("node2", True), ("node3", True)):
        assert any(f"{name}.example.com" in line and wanted in line for line in ground.said) is lacks, ground.said
    ground = Ground(**{**OWN, "master_ip": "127.0.0.9"})
    ground.nodes.answers["interface_check"] = lambda _node, call: list(call.interfaces)
    ground.run("OP_CLUSTER_VERIFY_GROUP", group_name="default")
    assert not any("has no interface" in line for line in ground.said)


def test_one_that_answers_elsewhere_is_tried_again() -> None:
    """Until the old master's node has let go of it."""
    world = World(failures=2, **OWN)
    world.address.start()
    assert world.address.problem == "it answers elsewhere"
    world.wait(2 * PAUSE)
    assert len(world.told) == 3
    world.wait(10 * SLOWLY)
    assert len(world.told) == 3
    assert world.address.problem == ""


def test_it_is_tried_slowly_for_as_long_as_this_is_the_master() -> None:
    """With the settings as they are by then; that it is not up is said once, and that it is in the end."""
    lines: list[str] = []
    globalLogPublisher.addObserver(observer := lambda event: lines.append(formatEvent(event)))
    try:
        world = World(failures=TRIES + 3, **OWN)
        world.address.start()
        world.wait(TRIES * PAUSE)
        assert len(world.told) == TRIES
        world.wait(2 * SLOWLY)
        assert len(world.told) == TRIES + 2
        world.cluster = cluster_of_three(**{**OWN, "master_netdev": "eth1"})
        world.wait(3 * SLOWLY)
    finally:
        globalLogPublisher.removeObserver(observer)
    assert [getattr(call, "netdev", "") for call in world.told[-2:]] == ["eth1", "eth1"]
    assert len(world.told) == TRIES + 4
    said = [line for line in lines if "address" in line]
    assert len(said) == 2, said
    assert "not raised: it answers elsewhere; it is tried again every 60 s" in said[0]
    assert world.address.problem == ""


def test_an_administrator_who_wants_it_down_is_not_crossed() -> None:
    """Neither by a try that was due; when it is wanted up again, and that fails, it is tried slowly."""
    world = World(failures=99, **OWN)
    given: dict[str, Any] = {"ip": "198.51.100.7", "netmask": 32, "netdev": "eth0"}
    world.address.start()
    world.failures = 0
    assert world.job(DeactivateMasterIp(**given))
    world.wait(10 * SLOWLY)
    assert [type(call) for call in world.told] == [ActivateMasterIp, DeactivateMasterIp]
    assert world.address.problem == ""
    world.failures = 2
    assert not world.job(ActivateMasterIp(**given))
    assert world.address.problem == "it answers elsewhere"
    world.wait(SLOWLY - 1)
    assert len(world.told) == 3
    world.wait(SLOWLY + 1)
    assert len(world.told) == 5
    world.wait(10 * SLOWLY)
    assert len(world.told) == 5


def test_other_calls_of_jobs_have_nothing_to_do_with_it() -> None:
    """Whatever their end."""
    world = World(failures=2, **OWN)
    world.address.start()
    assert not world.job(Delay(seconds=1.0))
    world.wait(PAUSE)
    assert [type(call) for call in world.told] == [ActivateMasterIp, Delay, ActivateMasterIp]


def test_an_address_that_came_with_another_name_goes_with_the_term() -> None:
    """The cluster had none of its own when the term began."""
    world = World(master_ip="192.0.2.1")
    world.address.start()
    world.cluster = cluster_of_three(**OWN)
    world.stop()
    assert [type(call) for call in world.told] == [DeactivateMasterIp]


def test_verify_says_that_it_is_not_up() -> None:
    """As a fault of the master's network, with the reason."""
    ground = Ground(**OWN)
    ground.engine = Engine(replace(ground.tools, address_problem=lambda: "it answers elsewhere"))
    end = ground.run("OP_CLUSTER_VERIFY_CONFIG")
    assert end.result is False
    wanted = "does not have the cluster's address 198.51.100.7 up: it answers elsewhere"
    assert any(wanted in line and "node1.example.com" in line for line in ground.said), ground.said


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
