"""What the shell offers for the word under the cursor: commands, options, their values, and names of objects.

A shell calls `gnt-PROGRAM --complete LINE` with the line up to the cursor (`packaging/completion` has the functions for
bash, zsh and fish); each line of the answer is a whole word. Names come from the master; where none answers, there are
simply none: a completion never fails and never asks a question.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from gnt.cli.call import Call
from gnt.cli.command import Command, Option, Program
from gnt.cli.list_commands import list_command
from gnt.cli.main import load
from gnt.cli.options import COMMON
from gnt.cli.parsing import Parsed
from gnt.cli.usage import metavar_of
from gnt.model.errors import GntError
from gnt.wire.luxi_client import LuxiClient

MOST: Final = 500
"""More words than this help nobody to choose."""
PATIENCE: Final = 2.0
"""Seconds; a person presses the key again rather than wait longer."""

_NAME_FIELDS: Final = {
    "instance": "name",
    "node": "name",
    "group": "name",
    "network": "name",
    "os": "name",
    "extstorage": "name",
    "export": "export",
    "job": "id",
    "filter": "uuid",
}
_METAVAR_KINDS: Final = {
    "NODE": "node",
    "NODES": "node",
    "INSTANCE": "instance",
    "GROUP": "group",
    "NETWORK": "network",
    "OS": "os",
    "JOB": "job",
}


def completions(program_name: str, line: str) -> list[str]:
    """Give the words that may stand where the line ends, each complete. Never raises a `GntError`."""
    words = line.split()
    word = words.pop() if words and not line[-1:].isspace() else ""
    try:
        found = _offered(load(program_name), words[1:], word)
        return list(islice((one for one in found if one.startswith(word)), MOST))
    except GntError:
        return []


def _offered(program: Program, before: Sequence[str], word: str) -> Iterable[str]:
    """Give what may stand behind the words `before` (without the program's name)."""
    if not before:
        return sorted([*(command.name for command in program.commands), "--help", "--version"])
    command = program.command(before[0])
    if command is None:
        return []
    options = [option for option in (*command.options, *COMMON) if not option.unsupported]
    flags = {flag: option for option in options for flag in option.flags}
    name, equals, _ = word.partition("=")
    if equals and name in flags:
        begun = word.removeprefix(f"{name}=")
        return (f"{name}={value}" for value in _values(program, command, flags[name], begun))
    pending = flags.get(before[-1])
    if len(before) > 1 and pending is not None and pending.takes_value:
        return _values(program, command, pending, word)
    if word.startswith("-"):
        return sorted(flags)
    return _arguments(program, command, _arguments_before(before[1:], flags))


def _arguments_before(words: Sequence[str], flags: dict[str, Option]) -> list[str]:
    """Give the arguments among the words: what is neither an option nor the value of one."""
    arguments = []
    value_next = False
    for word in words:
        option = flags.get(word)
        if value_next:
            value_next = False
        elif option is not None:
            value_next = option.takes_value
        elif not word.startswith("-"):
            arguments.append(word)
    return arguments


def _arguments(program: Program, command: Command, before: Sequence[str]) -> Iterable[str]:
    """Give words or names of the kind of the argument that comes next, without names that stand there already."""
    place = len(before)
    for argument in command.arguments:
        if argument.maximum is None or place < argument.maximum:
            if place == 0 and "|" in argument.metavar:
                return [words.split()[0] for words in argument.metavar.split("|")]
            if argument.kind == "field":
                return [name for name in _fields(program, command) if name not in before]
            return [name for name in _names(program, command, argument.kind) if name not in before]
        place -= argument.maximum
    return []


def _values(program: Program, command: Command, option: Option, begun: str) -> Iterable[str]:
    """Give the values of an option: its choices, or names of what its metavariable says. `begun` is there already."""
    info = option.info()
    if info is not None and info.choices:
        return [str(choice) for choice in info.choices]
    metavar = metavar_of(option)
    if "|" in metavar:
        return metavar.split("|")
    if metavar == "FIELDS":
        # Of several, only the last is still being typed; a + before the first adds to the usual ones.
        typed = max(begun.rfind(","), 0 if begun.startswith("+") else -1) + 1
        return [begun[:typed] + name for name in _fields(program, command)]
    return _names(program, command, _METAVAR_KINDS.get(metavar.partition("[")[0].partition(",")[0], ""))


def _names(program: Program, command: Command, kind: str) -> list[str]:
    field = _NAME_FIELDS.get(kind)
    if field is None:
        return []
    with _master(program, command) as client:
        answer = client.query(kind, [field])
    return [str(row[0][1]) for row in answer.data if row[0][0] == 0]


def _fields(program: Program, command: Command) -> list[str]:
    """Give the names of the fields that a list of the program can have; none where the command is no such list."""
    if list_command(program.name, command.name) is None:
        return []
    kind = program.name.removeprefix("gnt-")
    with _master(program, command) as client:
        return [field.name for field in client.query_fields("export" if kind == "backup" else kind)]


def _master(program: Program, command: Command) -> LuxiClient:
    path = Call(program.name, command, Parsed(), os.environ).socket_path()
    return LuxiClient(path, connect_timeout=PATIENCE, timeout=PATIENCE)
