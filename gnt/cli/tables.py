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

Write = Callable[[Any], str]

_SIMPLE: Final = frozenset({str, int, float, bool})

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


def summary_text(summary: str) -> str:
    """Give the summary of an opcode as people read it: what programs know as `TEST_DELAY(1500000000 ns)` is 1.5 s."""
    if summary.startswith("TEST_DELAY(") and summary.endswith(" ns)"):
        nanoseconds = summary.removeprefix("TEST_DELAY(").removesuffix(" ns)")
        if nanoseconds.isdecimal():
            return f"TEST_DELAY({int(nanoseconds) / 1e9:.9g} s)"
    return summary


def _summaries_text(value: list[Any]) -> str:
    return ",".join(summary_text(_plain(one)) for one in value) or "-"


def json_text(value: list[Any]) -> str:
    """Give what has a structure that must be seen."""
    return json.dumps(value, ensure_ascii=False)


def action_text(action: Any) -> str:
    """Give the action of a rule about jobs as it is typed: `RATE_LIMIT 5`."""
    return " ".join(map(str, action)) if isinstance(action, list | tuple) else str(action)


def _groups_text(value: list[Any]) -> str:
    """Give the groups of a network: `default (bridged, br0, 7)`, the VLAN only where there is one."""
    return ", ".join(f"{group[0]} ({', '.join(map(str, filter(None, group[1:])))})" for group in value) or "-"


_WRITTEN: Final[dict[str, Write]] = {
    "pending": _pending_text,
    "group_list": _groups_text,
    "predicates": json_text,
    "reason_trail": json_text,
    "action": action_text,
    "summary": _summaries_text,
}


def _writer(field: FieldDefinition, unit: str) -> Write:
    """Give what makes texts of a field's values; chosen once for a whole column."""
    name = field.name
    if name in _STAMPS:
        return time_with_micros
    if name in _STAMP_LISTS:
        return lambda value: ",".join(map(time_with_micros, value)) if isinstance(value, list) else _plain(value)
    if name in _WRITTEN:
        written = _WRITTEN[name]
        return lambda value: written(value) if isinstance(value, list) else _plain(value)
    match field.kind:
        case "bool":
            return lambda value: "-" if value is None else "Y" if value else "N"
        case "unit":
            return lambda value: format_size(value, unit) if isinstance(value, int | float) else _plain(value)
        case "timestamp":
            return lambda value: _moment(value) if isinstance(value, int | float) else _plain(value)
    return _plain


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _plain(value: Any) -> str:
    if type(value) is str and value.isprintable():  # nearly all there are
        return value
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


def show_list(call: Call, answer: QueryAnswer, named: str = "") -> int:
    """Print the answer to a query, and give the exit status: 14 if a field is not known.

    `named` says which fields there are; by default the program's list-fields does.
    """
    if call.json:
        _print_objects(answer)
    else:
        _print_table(call, answer)
    return unknown_status(call, [field.name for field in answer.fields if field.kind == "unknown"], named)


def _print_objects(answer: QueryAnswer) -> None:
    """Write one JSON list, an object on each line: what is more beautiful takes several times as long."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    names = [field.name for field in answer.fields]
    lines = [encode({name: cell[1] for name, cell in zip(names, row, strict=True)}) for row in answer.data]
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def unknown_status(call: Call, unknown: Sequence[str], named: str = "") -> int:
    """Warn of fields that there are not, and give the exit status."""
    if not unknown:
        return OK
    sys.stdout.flush()
    note(f"Warning: there are no fields {', '.join(unknown)}; {named or f'{call.program} list-fields names all'}")
    return UNKNOWN_FIELD


def _print_table(call: Call, answer: QueryAnswer) -> None:
    separator = call.option("separator")
    unit = call.option("units") or ("h" if separator is None else "m")
    long = bool(call.option("verbose"))
    by_field = zip(*answer.data, strict=True) if answer.data else [()] * len(answer.fields)
    columns = [
        _column(_writer(field, unit), cells, long=long) for field, cells in zip(answer.fields, by_field, strict=True)
    ]
    titles = None if call.option("no_headers") else [field.title for field in answer.fields]
    right = [field.kind in RIGHT for field in answer.fields]
    status = next((i for i, field in enumerate(answer.fields) if field.name == "status"), None)
    colour = status if wants_colour(sys.stdout, call.environ) else None
    _print_columns(columns, titles=titles, right=right, separator=separator, colour=colour)


def _column(write: Write, cells: Sequence[Sequence[Any]], *, long: bool) -> list[str]:
    """Give the texts of a column. Long lists are mostly cells that have a value, and names, or few different values."""
    values = [value for status, value in cells if status == 0]
    if len(values) < len(cells):
        return [write(value) if status == 0 else ABNORMAL.get(status, ("?", "(?)"))[long] for status, value in cells]
    kinds = set(map(type, values))
    if kinds == {str} and write is _plain and all(map(str.isprintable, values)):
        return values
    if len(kinds) == 1 and kinds <= _SIMPLE:
        texts = {value: write(value) for value in set(values)}
        return [texts[value] for value in values]
    return [write(value) for value in values]


def print_rows(
    rows: Sequence[Sequence[str]], *, titles: Sequence[str] | None, right: Sequence[bool], separator: str | None
) -> None:
    """Print rows of texts, with aligned columns unless there is a separator."""
    columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in right]
    _print_columns(columns, titles=titles, right=right, separator=separator)


def _print_columns(
    columns: Sequence[list[str]],
    *,
    titles: Sequence[str] | None,
    right: Sequence[bool],
    separator: str | None,
    colour: int | None = None,
) -> None:
    """Print columns of texts side by side, aligned unless there is a separator. `colour` is the column to colour."""
    if titles is not None:
        columns = [[title, *texts] for title, texts in zip(titles, columns, strict=True)]
    if separator is None:
        shapes = [_shape(texts, to_right=to_right) for texts, to_right in zip(columns, right, strict=True)]
        if colour is not None:
            columns = list(columns)
            columns[colour] = _coloured(columns[colour], titled=titles is not None, filled=colour < len(right) - 1)
            shapes[colour] = "%s"
        if not right or not right[-1]:
            shapes[-1:] = ["%s"]  # nothing follows that would have to be aligned
        shape = " ".join(shapes)
        sys.stdout.writelines(f"{shape % row}\n" for row in zip(*columns, strict=True))
    else:
        sys.stdout.writelines(f"{separator.join(row)}\n" for row in zip(*columns, strict=True))


def _shape(texts: Sequence[str], *, to_right: bool) -> str:
    """Give the format of a column, as wide as its widest text."""
    width = max(map(len, texts), default=0)
    return f"%{width}s" if to_right else f"%-{width}s"


def _coloured(texts: Sequence[str], *, titled: bool, filled: bool) -> list[str]:
    """Give the texts of a column in their colours, which take no room; `filled`: something follows."""
    width = max(map(len, texts), default=0) if filled else 0
    found = []
    for number, text in enumerate(texts):
        colour = _COLOUR.get(text, "red" if text.startswith("ERROR") else "")
        shown = coloured(text, colour) if colour and (number or not titled) else text
        found.append(shown + " " * (width - len(text)))
    return found
