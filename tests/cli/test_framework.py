"""What holds for every program: versions, usages, known names, arguments, exit statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gnt import __version__
from gnt.cli.command import Option
from gnt.cli.main import MODULES, load
from gnt.cli.options import COMMON
from gnt.cli.usage import command_usage, form_of
from gnt.opcodes.parameters import opcode_parameters
from gnt.opcodes.registry import ALL
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster

KNOWN: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data/commands.json").read_text(encoding="utf-8"))
COMMANDS = [(program, command) for program in MODULES for command in load(program).commands]
OPTIONS = [(program, command.name, option) for program, command in COMMANDS for option in command.options]


@pytest.mark.parametrize("program", sorted(MODULES))
def test_the_version(gnt: Run, program: str) -> None:
    """One line with the name."""
    ran = gnt(program.removeprefix("gnt-"), "--version")
    assert ran == (0, f"{program} (ganeti v{__version__}) {__version__}\n", "")


@pytest.mark.parametrize("program", sorted(MODULES))
def test_the_usage(gnt: Run, program: str) -> None:
    """Asked for: status 0. Without a command, or with one that nobody knows: the same text, status 1."""
    short = program.removeprefix("gnt-")
    asked = gnt(short, "--help")
    assert asked.status == 0
    assert asked.out.startswith(f"Usage: {program} {{command}} [options...] [argument...]\n{program} <command> --help")
    assert max(map(len, asked.out.splitlines())) <= 79
    assert gnt(short) == (1, asked.out, "")
    unknown = gnt(short, "frobnicate")
    assert (unknown.status, unknown.out) == (1, asked.out)
    assert unknown.err == "Error: there is no command frobnicate\n"


def test_a_command_that_was_nearly_right(gnt: Run) -> None:
    """What it may have been is said."""
    assert gnt("instance", "lsit").err == "Error: there is no command lsit\n  did you mean list?\n"
    ran = gnt("instance", "lsit", "--json")
    assert ran.out == ""
    assert json.loads(ran.err)["error"]["hint"] == "did you mean list?"


@pytest.mark.parametrize("program", sorted(MODULES))
def test_every_command_is_known(gnt: Run, program: str) -> None:
    """Those of later versions are refused by name."""
    definition = load(program)
    for name in [*KNOWN["commands"][program], *KNOWN["aliases"].get(program, {})]:
        if definition.command(name) is None:
            ran = gnt(program.removeprefix("gnt-"), name, "x")
            assert (ran.status, ran.out) == (1, "")
            assert ran.err.startswith(f"Failure: {program} {name} is not supported by this version  [wrong_input]\n")
    for alias, name in KNOWN["aliases"].get(program, {}).items():
        assert definition.command(alias) is definition.command(name)


def test_every_program_is_there() -> None:
    """None of those that there ever were is missing, and each has its launcher."""
    assert set(KNOWN["commands"]) == set(MODULES)
    launchers = Path(__file__).parent.parent.parent / "bin"
    assert {path.name for path in launchers.iterdir()} == set(MODULES)


@pytest.mark.parametrize(("program", "command"), COMMANDS, ids=[f"{p} {c.name}" for p, c in COMMANDS])
def test_every_option_is_known(program: str, command: Any) -> None:
    """Each option of every release is there, to be carried out or refused; the older long forms are abbreviations."""
    flags = {flag for option in [*command.options, *COMMON] for flag in option.flags}
    for flag in KNOWN["commands"][program].get(command.name, []):
        assert flag in flags or (flag in {"--backend", "--hypervisor"} and f"{flag}-parameters" in flags), flag


@pytest.mark.parametrize(("program", "command"), COMMANDS, ids=[f"{p} {c.name}" for p, c in COMMANDS])
def test_every_command_that_changes_something_can_show_its_plan(program: str, command: Any) -> None:
    """Whatever can be submitted without waiting, or checked only, has --plan as well; verify changes nothing."""
    flags = {flag for option in command.options if not option.unsupported for flag in option.flags}
    if flags & {"--dry-run", "--submit"} and (program, command.name) != ("gnt-cluster", "verify"):
        assert "--plan" in flags


READING = {
    *("list", "list-fields", "list-tags", "search-tags", "info", "show-ispecs-cmd", "diagnose", "console"),
    *("version", "getmaster", "master-ping", "history", "diff", "backup", "verify", "rapi-password"),
    *("locks", "volumes", "list-storage", "watch", "wait"),
}
"""Commands that change nothing of the cluster."""

ONE_ENTRY = {
    "gnt-cluster": {"queue", "watcher", "rapi-token"},
    "gnt-filter": {"add", "replace", "delete"},
    "gnt-job": {"cancel", "change-priority", "archive", "autoarchive"},
}
"""They write an entry into the log and do nothing else: no step, no lock, no node."""

BY_TOKEN = {"gnt-node": {"join"}}
"""gnt-node add --plan says what is done there; a token is good for one look at it."""


@pytest.mark.parametrize(("program", "command"), COMMANDS, ids=[f"{p} {c.name}" for p, c in COMMANDS])
def test_every_command_has_a_plan_or_needs_none(program: str, command: Any) -> None:
    """The whole table: whoever adds a command that changes something has to give it --plan."""
    planned = any("--plan" in option.flags for option in command.options)
    exempt = READING | ONE_ENTRY.get(program, set()) | BY_TOKEN.get(program, set())
    assert planned != (command.name in exempt)


@pytest.mark.parametrize("program", sorted(MODULES))
def test_what_is_left_out_says_why(gnt: Run, program: str) -> None:
    """A command of another version is refused with the reason, or with what to type instead."""
    for name, hint in load(program).unsupported.items():
        assert hint
        assert gnt(program.removeprefix("gnt-"), name).err.splitlines()[1:] == [f"  {hint}"]


@pytest.mark.parametrize(("program", "command"), COMMANDS, ids=[f"{p} {c.name}" for p, c in COMMANDS])
def test_every_command_explains_itself(gnt: Run, program: str, command: Any) -> None:
    """--help shows usage, every option and its text; no two options share a flag."""
    ran = gnt(program.removeprefix("gnt-"), command.name, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage\n=====\n  {program} {command.name} [--options...]")
    options: list[Option] = [*command.options, *COMMON]
    flags = [flag for option in options for flag in option.flags]
    assert len(flags) == len(set(flags))
    for option in options:
        if not option.unsupported:
            assert form_of(option) in ran.out
            assert option.description(), option.name
    for example in command.examples:
        assert example.startswith((f"{program} {command.name} ", f"{program} {command.name}"))
    assert ran.out == command_usage(load(program), command)


@pytest.mark.parametrize(("program", "command", "option"), OPTIONS, ids=[f"{p} {c} {o.name}" for p, c, o in OPTIONS])
def test_options_refused_by_name(gnt: Run, master: FakeMaster, program: str, command: str, option: Option) -> None:
    """An option that is not carried out is never ignored, whichever of its spellings is used."""
    if option.opcode:
        assert option.parameter in [info.name for info in opcode_parameters(ALL[option.opcode])]
    if not option.unsupported:
        return
    for flag in option.flags:
        ran = gnt(program.removeprefix("gnt-"), command, flag, "x", "y")
        assert (ran.status, ran.out) == (1, "")
        said = f"{program} {command}: option {option.name} is not supported by this version"
        assert ran.err == f"Failure: {said}  [wrong_input]\n  {option.unsupported}\n"
    assert not master.requests


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cluster", "version", "x"), "Error: Command version expects no arguments\n"),
        (("instance", "console"), "Error: Command console expects 1 argument(s)\n"),
        (("instance", "console", "a", "b"), "Error: Command console expects 1 argument(s)\n"),
        (("job", "info"), "Error: Command info expects at least 1 argument(s)\n"),
    ],
)
def test_a_wrong_number_of_arguments(gnt: Run, words: tuple[str, ...], said: str) -> None:
    """Status 1."""
    assert gnt(*words) == (1, "", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nope",), "there is no option --nope"),
        (("-x",), "there is no option -x"),
        (("-o",), "option -o needs a value"),
        (("--output",), "option --output needs a value"),
        (("--no-headers=1",), "option --no-headers takes no value"),
        (("--units=q",), "option --units: 'q' is none of h, m, g, t"),
        (("web1", "-o", "name"), "option -o comes after an argument; options come first"),
        (("web1", "--output=name"), "option --output=name comes after an argument; options come first"),
    ],
)
def test_options_that_cannot_be_understood(gnt: Run, master: FakeMaster, words: tuple[str, ...], said: str) -> None:
    """Status 2, one line naming the option, and where to read more."""
    ran = gnt("instance", "list", *words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.splitlines()[0] == f"Error: {said}"
    assert not master.requests
    as_json = gnt("instance", "list", "--json", *words)
    assert as_json.status == 2
    assert json.loads(as_json.err)["error"]["text"] == said


def test_ways_to_write_options(gnt: Run, master: FakeMaster) -> None:
    """Short ones together, values with and without a sign between, abbreviations, an end of options."""
    for words in (
        ("-vo", "name"),
        ("-voname",),
        ("-v", "-o", "name"),
        ("--verb", "--out=name"),
        ("--verbose", "--output", "name"),
        ("-v", "-oname", "--"),
    ):
        assert gnt("instance", "list", *words).out == "Instance\n"
    assert {tuple(args[1]) for args in master.called("Query")} == {("name",)}
    gnt("instance", "list", "-F", "--", "-x == 1")
    gnt("instance", "list", "--", "-o")
    assert master.called("Query")[-1][2] == ["|", ["=", "name", "-o"]]
    # Behind arguments it is none itself; what a command passes on word by word is not looked at.
    gnt("instance", "list", "web1", "--", "-o")
    assert master.called("Query")[-1][2] == ["|", ["=", "name", "web1"], ["=", "name", "-o"]]


def test_a_fault_of_ours_is_one_line(gnt: Run, master: FakeMaster, root: Path) -> None:
    """The details are in the log of commands, and on the screen for who asks with -d."""
    master.cluster = {"name": "c"}
    ran = gnt("cluster", "info")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("Failure: internal error: KeyError: 'architecture'\n  please report it")
    assert "Traceback" in (root / "var/log/ganeti/commands.log").read_text(encoding="utf-8")
    with pytest.raises(KeyError):
        gnt("cluster", "info", "-d")


def test_what_the_master_is_asked_can_be_seen(gnt: Run, master: FakeMaster) -> None:
    """-d names the calls, without their arguments."""
    ran = gnt("debug", "delay", "-d", "--reason=hush", "1")
    assert "debug: SubmitJob took " in ran.err
    assert "hush" not in ran.err
    assert master.opcode()["debug_level"] == 1
