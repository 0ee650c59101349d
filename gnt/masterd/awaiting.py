"""What is waited for by asking: who judges the answers of an `Await` step, each under a name.

A watch is made for one step. It is told each answer, with the time, and says what to tell the person who waits, whether
that is the end, and how soon to ask again. It decides; the engine asks, waits and tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gnt.model.errors import GntError


@dataclass(frozen=True)
class Verdict:
    """What an answer means. `again`: seconds until the next question, None at the end; a `problem` ends it too."""

    said: Sequence[str] = ()
    again: float | None = None
    problem: GntError | None = None


class Watch(Protocol):
    """Judges the answers to one `Await`."""

    def seen(self, answer: Any, now: float) -> Verdict:
        """Judge an answer that came at `now` (seconds)."""

    def missed(self, error: GntError) -> Verdict:
        """Say what to do about a question that was not answered."""


W = TypeVar("W", bound=type[Any])

WATCHES: dict[str, Callable[[Mapping[str, Any]], Watch]] = {}


def watches(name: str) -> Callable[[W], W]:
    """Register a watch: `@watches("in sync")`; it is made with the arguments of its step."""

    def register(watch: W) -> W:
        WATCHES[name] = watch
        return watch

    return register
