"""Stories: what an administrator does, step by step, and what befalls, in short text files.

    # the old master is cut off, another takes over, the old one comes back
    cluster nodes=3
    ready
    cut      node1 node2
    cut      node1 node3
    failover node2
    ask@node1 SetDrainFlag [true] fails=no_majority
    mend     node1 node2
    mend     node1 node3
    check

The first line says how many machines there are (`pool=2`: the size of the candidate pool); each other line is a verb
and its words. What verbs there are is a table in `gnt.sim.telling`, printed by `python -m gnt.sim verbs`. Words that
look like `name=value` are told apart from the others; a value that is JSON is that, any other is a text.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec


@dataclass(frozen=True)
class Step:
    """One step: what to do, and with what. `where` is the machine after an @, if any."""

    verb: str
    words: tuple[str, ...]
    where: str = ""

    def plain(self) -> list[str]:
        """Give the words that are no `name=value`."""
        return [word for word in self.words if not _is_named(word)]

    def named(self) -> dict[str, Any]:
        """Give the words that are `name=value`, values that are no JSON as texts."""
        return {name: _value(text) for name, _, text in (word.partition("=") for word in self.words if _is_named(word))}

    def opcode(self) -> dict[str, Any]:
        """Give the opcode that a step is about: its name is the first word, its parameters are named."""
        return {"OP_ID": self.words[0], **self.named()}

    def __str__(self) -> str:
        return " ".join((f"{self.verb}@{self.where}" if self.where else self.verb, *self.words))


@dataclass(frozen=True)
class Story:
    """A cluster of so many machines, and what is done with it. `pool` None: the usual size of the candidate pool.

    `alone`: what befalls stands in the story itself, and what it expects holds without further faults only; with one,
    what must always hold must hold, and everything must come right once it is mended.
    """

    name: str
    nodes: tuple[str, ...]
    steps: tuple[Step, ...]
    pool: int | None = None
    alone: bool = False


def read_story(path: Path) -> Story:
    """Read a story. Raises `ValueError` naming the line that is none."""
    from gnt.sim.telling import USES  # noqa: PLC0415  (which needs what is above)

    count, pool, alone = 1, None, False
    steps: list[Step] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        # Quotes belong to the JSON in the words.
        lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
        lexer.whitespace_split, lexer.quotes, lexer.commenters = True, "'", "#"
        first, *words = list(lexer) or [""]
        verb, _, where = first.partition("@")
        if verb == "cluster":
            given = Step(verb, tuple(words)).named()
            count, pool, alone = int(given["nodes"]), given.get("pool"), bool(given.get("alone", False))
        elif verb in USES:
            steps.append(Step(verb, tuple(words), where))
        elif verb:
            raise ValueError(f"{path} line {number}: {verb} is no step of a story")
    return Story(path.stem, tuple(f"node{index}" for index in range(1, count + 1)), tuple(steps), pool, alone)


def _is_named(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return bool(equals) and name.isidentifier()


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
