"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let children hear Ctrl-C: who is started in the background by a shell ignores it, and so would they."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
