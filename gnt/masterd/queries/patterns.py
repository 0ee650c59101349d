"""Regular expressions from outside, kept from holding up the daemon.

Python's matcher tries one way after another to divide a text among the repeats of a pattern, and cannot be stopped
meanwhile. How many ways there are at most can be told from the pattern and the length of the text, before it starts.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from math import comb
from re import _constants as sre  # type: ignore[attr-defined]  # the only reader of patterns that agrees with re
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

from gnt.masterd.queries.filters import bad_filter

LONGEST_PATTERN: Final = 1024
LONGEST_TEXT: Final = 4096
MOST_WAYS: Final = 20_000_000
"""Ways to divide one text: under a second of matching."""

_REPEATS: Final = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT})
_LOOKS: Final = frozenset({sre.ASSERT, sre.ASSERT_NOT})


class _TooManyWays(Exception):
    """A repeat whose body can itself match in several ways: their number grows without bound."""


class Pattern:
    """A regular expression that is searched for in texts. Raises `GntError` (`parameter_error`) if it cannot be."""

    def __init__(self, field: str, text: str) -> None:
        self._field = field
        if len(text) > LONGEST_PATTERN:
            raise bad_filter(f"filter on {field}: regular expression has more than {LONGEST_PATTERN} characters")
        try:
            with warnings.catch_warnings():  # what a later Python may read otherwise concerns nobody here
                warnings.simplefilter("ignore", FutureWarning)
                self._pattern = re.compile(text)
                parsed = parser.parse(text)
            self._repeats, self._choices = _ways(parsed)
        except (re.error, OverflowError, RecursionError) as problem:
            raise bad_filter(f"filter on {field}: {text[:60]!r} is not a regular expression: {problem}") from None
        except _TooManyWays:
            raise bad_filter(
                f"filter on {field}: {text[:60]!r} repeats what itself repeats or branches, which could take forever"
            ) from None
        if not _anchored(parsed):
            self._repeats += 1

    def found_in(self, text: str) -> bool:
        """Say whether the pattern occurs in a text. Raises `GntError` (`parameter_error`) if that could take long."""
        length = len(text)
        ways = comb(length + self._repeats, self._repeats) * self._choices
        if length > LONGEST_TEXT or ways > MOST_WAYS:
            raise bad_filter(f"filter on {self._field}: the regular expression would take too long")
        return self._pattern.search(text) is not None


def _anchored(parsed: Iterable[tuple[Any, Any]]) -> bool:
    first = next(iter(parsed), None)
    return first is not None and first == (sre.AT, sre.AT_BEGINNING)


def _ways(parsed: Iterable[tuple[Any, Any]]) -> tuple[int, int]:
    """Give the number of repeats that divide the text among themselves, and of choices beside them."""
    repeats, choices = 0, 1
    for code, argument in parsed:
        more, times = _ways_of(code, argument)
        repeats += more
        choices *= times
    return repeats, choices


def _ways_of(code: Any, argument: Any) -> tuple[int, int]:
    if code in _REPEATS:
        least, most, body = argument
        inner = _ways(body)
        if most == 1:
            return inner[0], inner[1] * (2 if least == 0 else 1)
        if inner != (0, 1):
            raise _TooManyWays
        return (0 if least == most else 1), 1
    if code is sre.BRANCH:
        branches = [_ways(branch) for branch in argument[1]]
        return max(each[0] for each in branches), sum(each[1] for each in branches)
    if code is sre.SUBPATTERN:
        return _ways(argument[-1])
    if code in _LOOKS:
        return _ways(argument[1])
    if code is sre.ATOMIC_GROUP:
        return _ways(argument)
    if code is sre.GROUPREF_EXISTS:
        _, yes, no = argument
        first, second = _ways(yes), _ways(no or ())
        return max(first[0], second[0]), first[1] + second[1]
    return 0, 1
