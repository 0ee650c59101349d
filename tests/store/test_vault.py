"""One contract for the store's place, in a directory and in memory: holding, receiving, installing, setting aside."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gnt.model.epoch import START
from gnt.model.errors import ConfigError
from gnt.store.changes import Put, Space
from gnt.store.database import Database
from gnt.store.reading import Reader
from gnt.store.vault import FileVault, MemoryVault, Vault, copy_store
from tests.store.support import at, entry, job

UUID = "8d5d2c2e-0a3f-4c8e-9a51-0a8f2e1c7a11"


@pytest.fixture(params=["file", "memory"])
def vaults(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Vault, Vault]:
    """Give two empty places of one kind."""
    if request.param == "memory":
        return MemoryVault(), MemoryVault()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    return FileVault(tmp_path / "a/config.db"), FileVault(tmp_path / "b/config.db")


def _send(source: Vault, database: Database, target: Vault, transfer: str = "t1") -> str:
    snapshot = source.snapshot(database, transfer)
    for offset in range(0, snapshot.size, 10_000):
        target.receive(transfer, offset, snapshot.read(offset, 10_000))
    snapshot.close()
    return snapshot.digest


def test_a_store_is_found_again(vaults: tuple[Vault, Vault]) -> None:
    """What was appended is there when a daemon starts again, even after a crash."""
    vault, _ = vaults
    assert not vault.exists()
    vault.create(UUID).append(START, [entry(1, job(1))])
    assert vault.exists()
    assert vault.open().end == at(1)


def test_a_place_without_a_store_says_so(vaults: tuple[Vault, Vault]) -> None:
    """Opening makes nothing."""
    vault, _ = vaults
    with pytest.raises(ConfigError) as caught:
        vault.open()
    assert caught.value.code == "no_store"


def test_a_copy_is_installed_whole(vaults: tuple[Vault, Vault]) -> None:
    """Log, rows and secrets arrive; the copy is the state when it was taken, and takes the next entries."""
    source, target = vaults
    database = source.create(UUID)
    database.append(START, [entry(1, job(1, filler="x" * 50_000), Put(Space.SECRET, "1/x", b"\0\xff"))])
    digest = _send(source, database, target)
    database.append(at(1), [entry(2, job(2))])
    new = target.install("t1", target.received("t1", digest))
    assert (new.end, new.cluster_uuid) == (at(1), UUID)
    assert new.get(Space.SECRET, "1/x") == b"\0\xff"
    assert new.append(at(1), database.entries_after(at(1), 2**20) or []).stored
    assert [found.id for found in new.jobs()] == [1, 2]


def test_a_copy_replaces_an_older_store(vaults: tuple[Vault, Vault]) -> None:
    """Nothing of the old one is left."""
    source, target = vaults
    old = target.create(UUID)
    old.append(START, [entry(1, job(77))])
    database = source.create(UUID)
    database.append(START, [entry(1, job(1))])
    new = target.received("t1", _send(source, database, target))
    old.close()
    target.install("t1", new)
    assert [found.id for found in target.open().jobs()] == [1]


def test_a_damaged_or_incomplete_copy_is_refused(vaults: tuple[Vault, Vault]) -> None:
    """The digest must fit, and no piece may be missing."""
    source, target = vaults
    database = source.create(UUID)
    digest = _send(source, database, target)
    target.receive("t1", 4096, b"zzzz")
    with pytest.raises(ConfigError, match="incomplete"):
        target.received("t1", digest)
    with pytest.raises(ConfigError, match="missing"):
        target.receive("t2", 10, b"late")
    with pytest.raises(ConfigError, match="incomplete"):
        target.received("t3", digest)


def test_a_store_is_set_aside(vaults: tuple[Vault, Vault]) -> None:
    """Afterwards the place is empty, and a new store may come."""
    vault, _ = vaults
    vault.create(UUID).close()
    vault.discard()
    vault.discard()
    assert not vault.exists()
    vault.create(UUID)


def test_one_daemon_at_a_time(vaults: tuple[Vault, Vault]) -> None:
    """The second is told who holds the store; after the release it may."""
    vault, _ = vaults
    vault.hold("gnt-masterd")
    vault.hold("gnt-masterd")
    other = FileVault(vault.path) if isinstance(vault, FileVault) else vault
    with pytest.raises(ConfigError, match="in use by gnt-masterd") as caught:
        other.hold("gnt-noded")
    assert caught.value.code == "in_use"
    vault.release()
    other.hold("gnt-noded")


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """The store, what is beside it and what is set aside."""
    vault = FileVault(tmp_path / "config.db")
    vault.hold("gnt-masterd")
    database = vault.create(UUID)
    database.append(START, [entry(1, job(1))])
    vault.snapshot(database, "t1")
    vault.receive("t2", 0, b"piece")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 6
    assert set(modes.values()) == {0o600}


def test_what_a_crash_left_of_a_transfer_goes(tmp_path: Path) -> None:
    """Pieces of an older transfer and copies that were being sent."""
    vault = FileVault(tmp_path / "config.db")
    database = vault.create(UUID)
    vault.snapshot(database, "t1")
    vault.receive("t2", 0, b"piece")
    vault.receive("t3", 0, b"piece")
    database.close()
    vault.open().close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.db", "config.db.receiving-t3"]


def test_a_transfer_cannot_leave_the_directory(tmp_path: Path) -> None:
    """Its name comes from another node."""
    vault = FileVault(tmp_path / "config.db")
    with pytest.raises(ConfigError, match="cannot be the name"):
        vault.receive("../../x", 0, b"")


def test_an_export_holds_no_secret(tmp_path: Path) -> None:
    """Neither as a row nor in the log; jobs and history are there."""
    path = tmp_path / "config.db"
    database = Database.create(path, UUID)
    database.append(START, [entry(1, job(1), Put(Space.SECRET, "1/x", b"hunter2hunter2"))])
    copy_store(path, tmp_path / "export.db", export=True)
    assert b"hunter2hunter2" not in (tmp_path / "export.db").read_bytes()
    exported = Reader.open(tmp_path / "export.db")
    assert [found.id for found in exported.jobs()] == [1]
    assert exported.log_end() == at(1)
