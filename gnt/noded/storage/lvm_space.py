"""Which physical volumes of a group have the most room, as it was a moment ago."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from twisted.internet.defer import DeferredLock

from gnt.daemon.runtime import Clock
from gnt.noded.handler import CallContext
from gnt.noded.storage.lvm import Lvm

# Seconds for which what was seen is good enough.
FRESH: Final = 30.0


class Seen(NamedTuple):
    """Physical volumes with their free bytes, most room first; `fresh`: seen just now."""

    devices: list[tuple[str, int]]
    fresh: bool


class Space:
    """Remembers where groups have room. Who makes several disks looks once: `pvs` costs as much as making a volume.

    Only the order in which LVM fills physical volumes hangs on it. LVM itself knows what is free: where it refuses,
    what was remembered is forgotten, and looked at again.
    """

    def __init__(self, lvm: Lvm, clock: Clock) -> None:
        self._lvm = lvm
        self._clock = clock
        self._known: dict[str, tuple[float, dict[str, int]]] = {}
        self._looking: dict[str, DeferredLock] = {}

    async def of(self, group: str, context: CallContext | None = None) -> Seen:
        """Give where a group has room; a look of others that is under way is waited for. Raises as `Lvm.free_of`."""
        turn = self._looking.setdefault(group, DeferredLock())
        await turn.acquire()
        try:
            since, known = self._known.get(group, (0.0, {}))
            if known and self._clock.seconds() - since < FRESH:
                return Seen(sorted(known.items(), key=lambda one: (-one[1], one[0])), fresh=False)
            devices = await self._lvm.free_of(group, context)
            self._known[group] = self._clock.seconds(), dict(devices)
            return Seen(devices, fresh=True)
        finally:
            turn.release()

    def take(self, group: str, devices: Sequence[str], size: int) -> None:
        """Note that a volume of so many bytes is about to be made on these, in equal parts."""
        _, known = self._known.get(group, (0.0, {}))
        for device in devices:
            if device in known:
                known[device] -= size // len(devices)

    def forget(self, group: str) -> None:
        """Forget what was seen: it is not so any more."""
        self._known.pop(group, None)
