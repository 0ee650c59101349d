"""The end of a daemon: begun once, whoever asks for it, and how often.

A second signal, or a signal while the daemon ends by itself, changes nothing any more: what is under way comes to its
end. Twisted would raise `ReactorNotRunning` into the log.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any, Final

from twisted.internet.error import ReactorNotRunning

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def stop(reactor: Any) -> None:
    """Have the reactor stop, unless it does already."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def end_once(reactor: Any) -> None:
    """Let the first signal that ends this process be heard, and no other. Call it when the reactor runs."""
    heard: list[int] = []
    reactor.addSystemEventTrigger("before", "shutdown", heard.append, 0)
    for number in SIGNALS:
        handler = signal.getsignal(number)

        def hear(number: int, frame: object, handler: Any = handler) -> None:
            if not heard and callable(handler):
                heard.append(number)
                handler(number, frame)

        if callable(handler):
            signal.signal(number, hear)
