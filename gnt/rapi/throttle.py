"""Slowing down who guesses passwords: each address may fail so often, then it has to wait."""

from __future__ import annotations

import ipaddress
from typing import Final

from gnt.daemon.runtime import Clock

BURST: Final = 20
"""Failures in a row that are answered at once."""

SECONDS_EACH: Final = 2.0
"""Seconds after which one more is."""

MOST_ADDRESSES: Final = 10_000


class Throttle:
    """A bucket of failures for each address; it leaks. IPv6 clients count by their /64, which is one customer's."""

    def __init__(self, clock: Clock, *, burst: int = BURST, seconds_each: float = SECONDS_EACH) -> None:
        self._clock = clock
        self._burst = burst
        self._seconds_each = seconds_each
        # When the bucket of an address will be empty again, in seconds; in the order of the last failures.
        self._empty_at: dict[str, float] = {}

    def wait(self, address: str) -> float:
        """Give the seconds that an address has to wait before it may try again; 0 if it may."""
        if not self._empty_at:
            return 0.0
        full = self._empty_at.get(_customer(address), 0.0) - self._clock.seconds()
        return max(0.0, full - (self._burst - 1) * self._seconds_each)

    def failed(self, address: str) -> None:
        """Count a failure."""
        now = self._clock.seconds()
        key = _customer(address)
        self._empty_at[key] = max(self._empty_at.pop(key, 0.0), now) + self._seconds_each
        if len(self._empty_at) > MOST_ADDRESSES:
            self._forget(now)

    def forgive(self, address: str) -> None:
        """Take back the last failure: it was none."""
        key = _customer(address)
        if key in self._empty_at:
            self._empty_at[key] -= self._seconds_each
            if self._empty_at[key] <= self._clock.seconds():
                del self._empty_at[key]

    def _forget(self, now: float) -> None:
        """Forget empty buckets; if all hold something, the one that was filled longest ago."""
        self._empty_at = {key: until for key, until in self._empty_at.items() if until > now}
        while len(self._empty_at) > MOST_ADDRESSES:
            del self._empty_at[next(iter(self._empty_at))]

    def __len__(self) -> int:
        """Give the number of addresses that are remembered."""
        return len(self._empty_at)


def _customer(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
