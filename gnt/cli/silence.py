"""A client that says why the master does not answer what would change something, before a person has to wonder."""

from __future__ import annotations

import socket
from typing import Any, Final

from gnt.cli.terminal import note
from gnt.model.errors import GntError
from gnt.wire.luxi_client import READING, LuxiClient

SILENCE: Final = 2.0
"""Seconds after which it is asked what keeps a change up."""
ASK_TIME: Final = 2.0


class WatchedClient(LuxiClient):
    """Asks beside a change that is not answered for a moment what it waits for, and says so once on standard error."""

    _may_wait = False

    def call(self, method: str, *args: Any, patience: float = 0.0) -> Any:
        """Call a method: `LuxiClient.call`."""
        self._may_wait = not method.startswith(READING)
        return super().call(method, *args, patience=patience)

    def _receive(self, connection: socket.socket) -> bytes:
        if self._may_wait:
            limit = connection.gettimeout()
            connection.settimeout(SILENCE)
            try:
                connection.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                self._say_why()
            connection.settimeout(limit)
        return super()._receive(connection)

    def _say_why(self) -> None:
        try:
            with LuxiClient(self._path, connect_timeout=ASK_TIME, timeout=ASK_TIME) as beside:
                found = beside.call("Hindrance")
        except GntError:
            return  # what was asked will have its own answer, or its own error
        if isinstance(found, dict):
            note(str(found.get("text")))
            if found.get("hint"):
                note(f"  {found['hint']}")
