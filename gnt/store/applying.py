"""What an entry does to the rows, and how that is taken back.

Few statements carry many changes: every statement gives the interpreter's lock away and has to wait to get it back from
a busy reactor, so a commit of a thousand jobs must not be a thousand of them. SQLite takes the rows apart itself, from
one JSON text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gnt.store.changes import Archive, Change, Entry, Put, Remove, Space, decode_entry, encode_entry
from gnt.store.job_ends import ended_in, note_ends, status_in
from gnt.store.job_parts import JOB

_Rows = Mapping[str, bytes | None]
"""What becomes of each key: its value, or None when it goes."""

_BEFORE_ROWS = """
INSERT INTO before (serial, space, key, value)
SELECT ?1, ?2, wanted.value, rows.value FROM json_each(?3) AS wanted
LEFT JOIN rows ON rows.space = ?2 AND rows.key = wanted.value
"""
_BEFORE_JOBS = """
INSERT INTO before (serial, space, key, value, archived)
SELECT ?1, 'job', CAST(wanted.value AS TEXT), jobs.value, coalesce(jobs.archived, 0) FROM json_each(?2) AS wanted
LEFT JOIN jobs ON jobs.id = wanted.value
"""
_PUT_ROWS = """
INSERT INTO rows (space, key, value) SELECT ?, key, CAST(atom AS BLOB) FROM json_each(?) WHERE true
ON CONFLICT (space, key) DO UPDATE SET value = excluded.value
"""
_PUT_JOBS = f"""
INSERT INTO jobs (id, ended, status, value)
SELECT CAST(key AS INTEGER), {ended_in("atom")}, {status_in("atom")}, CAST(atom AS BLOB) FROM json_each(?) WHERE true
ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, status = excluded.status, value = excluded.value
"""  # noqa: S608
_JOBS_IN = "SELECT value FROM json_each(?)"
_BEFORE_PARTS = """
INSERT OR IGNORE INTO before (serial, space, key, value)
SELECT ?1, 'part', wanted.value, job_parts.value FROM json_each(?2) AS wanted
LEFT JOIN job_parts ON job_parts.job = CAST(wanted.value AS INTEGER)
AND job_parts.part = substr(wanted.value, instr(wanted.value, '/') + 1)
"""
_BEFORE_ALL_PARTS = """
INSERT OR IGNORE INTO before (serial, space, key, value)
SELECT ?1, 'part', job || '/' || part, value FROM job_parts WHERE job IN (SELECT value FROM json_each(?2))
"""
# Text that begins with a number is cast to that number.
_PUT_PARTS = """
INSERT INTO job_parts (job, part, value)
SELECT CAST(key AS INTEGER), substr(key, instr(key, '/') + 1), CAST(atom AS BLOB) FROM json_each(?) WHERE true
ON CONFLICT (job, part) DO UPDATE SET value = excluded.value
"""


def apply_entry(connection: sqlite3.Connection, entry: Entry, *, keep_before: bool) -> int:
    """Write the log row and change the rows, inside the caller's transaction; gives the size of the log row in bytes.

    The last change of a key within an entry wins; jobs are archived after all puts. With `keep_before` the entry can
    be cut off again.
    """
    serial, epoch = entry.position.serial, entry.position.epoch
    data = encode_entry(entry)
    connection.execute(
        "INSERT INTO log (serial, epoch_number, epoch_node, data) VALUES (?, ?, ?, ?)",
        (serial, epoch.number, epoch.node, data),
    )
    spaces, archived = _last_of_each_key(entry.changes)
    if Space.OBJECT in spaces:
        _write_history(connection, entry, list(spaces[Space.OBJECT]))
    jobs = spaces.pop(Space.JOB, {})
    parts = spaces.pop(Space.PART, {})
    secrets = spaces.pop(Space.SECRET, {})
    for space, rows in spaces.items():
        if keep_before:
            connection.execute(_BEFORE_ROWS, (serial, space, _json(rows)))
        _write_rows(connection, space, rows)
    if jobs or archived:
        if keep_before:
            connection.execute(_BEFORE_JOBS, (serial, _json(sorted({*map(int, jobs), *archived}))))
        _write_jobs(connection, jobs, archived)
    if jobs or parts:
        _write_parts(connection, serial, [int(key) for key in jobs], parts, keep_before=keep_before)
    if secrets:
        _write_secrets(connection, serial, entry, secrets, keep_before=keep_before)
    return len(data)


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


def _values(rows: _Rows) -> str | None:
    puts = {key: value.decode() for key, value in rows.items() if value is not None}
    return msgspec.json.encode(puts).decode() if puts else None


def _removed(rows: _Rows) -> list[str]:
    return [key for key, value in rows.items() if value is None]


def _write_rows(connection: sqlite3.Connection, space: Space, rows: _Rows) -> None:
    values = _values(rows)
    if values is not None:
        connection.execute(_PUT_ROWS, (space, values))
    removed = _removed(rows)
    if removed:
        query = "DELETE FROM rows WHERE space = ? AND key IN (SELECT value FROM json_each(?))"
        connection.execute(query, (space, _json(removed)))


def _write_jobs(connection: sqlite3.Connection, jobs: _Rows, archived: Sequence[int]) -> None:
    values = _values(jobs)
    if values is not None:
        connection.execute(_PUT_JOBS, (values,))
    removed = [int(key) for key in _removed(jobs)]
    if removed:
        connection.execute("DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?))", (_json(removed),))
    if archived:
        query = "UPDATE jobs SET archived = 1 WHERE id IN (SELECT value FROM json_each(?))"
        connection.execute(query, (_json(archived),))


def _write_parts(
    connection: sqlite3.Connection, serial: int, whole: Sequence[int], parts: _Rows, *, keep_before: bool
) -> None:
    """Change parts of jobs, once all parts are gone of those jobs that were written whole or removed."""
    jobs = _json(whole)
    if keep_before:
        connection.execute(_BEFORE_PARTS, (serial, _json(parts)))
        connection.execute(_BEFORE_ALL_PARTS, (serial, jobs))
    if whole:
        connection.execute("DELETE FROM job_parts WHERE job IN (SELECT value FROM json_each(?))", (jobs,))
    values = _values(parts)
    if values is not None:
        connection.execute(_PUT_PARTS, (values,))
    for key in _removed(parts):
        job, _, part = key.partition("/")
        connection.execute("DELETE FROM job_parts WHERE job = ? AND part = ?", (int(job), part))
    # The end of a job stands in this part of it.
    ends = [int(key.partition("/")[0]) for key in parts if key.endswith(f"/{JOB}")]
    if ends:
        note_ends(connection, _JOBS_IN, _json(ends))


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


def forget_secrets(connection: sqlite3.Connection, committed: int) -> None:
    """Take secrets whose removal is committed out of the log too: their puts become removals."""
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
