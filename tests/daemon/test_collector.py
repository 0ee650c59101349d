"""The collector of cycles in daemons: off while they start, then seldom, and not in what was there at the start."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from gnt.daemon import collector
from gnt.masterd import tap as masterd
from gnt.noded import tap as noded


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the collector as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.enable()


def test_it_waits_and_then_looks_seldom_and_not_at_what_was_there_at_the_start() -> None:
    """Cycles that come later are still found."""
    before = gc.get_threshold()
    collector.wait_with_collecting()
    assert not gc.isenabled()
    collector.spare_the_collector()
    assert gc.isenabled()
    assert gc.get_threshold()[0] > before[0]
    assert gc.get_freeze_count() > 1000


class _Part:
    """A daemon that is ready at once, its server and its log: whatever is asked of them, they do."""

    methods = door = None

    def begin(self, _after: float) -> None:
        """Have room."""

    async def start(self) -> None:
        """Be ready."""
        assert not gc.isenabled()


class _Server(_Part):
    def start(self, _reactor: object) -> None:  # type: ignore[override]
        """See what the collector does by now."""
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1000


def test_a_master_daemon_that_takes_clients_has_spared_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all instances in memory: that is what costs most to look through."""
    service: Any = object.__new__(masterd.MasterService)
    servers: list[_Server] = []

    def server(*_args: Any, **_more: Any) -> _Server:
        servers.append(_Server())
        return servers[-1]

    async def record() -> None:
        """Write nothing."""

    monkeypatch.setattr(masterd, "LuxiServer", server)
    vars(service).update(
        running=1,
        _daemon=_Part(),
        _record=record,
        _layout=None,
        _reactor=Clock(),
        _host="node1",
        _luxi=None,
        _room=_Part(),
    )
    collector.wait_with_collecting()
    asyncio.run(service._start())
    assert len(servers) == 1
    assert gc.get_freeze_count() > 1000


def test_a_node_daemon_that_takes_connections_has_spared_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change on a master candidate goes through it."""
    service: Any = object.__new__(noded.NodeService)
    ports: list[int] = []

    def adopt(*_args: object) -> None:
        ports.append(gc.get_freeze_count())

    listening = SimpleNamespace(fileno=lambda: 0, family=0, close=lambda: None)
    monkeypatch.setattr(noded, "tls_server_factory", lambda *_args: None)
    monkeypatch.setattr(noded, "ServerTls", lambda *_args: None)
    vars(service).update(
        running=1,
        _daemon=_Part(),
        _listening=listening,
        _credentials=None,
        _doors=None,
        _reactor=SimpleNamespace(adoptStreamPort=adopt),
        _place=SimpleNamespace(name="node1"),
    )
    collector.wait_with_collecting()
    asyncio.run(service._start())
    assert gc.isenabled()
    assert ports[0] > 1000
