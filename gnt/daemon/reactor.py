"""What a real daemon runs on. The only place that names the reactor and the system's randomness."""

from __future__ import annotations

import random
import sys
from typing import Any, Final

from gnt.daemon.pools import ThreadPools
from gnt.daemon.runtime import Runtime

SWITCH_INTERVAL: Final = 0.0005
"""Seconds after which a thread that wants the interpreter gets it; Python's own 5 ms are for threads that compute.

Each statement of a commit gives the interpreter away and has to get it back from a reactor that is busy: a dozen such
waits would be longer than the fsync.
"""


def the_reactor() -> Any:
    """Give the process's reactor; imported here so that nothing else installs one by being imported."""
    from twisted.internet import reactor  # noqa: PLC0415

    return reactor


def real_runtime() -> tuple[Runtime, ThreadPools]:
    """Give a runtime on the reactor, and its pools, to be stopped at the end."""
    reactor = the_reactor()
    sys.setswitchinterval(SWITCH_INTERVAL)
    pools = ThreadPools(reactor)
    return Runtime(clock=reactor, pools=pools, random=random.SystemRandom()), pools
