"""Sending at once what was written to a socket, and not when the reactor comes round to it.

A transport of Twisted takes what is written, has the reactor watch whether the socket can be written to, and writes in
the reactor's next round; TLS gathers for a round before that. Whoever waits for an answer waits for those rounds, and
for whatever else is done in them. Where each message is written whole there is nothing to gather.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IWriteDescriptor


def send_now(transport: Any) -> None:
    """Send what a transport has, as far as its socket takes it; one that is no socket is left alone.

    What is left over, and what went wrong, the reactor sees to in its next round as ever.
    """
    is_socket = IWriteDescriptor.providedBy(transport)
    if is_socket and transport.connected and transport.doWrite() is not None:
        transport.startWriting()
