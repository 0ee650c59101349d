"""gnt-cluster rename, redist-conf, master-ping and show-ispecs-cmd."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command
from gnt.cli.failures import FAILURE, OK, Declined
from gnt.cli.jobs import run_command
from gnt.cli.options import CHANGING, FORCE, YES_DO_IT
from gnt.cli.terminal import ask, say
from gnt.cli.values import SPECS
from gnt.model.errors import GntError

RENAME: Final = "OP_CLUSTER_RENAME"


def _rename(call: Call) -> int:
    old = call.ssconf("cluster_name")
    quiet = call.option("force") or call.option("plan") or call.option("dry_run")
    question = f"The cluster {old} gets another name; its address may move, and connections to it end. Go on?"
    if not quiet and not ask(question):
        raise Declined("renaming the cluster", hint="--force asks no question")
    opcode = call.opcode(RENAME, name=call.arguments[0])
    return run_command(call, opcode, lambda name: say(f"Cluster renamed from '{old}' to '{name}'"))


def _redistribute(call: Call) -> int:
    return run_command(call, call.opcode("OP_CLUSTER_REDIST_CONF"), drained_too=bool(call.option("yes_do_it")))


def _ping(call: Call) -> int:
    try:
        call.client.query_cluster_info()
    except GntError:
        return FAILURE
    return OK


def _show_policy(call: Call) -> int:
    info = call.client.query_cluster_info()
    words = ["gnt-cluster", "init", *policy_words(info["ipolicy"]), info["name"]]
    if call.json:
        call.print_json({"command": words})
    else:
        say(shlex.join(words))
    return OK


def policy_words(policy: Mapping[str, Any]) -> list[str]:
    """Give the options that make this policy."""
    std, pairs = policy.get("std") or {}, policy.get("minmax") or []
    words = ["--ipolicy-std-specs", _specs(std)] if std else []
    if pairs:
        bounds = "//".join(f"min:{_specs(pair['min'])}/max:{_specs(pair['max'])}" for pair in pairs)
        words += ["--ipolicy-bounds-specs", bounds]
    return words


def _specs(specs: Mapping[str, Any]) -> str:
    return ",".join(f"{spec}={specs[spec]}" for spec in SPECS if spec in specs)


COMMANDS: Final = (
    Command(
        name="rename",
        help="give the cluster another name, and with it another address",
        run=_rename,
        options=(FORCE, *CHANGING),
        arguments=(Argument("new-name"),),
        examples=("gnt-cluster rename -f cluster2.example.com",),
    ),
    Command(
        name="redist-conf",
        help="bring the configuration to all nodes once more",
        run=_redistribute,
        options=(*CHANGING, YES_DO_IT.but(help="although the queue takes no new jobs")),
        examples=("gnt-cluster redist-conf",),
    ),
    Command(
        name="master-ping",
        help="say by the exit status whether the master daemon answers",
        run=_ping,
        examples=("gnt-cluster master-ping && gnt-job list --running",),
    ),
    Command(
        name="show-ispecs-cmd",
        help="print the options of gnt-cluster init that make the instance policy of this cluster",
        run=_show_policy,
        examples=("gnt-cluster show-ispecs-cmd",),
    ),
)
