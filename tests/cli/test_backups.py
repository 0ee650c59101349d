"""gnt-cluster backup and restore, over a program that pretends to be gnt.bootstrap."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

MADE = {"file": "/b", "size": 1, "cluster": "demo", "entry": 2, "secrets": False}
FOUND = {
    "cluster": "demo",
    "node": "node1",
    "time": 1_700_000_000.0,
    "gnt": "1.0",
    "secrets": True,
    "exists": True,
    "running": ["gnt-noded"],
}
DONE = {"cluster": "demo", "master": "node1", "time": 1_700_000_000.0, "aside": None, "offline": ["node2"], "epoch": ""}


class Requests:
    """Stands in for `python -m gnt.bootstrap`: keeps requests, gives answers."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        program = root / "python"
        program.write_text(
            f"""#!/bin/sh
cat >>{root}/requests
echo >>{root}/requests
read -r first <{root}/answers
sed -i 1d {root}/answers
echo "$first"
""",
            encoding="utf-8",
        )
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    def answers(self, *results: Any) -> None:
        """Give these results, one after the other."""
        lines = [json.dumps({"result": result}) for result in results]
        (self.root / "answers").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def made(self) -> list[dict[str, Any]]:
        """Give the requests."""
        lines = (self.root / "requests").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def requests(root: Path, monkeypatch: pytest.MonkeyPatch) -> Requests:
    """Give the pretended program; standard input is empty."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return Requests(root, monkeypatch)


def test_backup_without_secrets_says_so(gnt: Run, requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is made absolute; no passphrase is asked for."""
    monkeypatch.chdir(requests.root)
    requests.answers(MADE)
    ran = gnt("cluster", "backup", "here.gnt")
    assert (ran.status, ran.out) == (0, "")
    assert "no certificates" in ran.err
    assert requests.made() == [{"file": f"{requests.root}/here.gnt"}]


def test_the_passphrase_comes_from_standard_input(
    gnt: Run, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first line, whole; an empty one is refused. It is in no log."""
    requests.answers({**MADE, "secrets": True})
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse \nmore\n"))
    assert gnt("cluster", "backup", "--with-secrets", "/b").status == 0
    assert requests.made() == [{"file": "/b", "passphrase": "correct horse "}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    assert "there is no passphrase" in gnt("cluster", "backup", "--with-secrets", "/b").err
    assert "horse" not in (requests.root / "var/log/ganeti/commands.log").read_text()


def test_restore_asks_before_it_changes_anything(gnt: Run, requests: Requests) -> None:
    """Where nobody can be asked, it is declined after the check."""
    requests.answers({**FOUND, "secrets": False})
    ran = gnt("cluster", "restore", "/b")
    assert ran.status == 1
    assert "--yes-do-it" in ran.err
    assert [request["check"] for request in requests.made()] == [True]


def test_restore(gnt: Run, requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a passphrase if there are secrets; in the end it says which nodes are missing."""
    requests.answers(FOUND, DONE)
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    ran = gnt("cluster", "restore", "--force", "--yes-do-it", "/b")
    assert ran.status == 0
    assert "gnt-node add --readd: node2" in ran.err
    assert requests.made() == [
        {"file": "/b", "force": True, "check": True},
        {"file": "/b", "force": True, "passphrase": "correct horse"},
    ]


def test_a_restore_can_be_planned(gnt: Run, requests: Requests) -> None:
    """The file is checked, the steps are said, nothing is asked; a store that is here needs --force in truth."""
    requests.answers({**FOUND, "exists": False}, FOUND, FOUND, FOUND)
    ran = gnt("cluster", "restore", "--plan", "/b")
    assert (ran.status, ran.err) == (0, "")
    assert [line[:4] for line in ran.out.splitlines()] == ["no j", "  1 ", "  2 ", "  3 ", "  4 ", "  5 "]
    ran = gnt("cluster", "restore", "--plan", "/b")
    assert ran.status == 1
    assert ran.err.startswith("Failure: This node has a store already")
    ran = gnt("cluster", "restore", "--plan", "--force", "--without-secrets", "/b")
    assert ran.status == 0
    assert "passphrase" not in ran.out
    assert "the store that is here is kept aside" in ran.out
    assert json.loads(gnt("cluster", "restore", "--plan", "--json", "/b").out) == {"plan": FOUND}
    assert all(request["check"] for request in requests.made())


def test_restore_without_the_secrets_of_a_backup(gnt: Run, requests: Requests) -> None:
    """Asks for no passphrase."""
    requests.answers(FOUND, {**DONE, "offline": []})
    ran = gnt("cluster", "restore", "--without-secrets", "--yes-do-it", "--json", "/b")
    assert json.loads(ran.out)["result"]["master"] == "node1"
    assert requests.made()[1] == {"file": "/b", "force": False}
    requests.answers(FOUND)
    assert "no passphrase on standard input" in gnt("cluster", "restore", "--yes-do-it", "/b").err
