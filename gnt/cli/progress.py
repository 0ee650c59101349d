"""The line on a terminal that says what is waited for."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    import threading

CLEAR_LINE: Final = "\r\x1b[K"
_USUAL_WIDTH: Final = 80


class Progress:
    """A line on a terminal that says what is waited for, and for how long; nothing where there is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._text = ""
        self._since = time.monotonic()
        self._clock: _Clock | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._clock = _Clock(self)
        return self

    def __exit__(self, *problem: object) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()
            self._write("")

    def show(self, text: str) -> None:
        """Say what is going on now."""
        self._text = text
        if self._clock is not None:
            with self._clock.lock:
                self._draw()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Take the line away while other lines are written."""
        with self._clock.lock if self._clock is not None else contextlib.nullcontext():
            if self._clock is not None:
                self._write("")
            yield
            sys.stdout.flush()

    def _draw(self) -> None:
        if self._text:
            self._write(f"{self._text}  {time.monotonic() - self._since:.0f} s")

    def _write(self, text: str) -> None:
        self._stream.write(CLEAR_LINE + text[: _columns(self._stream) - 1])
        self._stream.flush()


class _Clock:
    """Draws the line anew each second, in a thread of its own; who writes meanwhile holds the lock."""

    def __init__(self, progress: Progress) -> None:
        import threading  # noqa: PLC0415  (only terminals pay for it: lists that are jobs wait too)

        self.lock: threading.Lock = threading.Lock()
        self._progress = progress
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._ended.wait(1):
            with self.lock:
                self._progress._draw()  # noqa: SLF001  (one thing in two threads)


def _columns(stream: TextIO) -> int:
    """Give the width of a terminal: a line that wraps could not be taken away again."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH
