"""The log on the disk of the master: folded in beside the writing, so that no commit waits for that."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from gnt.daemon.runtime import Runtime
from gnt.masterd.local_log import CARRIED, CHECKPOINT_BYTES, COMMIT_BYTES, LocalLog
from gnt.model.epoch import START
from gnt.store.database import Database
from gnt.store.vault import FileVault
from tests.store.support import FIRST, entry, job

SIZE = 64 * 1024
"""What an entry is said to have, in bytes."""


class Pools:
    """Pools that work at once, but for the one that folds: that waits until it is told to."""

    def __init__(self) -> None:
        self.name = ""
        self.done: list[tuple[str, str]] = []
        self.folding: list[Callable[[], object]] = []

    def __call__(self, name: str) -> Any:
        """Give the pool of that name."""
        return _Pool(self, name)


class _Pool:
    def __init__(self, pools: Pools, name: str) -> None:
        self._pools = pools
        self._name = name

    def run(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Work now, or later."""
        self._pools.done.append((self._name, work.__name__))
        if self._name != "checkpoint":
            return self._ended(work, args)
        waiting: Deferred[Any] = Deferred()
        self._pools.folding.append(lambda: self._ended(work, args).chainDeferred(waiting))
        return waiting

    @staticmethod
    def _ended(work: Callable[..., Any], args: tuple[Any, ...]) -> Deferred[Any]:
        try:
            return succeed(work(*args))
        except Exception:  # noqa: BLE001  (the waiter's business)
            return fail()


@pytest.fixture
def pools() -> Pools:
    """Give pools."""
    return Pools()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Give an empty store that folds nothing in by itself."""
    database = Database.create(tmp_path / "config.db", "c")
    database.fold_by_itself(0)
    return database


@pytest.fixture
def local(tmp_path: Path, pools: Pools, database: Database) -> LocalLog:
    """Give the log of a master."""
    clock: Any = Clock()
    return LocalLog(Runtime(clock, pools, random.Random(1)), FileVault(tmp_path / "config.db"), database, FIRST)  # noqa: S311


def write(local: LocalLog, count: int) -> None:
    """Write so many entries of one job."""
    for _ in range(count):
        serial = local.end.serial + 1
        written = Deferred.fromCoroutine(local.write([entry(serial, job(serial))], SIZE, serial))
        assert written.called
        assert local.end.serial == serial


def folds(pools: Pools) -> list[tuple[str, str]]:
    """Give what was done to fold the log in."""
    return [done for done in pools.done if done[1] in ("checkpoint", "fold")]


def test_the_log_is_folded_in_beside_the_writing_and_then_begins_anew(
    local: LocalLog, pools: Pools, tmp_path: Path
) -> None:
    """Most of it while commits go on, the rest between two of them; afterwards no commit needs more of the disk."""
    a_round = CHECKPOINT_BYTES // (COMMIT_BYTES + CARRIED * SIZE) + 1
    write(local, a_round)
    assert folds(pools) == [("checkpoint", "checkpoint")]
    write(local, 20)
    pools.folding.pop()()
    assert folds(pools)[1:] == [("store", "fold")]
    size = (tmp_path / "config.db-wal").stat().st_size
    for _ in range(2):
        write(local, a_round)
        pools.folding.pop()()
    assert folds(pools)[2:] == [("checkpoint", "checkpoint"), ("store", "fold")] * 2
    assert (tmp_path / "config.db-wal").stat().st_size == size


def test_it_is_not_folded_in_twice_at_once(local: LocalLog, pools: Pools) -> None:
    """However long that takes."""
    write(local, 3 * (CHECKPOINT_BYTES // (COMMIT_BYTES + CARRIED * SIZE)))
    assert len(folds(pools)) == 1


def test_nothing_is_done_to_a_store_that_may_be_closed(local: LocalLog, pools: Pools, database: Database) -> None:
    """What was under way when the master stops ends without the store."""
    write(local, CHECKPOINT_BYTES // (COMMIT_BYTES + CARRIED * SIZE) + 1)
    stopped = Deferred.fromCoroutine(local.stop(local.end.serial))
    assert stopped.called
    database.close()
    pools.folding.pop()()
    assert folds(pools) == [("checkpoint", "checkpoint")]


def test_what_is_on_a_majority_is_recorded_at_the_stop(local: LocalLog, database: Database) -> None:
    """A master that starts again knows it."""
    assert local.end == START
    write(local, 2)
    assert Deferred.fromCoroutine(local.stop(2)).called
    assert database.state().committed == 2
