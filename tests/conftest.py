"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# A machine that is busy with other things makes examples slowly; that is no fault of the code under test.
settings.register_profile("gnt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gnt")


def pytest_configure() -> None:
    """Let children hear Ctrl-C: who is started in the background by a shell ignores it, and so would they."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
