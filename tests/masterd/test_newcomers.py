"""A node that is to vote may just have been started: its link is waited for, not given up at once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gnt.daemon.runtime import Runtime
from gnt.masterd.newcomers import REACH_TIME, NodeCalls, Promotion
from gnt.model.errors import NotReached
from gnt.model.layout import Layout
from tests.noded.places import InlinePool


class World:
    """A master whose link to a node is down; it notes what the node is told."""

    def __init__(self, root: Path, *, rapi: bool = True) -> None:
        self.clock = Clock()
        clock: Any = self.clock
        runtime = Runtime(clock=clock, pools=lambda _name: InlinePool(), random=random.Random(1))  # noqa: S311
        self.connected: Deferred[None] = Deferred()
        self.told: list[str] = []
        layout = Layout(root)
        layout.data.mkdir(parents=True)
        layout.authority_certificate.write_text("certificate")
        layout.authority_key.write_text("key")
        if rapi:
            layout.rapi_pem.write_text("key and certificate")
        nodes: Any = self
        self.calls = NodeCalls(runtime, nodes, nodes)
        self.forsaken: list[str] = []
        self.promotion = Promotion(runtime, layout, self.calls, self, self.forsaken.append)
        self.preparing = Deferred.fromCoroutine(self.promotion.prepare("n"))

    def when_connected(self, node: str) -> Deferred[None]:
        """Give the link's promise."""
        assert node == "n"
        return self.connected

    def problem(self, node: str) -> str:
        """Say what is wrong with the link."""
        return f"{node} refused"

    async def call(self, node: str, call: Any, **_: Any) -> None:
        """Note a call."""
        self.told.append(call.tag())

    async def add_voter(self, node: str) -> None:
        """Note that the log is brought there."""
        self.told.append("log")

    def drop_voter(self, node: str) -> None:
        """Do nothing."""


def test_a_node_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    """Nothing is sent before there is a connection; then the log, the authority, the remote API's certificate."""
    world = World(tmp_path)
    world.clock.advance(REACH_TIME - 1)
    assert world.told == []
    world.connected.callback(None)
    assert world.told == ["log", "install_authority", "rapi_install"]
    assert world.preparing.called
    assert world.clock.getDelayedCalls() == []


def test_a_node_that_stays_away_is_given_up(tmp_path: Path) -> None:
    """After a time that is longer than any pause of the link the node is not reached, with the link's own words."""
    world = World(tmp_path)
    found: list[Failure] = []
    world.preparing.addErrback(found.append)
    world.clock.advance(REACH_TIME)
    with pytest.raises(NotReached, match="no connection to n: n refused"):
        found[0].raiseException()
    assert world.told == []


def test_a_node_that_does_not_become_a_candidate_gives_up_what_it_got(tmp_path: Path) -> None:
    """It was brought up to date in vain: that is told to whoever takes it back."""
    world = World(tmp_path)
    world.connected.callback(None)
    world.promotion.leave("n")
    assert world.forsaken == ["n"]


def test_a_cluster_without_remote_api_has_voters_too(tmp_path: Path) -> None:
    """What the master does not have it does not hand on."""
    world = World(tmp_path, rapi=False)
    world.connected.callback(None)
    assert world.told == ["log", "install_authority"]
    assert world.preparing.called
