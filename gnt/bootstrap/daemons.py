"""The daemons of this node: starting and stopping them (`gnt.daemon.control`), and seeing that they work."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Final

from gnt.daemon.control import ALL, MASTERD, NODED, RAPI, STOP_TIME, DaemonControl
from gnt.model.errors import ENVIRONMENT, Failed, GntError, Refused
from gnt.model.layout import SOCKET_PATH_LIMIT
from gnt.wire.luxi_client import LuxiClient

__all__ = ["ALL", "MASTERD", "NODED", "RAPI", "START_TIME", "STOP_TIME", "Daemons"]

START_TIME: Final = 30.0


class Daemons(DaemonControl):
    """The daemons of one node, and how to see that they work. All methods block."""

    def wait_for_noded(self, address: str, port: int) -> None:
        """Wait until the node daemon takes connections."""

        def listens() -> bool:
            try:
                socket.create_connection((address, port), timeout=1).close()
            except OSError:
                return False
            return True

        self._until_alive(NODED, listens)

    def wait_for_masterd(self) -> None:
        """Wait until the master daemon answers."""

        def answers() -> bool:
            path = self._layout.master_socket
            if not path.exists():
                return False
            try:
                with LuxiClient(path) as client:
                    client.call("QueryConfigValues", ["cluster_name"])
            except GntError:
                return False
            return True

        self._until_alive(MASTERD, answers)

    def refuse_long_sockets(self) -> None:
        """Refuse a root whose sockets have longer names than the system takes."""
        path = str(self._layout.master_socket)
        if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
            raise Refused(
                ENVIRONMENT,
                f"{path} is longer than the {SOCKET_PATH_LIMIT} bytes that a socket's name may have",
                hint="choose a shorter GNT_ROOTDIR",
            )

    def _until_alive(self, name: str, ready: Callable[[], bool]) -> None:
        self.until(
            lambda: ready() or self.pid(name) is None, START_TIME, f"{name} does not answer within {START_TIME:.0f} s"
        )
        if self.pid(name) is None:
            raise Failed(f"{name} has ended again: {self._last_words(name)}", hint=f"its log is in {self._layout.log}")

    def _last_words(self, name: str) -> str:
        files = {NODED: "node-daemon.log", MASTERD: "master-daemon.log", RAPI: "rapi-daemon.log"}
        try:
            lines = (self._layout.log / files[name]).read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return lines[-1].strip() if lines else "its log is empty"
