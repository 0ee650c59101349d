"""From words to values: the options of a command come first, parsing stops at the first word that is none."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gnt.cli.command import Command, Option
from gnt.model.errors import WRONG_INPUT, Refused, Unsupported


class BadUsage(Refused):
    """Options that cannot be understood (exit status 2), or a wrong number of arguments (1)."""

    def __init__(self, text: str, *, hint: str = "", status: int = 2) -> None:
        super().__init__(WRONG_INPUT, text, hint=hint)
        self.status = status


class Help(Exception):
    """The usage of the command was asked for."""


class Parsed:
    """What the words of a command mean: values by `dest` of their option, and the arguments."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.given: list[Option] = []
        self.arguments: list[str] = []


def parse(program: str, command: Command, options: Sequence[Option], words: Sequence[str]) -> Parsed:
    """Parse the words after the command's name.

    Raises `BadUsage` naming the option, `Unsupported` for an option that is only known by name, `Help`.
    """
    return _Parser(f"{program} {command.name}", options).parse(command, words)


def parse_with_environment(
    program: str, command: Command, options: Sequence[Option], words: Sequence[str], environ: Mapping[str, str]
) -> Parsed:
    """Parse the words of the command's environment variable, if it has one, and then the others.

    Raises what `parse` raises; what is wrong in the variable alone is said to be there.
    """
    variable = command.environment
    text = environ.get(variable, "") if variable else ""
    try:
        before = shlex.split(text)
    except ValueError as problem:
        raise BadUsage(f"the environment variable {variable} cannot be split into words: {problem}") from None
    try:
        return parse(program, command, options, [*before, *words])
    except BadUsage:
        if before:
            _blame(variable, text, partial(parse, program, command, options, before))
        raise


def _blame(variable: str, text: str, alone: Callable[[], object]) -> None:
    """Raise what is wrong with the words of the variable `alone`, if anything is, and say where they are."""
    try:
        alone()
    except BadUsage as problem:
        hint = f"{problem.hint}\nthe environment variable {variable} is {text}".lstrip()
        raise BadUsage(problem.text, hint=hint, status=problem.status) from None


class _Parser:
    """Parses the words of one command; `title` is how messages call it."""

    def __init__(self, title: str, options: Sequence[Option]) -> None:
        self._title = title
        self._flags = {flag: option for option in options for flag in option.flags}
        self._parsed = Parsed()
        self._ended = False

    def parse(self, command: Command, words: Sequence[str]) -> Parsed:
        """Take options as long as there are any; the rest are arguments."""
        rest = list(words)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            word = rest.pop(0)
            if word == "--":
                self._ended = True
                break
            if word.startswith("--"):
                self._long(word, rest)
            else:
                self._short(word, rest)
        if not self._ended and "--" in rest and not any(argument.verbatim for argument in command.arguments):
            # It ends the options wherever it stands: what comes behind it are arguments, it is none itself.
            rest.remove("--")
            self._ended = True
        self._parsed.arguments = rest
        self._check_count(command)
        return self._parsed

    def _bad(self, text: str) -> BadUsage:
        return BadUsage(text, hint=f"see {self._title} --help")

    def _long(self, word: str, rest: list[str]) -> None:
        name, equals, value = word.partition("=")
        option = self._flags.get(name) or self._abbreviated(name)
        self._refuse_unsupported(option)
        if not option.takes_value:
            if equals:
                raise self._bad(f"option {name} takes no value")
            self._set_flag(option)
        else:
            self._set(option, name, value if equals else self._next(name, rest))

    def _abbreviated(self, name: str) -> Option:
        """Find the only option that begins so."""
        near = {option.name: option for flag, option in self._flags.items() if flag.startswith(name)}
        if len(near) > 1:
            raise self._bad(f"option {name} is ambiguous: {', '.join(sorted(near))}")
        if not near:
            raise self._bad(f"there is no option {name}")
        return next(iter(near.values()))

    def _short(self, word: str, rest: list[str]) -> None:
        """Take a word of one-letter options; what follows one that takes a value is the value."""
        letters = word[1:]
        while letters:
            flag, letters = f"-{letters[0]}", letters[1:]
            option = self._flags.get(flag)
            if option is None:
                raise self._bad(f"there is no option {flag}")
            self._refuse_unsupported(option)
            if not option.takes_value:
                self._set_flag(option)
                continue
            self._set(option, flag, letters or self._next(flag, rest))
            return

    def _refuse_unsupported(self, option: Option) -> None:
        if option.dest == "help":
            raise Help
        if option.unsupported:
            text = f"{self._title}: option {option.name} is not supported by this version"
            raise Unsupported(text, hint=option.unsupported)

    def _next(self, name: str, rest: list[str]) -> str:
        if not rest:
            raise self._bad(f"option {name} needs a value")
        return rest.pop(0)

    def _set_flag(self, option: Option) -> None:
        values = self._parsed.options
        values[option.dest] = values.get(option.dest, 0) + 1 if option.counts else option.flag_value()
        self._parsed.given.append(option)

    def _set(self, option: Option, name: str, text: str) -> None:
        try:
            value = option.value_of(text)
        except (ValueError, Refused) as problem:
            shown = option.name if option.secret else f"{name}"
            hint = getattr(problem, "hint", "")
            raise BadUsage(f"option {shown}: {problem}", hint=hint) from None
        if option.repeat:
            self._parsed.options.setdefault(option.dest, []).append(value)
        else:
            self._parsed.options[option.dest] = value
        self._parsed.given.append(option)

    def _check_count(self, command: Command) -> None:
        """Refuse a wrong number of arguments, and options that come too late."""
        arguments = self._parsed.arguments
        late = next((word for word in arguments if word.partition("=")[0] in self._flags), None)
        if late is not None and not self._ended and not any(argument.verbatim for argument in command.arguments):
            raise self._bad(f"option {late} comes after an argument; options come first")
        least = sum(argument.minimum for argument in command.arguments)
        unbounded = any(argument.maximum is None for argument in command.arguments)
        most = None if unbounded else sum(argument.maximum or 0 for argument in command.arguments)
        count = len(arguments)
        if most == 0 and count:
            raise BadUsage(f"Command {command.name} expects no arguments", status=1)
        if least == most and count != least:
            raise BadUsage(f"Command {command.name} expects {least} argument(s)", status=1)
        if count < least:
            raise BadUsage(f"Command {command.name} expects at least {least} argument(s)", status=1)
        if most is not None and count > most:
            raise BadUsage(f"Command {command.name} expects only {most} argument(s)", status=1)
