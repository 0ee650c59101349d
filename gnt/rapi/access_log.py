"""One line for each request, in the common log format. Query and body are not in it: they may hold secrets."""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import Final, TextIO

from gnt.model.errors import ENVIRONMENT, Refused

MODE: Final = 0o640
_PLAIN: Final = re.compile(r"[^ !#-\[\]-~]")


def line(*, address: str, user: str, seconds: float, request: str, status: int, size: int) -> str:
    """Give the line of a request; `seconds` since the epoch, `size` bytes of the answer's body."""
    stamp = _stamp(int(seconds))
    name = _safe(user).replace(" ", "_") or "-"
    return f'{_safe(address)} - {name} [{stamp}] "{_safe(request)}" {status} {size or "-"}\n'


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def _safe(text: str) -> str:
    """Make what a client sent harmless in a log file: printable ASCII, no quotes."""
    return _PLAIN.sub(lambda found: f"\\x{ord(found[0]):02x}", text[:500])


class AccessLog:
    """The file; opened anew once it was moved away. A full disk loses lines, and stops nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()
        self._here = os.fstat(self._file.fileno())

    def write(self, text: str) -> None:
        """Write a line."""
        try:
            if not self._is_current():
                fresh = self._open()
                self._file.close()
                self._file = fresh
                self._here = os.fstat(fresh.fileno())
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError, Refused):
            return

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _is_current(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return (there.st_ino, there.st_dev) == (self._here.st_ino, self._here.st_dev)

    def _open(self) -> TextIO:
        """Open the file. Raises `Refused`."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        except OSError as problem:
            raise Refused(ENVIRONMENT, f"Cannot write the log {self._path}: {problem.strerror}") from None
        return os.fdopen(handle, "a", encoding="utf-8")
