"""Where every gnt-* command begins and ends: find the command, run it, say what went wrong, give the exit status."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from gnt import __version__
from gnt.cli.call import Call
from gnt.cli.command import Command, Program
from gnt.cli.failures import BROKEN_PIPE, FAILURE, INTERRUPTED, OK, exit_status, json_line, text_of
from gnt.cli.journal import WHERE_PROBLEMS_ARE, record, record_problem
from gnt.cli.list_commands import list_command
from gnt.cli.options import COMMON
from gnt.cli.parsing import BadUsage, Help, Parsed, parse_with_environment
from gnt.cli.plans import Planned
from gnt.cli.terminal import note, say
from gnt.model.errors import GntError, Unsupported

MODULES: Final = {
    "gnt-backup": "backup",
    "gnt-cluster": "cluster",
    "gnt-debug": "debug",
    "gnt-filter": "filter",
    "gnt-group": "group",
    "gnt-instance": "instance",
    "gnt-job": "job",
    "gnt-network": "network",
    "gnt-node": "node",
    "gnt-os": "guest_os",
    "gnt-storage": "storage",
}


def main(program: str, argv: Sequence[str] | None = None) -> int:
    """Run a program with its arguments (without the program's name), and give the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that this terminal cannot show is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(program, words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; nothing more can be said, and nothing is wrong.
        _give_up_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        note("")
        return INTERRUPTED
    except OSError as problem:
        record_problem()
        _give_up_output()
        note(f"Failure: {problem.strerror or problem}{f': {problem.filename}' if problem.filename else ''}")
        return FAILURE
    except Exception as problem:
        record_problem()
        note(f"Failure: internal error: {type(problem).__name__}: {problem}\n  {WHERE_PROBLEMS_ARE}")
        if "-d" in words or "--debug" in words:
            raise
        return FAILURE
    return status


def _open_closed() -> None:
    """Have what the caller closed (`>&-`) be nowhere: that nobody listens is no reason to fail half-way."""
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def _give_up_output() -> None:
    """Let what was not written yet go nowhere, so that the interpreter does not try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def load(program: str) -> Program:
    """Give the definition of a program."""
    found: Program = importlib.import_module(f"gnt.cli.programs.{MODULES[program]}").PROGRAM
    return found


def _run(name: str, words: list[str]) -> int:
    as_json = "--json" in words
    if words[:1] == ["--complete"]:
        return _complete(name, words[1:])
    try:
        command = list_command(name, words[0]) if words else None
        if command is not None:
            record(name, command, words)
            return _run_command(name, command, words[1:])
        program = load(name)
        if words[:1] == ["--version"]:
            say(f"{name} (ganeti v{__version__}) {__version__}")
            return OK
        if not words or words[0] in {"--help", "-h"}:
            from gnt.cli.usage import program_usage  # noqa: PLC0415  (only who asks for it pays for it)

            sys.stdout.write(program_usage(program))
            return OK if words else FAILURE
        command = program.command(words[0])
        record(name, command, words)
        if command is None:
            raise _unknown(program, words[0], as_json=as_json)
        return _run_command(name, command, words[1:])
    except GntError as error:
        sys.stdout.flush()
        note(json_line(error) if as_json else text_of(error))
        return exit_status(error)


def _complete(name: str, words: Sequence[str]) -> int:
    """Answer a shell that completes a line: one word a line, nothing else, whatever happens."""
    from gnt.cli.completion import completions  # noqa: PLC0415  (only shells pay for it)

    for word in completions(name, words[0] if words else ""):
        say(word)
    return OK


def _unknown(program: Program, word: str, *, as_json: bool) -> GntError:
    """Refuse a command of a later version by name; show the commands for any other word."""
    if word in program.unsupported:
        hint = program.unsupported[word]
        return Unsupported(f"{program.name} {word} is not supported by this version", hint=hint)
    import difflib  # noqa: PLC0415  (only mistakes pay for it)

    if not as_json:
        from gnt.cli.usage import program_usage  # noqa: PLC0415

        sys.stdout.write(program_usage(program))
    names = [name for command in program.commands for name in (command.name, *command.aliases)]
    near = difflib.get_close_matches(word, names, n=1)
    return BadUsage(f"there is no command {word[:60]}", hint=f"did you mean {near[0]}?" if near else "", status=FAILURE)


def _call(name: str, command: Command, parsed: Parsed) -> int:
    return command.run(Call(name, command, parsed, os.environ))


def _run_command(name: str, command: Command, words: Sequence[str]) -> int:
    try:
        parsed = parse_with_environment(name, command, [*command.options, *COMMON], words, os.environ)
    except Help:
        from gnt.cli.usage import command_usage  # noqa: PLC0415

        sys.stdout.write(command_usage(load(name), command))
        return OK
    try:
        if parsed.options.get("watch"):
            from gnt.cli.watching import watch  # noqa: PLC0415  (only watchers pay for it)

            look = partial(_call, name, command, parsed)
            return watch(look, as_json=bool(parsed.options.get("json")))
        return _call(name, command, parsed)
    except Planned as shown:
        return shown.status
