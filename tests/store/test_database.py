"""What the store promises about rows, the log and what is cut off again."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gnt.model.epoch import START, Epoch
from gnt.model.errors import ConfigError, StaleEpoch
from gnt.store.changes import Change, Entry, Put, Space
from gnt.store.database import Database, Limits
from gnt.store.reading import Reader
from gnt.store.schema import APPLICATION_ID, VERSION
from tests.store.support import FIRST, SECOND, START_OF_TIME, archive, at, entry, gone, job, obj, part

UUID = "8d5d2c2e-0a3f-4c8e-9a51-0a8f2e1c7a11"


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Give an empty store, once in a file and once in memory."""
    return Database.create(tmp_path / "config.db" if request.param == "file" else None, UUID)


def content(store: Reader) -> dict[str, object]:
    """Give all rows, for comparison."""
    spaces = (Space.OBJECT, Space.UNDO, Space.DEBT, Space.SECRET, Space.META, Space.PART)
    found: dict[str, object] = {space.value: store.rows(space) for space in spaces}
    found["job"] = store.jobs()
    found["archived"] = store.jobs(live=False)
    found["ended"] = store.ended_jobs()
    found["unfinished"] = store.unfinished_jobs()
    return found


def test_a_new_store_is_empty(database: Database) -> None:
    """It ends at the start, has promised nothing, and knows whose it is."""
    assert (database.end, database.committed, database.promised) == (START, 0, Epoch(number=0, node=""))
    assert database.cluster_uuid == UUID


def test_changes_become_rows(database: Database) -> None:
    """Each space gives back what was put into it; secrets are any bytes."""
    secret = bytes(range(256))
    result = database.append(
        START,
        [
            entry(
                1,
                obj("node/a", "one"),
                job(7, "running"),
                Put(Space.SECRET, "7/password", secret),
                Put(Space.META, 'odd "key" \\ ü', b'"value\\u0000"'),
            )
        ],
    )
    assert result.stored
    assert database.end == at(1)
    assert database.get(Space.OBJECT, "node/a") == b'{"text":"one"}'
    assert database.get(Space.SECRET, "7/password") == secret
    assert database.rows(Space.META) == [('odd "key" \\ ü', b'"value\\u0000"')]
    (found,) = database.jobs()
    assert (found.id, found.archived) == (7, False)
    assert database.get(Space.JOB, "7") == found.value


def test_the_last_change_of_a_key_wins(database: Database) -> None:
    """Several changes of one row in one commit come in their order; removing what is not there changes nothing."""
    database.append(
        START,
        [
            entry(
                1,
                obj("node/a", "one"),
                obj("node/a", "two"),
                obj("node/b", "x"),
                gone(Space.OBJECT, "node/b"),
                gone(Space.DEBT, "never"),
                job(1, "queued"),
                job(1, "success"),
            )
        ],
    )
    assert database.rows(Space.OBJECT) == [("node/a", b'{"text":"two"}')]
    assert [found.value for found in database.jobs()] == [job(1, "success").value]


def test_rows_are_found_by_prefix(database: Database) -> None:
    """Only keys that begin with the prefix are given, in order."""
    keys = ["7/1/0", "7/10/0", "70/0/0", "7/2/0"]
    database.append(START, [entry(1, *(Put(Space.UNDO, key, b"{}") for key in keys))])
    assert [key for key, _ in database.rows(Space.UNDO, "7/")] == ["7/1/0", "7/10/0", "7/2/0"]


def test_archived_jobs_leave_the_live_ones_and_stay_readable(database: Database) -> None:
    """They are found by their ids and among the archived."""
    database.append(START, [entry(1, job(1), job(2), job(3))])
    database.append(at(1), [entry(2, archive(1, 3, 99))])
    assert [found.id for found in database.jobs()] == [2]
    assert database.job_ids(live=False) == [1, 3]
    assert [(found.id, found.archived) for found in database.jobs(ids=[3, 2, 500])] == [(2, False), (3, True)]


def test_a_job_written_anew_has_no_parts_any_more(database: Database) -> None:
    """Nor one that is removed; parts written behind its row, in the same commit too, stay, and go into the archive."""
    parts = [part(number, "job", {"a": number}) for number in (1, 2, 3, 12)]
    database.append(START, [entry(1, job(1), job(2), job(3), job(12), *parts)])
    database.append(at(1), [entry(2, part(1, "op/0", {}), job(1), part(1, "job", {"b": 1}), gone(Space.JOB, "2"))])
    database.append(at(2), [entry(3, archive(3), gone(Space.PART, "12/job"))])
    assert database.rows(Space.PART) == [("1/job", b'{"b":1}'), ("3/job", b'{"a":3}')]
    assert database.rows(Space.PART, "3/") == [("3/job", b'{"a":3}')]
    assert database.get(Space.PART, "1/job") == b'{"b":1}'
    assert [row.parts for row in database.jobs()] == [(("job", b'{"b":1}'),), ()]
    assert [row.parts for row in database.jobs(live=False)] == [(("job", b'{"a":3}'),)]


