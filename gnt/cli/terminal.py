"""What is said to people: standard output and error, colour, a progress line, questions on the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TextIO

COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "blue": "34"}
CLEAR_LINE: Final = "\r\x1b[K"
TTY: Final = Path("/dev/tty")
_WIDTH: Final = 70
_USUAL_WIDTH: Final = 80
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
            reader = stack.enter_context(TTY.open(encoding="utf-8", errors="replace"))
            writer = stack.enter_context(TTY.open("w", encoding="utf-8", errors="replace"))
        except OSError:
            yield None
        else:
            yield reader, writer


def ask(text: str, choices: Sequence[Choice] = YES_NO) -> Any:
    """Ask on the terminal, and give the value of the answer; without a terminal, that of the last choice."""
    with _conversation() as terminal:
        if terminal is None:
            return choices[-1].value
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


class Progress:
    """A line on a terminal that says what is waited for, and for how long; nothing where there is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._text = ""
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._thread = threading.Thread(target=self._tick, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._write("")

    def show(self, text: str) -> None:
        """Say what is going on now."""
        with self._lock:
            self._text = text
        self._draw()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Take the line away while other lines are written."""
        with self._lock:
            if self._thread is not None:
                self._write("")
            yield
            sys.stdout.flush()

    def _tick(self) -> None:
        while not self._ended.wait(1):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            if self._thread is not None and self._text and not self._ended.is_set():
                self._write(f"{self._text}  {time.monotonic() - self._since:.0f} s")

    def _write(self, text: str) -> None:
        self._stream.write(CLEAR_LINE + text[: _columns(self._stream) - 1])
        self._stream.flush()


def _columns(stream: TextIO) -> int:
    """Give the width of a terminal: a line that wraps could not be taken away again."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH
