"""What is said to people: standard output and error, colour, a progress line, questions on the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TextIO

COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "blue": "34"}
TTY: Final = "/dev/tty"
_WIDTH: Final = 70
_MANY: Final = 20


class Choice(NamedTuple):
    """One answer to a question."""

    letter: str
    value: Any
    description: str


YES_NO: Final = (Choice("y", True, "do it"), Choice("n", False, "do not do it"))
"""The last is the answer where nobody can be asked."""


def say(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{harmless(text)}\n")


def note(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{harmless(text)}\n")
    sys.stderr.flush()


def harmless(text: str) -> str:
    """Give a text without what would command a terminal: it may come from a guest's script. Line ends stay."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else repr(sign)[1:-1] for sign in text)


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether to use colour: on a terminal that can, unless NO_COLOR is set."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def coloured(text: str, colour: str) -> str:
    """Give a text in a colour."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


@contextlib.contextmanager
def _conversation() -> Iterator[tuple[TextIO, TextIO] | None]:
    """Open the controlling terminal for reading and writing; None where there is none."""
    with contextlib.ExitStack() as stack:
        try:
            reader = stack.enter_context(open(TTY, encoding="utf-8", errors="replace"))  # noqa: PTH123
            writer = stack.enter_context(open(TTY, "w", encoding="utf-8", errors="replace"))  # noqa: PTH123
        except OSError:
            yield None
        else:
            yield reader, writer


def has_terminal() -> bool:
    """Say whether anybody could be asked."""
    with _conversation() as terminal:
        return terminal is not None


def ask(text: str, choices: Sequence[Choice] = YES_NO) -> Any:
    """Ask on the terminal, and give the value of the answer; without a terminal, that of the last choice."""
    with _conversation() as terminal:
        if terminal is None:
            return choices[-1].value
        import textwrap  # noqa: PLC0415  (only questions pay for it)

        reader, writer = terminal
        wrapped = "\n".join(textwrap.fill(line, _WIDTH) if line[:1] != " " else line for line in text.splitlines())
        letters = "/".join([choice.letter for choice in choices[:-1]] + [f"[{choices[-1].letter}]", "?"])
        writer.write(f"{wrapped}\n")
        while True:
            writer.write(f"{letters}: ")
            writer.flush()
            line = reader.readline()
            answer = line.strip().lower()
            if not answer:
                return choices[-1].value
            found = next((choice for choice in choices if choice.letter == answer), None)
            if found is not None:
                return found.value
            if answer == "?":
                writer.writelines(f" {choice.letter} - {choice.description}\n" for choice in choices)


def ask_words(text: str) -> str:
    """Have a person type something on the terminal; empty where there is none."""
    with _conversation() as terminal:
        if terminal is None:
            return ""
        reader, writer = terminal
        writer.write(text)
        writer.flush()
        return reader.readline().strip()


def confirm_many(names: Sequence[str], *, kind: str, verb: str, extra: str = "") -> bool:
    """Ask whether to do something to several objects, showing which; long lists only on demand."""
    listing = f"\nAffected {kind}:\n" + "\n".join(f"  {name}" for name in names)
    question = f"The {verb} will operate on {len(names)} {kind}.{extra and ' ' + extra}\nDo you want to continue?"
    if len(names) <= _MANY:
        return bool(ask(question + listing))
    answer = ask(question, (YES_NO[0], Choice("v", "view", f"show the {kind}"), YES_NO[1]))
    return bool(ask(question + listing)) if answer == "view" else bool(answer)
