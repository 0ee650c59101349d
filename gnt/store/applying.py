"""What an entry does to the rows, and how that is taken back.

An entry is carried out by one statement: a trigger takes its changes apart, from JSON texts, so a commit of a thousand
jobs is no more statements than that of one. Every statement gives the interpreter's lock away three times and has to
wait to get it back from a busy reactor; a commit that was a dozen of them waited longer for that than for the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from gnt.model.epoch import Epoch
from gnt.store.changes import Archive, Change, Entry, Put, Remove, Space, decode_entry, encode_entry
from gnt.store.job_ends import NOTE_ENDS, ended_in, note_ends, status_in
from gnt.store.job_parts import JOB

_Rows = Mapping[str, bytes | None]
"""What becomes of each key: its value, or None when it goes."""

_JOBS_IN: Final = "SELECT value FROM json_each(?)"

# In lists and texts of rows the key of one is "<space>/<key>"; those of parts are "<job>/<part>". What begins with a
# number is cast to that number. A null is an empty list, and touches nothing: each part of the trigger begins with that
# question, which is answered before any table of it is opened.
_COLUMNS: Final = (
    *("serial", "epoch_number", "epoch_node", "data"),
    *("rows_kept", "rows_put", "rows_removed"),
    *("jobs_kept", "jobs_put", "jobs_removed", "jobs_archived"),
    *("parts_kept", "whole_kept", "jobs_whole", "parts_put", "parts_removed", "jobs_noted"),
    *("promised_number", "promised_node", "committed", "known"),
)
_SPACE: Final = "substr({0}, 1, instr({0}, '/') - 1)"
_REST: Final = "substr({0}, instr({0}, '/') + 1)"
_BEGUN: Final = f"""
CREATE TEMP VIEW IF NOT EXISTS carried AS SELECT {", ".join(f"NULL AS {name}" for name in _COLUMNS)};
CREATE TEMP TRIGGER IF NOT EXISTS carry INSTEAD OF INSERT ON carried BEGIN

INSERT INTO log (serial, epoch_number, epoch_node, data)
VALUES (NEW.serial, NEW.epoch_number, NEW.epoch_node, NEW.data);

INSERT INTO before (serial, space, key, value)
SELECT NEW.serial, {_SPACE.format("kept.value")}, {_REST.format("kept.value")}, rows.value
FROM json_each(NEW.rows_kept) AS kept
LEFT JOIN rows ON rows.space = {_SPACE.format("kept.value")} AND rows.key = {_REST.format("kept.value")}
WHERE NEW.rows_kept IS NOT NULL;

INSERT INTO rows (space, key, value)
SELECT {_SPACE.format("key")}, {_REST.format("key")}, CAST(atom AS BLOB) FROM json_each(NEW.rows_put)
WHERE NEW.rows_put IS NOT NULL
ON CONFLICT (space, key) DO UPDATE SET value = excluded.value;

DELETE FROM rows WHERE NEW.rows_removed IS NOT NULL AND (space, key) IN
(SELECT {_SPACE.format("value")}, {_REST.format("value")} FROM json_each(NEW.rows_removed));

INSERT INTO before (serial, space, key, value, archived)
SELECT NEW.serial, 'job', CAST(kept.value AS TEXT), jobs.value, coalesce(jobs.archived, 0)
FROM json_each(NEW.jobs_kept) AS kept LEFT JOIN jobs ON jobs.id = kept.value WHERE NEW.jobs_kept IS NOT NULL;

INSERT INTO jobs (id, ended, status, value)
SELECT CAST(key AS INTEGER), {ended_in("atom")}, {status_in("atom")}, CAST(atom AS BLOB)
FROM json_each(NEW.jobs_put) WHERE NEW.jobs_put IS NOT NULL
ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, status = excluded.status, value = excluded.value;

DELETE FROM jobs WHERE NEW.jobs_removed IS NOT NULL AND id IN (SELECT value FROM json_each(NEW.jobs_removed));

