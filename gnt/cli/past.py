"""What was: the history of objects, objects as they were, and what is different between two times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.command import Argument, Command, option
from gnt.cli.failures import OK
from gnt.cli.terminal import note, say
from gnt.cli.times import local, point_in_time
from gnt.cli.tree import Pairs, scalar, show
from gnt.cli.values import whole
from gnt.model.errors import WRONG_INPUT, Refused

KINDS: Final = ("cluster", "node", "group", "instance", "disk", "network", "filter")
AT = option(
    "--at", metavar="TIME", parse=point_in_time, help="as it was stored then: a local time, 2h (ago) or seconds"
)
_USUAL_LIMIT: Final = 50
# A new cluster has hundreds of values: info shows them better.
_MANY: Final = 30
_STAMPS: Final = ("ctime", "mtime")


def _object(text: str) -> tuple[str | None, str | None]:
    """Take `KIND/NAME`, `cluster` or a name."""
    kind, slash, name = text.partition("/")
    if slash and kind in KINDS and name:
        return kind, name
    if text == "cluster":
        return "cluster", None
    if slash:
        raise Refused(WRONG_INPUT, f"{text} is neither a name nor KIND/NAME", hint=f"kinds: {', '.join(KINDS)}")
    return None, text


def _history(call: Call) -> int:
    kind, name = _object(call.arguments[0]) if call.arguments else (None, None)
    limit = call.option("limit", _USUAL_LIMIT)
    answer = call.client.call("History", kind, name, call.option("since"), call.option("until"), limit)
    if call.json:
        call.print_json(answer)
        return OK
    for change in answer["changes"]:
        _show_change(change)
    if len(answer["changes"]) == limit:
        note(f"The newest {limit} are shown; --limit shows more.")
    elif answer["kept_from"] is not None:
        note(f"What was replaced before {local(answer['kept_from'])} is forgotten.")
    return OK


def _show_change(found: Mapping[str, Any]) -> None:
    job = f"job {found['job']}" if found["job"] else "no job"
    summary = f" {found['summary']}" if found["summary"] else ""
    say(f"{local(found['time'])}  {_headline(found['change'])}  {job}{summary}")
    for title in ("reason", "comment"):
        if found[title]:
            say(f"  {title}: {found[title]}")
    _show_fields(found["change"])


def _headline(change: Mapping[str, Any]) -> str:
    old, new = change["old_serial"], change["new_serial"]
    serial = f"  serial {old} -> {new}" if None not in (old, new) else ""
    return f"{change['kind']}/{change['name'] or change['uuid']}  {change['what']}{serial}"


def _show_fields(change: Mapping[str, Any]) -> None:
    """Show what is different; of an object that is gone, that says it."""
    if change["what"] == "removed":
        return
    fields = change["fields"]
    if change["what"] == "added" and len(fields) > _MANY:
        say(f"  with {len(fields)} values")
        return
    for field in fields:
        old, new = ("-" if value is None else scalar(value) for value in (field["old"], field["new"]))
        say(f"  {field['name']}: {new}" if change["what"] == "added" else f"  {field['name']}: {old} -> {new}")


def _diff(call: Call) -> int:
    try:
        first, second = map(point_in_time, [*call.arguments, "now"][:2])
    except ValueError as problem:
        raise Refused(WRONG_INPUT, str(problem)) from None
    found = call.client.call("ConfigDiff", first, second)
    if call.json:
        call.print_json(found)
        return OK
    for change in found:
        say(_headline(change))
        _show_fields(change)
    if not found:
        note(f"Nothing is different between {local(first)} and {local(second)}.")
    return OK


def info_at(call: Call, kind: str) -> int:
    """Show objects as they were stored at the time of `--at`: those that the arguments name, or the cluster."""
    names: list[str | None] = [*call.arguments] if kind != "cluster" else [None]
    if not names:
        raise Refused(WRONG_INPUT, f"--at needs the name of the {kind}")
    found = [call.client.call("ObjectAt", kind, name, call.option("at")) for name in names]
    if call.json:
        call.print_json(found)
    else:
        show([_described(one) for one in found])
    return OK


def _described(found: Mapping[str, Any]) -> Pairs:
    names = found["names"]
    shown: list[tuple[str, Any]] = [
        (found["kind"].capitalize(), found["name"]),
        ("UUID", found["uuid"]),
        ("As stored at", local(found["time"])),
    ]
    told = ("uuid", "name", *(("disks",) if found["disks"] else ()))
    shown += [(key, _readable(key, value, names)) for key, value in found["object"].items() if key not in told]
    if found["disks"]:
        shown.append(("disks", [_disk(disk, names) for disk in found["disks"]]))
    return Pairs(shown)


def _disk(disk: Mapping[str, Any], names: Mapping[str, str]) -> Pairs:
    return Pairs([(key, _readable(key, value, names)) for key, value in disk.items()])


def _readable(key: str, value: Any, names: Mapping[str, str]) -> Any:
    """Give a value with names for UUIDs and local times for stamps."""
    if key in _STAMPS and isinstance(value, int | float):
        return local(value)
    if isinstance(value, Mapping):
        return {inner: _readable(inner, item, names) for inner, item in value.items()}
    if isinstance(value, list):
        items = [_readable("", item, names) for item in value]
        return items if any(isinstance(item, dict | list) for item in items) else tuple(items)
    if value is None:
        return "-"
    return names.get(value, value) if isinstance(value, str) else value


HISTORY = Command(
    name="history",
    help="show what was changed, when and by which job, the newest first",
    run=_history,
    options=(
        option("--since", metavar="TIME", parse=point_in_time, help="only changes from then on"),
        option("--until", metavar="TIME", parse=point_in_time, help="only changes up to then"),
        option("-n", "--limit", metavar="NUMBER", parse=whole, help=f"how many at most; usually {_USUAL_LIMIT}"),
    ),
    arguments=(Argument("object", 0, 1),),
    text=(
        "An object is KIND/NAME (kinds: " + ", ".join(KINDS) + "), a name or a UUID, or cluster; removed ones too. "
        "Secret values show as <redacted>. With --json: the answer of LUXI's History."
    ),
    examples=("gnt-cluster history web1.example.com", "gnt-cluster history --since 2d node/node3.example.com"),
)

DIFF = Command(
    name="diff",
    help="show what in the configuration is different between two times",
    run=_diff,
    arguments=(Argument("time", 1, 2),),
    text="With one time: between then and now. With --json: the answer of LUXI's ConfigDiff.",
    examples=("gnt-cluster diff '2026-11-23 03:00'", "gnt-cluster diff 3d 2d"),
)
