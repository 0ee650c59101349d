"""What goes with the role of master: `gnt-cluster master-failover`, and the cluster's address."""

from __future__ import annotations

import sys
from typing import Any, Final

from gnt.cli.bootstrap import run_bootstrap
from gnt.cli.call import Call
from gnt.cli.command import Command, option, unsupported
from gnt.cli.failures import FAILURE, OK, Declined
from gnt.cli.jobs import run_command
from gnt.cli.options import CHANGING, PLAN, YES_DO_IT
from gnt.cli.terminal import ask, note, say


def _failover(call: Call) -> int:
    no_voting = bool(call.option("no_voting"))
    if call.option("plan"):
        return _foretell(call, run_bootstrap(call, "failover", {"survey": True}))
    if no_voting:
        _agree(call, run_bootstrap(call, "failover", {"survey": True}))
    result = run_bootstrap(call, "failover", {"no_voting": no_voting})
    if call.json:
        call.print_json({"result": result})
    else:
        say(f"{result['master']} is the master")
    return OK


def _foretell(call: Call, found: dict[str, Any]) -> int:
    """Say who would be asked, who does not answer, and what would be done; a failure where it would be refused."""
    old, missing, unheard = found["old_master"], found["missing"], found["unheard"]
    possible = (found["majority"] and not unheard) or bool(call.option("no_voting"))
    if call.json:
        call.print_json({"plan": found})
        return OK if possible else FAILURE
    say(f"no job and no lock; {found['needed']} of these must agree: {' '.join(found['candidates'])}")
    steps = [
        f"{old} does not answer: it ends when it hears of this"
        if old in missing
        else f"{old} hands over: its jobs come to rest, its daemons end",
        f"{call.host} has the others promise to obey it, and takes what it lacks of the log from them",
        *([] if found["majority"] else [f"{' '.join(missing)} flagged offline; what only they have is lost"]),
        *([f"{' '.join(unheard)} will not obey until gnt-node add --readd takes them back"] if unheard else []),
        f"every other node that answers ends what it does for {old}, with its outcome",
        f"the cluster's address is raised on {call.host}, and the remote API started",
    ]
    for number, text in enumerate(steps if possible else (), 1):
        say(f"  {number} {text}")
    sys.stdout.flush()
    if missing:
        note(f"These do not answer: {' '.join(missing)}")
    if unheard:
        note(f"These have not heard that {call.host} is a master candidate, as far as is known: {' '.join(unheard)}")
    if not possible:
        note("It would be refused: start gnt-noded there; --no-voting goes without them, once they are switched off.")
    return OK if possible else FAILURE


def _agree(call: Call, found: dict[str, Any]) -> None:
    """Say what going without a majority, or without nodes that will not obey, may cost; have a person agree to it."""
    if found["majority"]:
        note("A majority of the master candidates answers, so they are asked although --no-voting was given.")
    else:
        missing = ", ".join(found["missing"])
        note(f"These master candidates do not answer: {missing}. {found['needed']} of all must have each change.")
        note(f"Changes that only they have are lost, jobs that were acknowledged among them. {missing} will be flagged")
        note("offline. If one of them still runs as the master, there will be two, and guests may be started twice.")
        note("Switch them on again only while this node answers: by what they know themselves, they may be a majority.")
        question = "Are they switched off, and do you want to go on without them?"
        if not call.option("yes_do_it") and not ask(question):
            hint = "switch them off, or start gnt-noded there; --yes-do-it asks nothing"
            raise Declined("taking over without a majority", hint=hint)
    if found["unheard"]:
        deaf = ", ".join(found["unheard"])
        note(f"These nodes have not heard that this one is a master candidate, as far as is known: {deaf}.")
        note(
            "They will take no orders from it: guests there are unattended until gnt-node add --readd takes them back."
        )
        if not call.option("yes_do_it") and not ask("Do you want to go on without them?"):
            hint = "start gnt-noded there and wait for a moment; --yes-do-it asks nothing"
            raise Declined("taking over where nodes will not obey", hint=hint)


_FAILOVER: Final = Command(
    name="master-failover",
    aliases=("masterfailover",),
    help="make this node, a master candidate, the master",
    run=_failover,
    options=(
        option(
            "--no-voting",
            help="go on although too few master candidates answer, or nodes will not obey; what only they have is lost",
        ),
        YES_DO_IT,
        PLAN,
        unsupported("--ignore-offline-nodes", hint="nodes that are flagged offline are never counted"),
    ),
    text="""
        Run on the node that shall be the master. A living master hands over: its jobs come to
        rest, its daemons end. A dead one is replaced when a majority of the master candidates
        answers; nothing that was acknowledged is lost. A candidate that a node which is online has
        not heard of, for it was promoted while that node was away, is refused and the node named.

        With --no-voting those that do not answer are flagged offline. Switch them on again only
        while the new master answers: they ask it before they obey anybody else, and without it
        they may be a majority by what they know themselves. gnt-node modify --offline=no takes one
        in again.
    """,
    examples=("gnt-cluster master-failover",),
)


def _activate(call: Call) -> int:
    return run_command(call, call.opcode("OP_CLUSTER_ACTIVATE_MASTER_IP"))


def _deactivate(call: Call) -> int:
    plain = call.option("yes") or call.option("plan") or call.option("dry_run")
    if not plain and not ask("Clients that use the cluster's address lose their connections. Take it down?"):
        raise Declined("taking the cluster's address down", hint="--yes asks nothing")
    return run_command(call, call.opcode("OP_CLUSTER_DEACTIVATE_MASTER_IP"))


_ACTIVATE: Final = Command(
    name="activate-master-ip",
    help="raise the cluster's address on the master, where that failed when it started",
    run=_activate,
    options=(option("--yes", help="nothing is asked anyway"), *CHANGING),
    examples=("gnt-cluster activate-master-ip",),
)
_DEACTIVATE: Final = Command(
    name="deactivate-master-ip",
    help="take the cluster's address down",
    run=_deactivate,
    options=(option("--yes", help="ask no question"), *CHANGING),
    examples=("gnt-cluster deactivate-master-ip --yes",),
)

COMMANDS: Final = (_FAILOVER, _ACTIVATE, _DEACTIVATE)
