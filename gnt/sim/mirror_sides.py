"""One side of a simulated mirror, and the kernel of a machine that knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gnt.noded.storage.drbd_show import Ends
from gnt.sim.caches import WriteCache
from gnt.sim.generations import Metadata
from gnt.sim.lvm import MIB, SimLvm, SimVolume

UP_TO_DATE: Final = "UpToDate"
INCONSISTENT: Final = "Inconsistent"
OUTDATED: Final = "Outdated"
DISKLESS: Final = "Diskless"
ALONE: Final = "StandAlone"
SEEKING: Final = "WFConnection"
CONNECTED: Final = "Connected"

# What the kernel refuses, by its numbers.
TWO_PRIMARIES: Final = -1
NO_GOOD_DATA: Final = -2
PEER_REFUSES: Final = -10
HELD_OPEN: Final = -12
NO_DISK: Final = 138
RESIZE_IN_SYNC: Final = 130
NO_PRIMARY: Final = 131
ATTACHED: Final = 124
NO_METADATA: Final = 119
UNCLEAN: Final = 165
TAKEN: Final = 104
PAUSED_ALREADY: Final = 134
RESUMED_ALREADY: Final = 157


class KernelRefusal(Exception):
    """What the kernel answers to a command that it does not carry out."""

    def __init__(self, number: int) -> None:
        super().__init__(str(number))
        self.number = number


@dataclass(eq=False)
class MirrorMachine:
    """What the kernel of one machine has: sides by minor, names of resources, the lines of its log.

    `in_use` gives the devices that something has open. `changes` goes up with whatever becomes of a side.
    """

    name: str
    address: str
    lvm: SimLvm
    devices: Path
    in_use: Callable[[], Iterable[str]] = tuple
    sides: dict[int, Side] = field(default_factory=dict)
    resources: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    cache: WriteCache = field(default_factory=WriteCache)
    changes: int = 0

    def device(self, minor: int) -> Path:
        """Give the device of a minor."""
        return self.devices / f"drbd{minor}"


@dataclass(eq=False)
class Side:
    """One minor of one machine. Sizes in MiB, `rate` in MiB/s; `limit` 0: as much as the volume has.

    `seen` is what was there when it was looked at last; `unconfirmed` are pieces that the peer has not flushed;
    `negotiating`: it takes volumes while it is in touch.
    """

    machine: MirrorMachine
    minor: int
    resource: str
    data: SimVolume | None = None
    meta: SimVolume | None = None
    paths: tuple[str, str] = ("", "")
    limit: int = 0
    size: int = 0
    rate: float = 60.0
    ends: Ends | None = None
    secret: str = ""
    dual: bool = False
    connection: str = ALONE
    disk: str = DISKLESS
    primary: bool = False
    paused: bool = False
    negotiating: bool = False
    peer: Side | None = None
    sync: Sync | None = None
    seen: dict[int, bytes] = field(default_factory=dict)
    unconfirmed: set[int] = field(default_factory=set)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        self.machine.changes += 1

    @property
    def known(self) -> Metadata:
        """Give what stands on the metadata volume of a side that has one."""
        found = self.meta.superblock if self.meta is not None else None
        if not isinstance(found, Metadata):
            raise KernelRefusal(NO_METADATA)
        return found

    @property
    def known_key(self) -> str:
        """Give group and name of the metadata volume."""
        return self.meta.key if self.meta is not None else ""

    @property
    def path(self) -> Path:
        """Give the file of the data volume."""
        if self.data is None:
            raise KernelRefusal(NO_DISK)
        return self.machine.lvm.path(self.data)

    @property
    def room(self) -> int:
        """Give as much as this side could hold."""
        held = self.data.size // MIB if self.data is not None else 0
        return min(held, self.limit) if self.limit else held

    @property
    def good(self) -> bool:
        """Say whether all data is here, and as new as it is anywhere that this side knows of."""
        return self.disk == UP_TO_DATE

    @property
    def good_peer(self) -> Side | None:
        """Give the other side, if it is in touch and has all data."""
        return self.peer if self.peer is not None and self.peer.good else None

    @property
    def where(self) -> str:
        """Name the side for people."""
        return f"drbd{self.minor} of {self.machine.name}"


@dataclass(eq=False)
class Sync:
    """Data on its way from one side to another: MiB that are still to come, in their order. `at` is the last look."""

    source: Side
    target: Side
    left: list[int]
    total: int
    at: float
    part: float = 0.0

    @property
    def paused(self) -> bool:
        """Say whether one of the sides holds it up."""
        return self.source.paused or self.target.paused
