"""What is written on a simulated disk: sparse files, in which what was never written is a hole."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

PIECE: Final = 1 << 20
"""Bytes of which a mirror knows whether they are in step."""
_PAGE: Final = 4096
_ZEROS: Final = bytes(_PAGE)


def content_of(path: Path | str) -> dict[int, bytes]:
    """Give what a file holds besides zeros: pages of bytes by their offset."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return dict(_pages(handle))
    finally:
        os.close(handle)


def patched(content: Mapping[int, bytes], offset: int, data: bytes) -> dict[int, bytes]:
    """Give what a file holds, of which this was the content, after some bytes were written to it."""
    found = dict(content)
    for start in range(offset // _PAGE * _PAGE, offset + len(data), _PAGE):
        page = bytearray(found.get(start, _ZEROS))
        low, high = max(offset, start), min(offset + len(data), start + _PAGE)
        page[low - start : high - start] = data[low - offset : high - offset]
        found[start] = bytes(page)
        if not any(page):
            del found[start]
    return dict(sorted(found.items()))


def _pages(handle: int, pieces: Collection[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Give the pages of an open file that hold something: of all pieces, or of some."""
    for begin, length in extents_of(handle):
        for offset in range(begin, begin + length, PIECE):
            data = os.pread(handle, min(PIECE, begin + length - offset), offset)
            for start in range(0, len(data), _PAGE):
                page = data[start : start + _PAGE]
                if page != _ZEROS[: len(page)] and (pieces is None or (offset + start) // PIECE in pieces):
                    yield offset + start, page


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


def read_at(path: Path | str, offset: int, length: int) -> bytes:
    """Read some bytes; less where the file ends."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.pread(handle, length, offset)
    finally:
        os.close(handle)


def write_at(path: Path | str, offset: int, data: bytes) -> None:
    """Write some bytes."""
    handle = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(handle, data, offset)
    finally:
        os.close(handle)


def copy_pieces(source: Path, target: Path, pieces: set[int]) -> None:
    """Have a file hold the same as another in these pieces; what is zeros in both is not touched."""
    with source.open("rb") as coming_from, target.open("r+b") as going_to:
        size = os.fstat(going_to.fileno()).st_size
        now = dict(_pages(coming_from.fileno(), pieces))
        before = dict(_pages(going_to.fileno(), pieces))
        for offset in sorted(now.keys() | before.keys()):
            page = now.get(offset, _ZEROS)
            if page != before.get(offset, _ZEROS):
                os.pwrite(going_to.fileno(), page[: max(0, size - offset)], offset)


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


def differing_pieces(one: Path, other: Path, end: int) -> set[int]:
    """Give the pieces below `end` in which two files do not read the same."""
    return {piece for piece in changed_pieces(content_of(one), content_of(other)) if piece < end}
