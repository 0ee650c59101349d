"""What is written on a simulated disk: sparse files, in which what was never written is a hole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

PIECE: Final = 1 << 20
"""Bytes of which a mirror knows whether they are in step."""


def content_of(path: Path) -> dict[int, bytes]:
    """Give what a file holds besides zeros: bytes by their offset."""
    found: dict[int, bytes] = {}
    with path.open("rb") as file:
        for offset, length in extents_of(file.fileno()):
            file.seek(offset)
            data = file.read(length)
            if data.strip(b"\0"):
                found[offset] = data
    return found


def extents_of(handle: int) -> Iterator[tuple[int, int]]:
    """Give the ranges (offset, length) of an open file in which something is stored."""
    end = os.fstat(handle).st_size
    offset = 0
    while offset < end:
        try:
            begin = os.lseek(handle, offset, os.SEEK_DATA)
        except OSError:
            return
        offset = os.lseek(handle, begin, os.SEEK_HOLE)
        yield begin, offset - begin


def write_content(path: Path, content: Mapping[int, bytes]) -> None:
    """Have a file hold exactly this, and zeros elsewhere; its length stays."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(0)
        file.truncate(size)
        for offset, data in content.items():
            file.seek(offset)
            file.write(data[: max(0, size - offset)])


def write_at(path: Path, offset: int, data: bytes) -> None:
    """Write some bytes."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def copy_pieces(source: Path, target: Path, pieces: set[int]) -> None:
    """Have a file hold the same as another in these pieces; what is zeros in both is not touched."""
    with source.open("rb") as coming_from, target.open("r+b") as going_to:
        stored = _stored(coming_from.fileno()) | _stored(going_to.fileno())
        size = os.fstat(going_to.fileno()).st_size
        for piece in sorted(pieces & stored):
            coming_from.seek(piece * PIECE)
            going_to.seek(piece * PIECE)
            data = coming_from.read(min(PIECE, max(0, size - piece * PIECE)))
            going_to.write(data)


def copy_file(source: str, target: str) -> None:
    """Copy a file and its holes."""
    with open(source, "rb") as coming_from, open(target, "wb") as going_to:  # noqa: PTH123  (texts, not paths)
        going_to.truncate(os.fstat(coming_from.fileno()).st_size)
        for offset, length in extents_of(coming_from.fileno()):
            coming_from.seek(offset)
            going_to.seek(offset)
            going_to.write(coming_from.read(length))


def changed_pieces(before: Mapping[int, bytes], now: Mapping[int, bytes]) -> set[int]:
    """Give the pieces in which two contents may differ."""
    if before == now:
        return set()
    different = [(offset, data) for offset, data in (*before.items(), *now.items())]
    return {
        piece
        for offset, data in different
        if before.get(offset) != now.get(offset)
        for piece in range(offset // PIECE, (offset + len(data) - 1) // PIECE + 1)
    }


def _stored(handle: int) -> set[int]:
    return {
        piece
        for offset, length in extents_of(handle)
        for piece in range(offset // PIECE, (offset + length - 1) // PIECE + 1)
    }
