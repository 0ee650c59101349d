"""Backups of a cluster: making one, and making a cluster of one."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gnt.cli.bootstrap import run_bootstrap
from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, option
from gnt.cli.failures import OK, Declined
from gnt.cli.options import PLAN, YES_DO_IT
from gnt.cli.terminal import ask, note, say
from gnt.cli.times import local
from gnt.model.errors import WRONG_INPUT, Refused

_LONGEST: Final = 1024


def _passphrase(*, twice: bool) -> str:
    """Take the passphrase from the terminal, or the first line of standard input; it is never an argument."""
    if not sys.stdin.isatty():
        found = sys.stdin.readline(_LONGEST).rstrip("\r\n")
        if not found:
            raise Refused(WRONG_INPUT, "there is no passphrase on standard input")
        return found
    import getpass  # noqa: PLC0415  (only for people at a terminal)

    found = getpass.getpass("Passphrase: ")
    if not found:
        raise Refused(WRONG_INPUT, "the passphrase is empty")
    if twice and getpass.getpass("Again: ") != found:
        raise Refused(WRONG_INPUT, "the two are not the same")
    return found


def _backup(call: Call) -> int:
    target = call.arguments[0]
    request: dict[str, Any] = {}
    if target == "-" and (call.json or sys.stdout.isatty()):
        raise Refused(WRONG_INPUT, "a backup is no text: name a file, or send standard output elsewhere")
    if call.option("with_secrets"):
        request["passphrase"] = _passphrase(twice=True)
    if target != "-":
        result = run_bootstrap(call, "backup", {**request, "file": str(Path(target).absolute())})
        _say_what(call, result)
        return OK
    with tempfile.TemporaryDirectory(prefix="gnt-backup-") as work:
        file = Path(work) / "backup"
        _say_what(call, run_bootstrap(call, "backup", {**request, "file": str(file)}))
        with file.open("rb") as content:
            shutil.copyfileobj(content, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return OK


def _say_what(call: Call, result: Mapping[str, Any]) -> None:
    if call.json:
        call.print_json({"result": result})
    elif not result["secrets"]:
        note("It holds no certificates, no private parameters: --with-secrets encrypts them into it.")


def _restore(call: Call) -> int:
    request: dict[str, Any] = {"file": str(Path(call.arguments[0]).absolute()), "force": bool(call.option("force"))}
    found = run_bootstrap(call, "restore", {**request, "check": True})
    if call.option("plan"):
        return _foretell(call, found)
    if found["secrets"] and not call.option("without_secrets"):
        request["passphrase"] = _passphrase(twice=False)
    if not call.option("yes_do_it") and not ask(_question(found, call.host)):
        raise Declined("restoring the cluster", hint="--yes-do-it says that it is really meant")
    result = run_bootstrap(call, "restore", request)
    if call.json:
        call.print_json({"result": result})
        return OK
    if result["offline"]:
        note(f"Take in again, with gnt-node add --readd: {', '.join(result['offline'])}")
    note("See what is different now with gnt-cluster verify; gnt-node modify -C yes makes nodes candidates again.")
    return OK


def _foretell(call: Call, found: Mapping[str, Any]) -> int:
    """Say what would be done, and whether a passphrase would be asked for."""
    if call.json:
        call.print_json({"plan": found})
        return OK
    say("no job and no lock")
    for number, text in enumerate(_steps(call, found), 1):
        say(f"  {number} {text}")
    if found["exists"] and not call.option("force"):
        sys.stdout.flush()
        raise Refused("wrong_state", "This node has a store already", hint="--force keeps it aside")
    return OK


def _steps(call: Call, found: Mapping[str, Any]) -> Iterator[str]:
    if found["secrets"] and not call.option("without_secrets"):
        yield "the passphrase of the backup is asked for"
    yield (
        f"the store of {found['cluster']} as of {local(found['time'])} is made ready; jobs that were not over are ended"
    )
    if found["running"]:
        yield f"{', '.join(found['running'])} are ended"
    if found["exists"]:
        yield "the store that is here is kept aside"
    yield f"the store is put in place; {call.host} is the master and the only candidate, and that is recorded as unsafe"
    yield "the daemons are started"


def _question(found: Mapping[str, Any], host: str) -> str:
    running = f"\n{', '.join(found['running'])} will be ended and started again." if found["running"] else ""
    here = "\nThe store that is here is kept aside." if found["exists"] else ""
    return (
        f"{found['cluster']} becomes what it was on {local(found['time'])} ({found['node']}, gnt {found['gnt']}), and"
        f" {host} its master. What was changed since then is not in it: make sure that no other master runs."
        f"{running}{here}"
    )


BACKUP = Command(
    name="backup",
    help="write one consistent file of the cluster, while it runs or not; on the master",
    run=_backup,
    options=(
        option(
            "--with-secrets",
            help="encrypt certificates, keys and private parameters into it, with a passphrase that is asked for",
        ),
    ),
    arguments=(Argument("file", kind="file"),),
    text=(
        "The file (- for standard output) is a tar archive that only its owner can read. Without --with-secrets no "
        "secret is in it: a cluster restored from it gets a new authority, and its other nodes have to be taken in "
        "again. A passphrase comes from the terminal or as the first line of standard input."
    ),
    examples=("gnt-cluster backup /var/backups/cluster.gnt", "gnt-cluster backup --with-secrets - >cluster.gnt"),
)

RESTORE = Command(
    name="restore",
    help="make this node the master of the cluster as a backup has it",
    run=_restore,
    options=(
        option("--without-secrets", help="leave the secrets of the backup alone and ask for no passphrase"),
        option("-f", "--force", help="also where there is a store already; it is kept aside"),
        YES_DO_IT,
        PLAN,
    ),
    arguments=(Argument("file", kind="file"),),
    text=(
        "The backup is checked first. Jobs of the backup that were not over are ended, nothing of them goes on. This "
        "node is the only master candidate afterwards. That this was done without a majority is recorded."
    ),
    examples=("gnt-cluster restore --force /var/backups/cluster.gnt",),
)
