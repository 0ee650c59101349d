"""What a real daemon runs on. The only place that names the reactor and the system's randomness."""

from __future__ import annotations

import random
from typing import Any

from gnt.daemon.pools import ThreadPools
from gnt.daemon.runtime import Runtime


def the_reactor() -> Any:
    """Give the process's reactor; imported here so that nothing else installs one by being imported."""
    from twisted.internet import reactor  # noqa: PLC0415

    return reactor


def real_runtime() -> tuple[Runtime, ThreadPools]:
    """Give a runtime on the reactor, and its pools, to be stopped at the end."""
    reactor = the_reactor()
    pools = ThreadPools(reactor)
    return Runtime(clock=reactor, pools=pools, random=random.SystemRandom()), pools
