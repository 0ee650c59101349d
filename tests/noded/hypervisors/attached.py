"""Talking to a guest's console through a pipe, as slowly as the guest likes."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence

PATIENCE = 60.0
"""Seconds after which the console is ended, so that a silent guest fails the test."""


def answer_of(command: Sequence[str], line: str, expected: str) -> str:
    """Type a line, and give the line of the guest that has `expected`; empty if none comes.

    The input stays open until then: half a second after its end the console's command goes.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        watchdog = threading.Timer(PATIENCE, attached.kill)
        watchdog.start()
        attached.stdin.write(f"{line}\n")
        attached.stdin.flush()
        found = next((said for said in attached.stdout if expected in said), "")
        attached.stdin.close()
        assert attached.wait(PATIENCE) == 0
        watchdog.cancel()
    return found
