"""gnt-filter: rules about which jobs may run. `spec/jobs.md`, section 7."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, Program, option
from gnt.cli.failures import OK
from gnt.cli.list_commands import FILTER_FIELDS, LISTS
from gnt.cli.past import AT, info_at
from gnt.cli.tables import action_text, json_text
from gnt.cli.terminal import say
from gnt.cli.values import parser_at_least
from gnt.model.errors import Refused

_WORDS: Final = ("ACCEPT", "PAUSE", "REJECT", "CONTINUE")


def _action(text: str) -> Any:
    """Take an action: one word, or RATE_LIMIT and a number."""
    words = text.upper().split()
    if len(words) == 1 and words[0] in _WORDS:
        return words[0]
    if len(words) == 2 and words[0] == "RATE_LIMIT" and re.fullmatch(r"0*[1-9]\d{0,8}", words[1], re.ASCII):
        return ["RATE_LIMIT", int(words[1])]
    raise ValueError(f"{text[:60]!r} is none of {', '.join(_WORDS)}, RATE_LIMIT N")


def _predicates(text: str) -> list[Any]:
    """Take predicates: a JSON list of kinds with their filters."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"it is not JSON: {problem}") from None
    if not isinstance(found, list):
        raise ValueError("it is no list of predicates")  # noqa: TRY004  (the parsers raise only this)
    return found


def _set(call: Call) -> int:
    given = call.arguments[0] if call.arguments else None
    uuid = call.client.replace_filter(
        given,
        call.option("priority", 0),
        call.option("predicates", []),
        call.option("action", "CONTINUE"),
        call.reason(),
    )
    if call.json:
        call.print_json({"uuid": uuid})
    else:
        say(uuid)
    return OK


def _delete(call: Call) -> int:
    call.client.delete_filter(call.arguments[0])
    return OK


def _info(call: Call) -> int:
    if call.option("at") is not None:
        return info_at(call, "filter")
    named = ["|", *(["=", "uuid", uuid] for uuid in call.arguments)] if call.arguments else None
    answer = call.client.query("filter", FILTER_FIELDS, named)
    found = [{name: cell[1] for name, cell in zip(FILTER_FIELDS, row, strict=True)} for row in answer.data]
    missing = sorted(set(call.arguments) - {rule["uuid"] for rule in found})
    if missing:
        raise Refused("unknown_entity", f"there is no filter {missing[0][:60]}", hint="gnt-filter list shows all")
    if call.json:
        call.print_json(found)
        return OK
    for rule in found:
        say(f"UUID: {rule['uuid']}")
        for line in _described(rule):
            say(f"  {line}")
    return OK


def _described(rule: dict[str, Any]) -> list[str]:
    return [
        f"Watermark: {rule['watermark']}",
        f"Priority: {rule['priority']}",
        f"Predicates: {json_text(rule['predicates'])}",
        f"Action: {action_text(rule['action'])}",
        f"Reason trail: {json_text(rule['reason_trail'])}",
    ]


_RULE: Final = (
    option("--action", metavar="ACTION", parse=_action, help="ACCEPT, PAUSE, REJECT, CONTINUE or 'RATE_LIMIT N'"),
    option(
        "--predicates",
        metavar="JSON",
        parse=_predicates,
        help='which jobs: [["jobid", FILTER], ["opcode", FILTER], ["reason", FILTER]]; all must hold',
    ),
    option("--priority", metavar="N", parse=parser_at_least(0), help="rank among the rules; lower goes first"),
)
_TEXT: Final = """
    Rules are tried by priority; the first that matches and is not CONTINUE decides: ACCEPT
    lets the job run, PAUSE keeps it in the queue, REJECT cancels it unless it runs already,
    RATE_LIMIT N lets at most N such jobs run at once. In jobid predicates the value
    watermark stands for the last job there was when the rule was set.
"""

PROGRAM = Program(
    name="gnt-filter",
    help="rules about which jobs may run",
    commands=(
        Command(
            name="add",
            help="make a rule and print its UUID",
            run=_set,
            options=_RULE,
            text=_TEXT,
            examples=(
                """gnt-filter add --action=PAUSE --predicates='[["jobid", [">", "id", "watermark"]]]'""",
                """gnt-filter add --action='RATE_LIMIT 2' --predicates='[["opcode", ["=~", "OP_ID", "MIGRATE"]]]'""",
            ),
        ),
        Command(
            name="replace",
            help="set a rule anew, or make it with this UUID",
            run=_set,
            options=_RULE,
            arguments=(Argument("uuid", kind="filter"),),
            text=_TEXT,
            examples=("gnt-filter replace --action=REJECT --reason='no moves' 3e2f1a5c-8f4b-4a3e-9c8d-2b7f6a1d0e9f",),
        ),
        Command(
            name="delete",
            help="remove a rule",
            run=_delete,
            arguments=(Argument("uuid", kind="filter"),),
            examples=("gnt-filter delete 3e2f1a5c-8f4b-4a3e-9c8d-2b7f6a1d0e9f",),
        ),
        *LISTS["gnt-filter"],
        Command(
            name="info",
            help="show rules with all their details",
            run=_info,
            options=(AT,),
            arguments=(Argument("uuid", 0, None, kind="filter"),),
            examples=("gnt-filter info",),
        ),
    ),
)
