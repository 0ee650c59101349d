"""Asking other nodes from a program that is no daemon."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from gnt.bootstrap import asking
from gnt.bootstrap.asking import TlsAsking
from gnt.model.objects import Node
from tests.bootstrap.world import Master


def free_port() -> int:
    """Give a port of the loopback address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_who_refuses_connections_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough have answered, and nobody listens where the rest should be: a dead master costs no waiting."""
    for name in ("ASK_TIME", "ENOUGH_TIME"):
        monkeypatch.setattr(asking, name, 3600.0)
    layout = Master(tmp_path / "node1").layout
    asks = TlsAsking(layout, free_port(), random.Random(1))  # noqa: S311
    dead = Node(uuid="u", name="node2", primary_ip="127.0.0.1", group="g")
    (reached,) = asks.survey([dead], 0).values()
    assert "refused" in reached.problem
    assert reached.newest is None
