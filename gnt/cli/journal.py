"""The log of commands: who ran what, below the log directory."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from typing import Final

from gnt.cli.command import Command
from gnt.cli.process_list import hide
from gnt.model.layout import COMMANDS_LOG, root_from
from gnt.model.secret import REDACTED

WHERE_PROBLEMS_ARE: Final = "please report it: commands.log in the log directory has the details, and so has -d"


def record(name: str, command: Command | None, words: Sequence[str]) -> None:
    """Write a line about this use of a command. Where there is no log directory, or no right to write, nothing is.

    Secrets are left out, and taken out of the list of processes too.
    """
    shown = _without_secrets(command, words)
    hide(words, shown)
    _write(f"uid={os.getuid()} {name} " + shlex.join(shown).replace("\n", "\\n"))


def record_problem() -> None:
    """Write where the exception that is being handled came from; no values of variables, they may be secret."""
    import traceback  # noqa: PLC0415  (only problems pay for it)

    _write(traceback.format_exc().rstrip())


def _write(text: str) -> None:
    path = os.path.join(root_from(os.environ), COMMANDS_LOG)  # noqa: PTH118  (every command pays for loading Path)
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} pid={os.getpid()} {text}\n"
    try:
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return
    try:
        os.write(log, line.encode("utf-8", "backslashreplace"))
    except OSError:
        return  # a full disk must not keep anybody from asking for the list of what fills it
    finally:
        os.close(log)


def _without_secrets(command: Command | None, words: Sequence[str]) -> list[str]:
    """Hide the values of options that carry secrets, in both spellings, abbreviated too."""
    secret = [flag for option in (command.options if command else ()) if option.secret for flag in option.flags]
    shown: list[str] = []
    hide = False
    for word in words:
        name, equals, _ = word.partition("=")
        is_secret = len(name) > 2 and name.startswith("--") and any(flag.startswith(name) for flag in secret)
        shown.append(REDACTED if hide else f"{name}={REDACTED}" if is_secret and equals else word)
        hide = is_secret and not equals
    return shown
