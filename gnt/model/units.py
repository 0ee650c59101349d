"""Sizes as people write and read them: `spec/cli.md`, sections 1.6 and 5.1. Inside, sizes are whole MiB."""

from __future__ import annotations

import re
from typing import Final

from gnt.model.errors import WRONG_INPUT, Refused

GIB: Final = 1024
TIB: Final = 1024 * 1024
EIB: Final = 1024 * TIB * 1024

_GRANULARITY: Final = 4
_SIZE = re.compile(r"([.0-9]{1,30})\s*([a-zA-Z]+)?", re.ASCII)
_UNITS: Final = {"": 1, "m": 1, "g": GIB, "t": TIB}


def parse_size(value: str | int, what: str = "size") -> int:
    """Give a size in MiB. A text is rounded up to a multiple of 4 MiB, a number is MiB as it is.

    `what` names the field in the refusal. Raises `Refused` (`wrong_input`) for what is no size, is negative, or is
    1 EiB and more.
    """
    size = value if isinstance(value, int) and not isinstance(value, bool) else _parsed(str(value), what)
    if size < 0:
        raise Refused(WRONG_INPUT, f"{what} is negative")
    if size >= EIB:
        # A number of thousands of digits cannot even be printed.
        shown = f"{value}" if size < EIB**2 else "a number beyond measure"
        raise Refused(WRONG_INPUT, f"{what} is absurd: {shown} is 1 EiB or more")
    return size


def _parsed(text: str, what: str) -> int:
    from decimal import ROUND_CEILING, Decimal, InvalidOperation  # noqa: PLC0415  (who only shows sizes needs none)

    match = _SIZE.fullmatch(text.strip())
    unit = (match.group(2) or "").lower() if match else ""
    scale = _UNITS.get(unit.removesuffix("ib") if unit.endswith("ib") else unit.removesuffix("b"))
    try:
        number = Decimal(match.group(1)) if match and unit not in {"b", "ib"} else None
    except InvalidOperation:
        number = None
    if number is None or scale is None:
        raise Refused(
            WRONG_INPUT, f"{what} {text[:40]!r} is not a size", hint="a number and m, g or t, such as 512m or 1.5g"
        )
    whole = int((number * scale).to_integral_value(ROUND_CEILING))
    return -(-whole // _GRANULARITY) * _GRANULARITY


def check_disk_size(value: str | int, what: str = "disk size") -> int:
    """Give the size of a disk in MiB: `parse_size`, and 0 is refused too."""
    size = parse_size(value, what)
    if size == 0:
        raise Refused(WRONG_INPUT, f"{what} is 0", hint="a disk has at least 1 MiB")
    return size


def format_size(mib: float, unit: str = "h") -> str:
    """Give a size for people. Units: `m` whole MiB, `g` and `t` one decimal, `h` what fits, with its letter."""
    if unit == "m":
        return f"{mib:.0f}"
    if unit == "g":
        return f"{mib / GIB:.1f}"
    if unit == "t":
        return f"{mib / TIB:.1f}"
    if unit != "h":
        raise Refused(WRONG_INPUT, f"{unit!r} is not a unit of size", hint="h, m, g or t")
    if mib < GIB:
        return f"{mib:.0f}M"
    return f"{mib / GIB:.1f}G" if mib < TIB else f"{mib / TIB:.1f}T"
