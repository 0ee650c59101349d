"""`gnt-cluster command` and `copyfile`: the administrator's own SSH, node after node.

No daemon of ours takes a command or a file from a caller: `docs/decisions/commands-on-nodes.md`.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, option
from gnt.cli.failures import OK
from gnt.cli.lists import query_objects
from gnt.cli.options import PLAN
from gnt.cli.terminal import has_terminal, note, say
from gnt.model.errors import ENVIRONMENT, UNKNOWN_ENTITY, WRONG_INPUT, Refused

_FIELDS: Final = ("name", "offline", "master", "sip", "ndp/ssh_port", "group", "group.uuid")
_RULE: Final = "-" * 48
_SSH_FAILED: Final = 255
_LONGEST: Final = 300


class _Done(NamedTuple):
    status: int
    output: str


def _nodes(call: Call) -> tuple[list[dict[str, Any]], list[str]]:
    """Give the nodes that are meant and online, the master last, and the names of those that are offline."""
    found = query_objects(call, "node", _FIELDS, call.option("on_nodes", ()))
    group = call.option("group")
    if group is not None:
        found = [node for node in found if group in {node["group"], node["group.uuid"]}]
        if not found:
            raise Refused(UNKNOWN_ENTITY, f"no such node is in a group {group[:60]}", hint="gnt-group list")
    online = sorted((node for node in found if not node["offline"]), key=lambda node: bool(node["master"]))
    return online, [node["name"] for node in found if node["offline"]]


def _note_skipped(skipped: Sequence[str]) -> None:
    if skipped:
        note(f"Note: skipping offline node(s): {', '.join(skipped)}")


def _plan(call: Call, lines: Sequence[tuple[str, str]], skipped: Sequence[str]) -> int:
    if call.json:
        call.print_json({"steps": [{"node": node, "text": text} for node, text in lines], "skipped": list(skipped)})
        return OK
    say("no job and no lock: as root over SSH, one node after the other")
    for number, (node, text) in enumerate(lines, 1):
        say(f"  {number} {node} {text}")
    _note_skipped(skipped)
    return OK


def _ssh(call: Call, node: dict[str, Any], command: str, *, address: str | None = None) -> list[str]:
    """Give the command that runs a line on a node. The host's key is that of the node's name, whatever the address."""
    program = shlex.split(call.environ.get("GNT_SSH") or "ssh")
    batch = [] if has_terminal() else ["-oBatchMode=yes"]
    port = [f"-oPort={node['ndp/ssh_port']}"] if node["ndp/ssh_port"] else []
    other = [f"-oHostName={address}", f"-oHostKeyAlias={node['name']}"] if address else []
    return [
        *program,
        "-oEscapeChar=none",
        "-oConnectTimeout=10",
        *batch,
        *port,
        *other,
        f"root@{node['name']}",
        command,
    ]


def _execute(command: Sequence[str], stdin: IO[bytes] | int) -> _Done:
    try:
        done = subprocess.run(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path.home(),  # as SSH begins on the other nodes
            check=False,
        )
    except OSError as problem:
        raise Refused(ENVIRONMENT, f"cannot run {command[0]}: {problem.strerror}") from None
    return _Done(done.returncode, done.stdout.decode(errors="replace"))


def _command(call: Call) -> int:
    line = " ".join(call.arguments)
    online, skipped = _nodes(call)
    if call.option("plan"):
        return _plan(call, [(node["name"], line) for node in online], skipped)
    ends = []
    for node in online:
        local = node["name"] == call.host
        done = _execute(["/bin/sh", "-c", line] if local else _ssh(call, node, line), subprocess.DEVNULL)
        ends.append({"node": node["name"], "status": done.status, "output": done.output})
        if not call.json and (done.status or not call.option("failure_only")):
            _show(node["name"], done, named=bool(call.option("show_machine_names")))
    if call.json:
        call.print_json({"nodes": ends, "skipped": skipped})
    else:
        _note_skipped(skipped)
    return OK


def _show(node: str, done: _Done, *, named: bool) -> None:
    say(_RULE)
    if named:
        for line in done.output.splitlines():
            say(f"{node}: {line}")
    else:
        say(f"node: {node}")
        say(done.output)
    say(f"return code = {done.status}")


def _copy(call: Call) -> int:
    path = Path(call.arguments[0]).absolute()
    online, skipped = _nodes(call)
    others = [node for node in online if not node["master"]]
    try:
        content = path.open("rb")
    except OSError as problem:
        raise Refused(WRONG_INPUT, f"cannot read {path}: {problem.strerror}") from None
    with content:
        facts = os.fstat(content.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise Refused(WRONG_INPUT, f"{path} is no file")
        if call.option("plan"):
            return _plan(call, [(node["name"], f"put {path}, {facts.st_size} bytes") for node in others], skipped)
        ends = [_sent(call, node, path, content, facts) for node in others]
    if call.json:
        call.print_json({"file": str(path), "nodes": ends, "skipped": skipped})
    else:
        _note_skipped(skipped)
    return OK


def _sent(call: Call, node: dict[str, Any], path: Path, content: IO[bytes], facts: os.stat_result) -> dict[str, Any]:
    content.seek(0)
    address = node["sip"] if call.option("secondary") else None
    done = _execute(_ssh(call, node, receiving(path, facts), address=address), content)
    if done.status:
        note(f"Copy of file {path} to node {node['name']} failed{_reason(done)}")
    return {"node": node["name"], "success": done.status == 0, "output": done.output.strip()}


def _reason(done: _Done) -> str:
    said = "; ".join(filter(None, map(str.strip, done.output.splitlines())))
    if said:
        return f": {said[-_LONGEST:]}"
    return ": ssh does not say why" if done.status == _SSH_FAILED else ": less arrived than was sent"


def receiving(path: Path, facts: os.stat_result) -> str:
    """Give the line for a shell that puts its standard input in a file's place, whole or not at all.

    A connection that ends early looks like the end of the file, so what has arrived is counted.
    """
    name = shlex.quote(str(path))
    beside = shlex.quote(str(path.parent / ".gnt-copy.XXXXXX"))
    return (
        f'umask 077 && new=$(mktemp {beside}) && {{ cat >"$new" && [ "$(wc -c <"$new")" -eq {facts.st_size} ]'
        f' && chmod {stat.S_IMODE(facts.st_mode):o} "$new" && touch -m -d @{int(facts.st_mtime)} "$new"'
        f' && mv -fT "$new" {name} || {{ rm -f "$new"; exit 1; }}; }}'
    )


_WHICH: Final = (
    option("-n", "--node", metavar="NODE", dest="on_nodes", repeat=True, help="only this node; can be given again"),
    option("-g", "--node-group", metavar="GROUP", dest="group", help="only nodes of this group"),
)
_HOW: Final = """
    It goes by SSH as root, with the keys that whoever types it has: gnt has none of its own.
    GNT_SSH is the program, with options, that stands for ssh.
"""

COMMANDS: Final = (
    Command(
        name="command",
        help="run a command line on every online node, over your own SSH",
        run=_command,
        options=(
            *_WHICH,
            option("-M", "--show-machine-names", help="write the node's name before each line"),
            option("--failure-only", help="show only nodes where the exit status is not 0"),
            PLAN,
        ),
        arguments=(Argument("command", 1, None, verbatim=True),),
        text=_HOW + 'The master comes last. With --json: {"nodes": [{"node", "status", "output"}], "skipped"}.',
        examples=("gnt-cluster command uptime", "gnt-cluster command -n node2 -M df -h /srv"),
    ),
    Command(
        name="copyfile",
        help="put a file of the master in the same place on every online node, over your own SSH",
        run=_copy,
        options=(
            *_WHICH,
            option("--use-replication-network", dest="secondary", help="over the secondary addresses"),
            PLAN,
        ),
        arguments=(Argument("filename", kind="file"),),
        text=_HOW + 'With --json: {"file", "nodes": [{"node", "success", "output"}], "skipped"}.',
        examples=("gnt-cluster copyfile /etc/hosts",),
    ),
)
