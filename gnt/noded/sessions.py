"""Processes by session, as Linux shows them below /proc. Everything here may block for a moment."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class _Stat(NamedTuple):
    """Parts of /proc/PID/stat."""

    state: str
    session: int
    start: int


def boot_id() -> str:
    """Give the id of this boot of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Give when a process started (clock ticks since boot); None if there is none."""
    stat = _stat(pid)
    return None if stat is None else stat.start


def leader_is(pid: int, start: int) -> bool | None:
    """Say whether the process of that id is the one that started then; None if there is no such process."""
    stat = _stat(pid)
    return None if stat is None else stat.start == start


def members(session: int, leader: int | None = None) -> list[int]:
    """Give the living processes of a session, and `leader` if that lives, in or out of it. The dead do not count."""
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        stat = _stat(int(entry.name))
        if stat is not None and stat.state not in "ZX" and (stat.session == session or int(entry.name) == leader):
            found.append(int(entry.name))
    return found


def group_is_empty(leader: int) -> bool:
    """Say whether nothing lives any more in the process group of that leader. One question to the kernel."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def send_signal(session: int, leader: int | None, number: signal.Signals) -> list[int]:
    """Signal everything that lives in a session; gives whom. What is stopped goes on, so that it can end."""
    found = members(session, leader)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
    return found


def _stat(pid: int) -> _Stat | None:
    """Read what the kernel says of a process; None if it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The second field is the program's name in parentheses, with anything in it.
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], session=int(fields[3]), start=int(fields[19]))
