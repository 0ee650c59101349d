"""The line on a terminal that says what is waited for."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final, Self, TextIO

CLEAR_LINE: Final = "\r\x1b[K"
_USUAL_WIDTH: Final = 80


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