UPDATE jobs SET archived = 1 WHERE NEW.jobs_archived IS NOT NULL AND id IN
(SELECT value FROM json_each(NEW.jobs_archived));

INSERT OR IGNORE INTO before (serial, space, key, value)
SELECT NEW.serial, 'part', kept.value, job_parts.value FROM json_each(NEW.parts_kept) AS kept
LEFT JOIN job_parts ON job_parts.job = CAST(kept.value AS INTEGER) AND job_parts.part = {_REST.format("kept.value")}
WHERE NEW.parts_kept IS NOT NULL;

INSERT OR IGNORE INTO before (serial, space, key, value)
SELECT NEW.serial, 'part', job || '/' || part, value FROM job_parts
WHERE NEW.whole_kept IS NOT NULL AND job IN (SELECT value FROM json_each(NEW.whole_kept));

DELETE FROM job_parts WHERE NEW.jobs_whole IS NOT NULL AND job IN (SELECT value FROM json_each(NEW.jobs_whole));

INSERT INTO job_parts (job, part, value)
SELECT CAST(key AS INTEGER), {_REST.format("key")}, CAST(atom AS BLOB) FROM json_each(NEW.parts_put)
WHERE NEW.parts_put IS NOT NULL
ON CONFLICT (job, part) DO UPDATE SET value = excluded.value;

DELETE FROM job_parts WHERE NEW.parts_removed IS NOT NULL AND (job, part) IN
(SELECT CAST(value AS INTEGER), {_REST.format("value")} FROM json_each(NEW.parts_removed));

{NOTE_ENDS} WHERE NEW.jobs_noted IS NOT NULL AND id IN (SELECT value FROM json_each(NEW.jobs_noted));

UPDATE state SET promised_number = NEW.promised_number, promised_node = NEW.promised_node, committed = NEW.committed
WHERE id = 1 AND NEW.committed IS NOT NULL;

DELETE FROM before WHERE NEW.known IS NOT NULL AND serial <= NEW.known;

