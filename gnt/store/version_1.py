"""From version 1 to 2: the secrets of objects leave their rows, the history and the log."""

from __future__ import annotations

import sqlite3

import msgspec

from gnt.store.changes import Archive, Change, Entry, Put, Remove, Space, decode_entry, encode_entry
from gnt.store.secrets import secret_key, split_row


def secrets_apart(connection: sqlite3.Connection) -> None:
    """Split every copy of an object that has secrets, inside the caller's transaction.

    The log is rewritten as the entries are made today, so that a node which is behind still catches up from it.
    """
    connection.execute("ALTER TABLE state ADD COLUMN history_from REAL NOT NULL DEFAULT 0")
    found = connection.execute("SELECT key, value FROM rows WHERE space = 'object'").fetchall()
    with_secrets: set[str] = set()
    for key, value in found:
        public, secret = _split(key, value)
        if secret is not None:
            with_secrets.add(key)
            connection.execute("UPDATE rows SET value = ? WHERE space = 'object' AND key = ?", (public, key))
            connection.execute("INSERT INTO secrets (key, value) VALUES (?, ?)", (secret_key(key), secret))
    with_secrets |= _history(connection)
    entries = [decode_entry(data) for (data,) in connection.execute("SELECT data FROM log ORDER BY serial")]
    for entry in entries:
        with_secrets |= {key for key, secret in map(_secret_put, entry.changes) if secret is not None}
    for entry in entries:
        _entry(connection, entry, with_secrets)
    _before(connection, with_secrets)


def _split(key: str, value: bytes) -> tuple[bytes, bytes | None]:
    return split_row(key.partition("/")[0], bytes(value))


def _secret_put(change: Change) -> tuple[str, bytes | None]:
    if isinstance(change, Put) and change.space is Space.OBJECT:
        return change.key, _split(change.key, change.value)[1]
    return "", None


def _history(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT key, serial, number, value FROM history WHERE value IS NOT NULL").fetchall()
    keys = set()
    for key, serial, number, value in found:
        public, secret = _split(key, value)
        if secret is not None:
            keys.add(key)
            connection.execute(
                "UPDATE history SET value = ? WHERE key = ? AND serial = ? AND number = ?",
                (public, key, serial, number),
            )
    return keys


def _entry(connection: sqlite3.Connection, entry: Entry, with_secrets: set[str]) -> None:
    changes: list[Change] = []
    jobs: list[int] = []
    serial = entry.position.serial
    for number, change in enumerate(entry.changes):
        job = entry.jobs[number] if number < len(entry.jobs) else 0
        made = [change] if isinstance(change, Archive) else _changes(change, with_secrets)
        changes += made
        jobs += [job] * len(made)
        for other in made[1:]:
            assert not isinstance(other, Archive)  # noqa: S101  (what _changes adds)
            connection.execute(
                "UPDATE secret_log SET removed = ? WHERE key = ? AND removed IS NULL AND serial < ?",
                (serial, other.key, serial),
            )
            if isinstance(other, Put):
                connection.execute("INSERT OR IGNORE INTO secret_log (key, serial) VALUES (?, ?)", (other.key, serial))
    if len(changes) != len(entry.changes):
        new = msgspec.structs.replace(entry, changes=tuple(changes), jobs=tuple(jobs))
        connection.execute("UPDATE log SET data = ? WHERE serial = ?", (encode_entry(new), serial))


def _changes(change: Put | Remove, with_secrets: set[str]) -> list[Change]:
    if change.space is not Space.OBJECT or change.key not in with_secrets:
        return [change]
    key = secret_key(change.key)
    if isinstance(change, Remove):
        return [change, Remove(Space.SECRET, key)]
    public, secret = _split(change.key, change.value)
    return [
        Put(Space.OBJECT, change.key, public),
        Put(Space.SECRET, key, secret) if secret is not None else Remove(Space.SECRET, key),
    ]


def _before(connection: sqlite3.Connection, with_secrets: set[str]) -> None:
    """Have secrets come back too where an entry is cut off that replaced them."""
    found = connection.execute("SELECT serial, key, value FROM before WHERE space = 'object'").fetchall()
    for serial, key, value in found:
        if key not in with_secrets:
            continue
        public, secret = (None, None) if value is None else _split(key, value)
        connection.execute(
            "UPDATE before SET value = ? WHERE serial = ? AND space = 'object' AND key = ?", (public, serial, key)
        )
        connection.execute(
            "INSERT INTO before (serial, space, key, value) VALUES (?, 'secret', ?, ?)",
            (serial, secret_key(key), secret),
        )
