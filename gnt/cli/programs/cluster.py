"""gnt-cluster: the cluster as a whole."""

from __future__ import annotations

import time
from typing import Final

from gnt.cli.backups import BACKUP, RESTORE
from gnt.cli.bootstrap import run_bootstrap
from gnt.cli.call import Call
from gnt.cli.cluster_disks import COMMANDS as DISKS
from gnt.cli.cluster_info import described
from gnt.cli.cluster_modify import MODIFY
from gnt.cli.cluster_rename import COMMANDS as RENAME
from gnt.cli.command import Argument, Command, Program, from_opcode, option, unsupported
from gnt.cli.failures import FAILURE, OK, Declined
from gnt.cli.init_options import INIT_OPTIONS, init_request
from gnt.cli.jobs import json_of, run
from gnt.cli.many import jobs_of, wait_each
from gnt.cli.mastership import COMMANDS as MASTERSHIP
from gnt.cli.on_nodes import COMMANDS as ON_NODES
from gnt.cli.options import DRY_RUN, PLAN, PRIORITY, ROMAN, YES_DO_IT
from gnt.cli.past import AT, DIFF, HISTORY, info_at
from gnt.cli.rapi_access import COMMANDS as RAPI_ACCESS
from gnt.cli.renewal import RENEW
from gnt.cli.tags import SEARCH_TAGS, tag_commands
from gnt.cli.terminal import note, say
from gnt.cli.tree import show
from gnt.cli.values import seconds
from gnt.model.errors import WRONG_INPUT, Refused

VERIFY: Final = "OP_CLUSTER_VERIFY"
DESTROY: Final = "OP_CLUSTER_DESTROY"


def _init(call: Call) -> int:
    plan = {"plan": True} if call.option("plan") else {}
    result = run_bootstrap(call, "init", {**init_request(call), **plan})
    if call.option("plan") and not call.json:
        say("no job and no lock")
        for number, text in enumerate(result["plan"], 1):
            say(f"  {number} {text}")
    elif call.json:
        call.print_json({"result": result})
    return OK


def _destroy(call: Call) -> int:
    if not call.option("yes_do_it") and not call.option("plan"):
        raise Declined("destroying the cluster", hint="it cannot be undone; --yes-do-it says that it is really meant")
    name = call.ssconf("cluster_name")
    ended = run(call, call.opcode(DESTROY))
    run_bootstrap(call, "leave", {"cluster_name": name})
    if call.json and ended is not None:
        call.print_json(json_of(ended))
    return OK


def _info(call: Call) -> int:
    if call.option("at") is not None:
        return info_at(call, "cluster")
    found = call.client.query_cluster_info()
    found["unsafe_changes"] = call.client.call("UnsafeChanges")
    if call.json:
        call.print_json(found)
    else:
        show(described(found))
    return OK


_VERSIONS: Final = (
    ("Software version", "software_version"),
    ("Internode protocol", "protocol_version"),
    ("Configuration format", "config_version"),
    ("OS api version", "os_api_version"),
    ("Export interface", "export_version"),
    ("VCS version", "vcs_version"),
)


def _version(call: Call) -> int:
    found = call.client.query_cluster_info()
    if call.json:
        call.print_json({key: found.get(key) for _, key in _VERSIONS})
        return OK
    for title, key in _VERSIONS:
        say(f"{title}: {found.get(key)}")
    return OK


def _getmaster(call: Call) -> int:
    name = call.ssconf("master_node")
    if call.json:
        call.print_json({"master_node": name})
    else:
        say(name)
    return OK


def _verify(call: Call) -> int:
    skipped = ["nplusone_mem"] if call.option("no_nplus1_mem") else None
    ended = run(call, call.opcode(VERIFY, skip_checks=skipped))
    assert ended is not None  # noqa: S101  (there is no --submit here)
    jobs = jobs_of(ended.result)
    ends = wait_each(call, jobs, announce=True) if jobs else []
    bad = [end for end in ends if end["status"] != "success"]
    # An opcode that found errors answers false; one that could not look at all has failed.
    unclean = [end for end in ends if end["status"] == "success" and end["result"] is False]
    if call.json:
        call.print_json({**json_of(ended), "jobs": ends, "clean": not bad and not unclean})
    if bad and not call.json:
        note(f"{len(bad)} job(s) failed while verifying the cluster.")
    return FAILURE if bad or unclean else OK


def _queue(call: Call) -> int:
    word = call.arguments[0]
    if word in {"drain", "undrain"}:
        call.client.set_drain_flag(drained=word == "drain")
        return OK
    if word != "info":
        raise Refused(WRONG_INPUT, f"queue: {word[:60]} is no word for it", hint="drain, undrain or info")
    (drained,) = call.client.query_config_values(["drain_flag"])
    if call.json:
        call.print_json({"drained": bool(drained)})
    else:
        say(f"The drain flag is {'set' if drained else 'unset'}")
    return OK


