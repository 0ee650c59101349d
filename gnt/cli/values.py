"""Values as people write them on the command line: `spec/cli.md`, section 5.

Each parser gives a value or raises `ValueError` (or `Refused`) with what is wrong with the text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from gnt.model.units import parse_size

if TYPE_CHECKING:
    from gnt.opcodes.parameters import ParameterInfo

Parser = Callable[[str], Any]

_TRUE: Final = frozenset({"yes", "true"})
_FALSE: Final = frozenset({"no", "false"})
_MOST: Final = 10**18 - 1
_BOUND: Final = re.compile(r"(>=|>|<=|<) (-?\d+)")
SPECS: Final = ("memory-size", "cpu-count", "disk-count", "disk-size", "nic-count", "spindle-use")
_SIZED_SPECS: Final = frozenset({"memory-size", "disk-size"})


def parser_of_type(info: ParameterInfo) -> Parser:
    """Give the parser for a parameter of an opcode, from its type."""
    plain = info.type.removesuffix(" | null")
    if info.choices:
        return choice(*map(str, info.choices))
    if plain == "bool":
        return yes_no
    if plain == "float":
        return real
    if plain.startswith("int"):
        bounds = _BOUND.findall(plain)
        return lambda text: _bounded(whole(text), bounds)
    if plain.startswith(("[", "set[")):
        return comma_list
    if plain == "str+":
        return word
    return str


def _bounded(number: int, bounds: Sequence[tuple[str, str]]) -> int:
    for sign, bound in bounds:
        limit = int(bound)
        fits = {">=": number >= limit, ">": number > limit, "<=": number <= limit, "<": number < limit}[sign]
        if not fits:
            raise ValueError(f"{number} must be {sign} {limit}")
    return number


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def word(text: str) -> str:
    """Take any text but an empty one."""
    if not text:
        raise ValueError("the value is empty")
    return text


def whole(text: str) -> int:
    """Take a whole number."""
    if not re.fullmatch(r"[+-]?\d{1,4000}", text.strip(), re.ASCII):
        raise ValueError(f"{_shown(text)} is not a whole number")
    number = int(text)
    if abs(number) > _MOST:
        raise ValueError(f"{_shown(text)} is too large")
    return number


def real(text: str) -> float:
    """Take a number."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", text.strip().lower()[:60], re.ASCII):
        raise ValueError(f"{_shown(text)} is not a number")
    return float(text)


def yes_no(text: str) -> bool:
    """Take yes, no, true or false in any case."""
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError(f"{_shown(text)} is neither yes nor no")


