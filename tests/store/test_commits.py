"""What a commit costs: statements, pages looked at, room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from gnt.model.epoch import START
from gnt.model.errors import ConfigError
from gnt.store.changes import Change, Entry, Put, Space
from gnt.store.database import Database, Limits
from gnt.store.vault import FileVault
from gnt.store.write_ahead import SHARE
from tests.store.support import FIRST, START_OF_TIME, archive, at, entry, gone, job, obj, part

ROOM = 2**20
FAR_AHEAD = START_OF_TIME * 2


class Usage(NamedTuple):
    """What is said of a disk, in bytes."""

    total: int
    used: int
    free: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a store with one entry."""
    path = tmp_path / "config.db"
    database = Database.create(path, "c")
    assert database.append(START, [entry(1, job(1))], epoch=FIRST, committed=1).stored
    database.close()
    return path


def used(path: Path) -> Database:
    """Open a store that has trimmed its history in this hour."""
    database = Database.open(path)
    assert database.append(at(1), [entry(2, job(2))], epoch=FIRST, committed=2).stored
    return database


def statements(database: Database) -> list[str]:
    """Note the statements that a store's connection is given; one that triggers others is noted again for each."""
    seen: list[str] = []
    database.connection.set_trace_callback(seen.append)
    return seen


@pytest.mark.parametrize("committed", [2, 3])
def test_a_commit_of_jobs_is_one_statement(path: Path, committed: int) -> None:
    """However many they are, alone or with candidates: each statement more may have to wait for a busy reactor."""
    database = used(path)
    seen = statements(database)
    many = [job(number) for number in range(3, 300)]
    last = Put(Space.META, "last_job", b"299")
    changes: tuple[Change, ...] = (last, *many, part(1, "log/1", [0, []]), gone(Space.UNDO, "1/0/001"), archive(2))
    assert database.append(at(2), [entry(3, *changes)], epoch=FIRST, committed=committed).stored
    assert {text.split("(")[0].strip() for text in seen} == {"INSERT INTO carried VALUES"}
    assert not database.connection.in_transaction
    assert len(database.jobs()) == 298


