"""A fresh room for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rapi.room import Room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Give a remote API with default settings."""
    made = Room(tmp_path)
    yield made
    made.api.stop()


@pytest.fixture
def open_room(tmp_path: Path) -> Iterator[Room]:
    """Give a remote API whose reads are open to everybody."""
    made = Room(tmp_path, open_reads=True)
    yield made
    made.api.stop()