def ended(number: int, when: float | None, *statuses: str) -> Put:
    """Give the change that writes a job which ended at a time, or has not."""
    stamp = None if when is None else [int(when), round(when % 1 * 1_000_000)]
    job = {"id": number, "ops": [{"status": status} for status in statuses], "end_timestamp": stamp}
    return Put(Space.JOB, str(number), msgspec.json.encode(job))


def test_jobs_that_are_over_are_known_without_reading_them(database: Database) -> None:
    """With their status, and those that ended before a time; whether row or parts say that they are over."""
    database.append(
        START,
        [
            entry(
                1,
                ended(1, 10.25, "success", "success"),
                ended(2, 11.0, "success", "error", "error"),
                ended(3, None, "success", "running"),
                ended(4, None, "success", "running"),
                ended(5, 12.0, "canceled"),
                archive(5),
            )
        ],
    )
    assert database.ended_jobs() == [(1, "success"), (2, "error")]
    assert database.ended_jobs(before=10.26) == [(1, "success")]
    assert [row.id for row in database.unfinished_jobs()] == [3, 4]
    over = [part(4, "op/1", {"status": "canceled"}), part(4, "job", {"end_timestamp": [13, 500_000]})]
    database.append(at(1), [entry(2, *over)])
    assert database.ended_jobs() == [(1, "success"), (2, "error"), (4, "canceled")]
    assert database.ended_jobs(before=13.5) == [(1, "success"), (2, "error")]
    assert [row.id for row in database.unfinished_jobs()] == [3]
    database.append(at(1), [entry(2, ended(1, None, "queued"), archive(2), epoch=SECOND)])
    assert database.ended_jobs() == []
    assert [row.id for row in database.unfinished_jobs()] == [1, 3, 4]


def test_an_append_that_does_not_fit_is_refused_untouched(database: Database) -> None:
    """The answer names where the logs may still agree."""
    database.append(START, [entry(1, obj("node/a", "one"))])
    before = content(database)
    assert database.append(at(5), [entry(6, obj("node/a", "six"))]).end == at(1)
    refused = database.append(at(1, SECOND), [entry(2, obj("node/a", "two"), epoch=SECOND)])
    assert (refused.stored, refused.end) == (False, at(1))
    assert content(database) == before
    assert database.end == at(1)


def test_the_same_append_twice_is_one(database: Database) -> None:
    """Also when newer entries have come meanwhile: they are not cut off."""
    first, second = entry(1, job(1)), entry(2, job(2))
    database.append(START, [first])
    database.append(at(1), [second])
    again = database.append(START, [first])
    assert (again.stored, again.end) == (True, at(1))
    assert database.end == at(2)
    assert [found.id for found in database.jobs()] == [1, 2]


CUTS: list[Callable[[], list[Change]]] = [
    lambda: [obj("node/a", "changed"), obj("node/new", "new"), gone(Space.OBJECT, "node/b")],
    lambda: [job(1, "running"), job(9), archive(2)],
    lambda: [gone(Space.JOB, "1"), gone(Space.JOB, "3")],
    lambda: [part(2, "job", {"a": 2}), part(2, "op/1", {}), gone(Space.PART, "2/log/1"), gone(Space.PART, "2/log/7")],
    lambda: [part(2, "op/2", {}), job(2, "again"), part(2, "job", {"a": 3}), job(1, "again")],
    lambda: [gone(Space.JOB, "2")],
    lambda: [Put(Space.SECRET, "1/x", b"other"), gone(Space.SECRET, "2/x"), Put(Space.SECRET, "3/x", b"new")],
    lambda: [Put(Space.META, "last_job", b"99"), gone(Space.META, "drained")],
]


