"""Lists as tables: `spec/cli.md`, section 1.6. Or as JSON: an object for each row, by field name, with raw values."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from gnt.cli.call import Call
from gnt.cli.failures import OK, UNKNOWN_FIELD
from gnt.cli.terminal import coloured, note, wants_colour
from gnt.model.units import format_size
from gnt.wire.luxi_client import FieldDefinition, QueryAnswer

FINAL: Final = frozenset({"canceled", "success", "error"})
"""What a job is that has ended."""

RIGHT: Final = frozenset({"number", "float", "unit"})
# What a cell without a value shows, short and long, by its status.
ABNORMAL: Final = {1: ("??", "(unknown)"), 2: ("?", "(nodata)"), 3: ("-", "(unavail)"), 4: ("*", "(offline)")}

_COLOUR: Final = {
    "running": "green",
    "success": "green",
    "error": "red",
    "canceled": "yellow",
    "canceling": "yellow",
    "waiting": "yellow",
}
_STAMPS: Final = frozenset({"received_ts", "start_ts", "end_ts"})
_STAMP_LISTS: Final = frozenset({"opstart", "opexec", "opend"})


def time_with_micros(stamp: Any) -> str:
    """Give a job's time, `[seconds, microseconds]`, in local time; N/A where there is none."""
    if stamp is None:
        return "N/A"
    if not isinstance(stamp, list | tuple) or len(stamp) != 2:
        return "?"
    seconds, micros = stamp
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{micros:06d}"


def _pending_text(value: list[Any]) -> str:
    """Give who waits for a lock: `exclusive:Job3/I_STARTUP,Job4/I_SHUTDOWN`."""
    return " ".join(f"{mode}:{','.join(map(str, names))}" for mode, names in value) or "-"


def json_text(value: list[Any]) -> str:
    """Give what has a structure that must be seen."""
    return json.dumps(value, ensure_ascii=False)


def action_text(action: Any) -> str:
    """Give the action of a rule about jobs as it is typed: `RATE_LIMIT 5`."""
    return " ".join(map(str, action)) if isinstance(action, list | tuple) else str(action)


def _groups_text(value: list[Any]) -> str:
    """Give the groups of a network: `default (bridged, br0, 7)`, the VLAN only where there is one."""
    return ", ".join(f"{group[0]} ({', '.join(map(str, filter(None, group[1:])))})" for group in value) or "-"


_WRITTEN: Final[dict[str, Callable[[list[Any]], str]]] = {
    "pending": _pending_text,
    "group_list": _groups_text,
    "predicates": json_text,
    "reason_trail": json_text,
    "action": action_text,
}


def cell_text(field: FieldDefinition, value: Any, unit: str) -> str:
    """Give the text of a value."""
    if value is None:
        return "N/A" if field.name in _STAMPS else "-"
    if field.name in _STAMPS:
        return time_with_micros(value)
    if field.name in _STAMP_LISTS and isinstance(value, list):
        return ",".join(map(time_with_micros, value))
    if field.name in _WRITTEN and isinstance(value, list):
        return _WRITTEN[field.name](value)
    match field.kind:
        case "bool":
            return "Y" if value else "N"
        case "unit" if isinstance(value, int | float):
            return format_size(value, unit)
        case "timestamp" if isinstance(value, int | float):
            return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_plain, value)) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(value[key])}" for key in sorted(value)) or "(empty)"
    if isinstance(value, bool):
        return "Y" if value else "N"
    return "-" if value is None else _one_line(str(value))


def _one_line(text: str) -> str:
    """Keep a value from breaking the table, or the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def wanted_fields(call: Call, default: Sequence[str]) -> list[str]:
    """Give the fields to ask for: those of -o, where a leading + adds to the usual ones."""
    output = call.option("output")
    if output is None:
        return list(default)
    more = output.startswith("+")
    named = [name.strip() for name in output.removeprefix("+").split(",") if name.strip()]
    return [*default, *named] if more else named


def show_list(call: Call, answer: QueryAnswer) -> int:
    """Print the answer to a query, and give the exit status: 14 if a field is not known."""
    if call.json:
        names = [field.name for field in answer.fields]
        call.print_json(
            [{name: cell[1] for name, cell in zip(names, row, strict=True)} for row in answer.data],
        )
    else:
        _print_table(call, answer)
    return unknown_status(call, [field.name for field in answer.fields if field.kind == "unknown"])


def unknown_status(call: Call, unknown: Sequence[str]) -> int:
    """Warn of fields that there are not, and give the exit status."""
    if not unknown:
        return OK
    sys.stdout.flush()
    note(f"Warning: there are no fields {', '.join(unknown)}; {call.program} list-fields names all")
    return UNKNOWN_FIELD


def _print_table(call: Call, answer: QueryAnswer) -> None:
    separator = call.option("separator")
    unit = call.option("units") or ("h" if separator is None else "m")
    long = bool(call.option("verbose"))
    rows = [
        [
            cell_text(field, value, unit) if status == 0 else ABNORMAL.get(status, ("?", "(?)"))[long]
            for field, (status, value) in zip(answer.fields, row, strict=True)
        ]
        for row in answer.data
    ]
    titles = None if call.option("no_headers") else [field.title for field in answer.fields]
    right = [field.kind in RIGHT for field in answer.fields]
    status = next((i for i, field in enumerate(answer.fields) if field.name == "status"), None)
    colour = status if wants_colour(sys.stdout, call.environ) else None
    print_rows(rows, titles=titles, right=right, separator=separator, colour=colour)


def print_rows(
    rows: Sequence[Sequence[str]],
    *,
    titles: Sequence[str] | None,
    right: Sequence[bool],
    separator: str | None,
    colour: int | None = None,
) -> None:
    """Print rows of texts, with aligned columns unless there is a separator. `colour` is the column to colour."""
    lines = [*([titles] if titles is not None else []), *rows]
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(right))]
    for number, line in enumerate(lines):
        paint = colour if number or titles is None else None
        if separator is not None:
            sys.stdout.write(f"{separator.join(line)}\n")
            continue
        cells = [
            _padded(text, width, to_right=to_right, last=column == len(right) - 1, paint=column == paint)
            for column, (text, width, to_right) in enumerate(zip(line, widths, right, strict=True))
        ]
        sys.stdout.write(f"{' '.join(cells)}\n")


def _padded(text: str, width: int, *, to_right: bool, last: bool, paint: bool) -> str:
    filler = " " * (width - len(text))
    if paint:
        colour = _COLOUR.get(text, "red" if text.startswith("ERROR") else "")
        text = coloured(text, colour) if colour else text
    if to_right:
        return filler + text
    return text if last else text + filler
