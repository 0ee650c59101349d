"""What the kernel says of mirrors in `/proc/drbd`: spec/storage.md, section 4.2, for DRBD 8.4.

A pure reading of text; recorded texts of a real kernel are its tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gnt.model.errors import NodeFailure

PROC: Final = "/proc/drbd"
WANTED: Final = "8.4"

UNCONFIGURED: Final = "Unconfigured"
ALONE: Final = "StandAlone"
CONNECTED: Final = "Connected"
PRIMARY: Final = "Primary"
SECONDARY: Final = "Secondary"
UP_TO_DATE: Final = "UpToDate"
INCONSISTENT: Final = "Inconsistent"
DISKLESS: Final = "Diskless"

_RESYNC: Final = frozenset(
    {
        *("WFReportParams", "StartingSyncS", "StartingSyncT", "WFBitMapS", "WFBitMapT", "WFSyncUUID"),
        *("SyncSource", "SyncTarget", "PausedSyncS", "PausedSyncT"),
    }
)
# Not yet, or no longer, in touch with the peer, but trying to be.
_TRYING: Final = frozenset(
    {
        *("Unconnected", "WFConnection", "WFReportParams", "Timeout", "BrokenPipe", "NetworkFailure"),
        *("ProtocolError", "TearDown", "Disconnecting"),
    }
)
_VERSION: Final = re.compile(r"version:\s*(?P<number>\S+)\s*(?P<protocols>\([^)]*\))?")
_MINOR: Final = re.compile(r"\s*(?P<minor>\d+):\s+cs:(?P<connection>\w+)(?P<rest>.*)")
_ROLES: Final = re.compile(r"\b(?:ro|st):(\w+)/(\w+)")
_DISKS: Final = re.compile(r"\bds:(\w+)/(\w+)")
_PERCENT: Final = re.compile(r"sync'ed:\s*(\d+(?:\.\d+)?)%")
_FINISH: Final = re.compile(r"finish:\s*(\d+):(\d+):(\d+)")
_SPEED: Final = re.compile(r"speed:\s*([\d,]+)")
_BEHIND: Final = re.compile(r"\boos:(\d+)")


@dataclass(frozen=True)
class MinorStatus:
    """One minor. Roles and states of the disks in the kernel's words; empty where it says none.

    `percent` of a resync under way, `finish` its estimated end in seconds, `speed` and `behind` (what is out of sync)
    in KiB/s and KiB; None where there is no figure.
    """

    minor: int
    connection: str
    role: str = ""
    peer_role: str = ""
    disk: str = ""
    peer_disk: str = ""
    percent: float | None = None
    finish: float | None = None
    speed: int | None = None
    behind: int | None = None

    @property
    def in_use(self) -> bool:
        """Say whether it is a mirror, or at least part of one."""
        return self.connection != UNCONFIGURED

    @property
    def alone(self) -> bool:
        """Say whether it has no connection and wants none."""
        return self.connection in {ALONE, UNCONFIGURED}

    @property
    def in_resync(self) -> bool:
        """Say whether the two sides come into step, or are about to."""
        return self.connection in _RESYNC

    @property
    def trying(self) -> bool:
        """Say whether it wants a connection and has none."""
        return self.connection in _TRYING

    @property
    def is_primary(self) -> bool:
        """Say whether this side may write."""
        return self.role == PRIMARY

    @property
    def has_disk(self) -> bool:
        """Say whether this side has its own volumes."""
        return self.disk not in {"", DISKLESS}

    @property
    def degraded(self) -> bool:
        """Say whether a second copy, or the first, is missing or old."""
        return self.connection != CONNECTED or self.disk != UP_TO_DATE

    @property
    def nobody_has_data(self) -> bool:
        """Say whether both sides are in touch and neither has data worth a copy, as with a new disk."""
        return self.connection == CONNECTED and self.disk == self.peer_disk == INCONSISTENT

    @property
    def local_status(self) -> str:
        """Say how this side's own copy is: `ok`, `syncing`, `unknown` or `faulty`."""
        if self.disk in {DISKLESS, "Failed"} or self.connection == ALONE:
            return "faulty"
        if self.disk == UP_TO_DATE:
            return "ok"
        return "syncing" if self.in_resync else "unknown"

    @property
    def sync_percent(self) -> float | None:
        """Give how far a resync is; 0 if there is one without a figure, None if there is none."""
        return (self.percent or 0.0) if self.in_resync else None

    @property
    def sync_speed(self) -> float | None:
        """Give the MiB that come into step in a second, if there is a figure."""
        return self.speed / 1024 if self.in_resync and self.speed is not None else None

    @property
    def estimated_time(self) -> float | None:
        """Give the seconds that a resync still takes, if somebody knows."""
        return self.finish if self.in_resync else None


@dataclass(frozen=True)
class KernelStatus:
    """All of `/proc/drbd`: the version as people write it, and the minors that it names."""

    version: str
    minors: dict[int, MinorStatus]

    def minor(self, number: int) -> MinorStatus:
        """Give a minor, one that is not in use if the kernel does not name it."""
        return self.minors.get(number, MinorStatus(minor=number, connection=UNCONFIGURED))


def parse_status(text: str) -> KernelStatus:
    """Read what the kernel says. Raises `NodeFailure` `unsupported` for a DRBD that is not 8.4."""
    version = _version(text)
    minors: dict[int, MinorStatus] = {}
    for block in _blocks(text):
        found = _minor(block)
        if found is not None:
            minors[found.minor] = found
    return KernelStatus(version=version, minors=minors)


def _version(text: str) -> str:
    found = _VERSION.search(text.partition("\n")[0])
    if found is None:
        raise NodeFailure("storage_error", f"{PROC} does not begin with a version")
    number = found["number"]
    if not number.startswith(f"{WANTED}."):
        raise NodeFailure(
            "unsupported",
            f"DRBD {number} is loaded on this node; mirrors are made with {WANTED}",
            hint="modinfo drbd says which there are",
        )
    return f"{number} {found['protocols'] or ''}".strip()


def _blocks(text: str) -> list[str]:
    """Put the lines of each minor together."""
    blocks: list[str] = []
    for line in text.splitlines()[1:]:
        if _MINOR.match(line):
            blocks.append(line)
        elif blocks and line[:1].isspace():
            blocks[-1] += f" {line.strip()}"
    return blocks


def _minor(block: str) -> MinorStatus | None:
    found = _MINOR.match(block)
    if found is None:
        return None
    rest = found["rest"]
    roles = _ROLES.search(rest)
    disks = _DISKS.search(rest)
    percent = _PERCENT.search(rest)
    finish = _FINISH.search(rest)
    speed = _SPEED.search(rest)
    behind = _BEHIND.search(rest)
    return MinorStatus(
        minor=int(found["minor"]),
        connection=found["connection"],
        role=roles[1] if roles else "",
        peer_role=roles[2] if roles else "",
        disk=disks[1] if disks else "",
        peer_disk=disks[2] if disks else "",
        percent=float(percent[1]) if percent else None,
        finish=_seconds(finish) if finish else None,
        speed=int(speed[1].replace(",", "")) if speed else None,
        behind=int(behind[1]) if behind else None,
    )


def _seconds(finish: re.Match[str]) -> float:
    hours, minutes, seconds = (int(part) for part in finish.groups())
    return float(hours * 3600 + minutes * 60 + seconds)
