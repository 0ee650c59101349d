"""From an older version of the tables to ours, or not at all."""

from __future__ import annotations

import sqlite3

import pytest

from gnt.model.errors import ConfigError
from gnt.store.database import Database
from gnt.store.migrations import found_version, migrate
from gnt.store.schema import VERSION


def _older(version: int) -> sqlite3.Connection:
    connection = Database.create(None, "uuid").connection
    connection.execute("UPDATE state SET version = ?", (version,))
    return connection


def test_each_step_leads_one_version_on() -> None:
    """The steps run in order, and the version is ours afterwards."""
    connection = _older(VERSION - 2)
    steps = {VERSION - 2: "CREATE TABLE extra (x)", VERSION - 1: "INSERT INTO extra VALUES (7)"}
    migrate(connection, "config.db", steps)
    assert found_version(connection, "config.db") == VERSION
    assert connection.execute("SELECT x FROM extra").fetchall() == [(7,)]


def test_a_version_without_a_way_is_refused_untouched() -> None:
    """Also when only the first step is missing."""
    connection = _older(VERSION - 2)
    before = connection.serialize()
    with pytest.raises(ConfigError, match=f"has version {VERSION - 2}, this gnt reads version {VERSION}"):
        migrate(connection, "config.db", {VERSION - 1: "CREATE TABLE extra (x)"})
    assert connection.serialize() == before


def test_a_store_without_a_version_is_damaged() -> None:
    """It says so in one line."""
    connection = _older(1)
    connection.execute("DELETE FROM state")
    with pytest.raises(ConfigError, match="names no version"):
        migrate(connection, "config.db")
