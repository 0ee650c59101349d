"""Another name for the cluster, and telling the nodes anew."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import ensureDeferred

from gnt.masterd.plan import ByMaster, Tell
from gnt.model.errors import Failed, NodeFailure
from tests.masterd.operations.ground import Ground

RENAME = "OP_CLUSTER_RENAME"


def silent(ground: Ground) -> Ground:
    """Have nobody answer at the new address."""
    ground.nodes.answers["node_verify"] = lambda _n, call: ground.verified(
        unreachable={peer.name: "no answer" for peer in call.peers}
    )
    return ground


def test_the_address_goes_with_the_name() -> None:
    """The old one down, the new one up, then both are recorded."""
    ground = silent(Ground(master_ip="192.0.2.77"))
    end = ground.run(RENAME, name="new.example.com")
    assert (end.error, end.result) == (None, "new.example.com")
    settings = ground.journal.head.settings
    assert (settings.cluster_name, settings.master_ip) == ("new.example.com", "192.0.2.99")
    assert [(call.tag(), call.ip) for _, call in ground.nodes.made] == [  # type: ignore[attr-defined]
        ("deactivate_master_ip", "192.0.2.77"),
        ("activate_master_ip", "192.0.2.99"),
    ]


def test_a_cluster_without_an_address_of_its_own_gets_one() -> None:
    """Nothing has to be taken down."""
    ground = silent(Ground(master_ip="192.0.2.1"))
    assert ground.run(RENAME, name="new.example.com").error is None
    assert ground.nodes.tags() == ["activate_master_ip"]


def test_an_address_that_cannot_be_raised_leaves_the_old_name() -> None:
    """And the old address is up again."""
    ground = silent(Ground(master_ip="192.0.2.77"))
    ground.nodes.answers["activate_master_ip"] = lambda _n, call: (
        NodeFailure("failed", "no") if call.ip == "192.0.2.99" else None
    )
    assert ground.run(RENAME, name="new.example.com").error is not None
    assert ground.journal.head.settings.master_ip == "192.0.2.77"
    assert ground.nodes.made[-1][1].ip == "192.0.2.77"  # type: ignore[attr-defined]


def test_names_that_the_cluster_cannot_have() -> None:
    """Each refusal says why."""
    ground = Ground(master_ip="192.0.2.99")
    assert "Neither the name nor the address" in ground.refused(RENAME, name="cluster.example.com")
    assert "does not resolve" in ground.refused(RENAME, name="cluster.elsewhere.org")
    assert "name of a node" in ground.refused(RENAME, name="node1.example.com")
    ground = Ground(master_ip="192.0.2.77")
    said = ground.refused(RENAME, name="new.example.com")
    assert "resource_not_unique: 192.0.2.99, the address of new.example.com, answers" in said


class Telling:
    """Notes what the master itself is asked to do."""

    def __init__(self, ground: Ground) -> None:
        self.done: list[ByMaster] = []
        self.problem: Failed | None = None
        tools = ground.engine._tools
        object.__setattr__(tools, "master", self)

    async def perform(self, step: ByMaster) -> None:
        """Note it."""
        self.done.append(step)
        if self.problem is not None:
            raise self.problem


def test_all_nodes_are_told_anew() -> None:
    """Those that are offline are named; one that cannot be told fails the job."""
    ground = Ground()
    telling = Telling(ground)
    ground.journal.head = ground.journal.head.put(replace(ground.journal.head.node("node3"), offline=True))
    assert ground.run("OP_CLUSTER_REDIST_CONF").error is None
    assert telling.done == [Tell(anew=True)]
    assert any("offline, so not told: node3" in line for line in ground.said)
    telling.problem = Failed("node2 was not told: no connection")
    assert "node2 was not told" in str(ground.run("OP_CLUSTER_REDIST_CONF").error)


@pytest.mark.parametrize("anew", [False, True])
def test_the_master_forgets_what_it_told_only_when_it_shall_tell_anew(anew: bool) -> None:
    """Otherwise it waits for those that are behind."""
    from gnt.masterd.renewal import Renewal

    class Told:
        """Tells at once."""

        forgot = False

        def forget(self) -> None:
            """Forget."""
            self.forgot = True

        async def flush(self) -> None:
            """Be done."""

        def behind(self) -> dict[str, str]:
            """Nobody is."""
            return {}

    class Timer:
        """Never fires."""

        def callLater(self, *_: Any) -> Any:
            """Give a timer that is over."""
            return self

        def active(self) -> bool:
            """Be over."""
            return False

    told = Told()
    runtime: Any = type("Runtime", (), {"clock": Timer()})()
    renewal = Renewal(runtime, Ground().journal, None, told, None)  # type: ignore[arg-type]
    done: list[Any] = []
    ensureDeferred(renewal.perform(Tell(anew=anew))).addBoth(done.append)
    assert (done, told.forgot) == ([None], anew)
