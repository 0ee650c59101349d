"""Raw data at paths: zeros, copies, pieces for another node. Every function blocks for the time of one piece.

Bypasses the page cache where the file system lets it: what a node wipes or copies is larger than its memory, and a
mirror must not find old data in one node's cache.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from typing import Final

from gnt.model.errors import NodeFailure

MIB: Final = 1 << 20
PIECE: Final = 64 * MIB
"""Bytes that one call of a function works on: some tenths of a second."""
_BUFFER: Final = 4 * MIB
_BLOCK: Final = 4096
_GRAIN: Final = 1 << 16
"""Bytes in whose multiples holes are kept."""


class Raw:
    """An open device or file. `size` in bytes; `may_grow`: a file that is to become as long as what is put there."""

    def __init__(self, path: str, *, write: bool = False, may_grow: bool = False) -> None:
        self.path = path
        self.may_grow = may_grow
        with failures(path):
            mode = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
            try:
                self.handle = os.open(path, mode | os.O_DIRECT)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.handle = os.open(path, mode)
            self.is_file = stat.S_ISREG(os.fstat(self.handle).st_mode)
            self.size = os.lseek(self.handle, 0, os.SEEK_END)

    def close(self) -> None:
        """Close it."""
        os.close(self.handle)

    def flush(self) -> None:
        """Have all that was written on disk."""
        with failures(self.path):
            os.fsync(self.handle)

    def write(self, data: bytes, offset: int) -> None:
        """Write some bytes; whole blocks go past the page cache."""
        with failures(self.path):
            for at in range(0, len(data), _BUFFER):
                piece = data[at : at + _BUFFER]
                if len(piece) % _BLOCK or offset % _BLOCK:
                    self.use_cache()
                aligned = mmap.mmap(-1, len(piece))
                aligned.write(piece)
                _write(self, memoryview(aligned), offset + at)

    def zero_from(self, offset: int, end: int) -> None:
        """Overwrite with zeros what is not zeros already."""
        for at, size in _steps(offset, end - offset):
            if not self.is_hole(at, size):
                write_zeros(self, at, size)

    def end_at(self, size: int) -> None:
        """Give a file that may grow exactly this length; a disk keeps its own."""
        if self.may_grow:
            with failures(self.path):
                os.ftruncate(self.handle, size)

    def use_cache(self) -> None:
        """Go on through the page cache: what is to be written is no whole number of blocks."""
        flags = fcntl.fcntl(self.handle, fcntl.F_GETFL)
        fcntl.fcntl(self.handle, fcntl.F_SETFL, flags & ~os.O_DIRECT)

    def is_hole(self, offset: int, length: int) -> bool:
        """Say whether a file has nothing stored there: it reads as zeros."""
        if not self.is_file:
            return False
        try:
            return os.lseek(self.handle, offset, os.SEEK_DATA) >= offset + length
        except OSError as error:
            return error.errno == errno.ENXIO


class Buffer:
    """A piece of memory as direct input and output want it, and as many zeros."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BUFFER)
        self.view = memoryview(self._memory)
        self.zeros = bytes(_BUFFER)

    def read(self, source: Raw, offset: int, length: int) -> memoryview:
        """Read exactly `length` bytes; raises `storage_error` where the source is shorter."""
        got = 0
        if length % _BLOCK or offset % _BLOCK:
            source.use_cache()
        while got < length:
            count = os.preadv(source.handle, [self.view[got:length]], offset + got)
            if not count:
                raise NodeFailure("storage_error", f"{source.path} ends at byte {offset + got}")
            got += count
        return self.view[:length]

    def is_zero(self, length: int) -> bool:
        """Say whether what was read is all zeros."""
        return self.view[:length] == self.zeros[:length]


def write_zeros(target: Raw, offset: int, length: int) -> None:
    """Overwrite with zeros."""
    zeros = memoryview(mmap.mmap(-1, _BUFFER))
    with failures(target.path):
        for at, size in _steps(offset, length):
            _write(target, zeros[:size], at)


def copy_piece(source: Raw, target: Raw, offset: int, length: int, buffer: Buffer) -> None:
    """Copy; where both are sparse the target stays so."""
    with failures(target.path):
        for at, size in _steps(offset, length):
            if source.is_hole(at, size):
                if not target.is_hole(at, size):
                    _write(target, _zeros(buffer, size), at)
                continue
            data = buffer.read(source, at, size)
            if not target.is_file:
                _write(target, data, at)
                continue
            for begin in range(0, size, _GRAIN):
                grain = data[begin : begin + _GRAIN]
                if grain != buffer.zeros[: len(grain)] or not target.is_hole(at + begin, len(grain)):
                    _write(target, grain, at + begin)


def _zeros(buffer: Buffer, size: int) -> memoryview:
    buffer.view[:size] = buffer.zeros[:size]
    return buffer.view[:size]


def _write(target: Raw, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(target.handle, data[done:], offset + done)


def _steps(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Cut a range into what the buffer holds."""
    end = offset + length
    while offset < end:
        size = min(_BUFFER, end - offset)
        yield offset, size
        offset += size


@contextlib.contextmanager
def failures(path: str) -> Iterator[None]:
    """Turn what the system says into a failure with a code."""
    try:
        yield
    except OSError as error:
        code = {errno.ENOSPC: "no_space", errno.ENOENT: "not_found", errno.EBUSY: "busy"}.get(error.errno or 0)
        raise NodeFailure(code or "storage_error", f"{path}: {error.strerror or error}") from error
