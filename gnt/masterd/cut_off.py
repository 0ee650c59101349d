"""What the end of an opcode says that was cut off by its master's death: whether to give the command again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from gnt.masterd.segments import OpenRow, OpenStep
from gnt.masterd.settling import DONE, IN_DOUBT, UNKNOWN, Recorded, Settlement, joined
from gnt.model.errors import Failed

_ALL: Final = "all that it was to change is recorded"
_PART: Final = "part of what it was to change is recorded"
_TRACES: Final = "no change is recorded"
_NOTHING: Final = "nothing was changed"

_HINTS: Final = {
    _ALL: "it need not be given again",
    _PART: "look at what is there before it is given again",
    _TRACES: "look at what is there before it is given again",
    _NOTHING: "it can be given again as it was",
}
_OWED: Final = "gnt-cluster verify shows what is owed"


def found(
    rows: Sequence[OpenRow], outcomes: Mapping[str, str], reasons: Mapping[str, str], name_of: Callable[[str], str]
) -> list[str]:
    """Say what came of the calls that were begun, as far as settling them does not say it.

    `reasons` maps ids of calls to why they failed, or why nobody knows how they ended.
    """
    steps = [step for row in rows for segment in row.segments for step in segment.steps]
    begun = [step for step in steps if step.id in reasons or outcomes.get(step.id, UNKNOWN) != UNKNOWN]
    return list(_told(begun, outcomes, reasons, name_of))


def _told(
    begun: Sequence[OpenStep],
    outcomes: Mapping[str, str],
    reasons: Mapping[str, str],
    name_of: Callable[[str], str],
) -> Iterator[str]:
    for step in begun:
        where, outcome, reason = f"{step.name} on {name_of(step.node)}", outcomes.get(step.id), reasons.get(step.id)
        settled = step.undo is not None or step.onward
        if outcome == IN_DOUBT:
            if not settled:
                yield f"nobody knows whether it was done: {where}: {reason}"
        elif reason is not None:
            yield f"failed: {where}: {reason}"
        # What is undone again is told as undone, and of a way onward only the last step is worth a word.
        elif outcome == DONE and (not settled or (step.onward and step is begun[-1])):
            yield f"done: {where}"


def end_of(settlement: Settlement, lines: Sequence[str]) -> Failed:
    """Give the error that ends the opcode; `lines` are those of `found`."""
    match settlement.recorded:
        case Recorded.ALL:
            state = _ALL
        case Recorded.PART:
            state = _PART
        case Recorded.NOTHING:
            state = _TRACES if settlement.traces else _NOTHING
    text = "; ".join(
        [f"This was interrupted while it ran: {state}", *filter(None, [joined([*lines, *settlement.said])])]
    )
    hints = [_OWED] if settlement.debts else []
    return Failed(text, code="interrupted", hint="; ".join([*hints, _HINTS[state]]))
