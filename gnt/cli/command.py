"""What a command is: names, options, arguments and a function, as data.

Parsing, usage texts and whatever else describes commands (manual pages, completion) read these definitions. An option
that stands for a parameter of an opcode takes its text and type from there (`from_opcode`).

All are made with keywords. They are no dataclasses: every command loads them, and what those need takes longer than a
list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from gnt.cli.call import Call
    from gnt.opcodes.parameters import ParameterInfo

ParseValue = Callable[[str], Any]
"""Makes a value of an option's text; raises `ValueError` with what is wrong, put after the option's name."""


class Option(NamedTuple):
    """One option. With neither `parse` nor `metavar` it is a flag whose value is `const`."""

    flags: tuple[str, ...]
    dest: str
    help: str = ""
    metavar: str = ""
    parse: ParseValue | None = None
    const: Any = True
    repeat: bool = False
    opcode: str = ""
    parameter: str = ""
    secret: bool = False
    counts: bool = False
    unsupported: str = ""
    """What is said when the option is used; empty for an option that works."""

    @property
    def name(self) -> str:
        """Give the name that messages use: the long one."""
        return next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])

    def info(self) -> ParameterInfo | None:
        """Describe the opcode's parameter that this option sets, if it sets one."""
        if not self.opcode:
            return None
        # Only used options pay for loading the opcodes.
        from gnt.opcodes.parameters import opcode_parameters  # noqa: PLC0415
        from gnt.opcodes.registry import ALL  # noqa: PLC0415

        return next(info for info in opcode_parameters(ALL[self.opcode]) if info.name == self.parameter)

    @property
    def takes_value(self) -> bool:
        """Say whether a value follows the option."""
        if self.parse is not None or self.metavar or not self.opcode or self.const is not None:
            return self.parse is not None or bool(self.metavar)
        info = self.info()
        return info is not None and info.type != "bool"

    def flag_value(self) -> Any:
        """Give the value of the option as a flag: the opposite of the default of the parameter it sets."""
        info = self.info() if self.const is None else None
        return (not info.default) if info is not None else self.const

    def description(self) -> str:
        """Give the help text: its own, else the documentation of the opcode's parameter."""
        if self.help:
            return self.help
        info = self.info()
        return info.doc if info else ""

    def value_of(self, text: str) -> Any:
        """Give the value of a text; raises `ValueError` with what is wrong with it."""
        if self.parse is not None:
            return self.parse(text)
        from gnt.cli.values import parser_of_type  # noqa: PLC0415  (only used options pay for it)

        info = self.info()
        return text if info is None else parser_of_type(info)(text)

    def but(self, **changes: Any) -> Self:
        """Give the same option with some things said differently."""
        return self._replace(**changes)


def option(*flags: str, help: str, dest: str = "", **more: Any) -> Option:  # noqa: A002  (the option's own word)
    """Make an option of its own; `dest` follows from the long name unless given."""
    return Option(flags=flags, dest=dest or _dest(flags), help=help, **more)


def from_opcode(opcode: str, parameter: str, *flags: str, **more: Any) -> Option:
    """Make the option that sets a parameter of an opcode (by its OP_ID): text, type and bounds are the parameter's."""
    return Option(flags=flags, dest=parameter, opcode=opcode, parameter=parameter, **{"const": None, **more})


def unsupported(*flags: str, hint: str) -> Option:
    """Make an option that is known, and refused by name; `hint` says why it is not carried out, or what does it."""
    return Option(flags=flags, dest=_dest(flags), unsupported=hint)


def _dest(flags: tuple[str, ...]) -> str:
    longest = next((flag for flag in flags if flag.startswith("--")), flags[0])
    return longest.lstrip("-").replace("-", "_")


class Argument(NamedTuple):
    """Positional arguments of one kind. `kind` is what completion offers: `instance`, `field`, `file` and others.

    `verbatim`: they are another program's, so options among them are that one's.
    """

    metavar: str
    minimum: int = 1
    maximum: int | None = 1
    kind: str = ""
    verbatim: bool = False

    def usage(self) -> str:
        """Give the argument as usage lines show it: `<instance>...`."""
        dots = "" if self.maximum == 1 else "..."
        shown = f"<{self.metavar}>{dots}"
        return f"[{shown}]" if self.minimum == 0 else shown


class Command(NamedTuple):
    """One command of a program."""

    name: str
    help: str
    run: Callable[[Call], int]
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    aliases: tuple[str, ...] = ()
    text: str = ""
    examples: tuple[str, ...] = ()
    environment: str = ""
    """The variable whose words come before the options that were given."""


class Program(NamedTuple):
    """A gnt-* program. `unsupported` are the commands that this version knows by name only."""

    name: str
    help: str
    commands: tuple[Command, ...] = ()
    unsupported: Mapping[str, str] = MappingProxyType({})

    def command(self, name: str) -> Command | None:
        """Find a command by its name or an alias."""
        return next((command for command in self.commands if name in {command.name, *command.aliases}), None)