@pytest.mark.parametrize("changes", CUTS)
def test_conflicting_entries_are_cut_off_with_what_they_did(
    database: Database, changes: Callable[[], list[Change]]
) -> None:
    """Rows, jobs, secrets and history are as if the entries had never been; then the new ones hold."""
    database.append(
        START,
        [
            entry(
                1,
                obj("node/a", "a"),
                obj("node/b", "b"),
                job(1),
                job(2),
                job(3),
                archive(3),
                part(2, "job", {"a": 1}),
                part(2, "log/1", [0, []]),
                Put(Space.SECRET, "1/x", b"one"),
                Put(Space.SECRET, "2/x", b"two"),
                Put(Space.META, "last_job", b"3"),
                Put(Space.META, "drained", b"true"),
            )
        ],
        committed=1,
    )
    before, history = content(database), database.history("node/a")
    database.append(at(1), [entry(2, *changes()), entry(3, *changes())])
    assert content(database) != before
    database.append(at(1), [entry(2, Put(Space.META, "new", b"1"), epoch=SECOND)])
    assert database.end == at(2, SECOND)
    assert database.get(Space.META, "new") == b"1"
    database.append(at(1), [entry(2, epoch=Epoch(number=3, node="c"))])
    assert content(database) == before
    assert database.history("node/a") == history


def test_nothing_committed_is_ever_cut_off(database: Database) -> None:
    """Such a master is told, and nothing changes."""
    database.append(START, [entry(1, job(1)), entry(2, job(2))], committed=1)
    before = content(database)
    with pytest.raises(ConfigError, match="committed entry 1"):
        database.append(START, [entry(1, job(5), epoch=SECOND)])
    assert content(database) == before
    assert database.append(at(1), [entry(2, job(5), epoch=SECOND)]).stored


def test_committed_is_never_more_than_what_is_here(database: Database) -> None:
    """A master that is ahead does not make entries committed that may still be replaced."""
    database.append(START, [entry(1, job(1)), entry(2, job(2))])
    database.append(START, [entry(1, job(1))], committed=50)
    assert database.committed == 1
    database.mark_committed(50)
    assert database.committed == 2
    database.mark_committed(1)
    assert database.committed == 2


def test_entries_out_of_order_are_refused(database: Database) -> None:
    """A gap or a falling epoch is the sender's fault."""
    with pytest.raises(ConfigError, match="cannot follow"):
        database.append(START, [entry(2, job(1))])
    with pytest.raises(ConfigError, match="cannot follow"):
        database.append(START, [entry(1, epoch=SECOND), entry(2, epoch=FIRST)])


def test_a_promise_holds_against_older_epochs(database: Database) -> None:
    """Each number is promised once; an append of an older epoch is refused, one of a newer raises the promise."""
    assert database.promise(SECOND)
    assert database.promise(SECOND)
    assert not database.promise(Epoch(number=2, node="node-z"))
    assert not database.promise(FIRST)
    with pytest.raises(StaleEpoch, match="1@node-a"):
        database.append(START, [entry(1)], epoch=FIRST)
    third = Epoch(number=3, node="node-c")
    database.append(START, [], epoch=third)
    assert database.promised == third


def test_history_tells_what_an_object_was_and_who_changed_it(database: Database) -> None:
    """Newest first; two changes in one commit are two versions; other rows leave none."""
    database.append(START, [entry(1, obj("node/a", "one"), job=3)])
    database.append(at(1), [entry(2, obj("node/a", "two"), obj("node/a", "three"), job=4, time=START_OF_TIME + 5)])
    database.append(at(2), [entry(3, gone(Space.OBJECT, "node/a"), job(4), job=5)])
    versions = database.history("node/a")
    assert [(version.position.serial, version.job, version.value) for version in versions] == [
        (3, 5, b'{"text":"three"}'),
        (2, 4, b'{"text":"two"}'),
        (2, 4, b'{"text":"one"}'),
        (1, 3, None),
    ]
    assert versions[1].time == START_OF_TIME + 5


def test_history_ends_after_ninety_days(database: Database) -> None:
    """What was replaced longer ago is forgotten with a later commit."""
    day = 86400.0
    database.append(START, [entry(1, obj("node/a", "one"))])
    database.append(at(1), [entry(2, obj("node/a", "two"), time=START_OF_TIME + 80 * day)])
    database.append(at(2), [entry(3, obj("node/a", "three"), time=START_OF_TIME + 91 * day)])
    assert [version.position.serial for version in database.history("node/a")] == [3, 2]


def test_the_log_is_trimmed_and_says_so() -> None:
    """Enough stays for catching up; a position before that is not found, and `common` gives the base."""
    database = Database.create(None, UUID, Limits(log_entries=10))
    for serial in range(1, 400):
        database.append(at(serial - 1), [entry(serial, job(serial))], committed=serial)
    count = len(database.entries_after(database.base, 2**30) or [])
    assert 10 <= count < 300
    assert database.base == at(399 - count)
    assert database.entries_after(at(1), 1000) is None
    assert database.common(at(1)) == database.base
    assert not database.append(at(1), [entry(2)]).stored


