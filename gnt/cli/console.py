"""The way to a guest's console."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any

from gnt.cli.call import Call
from gnt.cli.failures import FAILURE, OK
from gnt.cli.jobs import run
from gnt.cli.terminal import say
from gnt.model.errors import ENVIRONMENT, GntError, Refused


def console(call: Call) -> int:
    """Ask the master for the way to a console and take it: run the command, or say what to connect to."""
    ended = run(call, call.opcode("OP_INSTANCE_CONSOLE", instance_name=call.arguments[0]))
    found: dict[str, Any] = ended.result if ended is not None else {}
    if call.json:
        call.print_json(found)
        return OK
    match found.get("kind"):
        case "ssh":
            return _take(call, found)
        case "vnc":
            number = found.get("display")
            shown = "" if number is None else f" (display {number})"
            say(f"Instance {found['instance']} has a VNC console: vnc://{found['host']}:{found['port']}/{shown}")
        case "spice":
            say(f"Instance {found['instance']} has a SPICE console: spice://{found['host']}:{found['port']}/")
        case "msg":
            say(str(found.get("message") or ""))
        case kind:
            raise GntError("unknown_console", f"the console of {call.arguments[0]} is of an unknown kind: {kind}")
    return OK


def command_of(call: Call, found: dict[str, Any]) -> list[str]:
    """Give the command that connects: on this node as it is, for another node through SSH.

    GNT_SSH is the program (with its options) that stands for ssh.
    """
    command = [str(word) for word in found.get("command") or []]
    if found["host"] == call.host:
        return command
    ssh = shlex.split(call.environ.get("GNT_SSH") or "ssh")
    port = ["-p", str(found["port"])] if found.get("port") else []
    host = f"{found.get('user') or 'root'}@{found['host']}"
    # -t: the console is a terminal there; -oEscapeChar: a tilde belongs to the guest.
    return [*ssh, "-q", "-t", "-oEscapeChar=none", *port, host, shlex.join(command)]


def _take(call: Call, found: dict[str, Any]) -> int:
    command = command_of(call, found)
    if call.option("show_cmd"):
        say(shlex.join(command))
        return OK
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)  # noqa: S606  (the console takes our place)
    except OSError as problem:
        raise Refused(ENVIRONMENT, f"cannot run {command[0]}: {problem.strerror}") from None
    return FAILURE
