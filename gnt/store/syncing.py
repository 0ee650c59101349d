"""Bringing files and names to the disk."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Bring a file's content to disk."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Bring a directory's names to disk, so that a rename in it lasts."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
