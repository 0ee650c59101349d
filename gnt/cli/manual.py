"""Manual pages, section 8, made from the definitions of programs and commands.

`python -m gnt.cli.manual DIRECTORY` writes one page for each program into DIRECTORY/man8. The pages are plain man(7):
every reader of manual pages shows them, and nothing has to be installed to make them.
"""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from gnt import __version__
from gnt.cli.command import Command, Option, Program
from gnt.cli.failures import BAD_CONFIGURATION, BROKEN_PIPE, DECLINED, FAILURE, INTERRUPTED, UNKNOWN_FIELD
from gnt.cli.main import MODULES, load
from gnt.cli.options import COMMON
from gnt.cli.usage import metavar_of

SECTION: Final = 8

EXIT_STATUS: Final = (
    ("0", "It is done."),
    (str(FAILURE), "It could not be done, or was refused; one line on standard error says why, and what to do."),
    (str(BAD_CONFIGURATION), "The options could not be understood, or this node's configuration cannot be used."),
    (str(DECLINED), "A dangerous question was not answered with yes; nothing was done."),
    (str(UNKNOWN_FIELD), "A list was asked for a field that does not exist; the others are shown."),
    (str(INTERRUPTED), "The wait was interrupted from the keyboard. A job that was submitted goes on."),
    (str(BROKEN_PIPE), "Whoever read the output went away."),
)
ENVIRONMENT: Final = (
    ("GNT_ROOTDIR", "Directory below which all paths of the cluster lie; empty means the root directory."),
    ("GNT_HOSTNAME", "The name of this node, instead of the one that the machine gives."),
    ("FORCE_LUXI_SOCKET", "Path of the master's socket, or the word master or query."),
)
FILES: Final = (
    ("/var/run/ganeti/socket/ganeti-master", "The socket on which the master daemon takes jobs and questions."),
    ("/var/lib/ganeti/config.db", "The configuration, the jobs and their history: on the master and its candidates."),
    ("/var/log/ganeti/commands.log", "Which commands were run, by whom; never their secret values."),
)


def manual_page(program: Program, date: str) -> str:
    """Give the manual page of a program, as man(7) source; `date` (YYYY-MM-DD) stands at its foot."""
    return "\n".join(
        [
            f'.TH {_upper(program.name)} {SECTION} {date} "gnt {__version__}" "gnt"',
            ".nh",
            ".ad l",
            ".SH NAME",
            f"{_text(program.name)} \\- {_text(_phrase(program.help))}",
            ".SH SYNOPSIS",
            f"\\fB{_text(program.name)}\\fR \\fIcommand\\fR [\\fIoption\\fR...] [\\fIargument\\fR...]",
            ".SH DESCRIPTION",
            _text(f"{program.help[:1].upper()}{program.help[1:].rstrip('.')}."),
            ".PP",
            _text(
                "Options come before arguments. A command that changes something submits a job to the master and waits "
                "for its end; the job goes on if the command is interrupted."
            ),
            ".SH OPTIONS OF ALL COMMANDS",
            *_options(COMMON),
            ".SH COMMANDS",
            *(line for command in sorted(program.commands, key=_name) for line in _command(program, command)),
            ".SH EXIT STATUS",
            *_definitions(EXIT_STATUS),
            ".SH ENVIRONMENT",
            *_definitions((*ENVIRONMENT, *_own_variables(program))),
            ".SH FILES",
            *_definitions(FILES),
            ".SH SEE ALSO",
            ", ".join(f"\\fB{_text(other)}\\fR({SECTION})" for other in sorted(MODULES) if other != program.name),
            "",
        ]
    )


def write_pages(directory: Path) -> list[Path]:
    """Write the page of every program into `directory`/man8; gives the files. Raises `OSError`."""
    date = _today()
    folder = directory / f"man{SECTION}"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in sorted(MODULES):
        page = folder / f"{name}.{SECTION}"
        page.write_text(manual_page(load(name), date), encoding="utf-8")
        written.append(page)
    return written


def _today() -> str:
    """Give the date of a reproducible build if there is one (reproducible-builds.org), else today's."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return time.strftime("%Y-%m-%d", time.gmtime(int(given) if given else None))


def _command(program: Program, command: Command) -> Iterator[str]:
    """Give the section of one command."""
    yield f".SS {_text(command.name)}"
    form = " ".join(f"\\fI{_text(argument.usage())}\\fR" for argument in command.arguments)
    yield f"\\fB{_text(program.name)} {_text(command.name)}\\fR [\\fIoption\\fR...] {form}".rstrip()
    yield ".PP"
    yield _text(f"{command.help[:1].upper()}{command.help[1:].rstrip('.')}.")
    if command.text:
        yield from (line for part in _paragraphs(command.text) for line in (".PP", part))
    if command.aliases:
        yield from (".PP", _text(f"Also called: {', '.join(command.aliases)}."))
    if command.environment:
        yield from (".PP", _text(f"Words in {command.environment} come before the options that are given."))
    yield from _options(command.options)
    if command.examples:
        yield from (".PP", "Examples:", ".RS", ".nf")
        yield from (_text(example) for example in command.examples)
        yield from (".fi", ".RE")


def _options(options: Sequence[Option]) -> Iterator[str]:
    for option in sorted((one for one in options if not one.unsupported), key=lambda one: one.name.lstrip("-")):
        yield ".TP"
        yield _form(option)
        yield _text(option.description())
    refused = sorted(option.name for option in options if option.unsupported)
    if refused:
        yield ".PP"
        yield _text(f"Known, and refused by this version: {', '.join(refused)}.")


def _form(option: Option) -> str:
    flags = ", ".join(f"\\fB{_text(flag)}\\fR" for flag in sorted(option.flags, key=len))
    return f"{flags}=\\fI{_text(metavar_of(option))}\\fR" if option.takes_value else flags


def _definitions(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in pairs:
        yield from (".TP", f"\\fB{_text(term)}\\fR", _text(meaning))


def _own_variables(program: Program) -> Iterator[tuple[str, str]]:
    for command in program.commands:
        if command.environment:
            yield command.environment, f"Options of {program.name} {command.name} that come before the given ones."


def _paragraphs(text: str) -> list[str]:
    """Give the paragraphs of a text; lines that are indented keep their shape."""
    parts = []
    for part in textwrap.dedent(text).strip().split("\n\n"):
        lines = part.splitlines()
        if any(line.startswith(" ") for line in lines):
            parts.append("\n".join([".nf", *map(_text, lines), ".fi"]))
        else:
            parts.append(_text(" ".join(lines)))
    return parts


def _phrase(help_text: str) -> str:
    """Give the one phrase behind the name, as indexes of manual pages want it."""
    return help_text.rstrip(".")


def _name(command: Command) -> str:
    return command.name


def _upper(name: str) -> str:
    return _text(name).upper()


def _text(text: str) -> str:
    """Give a text so that nothing in it is taken for a request or an escape."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in safe.splitlines())


if __name__ == "__main__":
    for path in write_pages(Path(sys.argv[1])):
        sys.stdout.write(f"{path}\n")