def test_the_log_is_trimmed_by_size_but_never_what_is_not_committed() -> None:
    """Large entries count by their bytes."""
    database = Database.create(None, UUID, Limits(log_bytes=100_000))
    for serial in range(1, 50):
        database.append(at(serial - 1), [entry(serial, job(1, filler="x" * 10_000))])
    assert database.base == START
    database.append(at(49), [entry(50, job(2))], committed=49)
    kept = database.entries_after(database.base, 2**30) or []
    assert 5 <= len(kept) <= 12
    assert kept[-1].position == at(50)


def test_entries_are_given_in_pieces(database: Database) -> None:
    """At least one, else as many as fit."""
    entries = [entry(serial, job(serial, filler="x" * 1000)) for serial in range(1, 11)]
    database.append(START, entries)
    assert database.entries_after(START, 1) == entries[:1]
    found = database.entries_after(at(2), 5000)
    assert found == entries[2 : 2 + len(found or [])]
    assert 3 <= len(found or []) <= 5
    assert database.entries_after(at(10), 1000) == []
    assert database.entries_after(at(10, SECOND), 1000) is None


def _log_bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def test_a_secret_leaves_the_file_with_its_row(tmp_path: Path) -> None:
    """Once its removal is committed it is in no table and not in the log; after an orderly stop nowhere in the file."""
    path = tmp_path / "config.db"
    database = Database.create(path, UUID)
    database.append(START, [entry(1, Put(Space.SECRET, "1/x", b"hunter2hunter2"), job(1))])
    database.append(at(1), [entry(2, gone(Space.SECRET, "1/x"))])
    assert b"hunter2hunter2" in _log_bytes(path)
    database.append(at(2), [entry(3)], committed=2)
    assert database.rows(Space.SECRET) == []
    assert database.entries_after(START, 2**20) == [
        entry(1, gone(Space.SECRET, "1/x"), job(1)),
        entry(2, gone(Space.SECRET, "1/x")),
        entry(3),
    ]
    assert b"hunter2hunter2" not in _log_bytes(path)
    database.close()
    assert b"hunter2hunter2" not in _log_bytes(path)


def test_a_secret_leaves_the_write_ahead_log_when_nobody_reads_there(tmp_path: Path) -> None:
    """A commit does not wait for a reader: the next fold wipes it away. The log keeps the room that it had."""
    path = tmp_path / "config.db"
    database = Database.create(path, UUID)
    assert database.make_room(2**20)
    room = Path(f"{path}-wal").stat().st_size
    database.append(START, [entry(1, Put(Space.SECRET, "1/x", b"hunter2hunter2"), job(1))])
    database.append(at(1), [entry(2, gone(Space.SECRET, "1/x"))])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM log").fetchone()
    before = time.monotonic()
    assert database.append(at(2), [entry(3)], committed=2).stored
    assert database.append(at(3), [entry(4)], committed=3).stored
    assert time.monotonic() - before < 5
    assert b"hunter2hunter2" in _log_bytes(path)
    reader.execute("COMMIT")
    database.fold()
    assert b"hunter2hunter2" not in _log_bytes(path)
    assert Path(f"{path}-wal").stat().st_size >= room
    assert database.append(at(4), [entry(5)], committed=4).stored
    reader.close()
    database.close()


def test_a_log_that_is_begun_anew_because_of_a_secret_gets_no_more_room_than_a_commit_may_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of what a master's log has comes back as it is needed."""
    monkeypatch.setattr("gnt.store.database.ROOM_AGAIN", 2**20)
    path = tmp_path / "config.db"
    database = Database.create(path, UUID)
    assert database.make_room(3 * 2**20)
    database.append(START, [entry(1, Put(Space.SECRET, "1/x", b"hunter2hunter2"), job(1))])
    database.append(at(1), [entry(2, gone(Space.SECRET, "1/x"))])
    assert database.append(at(2), [entry(3)], committed=2).stored
    assert 0.9 * 2**20 < Path(f"{path}-wal").stat().st_size < 2 * 2**20
    database.close()


