"""`--watch`: a list that is looked at again and again, and written anew when it has changed, until it is interrupted.

On a terminal it takes the screen's place; into a pipe or file each new state follows the last one, after an empty line.
With --json each state is one line, so that a program reads a stream of states.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from gnt.cli.failures import OK, json_line, text_of
from gnt.model.errors import GntError

EVERY: Final = 1.0
"""Seconds between two looks: what lists show of nodes is at most as old."""
CLEAR_SCREEN: Final = "\x1b[H\x1b[J"


class _Page(io.StringIO):
    """Takes what a command writes; is a terminal where its reader is, so that colours stay."""

    def __init__(self, reader: TextIO) -> None:
        super().__init__()
        self._terminal = reader.isatty()

    def isatty(self) -> bool:
        """Say whether it ends on a terminal."""
        return self._terminal


def watch(look: Callable[[], int], *, as_json: bool, pause: Callable[[float], None] | None = None) -> int:
    """Call `look`, which writes to standard output, again and again, and pass on what is new; gives its exit status.

    A failure of the first look is raised; later ones are shown in the list's place, and watching goes on: a master that
    is replaced comes back. An interrupt from the keyboard is the usual end. Raises `BrokenPipeError`.
    """
    shown, status = None, OK
    pause = pause or time.sleep
    try:
        while True:
            page = _Page(sys.stdout)
            try:
                with contextlib.redirect_stdout(page):
                    status = look()
                text = page.getvalue()
            except GntError as error:
                if shown is None:
                    raise
                text = json_line(error) if as_json else f"{text_of(error)}\n"
            if text != shown:
                _show(text, first=shown is None, as_json=as_json)
                shown = text
            pause(EVERY)
    except KeyboardInterrupt:
        return status


def _show(text: str, *, first: bool, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(json.loads(text), ensure_ascii=False) + "\n")
    elif sys.stdout.isatty():
        sys.stdout.write(CLEAR_SCREEN + _cut(text))
    else:
        sys.stdout.write(text if first else f"\n{text}")
    sys.stdout.flush()


def _cut(text: str) -> str:
    """Keep what fits on the screen, and say how much does not: what scrolls could not be written over."""
    room = shutil.get_terminal_size().lines - 1
    lines = text.splitlines()
    if len(lines) <= room:
        return text
    return "\n".join([*lines[: room - 1], f"... and {len(lines) - room + 1} more lines"])
