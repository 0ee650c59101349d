"""Why the kernel refused a mirror's peer: it tells its log, and nobody else.

All of it blocks. Where the log is not for us (a container), no reason is known.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

LOG: Final = Path("/dev/kmsg")
_RECORD: Final = 8192
_REASON: Final = re.compile(
    r"split-brain detected but unresolved|unrelated data|authentication of peer failed|incompatible|peer presented|"
    r"multiple primaries|two-primaries|digest|shared-secret|differ|too small",
    re.IGNORECASE,
)
_SPLIT: Final = "split-brain"


class KernelLog:
    """What the kernel says from the moment on at which this is made. `close` in the end."""

    def __init__(self, path: Path = LOG) -> None:
        self._handle: int | None = None
        with suppress(OSError):
            self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._handle, 0, os.SEEK_END)

    def close(self) -> None:
        """Hear no more."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def reason(self, *names: str) -> str:
        """Give the last line about one of these (`drbd0`, `resource0`) that is a reason; empty if there is none."""
        found = ""
        for line in self._lines():
            spoken = next((line.partition(f"{name}: ")[2] for name in names if f"{name}: " in line), "")
            if _REASON.search(spoken):
                found = spoken
        return found

    def _lines(self) -> list[str]:
        """Read what has come since the last time; each record is a read of its own."""
        lines: list[str] = []
        while self._handle is not None:
            try:
                record = os.read(self._handle, _RECORD)
            except OSError as error:
                # EPIPE: some lines were overwritten before we read them; the next read goes on after them.
                if error.errno == errno.EPIPE:
                    continue
                break
            if not record:
                break
            lines += [_text(line) for line in record.decode(errors="replace").splitlines() if not line.startswith(" ")]
        return lines


def is_about_two(reason: str) -> bool:
    """Say whether a reason is that one side may be written to together with the other, and that one may not."""
    return "two-primaries" in reason.lower()


def is_split(reason: str) -> bool:
    """Say whether a reason is that both sides have written without each other."""
    return _SPLIT in reason.lower()


def _text(line: str) -> str:
    """Take the numbers away that go before a record's text."""
    head, semicolon, text = line.partition(";")
    return text if semicolon and head[:1].isdecimal() else line