END;
"""  # noqa: S608
CARRY: Final = f"INSERT INTO carried VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


@dataclass(frozen=True)
class Standing:
    """What a store says about itself once an entry is there: the promised epoch, what is on a majority.

    `known`: up to this serial nothing will be cut off any more, so what was before is forgotten; None: no news.
    """

    promised: Epoch
    committed: int
    known: int | None


def prepare(connection: sqlite3.Connection) -> None:
    """Make what `apply_entry` needs; nothing of it is in the store."""
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.executescript(_BEGUN)


def is_plain(entry: Entry) -> bool:
    """Say whether one statement is all that an entry needs: objects have history, secrets have places in the log."""
    return not any(
        not isinstance(change, Archive) and change.space in (Space.OBJECT, Space.SECRET) for change in entry.changes
    )


def apply_entry(
    connection: sqlite3.Connection, entry: Entry, *, keep_before: bool, standing: Standing | None = None
) -> int:
    """Write the log row and change the rows; gives the size of the log row in bytes.

    The last change of a key within an entry wins; jobs are archived after all puts. With `keep_before` the entry can
    be cut off again. A plain entry (`is_plain`) is one transaction with `standing`; others need the caller's.
    """
    data = encode_entry(entry)
    spaces, archived = _last_of_each_key(entry.changes)
    if Space.OBJECT in spaces:
        _write_history(connection, entry, list(spaces[Space.OBJECT]))
    jobs = spaces.pop(Space.JOB, {})
    parts = spaces.pop(Space.PART, {})
    secrets = spaces.pop(Space.SECRET, {})
    rows = {f"{space}/{key}": value for space, some in spaces.items() for key, value in some.items()}
    whole = _list([int(key) for key in jobs])
    epoch = entry.position.epoch
    connection.execute(
        CARRY,
        (
            *(entry.position.serial, epoch.number, epoch.node, data),
            *(_list(rows) if keep_before else None, _values(rows), _list(_removed(rows))),
            _list(sorted({*map(int, jobs), *archived})) if keep_before else None,
            *(_values(jobs), _list(list(map(int, _removed(jobs)))), _list(archived)),
            *(_list(parts) if keep_before else None, whole if keep_before else None, whole),
            *(_values(parts), _list(_removed(parts))),
            # The end of a job stands in this part of it.
            _list([int(key.partition("/")[0]) for key in parts if key.endswith(f"/{JOB}")]),
            *_standing(standing),
        ),
    )
    if secrets:
        _write_secrets(connection, entry.position.serial, entry, secrets, keep_before=keep_before)
    return len(data)


def _standing(standing: Standing | None) -> tuple[int | str | None, ...]:
    if standing is None:
        return (None, None, None, None)
    return (standing.promised.number, standing.promised.node, standing.committed, standing.known)


def _last_of_each_key(changes: Iterable[Change]) -> tuple[dict[Space, dict[str, bytes | None]], list[int]]:
    """Give what becomes of each key of each space, and the jobs that are archived."""
    spaces: dict[Space, dict[str, bytes | None]] = {}
    parts: dict[str, dict[str, bytes | None]] = {}
    archived: dict[int, None] = {}
    for change in changes:
        if isinstance(change, Archive):
            archived.update(dict.fromkeys(change.jobs))
            continue
        value = change.value if isinstance(change, Put) else None
        if change.space is Space.PART:
            parts.setdefault(change.key.partition("/")[0], {})[change.key] = value
            continue
        if change.space is Space.JOB:
            parts.pop(change.key, None)
        spaces.setdefault(change.space, {})[change.key] = value
    if parts:
        spaces[Space.PART] = {key: value for rows in parts.values() for key, value in rows.items()}
    return spaces, list(archived)


def _json(keys: Iterable[str] | Iterable[int]) -> str:
    return msgspec.json.encode(list(keys)).decode()


def _list(keys: Mapping[str, object] | Sequence[str] | Sequence[int]) -> str | None:
    return _json(keys) if keys else None


def _values(rows: _Rows) -> str | None:
    puts = {key: value.decode() for key, value in rows.items() if value is not None}
    return msgspec.json.encode(puts).decode() if puts else None


def _removed(rows: _Rows) -> list[str]:
    return [key for key, value in rows.items() if value is None]


def _write_secrets(
    connection: sqlite3.Connection, serial: int, entry: Entry, secrets: _Rows, *, keep_before: bool
) -> None:
    # Bytes, not text, and few: one statement each. The log remembers where a secret stands, to forget it there too.
    for key, value in secrets.items():
        if keep_before:
            connection.execute(
                "INSERT INTO before (serial, space, key, value)"
                " VALUES (?1, 'secret', ?2, (SELECT value FROM secrets WHERE key = ?2))",
                (serial, key),
            )
        if value is None:
            connection.execute("DELETE FROM secrets WHERE key = ?", (key,))
        else:
            connection.execute(
                "INSERT INTO secrets (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )
    written = {change.key for change in entry.changes if isinstance(change, Put) and change.space is Space.SECRET}
    for key in sorted(written):
        # What it was before is as good as removed.
        connection.execute("UPDATE secret_log SET removed = ? WHERE key = ? AND removed IS NULL", (serial, key))
        connection.execute("INSERT INTO secret_log (key, serial) VALUES (?, ?)", (key, serial))
    for key in _removed(secrets):
        connection.execute("UPDATE secret_log SET removed = ? WHERE key = ? AND removed IS NULL", (serial, key))


def _write_history(connection: sqlite3.Connection, entry: Entry, keys: Sequence[str]) -> None:
    """Record what each object was before each of its changes, also those within one entry."""
    (found,) = connection.execute(
        "SELECT json_group_object(key, CAST(value AS TEXT)) FROM rows"
        " WHERE space = 'object' AND key IN (SELECT value FROM json_each(?))",
        (_json(keys),),
    ).fetchone()
    current: dict[str, str | None] = msgspec.json.decode(found, type=dict[str, str | None])
    epoch, serial = entry.position.epoch, entry.position.serial
    rows: list[tuple[object, ...]] = []
    for number, change in enumerate(entry.changes):
        if isinstance(change, Archive) or change.space is not Space.OBJECT:
            continue
        old = current.get(change.key)
        job = entry.jobs[number] if number < len(entry.jobs) else 0
        before = None if old is None else old.encode()
        rows.append((change.key, serial, number, epoch.number, epoch.node, entry.time, job, before))
        current[change.key] = change.value.decode() if isinstance(change, Put) else None
    connection.executemany(
        "INSERT INTO history (key, serial, number, epoch_number, epoch_node, time, job, value)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def cut_after(connection: sqlite3.Connection, serial: int) -> None:
    """Take back every entry behind `serial`, newest first, inside the caller's transaction."""
    kept = connection.execute(
        "SELECT space, key, value, archived FROM before WHERE serial > ? ORDER BY serial DESC", (serial,)
    ).fetchall()
    touched = {_put_back(connection, space, key, value, archived) for space, key, value, archived in kept}
    note_ends(connection, _JOBS_IN, _json(sorted(touched - {0})))
    for table in ("before", "log", "history", "secret_log"):
        connection.execute(f"DELETE FROM {table} WHERE serial > ?", (serial,))  # noqa: S608
    connection.execute("UPDATE secret_log SET removed = NULL WHERE removed > ?", (serial,))