def _watcher(call: Call) -> int:
    word, *rest = call.arguments
    if word == "pause":
        return _pause(call, rest)
    if rest or word not in {"continue", "info"}:
        raise Refused(WRONG_INPUT, f"watcher: {' '.join(call.arguments)[:60]} is no word for it", hint=_WATCHER_HINT)
    if word == "continue":
        call.client.set_watcher_pause(None)
        return _paused(call, None, "The watcher is no longer paused.")
    (until,) = call.client.query_config_values(["watcher_pause"])
    return _paused(call, until, "The watcher is not paused.")


_WATCHER_HINT: Final = "pause TIME (90, 30m, 6h, 2d, 1w), continue or info"


def _pause(call: Call, words: list[str]) -> int:
    if len(words) != 1:
        raise Refused(WRONG_INPUT, "watcher pause: for how long?", hint=_WATCHER_HINT)
    try:
        until = int(time.time()) + seconds(words[0])
    except ValueError as problem:
        raise Refused(WRONG_INPUT, f"watcher pause: {problem}") from None
    call.client.set_watcher_pause(until)
    return _paused(call, until, "")


def _paused(call: Call, until: float | None, otherwise: str) -> int:
    if call.json:
        call.print_json({"paused_until": until})
    else:
        say(otherwise if until is None else f"The watcher is paused until {time.ctime(until)}.")
    return OK


_LATER: Final = {
    "epo": "no out-of-band helper is run here: gnt-instance shutdown --all, then switch the machines themselves",
    "upgrade": "install the new release on every node and start the daemons anew: the store is brought over then",
}


PROGRAM = Program(
    name="gnt-cluster",
    help="make, describe, check and end a cluster",
    commands=(
        Command(
            name="init",
            help="make a cluster whose first node and master is this machine",
            run=_init,
            options=(*INIT_OPTIONS, PLAN),
            arguments=(Argument("cluster-name"),),
            examples=("gnt-cluster init --enabled-hypervisors kvm --nic-parameters link=br0 cluster.example.com",),
            text='Says on standard error what it does. With --json: {"result"} in the end.',
        ),
        Command(
            name="destroy",
            help="end a cluster that has neither instances nor other nodes",
            run=_destroy,
            options=(YES_DO_IT, PLAN),
            examples=("gnt-cluster destroy --yes-do-it",),
        ),
        Command(
            name="info",
            help="describe the cluster",
            run=_info,
            options=(ROMAN, AT),
            aliases=("show",),
            examples=(
                "gnt-cluster info",
                "gnt-cluster info --json | jq .master",
            ),
        ),
        HISTORY,
        DIFF,
        BACKUP,
        RESTORE,
        Command(
            name="version", help="say which versions of everything run", run=_version, examples=("gnt-cluster version",)
        ),
        Command(
            name="queue",
            help="let the job queue take no new jobs (drain), or take them again; info says which",
            run=_queue,
            arguments=(Argument("drain|undrain|info"),),
            examples=(
                "gnt-cluster queue drain",
                "gnt-cluster queue info",
            ),
        ),
        Command(
            name="watcher",
            help="keep the watcher from acting for a time, let it act again, or say what holds",
            run=_watcher,
            arguments=(Argument("pause TIME|continue|info", 1, 2),),
            examples=("gnt-cluster watcher pause 2h", "gnt-cluster watcher info"),
        ),
        MODIFY,
        *RENAME,
        *MASTERSHIP,
        *RAPI_ACCESS,
        Command(
            name="getmaster",
            help="say which node is the master; works on every node",
            run=_getmaster,
            examples=("gnt-cluster getmaster",),
        ),
        Command(
            name="verify",
            help="check the configuration, the nodes and the instances",
            run=_verify,
            options=(
                option("--no-nplus1-mem", help="do not check whether memory lasts when a node fails"),
                from_opcode(VERIFY, "debug_simulate_errors", "--debug-simulate-errors"),
                from_opcode(VERIFY, "error_codes", "--error-codes"),
                from_opcode(VERIFY, "verbose", "-v", "--verbose"),
                from_opcode(VERIFY, "group_name", "-g", "--node-group", metavar="GROUP"),
                from_opcode(VERIFY, "ignore_errors", "-I", "--ignore-errors", metavar="CODE", repeat=True),
                from_opcode(VERIFY, "verify_clutter", "--verify-ssh-clutter"),
                DRY_RUN,
                PRIORITY,
                unsupported("--no-hv-param-assessment", hint="nothing of the kind is assessed"),
            ),
            text='Errors make the exit status 1. With --json: {"job", "status", "result", "jobs", "clean"}.',
            examples=(
                "gnt-cluster verify",
                "gnt-cluster verify --error-codes -I ENODEHV",
            ),
        ),
        RENEW,
        *tag_commands("cluster"),
        SEARCH_TAGS,
        *DISKS,
        *ON_NODES,
    ),
    unsupported=_LATER,
)
