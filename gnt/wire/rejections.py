"""Peers that TLS turned away: a line with their address, and not more often than somebody can read.

Who has no certificate of this cluster never becomes a caller, so nothing else would tell of a node whose certificate
was forgotten, or of somebody who tries.
"""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL
from twisted.logger import Logger

from gnt.wire.timing import Clock

log: Final = Logger()

QUIET: Final = 60.0
"""Seconds between two lines about the same address."""
MOST: Final = 256
"""Addresses that are remembered; with more of them about, the oldest is forgotten."""


class Rejections:
    """Tells of rejected peers: at once, then once in `QUIET` seconds for an address, with how many there were."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Address → (when it was told of last, how many came since).
        self._seen: dict[str, tuple[float, int]] = {}

    def note(self, address: str, problem: BaseException) -> None:
        """Hear that a connection from an address ended before its greeting; what is no trouble with TLS is not told."""
        if not isinstance(problem, SSL.Error):
            return
        now = self._clock.seconds()
        told, count = self._seen.pop(address, (-QUIET, 0))
        if now - told < QUIET:
            self._seen[address] = (told, count + 1)
            return
        while len(self._seen) >= MOST:
            del self._seen[next(iter(self._seen))]
        self._seen[address] = (now, 0)
        more = f" ({count} more since the last such line)" if count else ""
        log.warn("turned away {address}: {why}{more}", address=address, why=tls_reason(problem), more=more)


def tls_reason(problem: SSL.Error) -> str:
    """Give what OpenSSL says, in one line."""
    for entry in problem.args[0] if problem.args and isinstance(problem.args[0], list) else ():
        reasons = [str(part) for part in entry if part]
        if reasons:
            return f"TLS: {reasons[-1]}"
    return "TLS: the handshake failed"
