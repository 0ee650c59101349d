"""Whether nodes say the same as the last time, without looking at each answer's rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

from gnt.masterd.queries.view import Facts

MOST: Final = 32
"""Questions that are remembered."""


class Versions:
    """Numbers what nodes said in answer to the same question: the same number, the same answers."""

    def __init__(self) -> None:
        self._last: dict[Hashable, tuple[Facts, int]] = {}
        self._count = 0

    def number(self, question: Hashable, facts: Facts) -> int:
        """Give the number of these answers."""
        before = self._last.pop(question, None)
        if before is None or not _same(before[0], facts):
            self._count += 1
            before = (facts, self._count)
            while len(self._last) >= MOST:
                del self._last[next(iter(self._last))]
        self._last[question] = (facts, before[1])
        return before[1]


def _same(before: Facts, now: Facts) -> bool:
    return all(
        _same_answers(*pair)
        for pair in (
            (before.guests, now.guests),
            (before.nodes, now.nodes),
            (before.consoles, now.consoles),
        )
    )


def _same_answers(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return before.keys() == now.keys() and all(
        answer is now[node] or _alike(answer, now[node]) for node, answer in before.items()
    )


def _alike(one: Any, other: Any) -> bool:
    """Compare two answers; errors are alike if they say the same."""
    if isinstance(one, Exception):
        return type(one) is type(other) and str(one) == str(other)
    return bool(one == other)
