"""Manual pages: made from the definitions, complete, and in a form that readers of manual pages take."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from gnt.cli.command import Argument, Command, Program, option
from gnt.cli.main import MODULES, load
from gnt.cli.manual import manual_page, write_pages
from gnt.cli.options import COMMON
from gnt.cli.parsing import parse

DATE = "2026-11-27"


def plain(page: str) -> str:
    """Take escapes and font changes out of a page."""
    for escape in ("\\fB", "\\fI", "\\fR", "\\&"):
        page = page.replace(escape, "")
    return page.replace("\\-", "-").replace("\\e", "\\")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_everything_is_described(name: str) -> None:
    """Each command has a section, each option that works its entry, each example its line."""
    program = load(name)
    page = plain(manual_page(program, DATE))
    for command in program.commands:
        section = page.split(f".SS {command.name}\n")[1].split("\n.SS ")[0]
        for one in command.options:
            assert one.name in section
        for example in command.examples:
            assert example in section


def commands() -> Iterator[tuple[str, Command]]:
    """Give all commands that work, with their program."""
    for name in sorted(MODULES):
        yield from ((name, command) for command in load(name).commands)


@pytest.mark.parametrize(
    ("program", "command"), [pytest.param(name, one, id=f"{name} {one.name}") for name, one in commands()]
)
def test_every_command_has_examples_that_it_takes(program: str, command: Command) -> None:
    """Each shows at least one, and each part of it that is ours is a line that the command's own parser accepts."""
    mine = [shlex.split(example, comments=True) for example in command.examples]
    assert mine, f"{program} {command.name} has no example"
    for words in mine:
        # What follows is the shell's: a pipe, a redirection, another command.
        own = list(takewhile(lambda word: word not in {"|", "&&"} and word[0] not in "<>", words))
        assert own[:2] == [program, command.name]
        parse(program, command, (*command.options, *COMMON), own[2:])


def test_nothing_is_taken_for_a_request() -> None:
    """Backslashes, and dots at the beginning of a line, are text."""
    shown = option("--path", metavar="PATH", help=".hidden files below \\\\server\nare kept")
    command = Command(
        name="try", help="try it", run=lambda _: 0, options=(shown,), arguments=(Argument("what"),), examples=(".x",)
    )
    lines = manual_page(Program(name="gnt-try", help="to try", commands=(command,)), DATE).splitlines()
    assert "\\&.hidden files below \\e\\eserver" in lines
    assert "\\&.x" in lines


def test_all_pages_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page for each program, where man looks for it."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert sorted(path.name for path in write_pages(tmp_path)) == [f"{name}.8" for name in sorted(MODULES)]
    assert (tmp_path / "man8/gnt-instance.8").read_text(encoding="utf-8").startswith(".TH GNT\\-INSTANCE 8 1970-01-02 ")


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="the package mandoc is not installed")
@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_reader_of_manual_pages_takes_them(name: str, tmp_path: Path) -> None:
    """A strict reader has no warning, and shows what we say."""
    page = tmp_path / f"{name}.8"
    page.write_text(manual_page(load(name), DATE), encoding="utf-8")
    checked = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", str(page)], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.stdout == ""
    shown = subprocess.run(["mandoc", "-Tascii", str(page)], capture_output=True, text=True, check=True, timeout=60)
    # Bold letters are struck twice: "E\bEX\bX".
    assert "EXIT STATUS" in re.sub(".\b", "", shown.stdout)