def _put_back(connection: sqlite3.Connection, space: str, key: str, value: bytes | None, archived: int) -> int:
    """Have a row as it was; gives the job that it is of, 0 if it is of none."""
    if space == Space.JOB:
        connection.execute("DELETE FROM jobs WHERE id = ?", (int(key),))
        if value is not None:
            connection.execute("INSERT INTO jobs (id, archived, value) VALUES (?, ?, ?)", (int(key), archived, value))
        return int(key)
    if space == Space.PART:
        job, _, part = key.partition("/")
        connection.execute("DELETE FROM job_parts WHERE job = ? AND part = ?", (int(job), part))
        if value is not None:
            connection.execute("INSERT INTO job_parts (job, part, value) VALUES (?, ?, ?)", (int(job), part, value))
        return int(job)
    # Secrets have a table of their own.
    columns = {"key": key} if space == Space.SECRET else {"space": space, "key": key}
    table = "secrets" if space == Space.SECRET else "rows"
    where = " AND ".join(f"{name} = ?" for name in columns)
    connection.execute(f"DELETE FROM {table} WHERE {where}", tuple(columns.values()))  # noqa: S608
    if value is not None:
        names, marks = ", ".join([*columns, "value"]), ", ".join("?" * (len(columns) + 1))
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", (*columns.values(), value))  # noqa: S608
    return 0


def forget_secrets(connection: sqlite3.Connection, committed: int) -> bool:
    """Take secrets whose removal is committed out of the log too: their puts become removals. False: there are none."""
    gone = connection.execute(
        "SELECT serial, key FROM secret_log WHERE removed <= ? ORDER BY serial", (committed,)
    ).fetchall()
    by_serial: dict[int, set[str]] = {}
    for serial, key in gone:
        by_serial.setdefault(serial, set()).add(key)
    for serial, keys in by_serial.items():
        row = connection.execute("SELECT data FROM log WHERE serial = ?", (serial,)).fetchone()
        if row is None:
            continue
        entry = decode_entry(row[0])
        changes = tuple(
            Remove(Space.SECRET, change.key)
            if isinstance(change, Put) and change.space is Space.SECRET and change.key in keys
            else change
            for change in entry.changes
        )
        clean = encode_entry(msgspec.structs.replace(entry, changes=changes))
        connection.execute("UPDATE log SET data = ? WHERE serial = ?", (clean, serial))
    connection.execute("DELETE FROM secret_log WHERE removed <= ?", (committed,))
    return bool(gone)
