"""What shells are offered for the word under the cursor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gnt.cli.main import MODULES
from gnt.model.errors import GntError
from tests.cli.conftest import Run
from tests.cli.fake_master import FakeMaster

SOURCE = Path(__file__).parent.parent.parent
SCRIPTS = sorted((SOURCE / "packaging/completion").iterdir())


def offered(gnt: Run, line: str) -> list[str]:
    """Complete a line, as a shell asks for it."""
    status, out, err = gnt(line.split(maxsplit=1)[0].removeprefix("gnt-"), "--complete", line)
    assert (status, err) == (0, "")
    return out.splitlines()


def test_commands(gnt: Run) -> None:
    """The first word is a command; what was begun narrows it."""
    assert {"list", "add", "--help"} <= set(offered(gnt, "gnt-instance "))
    assert offered(gnt, "gnt-instance migr") == ["migrate"]
    assert offered(gnt, "gnt-instance nonsense ") == []


def test_options(gnt: Run) -> None:
    """Those that work; one that is known by name only is not offered."""
    found = offered(gnt, "gnt-instance add --no")
    assert {"--node", "--no-start", "--no-nics"} <= set(found)
    assert "--helper-startup-timeout" not in offered(gnt, "gnt-instance add --help")
    assert "--json" in offered(gnt, "gnt-job list -")


def test_values(gnt: Run) -> None:
    """Choices follow the option as the next word, or behind the equals sign as a whole word."""
    assert offered(gnt, "gnt-instance add -t shar") == ["sharedfile"]
    assert offered(gnt, "gnt-instance add --disk-template=shar") == ["--disk-template=sharedfile"]
    assert offered(gnt, "gnt-node modify --offline=") == ["--offline=yes", "--offline=no"]


def test_names(gnt: Run, master: FakeMaster) -> None:
    """Names of the argument's kind come from the master; those that stand there already do not come again."""
    master.rows["instance"] = [{"name": name} for name in ("web1", "web2", "db1")]
    master.rows["node"] = [{"name": name} for name in ("node1", "node2")]
    assert offered(gnt, "gnt-instance startup we") == ["web1", "web2"]
    assert offered(gnt, "gnt-instance startup web1 we") == ["web2"]
    assert offered(gnt, "gnt-instance add -n ") == ["node1", "node2"]
    assert offered(gnt, "gnt-instance migrate -n node2 ") == ["web1", "web2", "db1"]


def test_guest_systems_and_providers(gnt: Run, master: FakeMaster) -> None:
    """What gnt-os and gnt-storage take has names as well."""
    master.rows["os"] = [{"name": "debootstrap"}, {"name": "noop"}]
    master.rows["extstorage"] = [{"name": "san"}]
    assert offered(gnt, "gnt-os info de") == ["debootstrap"]
    assert offered(gnt, "gnt-os modify --hidden=yes ") == ["debootstrap", "noop"]
    assert offered(gnt, "gnt-storage info ") == ["san"]


def test_words_that_a_command_takes(gnt: Run) -> None:
    """Where the usage shows words to choose from, they are offered; what a person has to think of is not."""
    assert offered(gnt, "gnt-cluster queue ") == ["drain", "undrain", "info"]
    assert offered(gnt, "gnt-cluster rapi-token --scope read ") == ["add", "list", "revoke"]
    assert offered(gnt, "gnt-cluster watcher p") == ["pause"]
    assert offered(gnt, "gnt-cluster rapi-token add ") == []
    assert offered(gnt, "gnt-cluster rename ") == []


@pytest.mark.usefixtures("master")
def test_fields(gnt: Run) -> None:
    """Fields of what is listed: the one that is being typed, behind a comma or the + that adds to the usual ones."""
    assert "name" in offered(gnt, "gnt-instance list -o na")
    assert offered(gnt, "gnt-instance list -o +oper_r") == ["+oper_ram"]
    assert offered(gnt, "gnt-instance list --output=name,oper_r") == ["--output=name,oper_ram"]
    assert offered(gnt, "gnt-job list -o id,opstat") == ["id,opstatus"]
    assert offered(gnt, "gnt-backup list-fields ex") == ["export"]
    assert offered(gnt, "gnt-node list-fields pinst_c pinst_c") == ["pinst_cnt"]


def test_without_a_master(gnt: Run, master: FakeMaster) -> None:
    """No names, no message, no failure: the shell goes on."""
    master.answers["Query"] = GntError("no_master", "away")
    assert offered(gnt, "gnt-instance startup ") == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_shell_knows_every_program(script: Path) -> None:
    """A new program is put into all three scripts."""
    named = set(re.findall(r"gnt-[a-z]+", script.read_text(encoding="utf-8")))
    assert set(MODULES) <= named


def test_bash(root: Path, master: FakeMaster, tmp_path: Path) -> None:
    """Real bash: a name, and a value behind an equals sign, where bash itself breaks the word."""
    master.rows["node"] = [{"name": "node1"}, {"name": "node2"}]
    program = tmp_path / "gnt-instance"
    launch = "import sys; from gnt.cli.main import main; sys.exit(main('gnt-instance', sys.argv[1:]))"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{launch}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = f"""
        . {SOURCE}/packaging/completion/gnt.bash
        complete_line() {{
            COMP_LINE=$1 COMP_POINT=${{#1}} COMP_WORDS=("${{@:2}}") COMP_CWORD=$(($# - 2))
            _gnt {program}; echo "${{COMPREPLY[*]}}"
        }}
        complete_line 'gnt-instance migrate -n no' gnt-instance migrate -n no
        complete_line 'gnt-instance add --disk-template=sh' gnt-instance add --disk-template = sh
        complete_line 'gnt-instance add --disk-template=' gnt-instance add --disk-template =
    """
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "GNT_ROOTDIR": str(root), "GNT_HOSTNAME": "node1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "node1 node2"
    assert lines[1] == "sharedfile"
    assert {"diskless", "sharedfile"} <= set(lines[2].split())
