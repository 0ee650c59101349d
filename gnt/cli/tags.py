"""list-tags, add-tags and remove-tags of every program whose objects have tags; search-tags of gnt-cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, option, unsupported
from gnt.cli.failures import FAILURE, OK
from gnt.cli.jobs import run, run_command
from gnt.cli.options import CHANGING, PRIORITY
from gnt.cli.terminal import say
from gnt.model.errors import WRONG_INPUT, Refused

FROM: Final = option("--from", metavar="FILE", help="read more tags from a file, one a line; - is standard input")
# Other releases know these here as well, and do nothing with them.
_OF_OTHERS: Final = tuple(
    unsupported(flag, hint="a list is no job") for flag in ("--from", "--priority", "--submit", "--print-jobid")
)
SEARCH: Final = "OP_TAGS_SEARCH"
_EXAMPLES: Final = {"": "", "group": "rack7", "instance": "web1", "network": "net1", "node": "node2"}


def tag_commands(kind: str, metavar: str = "") -> tuple[Command, ...]:
    """Make the three commands for a kind of object; `metavar` names its argument, empty for the cluster itself."""
    named = (Argument(metavar, kind=metavar),) if metavar else ()
    article = "an" if metavar.startswith("i") else "a"
    what = f"{article} {metavar}" if metavar else "the cluster"
    program, example = f"gnt-{metavar or 'cluster'}", _EXAMPLES[metavar]

    def target(call: Call) -> tuple[str | None, list[str]]:
        if not metavar:
            return None, call.arguments
        return call.arguments[0], call.arguments[1:]

    def show(call: Call) -> int:
        name, _ = target(call)
        tags = sorted(call.client.call("QueryTags", kind, name or ""))
        if call.json:
            call.print_json(tags)
        else:
            for tag in tags:
                say(tag)
        return OK

    def change(op_id: str, call: Call) -> int:
        name, tags = target(call)
        tags = [*tags, *_more(call)]
        if not tags:
            raise Refused(WRONG_INPUT, "No tags to be added or removed are given", hint="as arguments, or --from FILE")
        return run_command(call, call.opcode(op_id, kind=kind, name=name, tags=tags))

    some = Argument("tag", 0, None)
    return (
        Command(
            name="list-tags",
            help=f"list the tags of {what}",
            run=show,
            options=_OF_OTHERS,
            arguments=named,
            examples=(" ".join(filter(None, (program, "list-tags", example))),),
        ),
        Command(
            name="add-tags",
            help=f"put tags on {what}",
            run=lambda call: change("OP_TAGS_SET", call),
            options=(FROM, *CHANGING),
            arguments=(*named, some),
            examples=(" ".join(filter(None, (program, "add-tags", example, "backup:daily"))),),
        ),
        Command(
            name="remove-tags",
            help=f"take tags off {what}; all of them must be there",
            run=lambda call: change("OP_TAGS_DEL", call),
            options=(FROM, *CHANGING),
            arguments=(*named, some),
            examples=(" ".join(filter(None, (program, "remove-tags", example, "backup:daily"))),),
        ),
    )


def _more(call: Call) -> list[str]:
    """Read the tags of --from."""
    path = call.option("from")
    if path is None:
        return []
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is no text"
        raise Refused(WRONG_INPUT, f"--from {path[:200]}: {reason}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _search(call: Call) -> int:
    ended = run(call, call.opcode(SEARCH, pattern=call.arguments[0]))
    found = sorted(map(tuple, ended.result if ended is not None else []))
    if call.json:
        call.print_json([{"path": path, "tag": tag} for path, tag in found])
    else:
        for path, tag in found:
            say(f"{path} {tag}")
    return OK if found else FAILURE


SEARCH_TAGS: Final = Command(
    name="search-tags",
    help="find objects by a regular expression that occurs in their tags",
    run=_search,
    options=(PRIORITY,),
    arguments=(Argument("regex"),),
    text="The exit status is 1 if nothing was found.",
    examples=("gnt-cluster search-tags '^prod'",),
)