def steps(database: Database, serial: int) -> int:
    """Give how many steps of SQLite's machine a commit takes that has something of everything in it."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    put = (Put(Space.META, "last_job", b"2"), job(2), part(1, "log/9", [0, []]), part(1, "job", {}))
    changes = (*put, gone(Space.UNDO, "1/0/001"), gone(Space.PART, "1/log/5"), gone(Space.JOB, "3"), archive(4))
    database.connection.set_progress_handler(step, 1)
    stored = database.append(at(serial - 1), [entry(serial, *changes)], epoch=FIRST, committed=serial - 1).stored
    database.connection.set_progress_handler(None, 1)
    assert stored
    return count


def test_a_commit_looks_for_what_it_touches_and_through_nothing_else(path: Path, tmp_path: Path) -> None:
    """So it costs the same beside thousands of jobs, their parts and rows."""
    small, large = used(path), Database.create(tmp_path / "large.db", "c")
    filler = [job(number) for number in range(1, 2000)] + [
        part(1, f"log/{number}", [0, []]) for number in range(10, 900)
    ]
    rows = [Put(Space.UNDO, f"{number}/0/001", b"[]") for number in range(2, 2000)]
    assert large.append(START, [entry(1, *filler, *rows)], epoch=FIRST, committed=1).stored
    assert large.append(at(1), [entry(2, job(1))], epoch=FIRST, committed=2).stored
    assert steps(large, 3) <= 1.2 * steps(small, 3)


def test_a_statement_that_fails_leaves_nothing_behind(path: Path) -> None:
    """Neither in the store nor in what is known of it, and the next one is stored."""
    database = used(path)
    bad = Entry(at(3), START_OF_TIME, (Put(Space.META, "a", b"1"), Put(Space.JOB, "3", b"not json")), (0, 0))
    with pytest.raises(ConfigError):
        database.append(at(2), [bad], epoch=FIRST, committed=3)
    assert not database.connection.in_transaction
    assert (database.end, database.committed, database.state().committed) == (at(2), 2, 2)
    assert database.rows(Space.META) == []
    assert database.position_at(3) is None
    assert database.append(at(2), [entry(3, job(3))], epoch=FIRST, committed=3).stored


def test_with_objects_and_secrets_it_is_one_transaction(path: Path) -> None:
    """What has history, or a place in the log, needs more statements; none of them stands alone."""
    database = used(path)
    seen = statements(database)
    changes = (obj("instance/1", "a"), Put(Space.SECRET, "3/0", b"word"), job(3))
    assert database.append(at(2), [entry(3, *changes)], epoch=FIRST, committed=2).stored
    assert (seen[0], seen[-1]) == ("BEGIN IMMEDIATE", "COMMIT")
    assert sum(text in ("BEGIN IMMEDIATE", "COMMIT") for text in seen) == 2


@pytest.mark.parametrize("limits", [Limits(log_entries=1), Limits(log_bytes=1)])
def test_the_past_is_forgotten_all_the_same(path: Path, limits: Limits) -> None:
    """By entries and by bytes: what is too much goes with a commit, which is then more than a statement."""
    database = Database.open(path, limits)
    for serial in range(2, 400):
        assert database.append(at(serial - 1), [entry(serial, job(serial))], epoch=FIRST, committed=serial).stored
    (count,) = database.connection.execute("SELECT count(*) FROM log").fetchone()
    assert count < 300
    assert database.base.serial == database.end.serial - count


def test_history_is_forgotten_by_a_commit_that_has_none(path: Path) -> None:
    """The hour is over at whatever is stored next."""
    database = used(path)
    for serial, text in ((3, "a"), (4, "b")):
        changed = entry(serial, obj("instance/1", text))
        assert database.append(at(serial - 1), [changed], epoch=FIRST, committed=serial).stored
    later = entry(5, job(3), time=FAR_AHEAD)
    assert database.append(at(4), [later], epoch=FIRST, committed=5).stored
    assert database.connection.execute("SELECT count(*) FROM history").fetchone() == (0,)


# Room in the write-ahead log


def log_size(path: Path) -> int:
    """Give the bytes of the write-ahead log."""
    return Path(f"{path}-wal").stat().st_size


def test_the_log_has_its_room_before_it_is_needed(path: Path) -> None:
    """Commits write over it; the store itself is as it was."""
    before = path.stat().st_size
    database = Database.open(path)
    assert database.make_room(ROOM)
    room = log_size(path)
    assert room >= ROOM * 0.9
    for serial in range(2, 30):
        assert database.append(at(serial - 1), [entry(serial, job(serial))], epoch=FIRST, committed=serial).stored
    assert log_size(path) == room
    assert {job.id for job in database.jobs()} == set(range(1, 30))
    assert database.connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'room'").fetchone() == (0,)
    database.close()
    assert not Path(f"{path}-wal").exists() or log_size(path) == 0
    assert path.stat().st_size < before + ROOM // 2


def test_a_crash_in_a_log_with_room_loses_nothing(path: Path, tmp_path: Path) -> None:
    """What was acknowledged is found behind the header, what lies behind that in the room is nothing."""
    database = Database.open(path)
    assert database.make_room(ROOM)
    for serial in range(2, 10):
        assert database.append(at(serial - 1), [entry(serial, job(serial))], epoch=FIRST, committed=serial).stored
    there = tmp_path / "there"
    there.mkdir()
    for name in ("config.db", "config.db-wal"):
        shutil.copy(path.with_name(name), there / name)
    found = Database.open(there / "config.db")
    assert found.end == at(9)
    assert {job.id for job in found.jobs()} == set(range(1, 10))


def test_room_is_not_asked_for_twice(path: Path) -> None:
    """Nor does a log that is in use grow."""
    database = Database.open(path)
    assert database.make_room(ROOM)
    before = Path(f"{path}-wal").stat()
    assert database.make_room(ROOM // 2)
    assert Path(f"{path}-wal").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_is_no_reason_not_to_open(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Who wants to read may; the store says only that there is none."""
    database = Database.open(path)

    def full(*_args: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as context:
        context.setattr("gnt.store.write_ahead.os.pwrite", full)
        assert not database.make_room(ROOM)
    assert not database.connection.in_transaction
    assert [job.id for job in database.jobs()] == [1]
    assert database.append(at(1), [entry(2, job(2))], epoch=FIRST, committed=2).stored


def test_a_disk_that_fails_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, with the file; no transaction stays open."""
    database = Database.open(path)

    def broken(*_args: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("gnt.store.write_ahead.os.pwrite", broken)
    with pytest.raises(ConfigError, match=r"cannot write .*config\.db: Input/output error"):
        database.make_room(ROOM)
    assert not database.connection.in_transaction


def test_room_is_made_around_what_is_written(path: Path) -> None:
    """Piece by piece while commits go on; nothing of them is written over, and a crash finds all of them."""
    database = Database.open(path)
    serial = 1
    for piece in range(1, 9):
        for _ in range(20 * piece):
            serial += 1
            assert database.append(at(serial - 1), [entry(serial, job(serial))], epoch=FIRST, committed=serial).stored
        assert database.make_room(piece * ROOM // 8)
    assert log_size(path) >= ROOM
    there = path.with_name("there")
    there.mkdir()
    for name in ("config.db", "config.db-wal"):
        shutil.copy(path.with_name(name), there / name)
    found = Database.open(there / "config.db")
    assert found.end == at(serial)
    assert {job.id for job in found.jobs()} == set(range(1, serial + 1))


def test_a_log_that_is_only_room_is_empty(path: Path) -> None:
    """A machine that loses power before anything was written behind it opens the store as it was."""
    database = Database.open(path)
    assert database.make_room(ROOM)
    there = path.with_name("there")
    there.mkdir()
    shutil.copy(path, there / "config.db")
    (there / "config.db-wal").write_bytes(bytes(ROOM))
    found = Database.open(there / "config.db")
    assert found.append(at(1), [entry(2, job(2))], epoch=FIRST, committed=2).stored
    assert {job.id for job in found.jobs()} == {1, 2}


def test_the_log_leaves_a_small_disk_to_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a share of what is free; on a disk that is nearly full, nothing."""
    free = 4 * 2**20
    monkeypatch.setattr("gnt.store.write_ahead.shutil.disk_usage", lambda _path: Usage(free, 0, free))
    database = Database.open(path)
    assert not database.make_room(ROOM)
    assert 0.9 * free // SHARE <= log_size(path) <= free // SHARE
    free = 64 * 2**20
    assert database.make_room(ROOM)
    assert log_size(path) >= ROOM * 0.9


def test_the_log_begins_anew_once_it_is_folded_in(path: Path) -> None:
    """Beside the writing, and then the rest of it: it does not grow however much is written."""
    vault = FileVault(path, fold_at=10**6)
    database = vault.open()
    assert database.make_room(ROOM)
    room = log_size(path)
    serial = 1
    for _ in range(4):
        for _ in range(30):
            serial += 1
            assert database.append(at(serial - 1), [entry(serial, job(serial))], epoch=FIRST, committed=serial).stored
        vault.checkpoint()
        serial += 1
        assert database.append(at(serial - 1), [entry(serial, job(serial))], epoch=FIRST, committed=serial).stored
        database.fold()
    assert log_size(path) == room
    main = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    assert main.execute("SELECT max(serial) FROM log").fetchone() == (serial,)
