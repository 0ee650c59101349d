"""Log files in the form that administrators of Ganeti know: `spec/daemons.md`, section 1.

One line for each event: `YYYY-MM-DD HH:MM:SS,mmm: PROGRAM pid=PID LEVEL MESSAGE`. What has several lines (a traceback)
gets several lines of that form. Keys never reach a log: anything that looks like one is taken out of whatever is
written. A file is opened anew on SIGHUP, so that it can be rotated.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import syslog
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

from twisted.logger import FilteringLogObserver, ILogObserver, LogEvent, LogLevel, LogLevelFilterPredicate, formatEvent
from zope.interface import implementer

from gnt.model.errors import ENVIRONMENT, Refused

FILE_MODE: Final = 0o640
_LEVELS: Final = {
    LogLevel.debug: "DEBUG",
    LogLevel.info: "INFO",
    LogLevel.warn: "WARNING",
    LogLevel.error: "ERROR",
    LogLevel.critical: "CRITICAL",
}
_PRIORITIES: Final = {
    LogLevel.debug: syslog.LOG_DEBUG,
    LogLevel.info: syslog.LOG_INFO,
    LogLevel.warn: syslog.LOG_WARNING,
    LogLevel.error: syslog.LOG_ERR,
    LogLevel.critical: syslog.LOG_CRIT,
}
# Twisted tells of every attempt to connect and of every factory; our links tell what matters of it.
_CHATTY: Final = (
    "twisted.application._client_service",
    "twisted.protocols.tls",
    "twisted.internet",
    "twisted.python.log",
)
_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def redact(text: str) -> str:
    """Take keys out of a text."""
    return _KEY.sub("<private key>", text)


def message(event: LogEvent) -> list[str]:
    """Give the lines of an event: its message, and the traceback that belongs to it."""
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}\n{failure.getTraceback()}" if text else failure.getTraceback()
    lines = redact(text).rstrip().splitlines() or [""]
    return [_CONTROL.sub("?", line) for line in lines]


def format_lines(event: LogEvent, *, program: str, pid: int, debug: bool) -> str:
    """Give an event as it stands in a log file, newline included."""
    seconds = event.get("log_time", 0.0)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + f",{int(seconds * 1000) % 1000:03d}"
    thread = threading.current_thread()
    where = f"/{thread.name}" if thread is not threading.main_thread() else ""
    module = f" {event.get('log_namespace', '-')}" if debug else ""
    level = _LEVELS.get(event.get("log_level", LogLevel.info), "INFO")
    head = f"{stamp}: {program} pid={pid}{where}{module} {level} "
    return "".join(f"{head}{line}\n" for line in message(event))


def line(program: str, text: str, seconds: float) -> str:
    """Give a line about an error as it stands in a log file, for who has no observer yet."""
    event: LogEvent = {"log_format": "{text}", "text": text, "log_time": seconds, "log_level": LogLevel.error}
    return format_lines(event, program=program, pid=os.getpid(), debug=False)


@implementer(ILogObserver)
class LogFile:
    """Writes events into a file. A disk that is full loses lines, and never stops the daemon.

    An event is one write to a descriptor that is never closed: threads do not mix their lines, and the signal that
    opens the file anew may come at any moment.
    """

    def __init__(self, path: Path, program: str, *, debug: bool = False) -> None:
        self._path = path
        self._program = program
        self._debug = debug
        self._descriptor = self._open()

    def __call__(self, event: LogEvent) -> None:
        """Write an event."""
        lines = format_lines(event, program=self._program, pid=os.getpid(), debug=self._debug)
        try:
            os.write(self._descriptor, lines.encode(errors="backslashreplace"))
        except OSError:
            return

    def reopen(self) -> None:
        """Open the file anew: it was moved away. Where that cannot be, go on in the old one."""
        try:
            fresh = self._open()
        except Refused:
            return
        os.dup2(fresh, self._descriptor, inheritable=False)
        os.close(fresh)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        except OSError as problem:
            raise Refused(ENVIRONMENT, f"Cannot write the log {self._path}: {problem.strerror}") from None


@implementer(ILogObserver)
class ToStream:
    """Writes events to a stream, for a daemon in the foreground."""

    def __init__(self, stream: TextIO, program: str, *, debug: bool = False) -> None:
        self._stream = stream
        self._program = program
        self._debug = debug

    def __call__(self, event: LogEvent) -> None:
        """Write an event."""
        self._stream.write(format_lines(event, program=self._program, pid=os.getpid(), debug=self._debug))
        self._stream.flush()


@implementer(ILogObserver)
class ToSyslog:
    """Writes events to the system's log."""

    def __init__(self, program: str) -> None:
        syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)

    def __call__(self, event: LogEvent) -> None:
        """Write an event."""
        priority = _PRIORITIES.get(event.get("log_level", LogLevel.info), syslog.LOG_INFO)
        for line in message(event):
            syslog.syslog(priority, line)


def observer(
    path: Path, program: str, *, debug: bool = False, foreground: bool = False, to_syslog: str = "no"
) -> Callable[[LogEvent], None]:
    """Make the observer of a daemon: its file, stderr in the foreground, syslog (`no`, `yes`, `only`).

    Raises `Refused` if the file cannot be written. SIGHUP opens it anew.
    """
    sinks: list[Callable[[LogEvent], None]] = []
    if to_syslog != "only":
        file = LogFile(path, program, debug=debug)
        signal.signal(signal.SIGHUP, lambda _number, _frame: file.reopen())
        sinks.append(file)
    if to_syslog in {"yes", "only"}:
        sinks.append(ToSyslog(program))
    if foreground:
        sinks.append(ToStream(sys.stderr, program, debug=debug))
    return _All(sinks, debug=debug)


@implementer(ILogObserver)
class _All:
    """Hands events of the wanted levels to all sinks."""

    def __init__(self, sinks: list[Callable[[LogEvent], None]], *, debug: bool) -> None:
        levels: Any = LogLevelFilterPredicate(defaultLogLevel=LogLevel.debug if debug else LogLevel.info)
        if not debug:
            for namespace in _CHATTY:
                levels.setLogLevelForNamespace(namespace, LogLevel.warn)
        self._filtered = [FilteringLogObserver(sink, [levels]) for sink in sinks]  # type: ignore[arg-type]

    def __call__(self, event: LogEvent) -> None:
        """Hand an event on."""
        for sink in self._filtered:
            sink(event)
