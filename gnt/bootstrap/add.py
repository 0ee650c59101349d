"""Taking a node in, as the master sees it: a token is made, and either shown or carried there over SSH.

SSH only takes the token to the standard input of `gnt-node join`, which does the same there as for a person. So there
is one protocol, no secret stands in a process list, and the node's key stays on the node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, Failed, GntError, Refused
from gnt.model.layout import Layout
from gnt.model.names import check_name
from gnt.wire.luxi_client import LuxiClient

# Exit statuses that say more than that something failed.
SSH_FAILED: Final = 255
NO_COMMAND: Final = 127

# After the remote command has ended well there is nothing left to wait for.
_MOMENT: Final = 5.0
WAIT: Final = 60.0
_LIVING: Final = ("open", "joining")
_OPTIONS: Final = ("-oEscapeChar=none", "-oHashKnownHosts=no", "-oConnectTimeout=10")
_LONGEST_LINE: Final = 500


class AddCommand(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-node add` hands over; what concerns the opcode alone is taken and left alone."""

    node: str
    ssh_key_check: bool = True
    token: bool = False
    readd: bool = False
    secondary_ip: str | None = None
    group: str | None = None
    master_capable: bool | None = None
    vm_capable: bool | None = None
    ndparams: dict[str, Any] | None = None


class Offer(msgspec.Struct, frozen=True):
    """What of the master's answer to `OfferToken` is used here. `ends` in seconds since the epoch."""

    id: str
    token: str
    address: str
    ssh_port: int
    ends: float

    def __repr__(self) -> str:
        return f"Offer({self.id}, <redacted>)"


class NodeAdd:
    """Has a node join; `say` tells what is being done, there too, `show` gets a token that a person carries."""

    def __init__(
        self,
        command: AddCommand,
        layout: Layout,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        *,
        show: Callable[[str], None] | None = None,
        terminal: bool | None = None,
    ) -> None:
        self._command = command
        self._layout = layout
        self._environ = environ
        self._say = say
        self._show = show
        self._terminal = _has_terminal() if terminal is None else terminal

    def run(self) -> dict[str, Any]:
        """Give `{"node", "uuid", "digest"}` of a node that has joined. Raises `GntError`."""
        command = self._command
        node = check_name(command.node, "node")
        program = self._program() if self._show is None else ""
        options = {"readd": command.readd, "secondary_ip": command.secondary_ip, "group": command.group}
        with LuxiClient(self._layout.master_socket) as master:
            offer = msgspec.convert(master.call("OfferToken", node, options), Offer)
            try:
                if self._show is None:
                    self._over_ssh(program, node, offer)
                else:
                    self._show(offer.token)
                fate = self._wait(master, offer)
            finally:
                # Used or not, it must not outlive this; used, it is worthless already.
                with suppress(GntError):
                    master.call("WithdrawToken", offer.id)
        if fate["state"] != "joined":
            raise Failed(f"{node} has not joined: {fate['problem'] or fate['state']}")
        return {"node": node, "uuid": fate["uuid"], "digest": fate["digest"]}

    def _wait(self, master: LuxiClient, offer: Offer) -> dict[str, Any]:
        """Wait for the end of a token: a moment when the node has ended its part, else as long as it lives."""
        patience = _MOMENT if self._show is None else WAIT
        while True:
            fate: dict[str, Any] = master.call("WaitForToken", offer.id, patience, patience=patience)
            if self._show is None or fate["state"] not in _LIVING:
                return fate

    def _over_ssh(self, program: str, node: str, offer: Offer) -> None:
        self._say(f"setting up {node} over SSH")
        status, last = self._execute(self._arguments(program, node, offer), offer.token)
        if status:
            raise self._explained(node, status, last)

    def _program(self) -> str:
        wanted = self._environ.get("GNT_SSH") or "ssh"
        found = shutil.which(wanted, path=self._environ.get("PATH"))
        if found is None:
            raise Refused(
                ENVIRONMENT,
                f"there is no program {wanted} on this node",
                hint="install it, or use gnt-node add --token",
            )
        return found

    def _arguments(self, program: str, node: str, offer: Offer) -> list[str]:
        asking = "ask" if self._terminal else "yes"
        strict = asking if self._command.ssh_key_check else "no"
        batch = () if self._terminal else ("-oBatchMode=yes",)
        family = "-6" if ":" in offer.address else "-4"
        port = (self._command.ndparams or {}).get("ssh_port", offer.ssh_port)
        # What an earlier try has left there, of this cluster, is no obstacle.
        return [
            *(program, family, *_OPTIONS, *batch),
            *(f"-oStrictHostKeyChecking={strict}", f"-oPort={port}", f"root@{node}"),
            *("gnt-node", "join", "--readd"),
        ]

    def _execute(self, command: list[str], token: str) -> tuple[int, str]:
        """Run the command with the token on its standard input; gives the exit status and the last line it said."""
        running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self._environ, "LC_ALL": "C"},
        )
        assert running.stdin is not None and running.stdout is not None  # noqa: S101, PT018  (both are pipes)
        # The other program loads meanwhile.
        from gnt.wire.joining import LIFE  # noqa: PLC0415

        watchdog = threading.Timer(LIFE, running.kill)
        watchdog.start()
        last = ""
        try:
            try:
                running.stdin.write(f"{token}\n".encode())
                running.stdin.close()
            except BrokenPipeError:
                pass  # it has ended before it read; its exit status says why
            for raw in running.stdout:
                line = raw[:_LONGEST_LINE].decode(errors="replace").strip()
                # What is said on the other machine could hold anything, the token it was given too.
                if line and token not in line:
                    last = line
                    self._say(f"{self._command.node}: {line}")
            return running.wait(), last
        finally:
            watchdog.cancel()
            if running.poll() is None:
                running.kill()
            running.stdout.close()
            running.wait()

    def _explained(self, node: str, status: int, last: str) -> GntError:
        if status == NO_COMMAND:
            return Refused(
                ENVIRONMENT,
                f"{node} has no command gnt-node",
                hint=f"install gnt on {node} first, so that root finds it in PATH there",
            )
        if status == SSH_FAILED:
            return Refused(
                ENVIRONMENT,
                f"{node} cannot be reached over SSH: {last or 'ssh does not say why'}",
                hint="gnt-node add --token needs no SSH",
            )
        if status < 0:
            return Failed(f"setting up {node} was ended by signal {-status}: it may take as long as the token lives")
        return Refused(WRONG_INPUT, f"{node}: {last or f'gnt-node join ended with exit status {status}'}")


def _has_terminal() -> bool:
    """Say whether ssh could ask somebody."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
