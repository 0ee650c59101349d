"""Adding a node over SSH: SSH only carries the token to `gnt-node join` there, which does the same as for a person.

So there is one protocol, no secret stands in a process list, and the node's key stays on the node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, Failed, GntError, Refused
from gnt.model.layout import Layout
from gnt.model.names import check_name
from gnt.wire.joining import LIFE
from gnt.wire.luxi import LuxiClient

# Exit statuses that say more than that something failed.
SSH_FAILED: Final = 255
NO_COMMAND: Final = 127

# After the remote command has ended well there is nothing left to wait for.
_MOMENT: Final = 5.0
_OPTIONS: Final = ("-oEscapeChar=none", "-oHashKnownHosts=no", "-oConnectTimeout=10")
_LONGEST_LINE: Final = 500


class AddCommand(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `gnt-node add` hands over. `force_join`: also a node that has been in this cluster before."""

    node: str
    ssh_key_check: bool = True
    readd: bool = False
    force_join: bool = False
    secondary_ip: str | None = None
    group: str | None = None


class Offer(msgspec.Struct, frozen=True):
    """What the master answers to `OfferJoin`."""

    id: str
    token: str
    address: str
    ssh_port: int

    def __repr__(self) -> str:
        return f"Offer({self.id}, <redacted>)"


class NodeAdd:
    """Has a node join over SSH; `say` tells what is being done, there too."""

    def __init__(
        self,
        command: AddCommand,
        layout: Layout,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        *,
        terminal: bool | None = None,
    ) -> None:
        self._command = command
        self._layout = layout
        self._environ = environ
        self._say = say
        self._terminal = _has_terminal() if terminal is None else terminal

    def run(self) -> dict[str, Any]:
        """Give `{"node", "uuid", "digest"}` of a node that has joined. Raises `GntError`."""
        node = check_name(self._command.node, "node")
        program = self._program()
        options = {
            "readd": self._command.readd,
            "secondary_ip": self._command.secondary_ip,
            "group": self._command.group,
        }
        with LuxiClient(self._layout.master_socket) as master:
            given = {name: value for name, value in options.items() if value is not None}
            offer = msgspec.convert(master.call("OfferJoin", node, given), Offer)
            try:
                self._say(f"setting up {node} over SSH")
                status, last = self._execute(self._arguments(program, node, offer), offer.token)
                if status:
                    raise self._explained(node, status, last)
                fate = master.call("AwaitJoin", offer.id, _MOMENT, patience=_MOMENT)
            finally:
                # Used or not: what is left of the token must not outlive this.
                master.call("WithdrawJoin", offer.id)
        if fate["state"] != "joined":
            raise Failed(f"{node} has not joined: {fate['problem'] or fate['state']}")
        return {"node": node, "uuid": fate["uuid"], "digest": fate["digest"]}

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
        if self._command.ssh_key_check:
            strict = "ask" if self._terminal else "yes"
        else:
            strict = "no"
        batch = () if self._terminal else ("-oBatchMode=yes",)
        family = "-6" if ":" in offer.address else "-4"
        join = ["gnt-node", "join", *(["--readd"] if self._command.readd or self._command.force_join else [])]
        return [
            *(program, family, *_OPTIONS, *batch),
            *(f"-oStrictHostKeyChecking={strict}", f"-oPort={offer.ssh_port}", f"root@{node}"),
            *join,
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
            return Failed(f"setting up {node} was ended by signal {-status} after {LIFE:.0f} s at most")
        return Refused(WRONG_INPUT, f"{node}: {last or f'gnt-node join ended with exit status {status}'}")


def _has_terminal() -> bool:
    """Say whether ssh could ask somebody."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