def test_everything_is_there_after_closing_and_copying_the_file(tmp_path: Path) -> None:
    """An orderly stop folds the write-ahead log in: the file alone is the store, for its owner only."""
    database = Database.create(tmp_path / "config.db", UUID)
    database.append(START, [entry(1, obj("node/a", "one"), job(1)), entry(2, job(2))], epoch=FIRST, committed=1)
    before = content(database)
    database.close()
    assert stat.S_IMODE((tmp_path / "config.db").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["config.db"]  # noqa: PTH208
    (tmp_path / "copy.db").write_bytes((tmp_path / "config.db").read_bytes())
    copy = Database.open(tmp_path / "copy.db")
    assert content(copy) == before
    assert (copy.end, copy.committed, copy.promised) == (at(2), 1, FIRST)
    assert copy.append(at(1), [entry(2, job(3), epoch=SECOND)]).stored
    assert [found.id for found in copy.jobs()] == [1, 3]


def test_readers_see_what_is_committed_while_another_writes(tmp_path: Path) -> None:
    """A reading connection follows the writing one; it cannot write."""
    path = tmp_path / "config.db"
    database = Database.create(path, UUID)
    reader = Reader.open(path)
    database.append(START, [entry(1, job(1))])
    assert [found.id for found in reader.jobs()] == [1]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM jobs")


def test_another_connection_writing_is_noticed(tmp_path: Path) -> None:
    """`refresh` brings end, committed and promise in line with the file."""
    path = tmp_path / "config.db"
    one, two = Database.create(path, UUID), Database.open(path)
    one.append(START, [entry(1, job(1))], epoch=SECOND, committed=1)
    two.refresh()
    assert (two.end, two.committed, two.promised) == (at(1), 1, SECOND)


def test_a_store_in_memory_survives_as_bytes() -> None:
    """For the simulator: `serialize` and `deserialize` are a disk."""
    database = Database.create(None, UUID)
    database.append(START, [entry(1, job(1))])
    copy = Database.deserialize(database.serialize())
    database.append(at(1), [entry(2, job(2))])
    assert copy.end == at(1)
    assert [found.id for found in copy.jobs()] == [1]


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE state (id INTEGER, version INTEGER)")
    connection.commit()
    connection.close()


def _other_version(path: Path) -> None:
    Database.create(path, UUID).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE state SET version = 99")
    connection.commit()
    connection.close()


def _torn(path: Path) -> None:
    database = Database.create(path, UUID)
    database.append(START, [entry(n, job(n, filler="x" * 5000)) for n in range(1, 40)])
    database.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scribbled(path: Path) -> None:
    database = Database.create(path, UUID)
    database.append(START, [entry(n, job(n, filler="x" * 500)) for n in range(1, 200)])
    database.close()
    image = bytearray(path.read_bytes())
    image[8192:40960] = b"\xa5" * (40960 - 8192)
    path.write_bytes(image)


def _garbage(path: Path) -> None:
    path.write_bytes(b"\0garbage" * 1000)


def _empty(path: Path) -> None:
    path.touch()


BAD_FILES = [
    (_foreign, "was not made by gnt"),
    (_other_version, f"has version 99, this gnt reads version {VERSION}"),
    (_torn, "damaged"),
    (_scribbled, "damaged"),
    (_garbage, "is not a store of gnt"),
    (_empty, "is not a store of gnt"),
]


@pytest.mark.parametrize(("make", "text"), BAD_FILES)
def test_a_file_that_cannot_be_used_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], text: str
) -> None:
    """One line says what is wrong with which file and what to do; not a byte of it changes."""
    path = tmp_path / "config.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=text) as caught:
        Database.open(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert path.read_bytes() == before


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    """Nothing is made by opening."""
    with pytest.raises(ConfigError, match="does not exist"):
        Database.open(tmp_path / "config.db")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_not_made_over_another(tmp_path: Path) -> None:
    """What is there stays; what a crash left half made does not hinder."""
    path = tmp_path / "config.db"
    (tmp_path / "config.db.new").write_bytes(b"half")
    Database.create(path, UUID).close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        Database.create(path, UUID)
    assert path.read_bytes() == before


def test_the_file_says_whose_it_is(tmp_path: Path) -> None:
    """The application id stands in the header, for file(1) and for other programs."""
    path = tmp_path / "config.db"
    Database.create(path, UUID).close()
    assert int.from_bytes(path.read_bytes()[68:72], "big") == APPLICATION_ID


def test_many_entries_at_once_are_one_transaction(database: Database) -> None:
    """A failure in the last of them leaves none behind."""
    bad = Entry(at(3), START_OF_TIME, (Put(Space.JOB, "3", b"not json"),), (0,))
    with pytest.raises(ConfigError):
        database.append(START, [entry(1, job(1)), entry(2, job(2)), bad])
    assert (database.end, database.jobs()) == (START, [])
    assert database.append(START, [entry(1, job(1))]).stored
