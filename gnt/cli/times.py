"""Points in time as people write them."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Final

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])( ago)?")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_EPOCH: Final = re.compile(r"@?(\d{5,}(?:\.\d+)?)")
FORMS: Final = "2026-11-23, '2026-11-23 03:00', 2h (ago; s, m, h, d, w), seconds since 1970 or now"


def point_in_time(text: str) -> float:
    """Take a local time, how long ago, or seconds since 1970, and give seconds since 1970. Raises `ValueError`."""
    words = text.strip()
    if words == "now":
        return time.time()
    ago = _AGO.fullmatch(words)
    if ago is not None:
        return time.time() - float(ago[1]) * _SECONDS[ago[2]]
    epoch = _EPOCH.fullmatch(words)
    if epoch is not None:
        return float(epoch[1])
    try:
        # Without a zone it is local time.
        return datetime.fromisoformat(words).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:60]!r} is no time: {FORMS}") from None


def local(seconds: float) -> str:
    """Give a time for people: local, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
