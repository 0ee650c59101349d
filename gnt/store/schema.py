"""The tables of a store, and how a file says that it is one of ours."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x676E7421  # "gnt!" in the header of the file
VERSION: Final = 4

# `state` has one row. `before` holds what an entry that is not committed yet has replaced, so that it can be cut off.
# `ended` (seconds; null: not yet) and `status` (of its last opcode) of a job follow from its row and parts.
# `history_from`: what was replaced before that time (seconds) is forgotten.
# `secret_log` says which entries of the log hold a secret, so that they can be rewritten when it is gone.
TABLES: Final = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    cluster_uuid TEXT NOT NULL,
    promised_number INTEGER NOT NULL DEFAULT 0,
    promised_node TEXT NOT NULL DEFAULT '',
    committed INTEGER NOT NULL DEFAULT 0,
    base_number INTEGER NOT NULL DEFAULT 0,
    base_node TEXT NOT NULL DEFAULT '',
    base_serial INTEGER NOT NULL DEFAULT 0,
    history_from REAL NOT NULL DEFAULT 0
);
CREATE TABLE rows (space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;
CREATE TABLE secrets (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    archived INTEGER NOT NULL DEFAULT 0,
    ended REAL,
    status TEXT,
    value BLOB NOT NULL
);
CREATE INDEX jobs_live ON jobs (id, ended, status) WHERE archived = 0;
CREATE INDEX jobs_archived ON jobs (id) WHERE archived = 1;
CREATE TABLE job_parts (
    job INTEGER NOT NULL,
    part TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (job, part)
) WITHOUT ROWID;
CREATE TABLE history (
    key TEXT NOT NULL,
    serial INTEGER NOT NULL,
    number INTEGER NOT NULL,
    epoch_number INTEGER NOT NULL,
    epoch_node TEXT NOT NULL,
    time REAL NOT NULL,
    job INTEGER NOT NULL,
    value BLOB,
    PRIMARY KEY (key, serial, number)
) WITHOUT ROWID;
CREATE INDEX history_time ON history (time);
CREATE INDEX history_serial ON history (serial);
CREATE TABLE log (
    serial INTEGER PRIMARY KEY,
    epoch_number INTEGER NOT NULL,
    epoch_node TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE before (
    serial INTEGER NOT NULL,
    space TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    archived INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (serial, space, key)
) WITHOUT ROWID;
CREATE TABLE secret_log (
    key TEXT NOT NULL,
    serial INTEGER NOT NULL,
    removed INTEGER,
    PRIMARY KEY (key, serial)
) WITHOUT ROWID;
"""
