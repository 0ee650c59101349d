"""From an older version of the tables to ours, or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from gnt.masterd.jobs.job import encode_result, succeeded
from gnt.masterd.jobs.rows import decode_job, rows_between
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import ConfigError
from gnt.store.changes import Entry, Space
from gnt.store.database import Database
from gnt.store.migrations import found_version, migrate
from gnt.store.schema import VERSION
from gnt.store.version_2 import parts_of_jobs

DATA = Path(__file__).parent / "data"
"""Stores as older versions wrote them."""


def _older(version: int) -> sqlite3.Connection:
    connection = Database.create(None, "uuid").connection
    connection.execute("UPDATE state SET version = ?", (version,))
    return connection


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE extra (x)")


def _fill(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO extra VALUES (7)")


def _fail(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO nowhere VALUES (7)")


def test_each_step_leads_one_version_on() -> None:
    """The steps run in order, and the version is ours afterwards."""
    connection = _older(VERSION - 2)
    migrate(connection, "config.db", {VERSION - 2: _make, VERSION - 1: _fill})
    assert found_version(connection, "config.db") == VERSION
    assert connection.execute("SELECT x FROM extra").fetchall() == [(7,)]


def test_a_version_without_a_way_is_refused_untouched() -> None:
    """Also when only the first step is missing."""
    connection = _older(VERSION - 2)
    before = connection.serialize()
    with pytest.raises(ConfigError, match=f"has version {VERSION - 2}, this gnt reads version {VERSION}"):
        migrate(connection, "config.db", {VERSION - 1: _make})
    assert connection.serialize() == before


def test_a_step_that_fails_leaves_the_version_before_it() -> None:
    """Whole: what it had done is taken back."""
    connection = _older(VERSION - 2)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, "config.db", {VERSION - 2: _make, VERSION - 1: _fail})
    assert found_version(connection, "config.db") == VERSION - 1
    assert not connection.in_transaction


def test_a_store_without_a_version_is_damaged() -> None:
    """It says so in one line."""
    connection = _older(1)
    connection.execute("DELETE FROM state")
    with pytest.raises(ConfigError, match="names no version"):
        migrate(connection, "config.db")


def _version_1(tmp_path: Path) -> Path:
    path = tmp_path / "config.db"
    shutil.copy(DATA / "version-1.db", path)
    return path


def test_secrets_of_version_1_move_into_their_table(tmp_path: Path) -> None:
    """The cluster is the same; its rows, the history and the log hold no secret outside of `SECRET` rows."""
    database = Database.open(_version_1(tmp_path))
    cluster = database.load_cluster()
    assert cluster.instances["i1"].osparams_private == {"password": "web-secret-3"}
    assert cluster.instances["i2"].osparams_private == {}
    assert cluster.disks["d1"].logical_id[-1] == "drbd-secret-1"
    assert cluster.settings.osparams_private_cluster == {"debian": {"key": "cluster-secret-1"}}
    assert [key for key, _ in database.rows(Space.SECRET)] == [
        "9/0",
        "object/cluster/c1",
        "object/disk/d1",
        "object/instance/i1",
    ]
    for table in ("rows", "history"):
        for (value,) in database.connection.execute(f"SELECT value FROM {table} WHERE value IS NOT NULL"):  # noqa: S608
            assert b"-secret-" not in bytes(value)
    assert [bool(version.value) for version in database.history("instance/i2")] == [True, True, False]


def test_the_log_of_version_1_makes_the_same_store_elsewhere(tmp_path: Path) -> None:
    """A node that is behind gets objects and secrets from it; what is cut off comes back with its secrets."""
    database = Database.open(_version_1(tmp_path))
    other = Database.create(None, "c1")
    entries = database.entries_after(START, 2**20)
    assert entries is not None
    other.append(START, entries)
    for space in (Space.OBJECT, Space.SECRET, Space.META):
        assert other.rows(space) == database.rows(space)
    kept = entries[3].position
    again = Entry(Position(epoch=Epoch(number=2, node="n2"), serial=5), 0.0, (), ())
    for store in (database, other):
        assert store.append(kept, [again]).stored
        assert store.load_cluster().instances["i1"].osparams_private == {"password": "web-secret-2"}


def test_a_replaced_secret_of_version_1_leaves_the_log(tmp_path: Path) -> None:
    """As soon as the next entry is committed; what may yet be cut off keeps what would come back."""
    path = _version_1(tmp_path)
    database = Database.open(path)
    database.mark_committed(5)
    database.close()
    content = path.read_bytes()
    for gone in (b"web-secret-1", b"web-secret-2", b"mail-secret-1"):
        assert gone not in content
    for there in (b"web-secret-3", b"drbd-secret-1", b"cluster-secret-1", b"job-secret-1"):
        assert there in content


def _version_2(tmp_path: Path) -> Path:
    path = tmp_path / "config.db"
    shutil.copy(DATA / "version-2.db", path)
    return path


def test_jobs_of_version_2_stay_and_take_parts(tmp_path: Path) -> None:
    """Live and archived ones, half done or over; what is written of them from now on stands beside their rows."""
    database = Database.open(_version_2(tmp_path))
    assert [(row.id, row.archived) for row in database.jobs(ids=[1, 2, 3])] == [(1, True), (2, False), (3, False)]
    job = decode_job(database.jobs()[0].value)
    assert [op.status for op in job.ops] == ["success", "running", "queued"]
    assert [line.payload for op in job.ops for line in op.log] == ["one", "two", "three"]
    changes = rows_between(job, succeeded(1, 1004.0, encode_result([2]))(job))
    end = database.end
    new = Entry(Position(epoch=end.epoch, serial=end.serial + 1), 0.0, tuple(changes), (2,) * len(changes))
    assert database.append(end, [new]).stored
    assert [key for key, _ in database.rows(Space.PART)] == ["2/op/1"]
    after = decode_job(database.jobs()[0].value)
    assert [(op.status, bytes(op.result)) for op in after.ops][:2] == [("success", b'{"was":1}'), ("success", b"[2]")]
    again = Entry(Position(epoch=Epoch(number=2, node="n2"), serial=end.serial + 1), 0.0, (), ())
    assert database.append(end, [again]).stored
    assert decode_job(database.jobs()[0].value) == job


def migrate_to_3(connection: sqlite3.Connection) -> None:
    """Bring a store of version 2 to the one in which jobs had got parts."""
    parts_of_jobs(connection)
    connection.execute("UPDATE state SET version = 3")


def test_the_log_of_version_2_makes_the_same_jobs_elsewhere(tmp_path: Path) -> None:
    """A candidate that is behind catches up from it; what is cut off comes back."""
    database = Database.open(_version_2(tmp_path))
    other = Database.create(None, "c1")
    entries = database.entries_after(START, 2**20)
    assert entries is not None
    other.append(START, entries)
    again = Entry(Position(epoch=Epoch(number=2, node="n2"), serial=5), 0.0, (), ())
    for store in (database, other):
        assert store.append(entries[3].position, [again]).stored
        assert [op.status for op in decode_job(store.jobs()[0].value).ops] == ["success", "queued", "queued"]
    assert other.jobs() == database.jobs()
    assert other.jobs(live=False) == database.jobs(live=False)


def test_which_jobs_are_over_is_worked_out_for_a_version_that_did_not_say(tmp_path: Path) -> None:
    """From rows, and from the parts that version 3 has written."""
    path = _version_2(tmp_path)
    connection = sqlite3.connect(path, isolation_level=None)
    migrate_to_3(connection)
    over = b'{"start_timestamp":[1,0],"end_timestamp":[9,0]}'
    connection.execute("INSERT INTO job_parts VALUES (3, 'job', ?), (3, 'op/1', ?)", (over, b'{"status":"error"}'))
    connection.close()
    database = Database.open(path)
    assert database.ended_jobs() == [(3, "error")]
    assert [row.id for row in database.unfinished_jobs()] == [2]
    assert database.connection.execute("SELECT ended, status FROM jobs WHERE id = 1").fetchone() == (1002.0, "success")
