"""Options that all daemons have (`spec/daemons.md`, section 1), and how a daemon says that it cannot start."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from twisted.application.service import IServiceCollection, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from gnt import __version__
from gnt.daemon import log
from gnt.daemon.ending import end_once, stop
from gnt.daemon.reactor import the_reactor
from gnt.daemon.turns import ask_for_short_turns
from gnt.model.errors import GntError

EXIT_FAILURE: Final = 1
EXIT_NOT_A_MEMBER: Final = 5
EXIT_NOT_MASTER: Final = 11
EXIT_NODE_SETUP: Final = 12
_SYSLOG: Final = ("no", "yes", "only")
MAX_PORT: Final = 65535


class DaemonOptions(usage.Options):  # type: ignore[misc,unused-ignore]
    """Options of a daemon; `PROGRAM` and `PORT` are what it is and where it listens."""

    PROGRAM: ClassVar[str] = "gnt"
    PORT: ClassVar[int] = 0

    optFlags: ClassVar[list[list[Any]]] = [
        ["foreground", "f", "stay attached to the terminal, and log to it too"],
        ["debug", "d", "log what is of interest to developers"],
        ["no-mlock", None, "accepted for the sake of existing start scripts: memory is never locked"],
    ]
    optParameters: ClassVar[list[list[Any]]] = [
        ["bind", "b", None, "address to listen on (default: all)"],
        ["port", "p", None, "port to listen on"],
        ["syslog", None, "no", "log to syslog: no, yes, only"],
    ]

    def opt_version(self) -> None:
        """Say the version and end."""
        sys.stdout.write(f"{self.PROGRAM} (gnt) {__version__}\n")
        sys.exit(0)

    def parseArgs(self, *arguments: str) -> None:
        """Refuse arguments."""
        if arguments:
            raise usage.UsageError(f"{self.PROGRAM} takes no arguments, and got {arguments[0]!r}")

    def postOptions(self) -> None:
        """Check values, and hand `-f` on to twistd."""
        text = self["port"]
        self["port"] = self.PORT if text is None else _port(text)
        if self["syslog"] not in _SYSLOG:
            raise usage.UsageError(f"--syslog is one of {', '.join(_SYSLOG)}, not {self['syslog']!r}")
        if self["foreground"] and self.parent is not None:
            self.parent["nodaemon"] = True

    @property
    def in_foreground(self) -> bool:
        """Say whether the daemon stays attached."""
        return bool(self["foreground"] or (self.parent is not None and self.parent["nodaemon"]))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= MAX_PORT:
        raise usage.UsageError(f"--port is a number up to {MAX_PORT}, not {text!r}")
    return int(text)


class Daemon(MultiService):
    """The services of a daemon, and where they log: twistd asks for the observer before it detaches."""

    def __init__(self, options: DaemonOptions, log_file: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._observer = log.observer(
            log_file,
            options.PROGRAM,
            debug=bool(options["debug"]),
            foreground=options.in_foreground,
            to_syslog=options["syslog"],
        )

    def setServiceParent(self, parent: Any) -> None:
        """Give twistd our observer when it takes this service."""
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)  # type: ignore[no-untyped-call]
        super().setServiceParent(IServiceCollection(parent))  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Start; once the reactor has taken the signals over, only the first one counts."""
        ask_for_short_turns()
        super().startService()  # type: ignore[no-untyped-call]
        reactor = the_reactor()
        reactor.callLater(0, end_once, reactor)


def refuse_start(
    program: str, error: GntError | str, code: int = EXIT_FAILURE, *, log_file: Path | None = None
) -> NoReturn:
    """Say in one line why a daemon does not start, and end with the exit code. Only before it has detached.

    It is written to the log file too, where there is one: whoever started it may not have been listening.
    """
    text = error if isinstance(error, str) else error.text
    hint = "" if isinstance(error, str) or not error.hint else f" ({error.hint})"
    sys.stderr.write(f"{program}: {text}{hint}\n")
    if log_file is not None and log_file.exists():
        with suppress(OSError), log_file.open("a", encoding="utf-8") as lines:
            lines.write(log.line(program, f"it does not start: {text}{hint}", time.time()))
    sys.exit(code)


def end_with_failure(reactor: Any, code: int = EXIT_FAILURE) -> None:
    """End a daemon that runs already, in order, with an exit code: twistd itself would end with 0."""
    atexit.register(os._exit, code)
    reactor.callWhenRunning(stop, reactor)
