"""Attach to a guest's serial console: `python -m gnt.noded.hypervisors.console_client URI NAME`.

With `--terminal PATH` in place of both, to a pseudo-terminal, for guests of a libvirt that nobody else can ask. On a
terminal `^]` leaves; from a pipe all input is sent, and half a second after its end the program ends. Runs on the
node, as root, on its own: no daemon takes part.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

ESCAPE: Final = b"\x1d"
_LAST_WORDS: Final = 0.5
"""Seconds for what the guest still answers when the input has ended."""
_CHUNK: Final = 65536
_USAGE: Final = "usage: console_client URI NAME | console_client --terminal PATH"


@contextmanager
def raw_terminal(handle: int) -> Iterator[bool]:
    """Pass every key on unchanged while the body runs; gives whether this is a terminal at all."""
    if not os.isatty(handle):
        yield False
        return
    before = termios.tcgetattr(handle)
    tty.setraw(handle)
    try:
        yield True
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


@contextmanager
def ended_by_signals() -> Iterator[int]:
    """Give a handle that becomes readable when the program is asked to end, so that it can tidy up."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    yield reading


def typed(keys: bytes, *, terminal: bool) -> tuple[bytes, bool]:
    """Split what was read from the input into what goes to the guest, and whether to leave after it."""
    if terminal and ESCAPE in keys:
        return keys.partition(ESCAPE)[0], True
    return keys, not keys


def write_all(handle: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(handle, data) :]


def attach_terminal(path: str) -> None:
    """Copy between our input and output and a pseudo-terminal."""
    handle = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(handle)
    with ended_by_signals() as ended, raw_terminal(sys.stdin.fileno()) as terminal:
        sources, patience = [sys.stdin.fileno(), handle, ended], None
        while True:
            ready, _, _ = select.select(sources, [], [], patience)
            if ended in ready or not ready:
                return
            if handle in ready:
                data = os.read(handle, _CHUNK)
                if not data:
                    return
                write_all(sys.stdout.fileno(), data)
            if sys.stdin.fileno() in ready:
                keys, last = typed(os.read(sys.stdin.fileno(), _CHUNK), terminal=terminal)
                write_all(handle, keys)
                if last:
                    sources.remove(sys.stdin.fileno())
                    patience = 0.0 if terminal else _LAST_WORDS


class LibvirtConsole:
    """A console over libvirt's own stream, driven by libvirt's events in one thread."""

    def __init__(self, library: Any, uri: str, name: str) -> None:
        self._library = library
        self._to_guest = bytearray()
        self._over = False
        connection = library.open(uri)
        self._stream = connection.newStream(library.VIR_STREAM_NONBLOCK)
        domain = connection.lookupByName(name)
        # Whoever comes last has the console: most often the other one is a session that was forgotten.
        domain.openConsole(None, self._stream, library.VIR_DOMAIN_CONSOLE_FORCE)
        self._wanted = library.VIR_STREAM_EVENT_READABLE | self._bad
        self._stream.eventAddCallback(self._wanted, self._on_stream, None)

    @property
    def _bad(self) -> int:
        library = self._library
        return int(library.VIR_STREAM_EVENT_ERROR | library.VIR_STREAM_EVENT_HANGUP)

    def run(self) -> None:
        """Copy until one side ends."""
        library = self._library
        readable = library.VIR_EVENT_HANDLE_READABLE | library.VIR_EVENT_HANDLE_HANGUP
        with ended_by_signals() as ended, raw_terminal(sys.stdin.fileno()) as terminal:

            def on_input(watch: int, handle: int, _events: int, _opaque: Any) -> None:
                keys, last = typed(os.read(handle, _CHUNK), terminal=terminal)
                self._send(keys)
                if last:
                    library.virEventRemoveHandle(watch)
                    milliseconds = 0 if terminal else int(_LAST_WORDS * 1000)
                    library.virEventAddTimeout(milliseconds, self._end, None)

            library.virEventAddHandle(sys.stdin.fileno(), readable, on_input, None)
            library.virEventAddHandle(ended, readable, self._end, None)
            while not self._over:
                library.virEventRunDefaultImpl()
            with suppress(library.libvirtError):
                self._stream.eventRemoveCallback()
            with suppress(library.libvirtError):
                self._stream.abort()

    def _end(self, *_ignored: Any) -> None:
        self._over = True

    def _send(self, keys: bytes) -> None:
        self._to_guest += keys
        if self._to_guest:
            self._stream.eventUpdateCallback(self._wanted | self._library.VIR_STREAM_EVENT_WRITABLE)

    def _on_stream(self, stream: Any, events: int, _opaque: Any) -> None:
        library = self._library
        if events & library.VIR_STREAM_EVENT_READABLE:
            data = stream.recv(_CHUNK)
            # -2: nothing there after all.
            if isinstance(data, bytes):
                write_all(sys.stdout.fileno(), data)
                self._over |= not data
        if events & library.VIR_STREAM_EVENT_WRITABLE and self._to_guest:
            sent = stream.send(bytes(self._to_guest))
            del self._to_guest[: max(sent, 0)]
            if not self._to_guest:
                stream.eventUpdateCallback(self._wanted)
        if events & self._bad:
            self._over = True


def attach_libvirt(uri: str, name: str) -> None:
    """Copy between our input and output and the console of a domain."""
    library = importlib.import_module("libvirt")
    library.registerErrorHandler(lambda _context, _error: None, None)
    library.virEventRegisterDefaultImpl()
    LibvirtConsole(library, uri, name).run()


def main(arguments: Sequence[str]) -> int:
    """Attach as the arguments say; gives the exit status."""
    if len(arguments) != 2:
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    try:
        if arguments[0] == "--terminal":
            attach_terminal(arguments[1])
        else:
            attach_libvirt(*arguments)
    except (OSError, ImportError) as error:
        sys.stderr.write(f"Failure: no console: {error}\n")
        return 1
    except Exception as error:  # libvirt's error class is known only where libvirt is
        if type(error).__name__ != "libvirtError":
            raise
        sys.stderr.write(f"Failure: no console: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
