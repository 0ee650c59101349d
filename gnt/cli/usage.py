"""Usage texts, made from the definitions of programs and commands."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from gnt.cli.command import Command, Option, Program
from gnt.cli.options import COMMON

_WIDTH = 79


def program_usage(program: Program) -> str:
    """Give the text that lists the commands of a program."""
    lines = [
        f"Usage: {program.name} {{command}} [options...] [argument...]",
        f"{program.name} <command> --help to see details, or man {program.name}",
        "",
        "Commands:",
    ]
    width = max((len(command.name) for command in program.commands), default=0)
    for command in sorted(program.commands, key=lambda command: command.name):
        head = f" {command.name:<{width}} - "
        lines += textwrap.wrap(command.help, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    return "\n".join([*lines, "", ""])


def command_usage(program: Program, command: Command) -> str:
    """Give the usage of a command: its form, what it does, its options, examples."""
    form = " ".join(["[--options...]", *(argument.usage() for argument in command.arguments)])
    lines = ["Usage", "=====", f"  {program.name} {command.name} {form}", ""]
    lines += textwrap.wrap(command.help[:1].upper() + command.help[1:] + ".", _WIDTH)
    if command.text:
        lines += ["", *textwrap.dedent(command.text).strip().splitlines()]
    if command.aliases:
        lines += ["", f"Also called: {', '.join(command.aliases)}"]
    lines += ["", "Options", "=======", *_option_lines([*command.options, *COMMON])]
    if command.examples:
        lines += ["", "Examples", "========", *(f"  {example}" for example in command.examples)]
    return "\n".join([*lines, ""])


def _option_lines(options: Sequence[Option]) -> list[str]:
    lines: list[str] = []
    for option in sorted((option for option in options if not option.unsupported), key=_order):
        head = f"  {form_of(option)}"
        gap = "  " if len(head) <= 30 else ""
        text = option.description()
        first = f"{head:<30}{gap}" if gap else ""
        wrapped = textwrap.wrap(text, _WIDTH, initial_indent=first or " " * 32, subsequent_indent=" " * 32)
        lines += [*([] if gap else [head]), *wrapped]
    refused = sorted(option.name for option in options if option.unsupported)
    if refused:
        lines += ["", *textwrap.wrap(f"Not supported by this version: {', '.join(refused)}", _WIDTH)]
    return lines


def _order(option: Option) -> str:
    return option.name.lstrip("-")


def form_of(option: Option) -> str:
    """Give an option as it is written: `-n, --node=NODE`."""
    flags = ", ".join(sorted(option.flags, key=len))
    if not option.takes_value:
        return flags
    return f"{flags}={metavar_of(option)}"


def metavar_of(option: Option) -> str:
    """Give the word that stands for the option's value."""
    if option.metavar:
        return option.metavar
    info = option.info()
    plain = info.type.removesuffix(" | null") if info else ""
    if info and info.choices:
        return "|".join(map(str, info.choices)) if len(info.choices) <= 4 else "WORD"
    if plain == "bool":
        return "yes|no"
    return "N" if plain.startswith(("int", "float")) else option.name.lstrip("-").upper()