def choice(*allowed: str) -> Parser:
    """Make the parser that takes one of these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{_shown(text)} is none of {', '.join(allowed)}")
        return text

    return parse


def comma_list(text: str) -> list[str]:
    """Take words with commas between them; an empty text is an empty list."""
    words = [part.strip() for part in text.split(",")] if text else []
    if not all(words):
        raise ValueError(f"{_shown(text)} has an empty item")
    return words


def field_names(text: str) -> str:
    """Take the fields of a list as they are, if there is one: `name,os`, or `+os`, which may add nothing."""
    if not text.strip(" ,"):
        raise ValueError("it names no field")
    return text


def pieces(text: str, separator: str = ",") -> list[str]:
    r"""Split a text at its separators; a backslash keeps one that belongs to the text."""
    parts = re.split(rf"(?<!\\)((?:\\\\)*){re.escape(separator)}", text)
    # The groups are the pairs of backslashes before a separator; they belong to what stands before them.
    joined = [first + pairs for first, pairs in zip(parts[0::2], [*parts[1::2], ""], strict=True)]
    return [re.sub(r"\\(.)", r"\1", piece, flags=re.DOTALL) for piece in joined]


def key_values(text: str) -> dict[str, Any]:
    """Take `k=v,k=v`: an item without `=` is true, `no_KEY` false, `-KEY` null."""
    found: dict[str, Any] = {}
    for item in pieces(text) if text else []:
        key, value = _key_value(item)
        if not key:
            raise ValueError(f"{_shown(text)} has an item without a name")
        if key in found:
            raise ValueError(f"{key} is given twice")
        found[key] = value
    return found


def secret_key_values(text: str) -> dict[str, Any]:
    """Take `k=v,k=v`, or with `-` one `k=v` a line from standard input, which no list of processes shows."""
    if text != "-":
        return key_values(text)
    found: dict[str, Any] = {}
    for number, line in enumerate(sys.stdin.read().splitlines(), 1):
        key, equals, value = line.partition("=")
        if not key or not equals:
            raise ValueError(f"line {number} of standard input is not KEY=VALUE")
        if key in found:
            raise ValueError(f"{key} is given twice")
        found[key] = value
    return found


def _key_value(item: str) -> tuple[str, Any]:
    key, equals, value = item.partition("=")
    if equals:
        return key, value
    if item.startswith("no_"):
        return item.removeprefix("no_"), False
    if item.startswith("-"):
        return item.removeprefix("-"), None
    return item, True


def ident_key_values(text: str) -> tuple[str, dict[str, Any]]:
    """Take `IDENT:k=v,…`; nothing after the first colon, or no colon, means no values."""
    ident, _, rest = text.partition(":")
    if not ident:
        raise ValueError(f"{_shown(text)} does not begin with a name or number")
    return ident, key_values(rest)


def group_key_values(text: str) -> tuple[str, dict[str, Any] | None]:
    """Take `IDENT:k=v,…`, or `no_IDENT`, which removes the group: its values are then None."""
    ident, values = ident_key_values(text)
    if ident.startswith("no_"):
        if values or ":" in text:
            raise ValueError(f"{_shown(text)}: what is removed takes no values")
        return ident.removeprefix("no_"), None
    return ident, values


def node_pair(text: str) -> tuple[str, str | None]:
    """Take `PRIMARY[:SECONDARY]`."""
    primary, colon, secondary = text.partition(":")
    if not primary or (colon and not secondary):
        raise ValueError(f"{_shown(text)} is not NODE or NODE:NODE")
    return primary, secondary or None


def uid_pool(text: str) -> list[tuple[int, int]]:
    """Take `N` and `N-M` with commas between them, and give the ranges."""
    ranges = []
    for item in comma_list(text):
        first, dash, last = item.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{_shown(item)} is neither a user number nor a range N-M")
        low, high = int(first), int(last or first)
        if low > high:
            raise ValueError(f"the range {item} is upside down")
        ranges.append((low, high))
    return ranges


def spec_values(text: str) -> dict[str, int]:
    """Take the specifications of one bound of an instance policy: `memory-size=512m,cpu-count=1,…`."""
    found = {}
    for key, value in key_values(text).items():
        if key not in SPECS:
            raise ValueError(f"{_shown(key)} is none of {', '.join(SPECS)}")
        found[key] = _spec_value(key, value)
    return found


def _spec_value(key: str, value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{key} needs a value")  # noqa: TRY004  (the parsers raise only this)
    return parse_size(value, key) if key in _SIZED_SPECS else _bounded(whole(value), [(">=", "0")])


def bounds_specs(text: str) -> list[dict[str, dict[str, int]]]:
    """Take `min:SPECS/max:SPECS`, several of them with `//` between."""
    return [_bounds_pair(pair) for pair in text.split("//")]


def _bounds_pair(text: str) -> dict[str, dict[str, int]]:
    halves: dict[str, dict[str, int]] = {}
    for half in text.split("/"):
        bound, _, specs = half.partition(":")
        if bound not in {"min", "max"} or bound in halves:
            raise ValueError(f"{_shown(text)} is not min:…/max:…")
        halves[bound] = spec_values(specs)
        missing = [spec for spec in SPECS if spec not in halves[bound]]
        if missing:
            raise ValueError(f"{bound} lacks {', '.join(missing)}")
    if set(halves) != {"min", "max"}:
        raise ValueError(f"{_shown(text)} needs both min and max")
    return halves


def split_spec(spec: str) -> Parser:
    """Make the parser for one specification in the split form: `min=…,max=…,std=…`."""

    def parse(text: str) -> dict[str, int]:
        found = key_values(text)
        for bound in found:
            if bound not in {"min", "max", "std"}:
                raise ValueError(f"{_shown(bound)} is none of min, max, std")
        return {bound: _spec_value(spec, value) for bound, value in found.items()}

    return parse


def ratio(text: str) -> float | str:
    """Take a number, or the word `default`."""
    return text if text == "default" else real(text)


_TIME_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: str) -> int:
    """Take a time: a whole number, then s, m, h, d or w; seconds where there is no letter."""
    found = re.fullmatch(r"(\d{1,12})([smhdw]?)", text.strip(), re.ASCII)
    if found is None:
        raise ValueError(f"{_shown(text)} is no time such as 90, 30m, 6h, 2d or 1w")
    return int(found[1]) * _TIME_UNITS[found[2]]


def job_number(text: str) -> int:
    """Take a job's number."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or int(text) == 0:
        raise ValueError(f"{_shown(text)} is no job number")
    return int(text)


def parser_at_least(least: int) -> Parser:
    """Make the parser for whole numbers from `least` on."""
    return lambda text: _bounded(whole(text), [(">=", str(least))])
